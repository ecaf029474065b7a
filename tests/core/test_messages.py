"""Messages stay short, and show what cannot be seen."""

import pytest

import lafn_viz as lv
from lafn_viz.core.messages import in_one_line, listed, quoted, shown


def test_values_are_quoted_as_python_writes_them_and_cut():
    assert quoted("O'Brien") == '"O\'Brien"'
    assert quoted(None) == "None"
    assert quoted("\u202eabc\x00") == r"'\u202eabc\x00'"
    assert len(quoted("x" * 10_000)) <= 60
    assert quoted([1, 2, 3, 4, 5]) == "[1, 2, 3, 4, ...]"
    assert len(quoted({str(i): [[[i]]] for i in range(100)})) < 100
    assert len(quoted(10**4000)) <= 30


def test_texts_are_shown_without_quotation_marks():
    assert shown("Zürich") == "Zürich"
    assert shown("\u2066a\n") == r"\u2066a\n"


def test_names_are_listed_and_of_many_the_number():
    assert listed([]) == ""
    assert listed(["en", "fr"]) == "en, fr"
    many = listed(f"language {i}" for i in range(1000))
    assert many.startswith("language 0, language 1, ")
    shown_names, rest = many.split(" and ")
    assert len(many) < 700
    assert len(shown_names.split(", ")) + int(rest.removesuffix(" more")) == 1000


def test_a_warning_names_the_line_that_called_the_package():
    """Whatever decorators lie between."""
    with pytest.warns(UserWarning, match="names its answer") as told:
        lv.Prompt.of("Japan has Tokyo, and its capital is", "Tokyo", subject="Japan")
    assert [warning.filename for warning in told] == [__file__]


def test_an_error_of_another_library_is_one_line_that_steers_no_terminal():
    said = in_one_line(ValueError("bad\n  value \x1b[2J\u202e."))
    assert said == r"bad value \x1b[2J\u202e"
    assert in_one_line(OSError("x" * 999), most=10) == "x" * 10 + "…"
