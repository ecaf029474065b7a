"""What every layer would write, against TransformerLens and transformers; names and controls."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformer_lens.tools.analysis import logit_lens
from transformers import AutoModelForMaskedLM

import lafn_viz as lv
from lafn_viz.interventions import lens_reading
from lafn_viz.interventions.lens_names import Objects, tokens_of_names
from lafn_viz.models.tokenizing import token_text
from lafn_viz.models.tokens import encode
from lafn_viz.neurons.neuron_sets import Neuron

CAUSAL = ("gpt2", "gemma2", "olmo2", "opt")  # soft-cap, norms of what is written, a projection


@pytest.fixture(scope="module")
def asked(facts):
    capitals = facts.filter(relation="capital", languages=["en", "ru", "zh"])
    some = capitals.filter(subjects=["FR", "JP", "PE", "EG"])
    return [prompt for prompt in some.prompts() if prompt.paraphrase == 1]


def first_of(model, prompt, name, language):
    """The name's first token after the prompt, by encoding both; -1 for a blank one."""
    separator = "" if language == "zh" else " "
    token = encode(model, replace(prompt, answer=name, separator=separator)).answer[0]
    return token if token_text(model, token).strip() else -1


@pytest.mark.parametrize("family", CAUSAL)
def test_layers_are_those_of_transformer_lens(tiny, asked, family):
    model = tiny(family)
    lens = lv.language_lens(model, asked, controls=2, max_prompts=2)
    for number in (0, 4, 11):
        prompt = asked[number]
        item = encode(model, prompt)
        names = lens.names[prompt.fact_id]
        targets = [first_of(model, prompt, names[code], code) for code in lens.languages]
        assert lens.token[number].tolist() == targets
        named = np.array(targets) >= 0
        assert named.any()
        targets = [token for token in targets if token >= 0]
        tokens = torch.tensor([item.read[: item.predicts + 1]])
        expected = logit_lens(model, tokens, targets=targets, return_type="log_probs")
        ranks = expected.readout.target_ranks[:, 0].numpy()
        np.testing.assert_array_equal(lens.rank[number][:, named], ranks)
        values = expected.values[:, 0].numpy()
        np.testing.assert_allclose(lens.log_prob[number][:, named], values, atol=1e-4)
        assert np.isnan(lens.rank[number][:, ~named]).all()


def test_a_model_in_training_is_read_alike(folder, asked):
    model = lv.load_model(folder("gpt2"))  # its own, since it is changed
    expected = lv.language_lens(model, asked, controls=2)
    model.requires_grad_(True)
    lens = lv.language_lens(model, asked, controls=2)
    np.testing.assert_array_equal(lens.rank, expected.rank)


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_layers_of_a_masked_model_go_through_its_own_head(tiny, folder, asked, family):
    model, hf = tiny(family), AutoModelForMaskedLM.from_pretrained(folder(family)).eval()
    lens = lv.language_lens(model, asked, controls=2)
    for number in (0, 5):
        item = encode(model, asked[number])
        with torch.no_grad():
            states = hf(torch.tensor([item.read]), output_hidden_states=True).hidden_states
            head = hf.cls if family == "bert" else hf.lm_head
            logits = torch.stack([head(state)[0, item.predicts] for state in states])
        named = lens.token[number] >= 0
        expected = logits.log_softmax(-1)[:, lens.token[number][named]]
        np.testing.assert_allclose(lens.log_prob[number][:, named], expected.numpy(), atol=1e-4)
        best = [token_text(model, token) for token in logits.argmax(-1).tolist()]
        assert list(lens.written[number]) == best


def test_the_last_layer_is_the_models_output(embedded, facts, asked):
    lens = lv.language_lens(embedded, asked)
    scores = lv.score_answers(embedded, asked)
    one_token = [len(encode(embedded, prompt).answer) == 1 for prompt in asked]
    own = lens.log_prob[np.arange(len(asked)), -1, lens.own]
    assert any(one_token)
    np.testing.assert_allclose(own[one_token], scores.log_prob.numpy()[one_token], atol=1e-4)
    known = scores.known.numpy()
    assert known.any()
    assert (lens.rank[known, -1, lens.own[known]] == 0).all()
    np.testing.assert_allclose(lens.written_prob[known, -1], np.exp(own[known]), atol=1e-4)


def test_a_model_whose_unembedding_is_more_than_a_matrix(asked, monkeypatch, embedded):
    plain = lv.language_lens(embedded, asked, controls=2)
    caps = replace(lens_reading.capabilities(embedded), unembedding=None)
    monkeypatch.setattr(lens_reading, "capabilities", lambda model: caps)
    other = lv.language_lens(embedded, asked, controls=2)
    np.testing.assert_array_equal(plain.rank, other.rank)
    np.testing.assert_allclose(plain.control_log_prob, other.control_log_prob, atol=1e-4)


def test_an_edit_acts_in_what_is_read(embedded, asked):
    before = lv.language_lens(embedded, asked, controls=1)
    edit = lv.Edit(
        "FR", "capital", {"en": ("France",)}, {"en": "Paris"}, {"en": "Tokyo"}, (Neuron(1, 3),),
        torch.full((1,), 99.0), "answer", (1.0,), 1.0, 0.0, tuple(asked[:1]), before.provenance,
    )  # fmt: skip
    with lv.edited(embedded, edit):
        after = lv.language_lens(embedded, asked, controls=1)
    changed = np.array(["France" in prompt.text for prompt in asked])
    assert (before.log_prob[changed, -1] != after.log_prob[changed, -1]).all()
    np.testing.assert_array_equal(before.log_prob[~changed], after.log_prob[~changed])


def test_controls_are_other_objects_that_do_not_stand_in_the_prompt(embedded, facts):
    capitals = facts.filter(relation="capital", languages=["en", "ru", "zh"], leaking=False)
    some = capitals.filter(subjects=["FR", "JP", "PE", "EG", "RU", "CN"])
    asked = [p for p in some.prompts(shots=2, examples=capitals) if p.paraphrase == 1]
    objects = Objects.of(asked, {fact.id: fact for fact in capitals}, seed=0)
    for prompt in asked[::4]:
        rows = tokens_of_names(embedded, prompt, objects, ("en", "ru", "zh"), 4)
        assert len(rows) == 5
        own = ("en", "ru", "zh").index(prompt.language)
        named = [f.object[prompt.language] for f in capitals]
        in_examples = [name for name in named if name in prompt.context]
        assert len(in_examples) >= 2
        assert not {first_of(embedded, prompt, n, prompt.language) for n in in_examples} & {
            *rows[1:, own].tolist()
        }
        assert not {*rows[1:].ravel().tolist()} & {*rows[0].tolist()}
        # The other facts that are asked come first.
        names = [fact.object[prompt.language] for fact in some]
        assert rows[1, own] in {first_of(embedded, prompt, n, prompt.language) for n in names}


def test_bad_input_gets_one_sentence(embedded, facts, asked):
    english = [prompt for prompt in asked if prompt.language == "en"]
    with pytest.raises(ValueError, match="all 4 prompts are in 'en'"):
        lv.language_lens(embedded, english)
    lens = lv.language_lens(embedded, english[:2], languages=["en", "ru"], controls=1)
    assert lens.languages == ("en", "ru")
    same = facts.filter(relation="capital", languages=["en", "de"], subjects=["FR", "DE"])
    with pytest.raises(ValueError, match="in none of 3 prompts"):
        lv.language_lens(embedded, same.prompts()[5:8], controls=1)
    lone = facts.filter(relation="capital", subjects="FR", languages=["en", "ru"])
    with pytest.raises(ValueError, match="no other fact of relation 'capital'"):
        lv.language_lens(embedded, lone.prompts(), facts=lone)
    own = lv.Prompt.of("France is near", "Spain", subject="France")
    with pytest.raises(ValueError, match=r"names of own/France.*give facts="):
        lv.language_lens(embedded, own)


@pytest.mark.gemma
def test_gemma_names_in_english_what_it_writes_in_russian(gemma, facts):
    capitals = facts.filter(relation="capital", languages=["en", "ru"], leaking=False)
    some = capitals.filter(subjects=["FR", "JP", "TH", "FI"], languages="ru")
    asked = [p for p in some.prompts(shots=2, examples=capitals) if p.paraphrase == 2]
    lens = lv.language_lens(gemma, asked, languages=["en", "ru"], controls=4)
    table = lens.by_language(top=1)
    led, control = (table.pivot_table(of, "name", "layer") for of in ("share", "control"))
    assert led.loc["en", 15] > 0.7
    assert led.loc["en", 18] == 0
    assert led.loc["ru", :16].max() == 0
    assert led.loc["ru", 18] >= 0.5
    assert control.to_numpy().max() < 0.2
