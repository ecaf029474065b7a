"""Would other paraphrases, or another threshold, have given the same neurons?

**Bootstrap over paraphrases**: draw each fact's known paraphrases in each language with
replacement, refine again, and see how the overlap and the agnostic neurons move. Some draws leave a
paraphrase out, so an index that rests on one wording shows it.

**Threshold curve**: the overlap and its controls as more or fewer neurons are kept. A difference
that holds at a single threshold is a choice, not a finding.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lafn_viz.attribution.scores import NeuronScores
from lafn_viz.core.arguments import (
    a_flag,
    a_result,
    a_seed,
    in_order,
    one_of,
    scalar,
    takes,
    whole,
    wrong,
)
from lafn_viz.core.provenance import Provenance
from lafn_viz.core.stats import quantile_interval
from lafn_viz.datasets.languages import script_of
from lafn_viz.models.torch_modes import plain_modes
from lafn_viz.neurons.criterion import a_min_languages, a_min_scripts
from lafn_viz.neurons.neuron_sets import SELECTION, Neuron, keep_best, select_neurons
from lafn_viz.neurons.overlap_result import Overlap
from lafn_viz.neurons.overlaps import jaccard_index, overlap

if TYPE_CHECKING:
    import pandas as pd

Choice = Literal["threshold", "top", "fraction"]


@dataclass(frozen=True)
class Stability:
    """Overlap of each fact when its paraphrases are drawn anew.

    `jaccard` is the mean over pairs of languages in each draw, `observed` the same without drawing.
    `low` and `high` are the 95% interval of each pair. `agnostic` gives the share of draws in which
    a neuron was agnostic, for the neurons that ever were.
    """

    facts: tuple[str, ...]
    languages: tuple[str, ...]
    observed: Float[np.ndarray, " fact"]
    jaccard: Float[np.ndarray, "draw fact"]
    low: Float[np.ndarray, "fact language language"]
    high: Float[np.ndarray, "fact language language"]
    agnostic: dict[str, dict[Neuron, float]]
    provenance: Provenance

    def __repr__(self) -> str:
        low, high = quantile_interval(self.jaccard.mean(1))
        return (
            f"Stability({len(self.facts)} facts: Jaccard {self.observed.mean():.3f}, "
            f"{low:.3f} to {high:.3f} over {len(self.jaccard)} draws of paraphrases)"
        )

    def to_frame(self) -> "pd.DataFrame":
        """One row a fact: mean Jaccard, its 95% interval, neurons agnostic in most draws."""
        import pandas as pd

        low, high = quantile_interval(self.jaccard)
        shares = [self.agnostic[fact].values() for fact in self.facts]
        return pd.DataFrame(
            {
                "fact_id": self.facts, "jaccard": self.observed, "low": low, "high": high,
                "agnostic_in_most_draws": [sum(s > 0.5 for s in of_fact) for of_fact in shares],
                "agnostic_in_any_draw": [len(of_fact) for of_fact in shares],
            }
        )  # fmt: skip


@takes(
    scores=a_result(NeuronScores), **SELECTION, min_languages=a_min_languages,
    min_scripts=a_min_scripts, draws=whole(2), seed=a_seed,
)  # fmt: skip
@plain_modes()
def stability(
    scores: NeuronScores,
    *,
    threshold: float | None = None,
    top: int | None = None,
    fraction: float | None = None,
    share: float = 0.5,
    min_languages: int | None = None,
    min_scripts: int = 1,
    draws: int = 200,
    seed: int = 0,
) -> Stability:
    """Bootstrap the overlap of facts over their paraphrases.

    Args:
        threshold, top, fraction, share: as in `select_neurons`.
        min_languages, min_scripts: as in `overlap`.
        draws: how often the paraphrases are drawn.

    Raises:
        ValueError: when no language has two known paraphrases of a fact: nothing could vary.
    """
    options: dict[str, Any] = {"threshold": threshold, "top": top, "fraction": fraction}
    sets = select_neurons(scores, share=share, **options)
    observed = overlap(sets, min_languages=min_languages, min_scripts=min_scripts)
    rows = _known_rows(scores)
    if max(len(rows[key]) for key in observed.sets) < 2:
        raise ValueError(
            "there is one known paraphrase only of each fact in each language, so nothing can be "
            "drawn anew; give prompts of several paraphrases"
        )
    kept = keep_best(scores, **options).flatten(1).float()
    rng = torch.Generator().manual_seed(seed)
    n = len(observed.languages)
    different = ~np.eye(n, dtype=bool)
    jaccard = np.empty((draws, len(observed.facts)))
    low, high = np.empty((2, len(observed.facts), n, n))
    agnostic: dict[str, dict[Neuron, float]] = {}
    for row, fact in enumerate(observed.facts):
        drawn = {
            language: _redrawn(kept[rows[fact, language]], draws, share, rng)
            for language in observed.known_in(fact)
        }
        table = _jaccard_of_draws(drawn, observed.languages)
        jaccard[:, row] = np.nanmean(table[:, different], 1)
        low[row], high[row] = quantile_interval(table)
        agnostic[fact] = _agnostic_shares(drawn, observed)
    return Stability(
        facts=observed.facts,
        languages=observed.languages,
        observed=observed.by_fact()["same fact"],
        jaccard=jaccard,
        low=low,
        high=high,
        agnostic=agnostic,
        provenance=scores.provenance,
    )


def _known_rows(scores: NeuronScores) -> dict[tuple[str, str], list[int]]:
    """The rows of the known paraphrases of each fact and language."""
    rows: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row, prompt in enumerate(scores.prompts):
        if bool(scores.known[row]):
            rows[prompt.fact_id, prompt.language].append(row)
    return rows


def _redrawn(
    kept: Float[Tensor, "paraphrase neuron"], draws: int, share: float, rng: torch.Generator
) -> Float[Tensor, "draw neuron"]:
    """Which neurons stay in more than a share of the paraphrases, when these are drawn anew."""
    n = len(kept)
    drawn = torch.randint(0, n, (draws, n), generator=rng)
    weight = torch.zeros(draws, n).scatter_add_(1, drawn, torch.full((draws, n), 1 / n))
    return (weight @ kept > share + 1e-6).float()


def _jaccard_of_draws(
    drawn: Mapping[str, Float[Tensor, "draw neuron"]], languages: Sequence[str]
) -> Float[np.ndarray, "draw language language"]:
    """The index of each pair of languages in each draw of a fact; NaN where not both know it."""
    sets = torch.stack(list(drawn.values()), 1)
    sizes = sets.sum(-1)
    index = jaccard_index(sets @ sets.mT, sizes[:, :, None] + sizes[:, None, :])
    columns = np.array([languages.index(language) for language in drawn])
    table = np.full((len(sets), len(languages), len(languages)), np.nan)
    table[:, columns[:, None], columns] = index.numpy()
    return table


def _agnostic_shares(
    drawn: Mapping[str, Float[Tensor, "draw neuron"]], observed: Overlap
) -> dict[Neuron, float]:
    """The share of draws in which a neuron is agnostic for a fact, where it is not zero."""
    held = torch.stack(list(drawn.values())).bool()
    shares = observed.criterion.agnostic(held, list(map(script_of, drawn))).float().mean(0)
    return {
        Neuron(*divmod(int(neuron), observed.shape[1])): float(shares[neuron])
        for neuron in shares.nonzero()[:, 0]
    }


@takes(
    scores=a_result(NeuronScores), by=one_of(get_args(Choice)), share=SELECTION["share"],
    min_languages=a_min_languages, min_scripts=a_min_scripts, across_scripts=a_flag,
)  # fmt: skip
@plain_modes()
def threshold_curve(
    scores: NeuronScores,
    values: float | Iterable[float],
    *,
    by: Choice = "fraction",
    share: float = 0.5,
    min_languages: int | None = None,
    min_scripts: int = 1,
    across_scripts: bool = False,
) -> "pd.DataFrame":
    """Compute the overlap and its controls at several thresholds, with 95% intervals over facts.

    Args:
        values: of the option named by `by` (see `select_neurons`).
        min_languages, min_scripts: as in `overlap`.

    Returns:
        Columns: the option, comparison, jaccard, low, high, agnostic (mean neurons a fact).
    """
    import pandas as pd

    tables = []
    for value in _thresholds(by, values):
        sets = select_neurons(scores, share=share, **{by: value})  # type: ignore[arg-type]
        result = overlap(sets, min_languages=min_languages, min_scripts=min_scripts)
        table = result.summary(across_scripts=across_scripts)
        table.insert(0, by, value)
        table["agnostic"] = np.mean([len(neurons) for neurons in result.agnostic.values()])
        tables.append(table)
    if not tables:
        raise ValueError("there are no thresholds; give at least one")
    return pd.concat(tables, ignore_index=True)


def _thresholds(by: Choice, values: float | Iterable[float]) -> list[float]:
    """Each value of the option, checked before anything is computed."""
    given = in_order(values) if scalar(values) is None else [values]
    if given is None:
        raise wrong("values", values, f"a list of values of {by}")
    return [SELECTION[by](by, value) for value in given]
