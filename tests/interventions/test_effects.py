"""Effects of each fact's own neurons, against single interventions."""

import numpy as np
import pytest

import lafn_viz as lv


@pytest.mark.slow
def test_effects_are_those_of_each_fact_alone(tiny, facts):
    model = tiny("gpt2")
    chosen = facts.filter(relation="capital", subjects=["FR", "JP", "PE"], languages=["en", "ru"])
    prompts = chosen.prompts()
    ids = list(dict.fromkeys(prompt.fact_id for prompt in prompts))
    sets = {
        "one": {ids[0]: [(0, 3), (1, 4)], ids[1]: [(2, 2)], ids[2]: []},
        "two": {ids[0]: [(1, 1)]},
    }
    result = lv.effects(model, sets, prompts, controls=2)
    assert result.facts == tuple(ids)
    assert result.sets == ("one", "two")
    for number, name in enumerate(result.sets):
        for row, fact in enumerate(result.facts[:2]):
            if fact not in sets[name]:
                continue
            of_fact = [p for p in prompts if p.fact_id == fact]
            effect = lv.intervene(model, of_fact, sets[name][fact], controls=2).to_frame()
            by_language = effect.groupby("language", sort=False)["p_after"].mean()
            column = [result.languages.index(language) for language in by_language.index]
            np.testing.assert_allclose(result.p[1, number, row, column], by_language, rtol=1e-4)
    # No neurons, no effect; not a zero.
    assert np.isnan(result.p[:, 0, 2]).all()
    assert (result.n_neurons[0, 2] == 0).all()
    table = result.summary(by_language=True)
    assert result.summary(languages=["en_US"]).equals(result.summary(languages=["en"]))
    own = result.changes(of="log_p")["own fact"][0, :2, 0]
    assert table.loc[("one", "own fact", "en"), "log_p"] == pytest.approx(own.mean())
    of_other = [p for p in prompts if p.fact_id == ids[1]]
    other = lv.intervene(model, of_other, sets["two"][ids[0]], controls=0).to_frame()
    got = result.changes(mean_of=result.languages)["other fact"][1, 0, 0]
    assert got == pytest.approx(other["p_after"].mean() / other["p_before"].mean() - 1, rel=1e-4)


def test_effects_of_other_facts_are_refused(tiny, prompts):
    with pytest.raises(ValueError, match="no fact of the neuron sets"):
        lv.effects(tiny("gpt2"), {"a": {"nothing": [(0, 1)]}}, prompts)


@pytest.mark.parametrize("how", ["mean", "resample"])
def test_a_fact_gets_from_the_corpus_what_neurons_do_on_other_facts(tiny, facts, how):
    model = tiny("gpt2")
    prompts = facts.filter(
        relation="capital", subjects=["FR", "JP", "PE"], languages=["en", "ru"]
    ).prompts()
    asked, *_ = dict.fromkeys(prompt.fact_id for prompt in prompts)
    own, others = (
        [prompt for prompt in prompts if (prompt.fact_id == asked) == mine]
        for mine in (True, False)
    )
    neurons = [(0, 3), (1, 4), (2, 7)]
    got = lv.effects(
        model, {"a": {asked: neurons}}, prompts, how=how, corpus=prompts, controls=0,
        other_fact=False,
    )  # fmt: skip
    alone = lv.intervene(model, own, neurons, how=how, corpus=others, controls=0).to_frame()
    for language in ("en", "ru"):
        expected = alone.loc[alone["language"] == language, "p_after"].mean()
        place = (1, 0, 0, got.languages.index(language))
        assert got.p[place] == pytest.approx(expected, rel=1e-4)
    assert np.isnan(got.p[3:]).all()
    with pytest.raises(ValueError, match="no prompt of another fact than 'capital/FR' in en"):
        lv.effects(model, {"a": {asked: neurons}}, own, how=how, corpus=own, controls=0)


def test_a_language_is_measured_with_its_own_neurons(tiny, facts):
    model = tiny("gpt2")
    chosen = facts.filter(relation="capital", subjects=["FR", "JP"], languages=["en", "ru"])
    prompts = chosen.prompts()
    first, second = dict.fromkeys(prompt.fact_id for prompt in prompts)
    by_key = {(first, "en"): [(0, 3)], (first, "ru"): [(1, 4), (2, 5)], (second, "ru"): []}
    got = lv.effects(model, {"own": by_key}, prompts, controls=2)
    for (fact, language), neurons in by_key.items():
        place = (0, got.facts.index(fact), got.languages.index(language))
        assert got.n_neurons[place] == len(neurons)
        if not neurons:
            assert np.isnan(got.p[:, *place]).all()
            continue
        for kind, of in ((0, fact), (3, second)):  # before and after, of it and of the other
            asked = [p for p in prompts if (p.fact_id, p.language) == (of, language)]
            alone = lv.intervene(model, asked, neurons, controls=2).to_frame()
            means = alone[["p_before", "p_after"]].mean()
            np.testing.assert_allclose(got.p[kind : kind + 2, *place], means, rtol=1e-4)
            if kind == 0:
                assert got.p[2, *place] == pytest.approx(alone["p_control"].mean(), rel=1e-4)
