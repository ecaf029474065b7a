"""Evidence: what chooses options never reports, and the files hold what was found."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import lafn_viz as lv
from lafn_viz.datasets.languages import outside_latin
from lafn_viz.experiments import examine
from lafn_viz.experiments.figures import VALUES, effect_table
from lafn_viz.neurons.criterion import Criterion

LANGUAGES = ["en", "fr", "es", "ru", "ar"]
OPTIONS = {
    "paraphrases": (0, 1), "method": "gradient_x_activation", "fractions": (0.01, 0.02),
    "criteria": ((3, 2), (2, 1)),
}  # fmt: skip


@pytest.fixture(scope="module")
def some_facts():
    return lv.load_facts().filter(relation="capital", languages=LANGUAGES).sample(13, seed=3)


@pytest.fixture(scope="module")
def found(embedded, some_facts):
    return lv.evidence(embedded, some_facts, **OPTIONS)


@pytest.mark.slow
def test_every_fact_reports_in_one_half(found, some_facts):
    first, second = (set(half) for half in found.halves)
    assert first
    assert second
    assert not first & second
    assert set(found.facts) <= {fact.id for fact in some_facts}
    for half, part in zip((first, second), found.examinations, strict=True):
        assert set(part.overlap.facts) <= half
        for effects in part.effects.values():
            assert set(effects.facts) <= half


@pytest.mark.slow
@pytest.mark.parametrize("half", [0, 1])
def test_a_half_reports_by_the_options_that_did_best_on_the_other(found, half):
    tried = found.tried[found.tried["half"] == 1 - half]
    best = tried.loc[tried["t"].idxmax()]
    assert len(tried) == 4
    own = Criterion(int(best["min_languages"]), int(best["min_scripts"]))
    overlap = found.examinations[half].overlap
    assert overlap.criterion == own
    sizes = {len(s.neurons) for s in overlap.sets.values()}
    assert max(sizes) <= round(best["fraction"] * overlap.shape[0] * overlap.shape[1])


@pytest.mark.slow
def test_figures_are_means_over_the_facts_of_both_halves(found):
    frame, parts = found.to_frame(), found.examinations
    for how, effects in parts[0].effects.items():
        codes = [c for c in effects.languages if outside_latin(c)]
        changes = np.concatenate(
            [part.effects[how].changes(mean_of=codes)["own fact"][:, :, 0] for part in parts], 1
        )
        values = frame.loc[f"P(correct) outside Latin script, neurons {VALUES[how]}", "value"]
        for name, of_facts in zip(effects.sets, changes, strict=True):
            assert values[name] == pytest.approx(np.nanmean(of_facts))
    same = np.concatenate([part.overlap.by_fact()["same fact"] for part in parts])
    assert frame.loc[("Jaccard index", "same fact"), "value"] == pytest.approx(np.nanmean(same))


@pytest.mark.slow
def test_pairs_of_languages_are_means_over_the_facts_of_both_halves(found):
    pairs = found.tables()["pairs"].set_index(["language", "other_language"])
    one, two = (part.overlap for part in found.examinations)
    assert one.languages == two.languages
    assert len(pairs) == len(one.to_frame())
    for first, second in pairs.index:
        row, column = one.languages.index(first), one.languages.index(second)
        of_facts = [*one.same_fact[:, row, column], *two.same_fact[:, row, column]]
        assert pairs.loc[(first, second), "jaccard"] == pytest.approx(np.nanmean(of_facts))


@pytest.mark.slow
def test_languages_of_one_half_alone_take_part(found):
    """The figures are means over facts, also where a half knows nothing in a language."""
    one, two = found.examinations
    without = [code for code in one.overlap.languages if code != "ru"]
    few = {how: _without(effects, "ru") for how, effects in two.effects.items()}
    table = effect_table([one, replace(two, effects=few)], by_language=True)
    assert set(table["languages"]) == {*without, "ru"}
    alone = effect_table([one], by_language=True)
    pd.testing.assert_frame_equal(
        table[table["languages"] == "ru"].reset_index(drop=True),
        alone[alone["languages"] == "ru"].reset_index(drop=True),
    )


def _without(effects, language):
    keep = [row for row, code in enumerate(effects.languages) if code != language]
    return replace(
        effects, languages=tuple(effects.languages[row] for row in keep),
        n_neurons=effects.n_neurons[..., keep], p=effects.p[..., keep],
        log_p=effects.log_p[..., keep],
    )  # fmt: skip


@pytest.mark.slow
def test_other_options_change_nothing_and_a_corpus_is_read_once(
    embedded, some_facts, found, monkeypatch
):
    read = []
    original = examine.read_corpus

    def counted(model, corpus, *, how, **options):
        read.append(how)
        return original(model, corpus, how=how, **options)

    monkeypatch.setattr(examine, "read_corpus", counted)
    again = lv.evidence(embedded, some_facts, **OPTIONS | {"fractions": (0.02,)})
    same = found.tried[found.tried["fraction"] == 0.02].reset_index(drop=True)
    pd.testing.assert_frame_equal(again.tried, same, rtol=1e-4)
    assert again.halves == found.halves
    assert sorted(read) == ["mean", "resample"]


@pytest.mark.slow
def test_files_hold_what_was_found(found, tmp_path):
    path = tmp_path / "embedded.json"
    lv.save_evidence(found, path)
    saved = lv.load_evidence(path)
    assert saved.halves == found.halves
    assert saved.provenance.weights == found.examinations[0].scores.provenance.weights
    assert list(saved.fraction) == [options["fraction"] for options in found.chosen]
    for name, frame in found.tables().items():
        again = saved.tables[name]
        assert list(again) == list(frame)
        numbers = frame.select_dtypes("number").columns
        np.testing.assert_allclose(again[numbers].astype(float), frame[numbers], atol=1e-6)


@pytest.mark.slow
def test_only_what_is_known_takes_part(found):
    known = dict(zip(found.answers.prompts, found.answers.known.tolist(), strict=True))
    for part in found.examinations:
        assert all(known[prompt] for prompt in part.scores.prompts)
        assert part.n_prompts == len(known)


def test_too_few_facts_are_refused_in_a_sentence(embedded, some_facts):
    few = replace(some_facts, facts=some_facts.facts[:5])
    with pytest.raises(ValueError, match=r"knows \d facts in 4 languages of 2 scripts.*shots=3"):
        lv.evidence(embedded, few, **OPTIONS)


def test_a_file_of_something_else_is_refused(tmp_path):
    path = tmp_path / "other.json"
    path.write_text(json.dumps({"model": "embedded", "tables": {}}), "utf-8")
    with pytest.raises(lv.FactError, match="halves"):
        lv.load_evidence(path)
    with pytest.raises(FileNotFoundError, match="there is no evidence 'gemma'"):
        lv.load_evidence("gemma")
