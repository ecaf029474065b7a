"""Change neurons while the model reads, and measure the answers: many sets in a few passes.

What a neuron of the set is changed to: **zero** (AMIG's "suppress"), a multiple (**scale**; by 2:
its "enhance"), the **mean** of the prompt's language over a corpus, or what it was at a random
place of a random prompt of that language (**resample**), which keeps values in their usual range.

Hooks are removed when the work is done and on an exception; weights are never touched.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lafn_viz.attribution.mean_activations import mean_activations, require_languages
from lafn_viz.attribution.one_pass import OnePass
from lafn_viz.datasets.facts import Prompt
from lafn_viz.models.batching import batches
from lafn_viz.models.tokens import Position

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

Ablation = Literal["zero", "scale", "mean", "resample"]


def measure_ablation(
    model: "TransformerBridge",
    prompts: Sequence[Prompt],
    masks: Bool[Tensor, "variant layer neuron"],
    *,
    how: Ablation = "zero",
    factor: float = 2.0,
    position: Position = "all",
    corpus: Sequence[Prompt] | None = None,
    seed: int = 0,
    max_rows: int = 256,
) -> tuple[Float[Tensor, " prompt"], Float[Tensor, "variant prompt"]]:
    """Log-probability (nats) of each answer unchanged, and under many sets of changed neurons.

    Variants and prompts share their batches (`max_rows` at once), so hundreds of sets cost a few
    passes of the model.
    """
    if how not in get_args(Ablation):
        raise ValueError(f"unknown how {how!r}; there are {', '.join(get_args(Ablation))}")
    fill = _fill(model, prompts, how, position, corpus, seed)
    before, after = torch.empty(len(prompts)), torch.empty(len(masks), len(prompts))
    layers = masks.any(0).any(-1).nonzero()[:, 0].tolist()
    for batch in batches(model, prompts, position=position, max_prompts=max_rows):
        run = OnePass(model, batch, "log_prob", max_rows=max_rows)
        before[batch.index] = run.log_prob.cpu()
        rows = torch.cartesian_prod(torch.arange(len(masks)), torch.arange(len(batch.index)))
        for variant, owner in (part.unbind(1) for part in rows.split(max_rows)):
            number = batch.index[owner]

            def change_of(
                layer: int, variant: Tensor = variant, number: Tensor = number
            ) -> Callable[[Tensor], Tensor]:
                chosen = masks[variant, layer][:, None]

                def change(value: Float[Tensor, "row at neuron"]) -> Tensor:
                    if fill is None:
                        new = value * (0.0 if how == "zero" else factor)
                    else:
                        new = fill(layer, number, value)
                    return torch.where(chosen.to(value.device), new, value)

                return change

            changes = {layer: change_of(layer) for layer in layers}
            after[variant, number] = run.changed(owner.to(run.tokens.device), changes).cpu()
    return before, after


Fill = Callable[[int, Tensor, Tensor], Tensor]


def _fill(
    model: "TransformerBridge",
    prompts: Sequence[Prompt],
    how: Ablation,
    position: Position,
    corpus: Sequence[Prompt] | None,
    seed: int,
) -> Fill | None:
    """What neurons become, from (layer, prompt numbers, old value); None: a multiple of it."""
    if how in ("zero", "scale"):
        return None
    if not corpus:
        raise ValueError(
            f"how={how!r} needs a corpus: prompts whose activations take the place of these, "
            "such as corpus=facts.prompts()"
        )
    require_languages(prompts, corpus, f"how={how!r}")
    languages = [prompt.language for prompt in prompts]
    if how == "mean":
        means = mean_activations(model, corpus, position=position)
        table = torch.stack([means[language] for language in languages])

        def mean(layer: int, number: Tensor, value: Tensor) -> Tensor:
            return table[number, layer][:, None].to(value)

        return mean
    bank = _bank(model, corpus, position)
    # One draw for each prompt and position, the same in every layer and variant.
    draws = torch.rand(len(prompts), 4096, generator=torch.Generator().manual_seed(seed))

    def resample(layer: int, number: Tensor, value: Tensor) -> Tensor:
        new = torch.empty_like(value)
        for row, prompt in enumerate(number.tolist()):
            kept = bank[languages[prompt]][layer]
            new[row] = kept[(draws[prompt, : value.shape[1]] * len(kept)).long()].to(value)
        return new

    return resample


def _bank(
    model: "TransformerBridge", corpus: Sequence[Prompt], position: Position
) -> dict[str, Float[Tensor, "layer token neuron"]]:
    """Activations of each language's prompts at the chosen positions, one after the other."""
    kept: dict[str, list[Tensor]] = {}
    for batch in batches(model, corpus, position=position, max_prompts=64):
        run = OnePass(model, batch, "log_prob", max_rows=64)
        seen = torch.stack(run.activations, 1).cpu()
        for row, number in enumerate(batch.index.tolist()):
            kept.setdefault(corpus[number].language, []).append(seen[row])
    return {language: torch.cat(some, 1) for language, some in kept.items()}
