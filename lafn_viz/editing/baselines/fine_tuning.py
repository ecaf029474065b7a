"""Constrained fine-tuning of the down projections.

With W_l the down projection of layer l, Adam minimises over all dW_l of the chosen layers

    mean -log P(new answer) + `divergence` * KL(before || after),   |dW_l| <= `limit` * rms(W_l),

where the constraint holds for every single weight (L-infinity norm), the Kullback-Leibler
divergence is the mean over the prompts to keep, and rms is the root mean square. Zhu et al. 2020,
"Modifying Memories in Transformer Models" (arXiv 2012.00363), constrain the weights in the same
way; the divergence and the limit relative to each layer's weights are this package's.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from lafn_viz.core.arguments import or_none, real, some_wholes, takes, whole
from lafn_viz.datasets.edit_cases import EditCase
from lafn_viz.editing.baselines.editor import Editor
from lafn_viz.editing.baselines.weight_edits import WeightEdit
from lafn_viz.editing.kept import kept_prompts
from lafn_viz.editing.loss import EditLoss
from lafn_viz.models.calls import reads_model
from lafn_viz.models.capabilities import capabilities
from lafn_viz.models.hooks import down_weight

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


@takes(
    layers=or_none(some_wholes(0)), limit=real(above=0), steps=whole(1), rate=real(above=0),
    divergence=real(least=0),
)  # fmt: skip
def fine_tuning(
    *,
    layers: int | Sequence[int] | None = None,
    limit: float = 0.2,
    steps: int = 30,
    rate: float = 0.07,
    divergence: float = 1.0,
) -> Editor:
    """Constrained fine-tuning of the down projections (Zhu et al. 2020).

    Args:
        layers: whose down projections are tuned; all unless given.
        limit: how far any weight may move (L-infinity norm), in units of its layer's root mean
            square weight.
        steps: of Adam.
        rate: learning rate of Adam, in the same units as `limit`.
        divergence: weight of the Kullback-Leibler divergence on the prompts to keep.
    """

    chosen = None if layers is None else some_wholes(0)("layers", layers)

    @reads_model
    def edit(model: "TransformerBridge", case: EditCase, languages: Sequence[str]) -> WeightEdit:
        tuned = range(capabilities(model).n_layers) if chosen is None else chosen
        edit_loss = EditLoss(
            model,
            case.prompts("edit", languages=languages),
            kept_prompts(model, case, languages),
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
            new, kept = edit_loss({}, changed={i: moved[i] * scale[i] for i in moved})
            (new.mean() + divergence * kept).backward()
            optimiser.step()
            with torch.no_grad():
                for change in moved.values():
                    change.clamp_(-limit, limit)
        return WeightEdit({i: (moved[i] * scale[i]).detach().cpu() for i in moved})

    options = {
        "layers": chosen, "limit": limit, "steps": steps, "rate": rate, "divergence": divergence,
    }  # fmt: skip
    return Editor("fine-tuning", edit, options)
