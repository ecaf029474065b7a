"""Edits that change weights: the down projections of some layers, and nothing else.

The down projection is read as an associative memory that maps a key k (what the neurons do) to a
value v = k W (what the layer writes). To make it write v + r at k, and almost the same as before at
all other keys:

- **rank one** (ROME, Meng et al. 2022, arXiv 2202.05262, eq. 2):
  dW = C^-1 k (x) r / (k . C^-1 k), one key after the other;
- **many at once** (MEMIT, Meng et al. 2023, arXiv 2210.07229, eq. 14):
  dW = (lambda C + K^T K)^-1 K^T R,

where C is the mean of k k^T over a corpus, and the residual r is found by optimisation
(`optimise_residuals`). Both were designed for one key, at the last token of one subject in one
language; a fact asked in twelve languages has twelve keys.

A `WeightEdit` holds dW. Inside `applied` the model has the changed weights; afterwards its weights
are bit for bit what they were, also after an exception.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor

from lafn_viz.attribution.one_pass import OnePass
from lafn_viz.core.arguments import a_path, takes
from lafn_viz.core.files import whole_folder
from lafn_viz.datasets.fact_files import load_facts
from lafn_viz.datasets.prompts import Prompt
from lafn_viz.editing.loss import EditLoss
from lafn_viz.editing.search import Minimiser
from lafn_viz.models.batching import batches
from lafn_viz.models.calls import held, reads_model, require_model
from lafn_viz.models.capabilities import capabilities, weights_of
from lafn_viz.models.hooks import down_weight, hook_written
from lafn_viz.models.plain_weights import save_plain
from lafn_viz.models.quiet import quiet
from lafn_viz.models.remembered import Remembered
from lafn_viz.models.weights import is_copied

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

N_CORPUS = 2000  # about as many prompts of the embedded facts make the moments of the keys

# By layer: the weights as they were, and the changes that are applied to them now, in order.
_LayerState = dict[int, tuple[Tensor, dict[object, Tensor]]]
_APPLIED: "WeakKeyDictionary[TransformerBridge, _LayerState]" = WeakKeyDictionary()
_MOMENTS: "Remembered[Float[Tensor, 'layer neuron neuron']]" = Remembered(weights_of)


def require_free(folder: Path) -> None:
    """Raise FileExistsError for a folder that holds something."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} is there and not empty; give another folder for the model")


@dataclass(frozen=True)
class WeightEdit:
    """A change of the down projections of some layers; `changes` is dW by layer.

    ValueError for a change that is not all numbers, which would silence the model for good.
    """

    changes: Mapping[int, Float[Tensor, "neuron d_model"]]

    def __post_init__(self) -> None:
        for layer, change in self.changes.items():
            if not change.isfinite().all():
                raise ValueError(
                    f"the change of layer {layer} is not all numbers; edit another layer, or "
                    "search in smaller steps"
                )

    def __repr__(self) -> str:
        size = ", ".join(f"{i}: {float(change.norm()):.2f}" for i, change in self.changes.items())
        return f"WeightEdit(norm of the change by layer: {size})"

    @contextlib.contextmanager
    def applied(self, model: "TransformerBridge") -> Iterator[None]:
        """Change the weights within a `with` block, then restore them bit for bit.

        Several edits add up, and their blocks may be left in any order. Calls of other threads wait
        until the block is left, because they are of the model without these changes.
        """
        require_model(model)
        with held(model):
            layers, token = _APPLIED.setdefault(model, {}), object()
            try:
                self._apply(model, layers, token)
                yield
            finally:
                self._take_back(model, layers, token)

    @takes(folder=a_path)
    def save_model(self, model: "TransformerBridge", folder: str | Path) -> None:
        """Write the edited model, with its tokenizer, to a folder as transformers reads it.

        `AutoModelForCausalLM.from_pretrained(folder)` and `lv.load_model(folder)` open it, in the
        number type that the model has now. The model itself stays as it is, and the folder is
        written whole or not at all.

        Raises:
            FileExistsError: if the folder is there and not empty.
            ValueError: for weights that are offloaded or quantised.
        """
        place = Path(folder)
        require_free(place)
        with self.applied(model), quiet(), whole_folder(place) as new:
            save_plain(model, new)

    @reads_model
    def _apply(self, model: "TransformerBridge", layers: _LayerState, token: object) -> None:
        for layer, change in self.changes.items():
            if is_copied(model.blocks[layer].mlp.out):
                raise ValueError(
                    f"the weights of layer {layer} are offloaded or quantised, so this edit cannot "
                    "change them; load the model without device_map and quantization_config, or "
                    "use an editor that changes activations (lv.edit_case)"
                )
            weight = down_weight(model, layer)
            if change.shape != weight.shape:
                raise ValueError(
                    f"the edit changes {list(change.shape)} weights of layer {layer}, which has "
                    f"{list(weight.shape)} here: it was made for another model; edit the fact anew"
                )
            before, changes = layers.setdefault(layer, (weight.detach().clone(), {}))
            changes[token] = change.to(weight)
            _set_weight(weight, before, changes)

    @reads_model
    def _take_back(self, model: "TransformerBridge", layers: _LayerState, token: object) -> None:
        for layer in self.changes:
            if layer not in layers:  # interrupted before this layer was changed
                continue
            before, changes = layers[layer]
            changes.pop(token, None)
            _set_weight(down_weight(model, layer), before, changes)
            if not changes:
                del layers[layer]


def _set_weight(weight: Tensor, before: Tensor, changes: Mapping[object, Tensor]) -> None:
    """Restore a layer's weights, then add all changes that are applied now."""
    with torch.no_grad():
        weight.copy_(before)
        for change in changes.values():
            weight += change


@reads_model
def second_moments(
    model: "TransformerBridge", corpus: Sequence[Prompt] | None = None
) -> Float[Tensor, "layer neuron neuron"]:
    """Mean of k k^T over the tokens of a corpus, with k a layer's activations (activation^2).

    Without a corpus, evenly spaced prompts of the embedded facts are read, once for each model.
    """
    if corpus is None:
        return _MOMENTS.get(model, _moments_of_embedded_facts)
    n_layers, d_mlp = capabilities(model).shape
    total, count = torch.zeros(n_layers, d_mlp, d_mlp), 0
    for batch in batches(model, corpus, position="all"):
        run = OnePass(model, batch, "log_prob", max_rows=256)
        for layer, active in enumerate(run.activations):
            keys = active.reshape(-1, d_mlp).float()
            total[layer] += (keys.T @ keys).cpu()
        count += run.activations[0].shape[0] * run.activations[0].shape[1]
    return total / count


def _moments_of_embedded_facts(
    model: "TransformerBridge",
) -> Float[Tensor, "layer neuron neuron"]:
    prompts = load_facts().prompts()
    return second_moments(model, prompts[:: max(1, len(prompts) // N_CORPUS)])


def optimise_residuals(
    edit_loss: EditLoss,
    groups: Sequence[str],
    layer: int,
    *,
    divergence: float,
    decay: float,
    minimiser: Minimiser,
    evaluations: int,
) -> Float[Tensor, "group d_model"]:
    """The residual r of each group of prompts: what a layer's feed-forward network must write more.

    Args:
        groups: the group of every prompt of the loss, first the edited and then the kept ones.
        divergence: weight of the Kullback-Leibler divergence on the kept prompts.
        decay: weight of the minimiser's penalty on the residuals.
        evaluations: of the loss, at most.
    """
    names = list(dict.fromkeys(groups))
    index = torch.tensor([names.index(group) for group in groups])
    edited = index[: edit_loss.n_edited]
    forward = edit_loss.forward
    d_model = down_weight(forward.model, layer).shape[1]

    def loss(residuals: Tensor) -> Tensor:
        new, kept = nearby({layer: residuals[index]}, site=hook_written)
        # A mean in each group, so that a language with more prompts does not count for more.
        total = torch.stack([new[edited == i].mean() for i in edited.unique().tolist()]).sum()
        return total + len(names) * divergence * kept + decay * minimiser.penalty(residuals)

    start = torch.zeros(len(names), d_model, device=forward.device)
    nearby = edit_loss.near({})
    return minimiser.minimise(start, loss, evaluations).cpu()


def rank_one(
    moment: Float[Tensor, "neuron neuron"],
    keys: Float[Tensor, "group neuron"],
    residuals: Float[Tensor, "group d_model"],
    *,
    ridge: float = 1e-3,
) -> Float[Tensor, "neuron d_model"]:
    """The change dW that adds each group's residual at its key, one after the other (ROME, eq. 2).

    Args:
        moment: C, the mean of k k^T over a corpus.
        ridge: added to the diagonal of the moment, relative to its mean, so that it is invertible.
    """
    directions = torch.linalg.solve(_ridged(moment, ridge), keys.T).T
    change = torch.zeros(keys.shape[1], residuals.shape[1])
    for key, direction, residual in zip(keys, directions, residuals, strict=True):
        change += torch.outer(direction, residual - key @ change) / (key @ direction)
    return change


def least_squares(
    moment: Float[Tensor, "neuron neuron"],
    keys: Float[Tensor, "group neuron"],
    residuals: Float[Tensor, "group d_model"],
    *,
    weight: float,
    ridge: float = 1e-3,
) -> Float[Tensor, "neuron d_model"]:
    """The change dW that adds all residuals at all keys in the least-squares sense (MEMIT, eq. 14).

    Args:
        moment: C, the mean of k k^T over a corpus.
        weight: lambda, how much the corpus counts against the edit.
        ridge: as in `rank_one`.
    """
    return torch.linalg.solve(weight * _ridged(moment, ridge) + keys.T @ keys, keys.T @ residuals)


def _ridged(moment: Float[Tensor, "neuron neuron"], ridge: float) -> Float[Tensor, "neuron neuron"]:
    """The moment with a ridge on its diagonal."""
    return moment + ridge * moment.diagonal().mean() * torch.eye(len(moment))
