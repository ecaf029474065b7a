"""Search a list of neurons for sets that are degenerate: harmless one by one, not together.

`search` goes from small sets to large ones, over several pools of neurons at once:

1. zero each neuron alone, and keep the harmless ones;
2. zero all pairs, then larger sets of harmless neurons that hold no smaller degenerate set;
3. a set of harmless neurons that lowers the answers' probability (or odds) by more than t_high is
   degenerate.

The sets of one size, of all pools, are measured in one call.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lafn_viz.core.arguments import Reader, a_seed, one_of, real, whole
from lafn_viz.datasets.prompts import Prompt
from lafn_viz.interventions.ablation import measure_ablation
from lafn_viz.models.tokens import POSITIONS, Position
from lafn_viz.neurons.neuron_sets import Neuron, masks_of

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

Of = Literal["probability", "odds"]
Pick = tuple[int, ...]  # places in a list of neurons, ascending
AT_ONCE = 2000  # sets in one call of `measure_ablation`, which bounds the memory of their masks


# Readers of the options of `find_degenerate`.
SEARCH: dict[str, Reader] = {
    "top": whole(2), "t_low": real(), "t_high": real(), "max_size": whole(2), "max_sets": whole(1),
    "of": one_of(get_args(Of)), "position": one_of(POSITIONS), "controls": whole(0),
    "seed": a_seed,
}  # fmt: skip


@dataclass(frozen=True)
class SearchOptions:
    """The options of `find_degenerate`, checked."""

    top: int
    t_low: float
    t_high: float
    max_size: int
    max_sets: int
    of: Of
    position: Position
    controls: int
    seed: int

    def __post_init__(self) -> None:
        if not 0 <= self.t_low <= self.t_high < 1:
            raise ValueError(
                f"t_low={self.t_low}, t_high={self.t_high}; give 0 <= t_low <= t_high < 1"
            )


class RelativeChange:
    """Relative change of a fact's mean P (or its odds) without each of several sets of neurons.

    `p_before` is the mean P of the unchanged model, once something was measured.
    """

    def __init__(
        self,
        model: "TransformerBridge",
        prompts: Sequence[Prompt],
        shape: tuple[int, int],
        of: Of,
        position: Position,
    ) -> None:
        self.model, self.prompts, self.shape = model, prompts, shape
        self.of, self.position = of, position
        self.p_before = float("nan")

    def __call__(self, sets: Sequence[Iterable[Neuron]]) -> Float[np.ndarray, " set"]:
        """Zero each set, and compare with the unchanged model."""
        changes = []
        for start in range(0, len(sets), AT_ONCE):
            masks = masks_of(sets[start : start + AT_ONCE], self.shape)
            before, after = measure_ablation(
                self.model, self.prompts, masks, position=self.position
            )
            self.p_before = float(before.double().exp().mean())
            changes.append(self._value(after) / self._value(before[None]) - 1)
        return torch.cat(changes).numpy()

    def _value(self, log_prob: Float[Tensor, "set prompt"]) -> Float[Tensor, " set"]:
        p = log_prob.double().exp().mean(-1)
        if self.of == "probability":
            return p
        # float32 cannot tell a P closer to 1 than its rounding from 1.
        return p / (-log_prob.double().expm1()).mean(-1).clamp_min(torch.finfo(torch.float32).eps)


class Pool:
    """Neurons that are searched together: the candidates, or random neurons in their place.

    `changes` holds each measured set's relative change, `harmless` the neurons that may go alone,
    `degenerate` the sets found. `searched` and `left_out` count sets by size.
    """

    def __init__(self, neurons: Sequence[Neuron]) -> None:
        self.neurons = neurons
        self.changes: dict[Pick, float] = {}
        self.harmless: list[int] = []
        self.degenerate: list[Pick] = []
        self.searched: dict[int, int] = {}
        self.left_out: dict[int, int] = {}

    def neurons_at(self, pick: Pick) -> list[Neuron]:
        """The neurons at these places."""
        return [self.neurons[place] for place in pick]

    def choose(self, size: int, max_sets: int) -> list[Pick]:
        """Choose the sets of this size to measure, and count those left out."""
        places = range(len(self.neurons)) if size < 3 else self.harmless
        smaller = set(self.degenerate)
        chosen: list[Pick] = []
        left_out = 0
        for pick in combinations(places, size):
            if not smaller.isdisjoint(p for n in range(2, size) for p in combinations(pick, n)):
                continue
            if size > 2 and (len(chosen) == max_sets or any(self.left_out.values())):
                left_out += 1
            else:
                chosen.append(pick)
        self.searched[size], self.left_out[size] = len(chosen), left_out
        return chosen

    def record(self, pick: Pick, change: float, t_low: float, t_high: float) -> None:
        """Enter the measured change of a set, and what follows from it."""
        self.changes[pick] = change
        if len(pick) == 1 and change >= -t_low:
            self.harmless.append(pick[0])
        elif len(pick) > 1 and change < -t_high and set(pick) <= set(self.harmless):
            self.degenerate.append(pick)


def search(
    change: Callable[[Sequence[Iterable[Neuron]]], Float[np.ndarray, " set"]],
    pools: Sequence[Pool],
    options: SearchOptions,
) -> None:
    """Search all pools together, size after size; each pool keeps what was found in it."""
    for size in range(1, options.max_size + 1):
        picks = [(pool, pick) for pool in pools for pick in pool.choose(size, options.max_sets)]
        if not picks:
            continue
        changes = change([pool.neurons_at(pick) for pool, pick in picks])
        for (pool, pick), value in zip(picks, changes.tolist(), strict=True):
            pool.record(pick, value, options.t_low, options.t_high)
