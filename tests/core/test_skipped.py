"""What fails is named with its reason; the rest goes on."""

import pytest

import lafn_viz as lv
from lafn_viz.core.skipped import N_NAMED, Skipped


def tried(*results: Exception | int) -> tuple[list[int], Skipped]:
    """What is kept of some records: an exception fails, a number is a result."""
    kept, skipped = [], Skipped("thing")
    for number, result in enumerate(results):
        with skipped.unless_it_fails(f"r{number}"):
            if isinstance(result, Exception):
                raise result
            kept.append(result)
    return kept, skipped


def test_the_others_are_kept_and_one_warning_names_what_fails():
    kept, skipped = tried(1, ValueError("no\n  tokens"), 3, KeyError())
    assert kept == [1, 3]
    with pytest.warns(lv.SkippedWarning) as warned:
        skipped.report(4)
    (warning,) = warned
    assert str(warning.message) == "2 of 4 things left out: 'r1' (no tokens); 'r3' (KeyError)"
    assert warning.message.reasons == {"r1": "no tokens", "r3": "KeyError"}


def test_nothing_is_said_where_nothing_fails(recwarn):
    tried(1, 2)[1].report(2)
    assert not recwarn.list


def test_the_first_error_is_raised_where_all_fail():
    first = ValueError("first")
    with pytest.raises(ValueError, match="first") as raised:
        tried(first, TypeError("second"))[1].report(2)
    assert raised.value is first


def test_a_warning_stays_short():
    _, skipped = tried(*[ValueError("x")] * 40, 1)
    with pytest.warns(lv.SkippedWarning, match=rf"'r{N_NAMED - 1}' \(x\); and 35 more$"):
        skipped.report(41)


def test_stopping_is_no_failure():
    with pytest.raises(KeyboardInterrupt), Skipped("thing").unless_it_fails("one"):
        raise KeyboardInterrupt
