"""One bad item of a sweep: it is recorded, and the others are as they would be without it."""

from dataclasses import replace

import pandas as pd
import pytest
import torch

import lafn_viz as lv
from lafn_viz.experiments.job import Job
from lafn_viz.experiments.stages import split_prompts

QUICK = {"methods": ["activation"], "controls": 1, "how": "zero", "progress": False}


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


@pytest.mark.slow
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


def files_of(store: lv.Store) -> dict[str, bytes]:
    return {
        path.relative_to(store.folder).as_posix(): path.read_bytes()
        for path in store.folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.slow
def test_a_mended_fact_is_all_that_is_done_again(embedded, some, tmp_path, monkeypatch):
    # Without what a fact takes from all others of its relation, each has one neighbour.
    options = {**QUICK, "per_shard": 2, "dense": True, "lens": False}
    clean = lv.sweep(embedded, some, tmp_path / "clean", **options)
    bad = replace(some.facts[1], subject=dict.fromkeys(some.facts[1].subject, "Japan " * 300))
    broken = replace(some, facts=(some.facts[0], bad, some.facts[2]))
    store = lv.sweep(embedded, broken, tmp_path / "store", **options)
    assert list(store.failures["item"].unique()) == [bad.id]
    with pytest.raises(lv.StoreError, match=r"facts.checksum differ\); .* or retry \(--retry\)"):
        lv.sweep(embedded, some, store.folder, **options)
    done, usual = [], Job.run
    monkeypatch.setattr(
        Job, "run", lambda job, model, number: done.append(number) or usual(job, model, number)
    )
    mended = lv.sweep(embedded, some, store.folder, retry=True, **options)
    # The first fact had another control while this one could not be asked.
    assert done == [0, 1]
    assert files_of(mended) == files_of(clean)
    done.clear()
    lv.sweep(embedded, some, store.folder, retry=True, **options)
    assert done == []
    other = replace(some, facts=some.facts[::-1])
    with pytest.raises(lv.StoreError, match="other facts or edits than these, or in another order"):
        lv.sweep(embedded, other, store.folder, retry=True, **options)


@pytest.mark.parametrize(("family", "baseline"), [("gemma3", "other_facts"), ("gpt2", "zero")])
def test_the_baseline_is_the_mean_of_the_next_facts_where_zero_is_none(
    tiny, some, family, baseline
):
    model = tiny(family)
    plan = lv.Plan(methods=("direct_effect",), changed=(), editors=(), dense=True, lens=False)
    result = Job(some, (), plan).run(model, 1)
    assert len(result.tables["failures"]) == 0
    choosing, _ = split_prompts(replace(some, facts=(some.facts[1],)))
    corpus, _ = split_prompts(some)
    expected = lv.attribute(model, choosing, method="direct_effect", corpus=corpus)
    assert expected.provenance.options["baseline"] == baseline
    assert torch.equal(result.dense["direct_effect"], expected.values)
    # What a fact's rows come from: itself, and the control or all others of the mean.
    assert len(result.inputs) == (3 if family == "gemma3" else 2)


@pytest.mark.slow
def test_a_fact_without_others_is_a_failure_where_a_mean_is_needed(tiny, some, tmp_path):
    alone = replace(some, facts=some.facts[:1])
    store = lv.sweep(tiny("gemma3"), alone, tmp_path, methods=["integrated_gradients"])
    assert "the corpus has no other fact" in store.failures["reason"].iloc[0]
