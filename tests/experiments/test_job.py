"""One bad item of a sweep: it is recorded, and the others are as they would be without it."""

from dataclasses import replace

import pandas as pd
import pytest

import lafn_viz as lv

QUICK = {"methods": ["activation"], "controls": 1, "progress": False}


@pytest.fixture(scope="module")
def some(facts):
    return facts.filter(relation="capital", languages=["en", "fr"], leaking=False).sample(3)


def bad_facts(good: lv.Fact) -> list[lv.Fact]:
    """Facts that cannot be used, or not in every language."""
    long = "Japan " * 300
    kinds = {
        "too long": {"subject": dict.fromkeys(good.subject, long)},
        "too long in one language": {"subject": {**good.subject, "fr": long}},
        "no paraphrases in one language": {
            "subject": {**good.subject, "sw": "A"}, "object": {**good.object, "sw": "B"},
        },
        "no answer in one language": {"object": {**good.object, "fr": " "}},
        "no name of the object": {"object": {"en": "Rome"}},
        "half a character": {"subject": {**good.subject, "en": "Jap\ud800n"}},
    }  # fmt: skip
    return [
        replace(good, id=f"bad/{kind}", subject_id=kind, **names) for kind, names in kinds.items()
    ]


REASONS = ("tokens with its answer", "tokens with its answer", "no paraphrases of relation",
           "an empty answer", "its object has no name in language 'fr'", "")  # fmt: skip


def odd_facts(good: lv.Fact) -> list[lv.Fact]:
    """Facts that look like faults and are none."""
    return [
        replace(good, id="odd/equal names", subject_id="equal", object=good.subject),
        replace(good, id="odd/unknown", subject_id="z", object=dict.fromkeys(good.object, "Zqx")),
        replace(good, id="odd/the same again", subject_id="again"),
    ]


def test_bad_facts_are_recorded_and_the_others_are_as_without_them(embedded, some, tmp_path):
    good = (*some, *odd_facts(some.facts[0]))
    bad = bad_facts(some.facts[0])
    clean = lv.sweep(embedded, replace(some, facts=good), tmp_path / "clean", **QUICK)
    assert len(clean.failures) == 0
    # Before, between and after the good ones, and two in a row.
    mixed = (bad[0], good[0], bad[1], bad[2], *good[1:3], bad[3], *good[3:], bad[4], bad[5])
    store = lv.sweep(embedded, replace(some, facts=mixed), tmp_path / "mixed", **QUICK)
    assert sorted(store.failures["item"]) == sorted(fact.id for fact in bad)
    reasons = store.failures.set_index("item")["reason"]
    for fact, words in zip(bad, REASONS, strict=True):
        assert words in reasons[fact.id]
    for table in ("prompts", "scores", "sets", "neurons", "overlap", "effects"):
        frame = store.read(table)
        frame = frame[~frame["fact_id"].str.startswith("bad")].reset_index(drop=True)
        pd.testing.assert_frame_equal(frame, clean.read(table), check_exact=True)
