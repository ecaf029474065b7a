"""One experiment: the sets that it compares, the effects, and the table."""

import numpy as np
import pytest
from made_up import a_set, scores_of

import lafn_viz as lv
from lafn_viz.experiments.compared_sets import CONTROLS, WITHOUT, compared_sets
from lafn_viz.experiments.examine import examine
from lafn_viz.experiments.figures import comparison_text

SHAPE = (2, 30)
LANGUAGES = ("en", "fr", "ru", "zh")


@pytest.fixture(scope="module")
def some(facts):
    return facts.filter(relation="capital", languages=["en", "de", "ru"], leaking=False).sample(2)


@pytest.fixture(scope="module")
def made_up():
    """Three facts, each with neurons in all languages, of one script, and of one language."""
    neurons = {}
    for place, fact in enumerate("ABC"):
        for number, language in enumerate(LANGUAGES):
            neurons[fact, language] = [(0, place), (1, place), (1, 15 + number)]
            if language != "zh":
                neurons[fact, language].append((0, 10 + place))
    sets = [a_set(*key, of, shape=SHAPE) for key, of in neurons.items()]
    rng = np.random.default_rng(0)
    prompts = tuple(
        lv.Prompt(fact, "capital", language, 0, "A is", "B", "A", (0, 1))
        for fact, language in neurons
    )
    scores = scores_of(rng.random((len(prompts), *SHAPE)), prompts=prompts)
    return lv.overlap(sets, min_languages=3, min_scripts=2), scores


def test_compared_sets_are_what_they_are_called(made_up):
    overlap, scores = made_up
    activations = {key: scores.values[0] ** 2 for key in overlap.sets}
    sets = compared_sets(overlap, scores, activations, CONTROLS, seed=0)
    assert list(sets) == [WITHOUT, *CONTROLS]
    after = {"A": "B", "B": "C", "C": "A"}
    for (fact, language), own in sets[WITHOUT].items():
        key = fact, language
        assert own == overlap.agnostic_without(language)[fact]
        assert sets["agnostic"][key] == overlap.agnostic[fact]
        assert sets["own set"][key] == overlap.sets[key].neurons
        assert sets["another fact's"][key] == sets[WITHOUT][after[fact], language]
        assert len(sets["all neurons"][key]) == SHAPE[0] * SHAPE[1]
        for name in ("as highly attributed", "as active", "random"):
            layers = sorted(neuron.layer for neuron in sets[name][key])
            assert layers == sorted(neuron.layer for neuron in own)
            assert not sets[name][key] & own
        assert not sets["as highly attributed"][key] & overlap.agnostic[fact]
        attributed = scores.select(lambda p, key=key: (p.fact_id, p.language) == key).values[0]
        assert sets["as highly attributed"][key] == lv.matched_like(
            own, attributed, avoid=overlap.agnostic[fact]
        )
    # A neuron of en, fr and ru is agnostic (two scripts), and without ru it is not.
    assert (0, 10) in sets["agnostic"]["A", "ru"]
    assert (0, 10) not in sets[WITHOUT]["A", "ru"]


def test_prompts_have_to_choose_and_to_measure(embedded, some):
    with pytest.raises(ValueError, match=r"select_on=\(\) leaves 0 prompts to choose neurons and"):
        examine(embedded, some, select_on=())
    for wrong in (np.zeros((2, 2)), "no such thing"):
        with pytest.raises(ValueError, match=r"unknown control .*; there are agnostic"):
            examine(embedded, some, controls=wrong)
    with pytest.raises(ValueError, match="give some of zero, mean and resample"):
        examine(embedded, some, hows="scale")


@pytest.mark.slow
def test_an_examination_is_its_parts_put_together(embedded, some):
    controls = ("own set", "all neurons")
    found = lv.examine(
        embedded, some, min_languages=2, min_scripts=2, hows=("mean", "zero"), controls=controls,
        known_only=True,
    )  # fmt: skip
    answers = lv.score_answers(embedded, some.prompts())
    known = [p for p, yes in zip(answers.prompts, answers.known, strict=True) if yes]
    assert found.n_prompts == len(some.prompts())
    assert found.n_choosing == sum(prompt.paraphrase < 4 for prompt in known)
    assert set(found.scores.prompts) == {prompt for prompt in known if prompt.paraphrase < 4}
    table = found.effect_table(by_language=True).set_index(["how", "languages", "set"])
    measured = [prompt for prompt in known if prompt.paraphrase > 3]
    assert found.n_measured == len(measured)
    without = found.overlap.agnostic_without("ru")
    changes = []
    for fact in found.overlap.facts:
        asked = [p for p in measured if (p.fact_id, p.language) == (fact, "ru")]
        others = [prompt for prompt in known if prompt.fact_id != fact]
        effect = lv.intervene(embedded, asked, without[fact], how="mean", corpus=others, controls=0)
        changes.append(effect.change)
    row = table.loc[("mean", "ru", WITHOUT)]
    assert row["p"] == pytest.approx(np.mean(changes), abs=1e-4)
    assert row["neurons"] == np.mean([len(of) for of in without.values()])
    zeroed = table.loc["zero"].loc["ru"]
    assert zeroed.loc["all neurons", "p"] < zeroed.loc["own set", "p"] < -0.05
    if np.isfinite(zeroed.loc[WITHOUT, "share"]):
        ratio = zeroed.loc[WITHOUT, "p"] / zeroed.loc["own set", "p"]
        assert zeroed.loc[WITHOUT, "share"] == pytest.approx(ratio)
    assert table.loc["zero"].loc["ru"].loc["own set", "share"] in (1.0, pytest.approx(1.0))

    frame = found.to_frame()
    first = "P(correct) outside Latin script, neurons at the mean of other facts"
    assert frame.index[0] == (first, WITHOUT)
    assert frame.loc[(first, WITHOUT), "value"] == pytest.approx(row["p"])
    lines = comparison_text({"one": found.to_frame(), "two": found.to_frame()}).splitlines()
    assert lines[0].split() == ["one", "two"]
    assert lines[1] == first
    assert lines[2].count(f"{row['p']:+.1%} [") == 2
    assert found.to_text().splitlines()[0].split() == ["embedded"]
    assert f"{row['p']:+.1%}" in repr(found)
