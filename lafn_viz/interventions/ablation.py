"""Change neurons while the model reads, and measure the answers: many sets in a few passes.

A changed neuron gets one of four values:

- **zero**: nothing (AMIG's "suppress");
- **scale**: a multiple of its own activation (by 2: AMIG's "enhance");
- **mean**: its mean activation over the prompts of a corpus in the same language;
- **resample**: its activation at a random position of a random prompt of the corpus in the same
  language, so that the value stays in the neuron's usual range.

Hooks are removed at the end and after an exception; the weights are never touched.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lafn_viz.attribution.mean_activations import mean_activations, require_languages
from lafn_viz.attribution.one_pass import OnePass
from lafn_viz.core.arguments import Reader, a_seed, one_of, real, whole
from lafn_viz.core.files import checksum_of
from lafn_viz.core.options import require_one_of
from lafn_viz.datasets.prompts import Prompt
from lafn_viz.models.batching import batches
from lafn_viz.models.calls import reads_model
from lafn_viz.models.tokens import POSITIONS, Position

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

Ablation = Literal["zero", "scale", "mean", "resample"]
# The options that all interventions share.
ABLATION: dict[str, Reader] = {
    "how": one_of(get_args(Ablation)), "factor": real(), "position": one_of(POSITIONS),
    "controls": whole(0), "seed": a_seed,
}  # fmt: skip
# New activations [row, position, neuron] of a layer from (layer, prompt of each row, old ones).
Replacement = Callable[[int, Tensor, Tensor], Tensor]
DRAWN_TOGETHER = 4096  # positions of a prompt; another number changes what a seed draws


@reads_model
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
    """Log-probability (nats) of each answer, unchanged and with each set of neurons changed.

    Variants and prompts share their batches (`max_rows` at once), so hundreds of sets cost a few
    passes of the model.
    """
    require_one_of("how", how, get_args(Ablation))
    groups = list(batches(model, prompts, position=position, max_prompts=max_rows))
    n_positions = max(batch.at.stop - batch.at.start for batch in groups)
    replacement = _replacement(model, prompts, how, factor, position, corpus, seed, n_positions)
    before, after = torch.empty(len(prompts)), torch.empty(len(masks), len(prompts))
    layers = masks.any(0).any(-1).nonzero()[:, 0].tolist()
    for batch in groups:
        run = OnePass(model, batch, "log_prob", max_rows=max_rows)
        before[batch.index] = run.log_prob.cpu()
        rows = torch.cartesian_prod(torch.arange(len(masks)), torch.arange(len(batch.index)))
        for variant, owner in (part.unbind(1) for part in rows.split(max_rows)):
            prompt = batch.index[owner]
            changes = {
                layer: _change(masks[variant, layer], partial(replacement, layer, prompt))
                for layer in layers
            }
            after[variant, prompt] = run.changed(owner.to(run.tokens.device), changes).cpu()
    return before, after


def ablation_options(
    how: Ablation, factor: float, position: Position, corpus: Sequence[Prompt] | None
) -> dict[str, Any]:
    """The options that decide the numbers, for a provenance: the factor and corpus if used."""
    options: dict[str, Any] = {"how": how, "position": position}
    if how == "scale":
        options["factor"] = factor
    if how in ("mean", "resample") and corpus:
        texts = "\n".join(f"{p.language} {p.full_text}{p.separator}{p.answer}" for p in corpus)
        digest = checksum_of(texts)[:8]
        options["corpus"] = f"{len(corpus)} prompts ({digest})"
    return options


def _change(
    chosen: Bool[Tensor, "row neuron"], new: Callable[[Tensor], Tensor]
) -> Callable[[Tensor], Tensor]:
    """Replace the activations of the chosen neurons of each row."""

    def change(value: Float[Tensor, "row at neuron"]) -> Tensor:
        return torch.where(chosen[:, None].to(value.device), new(value), value)

    return change


def _replacement(
    model: "TransformerBridge",
    prompts: Sequence[Prompt],
    how: Ablation,
    factor: float,
    position: Position,
    corpus: Sequence[Prompt] | None,
    seed: int,
    n_positions: int,
) -> Replacement:
    """The function that gives neurons their new activations."""
    if how in ("zero", "scale"):
        multiple = 0.0 if how == "zero" else factor
        return lambda layer, prompt, value: value * multiple
    if not corpus:
        raise ValueError(
            f"how={how!r} needs a corpus: prompts whose activations take the place of these, "
            "such as corpus=facts.prompts()"
        )
    require_languages(prompts, corpus, f"how={how!r}")
    languages = [prompt.language for prompt in prompts]
    if how == "mean":
        by_language = mean_activations(model, corpus, position=position)
        means = torch.stack([by_language[language] for language in languages])
        return lambda layer, prompt, value: means[prompt, layer][:, None].to(value)
    bank = _activation_bank(model, corpus, position)
    # One draw for each prompt and position, the same in every layer and variant.
    draws = _uniform_draws(len(prompts), n_positions, seed)

    def resample(layer: int, prompt: Tensor, value: Tensor) -> Tensor:
        new = torch.empty_like(value)
        for row, number in enumerate(prompt.tolist()):
            activations = bank[languages[number]][layer]
            tokens = (draws[number, : value.shape[1]] * len(activations)).long()
            new[row] = activations[tokens].to(value)
        return new

    return resample


def _uniform_draws(n_prompts: int, n_positions: int, seed: int) -> Float[Tensor, "prompt position"]:
    """Draw from [0, 1); longer prompts leave the draws of the first positions as they are."""
    generator = torch.Generator().manual_seed(seed)
    blocks = [
        torch.rand(n_prompts, DRAWN_TOGETHER, generator=generator)
        for _ in range(0, n_positions, DRAWN_TOGETHER)
    ]
    return torch.cat(blocks, 1)[:, :n_positions].clone()


def _activation_bank(
    model: "TransformerBridge", corpus: Sequence[Prompt], position: Position
) -> dict[str, Float[Tensor, "layer token neuron"]]:
    """The corpus's activations at the chosen positions, by language, one token after another."""
    by_language: dict[str, list[Tensor]] = {}
    for batch in batches(model, corpus, position=position, max_prompts=64):
        run = OnePass(model, batch, "log_prob", max_rows=64)
        activations = torch.stack(run.activations, 1).cpu()
        for row, number in enumerate(batch.index.tolist()):
            by_language.setdefault(corpus[number].language, []).append(activations[row])
    return {language: torch.cat(parts, 1) for language, parts in by_language.items()}
