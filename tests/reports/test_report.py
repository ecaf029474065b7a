"""A report shows what the results hold, with their controls, and is one page that asks nobody."""

import json

import numpy as np
import pandas as pd
import pytest
from html_pages import HOSTILE, Page
from made_up_passports import made_up_passport

import lafn_viz as lv
from lafn_viz.editing.evaluation.answers import Answered
from lafn_viz.reports.parts import decimal, share, signed_share, with_interval
from lafn_viz.reports.sweep_lead import lead_sentences, shared_sentence
from lafn_viz.reports.sweep_results import SweepResults

pytestmark = pytest.mark.slow


def an_answer(case="JP", metric="reliability", *, after="Rome", language="en", edited_in="all"):
    return Answered(
        case=case, edited_in=edited_in, metric=metric, language=language, text="Japan: ",
        reference="Rome", aliases=(), before="Tokyo", after=after, token_accuracy_before=0.0,
        token_accuracy=float(after == "Rome"),
    )  # fmt: skip


def an_evaluation(editor="ROME", **options):
    answers = tuple(
        an_answer(case, metric, after=after, **options)
        for case, after in (("JP", "Rome"), ("PE", "Lima"), ("FR", "Rome"))
        for metric in ("reliability", "generality")
    )
    return lv.Evaluation(editor, answers, lv.Provenance("a model", "abc", "evaluate"))


@pytest.fixture(scope="module")
def page(store, tmp_path_factory):
    path = lv.report(store, tmp_path_factory.mktemp("page") / "page.html")
    assert path.stat().st_size < 10e6
    return Page(path.read_text("utf-8"))


def test_the_page_is_whole_and_asks_nobody(page):
    assert not {"img", "iframe", "link"} & {tag for tag, _ in page.tags}
    assert not any("src" in attrs for attrs in page.all("script"))
    links = [attrs["href"] for attrs in page.all("a")]
    assert all(link.startswith("#") for link in links)
    assert len(set(page.ids)) == len(page.ids)
    assert {link[1:] for link in links} <= set(page.ids)


def test_every_figure_has_its_table_and_a_link(page):
    drawn = [json.loads(text) for text in page.scripts if text.startswith("{")]
    copied = [attrs["data-of"] for attrs in page.all("button")]
    names = [attrs["id"] for attrs in page.all("figure")]
    assert len(names) == len(drawn) == len(copied) >= 5
    assert set(copied) == {f"{name}-table" for name in names} <= set(page.ids)
    assert len(page.all("table")) == len(page.all("caption"))
    links = [attrs["href"] for attrs in page.all("a")]
    assert all(links.count(f"#{name}") == 1 for name in names)


def test_the_lead_says_what_the_tables_hold(store, page):
    found = SweepResults(store)
    known, shared, effect = lead_sentences(found)
    assert known in page.text
    assert "(6 facts, 4 languages)" in known
    rows = store.overlap("activation").summary().set_index("comparison")
    for name in ("same fact", "other fact", "same minus other fact"):
        assert with_interval(*rows.loc[name]) in shared
    effects = store.effects("mean", method="activation")
    change = effects.changes(mean_of=["ru", "zh"])["own fact"][0, :, 0]
    assert signed_share(float(np.nanmean(change))) in effect
    assert "random neurons" in effect
    assert "own neurons" in effect


@pytest.mark.parametrize(("low", "said"), [(0.01, "share more neurons"), (-0.01, "not shown that")])
def test_no_difference_is_claimed_whose_interval_holds_zero(store, monkeypatch, low, said):
    overlap = store.overlap("activation")
    names = ["same fact", "other fact", "chance", "same minus other fact"]
    rows = pd.DataFrame({"comparison": names, "jaccard": 0.1, "low": low, "high": 0.2})
    monkeypatch.setattr(type(overlap), "summary", lambda self: rows)
    assert said in shared_sentence(overlap)


def test_each_fact_has_a_row_with_its_own_numbers(store):
    found = SweepResults(store)
    frame = found.fact_table
    assert len(frame) == store.head["facts"]["count"]
    by_fact = dict(zip(found.overlap.facts, found.overlap.by_fact()["same fact"], strict=True))
    for fact, row in zip(found.names, frame.to_dict("records"), strict=True):
        assert row["Jaccard"] == pytest.approx(by_fact.get(fact, np.nan), nan_ok=True)


def test_methods_limits_and_provenance_are_there(store, page):
    for words in ("Activation", "Language lens", "Effect", "6 facts: few", "arXiv 2406.16416",
                  store.provenance.weights, "lv.sweep(", "lafn_viz"):  # fmt: skip
        assert words in page.text
    code = page.text[
        page.text.index("import lafn_viz as lv") : page.text.index("The facts of this")
    ]
    compile(code, "report", "exec")
    assert {"mi", "mfrac", "math"} <= {tag for tag, _ in page.tags}


def test_a_sweep_that_knows_nothing_has_a_report(tiny, facts, tmp_path):
    some = facts.filter(relation="capital", languages=["en", "fr"], subjects=["FR", "JP"])
    store = lv.sweep(tiny("gpt2"), some, tmp_path / "store", methods=["activation"], progress=False)
    page = Page(lv.report(store, tmp_path / "page.html").read_text("utf-8"))
    assert "knows 0 of 4 pairs" in page.text
    assert "nothing here shows that they matter" in page.text


def test_evaluations_stand_side_by_side(tmp_path):
    both = {"one": an_evaluation(), "two": an_evaluation("MEMIT")}
    page = Page(lv.report(both, tmp_path / "page.html").read_text("utf-8"))
    assert "one, 3 edits, exact match: reliability 0.667" in page.text
    assert "two, 3 edits" in page.text
    assert "2 of 6 answers are not as wanted" in page.text
    assert "Lima" in page.text
    same = [an_evaluation(), an_evaluation()]
    page = Page(lv.report(same, tmp_path / "page.html", title="Mine").read_text("utf-8"))
    assert "ROME (2), 3 edits" in page.text
    assert "Mine" in page.text


def test_an_evaluation_is_read_from_its_file(embedded, facts, tmp_path):
    from made_up_edits import NOTHING

    cases = lv.counterfactual_cases(facts, n=2).filter(languages=["en", "ru"])
    file = tmp_path / "nothing.jsonl"
    made = lv.evaluate(embedded, NOTHING, cases, file=file, progress=False)
    loaded = lv.load_evaluation(file)
    assert loaded.answers == made.answers
    assert loaded.editor == "nothing"
    assert loaded.provenance.model == "embedded"
    page = Page(lv.report(file, tmp_path / "page.html").read_text("utf-8"))
    assert "nothing, 2 edits, exact match: reliability 0.000" in page.text
    # A file of an earlier version does not name the model.
    first, *rest = file.read_text("utf-8").splitlines(keepends=True)
    head = json.loads(first)
    del head["model"]
    file.write_text(json.dumps(head) + "\n" + "".join(rest), "utf-8")
    assert lv.load_evaluation(file).answers == made.answers
    assert lv.evaluate(embedded, NOTHING, cases, file=file, progress=False).answers == made.answers


def test_passports_are_one_page(tmp_path):
    passport = made_up_passport()
    passport.save(tmp_path / "one.json")
    path = lv.report([passport, tmp_path / "one.json"], tmp_path / "page.html")
    page = Page(path.read_text("utf-8"))
    assert "Passports of 2 edits" in page.text
    assert len(set(page.ids)) == len(page.ids)
    assert {attrs["href"][1:] for attrs in page.all("a")} <= set(page.ids)


def test_hostile_texts_are_shown_and_not_obeyed(hostile_store, tmp_path):
    bad = tuple(
        Answered(
            case=HOSTILE, edited_in="all", metric=metric, language="en", text=HOSTILE,
            reference=HOSTILE, aliases=(HOSTILE,), before=HOSTILE, after="x",
            token_accuracy_before=0.0, token_accuracy=0.0,
        )
        for metric in ("reliability", "generality")
    )  # fmt: skip
    origin = lv.Provenance(HOSTILE, HOSTILE, HOSTILE, {HOSTILE: HOSTILE})
    evaluation = lv.Evaluation(HOSTILE, bad, origin)
    for results in (hostile_store, evaluation):
        path = lv.report(results, tmp_path / "page.html", title=HOSTILE)
        page = Page(path.read_text("utf-8"))
        assert HOSTILE in page.text
        assert "img" not in {tag for tag, _ in page.tags}
        assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)
        figures = [text for text in page.scripts if text.startswith("{")]
        assert len(page.scripts) == len(figures) + 1  # and ours


def test_numbers_are_readable():
    assert [share(x) for x in (0.0, 0.1234, -0.5, float("nan"))] == ["0.0%", "12.3%", "−50.0%", "–"]
    assert [signed_share(x) for x in (0.0001, 0.2, -0.2)] == ["0.0%", "+20.0%", "−20.0%"]
    assert with_interval(0.1, float("nan"), 0.2) == "0.100"
    assert with_interval(0.1, -0.0001, 0.2, lambda x: decimal(x, 2)) == "0.10 [0.00, 0.20]"


@pytest.mark.parametrize(
    ("results", "told"),
    [
        ([], "results=\\[\\]; give a Store or the folder of a sweep"),
        ({}, "results=\\{\\}; give a Store"),
        (3, "results=3; give a Store"),
        ({"a": 3}, "give a Store"),
        ([an_evaluation(), made_up_passport()], "different kinds \\(Evaluation, Passport\\)"),
        ("none", "there is no 'none'; give a Store"),
    ],
)
def test_results_that_are_none(results, told, tmp_path):
    with pytest.raises((ValueError, FileNotFoundError), match=told):
        lv.report(results, tmp_path / "page.html")
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_read_is_told(store, tmp_path):
    with pytest.raises(ValueError, match="2 sweeps; a report is of one, and an atlas of several"):
        lv.report([store, store.folder], tmp_path / "page.html")
    with pytest.raises(ValueError, match=r"give a file whose name ends in \.html"):
        lv.report(store, tmp_path / "page.pdf")
    with pytest.raises(lv.StoreError, match="holds no sweep"):
        lv.report(tmp_path, tmp_path / "page.html")
    for name, content in (
        ("a.json", "{}"),
        ("a.jsonl", "{}\n"),
        ("b.jsonl", "\x00"),
        ("c.txt", ""),
    ):
        (tmp_path / name).write_text(content)
        with pytest.raises(lv.FactError):
            lv.report(tmp_path / name, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()
