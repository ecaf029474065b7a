"""The figures of an examination, or of several that examine different facts of one model.

Each figure is a mean over facts with its 95% interval. Where options were chosen for some facts and
others for other facts (see `evidence`), their examinations stand side by side, and their facts
count alike. Other facts are those of the same examination.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from lafn_viz.core.stats import bootstrap, mean_of_finite
from lafn_viz.datasets.languages import outside_latin
from lafn_viz.experiments.compared_sets import OWN_SET, WITHOUT
from lafn_viz.interventions.effects import Effects
from lafn_viz.interventions.replacements import Ablation
from lafn_viz.neurons.agnostic_counts import agnostic_counts
from lafn_viz.neurons.overlap_result import Overlap

if TYPE_CHECKING:
    import pandas as pd

COLUMN = 27  # characters of a column of numbers in `comparison_text`
OUTSIDE_LATIN, LATIN = "outside Latin script", "Latin script"
VALUES = {"zero": "set to zero", "mean": "at the mean of other facts", "resample": "resampled"}
Interval = tuple[float, float, float]  # mean, low and high end
Figure = tuple[str, str, float, float, float]  # name, unit, value and its interval
Section = tuple[str, list[Figure]]


@runtime_checkable
class Examined(Protocol):
    """What figures are made of: an `Examination`, or what has the same fields."""

    @property
    def known(self) -> float:
        """The share of prompts that the model answers."""

    @property
    def overlap(self) -> Overlap:
        """Of the selected neurons."""

    @property
    def papers(self) -> Overlap:
        """At the papers' threshold."""

    @property
    def effects(self) -> Mapping[Ablation, Effects]:
        """By how neurons were changed."""


def effect_table(parts: Sequence[Examined], *, by_language: bool = False) -> "pd.DataFrame":
    """The table that `Examination.effect_table` describes."""
    import pandas as pd

    rows = []
    for how, of_parts in _effects(parts).items():
        groups = script_groups(_languages(of_parts))
        if by_language:
            groups = [(code, (code,)) for code in _languages(of_parts)]
        for where, languages in groups:
            for name in of_parts[0].sets:
                p, log_p = (_changes(of_parts, name, languages, of) for of in ("p", "log_p"))
                figures = [
                    mean_interval(p),
                    mean_interval(log_p),
                    _share(of_parts, name, languages),
                ]
                size = float(mean_of_finite(_sizes(of_parts, name, languages), 0))
                rows.append((how, where, name, size, *(x for one in figures for x in one)))
    ends = [f"{of}{end}" for of in ("p", "log_p", "share") for end in ("", "_low", "_high")]
    return pd.DataFrame(rows, columns=["how", "languages", "set", "neurons", *ends])


def counts(parts: Sequence[Examined]) -> "pd.DataFrame":
    """The table that `Examination.counts` describes."""
    import pandas as pd

    tables = {
        "as selected": [part.overlap for part in parts],
        "threshold 0.2": [part.papers for part in parts],
    }
    return pd.concat(
        [
            agnostic_counts(overlap).assign(selected=name)
            for name, overlaps in tables.items()
            for overlap in overlaps
        ],
        ignore_index=True,
    )


def pair_table(parts: Sequence[Examined]) -> "pd.DataFrame":
    """The table of `Overlap.to_frame`: means over the facts of all parts."""
    import pandas as pd

    keys = ["language", "other_language"]
    rows = pd.concat([part.overlap.by_pair() for part in parts])
    order = dict.fromkeys(code for part in parts for code in part.overlap.languages)
    place = {code: number for number, code in enumerate(order)}
    above = rows["language"].map(place) < rows["other_language"].map(place)
    means = rows[above].drop(columns=["fact_id", "relation"]).groupby(keys, as_index=False).mean()
    return means.sort_values(keys, key=lambda codes: codes.map(place), ignore_index=True)


def figure_table(parts: Sequence[Examined]) -> "pd.DataFrame":
    """The table that `Examination.to_frame` describes."""
    import pandas as pd

    first, *others = _effect_sections(parts).items()
    rows = [
        (section, *figure)
        for section, figures in (first, *_other_sections(parts), *others)
        for figure in figures
    ]
    columns = ["section", "figure", "unit", "value", "low", "high"]
    return pd.DataFrame(rows, columns=columns).set_index(["section", "figure"])


def headline(parts: Sequence[Examined]) -> str:
    """The cautious figure in words (see `examine`)."""
    how, effects = next(iter(_effects(parts).items()))
    where, languages = script_groups(_languages(effects))[0]
    value, low, high = mean_interval(_changes(effects, WITHOUT, languages, "p"))
    return (
        f"P(correct) {where} {value:+.1%} [{low:+.1%}, {high:+.1%}], neurons {WITHOUT} "
        f"{VALUES[how]}"
    )


def comparison_text(frames: "Mapping[str, pd.DataFrame]") -> str:
    """A table to print: one row per figure, one column per table of figures, named by its key."""
    tables: dict[str, dict[tuple[str, str], tuple[str, float, float, float]]] = {
        name: dict(zip(frame.index, frame.itertuples(index=False, name=None), strict=True))
        for name, frame in frames.items()
    }
    keys = list(dict.fromkeys(key for table in tables.values() for key in table))
    width = 2 + max(len(figure) for _, figure in keys)
    lines = [" " * width + "".join(f"{name:>{COLUMN}}" for name in tables)]
    last = None
    for section, figure in keys:
        if section != last:
            lines.append(section)
            last = section
        cells = [_cell(*table.get((section, figure), _MISSING)) for table in tables.values()]
        lines.append(f"  {figure:<{width - 2}}" + "".join(f"{cell:>{COLUMN}}" for cell in cells))
    lines += [
        "(mean and 95% interval over facts; the neurons found without the language have not seen",
        " the prompts that measure them; below them stand their controls: see lafn_viz.examine)",
    ]
    return "\n".join(lines)


def _effect_sections(parts: Sequence[Examined]) -> dict[str, list[Figure]]:
    """The change of P with every set, by how neurons were changed and where it was measured."""
    sections: dict[str, list[Figure]] = {}
    for row in effect_table(parts).to_dict("records"):
        section = f"P(correct) {row['languages']}, neurons {VALUES[row['how']]}"
        figures = sections.setdefault(section, [])
        figures.append((row["set"], "change", row["p"], row["p_low"], row["p_high"]))
        if row["set"] == WITHOUT:
            share = (row["share"], row["share_low"], row["share_high"])
            figures.append(("  as a share of the own set's effect", "share", *share))
    return sections


def _other_sections(parts: Sequence[Examined]) -> Iterator[Section]:
    """What is known and shared."""
    known = float(np.mean([part.known for part in parts]))
    yield "What the model knows", [("prompts answered", "share", known, np.nan, np.nan)]
    for where, across in (("", False), (" across scripts", True)):
        by_fact = _joined([part.overlap.by_fact(across_scripts=across) for part in parts])
        # Pairs of facts are not independent.
        items = _joined([part.overlap.items(across_scripts=across) for part in parts])
        yield (
            f"Jaccard index{where}",
            [
                (name, "index", float(mean_of_finite(values, 0)), *bootstrap(items[name]))
                for name, values in by_fact.items()
            ],
        )
    table = counts(parts)
    for selected, criterion in dict.fromkeys(
        zip(table["selected"], table["criterion"], strict=True)
    ):
        of = table[(table["selected"] == selected) & (table["criterion"] == criterion)]
        columns = {"same fact": ("neurons", "agnostic"), "other facts": ("neurons", "other_facts")}
        if of["one_script"].any():
            columns["held in one script alone"] = ("share", "one_script")
        yield (
            f"Neurons a fact in {criterion} ({selected})",
            [
                (name, unit, *mean_interval(of[column].to_numpy(dtype=float)))
                for name, (unit, column) in columns.items()
            ],
        )


def _effects(parts: Sequence[Examined]) -> dict[Ablation, list[Effects]]:
    """The effects of all parts by how neurons were changed."""
    return {how: [part.effects[how] for part in parts] for how in parts[0].effects}


def _languages(of_parts: Sequence[Effects]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(code for effects in of_parts for code in effects.languages))


def script_groups(languages: Iterable[str]) -> list[tuple[str, tuple[str, ...]]]:
    """The languages outside Latin script, and those in it, where there are any."""
    groups: dict[str, tuple[str, ...]] = {OUTSIDE_LATIN: (), LATIN: ()}
    for code in languages:
        groups[OUTSIDE_LATIN if outside_latin(code) else LATIN] += (code,)
    return [(name, codes) for name, codes in groups.items() if codes]


def _joined(
    by_name: Sequence[dict[str, Float[np.ndarray, " _"]]],
) -> dict[str, Float[np.ndarray, " fact"]]:
    return {name: np.concatenate([values[name] for values in by_name]) for name in by_name[0]}


def mean_interval(values: Float[np.ndarray, " fact"]) -> Interval:
    """The mean over facts and its 95% interval."""
    return (float(mean_of_finite(values, 0)), *bootstrap(values))


def _changes(
    of_parts: Sequence[Effects], name: str, languages: tuple[str, ...], of: Literal["p", "log_p"]
) -> Float[np.ndarray, " fact"]:
    """The mean change of each fact in these languages with one set."""
    changes = []
    for effects in of_parts:
        here = [code for code in languages if code in effects.languages]
        if here:
            change = effects.changes(of=of, mean_of=here)["own fact"]
            changes.append(change[effects.sets.index(name), :, 0])
        else:
            changes.append(np.full(len(effects.facts), np.nan))
    return np.concatenate(changes)


def _sizes(
    of_parts: Sequence[Effects], name: str, languages: tuple[str, ...]
) -> Float[np.ndarray, " size"]:
    """How many neurons one set has in each fact and language."""
    sizes = []
    for effects in of_parts:
        columns = [effects.languages.index(code) for code in languages if code in effects.languages]
        sizes.append(effects.n_neurons[effects.sets.index(name)][:, columns].ravel())
    return np.concatenate(sizes)


def _share(of_parts: Sequence[Effects], name: str, languages: tuple[str, ...]) -> Interval:
    """The mean change with a set over that with the own set, and its interval.

    The interval of a ratio R of means is that of the mean of R + (a - R b) / mean(b) over facts
    (its linearisation; Cochran 1977, "Sampling Techniques", section 6.3).
    """
    if OWN_SET not in of_parts[0].sets:
        return (np.nan, np.nan, np.nan)
    change, own = (_changes(of_parts, of, languages, "p") for of in (name, OWN_SET))
    _, low, high = mean_interval(own)
    if not (low > 0 or high < 0):
        return (np.nan, np.nan, np.nan)
    both = np.isfinite(change) & np.isfinite(own)
    ratio = change[both].mean() / own[both].mean()
    return mean_interval(ratio + (change[both] - ratio * own[both]) / own[both].mean())


_FORMATS = {"change": "{:+.1%}", "share": "{:.0%}", "index": "{:.3f}", "neurons": "{:.1f}"}
_MISSING = ("index", np.nan, np.nan, np.nan)


def _cell(unit: str, value: float, low: float, high: float) -> str:
    number = _FORMATS[unit]
    if np.isnan(value):
        return "-"
    if np.isnan(low):
        return number.format(value)
    return f"{number} [{number}, {number}]".format(value, low, high)
