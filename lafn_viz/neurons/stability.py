"""Would other paraphrases, or another threshold, have given the same neurons?

**Bootstrap over paraphrases**: draw each fact's known paraphrases in each language with
replacement, refine again, and see how the overlap and the agnostic neurons move. Some of the draws
leave a paraphrase out, so an index that stands on one wording shows it.

**Threshold curve**: the overlap and its controls as more or fewer neurons are kept. A difference
that holds at one threshold alone is a choice, not a finding.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lafn_viz.attribution.scores import NeuronScores
from lafn_viz.core.provenance import Provenance
from lafn_viz.neurons.neuron_sets import Neuron, keep_best, select_neurons
from lafn_viz.neurons.overlaps import jaccard_index, overlap

if TYPE_CHECKING:
    import pandas as pd

Choice = Literal["threshold", "top", "fraction"]


@dataclass(frozen=True)
class Stability:
    """Overlap of each fact when its paraphrases are drawn anew.

    `jaccard` is the mean over pairs of languages in each draw, `observed` without drawing, `low`
    and `high` its 95% interval for each pair. `agnostic` says in what share of the draws a neuron
    was agnostic (only those that ever were).
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
        low, high = np.nanquantile(self.jaccard.mean(1), [0.025, 0.975])
        return (
            f"Stability({len(self.facts)} facts: Jaccard {self.observed.mean():.3f}, "
            f"{low:.3f} to {high:.3f} over {len(self.jaccard)} draws of paraphrases)"
        )

    def to_frame(self) -> "pd.DataFrame":
        """One row a fact: mean Jaccard, its 95% interval, neurons agnostic in most draws."""
        import pandas as pd

        low, high = np.nanquantile(self.jaccard, [0.025, 0.975], axis=0)
        firm = [sum(share > 0.5 for share in self.agnostic[fact].values()) for fact in self.facts]
        ever = [len(self.agnostic[fact]) for fact in self.facts]
        return pd.DataFrame(
            {
                "fact_id": self.facts, "jaccard": self.observed, "low": low, "high": high,
                "agnostic_in_most_draws": firm, "agnostic_in_any_draw": ever,
            }
        )  # fmt: skip


def stability(
    scores: NeuronScores,
    *,
    threshold: float | None = None,
    top: int | None = None,
    fraction: float | None = None,
    share: float = 0.5,
    min_languages: int | None = None,
    draws: int = 200,
    seed: int = 0,
) -> Stability:
    """Bootstrap the overlap of facts over their paraphrases.

    Args:
        threshold, top, fraction, share: as in `select_neurons`.
        min_languages: as in `overlap`.
        draws: how many times.

    Raises:
        ValueError: when no language has two known paraphrases of a fact: nothing could vary.
    """
    options: dict[str, Any] = {"threshold": threshold, "top": top, "fraction": fraction}
    found = overlap(select_neurons(scores, share=share, **options), min_languages=min_languages)
    kept = keep_best(scores, **options).flatten(1).float()
    rows: dict[tuple[str, str], list[int]] = defaultdict(list)
    for number, prompt in enumerate(scores.prompts):
        if bool(scores.known[number]):
            rows[prompt.fact_id, prompt.language].append(number)
    if max(len(rows[key]) for key in found.sets) < 2:
        raise ValueError(
            "there is one known paraphrase only of each fact in each language, so nothing can be "
            "drawn anew; give prompts of several paraphrases"
        )
    n, width = len(found.languages), found.shape[1]
    rng = torch.Generator().manual_seed(seed)
    jaccard = np.empty((draws, len(found.facts)))
    low, high = np.full((2, len(found.facts), n, n), np.nan)
    agnostic: dict[str, dict[Neuron, float]] = {}
    apart = ~np.eye(n, dtype=bool)
    for row, fact in enumerate(found.facts):
        languages = found.known_in(fact)
        sets = torch.stack(
            [_redrawn(kept[rows[fact, lang]], draws, share, rng) for lang in languages], 1
        )
        shared = sets @ sets.mT
        sizes = sets.sum(-1)
        index = jaccard_index(shared, sizes[:, :, None] + sizes[:, None, :]).numpy()
        at = [found.languages.index(lang) for lang in languages]
        table = np.full((draws, n, n), np.nan)
        table[:, np.array(at)[:, None], at] = index
        jaccard[:, row] = np.nanmean(table[:, apart], 1)
        low[row], high[row] = _interval(table)
        needed = min(min_languages or len(languages), len(languages))
        often = (sets.sum(1) >= needed).float().mean(0)
        agnostic[fact] = {
            Neuron(*divmod(int(neuron), width)): float(often[neuron])
            for neuron in often.nonzero()[:, 0]
        }
    return Stability(
        facts=found.facts,
        languages=found.languages,
        observed=found.by_fact()["same fact"],
        jaccard=jaccard,
        low=low,
        high=high,
        agnostic=agnostic,
        provenance=scores.provenance,
    )


def _redrawn(
    kept: Float[Tensor, "paraphrase neuron"], draws: int, share: float, rng: torch.Generator
) -> Float[Tensor, "draw neuron"]:
    """Which neurons stay in more than a share of the paraphrases, when these are drawn anew."""
    n = len(kept)
    drawn = torch.randint(0, n, (draws, n), generator=rng)
    weight = torch.zeros(draws, n).scatter_add_(1, drawn, torch.full((draws, n), 1 / n))
    return (weight @ kept > share + 1e-6).float()


def _interval(
    table: Float[np.ndarray, "draw language language"],
) -> tuple[Float[np.ndarray, "language language"], Float[np.ndarray, "language language"]]:
    there = np.isfinite(table).any(0)
    low, high = np.full((2, *there.shape), np.nan)
    low[there], high[there] = np.nanquantile(table[:, there], [0.025, 0.975], axis=0)
    return low, high


def threshold_curve(
    scores: NeuronScores,
    values: Iterable[float],
    *,
    by: Choice = "fraction",
    share: float = 0.5,
    min_languages: int | None = None,
    across_scripts: bool = False,
) -> "pd.DataFrame":
    """The overlap and its controls at several thresholds, with 95% intervals over facts.

    Args:
        values: of the option named by `by` (see `select_neurons`).

    Returns:
        Columns: the option, comparison, jaccard, low, high, agnostic (mean neurons a fact).
    """
    import pandas as pd

    tables = []
    for value in values:
        sets = select_neurons(scores, share=share, **{by: value})  # type: ignore[arg-type]
        found = overlap(sets, min_languages=min_languages)
        table = found.summary(across_scripts=across_scripts)
        table.insert(0, by, value)
        table["agnostic"] = np.mean([len(some) for some in found.agnostic.values()])
        tables.append(table)
    if not tables:
        raise ValueError("there are no thresholds; give at least one")
    return pd.concat(tables, ignore_index=True)
