"""Neurons of a fact that stand in for one another: either may go, but not both.

**Degenerate knowledge neurons** (Chen et al. 2024, "Journey to the Center of the Knowledge
Neurons", section 4) of one fact in one language, its known paraphrases taken together:

1. the `top` neurons by mean attribution are the candidates;
2. zero each alone, and keep those without which P is at least (1 - t_low) of what it was;
3. zero them in pairs: P < (1 - t_high) of what it was makes a pair degenerate. Then larger sets,
   as long as no smaller degenerate set is in them.

The paper measures the **probability**. Where a model is sure, no pair moves it; `of="odds"` holds
P / (1 - P) to the same shares. t_low and t_high lie close together: two neurons that cost 14% each
and know nothing of one another cost 26% together and count. So each set has an `expected` change
beside it, the product of what its neurons leave alone, and the same search goes over as many random
neurons of the same layers (control).
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm.auto import tqdm

from lafn_viz.attribution.scores import NeuronScores
from lafn_viz.core.provenance import Provenance
from lafn_viz.datasets.facts import Prompt
from lafn_viz.interventions.ablation import measure_ablation
from lafn_viz.models.capabilities import provenance
from lafn_viz.models.tokens import Position
from lafn_viz.neurons.controls import random_like
from lafn_viz.neurons.neuron_sets import Neuron, masks_of, require_finite

if TYPE_CHECKING:
    import pandas as pd
    from transformer_lens.model_bridge import TransformerBridge

Of = Literal["probability", "odds"]
AT_ONCE = 2000  # sets in one call of `measure_ablation`, which bounds the memory of their masks
Pick = tuple[int, ...]  # places in a list of neurons, ascending


@dataclass(frozen=True)
class Degenerate:
    """Degenerate neurons of one fact in one language.

    All changes are relative, of the mean probability over `prompts` (those the model knows) or of
    its odds: -1 is gone. `candidates` are ordered by `attribution`, their mean score; `single` is
    the change without each, `pair` without two (the diagonal is `single`), `together` without all,
    `together_random` the mean of that over the random draws. `changes` belongs to `sets`.
    `searched` and `left_out` count the sets of each size that were and were not measured; of those
    with a smaller degenerate set or a neuron that matters alone, none is counted. `control` is the
    number of degenerate sets among random neurons, one for each of `control_seeds`. `reason` says
    why there is no set; None when there is one.
    """

    fact_id: str
    relation: str
    language: str
    prompts: tuple[Prompt, ...]
    candidates: tuple[Neuron, ...]
    attribution: Float[np.ndarray, " neuron"]
    single: Float[np.ndarray, " neuron"]
    pair: Float[np.ndarray, "neuron neuron"]
    sets: tuple[frozenset[Neuron], ...]
    changes: Float[np.ndarray, " set"]
    p_before: float
    together: float
    together_random: float
    searched: Mapping[int, int]
    left_out: Mapping[int, int]
    control: tuple[int, ...]
    control_seeds: tuple[int, ...]
    reason: str | None
    provenance: Provenance

    def __repr__(self) -> str:
        what = f"{len(self.sets)} sets" if self.sets else f"none, for {self.reason}"
        beside = f"; among random neurons {np.mean(self.control):.1f}" if self.control else ""
        return f"Degenerate({self.fact_id!r} in {self.language!r}: {what}{beside})"

    @property
    def neurons(self) -> frozenset[Neuron]:
        """All neurons in a degenerate set."""
        return frozenset().union(*self.sets)

    @property
    def expected(self) -> Float[np.ndarray, " set"]:
        """Change of each set if its neurons acted alone, by the product of what each leaves."""
        alone = dict(zip(self.candidates, self.single, strict=True))
        return np.array([np.prod([1 + alone[n] for n in some]) - 1 for some in self.sets], float)

    def to_frame(self) -> "pd.DataFrame":
        """One row a set: size, neurons, relative change, and the change `expected` of it."""
        import pandas as pd

        return pd.DataFrame(
            {
                "fact_id": self.fact_id,
                "relation": self.relation,
                "language": self.language,
                "size": [len(some) for some in self.sets],
                "neurons": [tuple(sorted(tuple(n) for n in some)) for some in self.sets],
                "change": self.changes,
                "expected": self.expected,
            }
        )


def overview(results: Iterable[Degenerate]) -> "pd.DataFrame":
    """One row a fact and language: how many sets, and what stands beside them.

    `change` and `expected` are means over the sets, `beyond` counts those that change more than
    expected of their neurons one by one, `random` is the mean number of sets among random neurons,
    `together` the change without all candidates.
    """
    import pandas as pd

    return pd.DataFrame(
        {
            "fact_id": one.fact_id,
            "language": one.language,
            "p_before": one.p_before,
            "sets": len(one.sets),
            "change": one.changes.mean() if one.sets else float("nan"),
            "expected": one.expected.mean() if one.sets else float("nan"),
            "beyond": int((one.changes < one.expected).sum()),
            "random": float(np.mean(one.control)) if one.control else float("nan"),
            "together": one.together,
            "together_random": one.together_random,
        }
        for one in results
    ).set_index(["fact_id", "language"])


def find_degenerate(
    model: "TransformerBridge",
    scores: NeuronScores,
    *,
    top: int = 20,
    t_low: float = 0.2,
    t_high: float = 0.25,
    max_size: int = 3,
    max_sets: int = 2000,
    of: Of = "probability",
    position: Position = "all",
    controls: int = 3,
    seed: int = 0,
    progress: bool = False,
) -> list[Degenerate]:
    """Degenerate neurons of each fact and language, in the order in which the scores name them.

    Args:
        scores: of this model; only prompts that it knows are used.
        top: candidates, by mean score over the paraphrases, only above 0.
        t_low: a neuron that lowers what is measured by more than this share alone is out.
        t_high: a set that lowers it by more than this share is degenerate.
        max_size: neurons in the largest sets looked for.
        max_sets: sets of three or more measured at most, for each size; what is left out is
            counted, and nothing larger is looked for then, as it could not be known to be minimal.
        of: what falls: the "probability" (the paper) or its "odds", which do not saturate.
        position: where neurons are zeroed (see `intervene`).
        controls: draws of random neurons to search in the same way.

    Raises:
        ValueError: for an option out of its range or a score that is not a number.
    """
    if of not in get_args(Of):
        raise ValueError(f"unknown of={of!r}; there are {', '.join(get_args(Of))}")
    if not 0 <= t_low <= t_high < 1:
        raise ValueError(f"t_low={t_low}, t_high={t_high}; give 0 <= t_low <= t_high < 1")
    if top < 2 or max_size < 2 or max_sets < 1 or controls < 0:
        raise ValueError(
            f"top={top}, max_size={max_size}, max_sets={max_sets}, controls={controls}; "
            "give at least 2, 2, 1 and 0"
        )
    require_finite(scores)
    shape = (scores.values.shape[1], scores.values.shape[2])
    made = provenance(
        model, "find_degenerate", seed=seed, top=top, t_low=t_low, t_high=t_high,
        max_size=max_size, max_sets=max_sets, of=of, position=position,
        attribution=scores.provenance.method,
    )  # fmt: skip
    groups: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for number, prompt in enumerate(scores.prompts):
        groups[prompt.fact_id, prompt.relation, prompt.language].append(number)
    results = []
    for key, rows in tqdm(groups.items(), disable=not progress, desc="degenerate"):
        usable = [row for row in rows if bool(scores.known[row])]
        prompts = [scores.prompts[row] for row in usable]
        mean = scores.values[usable].double().mean(0).flatten()
        order = mean.argsort(descending=True, stable=True)[:top].tolist() if usable else []
        best = [place for place in order if mean[place] > 0]
        neurons = [Neuron(*divmod(i, shape[1])) for i in best]
        seeds = range(seed, seed + controls) if len(best) > 1 else ()
        drawn = [sorted(random_like(neurons, shape, seed=draw)) for draw in seeds]
        pools = [_Pool(some) for some in (neurons, *drawn)]
        p_before, together = float("nan"), [float("nan")]
        if len(best) > 1:
            change = _Change(model, prompts, shape, of, position)
            together = change([pool.neurons for pool in pools]).tolist()
            p_before = change.p_before
            _search(change, pools, t_low, t_high, max_size, max_sets)
        mine = pools[0]
        pair = np.zeros((len(best), len(best)))
        for pick, value in mine.effect.items():
            if len(pick) < 3:
                pair[pick[0], pick[-1]] = pair[pick[-1], pick[0]] = value
        results.append(
            Degenerate(
                fact_id=key[0],
                relation=key[1],
                language=key[2],
                prompts=tuple(prompts),
                candidates=tuple(neurons),
                attribution=mean[best].numpy(),
                single=pair.diagonal().copy(),
                pair=pair,
                sets=tuple(frozenset(mine.named(pick)) for pick in mine.found),
                changes=np.array([mine.effect[pick] for pick in mine.found], float),
                p_before=p_before,
                together=together[0],
                together_random=float(np.mean(together[1:])) if together[1:] else float("nan"),
                searched=mine.searched,
                left_out=mine.left_out,
                control=tuple(len(pool.found) for pool in pools[1:]),
                control_seeds=tuple(seeds),
                reason=_reason(mine, len(rows), len(usable), together[0], t_low, t_high, of),
                provenance=made,
            )
        )
    return results


class _Change:
    """Relative change of P (or its odds) over a fact's prompts, without each of some sets."""

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
        found = []
        for start in range(0, len(sets), AT_ONCE):
            some = masks_of(sets[start : start + AT_ONCE], self.shape)
            before, after = measure_ablation(self.model, self.prompts, some, position=self.position)
            self.p_before = float(before.double().exp().mean())
            found.append(self._value(after) / self._value(before[None]) - 1)
        return torch.cat(found).numpy()

    def _value(self, log_prob: Float[Tensor, "set prompt"]) -> Float[Tensor, " set"]:
        p = log_prob.double().exp().mean(-1)
        if self.of == "probability":
            return p
        # What float32 cannot tell from 1 is not sure beyond its rounding.
        return p / (-log_prob.double().expm1()).mean(-1).clamp_min(torch.finfo(torch.float32).eps)


class _Pool:
    """Neurons searched together: the candidates, or random ones in their place."""

    def __init__(self, neurons: Sequence[Neuron]) -> None:
        self.neurons = neurons
        self.effect: dict[Pick, float] = {}
        self.kept: list[int] = []
        self.found: list[Pick] = []
        self.searched: dict[int, int] = {}
        self.left_out: dict[int, int] = {}

    def named(self, pick: Pick) -> list[Neuron]:
        return [self.neurons[place] for place in pick]

    def next(self, size: int, max_sets: int) -> list[Pick]:
        """The sets of this size to measure; counts what it leaves out."""
        places = range(len(self.neurons)) if size < 3 else self.kept
        smaller = set(self.found)
        fit: list[Pick] = []
        left_out = 0
        for pick in combinations(places, size):
            if not smaller.isdisjoint(p for n in range(2, size) for p in combinations(pick, n)):
                continue
            if size > 2 and (len(fit) == max_sets or any(self.left_out.values())):
                left_out += 1
            else:
                fit.append(pick)
        self.searched[size], self.left_out[size] = len(fit), left_out
        return fit


def _search(
    change: Callable[[Sequence[Iterable[Neuron]]], Float[np.ndarray, " set"]],
    pools: Sequence[_Pool],
    t_low: float,
    t_high: float,
    max_size: int,
    max_sets: int,
) -> None:
    """All pools together: the sets of one size in one call."""
    for size in range(1, max_size + 1):
        picks = [(pool, pick) for pool in pools for pick in pool.next(size, max_sets)]
        if not picks:
            continue
        found = change([pool.named(pick) for pool, pick in picks])
        for (pool, pick), value in zip(picks, found.tolist(), strict=True):
            pool.effect[pick] = value
            if size == 1 and value >= -t_low:
                pool.kept.append(pick[0])
            elif size > 1 and value < -t_high and set(pick) <= set(pool.kept):
                pool.found.append(pick)


def _reason(
    pool: _Pool, asked: int, known: int, together: float, t_low: float, t_high: float, of: Of
) -> str | None:
    """Why there is no degenerate set; None when there is one."""
    if pool.found:
        return None
    if not known:
        return f"the model knows none of the {asked} prompts"
    if len(pool.neurons) < 2:
        return f"{len(pool.neurons)} neurons have a score above 0"
    if len(pool.kept) < 2:
        return (
            f"only {len(pool.kept)} of {len(pool.neurons)} candidates lower the {of} "
            f"by {t_low:.0%} or less alone"
        )
    largest = max(size for size, number in pool.searched.items() if number)
    cut = " of those searched" if sum(pool.left_out.values()) else ""
    return (
        f"no set of up to {largest} of {len(pool.neurons)} candidates{cut} lowers the {of} by more "
        f"than {t_high:.0%} (all together: {together:+.1%})"
    )
