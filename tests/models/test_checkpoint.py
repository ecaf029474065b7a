import shutil

import pytest
import torch

import lafn_viz as lv


def test_a_folder_without_weights_or_with_pickled_ones(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no config\.json"):
        lv.load_model(tmp_path)
    shutil.copy(folder("gpt2") / "config.json", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"holds no \*\.safetensors weights; save"):
        lv.load_model(tmp_path)
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(FileNotFoundError, match=r"only pytorch_model\.bin, which may run code"):
        lv.load_model(tmp_path)


def test_a_weights_file_cut_short(folder, tmp_path):
    broken = shutil.copytree(folder("gpt2"), tmp_path / "broken")
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"model\.safetensors is damaged or cut short"):
        lv.load_model(broken)
