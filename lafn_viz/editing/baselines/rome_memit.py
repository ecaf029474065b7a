"""ROME and MEMIT: rank-one and least-squares edits of the down projections."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from lafn_viz.datasets.edit_cases import EditCase
from lafn_viz.datasets.facts import Prompt
from lafn_viz.editing.baselines.editor import Editor
from lafn_viz.editing.baselines.weight_edits import (
    WeightEdit,
    least_squares,
    rank_one,
    second_moments,
    wanted_writes,
)
from lafn_viz.editing.forward import EditedForward, EditPosition, acted_on
from lafn_viz.editing.loss import EditLoss
from lafn_viz.models.hooks import hook_block_out, hook_post

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


def rome(
    *,
    layer: int = 0,
    position: EditPosition = "subject_last",
    divergence: float = 0.0625,
    decay: float = 1e-3,
    evaluations: int = 24,
    corpus: Sequence[Prompt] | None = None,
) -> Editor:
    """ROME: one key and one wish for each language, written one after the other.

    Args:
        layer: whose down projection changes.
        position: where key and wish are: the subject's last token (the paper), or the answer's.
        divergence, decay, evaluations: of the search for what is to be written.
        corpus: prompts of the keys to keep; the embedded facts' unless given.
    """

    def edit(model: "TransformerBridge", case: EditCase, languages: Sequence[str]) -> WeightEdit:
        wish = TargetValues(model, case, languages, position)
        writes = wish.writes(layer, divergence, decay, evaluations)
        keys = wish.mean(hook_post(layer))
        moment = second_moments(model, corpus)[layer]
        return WeightEdit({layer: rank_one(moment, keys, writes)})

    options = {
        "layer": layer, "position": position, "divergence": divergence, "decay": decay,
        "evaluations": evaluations,
    }  # fmt: skip
    return Editor("ROME", edit, options)


def memit(
    *,
    layers: Sequence[int] = (0,),
    position: EditPosition = "subject_last",
    weight: float = 10.0,
    divergence: float = 0.0625,
    decay: float = 1e-3,
    evaluations: int = 24,
    corpus: Sequence[Prompt] | None = None,
) -> Editor:
    """MEMIT: all languages at once, and all cases where they are edited together.

    Args:
        layers: whose down projections share the change; what is wished for is read after the last.
        position: where keys and wishes are: the subject's last token (the paper), or the answer's.
        weight: of the corpus against the edit (lambda).
        divergence, decay, evaluations: of the search for what is to be written.
        corpus: prompts of the keys to keep; the embedded facts' unless given.
    """
    last = max(layers)

    def solve(model: "TransformerBridge", wishes: Sequence[TargetValues]) -> WeightEdit:
        moments = second_moments(model, corpus)
        goal = torch.cat(
            [
                wish.mean(hook_block_out(last)) + wish.writes(last, divergence, decay, evaluations)
                for wish in wishes
            ]
        )
        changes: dict[int, Tensor] = {}
        for layer in sorted(layers):
            with WeightEdit(changes).applied(model):
                now = torch.cat([wish.mean(hook_block_out(last)) for wish in wishes])
                keys = torch.cat([wish.mean(hook_post(layer)) for wish in wishes])
            rest = (goal - now) / (last - layer + 1)
            changes[layer] = least_squares(moments[layer], keys, rest, weight=weight)
        return WeightEdit(changes)

    def edit(model: "TransformerBridge", case: EditCase, languages: Sequence[str]) -> WeightEdit:
        return solve(model, [TargetValues(model, case, languages, position)])

    def edit_all(model: "TransformerBridge", cases: Sequence[EditCase]) -> WeightEdit:
        return solve(model, [TargetValues(model, case, case.languages, position) for case in cases])

    options = {
        "layers": tuple(layers), "position": position, "weight": weight, "divergence": divergence,
        "decay": decay, "evaluations": evaluations,
    }  # fmt: skip
    return Editor("MEMIT", edit, options, edit_all)


class TargetValues:
    """What a case's languages shall write, and the keys they have; a row for each language."""

    def __init__(
        self,
        model: "TransformerBridge",
        case: EditCase,
        languages: Sequence[str],
        position: EditPosition,
    ) -> None:
        edited, keep = (
            acted_on(case.prompts(role, languages=languages), position) for role in ("edit", "keep")
        )
        there = {prompt.language for prompt in edited}
        self.prompts = edited, [prompt for prompt in keep if prompt.language in there]
        # What weights change before the edited position counts too.
        self.reading = EditedForward(model, edited, position, once=True, whole=True)

    def writes(
        self, layer: int, divergence: float, decay: float, evaluations: int
    ) -> Float[Tensor, "group d_model"]:
        """v* of each language: what the layer has to write in addition at the edited position."""
        reading = self.reading
        objective = EditLoss(reading.model, *self.prompts, reading.position, once=True)
        groups = [prompt.language for some in self.prompts for prompt in some]
        return wanted_writes(
            objective, groups, layer,
            divergence=divergence, decay=decay, evaluations=evaluations,
        )  # fmt: skip

    def mean(self, name: str) -> Float[Tensor, "group width"]:
        """What a hook sees at the edited position, the mean of each language's questions."""
        seen = self.reading.seen([name])[name].cpu()
        languages = [prompt.language for prompt in self.reading.prompts]
        rows = [
            [i for i, of in enumerate(languages) if of == name] for name in dict.fromkeys(languages)
        ]
        return torch.stack([seen[some].mean(0) for some in rows])
