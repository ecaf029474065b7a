"""Checks of units 3 and 4: right in another way passes, and each wrong way hears its own reason."""

import pytest
import torch

from lafn_viz.course import check_auc, check_p_value


@pytest.mark.parametrize(
    "answer",
    [
        lambda observed, draws: (1 + sum(d >= observed for d in draws)) / (1 + len(draws)),
        lambda observed, draws: torch.tensor([*draws, observed]).ge(observed).float().mean(),
    ],
)
def test_p_value_may_be_any_number(answer):
    verdict = check_p_value(answer)
    assert verdict.passed, verdict.says
    assert "999 draws" in verdict.says


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda observed, draws: sum(d >= observed for d in draws) / len(draws), "one more draw"),
        (
            lambda observed, draws: (1 + sum(d > observed for d in draws)) / (1 + len(draws)),
            "equal reaches it too",
        ),
        (
            lambda observed, draws: (1 + sum(d >= observed for d in draws)) / len(draws),
            "below the line too",
        ),
        (lambda observed, draws: 1.0, "p is"),
        (lambda observed, draws: "0.05 or so", "One number is asked for"),
    ],
)
def test_p_value_says_what_is_wrong(answer, reason):
    verdict = check_p_value(answer)
    assert not verdict.passed
    assert reason in verdict.says


def pairs_won(true, false, tie):
    won = [float(t > f) + tie * (t == f) for t in true for f in false]
    return sum(won) / len(won)


def test_auc_may_be_a_tensor():
    def ranked(true, false):
        difference = torch.tensor(true, dtype=torch.float64)[:, None] - torch.tensor(
            false, dtype=torch.float64
        )
        return ((difference.sign() + 1) / 2).mean()

    assert check_auc(ranked).passed


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda true, false: pairs_won(true, false, 0.0), "counts half"),
        (lambda true, false: pairs_won(true, false, 1.0), "would be perfect"),
        (lambda true, false: pairs_won(false, true, 0.5), "wrong way round"),
        (lambda true, false: sum(t > 0.5 for t in true) / len(true), "threshold"),
        (lambda true, false: None, "returns nothing"),
    ],
)
def test_auc_says_what_is_wrong(answer, reason):
    verdict = check_auc(answer)
    assert not verdict.passed
    assert reason in verdict.says
