"""The loss of an edit.

    loss = mean -log P(new answer) + `divergence` * (KL on kept prompts + KL after new answers)

1. The first term is the mean over the edited prompts (nats).
2. The second is the mean Kullback-Leibler divergence of the edited model from the model as it was:
   on the answers of the prompts to keep, and on the token that follows each new answer, where the
   model should go on as it would without the edit. (Without this last term, an edit whose answer is
   one token is free to have it written again and again.)

Editors add values at some layers: to neurons, to what they write, or to their weights (see
`EditedForward.logits`), so one loss serves them all. `search` finds its minimum.
"""

import copy
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from lafn_viz.datasets.prompts import Prompt
from lafn_viz.editing.distance import LinearDistance, distance_from_wanted
from lafn_viz.editing.forward import Added, EditedForward, EditPosition, WeightChanges
from lafn_viz.models.hooks import hook_post

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

# Of each language, so many edited and so many kept prompts count with the token after the answer.
N_ENDS = 1


class EditLoss:
    """The two terms of the loss, for prompts to edit and prompts to keep.

    `forward` reads all of them, first the `n_edited` edited ones. `weights` has the weight in the
    divergence of each token that it predicts, and `distance` says how far the token is from what is
    wanted.
    """

    def __init__(
        self,
        model: "TransformerBridge",
        edited: Sequence[Prompt],
        keep: Sequence[Prompt],
        position: EditPosition,
        *,
        once: bool = False,
        whole: bool = False,
    ) -> None:
        self.n_edited = len(edited)
        ends = [*_first_by_language(edited), *(len(edited) + i for i in _first_by_language(keep))]
        self.forward = EditedForward(
            model, [*edited, *keep], position, after=ends, once=once, whole=whole
        )
        n_answer_tokens, takes = len(self.forward.row), self.forward.takes
        kept = takes >= len(edited)
        after_new = ~kept & (torch.arange(len(takes), device=takes.device) >= n_answer_tokens)
        # The divergence is the sum of two means: over the kept tokens, and over those that follow.
        self.weights = sum(part / part.sum().clamp_min(1) for part in (kept, after_new))
        self.distance = distance_from_wanted(self.forward, kept | after_new)

    def near(self, added: Added, *, site: Callable[[int], str] = hook_post) -> "EditLoss":
        """The same loss for values about these, quicker where the vocabulary is large.

        Value and gradient are exact at these values (see `distance`).
        """
        if not isinstance(self.distance, LinearDistance) or not self.distance.is_large:
            return self
        nearby = copy.copy(self)
        with torch.no_grad():
            nearby.distance = self.distance.near(self.forward.output(added, site=site))
        return nearby

    def __call__(
        self,
        added: Added,
        *,
        site: Callable[[int], str] = hook_post,
        changed: WeightChanges | None = None,
    ) -> tuple[Float[Tensor, " edited"], Float[Tensor, ""]]:
        """-log P of each new answer, and the divergence from before on what shall stay (nats).

        Args:
            added, site, changed: as in `EditedForward.logits`.
        """
        distance = self.distance(self.forward.output(added, site=site, changed=changed))
        new = self.forward.summed(distance[: len(self.forward.row)])
        return new[: self.n_edited], distance @ self.weights


def _first_by_language(prompts: Sequence[Prompt]) -> list[int]:
    """The numbers of the first `N_ENDS` prompts of each language."""
    counts: Counter[str] = Counter()
    numbers = []
    for i, prompt in enumerate(prompts):
        counts[prompt.language] += 1
        if counts[prompt.language] <= N_ENDS:
            numbers.append(i)
    return numbers
