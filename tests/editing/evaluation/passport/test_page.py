"""The page shows every text as it is, needs nothing else, and can be read by ear."""

import pytest
from html_pages import HOSTILE, Page
from made_up_passports import FIRES, a_passport, a_question, a_text, made_up_passport

from lafn_viz.core.html_parts import number
from lafn_viz.editing.evaluation.passport.questions import Firing


def test_the_page_is_whole_and_needs_nothing_else():
    html = made_up_passport().to_html()
    page = Page(html)
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in page.tags}
    assert "http" not in html
    assert "url(" not in html
    (root,) = page.all("html")
    assert root["lang"] == "en"
    assert {attrs.get("name") for attrs in page.all("meta")} >= {"viewport"}


def test_tables_have_captions_scopes_and_directions():
    page = Page(made_up_passport().to_html())
    assert len(page.all("table")) == len(page.all("caption")) > 8
    assert {attrs.get("scope") for attrs in page.all("th")} == {"col", "row"}
    assert {attrs.get("dir") for attrs in page.all("td")} == {"auto"}
    assert {x.get("tabindex") for x in page.all("div") if x.get("class") == "scroll"} == {"0"}


def test_counts_and_reasons_are_shown():
    page = Page(made_up_passport().to_html())
    assert "A writes the new answer to 1 of 2 questions about the fact" in page.text
    assert "the old answer to 2 of 2 roundabout questions that had it before" in page.text
    assert "the facts hold no other facts" in page.text
    assert "1 [" in page.text  # the mean damage of the two texts


def test_hostile_texts_are_shown_and_not_obeyed():
    asked = a_question(
        text=HOSTILE, before=HOSTILE, after={HOSTILE: HOSTILE}, variant=HOSTILE, context=HOSTILE,
        fires={HOSTILE: (Firing(HOSTILE, "exact", HOSTILE, HOSTILE, (0, len(HOSTILE)), 1.0),)},
    )  # fmt: skip
    damage = a_text(
        text=HOSTILE, divergence={HOSTILE: 1.0}, changed={HOSTILE: 1.0}, fires={HOSTILE: ()}
    )
    found = a_passport(
        [asked], [damage], edits=(HOSTILE,), case=HOSTILE, relation=HOSTILE,
        subject={"en": HOSTILE}, old={"en": HOSTILE}, new={"en": HOSTILE},
        left_out={"long context": HOSTILE},
    )  # fmt: skip
    page = Page(found.to_html())
    assert not {"script", "img"} & {tag for tag, _ in page.tags}
    assert page.text.count(HOSTILE) > 10


def test_the_place_where_an_edit_finds_its_subject_is_marked():
    page = Page(a_passport([a_question()]).to_html())
    assert page.marked == ["France"]
    context = "France: Paris\n"
    twice = (Firing("FR", "exact", "France", "France", (0, 6), 1.0),)
    page = Page(a_passport([a_question(context=context, fires={"A": twice})]).to_html())
    assert page.marked == ["France"]
    assert "France: Paris" in page.text
    assert "The capital of France is" in page.text


def test_a_place_in_a_text_that_the_tokens_changed_is_not_marked():
    lower = (Firing("FR", "exact", "France", "france", (15, 21), 1.0),)
    assert Page(a_passport([a_question(fires={"A": lower})]).to_html()).marked == []


def test_texts_where_an_edit_should_act_and_does_not_are_listed():
    silent = a_question(fires={"A": ()})
    wrong = a_question("other subject", text="Francia is", fires={"A": FIRES})
    page = Page(a_passport([silent, wrong]).to_html())
    assert "A: 2 texts where that is not as it should be" in page.text
    gated = a_question("other relation", fires={"A": ()})
    by_name = a_question("other relation", fires={"A": FIRES})
    page = Page(a_passport([a_question(), gated, by_name]).to_html())
    assert "A acts on all texts that ask for the fact, and on no other subject." in page.text
    every = Page(a_passport([a_question(fires={})]).to_html())
    assert "A looks for no subject: it acts on every text." in every.text


@pytest.mark.parametrize("language", ["ar", "zh"])
def test_texts_have_their_language(language):
    page = Page(a_passport([a_question(language=language)]).to_html())
    assert [x for x in page.all("td") if x.get("lang") == language]


def test_a_page_is_written_whole(tmp_path):
    made_up_passport().save_page(tmp_path / "p.html")
    assert (tmp_path / "p.html").read_text("utf-8") == made_up_passport().to_html()


@pytest.mark.parametrize(
    ("value", "written"),
    [(0.0, "0"), (0.00072, "0.00072"), (1.549, "1.5"), (9.9e-5, "0.000099"), (12.0, "12"),
     (1e-9, "below 0.000001"), (float("nan"), "not a number")],
)  # fmt: skip
def test_numbers_have_no_exponents(value, written):
    assert number(value) == written
