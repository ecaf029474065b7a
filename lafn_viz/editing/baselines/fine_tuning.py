"""Constrained fine-tuning of the down projections (Zhu et al. 2020, arXiv 2012.00363)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from lafn_viz.datasets.edit_cases import EditCase
from lafn_viz.editing.baselines.editor import Editor
from lafn_viz.editing.baselines.weight_edits import (
    WeightEdit,
)
from lafn_viz.editing.loss import EditLoss
from lafn_viz.models.capabilities import capabilities
from lafn_viz.models.hooks import down_weight

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


def fine_tuning(
    *,
    layers: Sequence[int] | None = None,
    limit: float = 0.2,
    steps: int = 30,
    rate: float = 0.07,
    divergence: float = 1.0,
) -> Editor:
    """Constrained fine-tuning of the down projections.

    Args:
        layers: which; all unless given.
        limit: how far any weight may go (L-infinity norm), in units of its layer's root mean
            square weight.
        rate: of Adam, in the same units.
        divergence: weight of the Kullback-Leibler divergence on the prompts to keep.
    """

    def edit(model: "TransformerBridge", case: EditCase, languages: Sequence[str]) -> WeightEdit:
        tuned = range(capabilities(model).n_layers) if layers is None else layers
        objective = EditLoss(
            model,
            case.prompts("edit", languages=languages),
            case.prompts("keep", languages=languages),
            "answer",
            whole=True,
        )
        weights = {layer: down_weight(model, layer).detach().float() for layer in tuned}
        scale = {layer: float(weight.square().mean().sqrt()) for layer, weight in weights.items()}
        moved = {
            layer: torch.zeros(weight.shape, device=weight.device, requires_grad=True)
            for layer, weight in weights.items()
        }
        optimiser = torch.optim.Adam(moved.values(), lr=rate)
        for _ in range(steps):
            optimiser.zero_grad()
            new, kept = objective({}, changed={i: moved[i] * scale[i] for i in moved})
            (new.mean() + divergence * kept).backward()
            optimiser.step()
            with torch.no_grad():
                for change in moved.values():
                    change.clamp_(-limit, limit)
        return WeightEdit({i: (moved[i] * scale[i]).detach().cpu() for i in moved})

    options = {
        "layers": layers, "limit": limit, "steps": steps, "rate": rate, "divergence": divergence,
    }  # fmt: skip
    return Editor("fine-tuning", edit, options)
