from collections import defaultdict

import pytest
import torch
from hypothesis import given, settings, strategies as st
from made_up import a_set

import lafn_viz as lv
from lafn_viz.datasets.languages import script_of
from lafn_viz.neurons.criterion import Criterion

LANGUAGES = ("en", "fr", "tr", "ru", "uk", "zh", "ar")
SCRIPTS = {language: script_of(language) for language in LANGUAGES}


@settings(deadline=None)  # the first call compiles its checks of types
@given(
    st.dictionaries(st.sampled_from(LANGUAGES), st.sets(st.integers(0, 5)), min_size=2),
    st.none() | st.integers(2, 9),
    st.integers(1, 6),
)
def test_agnostic_neurons_are_those_counted_by_hand(held, min_languages, min_scripts):
    holders = defaultdict(set)
    for language, neurons in held.items():
        for neuron in neurons:
            holders[neuron].add(language)
    n_languages = min(min_languages or len(held), len(held))
    n_scripts = min(min_scripts, len({SCRIPTS[language] for language in held}))
    expected = {
        neuron
        for neuron, languages in holders.items()
        if len(languages) >= n_languages
        and len({SCRIPTS[language] for language in languages}) >= n_scripts
    }
    sets = [a_set("A", language, [(0, n) for n in of]) for language, of in held.items()]
    found = lv.overlap(sets, min_languages=min_languages, min_scripts=min_scripts).agnostic["A"]
    assert {neuron.neuron for neuron in found} == expected


def test_the_languages_of_one_script_do_not_meet_two_scripts():
    held = torch.tensor([[True, True], [True, True], [True, False], [False, True]])
    scripts = ["Latin", "Latin", "Latin", "Cyrillic"]
    assert Criterion(3).agnostic(held, scripts).tolist() == [True, True]
    assert Criterion(3, 2).agnostic(held, scripts).tolist() == [False, True]
    # Where one script knows the fact, there is no other to ask for.
    assert Criterion(3, 2).agnostic(held[:3], scripts[:3]).tolist() == [True, False]


def test_neurons_without_a_language_are_those_of_its_overlap_without_its_sets():
    sets = [
        a_set(fact, language, [(0, (3 * place + shift) % 7) for shift in range(3)])
        for fact in "AB"
        for place, language in enumerate(LANGUAGES)
    ]
    sets.append(a_set("C", "ru", [(0, 1)]))
    sets.append(a_set("C", "en", [(0, 1)]))
    options = {"min_languages": 3, "min_scripts": 2}
    found = lv.overlap(sets, **options)
    for left_out, codes in (("ru", "ru"), (("ru", "uk"), ("ru", "uk")), (("en_US",), ("en",))):
        kept = [s for s in sets if s.language not in codes and s.fact_id != "C"]
        without = found.agnostic_without(left_out)
        assert without == lv.overlap(kept, **options).agnostic
        assert any(without[fact] != found.agnostic[fact] for fact in without)
    with pytest.raises(ValueError, match="unknown language 'de'"):
        found.agnostic_without("de")


@pytest.mark.parametrize(
    ("criterion", "text"),
    [
        (Criterion(), "all languages that know the fact"),
        (Criterion(4), "4 languages or more"),
        (Criterion(4, 3), "4 languages or more of 3 scripts or more"),
    ],
)
def test_a_criterion_says_what_it_asks_for(criterion, text):
    assert str(criterion) == text
    sets = [a_set(fact, language, [(0, 1)]) for fact in "AB" for language in LANGUAGES]
    found = lv.overlap(
        sets, min_languages=criterion.min_languages, min_scripts=criterion.min_scripts
    )
    assert f"agnostic: in {text}" in repr(found)
    assert text in lv.plots.layer_distribution(found).layout.title.subtitle.text


def test_counts_are_those_of_each_criterion_and_their_control_is_other_facts():
    # Facts A and B hold the same neuron in every language: others' sets hold it as well. Fact C has
    # neurons of its own, which no other fact's set holds.
    sets = [
        a_set(fact, language, [(0, 1)] if fact in "AB" else [(0, 2), (0, 3)])
        for fact in "ABC"
        for language in ("en", "fr", "ru", "zh")
    ]
    sets += [a_set("D", language, [(1, 1), (1, 2)]) for language in ("en", "fr")]
    sets += [a_set("D", "ru", [(1, 2)]), a_set("D", "zh", [])]
    overlap = lv.overlap(sets, min_languages=2, min_scripts=2)
    table = lv.agnostic_counts(overlap, draws=60).set_index(["criterion", "fact_id"])
    chosen, any_script, every = (
        table.loc[str(c)] for c in (Criterion(2, 2), Criterion(2), Criterion())
    )
    assert chosen["agnostic"].tolist() == [1, 1, 2, 1]
    assert any_script["agnostic"].tolist() == [1, 1, 2, 2]
    assert every["agnostic"].tolist() == [1, 1, 2, 0]
    assert any_script.loc["D", "one_script"] == 0.5
    assert (chosen["one_script"] == 0).all()
    for fact in overlap.facts:
        assert chosen.loc[fact, "agnostic"] == len(overlap.agnostic[fact])
    assert 0.5 < chosen.loc["A", "other_facts"] < 2.5
    alone = lv.overlap([s for s in sets if s.fact_id == "A"], min_languages=2)
    assert lv.agnostic_counts(alone)["other_facts"].isna().all()
