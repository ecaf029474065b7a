import dataclasses

import numpy as np
import pytest
import torch
from families import FAMILIES
from made_up import a_set, scores_of

import lafn_viz as lv
from lafn_viz.interventions.neuron_lens import read_neuron
from lafn_viz.models.capabilities import capabilities
from lafn_viz.models.hooks import down_weight
from lafn_viz.models.tokenizing import token_text
from lafn_viz.models.tokens import encode, first_tokens
from lafn_viz.neurons.controls import random_like
from lafn_viz.neurons.neuron_sets import Neuron


@pytest.fixture(scope="module")
def france(facts):
    return facts.filter(relation="capital", subjects="FR").prompts()


@pytest.fixture(scope="module")
def scores(embedded, france):
    return lv.attribute(embedded, france)


@pytest.fixture(scope="module")
def card(embedded, france, scores):
    return lv.neuron_card(embedded, france, (2, 33), scores=scores, n_tokens=4, controls=2, seed=5)


@pytest.mark.slow
def test_a_card_holds_what_the_other_functions_find(embedded, france, scores, card):
    effect = lv.intervene(embedded, france, [(2, 33)], controls=2, seed=5)
    for name in ("before", "after", "control"):
        torch.testing.assert_close(getattr(card.effect, name), getattr(effect, name))
    assert card.effect.neurons == {Neuron(2, 33)}
    activation = lv.attribute(embedded, france, method="activation", position="answer")
    torch.testing.assert_close(card.activation, activation.values[:, 2, 33])
    torch.testing.assert_close(card.attribution, scores.values[:, 2, 33])
    assert torch.equal(card.known, scores.known)


@pytest.mark.parametrize("family", FAMILIES)
def test_tokens_change_as_the_direct_effect_says(tiny, prompts, family):
    """Independent: the gradient of log P along the residual stream, at the same place."""
    model, (prompt,) = tiny(family), prompts[:1]
    one = dataclasses.replace(prompt, answer=".", separator="")
    plain = model(torch.tensor([encode(model, one).read]))
    at = encode(model, one).predicts
    (token,) = encode(model, one).answer
    shares = plain[0, at].softmax(-1)
    options = {"target": "log_prob", "position": "answer"}
    direct = lv.attribute(model, [one], method="direct_effect", **options).values[0]
    active = lv.attribute(model, [one], method="activation", **options).values[0]
    for layer in range(3):
        neuron = int(active[layer].abs().argmax())
        *_, change = read_neuron(model, [one], Neuron(layer, neuron), [], 256)
        cap = capabilities(model).unembedding.cap
        if cap is not None:
            change = change * (1 - (plain[0, at] / cap) ** 2)
        expected = direct[layer, neuron] / active[layer, neuron]
        torch.testing.assert_close(change[token] - shares @ change, expected, rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_neurons_that_promote_a_word_are_those_whose_cards_say_so(tiny, prompts, family):
    model = tiny(family)
    found = lv.neurons_promoting(model, prompts, "b", top=10**6)
    assert len(found) == np.prod(capabilities(model).shape)
    assert (found["logit"].diff().dropna() <= 0).all()
    (token,) = first_tokens(model, prompts[0], [prompts[0].separator + "b"])
    assert found.attrs["token"] == token_text(model, token)
    for row in (found.iloc[0], found.iloc[len(found) // 2], found.iloc[-1]):
        own = Neuron(int(row["layer"]), int(row["neuron"]))
        *_, change = read_neuron(model, prompts, own, [], 256)
        assert change[token] == pytest.approx(row["logit"], rel=1e-3, abs=1e-5)


def test_a_word_without_a_token_gets_one_sentence(tiny, prompts):
    for word in ("", "  "):
        with pytest.raises(ValueError, match=f"no token for '{word}'; give another word"):
            lv.neurons_promoting(tiny("gpt2"), prompts, word)


def test_tokens_of_the_last_layer_are_its_output_row_through_the_norm(embedded, france):
    own = Neuron(3, 12)
    *_, change = read_neuron(embedded, france[:1], own, [], 256)
    item = encode(embedded, france[0])
    _, cache = embedded.run_with_cache(torch.tensor([item.read]))
    rest = cache["blocks.3.hook_out"][0, item.predicts].double()
    norm = embedded.original_model.transformer.ln_f.original_component.double()
    unembed = embedded.original_model.lm_head.weight.double()
    row, step = down_weight(embedded, 3)[12].double(), 1e-4
    slope = (norm(rest + step * row) - norm(rest - step * row)) / (2 * step)
    norm.float()
    torch.testing.assert_close(change.double(), unembed @ slope, rtol=1e-3, atol=1e-4)
    # What is the same in every dimension is lost in the norm that takes the mean away.
    flat = norm(rest.float() + 3) - norm(rest.float())
    assert flat.abs().max() < 1e-4


def test_tokens_are_the_most_promoted_and_demoted(embedded, france, card):
    *_, change = read_neuron(embedded, france, card.neuron, [], 256)
    up, down = change.argsort(descending=True)[:4], change.argsort()[:4]
    assert [text for text, _ in card.promoted] == [token_text(embedded, int(i)) for i in up]
    assert [text for text, _ in card.demoted] == [token_text(embedded, int(i)) for i in down]
    assert [value for _, value in card.promoted] == pytest.approx(change[up].tolist(), rel=1e-4)
    assert [value for _, value in card.demoted] == pytest.approx(change[down].tolist(), rel=1e-4)


def test_tables_and_frames(card, france):
    table = card.table("activation")
    assert list(table.index) == list(card.languages)
    assert list(table.columns) == [0, 1, 2, 3, 4, 5]
    for number, prompt in enumerate(france):
        assert table.loc[prompt.language, prompt.paraphrase] == pytest.approx(
            float(card.activation[number])
        )
    frame, by = card.to_frame(), card.by_language()
    assert len(frame) == len(france)
    for language in ("en", "zh"):
        mine = frame[frame["language"] == language]
        assert by.loc[language, "attribution"] == pytest.approx(mine["attribution"].mean())
        change = (mine["p_after"] - mine["p_before"]).mean()
        assert by.loc[language, "change_p"] == pytest.approx(change)
        nats = (mine["log_prob_control"] - mine["log_prob_before"]).mean()
        assert by.loc[language, "control_log_p"] == pytest.approx(nats)
        first, *rest = card.strongest[language]
        assert len(rest) == 2
        assert france[first].language == language
        assert float(card.activation[first]) == mine["activation"].max()
    assert card.provenance.options["attribution"] == "integrated_gradients"
    assert "layer 2, neuron 33" in repr(card)
    assert repr(card.promoted[0][0]) in repr(card)


@pytest.mark.slow
def test_scores_are_computed_unless_given_and_controls_are_optional(tiny, prompts):
    model = tiny("bert")
    card = lv.neuron_card(model, prompts, (0, 3), controls=0)
    expected = lv.attribute(model, prompts).values[:, 0, 3]
    torch.testing.assert_close(card.attribution, expected)
    assert card.by_language()["control_p"].isna().all()
    assert "random" not in repr(card)
    small = lv.neuron_card(model, prompts, (0, 3), controls=4, max_rows=7)
    torch.testing.assert_close(small.effect.after, card.effect.after, rtol=1e-4, atol=1e-5)
    drawn = [random_like([(0, 3)], (3, 48), seed=seed) for seed in range(4)]
    for row, some in zip(small.effect.control, drawn, strict=True):
        alone = lv.intervene(model, prompts, some, controls=0).after
        torch.testing.assert_close(row, alone, rtol=1e-4, atol=1e-5)


def test_bad_input_to_a_card(tiny, prompts):
    model = tiny("gpt2")
    scores = lv.attribute(model, prompts, method="gradient")
    with pytest.raises(ValueError, match=r"neurons=\[\(3, 0\)\].*layers from 0 to 2"):
        lv.neuron_card(model, prompts, (3, 0), scores=scores)
    with pytest.raises(ValueError, match="not the same in the same order"):
        lv.neuron_card(model, prompts[::-1], (0, 0), scores=scores)
    with pytest.raises(ValueError, match="scores are of another model"):
        lv.neuron_card(tiny("llama"), prompts, (0, 0), scores=scores)
    with pytest.raises(ValueError, match="n_tokens=0"):
        lv.neuron_card(model, prompts, (0, 0), scores=scores, n_tokens=0)
    with pytest.raises(ValueError, match="controls=48"):
        lv.neuron_card(model, prompts, (0, 0), scores=scores, controls=48)


def test_table_of_neurons_by_hand():
    values = np.zeros((4, 2, 10))
    values[0, 1, 7], values[1, 1, 7] = 4.0, 2.0  # two paraphrases of en
    values[2, 1, 7], values[2, 0, 2] = 3.0, 5.0  # zh
    values[3, 0, 5] = 90.0  # zh, but not answered
    scores = scores_of(values, [True, True, True, False], ["en", "en", "zh", "zh"])
    table = lv.neuron_table(scores, top=3, share=0.05)  # one of twenty neurons in a language
    assert list(zip(table["layer"], table["neuron"], strict=True))[:2] == [(1, 7), (0, 2)]
    assert list(table["attribution"]) == pytest.approx([3, 5 / 3, 0])
    assert list(table["en"]) == pytest.approx([3, 0, 0])
    assert list(table["zh"]) == pytest.approx([3, 5, 0])
    assert list(table["in_top"]) == [1, 1, 0]
    fact = scores.prompts[0].fact_id
    sets = [
        a_set(fact, "en", [(1, 7)]),
        a_set(fact, "zh", [(1, 7), (0, 2)]),
        a_set("another", "en", [(0, 2)]),
        a_set("another", "zh", [(0, 2)]),
    ]
    table = lv.neuron_table(scores, overlap=lv.overlap(sets), top=2)
    assert list(table["agnostic"]) == [1, 0]
    assert list(table["specific"]) == ["", "zh"]


def test_a_table_of_some_neurons_and_of_prompts_that_are_not_answered():
    values = np.zeros((1, 2, 10))
    values[0, 1, 7], values[0, 0, 2], values[0, 0, 4] = 3.0, 2.0, 1.0
    table = lv.neuron_table(scores_of(values, [False]), among=[(0, 4), (1, 7)], known_only=False)
    assert list(zip(table["layer"], table["neuron"], strict=True)) == [(1, 7), (0, 4)]
    assert list(table["attribution"]) == [3, 1]


def test_bad_input_to_a_table():
    scores = scores_of(np.zeros((1, 2, 10)), [False])
    with pytest.raises(ValueError, match="answers none of these 1 prompts"):
        lv.neuron_table(scores)
    known = scores_of(np.zeros((1, 2, 10)))
    with pytest.raises(ValueError, match="top=0"):
        lv.neuron_table(known, top=0)
    other = [a_set("A", lang, [(0, 1)], shape=(3, 10)) for lang in ("en", "fr")]
    with pytest.raises(ValueError, match="3 layers of 10 neurons for scores of 2 layers of 10"):
        lv.neuron_table(known, overlap=lv.overlap(other))


def test_tokens_are_readable(embedded, tiny):
    pieces = embedded.tokenizer("Tokyo est 東京", add_special_tokens=False)["input_ids"]
    texts = [token_text(embedded, token) for token in pieces]
    assert "�" not in "".join(texts)
    assert texts[:2] == ["Tokyo", " est"]
    # The first byte of 東 is no character on its own.
    start = embedded.tokenizer.convert_tokens_to_ids("æ")
    assert token_text(embedded, start) == r"\xe6"
    assert token_text(tiny("bert"), tiny("bert").tokenizer.mask_token_id) == "<mask>"
