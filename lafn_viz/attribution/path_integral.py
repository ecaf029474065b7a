"""Integrals of gradients along paths, refined where their error is.

F at the two ends of a part of a path says what the gradients along it should add up to
(completeness), so the error of every part is known without a second rule. Begin with every path as
one part. While a prompt's error in a layer is above what is allowed, cut the parts of its paths
that carry the error. The pieces of all layers are run together (see `one_pass`).

Rules and parts divide the path in t, from 0 to 1. On most paths t is alpha, the share of the way
from start to end. On a path that is stretched by x, alpha = sinh(x t) / sinh(x): its beginning is
spread out, and the gradient's weight is d alpha / dt.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lafn_viz.attribution.one_pass import OnePass, Paths, Points

Rule = tuple[np.ndarray, np.ndarray]  # nodes in [0, 1] and their weights
# A part is cut at most this often, in two at first and then in four (down to 1/2048 of its path);
# a layer of this many parts is given up.
ROUNDS, MOST_PARTS = 6, 160
# A layer that hardly moves the target is held to this share of the layer that moves it most.
QUIET = 0.1
# F at a point of a path is known to this many units of rounding of itself.
UNITS = 10


@dataclass(frozen=True)
class Integral:
    """A batch's scores along its paths, what they should sum to, and what an error is a share of.

    `values` are summed over a prompt's paths. `change` is F at their ends minus F at their starts.
    """

    values: Float[Tensor, "prompt layer neuron"]
    change: Float[Tensor, "prompt layer"]
    scale: Float[Tensor, "prompt layer"]
    n_points: Int[Tensor, "prompt layer"]

    @property
    def error(self) -> Float[Tensor, "prompt layer"]:
        """The sum of a layer's scores minus what they should sum to."""
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

    def cut(self, chosen: Bool[Tensor, " part"], pieces: int) -> _Spans:
        """Cut each chosen part into equal pieces, in order."""
        left, width = self.left[chosen], (self.right - self.left)[chosen]
        step = torch.arange(pieces, device=left.device)
        return _Spans(
            self.path[chosen].repeat_interleave(pieces),
            (left[:, None] + width[:, None] * (step / pieces)).flatten(),
            (left[:, None] + width[:, None] * ((step + 1) / pieces)).flatten(),
        )

    def replaced(
        self,
        chosen: Bool[Tensor, " part"],
        pieces: _Spans,
        scores: Float[Tensor, "piece neuron"],
        value_left: Float[Tensor, " piece"],
    ) -> "_Parts":
        """Replace the chosen parts by their pieces."""
        starts = value_left.unflatten(0, (int(chosen.sum()), -1))[:, 1:]
        left = torch.cat([self.value_left[chosen, None], starts], 1).flatten()
        right = torch.cat([starts, self.value_right[chosen, None]], 1).flatten()
        new = _Parts(pieces.path, pieces.left, pieces.right, left, right, scores)
        pairs = zip(vars(self).values(), vars(new).values(), strict=True)
        return _Parts(*(torch.cat([old[~chosen], cut]) for old, cut in pairs))


def integrate(
    run: OnePass,
    paths: Paths,
    rule: Rule,
    *,
    end_weight: float = 0.0,
    tolerance: float | None = None,
    refined_by: Rule | None = None,
) -> Integral:
    """Integrate the gradient along the paths of a batch.

    Args:
        rule: where the gradient is taken on every path.
        end_weight: weight of the point 1 beside the rule's: all paths of a prompt share its
            gradient, so it costs one point a prompt.
        tolerance: error allowed, as a share of `scale`; None: the rule alone, whatever its error.
        refined_by: the rule for parts that were cut.
    """
    parts = _whole_paths(run, paths, rule)
    paths_per_prompt = torch.bincount(paths.owner, minlength=len(run.tokens))
    per_path = len(_from_start(rule)[0])
    n_points = (per_path * paths_per_prompt[:, None]).repeat(1, len(run.activations))
    if end_weight:
        _add_ends(run, paths, parts, end_weight)
        n_points += 1

    def sums(quantity: Callable[[_Parts], Tensor]) -> Float[Tensor, "prompt layer ..."]:
        """A quantity of the parts, summed over those of each prompt."""
        columns = []
        for part in parts.values():
            value = quantity(part)
            total = value.new_zeros(len(run.tokens), *value.shape[1:])
            columns.append(total.index_add_(0, paths.owner[part.path], value))
        return torch.stack(columns, 1)

    change, moved = sums(lambda part: part.change), sums(lambda part: part.change.abs())
    size = run.value.abs() if run.target == "probability" else torch.ones_like(run.value)
    scale = scale_of(moved, size * paths_per_prompt, run.activations[0].dtype)
    if tolerance is not None and refined_by is not None:
        # More points mend the path, but not what is lost to rounding.
        eps = torch.finfo(run.activations[0].dtype).eps
        lost = UNITS * eps * size * paths_per_prompt
        allowed = torch.maximum(tolerance * scale, lost[:, None])
        n_points += _refine(run, paths, parts, refined_by, allowed, MOST_PARTS + paths_per_prompt)
    return Integral(sums(lambda part: part.scores), change, scale, n_points)


def scale_of(
    moved: Float[Tensor, "prompt layer"], size: Float[Tensor, " prompt"], dtype: torch.dtype
) -> Float[Tensor, "prompt layer"]:
    """Return what a completeness error is a share of.

    This is how much the layer moves F over all its paths, but at least a tenth of the prompt's most
    moving layer, and no less than rounding allows. `size` is F's own size, summed over paths.
    """
    # A logit of 10 or 20 is known to 1e-6 in float32, and so is log F: where a layer moves F by
    # less than a thousandth of it, 1% of that is no more than rounding.
    rounding = min(1.0, 1e4 * torch.finfo(dtype).eps) * size[:, None]
    least = torch.maximum(QUIET * moved.amax(1, keepdim=True), rounding)
    return torch.maximum(moved, least).clamp_min(torch.finfo(moved.dtype).tiny)


def _whole_paths(run: OnePass, paths: Paths, rule: Rule) -> dict[int, _Parts]:
    """For each layer: every path as one part."""
    n_paths, device = len(paths.owner), paths.owner.device
    zeros = torch.zeros(n_paths, device=device)
    spans = _Spans(torch.arange(n_paths, device=device), zeros, zeros + 1)
    layers = range(len(run.activations))
    evaluated = _evaluate(run, paths, dict.fromkeys(layers, spans), _from_start(rule))
    ends = run.value[paths.owner]
    return {
        layer: _Parts(spans.path, spans.left, spans.right, value, ends, scores)
        for layer, (scores, value) in evaluated.items()
    }


def _add_ends(run: OnePass, paths: Paths, parts: Mapping[int, _Parts], weight: float) -> None:
    """Add the gradient at the ends of the paths to the scores of their only parts, in place."""
    for layer, gradient in enumerate(run.gradients()):
        start = 0 if paths.start is None else paths.start[layer]
        step = gradient[paths.owner] * (run.activations[layer][paths.owner] - start)
        parts[layer].scores.add_(weight * step.float().sum(1))


def _refine(
    run: OnePass,
    paths: Paths,
    parts: dict[int, _Parts],
    rule: Rule,
    allowed: Float[Tensor, "prompt layer"],
    most: Int[Tensor, " prompt"],
) -> Int[Tensor, "prompt layer"]:
    """Cut parts, in place, until every layer's error is allowed or it has the most parts.

    Returns the number of points that this took.
    """
    rule = _from_start(rule)
    n_points = torch.zeros_like(allowed, dtype=torch.long)
    for round_ in range(ROUNDS):
        chosen = {
            layer: _worst(part.error, paths.owner[part.path], allowed[:, layer], most)
            for layer, part in parts.items()
        }
        # What one cut does not mend is likely a step: two cuts at once then cost no more points
        # and half the passes.
        n_pieces = 2 if round_ == 0 else 4
        pieces = {
            layer: parts[layer].cut(mask, n_pieces) for layer, mask in chosen.items() if mask.any()
        }
        if not pieces:
            break
        for layer, (scores, value) in _evaluate(run, paths, pieces, rule).items():
            spans = pieces[layer]
            parts[layer] = parts[layer].replaced(chosen[layer], spans, scores, value)
            new = torch.bincount(paths.owner[spans.path], minlength=len(allowed))
            n_points[:, layer] += new * len(rule[0])
    return n_points


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
    points, speeds, scores, lefts, done = {}, {}, {}, {}, {}
    for layer, span in spans.items():
        t = span.left[:, None] + (span.right - span.left)[:, None] * node
        alpha, speeds[layer] = _stretched(t, span.path, paths, layer)
        points[layer] = Points(span.path.repeat_interleave(k), alpha.flatten())
        scores[layer] = torch.zeros(len(span.path), like.shape[-1], device=like.device)
        lefts[layer], done[layer] = torch.zeros(len(span.path), device=like.device), 0
    for slopes in run.slopes(paths, points):
        layer = slopes.layer
        row = torch.arange(len(slopes.value), device=like.device) + done[layer]
        done[layer] += len(row)
        part, which = row // k, row % k
        width = (spans[layer].right - spans[layer].left)[part]
        share = weight[which] * width * speeds[layer].flatten()[row]
        scores[layer].index_add_(0, part, slopes.slope * share[:, None])
        first = which == 0
        lefts[layer][part[first]] = slopes.value[first]
    return {layer: (scores[layer], lefts[layer]) for layer in spans}


def _stretched(
    t: Float[Tensor, "part node"], path: Int[Tensor, " part"], paths: Paths, layer: int
) -> tuple[Float[Tensor, "part node"], Float[Tensor, "part node"]]:
    """alpha and d alpha / dt at some points of the paths through a layer."""
    stretch = None if paths.stretch is None else paths.stretch[layer]
    if stretch is None:
        return t, torch.ones_like(t)
    x = stretch[path, None]
    alpha, speed = (x * t).sinh() / x.sinh(), x * (x * t).cosh() / x.sinh()
    return alpha, speed


def _worst(
    error: Float[Tensor, " part"],
    prompt: Int[Tensor, " part"],
    allowed: Float[Tensor, " prompt"],
    most: Int[Tensor, " prompt"],
) -> Bool[Tensor, " part"]:
    """The fewest parts without which a prompt's error would be half of what is allowed.

    Prompts whose error is allowed, or that have `most` parts already, have none.
    """
    n = len(allowed)
    total = error.new_zeros(n).index_add_(0, prompt, error)
    goes_on = (total > allowed) & (torch.bincount(prompt, minlength=n) < most)
    order = error.argsort(descending=True)
    order = order[prompt[order].argsort(stable=True)]
    sorted_error, owner = error[order].double(), prompt[order]
    # The prompt's error that remains before its largest, second largest, ... part is taken out.
    before = sorted_error.cumsum(0) - sorted_error
    start = torch.searchsorted(owner, owner)  # the prompt's first part
    rest = total[owner] - (before - before[start])
    chosen = torch.zeros_like(error, dtype=torch.bool)
    chosen[order] = goes_on[owner] & (rest > allowed[owner] / 2)
    return chosen
