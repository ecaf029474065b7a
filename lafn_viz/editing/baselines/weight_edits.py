"""Edits that change weights: the down projections of some layers, and nothing else.

The down projection is read as an associative memory, from what the neurons do (key k) to what the
layer writes (value): v = k W. To make it write v + r at k and next to the same at all other keys:

- **rank one** (ROME, Meng et al. 2022, arXiv 2202.05262, eq. 2):
  dW = C^-1 k (x) r / (k . C^-1 k), one key after the other;
- **many at once** (MEMIT, Meng et al. 2023, arXiv 2210.07229, eq. 14):
  dW = (lambda C + K^T K)^-1 K^T R,

where C is the mean of k k^T over a corpus, and r is found by optimisation (`wanted_writes`).
Both were made for one key, at the last token of one subject in one language. A fact asked in
twelve languages has twelve.

A `WeightEdit` holds the difference; inside `applied` the model has it, afterwards its weights are
bit for bit what they were, on an exception too.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor

from lafn_viz.attribution.one_pass import OnePass
from lafn_viz.datasets.facts import Prompt, load_facts
from lafn_viz.editing.loss import EditLoss, LBFGSSearch
from lafn_viz.models.batching import batches
from lafn_viz.models.capabilities import capabilities
from lafn_viz.models.hooks import down_weight, hook_written

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

CORPUS = 2000  # prompts of the embedded facts behind the moments of a layer's keys


@dataclass(frozen=True)
class WeightEdit:
    """What is added to the down projections of some layers."""

    changes: Mapping[int, Float[Tensor, "neuron d_model"]]

    def __repr__(self) -> str:
        size = ", ".join(f"{i}: {float(change.norm()):.2f}" for i, change in self.changes.items())
        return f"WeightEdit(norm of the change by layer: {size})"

    @contextlib.contextmanager
    def applied(self, model: "TransformerBridge") -> Iterator[None]:
        """Change the weights, and put the very same ones back.

        Several add up, and may be left in any order.
        """
        here = _APPLIED.setdefault(model, {})
        mine = object()
        try:
            for layer, change in self.changes.items():
                weight = down_weight(model, layer)
                before, changes = here.setdefault(layer, (weight.detach().clone(), {}))
                changes[mine] = change.to(weight)
                _add_up(weight, before, changes)
            yield
        finally:
            for layer in self.changes:
                if layer not in here:  # stopped before it was changed
                    continue
                before, changes = here[layer]
                changes.pop(mine, None)
                _add_up(down_weight(model, layer), before, changes)
                if not changes:
                    del here[layer]


# By model and layer: the weights as they were, and what is added to them now, in order.
_LayerState = dict[int, tuple[Tensor, dict[object, Tensor]]]
_APPLIED: "WeakKeyDictionary[TransformerBridge, _LayerState]" = WeakKeyDictionary()


def _add_up(weight: Tensor, before: Tensor, changes: Mapping[object, Tensor]) -> None:
    """Make a layer's weights what they were, and add what is applied to them."""
    with torch.no_grad():
        weight.copy_(before)
        for change in changes.values():
            weight += change


_MOMENTS: "WeakKeyDictionary[TransformerBridge, Float[Tensor, 'layer neuron neuron']]" = (
    WeakKeyDictionary()
)


def second_moments(
    model: "TransformerBridge", corpus: Sequence[Prompt] | None = None
) -> Float[Tensor, "layer neuron neuron"]:
    """Mean of k k^T over the tokens of a corpus, k what a layer's neurons do (unit: activation^2).

    Without a corpus: an even selection of the embedded facts' prompts, computed once for a model.
    """
    if corpus is None:
        if model not in _MOMENTS:
            every = load_facts().prompts()
            _MOMENTS[model] = second_moments(model, every[:: max(1, len(every) // CORPUS)])
        return _MOMENTS[model]
    found = capabilities(model)
    total, count = torch.zeros(found.n_layers, found.d_mlp, found.d_mlp), 0
    for batch in batches(model, corpus, position="all"):
        run = OnePass(model, batch, "log_prob", max_rows=256)
        for layer, active in enumerate(run.activations):
            keys = active.reshape(-1, found.d_mlp).float()
            total[layer] += (keys.T @ keys).cpu()
        count += run.activations[0].shape[0] * run.activations[0].shape[1]
    return total / count


def wanted_writes(
    objective: EditLoss,
    groups: Sequence[str],
    layer: int,
    *,
    divergence: float,
    decay: float,
    evaluations: int,
) -> Float[Tensor, "group d_model"]:
    """What a layer's feed-forward network has to write more, for each group of prompts its own.

    Args:
        groups: of every prompt of the objective, the edited and the kept, its group.
        decay: weight of the sum of squares.
    """
    names = list(dict.fromkeys(groups))
    index = torch.tensor([names.index(group) for group in groups])
    edited = index[: objective.n_edited]
    reading = objective.reading
    width = down_weight(reading.model, layer).shape[1]

    def loss(writes: Tensor) -> tuple[Tensor]:
        new, kept = objective({layer: writes[index]}, site=hook_written)
        # A mean in each group, so that a language with more prompts does not count for more.
        total = torch.stack([new[edited == i].mean() for i in edited.unique().tolist()]).sum()
        return (total + len(names) * divergence * kept + decay * writes.square().sum(),)

    start = torch.zeros(len(names), width, device=reading.device)
    return LBFGSSearch().minimise(start, loss, evaluations).cpu()


def rank_one(
    moment: Float[Tensor, "neuron neuron"],
    keys: Float[Tensor, "group neuron"],
    writes: Float[Tensor, "group d_model"],
    *,
    ridge: float = 1e-3,
) -> Float[Tensor, "neuron d_model"]:
    """Change that writes each group's vector at its key, one after the other (ROME, eq. 2).

    Args:
        ridge: added to the diagonal of the moment, relative to its mean, so that it can be solved.
    """
    directions = torch.linalg.solve(_ridged(moment, ridge), keys.T).T
    change = torch.zeros(keys.shape[1], writes.shape[1])
    for key, direction, write in zip(keys, directions, writes, strict=True):
        change += torch.outer(direction, write - key @ change) / (key @ direction)
    return change


def least_squares(
    moment: Float[Tensor, "neuron neuron"],
    keys: Float[Tensor, "group neuron"],
    writes: Float[Tensor, "group d_model"],
    *,
    weight: float,
    ridge: float = 1e-3,
) -> Float[Tensor, "neuron d_model"]:
    """Change that comes near all vectors at all keys, and near nothing elsewhere (MEMIT, eq. 14).

    Args:
        weight: of what the corpus has, lambda.
    """
    return torch.linalg.solve(weight * _ridged(moment, ridge) + keys.T @ keys, keys.T @ writes)


def _ridged(moment: Float[Tensor, "neuron neuron"], ridge: float) -> Float[Tensor, "neuron neuron"]:
    return moment + ridge * moment.diagonal().mean() * torch.eye(len(moment))
