"""Mean activations of each language over a corpus of prompts."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

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


@reads_model
def mean_activations(
    model: "TransformerBridge",
    prompts: Sequence[Prompt],
    *,
    position: Position = "all",
    max_rows: int = 256,
) -> dict[str, Float[Tensor, "layer neuron"]]:
    """Compute each language's mean activations over its prompts and the chosen positions."""
    sums: dict[str, Tensor] = {}
    counts: dict[str, int] = {}
    for batch in batches(model, prompts, position=position, max_prompts=max_rows):
        run = OnePass(model, batch, "log_prob", max_rows=max_rows)
        totals = torch.stack(run.activations, 1).double().sum(2).cpu()
        n_positions = batch.at.stop - batch.at.start
        for number, total in zip(batch.index.tolist(), totals, strict=True):
            language = prompts[number].language
            sums[language] = sums.get(language, 0) + total
            counts[language] = counts.get(language, 0) + n_positions
    return {language: (sums[language] / counts[language]).float() for language in sums}


def require_languages(prompts: Sequence[Prompt], corpus: Sequence[Prompt], what: str) -> None:
    """Raise ValueError for a corpus without a language of the prompts, which `what` needs."""
    missing = sorted({p.language for p in prompts} - {p.language for p in corpus})
    if missing:
        raise ValueError(
            f"the corpus has no prompt in {', '.join(missing)}; {what} needs some in every "
            "language of the prompts"
        )
