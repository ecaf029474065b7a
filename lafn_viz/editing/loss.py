"""The loss of an edit, and the search for its minimum.

    loss = mean -log P(new answer) + `divergence` * (KL on kept prompts + KL after new answers)

1. The first term is the mean over the edited prompts (nats).
2. The second is the mean Kullback-Leibler divergence of the edited model from the model as it was:
   on the answers of the prompts to keep, and on the token that follows each new answer, where the
   model should go on as it would without the edit. (Without this last term, an edit whose answer is
   one token is free to have it written again and again.)

Editors add values at some layers: to neurons, to what they write, or to their weights (see
`EditedForward.logits`), so one loss serves them all. L-BFGS finds the minimum: an edit has tens to
thousands of unknowns and an exact gradient, and a step of Adam costs as much.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cross_entropy

from lafn_viz.datasets.prompts import Prompt
from lafn_viz.editing.forward import Added, EditedForward, EditPosition, WeightChanges
from lafn_viz.models.hooks import hook_post

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

# Of each language, so many edited and so many kept prompts count with the token after the answer.
N_ENDS = 1
OnStep = Callable[[int, float], None]


class EditLoss:
    """The two terms of the loss, for prompts to edit and prompts to keep.

    `forward` reads all of them, first the `n_edited` edited ones. For each token that it predicts,
    `target` has the wanted distribution and `weights` its weight in the divergence.
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
        with torch.no_grad():
            log_p = self.forward.logits({}).log_softmax(-1)
            # Wanted is the distribution of before, but of a new answer its own token.
            self.target = log_p.exp()
            new = (~(kept | after_new)).nonzero()[:, 0]
            self.target[new] = 0
            self.target[new, self.forward.answer[new]] = 1
            self.entropy = -(self.target * log_p).sum(-1) @ self.weights

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
        logits = self.forward.logits(added, site=site, changed=changed)
        # The divergence is the cross entropy less the entropy of the target.
        crossed = cross_entropy(logits, self.target, reduction="none")
        new = self.forward.summed(crossed[: len(self.forward.row)])
        return new[: self.n_edited], crossed @ self.weights - self.entropy


def _first_by_language(prompts: Sequence[Prompt]) -> list[int]:
    """The numbers of the first `N_ENDS` prompts of each language."""
    counts: Counter[str] = Counter()
    numbers = []
    for i, prompt in enumerate(prompts):
        counts[prompt.language] += 1
        if counts[prompt.language] <= N_ENDS:
            numbers.append(i)
    return numbers


class LBFGSSearch:
    """The search for the least loss by L-BFGS, in one or several calls of `minimise`.

    `curve` is the loss at each evaluation of all calls; `parts` are the parts of the loss at the
    minimum of the last call. `on_step` is called with the number and the loss of each evaluation.
    """

    def __init__(self, on_step: OnStep | None = None) -> None:
        self.on_step = on_step
        self.curve: list[float] = []
        self.parts: tuple[float, ...] = ()

    def minimise(
        self,
        start: Tensor,
        loss: Callable[[Tensor], tuple[Tensor, ...]],
        evaluations: int,
    ) -> Tensor:
        """Return the values of least loss that L-BFGS meets on its way from `start`.

        Args:
            loss: from values to the loss, followed by the parts of it to keep in `parts`.
            evaluations: of the loss and its gradient, at most.
        """
        values = start.detach().clone().requires_grad_()
        optimiser = torch.optim.LBFGS(
            [values], max_iter=evaluations, max_eval=evaluations, history_size=evaluations,
            tolerance_change=1e-5, line_search_fn="strong_wolfe",
        )  # fmt: skip
        least, best = float("inf"), values.detach().clone()

        def closure() -> Tensor:
            nonlocal least, best
            optimiser.zero_grad()
            total, *parts = loss(values)
            total.backward()
            self.curve.append(float(total.detach()))
            if self.curve[-1] < least:
                least, best = self.curve[-1], values.detach().clone()
                self.parts = tuple(float(part.detach()) for part in parts)
            if self.on_step is not None:
                self.on_step(len(self.curve), self.curve[-1])
            return total

        optimiser.step(closure)
        return best
