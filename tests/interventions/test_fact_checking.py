"""Fact-checking: its AUC by counting pairs, and a threshold that never sees a test fact."""

import dataclasses

import numpy as np
import pytest
import torch

import lafn_viz as lv
from lafn_viz import plots
from lafn_viz.interventions import fact_checking
from lafn_viz.interventions.fact_check import DKN, RANDOM, TOP, P, fit_threshold, roc
from lafn_viz.interventions.false_answers import true_and_false
from lafn_viz.neurons.neuron_sets import Neuron

FREQUENT, SELDOM, OFTEN = Neuron(0, 3), Neuron(2, 7), Neuron(1, 5)


@pytest.fixture
def checked(tiny, facts, monkeypatch):
    """`check_facts` with made-up attributions: noise, and `signal(prompt)` on one neuron."""
    right = {(f.id, lang): name for f in facts for lang, name in f.object.items()}

    def run(signal, *, found=True, **options):
        def attribute(model, prompts, **_):
            generator = torch.Generator().manual_seed(len(prompts))
            values = torch.randn(len(prompts), 3, 48, generator=generator)
            for row, prompt in enumerate(prompts):
                values[row, 0, 3] += signal(prompt, right[prompt.fact_id, prompt.language])
            empty = torch.zeros(len(prompts), 3)
            return lv.NeuronScores(
                values=values,
                target_prob=torch.rand(len(prompts), generator=generator),
                known=torch.ones(len(prompts), dtype=torch.bool),
                completeness_error=empty,
                relative_error=empty,
                target_change=empty,
                n_points=empty.long(),
                prompts=tuple(prompts),
                provenance=lv.Provenance("made-up", "", "made-up"),
            )

        def find(model, scores, **_):
            keys = dict.fromkeys((p.fact_id, p.language) for p in scores.prompts)
            return [
                made(*key, sets=([{FREQUENT, SELDOM}, {FREQUENT}][number > 0],) * found)
                for number, key in enumerate(keys)
            ]

        monkeypatch.setattr(fact_checking, "attribute", attribute)
        monkeypatch.setattr(fact_checking, "find_degenerate", find)
        options = {"languages": ["en", "ru"], "paraphrases": (0, 1), "max_facts": 20} | options
        return lv.check_facts(tiny("gpt2"), facts, "capital", **options)

    return run


def made(fact_id, language, sets) -> lv.Degenerate:
    candidates = (FREQUENT, SELDOM, OFTEN)[: 3 if len(sets) < 2 else 2]
    n = len(candidates)
    return lv.Degenerate(
        fact_id=fact_id,
        relation="capital",
        language=language,
        prompts=(),
        candidates=candidates,
        attribution=np.arange(n, 0.0, -1),
        single=np.zeros(n),
        pair=np.zeros((n, n)),
        sets=tuple(frozenset(some) for some in sets),
        changes=np.zeros(len(sets)),
        p_before=0.5,
        together=0.0,
        together_random=0.0,
        searched={},
        left_out={},
        control=(),
        control_seeds=(),
        reason=None if sets else "no set does (all together: -3%)",
        provenance=lv.Provenance("made-up", "", "made-up"),
    )


def brute_auc(scores, truth):
    won = [
        1.0 if a > b else 0.5 if a == b else 0.0
        for a in scores[truth]
        for b in scores[~truth]
    ]  # fmt: skip
    return np.mean(won)


def test_auc_counts_pairs_and_is_the_area_under_the_curve(checked):
    check = checked(lambda prompt, right: 1.5 * (prompt.answer == right))
    summary = check.summary(draws=200)
    for judge in (DKN, TOP, P, RANDOM):
        scores, truth = check.rows(judge)
        expected = np.mean([brute_auc(row, truth) for row in scores])
        assert summary.loc[judge, "auc"] == pytest.approx(expected)
        assert summary.loc[judge, "low"] <= expected <= summary.loc[judge, "high"]
    assert summary.loc[DKN, "auc"] > 0.75
    assert abs(summary.loc[RANDOM, "auc"] - 0.5) < 0.15
    # Ties: integers.
    rng = np.random.default_rng(0)
    scores, truth = rng.integers(0, 4, 30).astype(float), rng.random(30) < 0.5
    x, y = roc(scores, truth)
    assert np.trapezoid(y, x) == pytest.approx(brute_auc(scores, truth))
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
    tied = dataclasses.replace(check, scores=np.round(check.scores))
    row, truth = tied.rows(DKN)
    assert tied.summary(draws=2).loc[DKN, "auc"] == pytest.approx(brute_auc(row[0], truth))
    difference, low, high = check.compare()
    assert difference == pytest.approx(summary.loc[DKN, "auc"] - summary.loc[RANDOM, "auc"])
    assert low <= difference <= high


def test_frequent_neurons_and_false_answers(checked, facts):
    check = checked(lambda prompt, right: 0.0)
    assert check.neurons == (FREQUENT,)  # the other is in one fact of many
    assert len(check.train) == 16
    assert len(check.test) == 4
    assert not set(check.train) & set(check.test)
    half = len(check.prompts) // 2
    assert check.truth.sum() == half
    for true, false in zip(check.prompts[:half], check.prompts[half:], strict=True):
        assert dataclasses.replace(false, answer=true.answer) == true
        assert true.answer == facts[true.fact_id].object[true.language]
        others = {f.object[true.language] for f in facts.filter(relation="capital")
                  if true.language in f.object}  # fmt: skip
        assert false.answer in others - {true.answer}
    chosen = {}
    for prompt in check.prompts[half:]:
        assert chosen.setdefault((prompt.fact_id, prompt.language), prompt.answer) == prompt.answer
    assert check.rows(RANDOM)[0].shape[0] == 10
    assert check.judges == (DKN, TOP, P, *[RANDOM] * 10)
    again = checked(lambda prompt, right: 0.0)
    assert again.prompts == check.prompts
    other = checked(lambda prompt, right: 0.0, seed=1)
    assert set(other.test) != set(check.test)


def test_top_neurons_are_the_most_frequent_candidates_left(checked):
    # SELDOM is a candidate everywhere, OFTEN in all facts but one; FREQUENT is kept.
    check = checked(lambda prompt, right: 0.0)
    assert check.neurons == (FREQUENT,)
    assert check.top == (SELDOM,)
    signal = checked(lambda prompt, right: 3.0 * (prompt.answer == right))
    summary = signal.summary(draws=2)
    assert summary.loc[DKN, "auc"] > 0.9  # on FREQUENT alone
    assert abs(summary.loc[TOP, "auc"] - 0.5) < 0.25
    found = [made("a", "en", ({FREQUENT},)), made("b", "en", ({FREQUENT}, {SELDOM}))]
    left = fact_checking._by_frequency(found, without={SELDOM})
    assert left == (FREQUENT, OFTEN)
    tied = fact_checking._by_frequency(found[:1], without=())
    assert tied == (FREQUENT, SELDOM, OFTEN)  # one count, so by attribution


@pytest.mark.slow
def test_plausible_false_answers_are_the_likeliest_of_the_wrong(checked, tiny, facts):
    few = {"languages": ["ru"], "max_facts": 3, "train_share": 0.5}
    check = checked(lambda prompt, right: 0.0, false_answers="plausible", **few)
    assert check.provenance.options["false_answers"] == "plausible"
    pool = facts.filter(relation="capital", languages="ru")
    true, false = check.prompts[:6], check.prompts[6:]
    assert [p.paraphrase for p in true] == [0, 1] * 3
    for fact in dict.fromkeys(p.fact_id for p in true):
        first, second = (p for p in true if p.fact_id == fact)
        names = sorted({f.object["ru"] for f in pool} - {first.answer})
        of_first, of_second = (
            lv.score_answers(tiny("gpt2"), [dataclasses.replace(p, answer=x) for x in names])
            for p in (first, second)
        )
        both = dict(zip(names, (of_first.log_prob + of_second.log_prob).tolist(), strict=True))
        chosen = {p.answer for p in false if p.fact_id == fact}
        assert len(chosen) == 1
        assert both[chosen.pop()] == pytest.approx(max(both.values()), abs=1e-4)
    drawn = checked(lambda prompt, right: 0.0, **few)
    assert drawn.prompts[:6] == true
    assert drawn.prompts[6:] != false


def test_a_false_answer_is_no_other_spelling_of_the_true_one(tiny, facts):
    one, other = facts.filter(relation="capital", languages="tr").facts[:2]
    pool = dataclasses.replace(
        facts,
        facts=(
            dataclasses.replace(one, id="a", object={"tr": "İzmir"}),
            dataclasses.replace(other, id="b", object={"tr": "“izmir”."}),
            dataclasses.replace(other, id="c", subject_id="x", object={"tr": "Izmır"}),
        ),
    )
    asked = [prompt for prompt in pool.prompts() if prompt.fact_id == "a"]
    for seed in range(5):
        _, false = true_and_false(tiny("gpt2"), pool, asked, "random", seed)
        assert {prompt.answer for prompt in false} == {"Izmır"}


def test_threshold_never_sees_a_test_fact(checked):
    def signal(prompt, right):
        return 2.0 * (prompt.answer == right)

    check = checked(signal)
    turned = checked(
        lambda prompt, right: (-50 if prompt.fact_id in check.test else 1) * signal(prompt, right)
    )
    np.testing.assert_array_equal(turned.thresholds, check.thresholds)
    good, bad = (each.summary(draws=2).loc[DKN] for each in (check, turned))
    assert good["accuracy_true"] > 0.6
    assert bad["accuracy_true"] == 0
    assert bad["auc"] < 0.1
    # The accuracies are those of the threshold, counted one by one.
    scores, truth = check.rows(DKN)
    passed = scores[0] > check.thresholds[0]
    assert good["accuracy_true"] == pytest.approx(passed[truth].mean())
    assert good["accuracy_false"] == pytest.approx(1 - passed[~truth].mean())


def test_fitted_threshold_is_the_best_there_is():
    rng = np.random.default_rng(1)
    for _ in range(20):
        scores, truth = rng.normal(size=12).round(1), np.arange(12) < 4

        def balanced(limit, scores=scores, truth=truth):
            return (scores > limit)[truth].mean() + (scores <= limit)[~truth].mean()

        best = max(balanced(limit) for limit in [-9, *scores])
        assert balanced(fit_threshold(scores, truth)) == pytest.approx(best)


def test_without_degenerate_neurons_there_is_no_number(checked):
    check = checked(lambda prompt, right: 0.0, found=False)
    assert check.neurons == ()
    assert "no degenerate neuron in 32 training facts and languages" in check.reason
    assert "no set does" in check.reason
    summary = check.summary(draws=20)
    assert np.isnan(summary.loc[DKN, ["auc", "low", "accuracy_true"]].to_numpy(float)).all()
    assert np.isnan(check.thresholds[0])
    assert 0 <= summary.loc[P, "auc"] <= 1
    assert not {TOP, RANDOM} & set(summary.index)
    assert np.isnan(check.compare()).all()
    figure = plots.fact_checking_roc(check)
    assert len(figure.data) == 1
    assert "judge nothing here" in figure.layout.title.subtitle.text


def test_roc_figure_has_all_controls(checked):
    check = checked(lambda prompt, right: 1.5 * (prompt.answer == right))
    figure = plots.fact_checking_roc(check)
    names = [P, DKN, TOP, f"{RANDOM}, 95% of draws", RANDOM]
    assert [trace.name for trace in figure.data] == names
    scores, truth = check.rows(DKN)
    np.testing.assert_allclose([figure.data[1].x, figure.data[1].y], roc(scores[0], truth))
    auc = check.summary().loc[DKN, "auc"]
    assert any(f"AUC {auc:.3f}" in note.text for note in figure.layout.annotations)
    assert {"true", "part", "candidate", DKN, TOP, P, RANDOM} <= set(check.to_frame())
    assert "AUC: degenerate neurons" in repr(check)


def test_too_little_to_check_is_refused(tiny, facts):
    model, one = tiny("gpt2"), facts.filter(relation="capital", subjects="FR")
    with pytest.raises(ValueError, match="no false answer for any"):
        lv.check_facts(model, one, "capital")
    with pytest.raises(ValueError, match="no false answer for any"):
        lv.check_facts(model, facts, "capital", languages="en", paraphrases=(99,))
    two = facts.filter(relation="capital", subjects=["FR", "JP"])
    with pytest.raises(ValueError, match="leaves 2 to train and 0 to test"):
        lv.check_facts(model, two, "capital")


@pytest.mark.slow
def test_a_real_model_is_checked_from_end_to_end(embedded, facts):
    check = lv.check_facts(
        embedded, facts.filter(leaking=False), "capital", languages="en", paraphrases=(0,),
        max_facts=6, of="odds", top=8, controls=3,
    )  # fmt: skip
    assert check.neurons
    one = check.prompts[0]
    direct = lv.attribute(embedded, [one])
    mean = np.mean([direct.values[0, n.layer, n.neuron].item() for n in check.neurons])
    assert check.scores[0, 0] == pytest.approx(mean, rel=1e-3, abs=1e-6)
    expected = lv.score_answers(embedded, check.prompts).probability.numpy()
    np.testing.assert_allclose(check.scores[check.judges.index(P)], expected, atol=1e-5)
    assert len(check.top) <= len(check.neurons)
    assert set(check.top) <= {n for one in check.found for n in one.candidates}
    assert not set(check.top) & set(check.neurons)
    mean = np.mean([direct.values[0, n.layer, n.neuron].item() for n in check.top])
    assert check.scores[check.judges.index(TOP), 0] == pytest.approx(mean, rel=1e-3, abs=1e-6)
    assert {p.fact_id for one in check.found for p in one.prompts} <= set(check.train)


def test_bad_facts_leave_the_verdict_as_it_is_without_them(embedded, facts, monkeypatch):
    some = facts.filter(relation="capital", languages=["en", "fr"], leaking=False).sample(6)
    good = some.facts[0]
    long, other = dict.fromkeys(good.subject, "Japan " * 300), {**good.object, "sw": "B"}
    no_number = dataclasses.replace(good, id="nan", subject_id="nan")
    bad = (
        dataclasses.replace(good, id="long", subject_id="long", subject=long),
        dataclasses.replace(
            good, id="no texts", subject_id="x", subject={**good.subject, "sw": "A"}, object=other
        ),
        no_number,
    )
    usual = fact_checking.attribute

    def attribute(model, prompts, **options):
        scores = usual(model, prompts, **options)
        scores.values[[prompt.fact_id == "nan" for prompt in prompts], 0, 0] = torch.nan
        return scores

    monkeypatch.setattr(fact_checking, "attribute", attribute)
    options = {"paraphrases": (0,), "method": "activation", "max_facts": 4, "controls": 2}
    expected = lv.check_facts(embedded, some, "capital", **options)
    mixed = dataclasses.replace(
        some, facts=(bad[0], *some.facts[:3], bad[1], *some.facts[3:], bad[2])
    )
    with pytest.warns(lv.SkippedWarning, match="of 9 facts left out: 'long'"):
        found = lv.check_facts(embedded, mixed, "capital", **options)
    assert (found.train, found.test, found.prompts) == (
        expected.train, expected.test, expected.prompts
    )  # fmt: skip
    np.testing.assert_array_equal(found.scores, expected.scores)
    with pytest.raises(ValueError, match="tokens with its answer"):
        lv.check_facts(embedded, dataclasses.replace(some, facts=bad[:1]), "capital", **options)
