"""Positive controls, by planted facts: a transplant brings one out, and its failures are known."""

from dataclasses import replace

import numpy as np
import pytest

import lafn_viz as lv
from lafn_viz.interventions.planted.new_facts import choose_new_facts
from lafn_viz.models.hooks import hook_post, hooked


@pytest.mark.slow
def test_planted_values_are_enough_where_the_subject_says_nothing(planted, embedded, facts):
    """Prompts about a subject that was never told the relation get the values of a planted one."""
    languages = list(planted.facts.languages)
    more = choose_new_facts(embedded, facts, "capital", 4, languages, 2, np.random.default_rng(0))
    unknown = [fact for fact in more if fact.id not in set(planted.agnostic)][:2]
    answers = {(p.fact_id, p.language): p.answer for p in planted.prompts}
    getters = [
        replace(prompt, fact_id=fact, answer=answers[fact, prompt.language])
        for prompt in replace(more, facts=tuple(unknown)).prompts()
        for fact in planted.agnostic
        if prompt.paraphrase == 4
    ]
    result = lv.transplant(
        planted.model, planted.prompts, getters, planted.agnostic,
        others={name: planted.decoys[name] for name in ("firing", "writing")},
        controls=1,
    )  # fmt: skip
    assert result.failed.all()
    log_p = result.summary(draws=9).loc["log_p", "value"]
    assert log_p["own fact"] > 3
    assert log_p[["other fact", "random neurons", "firing", "writing"]].abs().max() < 0.5
    rescued = result.summary(pairs="wordings", draws=9).loc["rescued", "value"]
    assert rescued["whole layers"] > 0.9
    assert rescued["whole layers, other fact"] == 0


@pytest.fixture(scope="module")
def all_facts(planted, facts):
    """The planted facts and those of their relation, which give the controls."""
    known = facts.filter(relation="capital", languages=planted.facts.languages)
    return replace(known, facts=(*known.facts, *planted.facts))


def sorted_failures(planted, all_facts, change):
    """The failures of the planted facts under a change of the neurons of layers 2 and 3."""
    asked = [prompt for prompt in planted.prompts if prompt.paraphrase in (0, 4)]
    with hooked(planted.model, [(hook_post(layer), change) for layer in (2, 3)]):
        lens = lv.language_lens(planted.model, asked, facts=all_facts)
        return lv.failures(lens, lv.score_answers(planted.model, asked))


def layer_of(hook):
    return int(hook.name.split(".")[1])


def numbers(neurons, hook):
    return [neuron.neuron for neuron in neurons if neuron.layer == layer_of(hook)]


@pytest.mark.slow
def test_a_fact_that_only_english_neurons_know_is_unknown_elsewhere(planted, all_facts):
    english = [spots for (_, code), spots in planted.specific.items() if code == "en"]
    silent = {spot.neuron for spot in planted.spots} - set().union(*english)

    def silence(value, hook):
        value = value.clone()
        value[..., numbers(silent, hook)] = 0
        return value

    frame = sorted_failures(planted, all_facts, silence).to_frame()
    assert {"ru", "zh"} <= set(frame["language"])
    assert (frame["kind"] == "unknown").all()


@pytest.mark.slow
def test_a_fact_that_all_languages_read_and_name_in_english_is_lost(planted, all_facts):
    """The agnostic neurons still fire in every language, but write what the English ones do."""
    foreign = [spots for (_, code), spots in planted.specific.items() if code != "en"]

    def mislead(value, hook):
        value = value.clone()
        value[..., numbers(set().union(*foreign), hook)] = 0
        for fact, agnostic in planted.agnostic.items():
            english = numbers(planted.specific[fact, "en"], hook)
            own = numbers(agnostic, hook)
            assert english
            value[..., english] += 2 * value[..., own].sum(-1, keepdim=True) / len(english)
            value[..., own] = 0
        return value

    found = sorted_failures(planted, all_facts, mislead)
    frame = found.to_frame()
    assert set(frame["language"]) == {"ru", "zh"}
    assert (frame["kind"] == "lost on the way out").mean() > 0.9
    assert frame["led_by"].str.contains("en").all()
    assert found.summary(draws=9).loc["lost on the way out", "control"] < 0.05
