"""The search for the values of an edit: least loss, and few neurons.

L-BFGS finds the minimum: an edit has tens to thousands of unknowns and an exact gradient, and a
step of Adam costs as much. (`AdamSearch` is there to compare: it is the search of the papers.)
`ValueSearch` optimises on all allowed neurons, keeps the quarter whose
values write most to the residual stream, optimises again, and so on. Which neurons these are shows
on some of the prompts (see `locate.some_of_each_language`); the values of the last ones are found
on all.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lafn_viz.editing.locate import largest
from lafn_viz.editing.loss import EditLoss
from lafn_viz.models.hooks import down_weight

OnStep = Callable[[int, float], None]
Search = Literal["lbfgs", "as_published"]
# Evaluations of the loss at most: from zero on all allowed neurons, after each pruning, and after
# the last. (In Gemma 3 270M it undoes much of an edit, and the loss falls for 16 evaluations.)
EVALUATIONS_BEFORE_PRUNING, EVALUATIONS_AFTER_PRUNING, EVALUATIONS_AT_LAST = 24, 10, 16
PRUNING_FACTOR = 4  # each pruning keeps one neuron in four
# The first one keeps no more than these: of the 36,864 neurons of Gemma 3 270M, without a step to
# 9,216. An edit that was made both ways had the lower loss so.
ENOUGH = 1600
# As in the code of ROME's authors (github.com/kmeng01/rome): Adam's rate, the loss at which it
# ends, and how long a change may be beside what is there.
ADAM_RATE, ADAM_ENOUGH, CLAMP = 0.5, 0.05, 4.0
FEW = 100  # neurons that an edit changes at least, unless told otherwise; else one in a hundred


def default_n_neurons(n_neurons_of_model: int) -> int:
    """How many neurons an edit changes unless told otherwise.

    One in a hundred, and at least a hundred. With 200 of its 36,864 neurons, edits of Gemma 3 270M
    that had a loss of 0.9 with 400 had 2.6.
    """
    return min(n_neurons_of_model, max(FEW, n_neurons_of_model // 100))


def prunings(n_neurons: int, n_allowed: int) -> list[int]:
    """How many neurons are left after each pruning, down to `n_neurons`."""
    left = []
    while n_allowed > n_neurons:
        kept = min(n_allowed // PRUNING_FACTOR, ENOUGH)
        # A step that leaves less than half as many again is not worth its evaluations.
        n_allowed = kept if kept >= 1.5 * n_neurons else n_neurons
        left.append(n_allowed)
    return left


def n_evaluations(n_neurons: int, n_allowed: int) -> int:
    """How often the loss is evaluated at most while neurons are pruned to `n_neurons`."""
    return EVALUATIONS_BEFORE_PRUNING + sum(_evaluations_after(prunings(n_neurons, n_allowed)))


def _evaluations_after(counts: Sequence[int]) -> list[int]:
    """How often the loss is evaluated at most after each pruning."""
    return [*[EVALUATIONS_AFTER_PRUNING] * len(counts[1:]), *[EVALUATIONS_AT_LAST] * bool(counts)]


class Minimiser(ABC):
    """A search for the least loss, in one or several calls of `minimise`.

    `curve` is the loss at each evaluation of all calls. `on_step` is called with the number and the
    loss of each evaluation.
    """

    def __init__(self, on_step: OnStep | None = None) -> None:
        self.on_step = on_step
        self.curve: list[float] = []

    @abstractmethod
    def penalty(self, values: Tensor) -> Tensor:
        """What grows with the values, and is weighed by `decay` in the loss."""

    @abstractmethod
    def minimise(self, start: Tensor, loss: Callable[[Tensor], Tensor], evaluations: int) -> Tensor:
        """Return the values found from `start` on, evaluating loss and gradient so often at most.

        Args:
            loss: of values of the form of `start`, with the penalty.
        """

    def _noted(self, total: Tensor) -> float:
        """Put a loss on the curve, say it, and return it."""
        self.curve.append(float(total.detach()))
        if self.on_step is not None:
            self.on_step(len(self.curve), self.curve[-1])
        return self.curve[-1]


class LBFGSSearch(Minimiser):
    """The search by L-BFGS; `minimise` returns the values of least loss that it meets."""

    def penalty(self, values: Tensor) -> Tensor:
        """The sum of squares."""
        return values.square().sum()

    def minimise(self, start: Tensor, loss: Callable[[Tensor], Tensor], evaluations: int) -> Tensor:
        """See `Minimiser`."""
        values = start.detach().clone().requires_grad_()
        optimiser = torch.optim.LBFGS(
            [values], max_iter=evaluations, max_eval=evaluations, history_size=evaluations,
            tolerance_change=1e-5, line_search_fn="strong_wolfe",
        )  # fmt: skip
        least, best = float("inf"), values.detach().clone()

        def closure() -> Tensor:
            nonlocal least, best
            optimiser.zero_grad()
            total = loss(values)
            # Not backward(), which would also fill the gradients of a model in training.
            (values.grad,) = torch.autograd.grad(total, values, allow_unused=True)
            if (now := self._noted(total)) < least:
                least, best = now, values.detach().clone()
            return total

        optimiser.step(closure)
        return best


class AdamSearch(Minimiser):
    """The search of ROME's authors (Meng et al. 2022, appendix E.5, and their code).

    Adam goes on until the loss is below `ADAM_ENOUGH`, and returns its last values. After each step
    a change that is longer than `clamp` times what is there is shortened to that.

    Args:
        there: the Euclidean length of what is there, for each row of values or for all of them.

    Raises:
        ValueError: where nothing is there, so that no change would be short enough.
    """

    def __init__(
        self, there: Float[Tensor, "*row"], on_step: OnStep | None = None, *, clamp: float = CLAMP
    ) -> None:
        if not (there > 0).all():
            raise ValueError(
                "search='as_published' bounds a change by what is there before, and at the edited "
                "position there is nothing; give other neurons or another position, or "
                "search='lbfgs'"
            )
        super().__init__(on_step)
        self.there, self.clamp = there, clamp

    def penalty(self, values: Tensor) -> Tensor:
        """|values| / |what is there|^2, summed over rows."""
        # At zero the length has no gradient; the authors' code takes zero there, too.
        squares = values.square().sum(-1)
        length = torch.where(squares > 0, squares, 1).sqrt() * (squares > 0)
        return (length / self.there.to(values.device).square()).sum()

    def minimise(self, start: Tensor, loss: Callable[[Tensor], Tensor], evaluations: int) -> Tensor:
        """See `Minimiser`."""
        values = start.detach().clone().requires_grad_()
        longest = self.clamp * self.there.to(values.device)[..., None]
        optimiser = torch.optim.Adam([values], lr=ADAM_RATE)
        for left in reversed(range(evaluations)):
            total = loss(values)
            # The loss of several rows is a sum over them.
            if self._noted(total) < ADAM_ENOUGH * longest.numel() or not left:
                break
            (values.grad,) = torch.autograd.grad(total, values, allow_unused=True)
            optimiser.step()
            with torch.no_grad():
                length = values.norm(dim=-1, keepdim=True)
                values *= (longest / length.clamp_min(1e-30)).clamp_max(1)
        return values.detach()


@contextmanager
def reported(on_step: OnStep | None, total: int, *, progress: bool) -> Iterator[OnStep]:
    """Show a bar with the time left beside calls of `on_step`, where the search takes seconds.

    Args:
        total: evaluations at most.
    """
    from tqdm.auto import tqdm

    bar = tqdm(
        total=total, desc="edit", unit="evaluation", disable=not progress, delay=2, leave=False
    )

    def step(number: int, loss: float) -> None:
        bar.set_postfix(loss=f"{loss:.2f}", refresh=False)
        bar.update()
        if on_step is not None:
            on_step(number, loss)

    with bar:
        yield step


@dataclass
class ValueSearch:
    """The search for an edit's values: the loss, what minimises it, and the weights of its terms.

    `while_pruning` is the loss on some of the prompts, by which the neurons are located.
    """

    edit_loss: EditLoss
    while_pruning: EditLoss
    minimiser: Minimiser
    divergence: float
    decay: float

    def pruned(
        self, allowed: Bool[Tensor, "layer neuron"], n_neurons: int
    ) -> tuple[Float[Tensor, "layer neuron"], Bool[Tensor, "layer neuron"]]:
        """Optimise on the allowed neurons, and prune those until `n_neurons` are left.

        Returns:
            The values, and the neurons that are left.
        """
        values, counts = torch.zeros(allowed.shape), prunings(n_neurons, int(allowed.sum()))
        losses = [*[self.while_pruning] * len(counts), self.edit_loss]
        values = self.minimise(losses[0], allowed, values, EVALUATIONS_BEFORE_PRUNING)
        if counts:
            model = self.edit_loss.forward.model
            norms = [down_weight(model, layer).float().norm(dim=1) for layer in range(len(allowed))]
            length = torch.stack(norms).cpu()
        steps = zip(losses[1:], counts, _evaluations_after(counts), strict=True)
        for edit_loss, count, evaluations in steps:
            allowed = largest(values.abs() * length, count)
            values = self.minimise(edit_loss, allowed, values * allowed, evaluations)
        return values, allowed

    def minimise(
        self,
        edit_loss: EditLoss,
        allowed: Bool[Tensor, "layer neuron"],
        start: Float[Tensor, "layer neuron"],
        evaluations: int,
    ) -> Float[Tensor, "layer neuron"]:
        """The values of least loss, from `start`; zero for all neurons that are not allowed."""
        index = allowed.nonzero(as_tuple=True)
        layers = allowed.any(1).nonzero()[:, 0].tolist()

        def by_layer(values: Tensor) -> dict[int, Tensor]:
            table = values.new_zeros(start.shape).index_put(index, values)
            return {layer: table[layer] for layer in layers}

        first = start[index].to(edit_loss.forward.device)
        nearby = edit_loss.near(by_layer(first))

        def loss(values: Tensor) -> Tensor:
            new, kept = nearby(by_layer(values))
            return new.mean() + self.divergence * kept + self.decay * self.minimiser.penalty(values)

        best = self.minimiser.minimise(first, loss, evaluations)
        return torch.zeros(start.shape).index_put(index, best.cpu())
