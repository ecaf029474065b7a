"""Checks of unit 2: integrate gradients, measure completeness, choose where a path starts."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lafn_viz.course.grading import Wrong, check, number, numbers, run


class _Ridge:
    """g(w . x) + c with a saturating g, whose path integrals are known exactly.

    Along any straight path the gradient is g'(w . x) w. So a neuron's score is the change of the
    function times the neuron's share of the way: w_i (end_i - start_i), divided by the sum of that
    over all neurons.
    """

    def __init__(self, seed: int) -> None:
        random = torch.Generator().manual_seed(seed)
        self.weight = torch.randn(6, generator=random)
        self.start = torch.randn(6, generator=random)
        self.end = torch.randn(6, generator=random)
        if float(self.weight @ (self.end - self.start)) < 0:
            self.weight = -self.weight

    def __call__(self, values: Tensor) -> Tensor:
        return torch.sigmoid(values @ self.weight - 0.5) + 0.25

    def scores(self, start: Tensor, end: Tensor) -> Tensor:
        way = self.weight * (end - start)
        return way / way.sum() * (self(end) - self(start))

    def gradient(self, point: Tensor) -> Tensor:
        slope = torch.sigmoid(point @ self.weight - 0.5)
        return slope * (1 - slope) * self.weight


@check
def check_integrated_gradients(
    answer: Callable,
    f: Callable[[Tensor], Tensor],
    end: Float[Tensor, "position neuron"],
    reference: Float[Tensor, " neuron"],
) -> str:
    """`answer(f, end, n_steps)`: a score for each number in `end`, on a path from zero.

    `f` and `end` belong to a layer of the model, `reference` holds the package's scores of it.
    """
    n_steps = 200
    for seed in range(3):
        made_up = _Ridge(seed)
        right = made_up.scores(torch.zeros(6), made_up.end)
        got = numbers(run(answer, made_up, made_up.end, n_steps), (6,))
        if _close(got, right):
            continue
        if _close(got, right * n_steps):
            raise Wrong(
                f"Your scores are {n_steps} times too large, and there are {n_steps} steps: take "
                "the mean over the path, not the sum."
            )
        if _close(got, right / made_up.end):
            raise Wrong(
                "This is the mean gradient. It says how fast the answer changes with a neuron; "
                "multiply it by how far the neuron moved (`end`) to get the neuron's share."
            )
        if _close(got, made_up.gradient(made_up.end) * made_up.end):
            raise Wrong(
                "You take the gradient only at the end of the path; average it over all steps."
            )
        raise Wrong(
            f"For one test function the scores are {_shown(right)}, yours are {_shown(got)}. Each "
            "step should add gradient x end / n_steps."
        )
    on_model = numbers(run(answer, f, end, n_steps), tuple(end.shape)).sum(0)
    apart = float((on_model - reference).abs().max())
    if apart > 1e-3:
        raise Wrong(
            f"Your scores are right for the test functions, but on the model they are up to "
            f"{apart:.4f} away from those of `lv.attribute`. Does your code work when `end` has "
            "several positions?"
        )
    return (
        f"On layer 0 of the model your scores differ from those of `lv.attribute` by at most "
        f"{apart:.0e}; the largest score is {float(reference.max()):.3f}."
    )


@check
def check_completeness_error(answer: Callable) -> str:
    """`answer(scores, f, end)`: how far the scores are from adding up to f(end) - f(0)."""
    for seed in range(3):
        made_up = _Ridge(seed)
        off = (0.01, -0.01, 0.01)[seed]
        scores = made_up.scores(torch.zeros(6), made_up.end) + off
        change = float(made_up(made_up.end) - made_up(torch.zeros(6)))
        right = abs(float(scores.sum()) - change)
        got = number(run(answer, scores, made_up, made_up.end))
        if abs(got - right) < 1e-5:
            continue
        if abs(abs(got) - right) < 1e-5:
            raise Wrong(f"Your result is {got:.3f}. An error has no sign: take `abs`.")
        if abs(got - abs(float(scores.sum() - made_up(made_up.end)))) < 1e-5:
            raise Wrong(
                "The function is not zero at zero. The scores share out how much it *changes* "
                f"along the path, f(end) - f(0), which is {change:.3f} here."
            )
        if abs(got - abs(float(scores.abs().sum()) - change)) < 1e-5:
            raise Wrong(
                "Keep the sign of each score: a neuron that speaks against the answer counts as "
                "a negative number."
            )
        raise Wrong(f"Your result is {got:.3f}; it should be {right:.3f}.")
    return f"Six scores that are each {off} too large add up to an error of {right:.2f}."


@check
def check_path_from(answer: Callable) -> str:
    """`answer(f, start, end, n_steps)`: scores on a straight path from any start."""
    for seed in range(3):
        made_up = _Ridge(seed)
        start, end = made_up.start, made_up.end
        right = made_up.scores(start, end)
        got = numbers(run(answer, made_up, start, end, 200), (6,))
        if _close(got, right):
            continue
        if _close(got, made_up.scores(start, start + end)):
            raise Wrong(
                "You go from `start` by all of `end`, and so arrive at start + end. The way from "
                "start to end is their difference, end - start."
            )
        if _close(got, made_up.scores(start, 2 * start - end)):
            raise Wrong("You walk away from `end`. The way from start to end is end - start.")
        raise Wrong(f"For one test path the scores are {_shown(right)}, yours are {_shown(got)}.")
    zero = torch.zeros(6)
    apart = float((made_up.scores(zero, end) - right).abs().max())
    return (
        "The neurons and the function are the same, but another start changes a score by up to "
        f"{apart:.2f} here. So always name the baseline with a score."
    )


@check
def check_without_each_token(answer: Callable, tokens: Int[Tensor, " position"], blank: int) -> str:
    """`answer(tokens, blank)`: one row for each token; in row i, token i is the blank."""
    n = len(tokens)
    # Try another blank, too: a number written into the code could be the first one by accident.
    for mark in (blank, int(tokens.max()) + 1):
        right = tokens.repeat(n, 1)
        right[range(n), range(n)] = mark
        got = torch.as_tensor(run(answer, tokens.clone(), mark))
        if got.shape == (n, n - 1):
            raise Wrong(
                "Your rows are one token shorter. So all later tokens move up, and the model reads "
                "them at other positions. Put the blank in the token's place instead."
            )
        if got.shape != (n, n):
            raise Wrong(
                f"Your result has the shape {tuple(got.shape)}; return {n} rows of {n} tokens."
            )
        blanks = (got == mark).sum(1)
        if not bool((blanks == 1).all()):
            row = int((blanks != 1).nonzero()[0])
            raise Wrong(
                f"In row {row}, {int(blanks[row])} tokens are the blank ({mark}); each row should "
                "have exactly one. (Do all rows share one tensor?)"
            )
        if not bool((got == right).all()):
            raise Wrong("In row i only token i should change; all other tokens stay as they were.")
    return f"You have {n} baselines, one for each token. AMIG adds up the {n} paths from them."


def _close(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, atol=1e-4, rtol=1e-3)


def _shown(values: Tensor) -> str:
    return "(" + ", ".join(f"{float(value):.3f}" for value in values[:3]) + ", ...)"
