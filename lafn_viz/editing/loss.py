"""The loss of an edit, and its minimum.

loss = mean -log P(new answer) over the edited prompts + `divergence` * what else moves (in nats):
the mean Kullback-Leibler divergence from before on the prompts to keep, and that on what follows
the new answers, as the model would go on without the edit. (Without the second, an edit whose
answer is one token is free to have it written again and again.)

An edit adds values at some layers: to neurons, to what they write, or to their weights (see
`EditedForward.logits`), so that one loss serves every editor. L-BFGS finds the minimum: an edit has
tens to thousands of unknowns and an exact gradient, and a step of Adam costs as much.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cross_entropy

from lafn_viz.datasets.facts import Prompt
from lafn_viz.editing.forward import Added, EditedForward, EditPosition, WeightChanges
from lafn_viz.models.hooks import hook_post

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

ENDS = 1  # prompts of each language whose end is held, of the edited and of the kept
OnStep = Callable[[int, float], None]


class EditLoss:
    """The two parts of the loss, for some prompts to edit and some to keep."""

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
        some = [*_some_of_each(edited), *(len(edited) + i for i in _some_of_each(keep))]
        self.forward = EditedForward(
            model, [*edited, *keep], position, after=some, once=once, whole=whole
        )
        answers, takes = len(self.forward.row), self.forward.takes
        kept = takes >= len(edited)
        ends = ~kept & (torch.arange(len(takes), device=takes.device) >= answers)
        # Every token counts for one part of its own mean.
        self.weights = sum(part / part.sum().clamp_min(1) for part in (kept, ends))
        with torch.no_grad():
            log_p = self.forward.logits({}).log_softmax(-1)
            # What is wanted of each token: the new answer's own, or what was before.
            self.wanted = log_p.exp()
            new = (~(kept | ends)).nonzero()[:, 0]
            self.wanted[new] = 0
            self.wanted[new, self.forward.answer[new]] = 1
            self.entropy = -(self.wanted * log_p).sum(-1) @ self.weights

    def __call__(
        self,
        added: Added,
        *,
        site: Callable[[int], str] = hook_post,
        changed: WeightChanges | None = None,
    ) -> tuple[Float[Tensor, " edited"], Float[Tensor, ""]]:
        """-log P of each new answer, and the divergence from before on what is to stay."""
        logits = self.forward.logits(added, site=site, changed=changed)
        # Cross entropy, less the entropy of what was before it, is the divergence.
        crossed = cross_entropy(logits, self.wanted, reduction="none")
        new = self.forward.summed(crossed[: len(self.forward.row)])
        return new[: self.n_edited], crossed @ self.weights - self.entropy


def _some_of_each(prompts: Sequence[Prompt]) -> list[int]:
    """The first `ENDS` prompts of each language."""
    seen: Counter[str] = Counter()
    found = []
    for i, prompt in enumerate(prompts):
        seen[prompt.language] += 1
        if seen[prompt.language] <= ENDS:
            found.append(i)
    return found


class LBFGSSearch:
    """The least of a loss, over one or several calls of `minimise`.

    `curve` is the loss at each evaluation; `parts` what the loss was made of where it was least in
    the last call.
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
        """Where the loss is least, from `start`, in so many evaluations.

        Args:
            loss: of some values: what is minimised, then parts of it to keep.
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
