"""The metrics of a written answer, computed by hand."""

from typing import get_args

import pytest

from lafn_viz.editing.evaluation.metrics import (
    ANSWER_METRICS,
    AnswerMetric,
    exact_match,
    remake,
    starts_with,
    token_f1,
)


@pytest.mark.parametrize(
    ("written", "answer", "language", "exact", "starts", "f1", "product"),
    [
        ("Rome", "Rome", "en", 1, 1, 1, 1),
        ("  rome. ", "Rome", "en", 1, 1, 1, 1),
        ("Rome is big", "Rome", "en", 0, 1, 1 / 2, 1 / 3),
        ("New Rome", "Rome", "en", 0, 0, 2 / 3, 1 / 2),
        ("Romeo", "Rome", "en", 0, 0, 0, 0),
        ("", "Rome", "en", 0, 0, 0, 0),
        ("", "", "en", 1, 1, 1, 1),
        ("Rome", "", "en", 0, 0, 0, 0),
        ("Paris", "Rome", "en", 0, 0, 0, 0),
        ("the the the", "the hague", "en", 0, 0, 2 / 5, 1 / 6),
        ("东京都", "东京", "zh", 0, 1, 4 / 5, 4 / 6),
        ("नई दिल्ली", "नई दिल्ली", "hi", 1, 1, 1, 1),
        ("नई", "नई दिल्ली", "hi", 0, 0, 2 / 3, 1 / 2),
        ("€", "$", "en", 0, 0, 0, 0),
        ("€", "€", "en", 1, 1, 1, 1),
        ("C", "C++", "en", 0, 0, 1 / 2, 1 / 3),
        ("$5 and more", "$5", "en", 0, 1, 2 / 3, 1 / 2),
        ("₩5", "¥5", "ja", 0, 0, 1 / 2, 1 / 4),
    ],
)
def test_metrics_by_hand(written, answer, language, exact, starts, f1, product):
    assert exact_match(written, answer, language) == exact
    assert starts_with(written, answer, language) == starts
    assert token_f1(written, answer, language) == pytest.approx(f1)
    assert remake(written, answer, language) == pytest.approx(product)


def test_the_metrics_are_those_of_the_table():
    assert set(ANSWER_METRICS) == set(get_args(AnswerMetric))
