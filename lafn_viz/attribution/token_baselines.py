"""AMIG's baselines: the activations of a prompt with each of its tokens replaced in turn.

A mask stands in the token's place, or in causal models an end of text. In a causal model nothing
before that token changes, so rows that differ only late share the positions before. They are run in
groups of neighbouring tokens, from the first token of the group on.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from lafn_viz.attribution.one_pass import OnePass, shifted
from lafn_viz.models.hooks import HOOK_UNEMBED, Hooks, hooked, no_logits

# Sharing saves most with small groups, and each group costs a pass.
GROUPS, SMALLEST_GROUP = 4, 4


def without_each_token(
    run: OnePass, *, special: bool = False
) -> list[Float[Tensor, "prompt token at neuron"]]:
    """For each layer: activations with each token of the prompt in turn replaced.

    Args:
        special: replace every token of a masked model's input, its special tokens and the answer's
            masks among them.

    Raises:
        ValueError: for a model whose tokenizer has neither a mask nor an end of text.
    """
    blank = run.capabilities.ablation_token
    if blank is None:
        raise ValueError(
            "this model's tokenizer has neither a mask nor an end of text to put in place of a "
            "token; give a baseline (zero, mean or a tensor) with integrated_gradients"
        )
    (start, stop), at = run.batch.text, run.batch.at
    if special and run.capabilities.masked:
        start, stop = 0, run.batch.tokens.shape[1]
    layers = [a[:, None].repeat(1, stop - start, 1, 1) for a in run.activations]
    if not run.capabilities.masked:  # later tokens change nothing
        stop = min(stop, at.stop)
    size = max(1, run.max_rows // len(run.batch.tokens))
    if run.shares:
        size = min(size, max(SMALLEST_GROUP, -(-(stop - start) // GROUPS)))
    for left in range(start, stop, size):
        right = min(left + size, stop)
        first = left if run.shares else 0
        changed = slice(max(at.start, first), at.stop)
        parts = _replaced(run, blank, range(left, right), first, shifted(changed, first))
        for whole, part in zip(layers, parts, strict=True):
            whole[:, left - start : right - start, changed.start - at.start :] = part
    return layers


def _replaced(
    run: OnePass, blank: int, places: range, first: int, at: slice
) -> list[Float[Tensor, "prompt token at neuron"]]:
    """For each layer: activations with `blank` at each of some places in turn.

    Positions before `first` are not run again; `at` counts from there.
    """
    tokens, activations = run.batch.tokens, []
    if not run.capabilities.masked:
        tokens = tokens[:, : run.batch.at.stop]
    rows = tokens[:, None, first:].repeat(1, len(places), 1)
    diagonal = torch.arange(len(places))
    rows[:, diagonal, diagonal + places.start - first] = blank

    def keep(value: Tensor, hook: Any) -> None:
        activations.append(value[:, at])

    hooks: Hooks = [(run.site(layer), keep) for layer in range(run.capabilities.n_layers)]
    if run.capabilities.unembedding is not None:
        hooks.append((HOOK_UNEMBED, no_logits))
    owner = run.everyone().repeat_interleave(len(places))
    options = run.options(owner, rows.shape[-1], run.prefix_of(first), mask=False)
    with torch.no_grad(), hooked(run.model, hooks):
        run.model(rows.flatten(0, 1), **options)
    return [value.unflatten(0, (len(tokens), len(places))) for value in activations]
