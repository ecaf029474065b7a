"""One edit: the neurons, the values added to them, and where they come from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from lafn_viz.core.json_records import quoted, shown
from lafn_viz.core.provenance import Provenance
from lafn_viz.datasets.facts import Prompt
from lafn_viz.editing.forward import EditPosition
from lafn_viz.models.capabilities import capabilities
from lafn_viz.neurons.neuron_sets import Neuron, validate_neurons

if TYPE_CHECKING:
    import pandas as pd
    from transformer_lens.model_bridge import TransformerBridge


class EditError(ValueError):
    """A cache on disk that cannot be used, or an edit that does not fit; the message says why."""


@dataclass(frozen=True)
class Edit:
    """One fact changed: values to add to some neurons where its subject is read.

    `values` belong to `neurons`, in units of their activation. `names` of the subject by language;
    `old` and `new` names of the object in the languages edited (`old` where it is known). `curve`
    is the loss at each evaluation (nats), `loss` and `divergence` its two parts at the end: mean
    -log P(new object) of `prompts`, and the divergence from before on what is to stay.
    """

    subject_id: str
    relation: str
    names: Mapping[str, tuple[str, ...]]
    old: Mapping[str, str]
    new: Mapping[str, str]
    neurons: tuple[Neuron, ...]
    values: Float[Tensor, " neuron"]
    position: EditPosition
    curve: tuple[float, ...]
    loss: float
    divergence: float
    prompts: tuple[Prompt, ...]
    provenance: Provenance

    def __repr__(self) -> str:
        name, new = next(iter(self.names.values())), next(iter(self.new.values()))
        return (
            f"Edit({quoted(name[0])}, {shown(self.relation)}: "
            f"{quoted(next(iter(self.old.values()), '?'))} -> {quoted(new)} "
            f"in {len(self.new)} languages, "
            f"{len(self.neurons)} neurons, loss {self.curve[0]:.2f} -> {self.loss:.2f})"
        )

    @property
    def key(self) -> tuple[str, str]:
        """Subject and relation; a cache holds one edit of each."""
        return self.subject_id, self.relation

    def require(self, model: "TransformerBridge") -> None:
        """Refuse any other model than the one it was made for, with EditError."""
        found = capabilities(model)
        made, here = self.provenance, found.weights
        if made.weights != here:
            raise EditError(
                f"{self!r} was made for the model {quoted(made.model)} "
                f"({shown(made.weights[:8])}), not for "
                f"this one ({here[:8]}); edit the fact anew on this model"
            )
        try:
            validate_neurons(self.neurons, (found.n_layers, found.d_mlp))
        except ValueError as error:
            raise EditError(f"{self!r} is damaged: {error}") from None

    def added(self, d_mlp: int) -> dict[int, Float[Tensor, " neuron"]]:
        """What is added to all neurons of each layer that it touches."""
        table = {layer: torch.zeros(d_mlp) for layer, _ in self.neurons}
        for (layer, neuron), value in zip(self.neurons, self.values, strict=True):
            table[layer][neuron] = value
        return table

    def to_frame(self) -> "pd.DataFrame":
        """One row a neuron: subject, relation, layer, neuron, value."""
        import pandas as pd

        return pd.DataFrame(
            {
                "subject_id": self.subject_id,
                "relation": self.relation,
                "layer": [layer for layer, _ in self.neurons],
                "neuron": [neuron for _, neuron in self.neurons],
                "value": self.values.numpy(),
            }
        )
