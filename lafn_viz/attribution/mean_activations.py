"""Mean activations of each language over a corpus of prompts."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from lafn_viz.attribution.one_pass import OnePass
from lafn_viz.datasets.facts import Prompt
from lafn_viz.models.batching import batches
from lafn_viz.models.tokens import Position

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


def mean_activations(
    model: "TransformerBridge",
    prompts: Sequence[Prompt],
    *,
    position: Position = "all",
    max_rows: int = 256,
) -> dict[str, Float[Tensor, "layer neuron"]]:
    """Mean activations of each language over prompts and the chosen positions."""
    sums: dict[str, Tensor] = {}
    counts: dict[str, int] = {}
    for batch in batches(model, prompts, position=position, max_prompts=max_rows):
        run = OnePass(model, batch, "log_prob", max_rows=max_rows)
        total = torch.stack(run.activations, 1).double().sum(2).cpu()
        width = batch.at.stop - batch.at.start
        for row, number in enumerate(batch.index.tolist()):
            language = prompts[number].language
            sums[language] = sums.get(language, 0) + total[row]
            counts[language] = counts.get(language, 0) + width
    return {language: (sums[language] / counts[language]).float() for language in sums}


def require_languages(prompts: Sequence[Prompt], corpus: Sequence[Prompt], what: str) -> None:
    """Refuse a corpus that lacks a language of the prompts; `what` needs it."""
    missing = sorted({p.language for p in prompts} - {p.language for p in corpus})
    if missing:
        raise ValueError(
            f"the corpus has no prompt in {', '.join(missing)}; {what} needs some in every "
            "language of the prompts"
        )
