"""Evidence: what chooses options never reports, and the files hold what was found."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import lafn_viz as lv
from lafn_viz.experiments import examine
from lafn_viz.neurons.criterion import Criterion

LANGUAGES = ["en", "fr", "es", "ru", "ar"]
OPTIONS = {
    "paraphrases": (0, 1), "method": "gradient_x_activation", "fractions": (0.01, 0.02),
    "criteria": ((3, 2), (2, 1)),
}  # fmt: skip


@pytest.fixture(scope="module")
def some_facts():
    return lv.load_facts().filter(relation="capital", languages=LANGUAGES).sample(14, seed=3)


@pytest.fixture(scope="module")
def found(embedded, some_facts):
    return lv.evidence(embedded, some_facts, **OPTIONS)


@pytest.mark.slow
def test_what_chooses_never_reports(found, some_facts):
    chosen, reported = set(found.chosen_on), set(found.reported_on)
    assert chosen
    assert reported
    assert not chosen & reported
    assert chosen | reported <= {fact.id for fact in some_facts}
    assert set(found.examination.overlap.facts) <= reported
    for effects in found.examination.effects.values():
        assert set(effects.facts) <= reported


@pytest.mark.slow
def test_the_options_that_did_best_are_reported(found):
    best = found.tried.loc[found.tried["t"].idxmax()]
    assert len(found.tried) == 4
    own = Criterion(int(best["min_languages"]), int(best["min_scripts"]))
    assert found.examination.overlap.criterion == own
    shape = found.examination.overlap.shape
    sizes = {len(s.neurons) for s in found.examination.overlap.sets.values()}
    assert max(sizes) <= round(best["fraction"] * shape[0] * shape[1])


@pytest.mark.slow
def test_options_do_not_depend_on_the_facts_that_report(embedded, some_facts, found):
    """The choosing half alone, with the whole half's prompts as corpus, gives the same table."""
    again = lv.evidence(embedded, some_facts, **OPTIONS | {"fractions": (0.02,)})
    same = found.tried[found.tried["fraction"] == 0.02].reset_index(drop=True)
    pd.testing.assert_frame_equal(again.tried, same)
    assert again.chosen_on == found.chosen_on


@pytest.mark.slow
def test_files_hold_what_was_found(found, tmp_path):
    path = tmp_path / "embedded.json"
    lv.save_evidence(found, path)
    saved = lv.load_evidence(path)
    assert saved.reported_on == found.reported_on
    assert saved.provenance.weights == found.examination.scores.provenance.weights
    assert saved.fraction == found.chosen["fraction"]
    for name, frame in found.tables().items():
        again = saved.tables[name]
        assert list(again) == list(frame)
        numbers = frame.select_dtypes("number").columns
        np.testing.assert_allclose(again[numbers].astype(float), frame[numbers], atol=1e-6)


@pytest.mark.slow
def test_only_what_is_known_takes_part(found):
    known = dict(zip(found.answers.prompts, found.answers.known.tolist(), strict=True))
    assert all(known[prompt] for prompt in found.examination.scores.prompts)
    assert found.examination.n_prompts == len(known)


@pytest.mark.slow
def test_a_corpus_is_read_once_for_each_way(embedded, some_facts, monkeypatch):
    read = []
    original = examine.read_corpus

    def counted(model, corpus, *, how, **options):
        read.append(how)
        return original(model, corpus, how=how, **options)

    monkeypatch.setattr(examine, "read_corpus", counted)
    lv.evidence(embedded, some_facts, **OPTIONS | {"paraphrases": 0})
    assert sorted(read) == ["mean", "resample"]


def test_too_few_facts_are_refused_in_a_sentence(embedded, some_facts):
    few = replace(some_facts, facts=some_facts.facts[:5])
    with pytest.raises(ValueError, match=r"knows \d facts in 4 languages of 2 scripts.*shots=3"):
        lv.evidence(embedded, few, **OPTIONS)


def test_a_file_of_something_else_is_refused(tmp_path):
    path = tmp_path / "other.json"
    path.write_text(json.dumps({"model": "embedded", "tables": {}}), "utf-8")
    with pytest.raises(lv.FactError, match="chosen_on"):
        lv.load_evidence(path)
    with pytest.raises(FileNotFoundError, match="there is no evidence 'gemma'"):
        lv.load_evidence("gemma")
