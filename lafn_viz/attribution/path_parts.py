"""Parts of paths: where they lie, what was found along them, and which of them to cut."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Spans:
    """Parts of the paths through one layer: from `left` to `right` of the way."""

    path: Int[Tensor, " part"]
    left: Float[Tensor, " part"]
    right: Float[Tensor, " part"]


@dataclass(frozen=True)
class Parts(Spans):
    """Parts of the paths through one layer: F at their ends, and the scores along them."""

    value_left: Float[Tensor, " part"]
    value_right: Float[Tensor, " part"]
    scores: Float[Tensor, "part neuron"]

    @property
    def change(self) -> Float[Tensor, " part"]:
        """F at the end of each part minus F at its start."""
        return self.value_right - self.value_left

    @property
    def error(self) -> Float[Tensor, " part"]:
        """What the scores along each part miss of its change."""
        return (self.scores.sum(-1) - self.change).abs()

    def cut(self, chosen: Bool[Tensor, " part"], pieces: int) -> Spans:
        """Cut each chosen part into equal pieces, in order."""
        left, width = self.left[chosen], (self.right - self.left)[chosen]
        step = torch.arange(pieces, device=left.device)
        return Spans(
            self.path[chosen].repeat_interleave(pieces),
            (left[:, None] + width[:, None] * (step / pieces)).flatten(),
            (left[:, None] + width[:, None] * ((step + 1) / pieces)).flatten(),
        )

    def replaced(
        self,
        chosen: Bool[Tensor, " part"],
        pieces: Spans,
        scores: Float[Tensor, "piece neuron"],
        value_left: Float[Tensor, " piece"],
    ) -> "Parts":
        """Replace the chosen parts by their pieces."""
        starts = value_left.unflatten(0, (int(chosen.sum()), -1))[:, 1:]
        left = torch.cat([self.value_left[chosen, None], starts], 1).flatten()
        right = torch.cat([starts, self.value_right[chosen, None]], 1).flatten()
        new = Parts(pieces.path, pieces.left, pieces.right, left, right, scores)
        pairs = zip(vars(self).values(), vars(new).values(), strict=True)
        return Parts(*(torch.cat([old[~chosen], cut]) for old, cut in pairs))


def worst(
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
