"""Means of an evaluation, computed by hand."""

import pytest

import lafn_viz as lv
from lafn_viz.editing.evaluation.answers import ALL, Answered, Evaluation


def answered(case, edited_in, language, after, *, metric="reliability", before="Paris"):
    return Answered(
        case=case, edited_in=edited_in, metric=metric, language=language, text="", reference="Rome",
        aliases=("Roma",), before=before, after=after, token_accuracy_before=0.25,
        token_accuracy=0.75,
    )  # fmt: skip


def made_up(*answers):
    return Evaluation("made-up", answers, lv.Provenance("made-up", "", "made-up"))


def test_an_alias_counts_and_before_is_scored_too():
    one = answered("a", ALL, "en", "Roma", before="Rome")
    assert one.score("exact_match") == one.score("exact_match", before=True) == 1
    assert (one.score("token_accuracy"), one.score("token_accuracy", before=True)) == (0.75, 0.25)


def test_a_case_counts_once_and_a_language_once_in_it():
    found = made_up(
        *[answered("a", ALL, "en", "Rome")] * 3,
        answered("a", ALL, "fr", "Paris"),
        answered("b", ALL, "en", "Paris"),
    ).summary()
    (row,) = found.to_dict("records")
    assert (row["mean"], row["before"], row["cases"], row["questions"]) == (0.25, 0, 2, 5)
    assert row["low"] == 0
    assert row["high"] == 1  # two cases say next to nothing


def test_matrix_and_conflict_by_hand():
    found = made_up(
        answered("a", "en", "en", "Rome"), answered("a", "en", "fr", "Rome"),
        answered("a", "fr", "en", "Paris"), answered("a", "fr", "fr", "Rome"),
        answered("a", ALL, "en", "Paris"), answered("a", ALL, "fr", "Rome"),
    )  # fmt: skip
    matrix = found.matrix()
    assert list(matrix.index) == ["en", "fr", ALL]
    assert matrix.to_numpy().tolist() == [[1, 1], [0, 1], [0, 1]]
    conflict = found.conflict().set_index("language")
    assert conflict.loc["en", "conflict"] == 1
    assert conflict.loc["fr", "conflict"] == 0
    assert conflict.loc["mean", ["alone", "together", "conflict"]].tolist() == [1, 0.5, 0.5]
    with pytest.raises(ValueError, match="alone=True and together=True"):
        made_up(answered("a", ALL, "en", "Rome")).conflict()
