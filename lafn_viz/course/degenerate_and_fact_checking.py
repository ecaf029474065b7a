"""Checks of unit 4: what a change does beside chance, stand-ins, and judges of answers."""

import random
from collections.abc import Callable, Sequence
from itertools import combinations, product
from typing import Any

import numpy as np
import torch

from lafn_viz.course.grading import Wrong, check, number, run
from lafn_viz.interventions.degenerate import Degenerate
from lafn_viz.interventions.fact_checking import roc
from lafn_viz.interventions.intervene import Effect

TOLERANCE = 1e-5


@check
def check_effect(answer: Callable, measured: Effect) -> str:
    """`answer(before, after, random)`: relative change of the mean, beside random neurons."""
    generator = torch.Generator().manual_seed(0)
    cases = [(torch.tensor([0.9, 0.5]), torch.tensor([0.3, 0.4]), torch.tensor([[0.8, 0.46]]))]
    for n in (3, 6):
        before = torch.rand(n, generator=generator) * 0.8 + 0.1
        left = torch.rand(5, n, generator=generator)
        cases.append((before, before * left[0] * 0.6, before * (0.7 + 0.3 * left[1:])))
    cases.append((measured.before.exp(), measured.after.exp(), measured.control.exp()))
    for before, after, control in cases:
        got = number(run(answer, before, after, control))
        _judge_effect(got, before, after, control)
    reference = measured.change - float(measured.control_change.mean())
    if abs(got - reference) > 1e-4:
        raise Wrong(f"`lv.intervene` measured {reference:+.3f} here; yours is {got:+.3f}.")
    return (
        f"Without these {len(measured.neurons)} neurons the probability changes by "
        f"{measured.change:+.1%}, without as many random ones by "
        f"{measured.control_change.mean():+.1%}: an effect of {got:+.3f}, as `lv.intervene` "
        "has it. (The -1 cancels in this difference; in `change` alone it does not.)"
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
    shown = f"From {before.mean():.3f} to {after.mean():.3f}, at random {control.mean():.3f}"
    if _near(got, float(after.mean() - control.mean())):
        raise Wrong(
            f"{shown}: you take differences as they are. Where the model was at 0.1, a fall by 0.1 "
            "is everything: divide by what it was before."
        )
    if _near(got, -right):
        raise Wrong(
            f"{shown}: your sign is the wrong way round. What falls has a negative change, down to "
            "-1."
        )
    if _near(got, relative(after)):
        raise Wrong(f"{shown}: this is the change alone. Take away what random neurons do.")
    if _near(got, each(after) - each(control)):
        raise Wrong(
            f"{shown}: this is the mean of each prompt's own change, in which a prompt that the "
            "model hardly knew counts as much as the others. Take the means first."
        )
    if _near(got, float(after.mean() / control.mean() - 1)):
        raise Wrong(f"{shown}: divide by the mean before, not by what random neurons leave.")
    raise Wrong(f"{shown}: {right:+.3f} is right; yours is {got:+.3f}.")


@check
def check_is_degenerate(answer: Callable, measured: Degenerate) -> str:
    """`answer(one, other, both, t_low, t_high)`: whether two neurons stand in for one another."""
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
                f"{shown} is not degenerate, yours says it is: together they have to take more "
                "than 25%."
            )
        if got and any(harmless):
            raise Wrong(
                f"{shown} is not degenerate, yours says it is: one of the two matters alone. Each "
                "has to be harmless, not only one of them."
            )
        if got:
            raise Wrong(
                f"{shown} is not degenerate, yours says it is: both matter alone already, so "
                "nothing stands in for them. Look at the single changes too."
            )
        raise Wrong(
            f"{shown} is degenerate, yours says it is not: each takes 20% at most, both together "
            "more than 25%. (A fall is a negative number.)"
        )
    for one, other, both in product((-0.05, -0.15), (-0.05, -0.15), (-0.08, -0.3)):
        got = _truth(run(answer, one, other, both, 0.1, 0.1))
        if got != _stand_in(one, other, both, 0.1, 0.1):
            raise Wrong("With t_low=0.1 and t_high=0.1 yours stays at 20% and 25%: use both.")
    places = range(len(measured.candidates))
    single, pair = measured.single, measured.pair
    found = {
        frozenset((measured.candidates[i], measured.candidates[j]))
        for i, j in combinations(places, 2)
        if _truth(run(answer, single[i], single[j], pair[i, j], 0.2, 0.25))
    }
    if found != {some for some in measured.sets if len(some) == 2}:
        raise Wrong(f"`lv.find_degenerate` has {len(measured.sets)} pairs here, not {len(found)}.")
    return (
        f"Of {measured.searched[2]} pairs of neurons of {measured.fact_id} {len(found)} are "
        "degenerate, the same as by `lv.find_degenerate`."
    )


def _stand_in(one: float, other: float, both: float, t_low: float, t_high: float) -> bool:
    return one >= -t_low and other >= -t_low and both < -t_high


@check
def check_expected(answer: Callable, measured: Degenerate) -> str:
    """`answer(one, other)`: what two neurons do together that know nothing of one another."""
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
                f"{shown}: you add them, {one + other:+.0%}. The second one can only take from "
                "what the first has left."
            )
        if _near(got, min(one, other)):
            raise Wrong(
                f"{shown}: you take the stronger one, as if the other did nothing more. Without "
                "the first, the second still takes its share of what is left."
            )
        if _near(got, one * other):
            raise Wrong(f"{shown}: multiply what each leaves (1 + change), not what each takes.")
        if _near(got, (1 + one) * (1 + other)):
            raise Wrong(f"{shown}: this is what is left. The change is that minus 1.")
        if _near(got, 1 - (1 - one) * (1 - other)) or _near(got, -right):
            raise Wrong(f"{shown}: mind the sign. A fall is negative; a neuron leaves 1 + change.")
        raise Wrong(f"{shown}: {right:+.3f} is expected; yours is {got:+.3f}.")
    alone = dict(zip(measured.candidates, measured.single, strict=True))
    for some, right in zip(measured.sets, measured.expected.tolist(), strict=True):
        one, other = (float(alone[neuron]) for neuron in some)
        if not _near(number(run(answer, one, other)), right):
            raise Wrong(f"`lv.find_degenerate` expects {right:+.3f} of {sorted(some)}.")
    return (
        f"Two that cost 14% alone cost {1 - 0.86**2:.0%} together, over the limit of 25% with "
        f"nobody standing in. Your numbers are the `expected` of {len(measured.sets)} pairs of "
        f"{measured.fact_id}: mean {measured.expected.mean():+.3f}, measured "
        f"{measured.changes.mean():+.3f}."
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
        raise Wrong(f"The area under the ROC curve is {area:.3f} here; yours is {got:.3f}.")
    blind = number(run(answer, [1.0] * 5, [1.0] * 5))
    return (
        f"200 true and 200 false answers, a judge that leans the right way: {got:.3f}, the area "
        f"under the ROC curve. A judge that gives all the same has {blind}."
    )


def _judge_auc(answer: Callable, true: Sequence[float], false: Sequence[float]) -> None:
    got = number(run(answer, list(true), list(false)))
    pairs = [(t, f) for t in true for f in false]
    above, ties = sum(t > f for t, f in pairs), sum(t == f for t, f in pairs)
    right = (above + ties / 2) / len(pairs)
    if _near(got, right):
        return
    shown = f"For true {_short(true)} and false {_short(false)}"
    # Only the order counts: a judge that gives a tenth of all points has the same AUC.
    moved = number(run(answer, [x / 10 for x in true], [x / 10 for x in false]))
    if _near(moved, got / 10):
        raise Wrong(
            f"{shown} you get {got:.3f}, and a tenth of it when every score is divided by 10: you "
            "count how far apart they are. Only which one is larger counts."
        )
    if not _near(got, moved):
        raise Wrong(
            f"{shown} you get {got:.3f}, and {moved:.3f} when every score is divided by 10. So "
            "there is a threshold in it: compare every true answer with every false one instead."
        )
    if ties and _near(got, above / len(pairs)):
        raise Wrong(
            f"{shown} {ties} pairs are ties, and you count them as lost. A tie counts half: a "
            "judge that gives all the same score knows nothing, 0.5, and is not always wrong."
        )
    if ties and _near(got, (above + ties) / len(pairs)):
        raise Wrong(
            f"{shown} {ties} pairs are ties, and you count them as won. A tie counts half: a judge "
            "that gives all the same score would be perfect."
        )
    if ties and len(pairs) > ties and _near(got, above / (len(pairs) - ties)):
        raise Wrong(f"{shown} you leave out {ties} ties. They count, half.")
    if _near(got, 1 - right):
        raise Wrong(f"{shown} yours is the wrong way round: a true answer should score above.")
    raise Wrong(f"{shown} {right:.3f} is right; yours is {got:.3f}.")


def _short(values: Sequence[float]) -> str:
    return str([round(value, 2) for value in values])


def _truth(answer: Any) -> bool:
    if isinstance(answer, bool | np.bool_ | torch.Tensor | int):
        return bool(answer)
    raise Wrong(f"True or False is asked for, your function returns {answer!r:.60}.")


def _near(one: float, other: float) -> bool:
    return abs(one - other) < TOLERANCE
