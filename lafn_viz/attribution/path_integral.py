"""Integrals of gradients along paths, refined where their error is.

F at the two ends of a part of a path says what the gradients along it should add up to
(completeness), so the error of every part is known without a second rule. Begin with every path as
one part; while a prompt's error in a layer is above what is allowed, cut there the parts that carry
it. The pieces of all layers are run together (see `engine`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lafn_viz.attribution.one_pass import OnePass, Paths, Points

Rule = tuple[np.ndarray, np.ndarray]  # nodes in [0, 1] and their weights
# How often a part of a path is cut, in two at first and then in four (to 1/2048 of it), and how
# many parts there may be before a layer is given up.
ROUNDS, MOST_PARTS = 6, 160
# A layer that hardly moves the target is held to this share of the one that moves it most.
QUIET = 0.1
# F at a point of a path is known to so many units of rounding of itself, and not better.
UNITS = 10


@dataclass(frozen=True)
class Integral:
    """A batch's scores along its paths, what they should sum to, and what an error is a share of.

    `values` are summed over a prompt's paths, `change` is F at their ends minus F at their starts.
    """

    values: Float[Tensor, "prompt layer neuron"]
    change: Float[Tensor, "prompt layer"]
    scale: Float[Tensor, "prompt layer"]
    n_points: Int[Tensor, "prompt layer"]

    @property
    def error(self) -> Float[Tensor, "prompt layer"]:
        """What the values of a layer sum to, minus what they should."""
        return self.values.sum(-1) - self.change


@dataclass(frozen=True)
class _Spans:
    path: Int[Tensor, " part"]
    left: Float[Tensor, " part"]
    right: Float[Tensor, " part"]


@dataclass(frozen=True)
class _Parts(_Spans):
    """Parts of the paths through one layer: F at their ends, and the scores along them."""

    value_left: Float[Tensor, " part"]
    value_right: Float[Tensor, " part"]
    scores: Float[Tensor, "part neuron"]

    @property
    def change(self) -> Float[Tensor, " part"]:
        return self.value_right - self.value_left

    @property
    def error(self) -> Float[Tensor, " part"]:
        return (self.scores.sum(-1) - self.change).abs()

    def cut(self, chosen: Bool[Tensor, " part"], into: int) -> _Spans:
        """The chosen parts in equal pieces, one after the other."""
        left, width = self.left[chosen], (self.right - self.left)[chosen]
        step = torch.arange(into, device=left.device)
        return _Spans(
            self.path[chosen].repeat_interleave(into),
            (left[:, None] + width[:, None] * (step / into)).flatten(),
            (left[:, None] + width[:, None] * ((step + 1) / into)).flatten(),
        )

    def replaced(
        self,
        chosen: Bool[Tensor, " part"],
        pieces: _Spans,
        scores: Float[Tensor, "piece neuron"],
        value_left: Float[Tensor, " piece"],
    ) -> "_Parts":
        """With the chosen parts replaced by their pieces."""
        starts = value_left.unflatten(0, (int(chosen.sum()), -1))[:, 1:]
        left = torch.cat([self.value_left[chosen, None], starts], 1).flatten()
        right = torch.cat([starts, self.value_right[chosen, None]], 1).flatten()
        new = _Parts(pieces.path, pieces.left, pieces.right, left, right, scores)
        pairs = zip(_fields(self), _fields(new), strict=True)
        return _Parts(*(torch.cat([old[~chosen], made]) for old, made in pairs))


def integrate(
    run: OnePass,
    paths: Paths,
    rule: Rule,
    *,
    end_weight: float = 0.0,
    tolerance: float | None = None,
    refined_by: Rule | None = None,
) -> Integral:
    """Scores along the paths of a batch.

    Args:
        rule: where the gradient is taken on every path.
        end_weight: weight of the point 1 beside the rule's: its gradient is shared by all paths of
            a prompt, so it costs one point a prompt.
        tolerance: error allowed as a share of `scale`; None: the rule alone, whatever it gives.
        refined_by: the rule of parts that were cut.
    """
    owner, n, layers = paths.owner, len(run.tokens), range(len(run.activations))
    everywhere = torch.zeros(len(owner), device=owner.device)
    whole = _Spans(torch.arange(len(owner), device=owner.device), everywhere, everywhere + 1)
    rule = _from_start(rule)
    found = _evaluate(run, paths, dict.fromkeys(layers, whole), rule)
    ends = run.value[owner]
    parts = {
        layer: _Parts(whole.path, whole.left, whole.right, value, ends, scores)
        for layer, (scores, value) in found.items()
    }
    each = torch.bincount(owner, minlength=n)
    n_points = (len(rule[0]) * each[:, None]).repeat(1, len(layers))
    if end_weight:
        for layer, gradient in enumerate(run.gradients()):
            start = 0 if paths.start is None else paths.start[layer]
            step = gradient[owner] * (run.activations[layer][owner] - start)
            parts[layer].scores.add_(end_weight * step.float().sum(1))
        n_points += 1

    def sums(of: Callable[[_Parts], Tensor]) -> Float[Tensor, "prompt layer ..."]:
        """Something of the parts, summed over those of each prompt."""
        columns = []
        for part in parts.values():
            value = of(part)
            total = value.new_zeros(n, *value.shape[1:])
            columns.append(total.index_add_(0, owner[part.path], value))
        return torch.stack(columns, 1)

    change, moved = sums(lambda part: part.change), sums(lambda part: part.change.abs())
    size = run.value.abs() if run.target == "probability" else torch.ones_like(run.value)
    scale = scale_of(moved, size * each, run.activations[0].dtype)
    if tolerance is not None and refined_by is not None:
        refined_by = _from_start(refined_by)
        # More points mend the path, not what is lost to rounding.
        lost = UNITS * torch.finfo(run.activations[0].dtype).eps * size * each
        allowed = torch.maximum(tolerance * scale, lost[:, None])
        for first in [True] + [False] * (ROUNDS - 1):
            chosen = {
                layer: _worst(part.error, owner[part.path], allowed[:, layer], MOST_PARTS + each)
                for layer, part in parts.items()
            }
            # What one cut does not mend is likely a step: two cuts at once then cost no more points
            # and half the passes.
            into = 2 if first else 4
            pieces = {
                layer: parts[layer].cut(some, into) for layer, some in chosen.items() if some.any()
            }
            if not pieces:
                break
            for layer, (scores, value) in _evaluate(run, paths, pieces, refined_by).items():
                made = pieces[layer]
                parts[layer] = parts[layer].replaced(chosen[layer], made, scores, value)
                new = torch.bincount(owner[made.path], minlength=n)
                n_points[:, layer] += new * len(refined_by[0])
    return Integral(sums(lambda part: part.scores), change, scale, n_points)


def scale_of(
    moved: Float[Tensor, "prompt layer"], size: Float[Tensor, " prompt"], dtype: torch.dtype
) -> Float[Tensor, "prompt layer"]:
    """What a completeness error is a share of.

    How much the layer moves F over all its paths, but at least a tenth of the prompt's most moving
    layer, and no less than rounding allows; `size` is F's own, for each path.
    """
    # A logit of 10 or 20 is known to 1e-6 in float32, and so is log F: where a layer moves F by
    # less than a thousandth of it, 1% of that is no more than rounding.
    rounding = min(1.0, 1e4 * torch.finfo(dtype).eps) * size[:, None]
    least = torch.maximum(QUIET * moved.amax(1, keepdim=True), rounding)
    return torch.maximum(moved, least).clamp_min(torch.finfo(moved.dtype).tiny)


def _from_start(rule: Rule) -> Rule:
    """The rule with a node at the left end, where completeness needs F."""
    nodes, weights = rule
    return rule if nodes[0] == 0 else (np.r_[0.0, nodes], np.r_[0.0, weights])


def _evaluate(
    run: OnePass, paths: Paths, spans: Mapping[int, _Spans], rule: Rule
) -> dict[int, tuple[Float[Tensor, "part neuron"], Float[Tensor, " part"]]]:
    """For each layer and part: the scores along it, and F at its left end (the first node)."""
    like, k = run.activations[0], len(rule[0])
    node, weight = (torch.tensor(x, dtype=torch.float32, device=like.device) for x in rule)
    points, scores, lefts, done = {}, {}, {}, {}
    for layer, some in spans.items():
        alpha = some.left[:, None] + (some.right - some.left)[:, None] * node
        points[layer] = Points(some.path.repeat_interleave(k), alpha.flatten())
        scores[layer] = torch.zeros(len(some.path), like.shape[-1], device=like.device)
        lefts[layer], done[layer] = torch.zeros(len(some.path), device=like.device), 0
    for found in run.slopes(paths, points):
        layer = found.layer
        row = torch.arange(len(found.value), device=like.device) + done[layer]
        done[layer] += len(row)
        part, which = row // k, row % k
        width = (spans[layer].right - spans[layer].left)[part]
        scores[layer].index_add_(0, part, found.slope * (weight[which] * width)[:, None])
        first = which == 0
        lefts[layer][part[first]] = found.value[first]
    return {layer: (scores[layer], lefts[layer]) for layer in spans}


def _worst(
    error: Float[Tensor, " part"],
    prompt: Int[Tensor, " part"],
    allowed: Float[Tensor, " prompt"],
    most: Int[Tensor, " prompt"],
) -> Bool[Tensor, " part"]:
    """The fewest parts without which a prompt's error would be half of what is allowed.

    None of a prompt that is within it, or that has `most` parts already.
    """
    n = len(allowed)
    total = error.new_zeros(n).index_add_(0, prompt, error)
    going_on = (total > allowed) & (torch.bincount(prompt, minlength=n) < most)
    order = error.argsort(descending=True)
    order = order[prompt[order].argsort(stable=True)]
    sorted_error, at = error[order].double(), prompt[order]
    # What is left of a prompt's error before its largest, second largest, ... is taken out.
    all_before = sorted_error.cumsum(0) - sorted_error
    start = torch.searchsorted(at, at)  # the first of the prompt
    rest = total[at] - (all_before - all_before[start])
    chosen = torch.zeros_like(error, dtype=torch.bool)
    chosen[order] = going_on[at] & (rest > allowed[at] / 2)
    return chosen


def _fields(some: _Spans) -> list[Tensor]:
    return list(vars(some).values())
