"""The figures of a store's facts, each beside its controls, with intervals over facts.

The first is the cautious one (see `examine`).

One shard is read after the other, so that memory holds a shard, and a value per fact and figure.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from lafn_viz.core.stats import bootstrap, mean_of_finite, pair_items
from lafn_viz.datasets.languages import outside_latin, script_of
from lafn_viz.experiments.compared_sets import OWN_SET, WITHOUT
from lafn_viz.experiments.figures import LATIN, OUTSIDE_LATIN, VALUES
from lafn_viz.experiments.schema import MEASURED
from lafn_viz.neurons.criterion import Criterion

if TYPE_CHECKING:
    import pandas as pd

# The columns of `overlap` and the names of their figures.
_JACCARD = {
    "jaccard": "same fact",
    "other_fact": "other fact (control)",
    "chance": "chance (control)",
}

AGNOSTIC = "agnostic"  # the set of neurons found with all languages
_P = [name for name in MEASURED if name.startswith("p_")]

Figures = dict[str, "pd.Series"]
# Method, figure, mean, low and high end of the interval, and the number of facts.
Row = tuple[str, str, float, float, float, int]


def summarise_facts(
    parts: Callable[[str], Iterable["pd.DataFrame"]],
    criterion: Criterion,
    *,
    draws: int,
    seed: int,
) -> list[Row]:
    """Return, for each method and figure, the mean over facts and its 95% interval.

    Facts are the items. A fact is compared with the others of its relation in its shard, so the
    interval of such a mean over pairs is that of the facts of each relation and shard.

    Args:
        parts: reads the table of a name, shard by shard.
        criterion: what made a neuron agnostic, for the name of their number.
    """
    values: dict[tuple[str, str], list[float]] = {}
    groups: dict[tuple[str, str], list[str]] = {}
    for table, figures_of in (
        ("effects", _effect_figures),
        ("overlap", _overlap_figures),
        ("sets", partial(_set_figures, criterion)),
    ):
        for number, part in enumerate(parts(table)):
            for method, rows in part.groupby("method", sort=False):
                relation = rows.groupby("fact_id", sort=False)["relation"].first()
                for figure, by_fact in figures_of(rows).items():
                    key = str(method), figure
                    values.setdefault(key, []).extend(by_fact.astype(float))
                    compared = [f"{name} in shard {number}" for name in relation[by_fact.index]]
                    groups.setdefault(key, []).extend(compared)
    summary = []
    for (method_name, figure), listed in values.items():
        array = np.array(listed)
        over_pairs = figure.startswith("Jaccard") and figure.endswith(_JACCARD["other_fact"])
        items = pair_items(array, groups[method_name, figure]) if over_pairs else array
        interval = bootstrap(items, draws=draws, seed=seed)
        mean, count = float(mean_of_finite(array, 0)), int(np.isfinite(array).sum())
        summary.append((method_name, figure, mean, *interval, count))
    return summary


def _set_figures(criterion: Criterion, sets: "pd.DataFrame") -> Figures:
    """The number of agnostic neurons of each fact that is known in several languages."""
    known = sets[sets["known"]]
    if known.empty:
        return {}
    by_fact = known.groupby("fact_id", sort=False)
    several = by_fact["language"].size() > 1
    return {f"agnostic neurons a fact ({criterion})": by_fact["n_agnostic"].first()[several]}


def _overlap_figures(pairs: "pd.DataFrame") -> Figures:
    """The Jaccard index of each fact and its controls, over all pairs and across scripts."""
    scripts = [pairs[column].map(script_of) for column in ("language", "other_language")]
    figures = {}
    for where, rows in (("", pairs), (" across scripts", pairs[scripts[0] != scripts[1]])):
        means = rows.groupby("fact_id", sort=False)[list(_JACCARD)].mean()
        for column, name in _JACCARD.items():
            figures[f"Jaccard{where}, {name}"] = means[column]
    return figures


def _effect_figures(effects: "pd.DataFrame") -> Figures:
    """The relative change of P(correct) of each fact, mean of the languages, and of controls.

    The neurons of a single language stay out: they have a value for every other language.
    """
    figures: Figures = {}
    outside = effects["language"].map(outside_latin)
    for how in effects["how"].unique():
        for where, is_there in ((OUTSIDE_LATIN, outside), (LATIN, ~outside)):
            for name in (WITHOUT, OWN_SET, AGNOSTIC):
                rows = effects[is_there & (effects["how"] == how) & (effects["set"] == name)]
                if rows.empty:
                    continue
                p = rows.groupby("fact_id", sort=False)[_P].mean()
                label = f"P(correct) {where}, neurons {VALUES[how]}: "
                figures[f"{label}{name}"] = p["p_after"] / p["p_before"] - 1
                figures[f"{label}as many random as {name} (control)"] = (
                    p["p_random"] / p["p_before"] - 1
                )
                figures[f"{label}{name}, on another fact (control)"] = (
                    p["p_other"] / p["p_other_before"] - 1
                )
    return figures


def summary_text(summary: "pd.DataFrame") -> str:
    """Return `Store.summary()` as text to print: a block per method of attribution or editor."""
    lines = []
    for name, rows in summary.groupby("of", sort=False):
        lines += ["", f"{name}: mean and 95% interval"]
        parts = [figure.rpartition(": ") for figure in rows["figure"]]
        width = 2 + max(len(figure) + 2 * bool(section) for section, _, figure in parts)
        last = ""
        for (section, _, figure), row in zip(parts, rows.to_dict("records"), strict=True):
            if section != last:
                lines += [f"  {section}"] * bool(section)
                last = section
            interval = (
                f"[{row['low']:.3f}, {row['high']:.3f}]" if np.isfinite(row["low"]) else "[-]"
            )
            label = f"{'  ' * bool(section)}{figure}"
            lines.append(f"  {label:<{width}}{row['mean']:8.3f}  {interval}  of {row['items']}")
    return "".join(f"{line}\n" for line in lines)
