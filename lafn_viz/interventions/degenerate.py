"""Neurons of a fact that stand in for one another: the model can lose either, but not both.

**Degenerate knowledge neurons** (Chen et al. 2024, "Journey to the Center of the Knowledge
Neurons", section 4) of one fact in one language, over its known paraphrases together:

1. the `top` neurons by mean attribution are the candidates;
2. zero each alone, and keep those without which P is at least (1 - t_low) of its value before;
3. zero them in pairs: a pair is degenerate if P falls below (1 - t_high) of its value before. Then
   do the same with larger sets that hold no smaller degenerate set.

The paper measures the **probability**. Where a model is sure, no pair moves it; `of="odds"` applies
the same thresholds to P / (1 - P). t_low and t_high lie close together: two independent neurons
that cost 14% each cost 26% together and count as degenerate. So each set has an `expected` change
beside it, the product of what its neurons leave one by one, and as a control the same search runs
over as many random neurons of the same layers.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from tqdm.auto import tqdm

from lafn_viz.attribution.scores import NeuronScores
from lafn_viz.core.arguments import a_flag, a_result, some_results, takes
from lafn_viz.core.provenance import Provenance
from lafn_viz.datasets.prompts import Prompt
from lafn_viz.interventions.degenerate_search import (
    SEARCH,
    Of,
    Pool,
    RelativeChange,
    SearchOptions,
    search,
)
from lafn_viz.models.calls import reads_model
from lafn_viz.models.capabilities import provenance
from lafn_viz.models.tokens import Position
from lafn_viz.neurons.controls import random_like
from lafn_viz.neurons.neuron_sets import Neuron, with_finite_scores

if TYPE_CHECKING:
    import pandas as pd
    from transformer_lens.model_bridge import TransformerBridge


@dataclass(frozen=True)
class Degenerate:
    """Degenerate neurons of one fact in one language.

    All changes are relative: of the mean probability over `prompts` (those that the model knows) or
    of its odds; -1 means that nothing is left. `candidates` are ordered by `attribution`, their
    mean score. `single` is the change without each candidate, `pair` without two of them (with
    `single` on the diagonal), `together` without all; `together_random` is the change without as
    many random neurons, mean over the draws. `changes` belongs to `sets`.

    `searched` and `left_out` count, by size, the sets that were and were not measured; a set that
    holds a smaller degenerate set or a neuron that matters alone is in neither. `control` is the
    number of degenerate sets among random neurons, one for each of `control_seeds`. `reason` says
    why there is no set; it is None when there is one.
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
        result = f"{len(self.sets)} sets" if self.sets else f"none, because {self.reason}"
        beside = f"; among random neurons {np.mean(self.control):.1f}" if self.control else ""
        return f"Degenerate({self.fact_id!r} in {self.language!r}: {result}{beside})"

    @property
    def neurons(self) -> frozenset[Neuron]:
        """All neurons that are in a degenerate set."""
        return frozenset().union(*self.sets)

    @property
    def expected(self) -> Float[np.ndarray, " set"]:
        """Change of each set if its neurons were independent (the product of what each leaves)."""
        alone = dict(zip(self.candidates, self.single, strict=True))
        products = [np.prod([1 + alone[n] for n in neurons]) for neurons in self.sets]
        return np.array([product - 1 for product in products], float)

    def to_frame(self) -> "pd.DataFrame":
        """One row per set: size, neurons, relative change, and the change `expected` of it."""
        import pandas as pd

        return pd.DataFrame(
            {
                "fact_id": self.fact_id,
                "relation": self.relation,
                "language": self.language,
                "size": [len(neurons) for neurons in self.sets],
                "neurons": [tuple(sorted(map(tuple, neurons))) for neurons in self.sets],
                "change": self.changes,
                "expected": self.expected,
            }
        )


def overview(results: Degenerate | Iterable[Degenerate]) -> "pd.DataFrame":
    """Summarise the results of `find_degenerate`, one row per fact and language.

    `sets` is the number of degenerate sets, `change` and `expected` are means over them, and
    `beyond` counts those that cost more than expected of independent neurons. `random` is the mean
    number of sets among random neurons, `together` the change without all candidates.
    """
    import pandas as pd

    listed: Sequence[Degenerate] = some_results(Degenerate)("results", results)
    if not listed:
        raise ValueError("there are no results; give those of find_degenerate()")
    return pd.DataFrame(
        {
            "fact_id": result.fact_id,
            "language": result.language,
            "p_before": result.p_before,
            "sets": len(result.sets),
            "change": result.changes.mean() if result.sets else float("nan"),
            "expected": result.expected.mean() if result.sets else float("nan"),
            "beyond": int((result.changes < result.expected).sum()),
            "random": float(np.mean(result.control)) if result.control else float("nan"),
            "together": result.together,
            "together_random": result.together_random,
        }
        for result in listed
    ).set_index(["fact_id", "language"])


@reads_model
@takes(scores=a_result(NeuronScores), **SEARCH, progress=a_flag)
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
    """Find the degenerate neurons of each fact and language, in the order of the scores.

    Args:
        scores: of this model; only prompts that it knows are used.
        top: number of candidates, by mean score over the paraphrases; only scores above 0 count.
        t_low: a neuron that lowers the measure by more than this share alone is no candidate.
        t_high: a set that lowers the measure by more than this share is degenerate.
        max_size: number of neurons in the largest sets.
        max_sets: how many sets of three or more neurons to measure at most, for each size. Sets
            left out are counted, and then no larger ones are searched: nobody could know whether
            they are minimal.
        of: the measure: the "probability" (the paper) or its "odds", which do not saturate.
        position: where neurons are zeroed (see `intervene`).
        controls: number of draws of random neurons to search in the same way.
        seed: of the random neurons.

    Raises:
        ValueError: for an option out of its range, or scores of which no prompt's are all numbers.

    Warns:
        SkippedWarning: naming the prompts with a score that is not a number, which are left out.
    """
    options = SearchOptions(
        top=top, t_low=t_low, t_high=t_high, max_size=max_size, max_sets=max_sets, of=of,
        position=position, controls=controls, seed=seed,
    )  # fmt: skip
    scores = with_finite_scores(scores)
    source = provenance(
        model, "find_degenerate", **vars(options),
        attribution=scores.provenance.method,
        attribution_options=dict(scores.provenance.options),
    )  # fmt: skip
    groups: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for number, prompt in enumerate(scores.prompts):
        groups[prompt.fact_id, prompt.relation, prompt.language].append(number)
    return [
        _find_in_group(model, scores, rows, options, source)
        for rows in tqdm(groups.values(), disable=not progress, desc="degenerate")
    ]


def _find_in_group(
    model: "TransformerBridge",
    scores: NeuronScores,
    rows: Sequence[int],
    options: SearchOptions,
    source: Provenance,
) -> Degenerate:
    """Search one fact in one language: the prompts at these rows of the scores."""
    shape = scores.values.shape[1], scores.values.shape[2]
    known = [row for row in rows if bool(scores.known[row])]
    prompts = [scores.prompts[row] for row in known]
    mean = scores.values[known].double().mean(0).flatten()
    order = mean.argsort(descending=True, stable=True)[: options.top].tolist() if known else []
    places = [place for place in order if mean[place] > 0]
    candidates = [Neuron(*divmod(place, shape[1])) for place in places]
    n_draws = options.controls if len(candidates) > 1 else 0
    seeds = range(options.seed, options.seed + n_draws)
    drawn = [sorted(random_like(candidates, shape, seed=seed)) for seed in seeds]
    pools = [Pool(neurons) for neurons in (candidates, *drawn)]
    p_before, together = float("nan"), [float("nan")]
    if len(candidates) > 1:
        change = RelativeChange(model, prompts, shape, options.of, options.position)
        together = change([pool.neurons for pool in pools]).tolist()
        p_before = change.p_before
        search(change, pools, options)
    pool = pools[0]
    pair = _pair_table(pool)
    return Degenerate(
        fact_id=scores.prompts[rows[0]].fact_id,
        relation=scores.prompts[rows[0]].relation,
        language=scores.prompts[rows[0]].language,
        prompts=tuple(prompts),
        candidates=tuple(candidates),
        attribution=mean[places].numpy(),
        single=pair.diagonal().copy(),
        pair=pair,
        sets=tuple(frozenset(pool.neurons_at(pick)) for pick in pool.degenerate),
        changes=np.array([pool.changes[pick] for pick in pool.degenerate], float),
        p_before=p_before,
        together=together[0],
        together_random=float(np.mean(together[1:])) if together[1:] else float("nan"),
        searched=pool.searched,
        left_out=pool.left_out,
        control=tuple(len(random.degenerate) for random in pools[1:]),
        control_seeds=tuple(seeds),
        reason=_reason(pool, len(rows), len(known), together[0], options),
        provenance=source,
    )


def _pair_table(pool: Pool) -> Float[np.ndarray, "neuron neuron"]:
    """The change without each two neurons, on the diagonal without each one."""
    table = np.zeros((len(pool.neurons), len(pool.neurons)))
    for pick, change in pool.changes.items():
        if len(pick) < 3:
            table[pick[0], pick[-1]] = table[pick[-1], pick[0]] = change
    return table


def _reason(
    pool: Pool, n_prompts: int, n_known: int, together: float, options: SearchOptions
) -> str | None:
    """Why there is no degenerate set; None when there is one."""
    if pool.degenerate:
        return None
    if not n_known:
        return f"the model knows none of the {n_prompts} prompts"
    if len(pool.neurons) < 2:
        return f"{len(pool.neurons)} neurons have a score above 0"
    if len(pool.harmless) < 2:
        return (
            f"only {len(pool.harmless)} of {len(pool.neurons)} candidates lower the {options.of} "
            f"by {options.t_low:.0%} or less alone"
        )
    largest = max(size for size, number in pool.searched.items() if number)
    cut = " of those searched" if sum(pool.left_out.values()) else ""
    return (
        f"no set of up to {largest} of {len(pool.neurons)} candidates{cut} lowers the {options.of} "
        f"by more than {options.t_high:.0%} (all together: {together:+.1%})"
    )
