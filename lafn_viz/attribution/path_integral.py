"""Integrals of gradients along paths, refined where their error is.

F at the two ends of a part of a path says what the gradients along it should add up to
(completeness), so the error of every part is known without a second rule. Begin with every path as
one part and with the first of some rules, each of which has the points of the one before and more.
Where a prompt's error in a layer is above what is allowed, add the points of the next rule. While
it still is, cut the parts of the paths that carry the error. The points of all layers are run
together (see `one_pass`).

All paths of a prompt end at its unmodified activations, so the point 1 costs nothing.

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
from lafn_viz.attribution.path_parts import Parts, Spans, worst

Rule = tuple[np.ndarray, np.ndarray]  # nodes in [0, 1] and their weights
# A part is cut at most this often, in two at first and then in four (down to 1/2048 of its path);
# a layer of this many parts is given up.
ROUNDS, MOST_PARTS = 6, 160
# With few points the errors of single neurons exceed that of their sum, so a rule that has a next
# one is held to this share of what is allowed.
FIRST_SHARE = 0.25
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


def integrate(
    run: OnePass,
    paths: Paths,
    rule: Rule,
    *,
    tolerance: float | None = None,
    next_rule: Rule | None = None,
    refined_by: Rule | None = None,
) -> Integral:
    """Integrate the gradient along the paths of a batch.

    Args:
        rule: where the gradient is taken on every path.
        tolerance: error allowed, as a share of `scale`; None: the rule alone, whatever its error.
        next_rule: the rule for whole paths where `rule` misses the tolerance; it has all points of
            `rule`, whose gradients are kept.
        refined_by: the rule for parts that were cut.
    """
    parts, kept = _whole_paths(run, paths, rule, next_rule)
    paths_per_prompt = torch.bincount(paths.owner, minlength=len(run.tokens))
    nodes = _from_start(rule)[0]
    each = (nodes < 1).sum() * paths_per_prompt + int(nodes[-1] == 1)
    n_points = each[:, None].repeat(1, len(run.activations))

    def sums(quantity: Callable[[Parts], Tensor]) -> Float[Tensor, "prompt layer ..."]:
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
        most = MOST_PARTS + paths_per_prompt
        if next_rule is not None:
            new = ~np.isin(next_rule[0], rule[0])
            further = next_rule[0][new], next_rule[1][new]
            strict = FIRST_SHARE * allowed
            n_points += _add_points(run, paths, parts, kept, further, strict, most)
        n_points += _refine(run, paths, parts, refined_by, allowed, most)
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


def _whole_paths(
    run: OnePass, paths: Paths, rule: Rule, next_rule: Rule | None
) -> tuple[dict[int, Parts], dict[int, Float[Tensor, "path neuron"]]]:
    """For each layer: every path as one part, and what the rule's points give to the next rule."""
    n_paths, device = len(paths.owner), paths.owner.device
    zeros = torch.zeros(n_paths, device=device)
    spans = Spans(torch.arange(n_paths, device=device), zeros, zeros + 1)
    nodes, weights = _from_start(rule)
    if next_rule is not None:
        weights = np.stack([weights, next_rule[1][np.isin(next_rule[0], nodes)]])
    layers = range(len(run.activations))
    evaluated = _evaluate(run, paths, dict.fromkeys(layers, spans), (nodes, weights))
    ends = run.value[paths.owner]
    parts = {
        layer: Parts(spans.path, spans.left, spans.right, value, ends, scores[0])
        for layer, (scores, value) in evaluated.items()
    }
    return parts, {layer: scores[-1] for layer, (scores, _) in evaluated.items()}


def _add_points(
    run: OnePass,
    paths: Paths,
    parts: dict[int, Parts],
    kept: Mapping[int, Float[Tensor, "path neuron"]],
    new: Rule,
    allowed: Float[Tensor, "prompt layer"],
    most: Int[Tensor, " prompt"],
) -> Int[Tensor, "prompt layer"]:
    """Go on to the next rule, in place, on the whole paths that carry an error above the allowed.

    Args:
        kept: what the points of the rule before give to the next rule.
        new: the other points of the next rule.

    Returns the number of points that this took.
    """
    chosen = _chosen(paths, parts, allowed, most)
    spans = {layer: parts[layer].cut(mask, 1) for layer, mask in chosen.items()}
    for layer, (scores, _) in _evaluate(run, paths, spans, new).items():
        mask = chosen[layer]
        parts[layer].scores[mask] = kept[layer][mask] + scores[0]
    return _count(paths, spans, allowed) * len(new[0])


def _refine(
    run: OnePass,
    paths: Paths,
    parts: dict[int, Parts],
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
        chosen = _chosen(paths, parts, allowed, most)
        if not chosen:
            break
        # What one cut does not mend is likely a step: two cuts at once then cost no more points
        # and half the passes.
        n_pieces = 2 if round_ == 0 else 4
        pieces = {layer: parts[layer].cut(mask, n_pieces) for layer, mask in chosen.items()}
        for layer, (scores, value) in _evaluate(run, paths, pieces, rule).items():
            parts[layer] = parts[layer].replaced(chosen[layer], pieces[layer], scores[0], value)
        n_points += _count(paths, pieces, allowed) * len(rule[0])
    return n_points


def _chosen(
    paths: Paths,
    parts: Mapping[int, Parts],
    allowed: Float[Tensor, "prompt layer"],
    most: Int[Tensor, " prompt"],
) -> dict[int, Bool[Tensor, " part"]]:
    """The parts that carry an error above the allowed, of each layer that has some."""
    masks = {
        layer: worst(part.error, paths.owner[part.path], allowed[:, layer], most)
        for layer, part in parts.items()
    }
    return {layer: mask for layer, mask in masks.items() if mask.any()}


def _count(
    paths: Paths, spans: Mapping[int, Spans], like: Float[Tensor, "prompt layer"]
) -> Int[Tensor, "prompt layer"]:
    """Number of parts of each prompt and layer."""
    count = torch.zeros_like(like, dtype=torch.long)
    for layer, part in spans.items():
        count[:, layer] = torch.bincount(paths.owner[part.path], minlength=len(like))
    return count


def _from_start(rule: Rule) -> Rule:
    """The rule with a node at the left end, where completeness needs F."""
    nodes, weights = rule
    return rule if nodes[0] == 0 else (np.r_[0.0, nodes], np.r_[0.0, weights])


def _evaluate(
    run: OnePass, paths: Paths, spans: Mapping[int, Spans], rule: Rule
) -> dict[int, tuple[Float[Tensor, "rule part neuron"], Float[Tensor, " part"]]]:
    """For each layer and part: the scores along it, and F at its first node.

    Several rules may share the nodes: `rule` then has a row of weights for each. The node 1, the
    last, is allowed where the parts are all paths, each as one part.
    """
    like, ends = run.activations[0], bool(rule[0][-1] == 1)
    node, weight = (torch.tensor(x, dtype=torch.float32, device=like.device) for x in rule)
    weight, k = weight.view(-1, len(node)), len(node) - ends
    points, speeds, scores, lefts, done = {}, {}, {}, {}, {}
    for layer, span in spans.items():
        n_parts = len(span.path)
        t = span.left[:, None] + (span.right - span.left)[:, None] * node
        alpha, speeds[layer] = _stretched(t, span.path, paths, layer)
        points[layer] = Points(span.path.repeat_interleave(k), alpha[:, :k].flatten())
        scores[layer] = torch.zeros(len(weight), n_parts, like.shape[-1], device=like.device)
        lefts[layer], done[layer] = torch.zeros(n_parts, device=like.device), 0
    for slopes in run.slopes(paths, points, ends=ends):
        layer = slopes.layer
        if slopes.end is not None and done[layer] == 0:
            scores[layer] += weight[:, -1:, None] * (slopes.end * speeds[layer][:, -1:])
        row = torch.arange(len(slopes.value), device=like.device) + done[layer]
        done[layer] += len(row)
        part, which = row // k, row % k
        width = (spans[layer].right - spans[layer].left)[part]
        for total, each in zip(scores[layer], weight, strict=True):
            share = each[which] * width * speeds[layer][part, which]
            total.index_add_(0, part, slopes.slope * share[:, None])
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
