"""Checks of unit 4: effects beside chance, neurons that stand in for each other, and judges."""

import random
from collections.abc import Callable, Sequence
from itertools import combinations, product
from typing import Any

import numpy as np
import torch

from lafn_viz.course.grading import Wrong, check, number, run
from lafn_viz.interventions.degenerate import Degenerate
from lafn_viz.interventions.fact_check import roc
from lafn_viz.interventions.intervene import Effect

TOLERANCE = 1e-5


@check
def check_effect(answer: Callable, measured: Effect) -> str:
    """`answer(before, after, random)`: relative change of the mean, beside random neurons."""
    generator = torch.Generator().manual_seed(0)
    cases = [(torch.tensor([0.9, 0.5]), torch.tensor([0.3, 0.4]), torch.tensor([[0.8, 0.46]]))]
    for n in (3, 6):
        before = torch.rand(n, generator=generator) * 0.8 + 0.1
        remaining = torch.rand(5, n, generator=generator)
        cases.append((before, before * remaining[0] * 0.6, before * (0.7 + 0.3 * remaining[1:])))
    cases.append((measured.before.exp(), measured.after.exp(), measured.control.exp()))
    for before, after, control in cases:
        got = number(run(answer, before, after, control))
        _judge_effect(got, before, after, control)
    reference = measured.change - float(measured.control_change.mean())
    if abs(got - reference) > 1e-4:
        raise Wrong(f"Here `lv.intervene` measures {reference:+.3f}; yours is {got:+.3f}.")
    return (
        f"Without these {len(measured.neurons)} neurons the probability changes by "
        f"{measured.change:+.1%}, without as many random ones by "
        f"{measured.control_change.mean():+.1%}. The effect is {got:+.3f}, as `lv.intervene` "
        "measures it. (The -1 cancels in this difference; in `change` alone it does not.)"
    )


def _judge_effect(
    got: float, before: torch.Tensor, after: torch.Tensor, control: torch.Tensor
) -> None:
    def relative(p: torch.Tensor) -> float:
        return float(p.mean() / before.mean() - 1)

    def each(p: torch.Tensor) -> float:
        return float((p / before - 1).mean())

    right = relative(after) - relative(control)
    if _near(got, right):
        return
    shown = (
        f"P goes from {before.mean():.3f} to {after.mean():.3f}, and to {control.mean():.3f} "
        "without random neurons"
    )
    if _near(got, float(after.mean() - control.mean())):
        raise Wrong(
            f"{shown}: you take plain differences. But a fall by 0.1 is everything where P was "
            "0.1: divide by P before the change."
        )
    if _near(got, -right):
        raise Wrong(
            f"{shown}: your sign is the wrong way round. A fall is a negative change, down to -1."
        )
    if _near(got, relative(after)):
        raise Wrong(f"{shown}: you give only the change. Subtract what random neurons do.")
    if _near(got, each(after) - each(control)):
        raise Wrong(
            f"{shown}: you average the relative changes of the prompts. Then a prompt that the "
            "model hardly knew counts as much as the others; take the means of P first."
        )
    if _near(got, float(after.mean() / control.mean() - 1)):
        raise Wrong(f"{shown}: divide by the mean before, not by the mean without random neurons.")
    raise Wrong(f"{shown}: the effect is {right:+.3f}; yours is {got:+.3f}.")


@check
def check_rescued(answer: Callable) -> str:
    """`answer(before, after, other)`: share of failed prompts rescued, beyond the control."""
    rng = np.random.default_rng(0)
    for n in (6, 11, 40):
        before = np.arange(n) % 3 == 0
        # Some of those that were answered are lost, as a transplant does.
        after, other = (rng.random(n) < np.where(before, 0.8, share) for share in (0.6, 0.2))
        _judge_rescued(number(run(answer, before, after, other)), before, after, other)
    return (
        "Only prompts that failed can be rescued, and the other fact's values tell how many any "
        "values would rescue. What the transplant breaks is another question: `lost` in "
        "`summary()`."
    )


def _judge_rescued(got: float, before: np.ndarray, after: np.ndarray, other: np.ndarray) -> None:
    failed = ~before
    own, control = float(after[failed].mean()), float(other[failed].mean())
    if _near(got, own - control):
        return
    shown = (
        f"Of {failed.sum()} failed prompts, {after[failed].sum()} are answered with the fact's own "
        f"values and {other[failed].sum()} with another's"
    )
    if _near(got, own):
        raise Wrong(f"{shown}: subtract the share that the other fact's values rescue.")
    if any(_near(got, float(after.mean() - table.mean())) for table in (other, before)):
        raise Wrong(
            f"{shown}: you count prompts that were answered before. They cannot be rescued; look "
            "only at those for which `before` is False."
        )
    right = own - control
    raise Wrong(f"{shown}, so the share beyond the control is {right:.3f}; yours is {got:.3f}.")


@check
def check_is_degenerate(answer: Callable, measured: Degenerate) -> str:
    """`answer(one, other, both, t_low, t_high)`: whether two neurons stand in for each other."""
    steps = (0.3, 0.1, 0.0, -0.1, -0.19, -0.2, -0.21, -0.24, -0.25, -0.26, -0.5)
    first = [(-0.5, -0.5, -0.5), (-0.1, -0.1, -0.2), (-0.14, -0.14, -0.26)]
    for one, other, both in [*first, *product(steps, steps, steps)]:
        got = _truth(run(answer, one, other, both, 0.2, 0.25))
        if got == _stand_in(one, other, both, 0.2, 0.25):
            continue
        shown = f"{one:+.0%} and {other:+.0%} alone, {both:+.0%} together"
        harmless = [alone >= -0.2 for alone in (one, other)]
        if got and both >= -0.25:
            raise Wrong(
                f"{shown} is not degenerate, but your function says so: together they have to "
                "take more than 25%."
            )
        if got and any(harmless):
            raise Wrong(
                f"{shown} is not degenerate, but your function says so: one of the two matters "
                "alone. Both have to be harmless alone, not only one of them."
            )
        if got:
            raise Wrong(
                f"{shown} is not degenerate, but your function says so: both matter alone, so "
                "neither stands in for the other. Look at the single changes, too."
            )
        raise Wrong(
            f"{shown} is degenerate, but your function says no: each takes at most 20% alone, and "
            "both together take more than 25%. (A fall is a negative number.)"
        )
    for one, other, both in product((-0.05, -0.15), (-0.05, -0.15), (-0.08, -0.3)):
        got = _truth(run(answer, one, other, both, 0.1, 0.1))
        if got != _stand_in(one, other, both, 0.1, 0.1):
            raise Wrong(
                "With t_low=0.1 and t_high=0.1 you still use 20% and 25%: use both arguments."
            )
    places = range(len(measured.candidates))
    single, pair = measured.single, measured.pair
    pairs = {
        frozenset((measured.candidates[i], measured.candidates[j]))
        for i, j in combinations(places, 2)
        if _truth(run(answer, single[i], single[j], pair[i, j], 0.2, 0.25))
    }
    if pairs != {neurons for neurons in measured.sets if len(neurons) == 2}:
        raise Wrong(
            f"Here `lv.find_degenerate` finds {len(measured.sets)} pairs; you find {len(pairs)}, "
            "or others."
        )
    return (
        f"Of {measured.searched[2]} pairs of neurons of {measured.fact_id}, {len(pairs)} are "
        "degenerate, the same ones that `lv.find_degenerate` finds."
    )


def _stand_in(one: float, other: float, both: float, t_low: float, t_high: float) -> bool:
    return one >= -t_low and other >= -t_low and both < -t_high


@check
def check_expected(answer: Callable, measured: Degenerate) -> str:
    """`answer(one, other)`: the change that two independent neurons cause together."""
    rng = random.Random(0)
    cases = [(-0.6, -0.5), (-0.14, -0.14), (-1.0, -0.3), (0.2, -0.1)]
    cases += [(rng.uniform(-0.9, 0.1), rng.uniform(-0.9, 0.1)) for _ in range(5)]
    for one, other in cases:
        got = number(run(answer, one, other))
        right = (1 + one) * (1 + other) - 1
        if _near(got, right):
            continue
        shown = f"{one:+.0%} and {other:+.0%}"
        if _near(got, one + other):
            raise Wrong(
                f"{shown}: you add them to {one + other:+.0%}. But the second one can only take "
                "from what the first has left."
            )
        if _near(got, min(one, other)):
            raise Wrong(
                f"{shown}: you take only the stronger change, as if the other neuron did nothing. "
                "It still takes its share of what the first has left."
            )
        if _near(got, one * other):
            raise Wrong(f"{shown}: multiply what each leaves (1 + change), not what each takes.")
        if _near(got, (1 + one) * (1 + other)):
            raise Wrong(f"{shown}: this is what both leave. The change is that minus 1.")
        if _near(got, 1 - (1 - one) * (1 - other)) or _near(got, -right):
            raise Wrong(
                f"{shown}: check the sign. A fall is negative, so a neuron leaves 1 + change."
            )
        raise Wrong(f"{shown}: the expected change is {right:+.3f}; yours is {got:+.3f}.")
    alone = dict(zip(measured.candidates, measured.single, strict=True))
    for neurons, right in zip(measured.sets, measured.expected.tolist(), strict=True):
        one, other = (float(alone[neuron]) for neuron in neurons)
        if not _near(number(run(answer, one, other)), right):
            raise Wrong(f"For {sorted(neurons)} `lv.find_degenerate` expects {right:+.3f}.")
    return (
        f"Two neurons that cost 14% each cost {1 - 0.86**2:.0%} together. That is over the limit "
        "of 25%, although neither stands in for the other. Your numbers are the `expected` of "
        f"{len(measured.sets)} pairs of {measured.fact_id}: {measured.expected.mean():+.3f} on "
        f"average, where {measured.changes.mean():+.3f} was measured."
    )


@check
def check_auc(answer: Callable) -> str:
    """`answer(true, false)`: probability that a true answer scores above a false one."""
    rng = random.Random(0)
    cases = [([0.9, 0.7, 0.4], [0.6, 0.1]), ([2.0, 3.0, 3.0], [1.0, 3.0])]
    for _ in range(4):
        true, false = ([rng.randrange(6) / 5 for _ in range(n)] for n in (7, 4))
        cases.append((true, false))
    for true, false in cases:
        _judge_auc(answer, true, false)
    true, false = ([rng.gauss(mean, 1.0) for _ in range(200)] for mean in (1.0, 0.0))
    got = number(run(answer, true, false))
    scores = np.array(true + false)
    x, y = roc(scores, np.arange(400) < 200)
    area = float(((x[1:] - x[:-1]) * (y[1:] + y[:-1]) / 2).sum())
    if not _near(got, area):
        raise Wrong(f"Here the area under the ROC curve is {area:.3f}; yours is {got:.3f}.")
    blind = number(run(answer, [1.0] * 5, [1.0] * 5))
    return (
        f"A judge that is right more often than not gets {got:.3f} on 200 true and 200 false "
        f"answers, the area under its ROC curve. A judge that scores all alike gets {blind}."
    )


def _judge_auc(answer: Callable, true: Sequence[float], false: Sequence[float]) -> None:
    got = number(run(answer, list(true), list(false)))
    pairs = [(t, f) for t in true for f in false]
    above, ties = sum(t > f for t, f in pairs), sum(t == f for t, f in pairs)
    right = (above + ties / 2) / len(pairs)
    if _near(got, right):
        return
    shown = f"For true {_short(true)} and false {_short(false)}"
    # Only the order counts: a judge whose scores are all divided by 10 has the same AUC.
    moved = number(run(answer, [x / 10 for x in true], [x / 10 for x in false]))
    if _near(moved, got / 10):
        raise Wrong(
            f"{shown} you get {got:.3f}, and a tenth of it when every score is divided by 10. So "
            "you count how far the scores are apart; only which one is larger should count."
        )
    if not _near(got, moved):
        raise Wrong(
            f"{shown} you get {got:.3f}, and {moved:.3f} when every score is divided by 10. So "
            "your code has a threshold; compare every true answer with every false one instead."
        )
    if ties and _near(got, above / len(pairs)):
        raise Wrong(
            f"{shown} {ties} pairs are ties, and you count them as lost. A tie counts half: a "
            "judge that scores all alike knows nothing and gets 0.5; it is not always wrong."
        )
    if ties and _near(got, (above + ties) / len(pairs)):
        raise Wrong(
            f"{shown} {ties} pairs are ties, and you count them as won. A tie counts half: "
            "otherwise a judge that scores all alike would be perfect."
        )
    if ties and len(pairs) > ties and _near(got, above / (len(pairs) - ties)):
        raise Wrong(f"{shown} you leave out {ties} ties. Each counts half.")
    if _near(got, 1 - right):
        raise Wrong(f"{shown} yours is the wrong way round: true answers should score higher.")
    raise Wrong(f"{shown} the AUC is {right:.3f}; yours is {got:.3f}.")


def _short(values: Sequence[float]) -> str:
    return str([round(value, 2) for value in values])


def _truth(answer: Any) -> bool:
    if isinstance(answer, bool | np.bool_ | torch.Tensor | int):
        return bool(answer)
    raise Wrong(f"Your function should return True or False; it returns {answer!r:.60}.")


def _near(one: float, other: float) -> bool:
    return abs(one - other) < TOLERANCE
