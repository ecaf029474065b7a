"""The search for the values of an edit: least loss, and few neurons.

L-BFGS finds the minimum: an edit has tens to thousands of unknowns and an exact gradient, and a
step of Adam costs as much. `ValueSearch` optimises on all allowed neurons, keeps the quarter whose
values write most to the residual stream, optimises again, and so on.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lafn_viz.editing.locate import largest
from lafn_viz.editing.loss import EditLoss
from lafn_viz.models.hooks import down_weight

OnStep = Callable[[int, float], None]
# Evaluations of the loss at most: from zero on all allowed neurons, and after each pruning.
EVALUATIONS_BEFORE_PRUNING, EVALUATIONS_AFTER_PRUNING = 24, 10
PRUNING_FACTOR = 4  # each pruning keeps one neuron in four


def n_evaluations(n_neurons: int, n_allowed: int) -> int:
    """How often the loss is evaluated at most while neurons are pruned to `n_neurons`."""
    count = EVALUATIONS_BEFORE_PRUNING
    while n_allowed > n_neurons:
        n_allowed = max(n_neurons, n_allowed // PRUNING_FACTOR)
        count += EVALUATIONS_AFTER_PRUNING
    return count


class LBFGSSearch:
    """The search for the least loss by L-BFGS, in one or several calls of `minimise`.

    `curve` is the loss at each evaluation of all calls; `parts` are the parts of the loss at the
    minimum of the last call, without a graph. `on_step` is called with the number and the loss of
    each evaluation.
    """

    def __init__(self, on_step: OnStep | None = None) -> None:
        self.on_step = on_step
        self.curve: list[float] = []
        self.parts: tuple[Tensor, ...] = ()

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
            # Not backward(), which would also fill the gradients of a model in training.
            (values.grad,) = torch.autograd.grad(total, values, allow_unused=True)
            self.curve.append(float(total.detach()))
            if self.curve[-1] < least:
                least, best = self.curve[-1], values.detach().clone()
                self.parts = tuple(part.detach() for part in parts)
            if self.on_step is not None:
                self.on_step(len(self.curve), self.curve[-1])
            return total

        optimiser.step(closure)
        return best


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
    """The search for an edit's values: the loss, its optimiser, and the weights of its terms."""

    edit_loss: EditLoss
    lbfgs: LBFGSSearch
    divergence: float
    decay: float

    def pruned(
        self, allowed: Bool[Tensor, "layer neuron"], n_neurons: int
    ) -> tuple[Float[Tensor, "layer neuron"], Bool[Tensor, "layer neuron"]]:
        """Optimise on the allowed neurons, and prune those until `n_neurons` are left.

        Returns:
            The values, and the neurons that are left.
        """
        values = self.minimise(allowed, torch.zeros(allowed.shape), EVALUATIONS_BEFORE_PRUNING)
        if int(allowed.sum()) > n_neurons:
            model = self.edit_loss.forward.model
            norms = [down_weight(model, layer).float().norm(dim=1) for layer in range(len(allowed))]
            length = torch.stack(norms).cpu()
        while int(allowed.sum()) > n_neurons:
            n_kept = max(n_neurons, int(allowed.sum()) // PRUNING_FACTOR)
            allowed = largest(values.abs() * length, n_kept)
            values = self.minimise(allowed, values * allowed, EVALUATIONS_AFTER_PRUNING)
        return values, allowed

    def minimise(
        self,
        allowed: Bool[Tensor, "layer neuron"],
        start: Float[Tensor, "layer neuron"],
        evaluations: int,
    ) -> Float[Tensor, "layer neuron"]:
        """The values of least loss, from `start`; zero for all neurons that are not allowed."""
        index = allowed.nonzero(as_tuple=True)
        layers = allowed.any(1).nonzero()[:, 0].tolist()

        def loss(values: Tensor) -> tuple[Tensor, ...]:
            table = values.new_zeros(start.shape).index_put(index, values)
            new, kept = self.edit_loss({layer: table[layer] for layer in layers})
            total = new.mean() + self.divergence * kept + self.decay * values.square().sum()
            return total, new, kept

        best = self.lbfgs.minimise(
            start[index].to(self.edit_loss.forward.device), loss, evaluations
        )
        return torch.zeros(start.shape).index_put(index, best.cpu())
