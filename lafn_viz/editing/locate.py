"""Which neurons an edit may change, and which of them carry a fact in the most languages.

Before the edit, neurons are scored on every question, by activation or attribution. A neuron counts
in each language in which it is among the `n_neurons` with the highest mean score; those that count
in the most languages are located. Zhang et al. 2025 (COLING 2025) ask for more: "intersection"
takes the neurons that are among the most active ones in every wording of every language.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lafn_viz.attribution.attribute import attribute
from lafn_viz.attribution.methods import Method
from lafn_viz.core.arguments import some_wholes
from lafn_viz.core.messages import quoted
from lafn_viz.datasets.prompts import Prompt
from lafn_viz.models.tokens import Position
from lafn_viz.neurons.neuron_sets import Neurons, mask_of, validate_neurons

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

Locate = Literal["pruned", "attribution", "activation", "intersection"]
LOCATE: tuple[Locate, ...] = get_args(Locate)
WORDINGS = 2  # of each language, which show as well as all which neurons carry an edit


def allowed_neurons(
    layers: int | Iterable[int] | None,
    neurons: Neurons | None,
    n_neurons: int,
    shape: tuple[int, int],
) -> Bool[Tensor, "layer neuron"]:
    """The neurons that may be changed: those given, or all of the layers."""
    n_layers, d_mlp = shape
    if neurons is not None:
        return mask_of(validate_neurons(neurons, shape), shape)
    chosen = range(n_layers) if layers is None else some_wholes()("layers", layers)
    if not chosen or any(not 0 <= layer < n_layers for layer in chosen):
        raise ValueError(f"layers={quoted(chosen)}; this model has layers 0 to {n_layers - 1}")
    if not 1 <= n_neurons <= len(set(chosen)) * d_mlp:
        raise ValueError(
            f"n_neurons={n_neurons}; these layers have 1 to {len(set(chosen)) * d_mlp}"
        )
    allowed = torch.zeros(shape, dtype=torch.bool)
    allowed[list(chosen)] = True
    return allowed


def highest_scoring(
    model: "TransformerBridge",
    prompts: Sequence[Prompt],
    locate: Locate,
    allowed: Bool[Tensor, "layer neuron"],
    n_neurons: int,
) -> Bool[Tensor, "layer neuron"]:
    """The neurons that are among the best in the most languages; ties go by their mean scores."""
    method: Method = "activation" if locate == "activation" else "integrated_gradients"
    scores = attribute(model, prompts, method=method, position="all")
    ranking = torch.zeros(allowed.shape)
    for language in dict.fromkeys(prompt.language for prompt in prompts):
        rows = [i for i, prompt in enumerate(prompts) if prompt.language == language]
        mean = torch.where(allowed, scores.values[rows].mean(0), 0).clamp_min(0)
        # A score relative to the best counts for less than one language, so it only breaks ties.
        ranking += largest(mean, n_neurons) * (mean > 0) + mean / mean.max().clamp_min(1e-30) / 1e3
    return largest(torch.where(allowed, ranking, -1), n_neurons)


def most_active_everywhere(
    model: "TransformerBridge",
    prompts: Sequence[Prompt],
    position: Position,
    allowed: Bool[Tensor, "layer neuron"],
    n_neurons: int,
) -> Bool[Tensor, "layer neuron"]:
    """The intersection of the prompts' sets of most active neurons, as large as is wanted.

    Every set holds the k most active of the allowed neurons, for the least k at which `n_neurons`
    are in all sets: those whose worst rank is best.
    """
    active = attribute(model, prompts, method="activation", position=position).values
    below = active.where(allowed, -torch.inf).flatten(1).argsort(descending=True).argsort()
    worst = below.amax(0).view(allowed.shape)
    return largest(torch.where(allowed, -worst.float(), -torch.inf), n_neurons)


def some_of_each_language(prompts: Sequence[Prompt]) -> list[Prompt]:
    """`WORDINGS` prompts of each language, spread over its wordings.

    Each language begins at another wording, so that all of them occur.
    """
    by_language: dict[str, list[Prompt]] = defaultdict(list)
    for prompt in prompts:
        by_language[prompt.language].append(prompt)
    return [
        of_language[(first + step * len(of_language) // WORDINGS) % len(of_language)]
        for first, of_language in enumerate(by_language.values())
        for step in range(min(WORDINGS, len(of_language)))
    ]


def largest(values: Float[Tensor, "layer neuron"], count: int) -> Bool[Tensor, "layer neuron"]:
    """The neurons of the `count` largest values."""
    mask = torch.zeros(values.numel(), dtype=torch.bool)
    return mask.index_fill(0, values.flatten().topk(count).indices, True).view_as(values)
