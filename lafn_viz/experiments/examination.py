"""The result of `examine`, and the table that the demo prints."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float

from lafn_viz.attribution.scores import NeuronScores
from lafn_viz.core.arguments import a_flag, takes
from lafn_viz.core.stats import bootstrap, mean_of_finite
from lafn_viz.datasets.languages import outside_latin
from lafn_viz.experiments.compared_sets import WITHOUT
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


@dataclass(frozen=True)
class Examination:
    """What one model does with some facts: what it knows, shares between languages, and loses.

    `known` is the share of all `n_prompts` prompts answered; `n_choosing` of them chose neurons and
    `n_measured` measured effects. `papers` is the overlap at the papers' threshold of 0.2 (see
    `select_neurons`), by the same criterion. `effects` are by how neurons were changed, of the sets
    that `compared_sets` describes; the first of `effects` is the cautious one.
    """

    model: str
    known: float
    n_prompts: int
    n_choosing: int
    n_measured: int
    scores: NeuronScores
    overlap: Overlap
    papers: Overlap
    effects: Mapping[Ablation, Effects]

    def __repr__(self) -> str:
        how, effects = next(iter(self.effects.items()))
        where, languages = _groups(effects)[0]
        value, low, high = _interval(_changes(effects, WITHOUT, languages, "p"))
        return (
            f"Examination({len(self.overlap.facts)} facts in {self.model}: P(correct) {where} "
            f"{value:+.1%} [{low:+.1%}, {high:+.1%}], neurons {WITHOUT} {VALUES[how]}; "
            f"{self.n_measured} of {self.n_prompts} prompts measured; agnostic: in "
            f"{self.overlap.criterion})"
        )

    @takes(by_language=a_flag)
    def effect_table(self, *, by_language: bool = False) -> "pd.DataFrame":
        """The effect of every set on P(correct), on log P, and as a share of the own set's effect.

        Means over facts with 95% intervals: `p` is the relative change of P (-1: nothing is left),
        `log_p` the change in nats, `share` the mean change of P over that of the own set (NaN where
        the interval of that holds zero, or it was not measured), `neurons` the size of the set.

        Args:
            by_language: one row per language instead of one outside and one in Latin script.
        """
        import pandas as pd

        rows = []
        for how, effects in self.effects.items():
            groups = _groups(effects)
            if by_language:
                groups = [(code, (code,)) for code in effects.languages]
            for where, languages in groups:
                columns = [effects.languages.index(code) for code in languages]
                for name, sizes in zip(effects.sets, effects.n_neurons, strict=True):
                    p, log_p = (_changes(effects, name, languages, of) for of in ("p", "log_p"))
                    figures = [_interval(p), _interval(log_p), _share(effects, name, languages)]
                    size = float(mean_of_finite(sizes[:, columns].ravel(), 0))
                    rows.append((how, where, name, size, *(x for one in figures for x in one)))
        ends = [f"{of}{end}" for of in ("p", "log_p", "share") for end in ("", "_low", "_high")]
        return pd.DataFrame(rows, columns=["how", "languages", "set", "neurons", *ends])

    def counts(self) -> "pd.DataFrame":
        """Agnostic neurons by criterion, for the selected sets and at the papers' threshold.

        Columns: `selected` (the options of the selection), and those of `agnostic_counts`.
        """
        import pandas as pd

        tables = {"as selected": self.overlap, "threshold 0.2": self.papers}
        return pd.concat(
            [agnostic_counts(of).assign(selected=name) for name, of in tables.items()],
            ignore_index=True,
        )

    def to_frame(self) -> "pd.DataFrame":
        """One row per figure, by section: its value and 95% interval over facts.

        The first section is the cautious one (see `examine`); `unit` says what is counted: a
        "change" of P relative to its value before, a "share", an "index" or "neurons".
        """
        import pandas as pd

        first, *others = self._effect_sections().items()
        rows = [
            (section, *figure)
            for section, figures in (first, *self._other_sections(), *others)
            for figure in figures
        ]
        columns = ["section", "figure", "unit", "value", "low", "high"]
        return pd.DataFrame(rows, columns=columns).set_index(["section", "figure"])

    def to_text(self) -> str:
        """The figures as a table to print."""
        return comparison_text({self.model: self})

    def _effect_sections(self) -> dict[str, list[Figure]]:
        """The change of P with every set, by how neurons were changed and where it was measured."""
        sections: dict[str, list[Figure]] = {}
        for row in self.effect_table().to_dict("records"):
            section = f"P(correct) {row['languages']}, neurons {VALUES[row['how']]}"
            figures = sections.setdefault(section, [])
            figures.append((row["set"], "change", row["p"], row["p_low"], row["p_high"]))
            if row["set"] == WITHOUT:
                share = (row["share"], row["share_low"], row["share_high"])
                figures.append(("  as a share of the own set's effect", "share", *share))
        return sections

    def _other_sections(self) -> Iterator[Section]:
        """What is known and shared."""
        yield "What the model knows", [("prompts answered", "share", self.known, np.nan, np.nan)]
        for where, across in (("", False), (" across scripts", True)):
            by_fact = self.overlap.by_fact(across_scripts=across)
            items = self.overlap.items(across_scripts=across)  # pairs of facts are not independent
            yield (
                f"Jaccard index{where}",
                [
                    (name, "index", float(mean_of_finite(values, 0)), *bootstrap(items[name]))
                    for name, values in by_fact.items()
                ],
            )
        counts = self.counts()
        for selected, criterion in dict.fromkeys(
            zip(counts["selected"], counts["criterion"], strict=True)
        ):
            of = counts[(counts["selected"] == selected) & (counts["criterion"] == criterion)]
            columns = {
                "same fact": ("neurons", "agnostic"),
                "other facts": ("neurons", "other_facts"),
            }
            if of["one_script"].any():
                columns["held in one script alone"] = ("share", "one_script")
            yield (
                f"Neurons a fact in {criterion} ({selected})",
                [
                    (name, unit, *_interval(of[column].to_numpy(dtype=float)))
                    for name, (unit, column) in columns.items()
                ],
            )


def comparison_text(examinations: Mapping[str, Examination]) -> str:
    """A table to print: one row per figure, one column per examination, named by its key."""
    frames = {name: examination.to_frame() for name, examination in examinations.items()}
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
        "(mean and 95% interval over facts; effects on paraphrases that chose no neuron; controls",
        f" follow the neurons {WITHOUT}: see lafn_viz.examine)",
    ]
    return "\n".join(lines)


_FORMATS = {"change": "{:+.1%}", "share": "{:.0%}", "index": "{:.3f}", "neurons": "{:.1f}"}
_MISSING = ("index", np.nan, np.nan, np.nan)


def _cell(unit: str, value: float, low: float, high: float) -> str:
    number = _FORMATS[unit]
    if np.isnan(value):
        return "-"
    if np.isnan(low):
        return number.format(value)
    return f"{number} [{number}, {number}]".format(value, low, high)


def _groups(effects: Effects) -> list[tuple[str, tuple[str, ...]]]:
    """The languages outside Latin script, and those in it, where there are any."""
    groups: dict[str, tuple[str, ...]] = {OUTSIDE_LATIN: (), LATIN: ()}
    for code in effects.languages:
        groups[OUTSIDE_LATIN if outside_latin(code) else LATIN] += (code,)
    return [(name, codes) for name, codes in groups.items() if codes]


def _interval(values: Float[np.ndarray, " fact"]) -> Interval:
    return (float(mean_of_finite(values, 0)), *bootstrap(values))


def _changes(
    effects: Effects, name: str, languages: tuple[str, ...], of: Literal["p", "log_p"]
) -> Float[np.ndarray, " fact"]:
    """The mean change of each fact in these languages with one set."""
    return effects.changes(of=of, mean_of=languages)["own fact"][effects.sets.index(name), :, 0]


def _share(effects: Effects, name: str, languages: tuple[str, ...]) -> Interval:
    """The mean change with a set over that with the own set, and its interval.

    The interval of a ratio R of means is that of the mean of R + (a - R b) / mean(b) over facts
    (its linearisation; Cochran 1977, "Sampling Techniques", section 6.3).
    """
    if "own set" not in effects.sets:
        return (np.nan, np.nan, np.nan)
    change, own = (_changes(effects, of, languages, "p") for of in (name, "own set"))
    _, low, high = _interval(own)
    if not (low > 0 or high < 0):
        return (np.nan, np.nan, np.nan)
    both = np.isfinite(change) & np.isfinite(own)
    ratio = change[both].mean() / own[both].mean()
    return _interval(ratio + (change[both] - ratio * own[both]) / own[both].mean())
