"""Mean activations over groups of prompts, such as those of a language."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from lafn_viz.attribution.one_pass import OnePass
from lafn_viz.datasets.prompts import Prompt
from lafn_viz.models.batching import batches
from lafn_viz.models.calls import reads_model
from lafn_viz.models.tokens import Position

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True)
class ActivationSum:
    """Activations summed over `count` positions, in float64."""

    total: Float[Tensor, "layer neuron"] | int = 0
    count: int = 0

    def __add__(self, other: "ActivationSum") -> "ActivationSum":
        return ActivationSum(self.total + other.total, self.count + other.count)

    def __sub__(self, other: "ActivationSum") -> "ActivationSum":
        return ActivationSum(self.total - other.total, self.count - other.count)

    @property
    def mean(self) -> Float[Tensor, "layer neuron"]:
        """The mean, in float32."""
        return torch.as_tensor(self.total / self.count).float()


def mean_activations(
    model: "TransformerBridge",
    prompts: Sequence[Prompt],
    *,
    position: Position = "all",
    max_rows: int = 256,
) -> dict[str, Float[Tensor, "layer neuron"]]:
    """Compute each language's mean activations over its prompts and the chosen positions."""
    sums = summed_activations(
        model, prompts, by=lambda prompt: prompt.language, position=position, max_rows=max_rows
    )
    return {language: part.mean for language, part in sums.items()}


@reads_model
def summed_activations(
    model: "TransformerBridge",
    prompts: Sequence[Prompt],
    *,
    by: Callable[[Prompt], K],
    position: Position = "all",
    special_tokens: bool = True,
    max_rows: int = 256,
) -> dict[K, ActivationSum]:
    """Sum the activations over the prompts of each group and the chosen positions.

    Args:
        by: the group of a prompt.
        special_tokens: whether to count those that `Batch.kept_at_start` keeps.
    """
    sums: dict[K, ActivationSum] = {}
    for batch in batches(model, prompts, position=position, max_prompts=max_rows):
        run = OnePass(model, batch, "log_prob", max_rows=max_rows)
        first = 0 if special_tokens else batch.kept_at_start(masked=run.capabilities.masked)
        totals = torch.stack([layer[:, first:] for layer in run.activations], 1)
        n_positions = totals.shape[2]
        for number, total in zip(batch.index.tolist(), totals.double().sum(2).cpu(), strict=True):
            key = by(prompts[number])
            sums[key] = sums.get(key, ActivationSum()) + ActivationSum(total, n_positions)
    return sums


def require_languages(prompts: Sequence[Prompt], corpus: Sequence[Prompt], what: str) -> None:
    """Raise ValueError for a corpus without a language of the prompts, which `what` needs."""
    missing = sorted({p.language for p in prompts} - {p.language for p in corpus})
    if missing:
        raise ValueError(
            f"the corpus has no prompt in {', '.join(missing)}; {what} needs some in every "
            "language of the prompts"
        )
