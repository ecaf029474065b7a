import numpy as np
import pytest
from made_up import a_set

import lafn_viz as lv
from lafn_viz.core.stats import bootstrap


def test_by_hand():
    found = lv.overlap(
        [
            a_set("A", "en", [(0, 1), (0, 2), (1, 3)]),
            a_set("A", "fr", [(0, 1), (0, 2), (1, 4)]),
            a_set("A", "zh", [(0, 1), (1, 5)]),
        ]
    )
    assert found.agnostic["A"] == {(0, 1)}
    assert found.specific["A", "en"] == {(1, 3)}
    assert found.specific["A", "zh"] == {(1, 5)}
    expected = [[1, 2 / 4, 1 / 4], [2 / 4, 1, 1 / 4], [1 / 4, 1 / 4, 1]]
    np.testing.assert_allclose(found.jaccard, expected, rtol=1e-6)
    assert found.by_fact()["same fact"] == pytest.approx([(0.5 + 0.25 + 0.25) / 3])
    assert found.by_fact(across_scripts=True)["same fact"] == pytest.approx([0.25])
    assert found.scripts == ("Latin", "Latin", "Han")
    assert np.isnan(found.by_fact()["other fact"])  # one fact has no other to compare with
    two = lv.overlap(
        [a_set("A", lang, n) for lang, n in (("en", [(0, 1)]), ("fr", [(0, 1)]), ("zh", [(0, 2)]))],
        min_languages=2,
    )
    assert two.agnostic["A"] == {(0, 1)}
    assert list(two.per_layer()["agnostic"]) == [1.0, 0.0]


def test_a_language_is_asked_for_by_any_tag():
    found = lv.overlap(
        [a_set("A", "en", [(0, 1), (0, 2)]), a_set("A", "zh_CN", [(0, 1)]), a_set("A", "cz", [])]
    )
    assert found.languages == ("en", "zh", "cs")
    assert found.neurons_in("zho") == found.neurons_in("zh") == {"A": {(0, 1)}}
    assert found.specific_to("en-GB") == {"A": {(0, 2)}}
    with pytest.raises(ValueError, match="unknown language 'fr'; there are en, zh, cs"):
        found.neurons_in("fr")


def test_other_fact_control_compares_other_subjects_in_the_same_languages():
    found = lv.overlap(
        [
            a_set("A", "en", [(0, 1), (1, 1)]),
            a_set("A", "fr", [(0, 1), (1, 1)]),
            a_set("B", "en", [(0, 2), (1, 1)]),
            a_set("B", "fr", [(0, 2), (1, 1)]),
        ]
    )
    assert found.jaccard[0, 1] == pytest.approx(1.0)
    assert found.jaccard_other_fact[0, 1] == pytest.approx(1 / 3)
    # The same language with another fact: the diagonal of the control is no 1.
    assert found.jaccard_other_fact[0, 0] == pytest.approx(1 / 3)


def test_chance_is_what_random_sets_of_the_same_layers_have():
    rng = np.random.default_rng(0)
    shape = (2, 40)

    def random_set(fact, language):
        neurons = [(0, n) for n in rng.choice(40, 12, replace=False).tolist()]
        neurons += [(1, n) for n in rng.choice(40, 5, replace=False).tolist()]
        return a_set(fact, language, neurons, shape=shape)

    facts = [f"F{i}" for i in range(300)]
    found = lv.overlap([random_set(f, lang) for f in facts for lang in ("en", "fr")])
    assert found.jaccard[0, 1] == pytest.approx(found.jaccard_chance[0, 1], rel=0.05)
    assert found.jaccard[0, 1] == pytest.approx(found.jaccard_other_fact[0, 1], rel=0.05)


def test_languages_that_do_not_know_the_fact_are_left_out_and_told():
    found = lv.overlap(
        [
            a_set("A", "en", [(0, 1)]),
            a_set("A", "fr", [(0, 1)]),
            a_set("A", "zh", [], known=False),
            a_set("B", "en", [(0, 1)]),
            a_set("B", "fr", [], known=False),
        ]
    )
    assert found.facts == ("A",)
    assert found.agnostic["A"] == {(0, 1)}
    assert set(found.left_out) == {("A", "zh"), ("B", "fr"), ("B", "en")}
    assert np.isnan(found.jaccard[0, 2])


def test_two_empty_sets_have_no_index():
    found = lv.overlap([a_set("A", "en", []), a_set("A", "fr", [])])
    assert np.isnan(found.jaccard[0, 1])


def test_nothing_to_compare_gets_a_sentence():
    with pytest.raises(ValueError, match="no fact is known in two languages"):
        lv.overlap([a_set("A", "en", [(0, 1)])])
    with pytest.raises(ValueError, match="two sets of 'A' in 'en'"):
        lv.overlap([a_set("A", "en", []), a_set("A", "en", [])])


def test_frames():
    found = lv.overlap([a_set("A", "en", [(0, 1)]), a_set("A", "fr", [(0, 1)])])
    assert found.to_frame().to_dict("records")[0]["jaccard"] == 1.0
    names = ["same fact", "other fact", "chance", "same minus other fact"]
    assert list(found.summary()["comparison"]) == names


def test_the_overlap_coefficient_is_one_for_a_subset():
    found = lv.overlap(
        [
            a_set("A", "en", [(0, 1), (0, 2), (1, 3)]),
            a_set("A", "fr", [(0, 1), (0, 2)]),
            a_set("A", "zh", []),
        ]
    )
    assert found.coefficient[0, 0, 1] == 1
    assert found.jaccard[0, 1] == pytest.approx(2 / 3)
    # An empty set overlaps with nothing in no defined way; not 0, not 1.
    assert np.isnan(found.coefficient[0, 0, 2])


def test_intersections_are_exclusive_and_count_every_neuron_once():
    sets = [
        a_set("A", "en", [(0, 1), (0, 2), (0, 3)]),
        a_set("A", "fr", [(0, 1), (0, 2)]),
        a_set("A", "zh", [(0, 1), (1, 9)]),
        a_set("B", "en", [(0, 5)]),
        a_set("B", "fr", [(0, 5)]),
        a_set("B", "zh", [(0, 5)]),
    ]
    table = lv.overlap(sets).intersections().set_index("languages")
    assert table["neurons"].to_dict() == {
        ("en", "fr", "zh"): 1.0, ("en", "fr"): 0.5, ("en",): 0.5, ("zh",): 0.5,
    }  # fmt: skip
    # With two facts every set is replaced by the other's: what B shares stands for A and back.
    assert table.loc[[("en", "fr", "zh")], "other_facts"].tolist() == [1.0]
    one = lv.overlap(sets).intersections(facts=["A"]).set_index("languages")
    assert one["neurons"].to_dict() == {
        ("en", "fr", "zh"): 1.0, ("en", "fr"): 1.0, ("en",): 1.0, ("zh",): 1.0,
    }  # fmt: skip
    assert one.loc[[("en", "fr", "zh")], "other_facts"].tolist() == [1.0]
    assert one.loc[[("en",)], "other_facts"].tolist() == [0.0]
    with pytest.raises(ValueError, match="unknown fact 'C'; there are A, B"):
        lv.overlap(sets).intersections(facts=["C"])
    alone = lv.overlap(sets[:3]).intersections()
    assert alone["other_facts"].isna().all()


def test_part_of_an_overlap_keeps_its_controls():
    sets = [
        a_set("A", "en", [(0, 1), (0, 2)]),
        a_set("A", "fr", [(0, 1)]),
        a_set("B", "en", [(0, 1)]),
        a_set("B", "fr", [(0, 2)]),
    ]
    whole = lv.overlap(sets)
    part = whole.of(facts=["A"])
    assert part.facts == ("A",)
    np.testing.assert_array_equal(part.other_fact[0], whole.other_fact[0])
    assert set(part.agnostic) == {"A"}
    assert whole.of(relation="capital").facts == whole.facts
    with pytest.raises(ValueError, match="unknown fact 'C'; there are A, B"):
        whole.of(facts=["C"])


def test_languages_that_share_more_are_merged_first():
    found = lv.overlap(
        [
            a_set("A", "en", [(0, 1), (0, 2), (0, 3)]),
            a_set("A", "zh", [(0, 1), (1, 3), (1, 4)]),
            a_set("A", "fr", [(0, 1), (0, 2), (0, 4)]),
        ]
    )
    merges = found.linkage()
    assert set(merges[0, :2]) == {0, 2}
    assert merges[0, 2] == pytest.approx(0.5)
    assert merges[1, 2] == pytest.approx(0.8)


def test_intervals_leave_out_a_fact_and_all_its_pairs():
    rng = np.random.default_rng(0)
    sets = [
        a_set(f"F{fact}", language, [(0, int(n)) for n in rng.choice(10, 3 + fact % 4, False)])
        for fact in range(6)
        for language in ("en", "fr", "ru")
    ]
    found = lv.overlap(sets)
    without = [
        lv.overlap([s for s in sets if s.fact_id != fact]).by_fact()["other fact"].mean()
        for fact in found.facts
    ]
    means, items = found.by_fact(), found.items()
    total = means["other fact"].mean()
    np.testing.assert_allclose(items["other fact"], 6 * total - 5 * np.array(without), rtol=1e-6)
    difference = items["same minus other fact"]
    np.testing.assert_allclose(difference, means["same fact"] - items["other fact"], rtol=1e-6)
    summary = found.summary().set_index("comparison")
    assert summary.loc["other fact", "jaccard"] == pytest.approx(total)
    low, high = summary.loc["other fact", ["low", "high"]]
    naive = bootstrap(means["other fact"])
    assert high - low > 1.5 * (naive[1] - naive[0])
    two = lv.overlap(sets[:6]).summary().set_index("comparison")
    assert two.loc["other fact", "jaccard"] > 0
    assert np.isnan(
        two.loc[["other fact", "same minus other fact"], ["low", "high"]].to_numpy()
    ).all()
