"""What all explorers share."""

import os
import shutil

import torch

from lafn_viz.models.capabilities import weights_of
from lafn_viz.models.hooks import down_weight
from lafn_viz.widgets.explorer import loaded


def test_a_model_loaded_by_name_is_loaded_anew_where_it_or_its_files_changed(folder, tmp_path):
    place = shutil.copytree(folder("gpt2"), tmp_path / "model")
    first = loaded(str(place))
    assert loaded(str(place)) is first
    with torch.no_grad():
        down_weight(first, 0).zero_()
    second = loaded(str(place))
    assert weights_of(second) != weights_of(first)
    assert loaded(str(place)) is second
    os.utime(place / "model.safetensors", (1, 1))
    assert loaded(str(place)) is not second
