"""What the answers to a question count as."""

import pytest
from made_up_passports import a_question


@pytest.mark.parametrize(
    ("written", "outcome"),
    [
        ("Rome", "new"), ("rome, of course", "new"), ("Paris", "old"), ("Paris and Rome", "old"),
        ("Romeo", "other"), ("Berlin", "other"), ("", "other"),
    ],
)  # fmt: skip
def test_an_answer_counts_as_the_object_that_it_begins_with(written, outcome):
    asked = a_question(after={"A": written})
    assert asked.outcome("A") == outcome
    assert asked.went_well("A") == (outcome == "new")


def test_the_longer_of_two_names_counts():
    asked = a_question(old=("New York",), new=("New York City",), after={"A": "New York City"})
    assert asked.outcome("A") == "new"
    other = a_question(old=("New York City",), new=("New York",), after={"A": "New York City"})
    assert other.outcome("A") == "old"


@pytest.mark.parametrize("given", [{"kind": "other subject"}, {"control": True}])
def test_an_answer_stays_only_if_it_is_the_one_from_before(given):
    """A right answer that was not there before is a change, too."""
    given |= {"old": ("Tokyo",), "before": "Kyoto"}
    outcomes = {
        written: a_question(after={"A": written}, **given).outcome("A")
        for written in ("Kyoto", "Tokyo", "Rome", "Kyoto, Japan")
    }
    expected = {"Kyoto": "same", "Tokyo": "other", "Rome": "new", "Kyoto, Japan": "other"}
    assert outcomes == expected


def test_a_neighbour_that_has_the_new_object_already_stays():
    asked = a_question("other subject", before="Rome", old=("Rome",), after={"A": "Rome"})
    assert asked.outcome("A") == "same"
    assert asked.right_before


def test_in_reverse_anything_but_the_old_subject_is_well():
    asked = a_question("reversed", old=("France",), new=(), before="France", after={"A": "Spain"})
    assert asked.went_well("A")
    assert not a_question("reversed", old=("Spain",), new=(), after={"A": "Spain"}).went_well("A")
