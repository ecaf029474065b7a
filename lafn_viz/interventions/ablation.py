"""Change neurons while the model reads, and measure the answers: many sets in a few passes.

A changed neuron gets one of four values:

- **zero**: nothing (AMIG's "suppress");
- **scale**: a multiple of its own activation (by 2: AMIG's "enhance");
- **mean**: its mean activation over the prompts of a corpus in the same language;
- **resample**: its activation at a random position of a random prompt of the corpus in the same
  language, so that the value stays in the neuron's usual range.

Special tokens at the start of a text are the same in all prompts of a causal model. They say
nothing of a fact and others attend to them, so "mean" and "resample" leave them as they are, and
take no values from them.

Hooks are removed at the end and after an exception; the weights are never touched.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lafn_viz.attribution.one_pass import OnePass
from lafn_viz.core.arguments import Reader, a_seed, one_of, real, whole
from lafn_viz.core.files import checksum_of
from lafn_viz.core.options import require_one_of
from lafn_viz.datasets.prompts import Prompt
from lafn_viz.interventions.replacements import (
    FROM_CORPUS,
    Ablation as Ablation,
    CorpusActivations,
    replacement_of,
)
from lafn_viz.models.batching import batches
from lafn_viz.models.calls import reads_model
from lafn_viz.models.scoring import require_numbers
from lafn_viz.models.tokens import POSITIONS, Position

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

# The options that all interventions share.
ABLATION: dict[str, Reader] = {
    "how": one_of(get_args(Ablation)), "factor": real(), "position": one_of(POSITIONS),
    "controls": whole(0), "seed": a_seed,
}  # fmt: skip


@reads_model
def measure_ablation(
    model: "TransformerBridge",
    prompts: Sequence[Prompt],
    masks: Bool[Tensor, "variant *group layer neuron"],
    *,
    groups: Int[Tensor, " prompt"] | None = None,
    how: Ablation = "zero",
    factor: float = 2.0,
    position: Position = "all",
    corpus: Sequence[Prompt] | CorpusActivations | None = None,
    seed: int = 0,
    max_rows: int = 256,
) -> tuple[Float[Tensor, " prompt"], Float[Tensor, "variant prompt"]]:
    """Log-probability (nats) of each answer, unchanged and with each set of neurons changed.

    Variants and prompts share their batches (`max_rows` at once), so hundreds of sets cost a few
    passes of the model.

    Args:
        masks: the neurons that each variant changes; with `groups`, in the prompts of each group.
        groups: the group of each prompt, such as its language.
        corpus: for "mean" and "resample"; read with `read_corpus` if it serves several calls.

    Raises:
        ValueError: for a prompt whose answer has a probability that is not a number.
    """
    if groups is None:
        masks, groups = masks[:, None], torch.zeros(len(prompts), dtype=torch.long)
    require_one_of("how", how, get_args(Ablation))
    batched = list(batches(model, prompts, position=position, max_prompts=max_rows))
    n_positions = max(batch.at.stop - batch.at.start for batch in batched)
    replacement = replacement_of(
        model, prompts, corpus,
        how=how, factor=factor, position=position, seed=seed, n_positions=n_positions,
    )  # fmt: skip
    before, after = torch.empty(len(prompts)), torch.empty(len(masks), len(prompts))
    layers = masks.flatten(0, 1).any(0).any(-1).nonzero()[:, 0].tolist()
    for batch in batched:
        run = OnePass(model, batch, "log_prob", max_rows=max_rows)
        n_kept = 0
        if how in FROM_CORPUS:
            n_kept = batch.kept_at_start(masked=run.capabilities.masked)
        before[batch.index] = run.log_prob.cpu()
        rows = torch.cartesian_prod(torch.arange(len(masks)), torch.arange(len(batch.index)))
        for variant, owner in (part.unbind(1) for part in rows.split(max_rows)):
            prompt = batch.index[owner]
            changes = {
                layer: _change(
                    masks[variant, groups[prompt], layer],
                    partial(replacement, layer, prompt),
                    n_kept,
                )
                for layer in layers
            }
            after[variant, prompt] = run.changed(owner.to(run.tokens.device), changes).cpu()
    require_numbers(torch.cat([before[None], after]), prompts)
    return before, after


def ablation_options(
    how: Ablation, factor: float, position: Position, corpus: Sequence[Prompt] | None
) -> dict[str, Any]:
    """The options that decide the numbers, for a provenance: the factor and corpus if used."""
    options: dict[str, Any] = {"how": how, "position": position}
    if how == "scale":
        options["factor"] = factor
    if how in FROM_CORPUS and corpus:
        texts = "\n".join(f"{p.language} {p.full_text}{p.separator}{p.answer}" for p in corpus)
        digest = checksum_of(texts)[:8]
        options["corpus"] = f"{len(corpus)} prompts ({digest})"
    return options


def _change(
    chosen: Bool[Tensor, "row neuron"], new: Callable[[Tensor], Tensor], n_kept: int
) -> Callable[[Tensor], Tensor]:
    """Replace the activations of the chosen neurons of each row, but for the first positions."""

    def change(value: Float[Tensor, "row at neuron"]) -> Tensor:
        changed = torch.where(chosen[:, None].to(value.device), new(value), value)
        return torch.cat([value[:, :n_kept], changed[:, n_kept:]], 1) if n_kept else changed

    return change
