"""How shared facts come about in training: the result of asking every checkpoint the same.

**A turning point** is the step at which a mean over facts, less its control, reaches half of its
highest value, on straight lines between checkpoints. Its interval is that of facts drawn with
replacement (percentiles; Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter
13). It says what other facts of these relations would give in this one run: another run of the
same training is not in it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from lafn_viz.core.arguments import a_path, a_seed, bootstrap_draws, takes
from lafn_viz.core.files import write_json
from lafn_viz.core.json_records import FactError, read_as, value_of
from lafn_viz.core.provenance import Provenance
from lafn_viz.core.result_files import read_result, table_of, table_record
from lafn_viz.core.stats import bootstrap, mean_of_finite, quantile_interval

if TYPE_CHECKING:
    import pandas as pd

DIGITS = 5  # after the decimal point, in a file
KNOWING, TRANSFER, SHARING = "knowing", "transfer", "sharing"
EFFECT, OWN_EFFECT = "effect", "effect of the own set"
OTHER_LANGUAGE, OWN_LANGUAGE = "another language leads", "own language leads"
MEASURES = (KNOWING, TRANSFER, SHARING, EFFECT, OWN_EFFECT, OTHER_LANGUAGE, OWN_LANGUAGE)
VALUES = ("step", "measure", "layer", "fact_id", "value", "control")
PAIRS = ("step", "language", "other_language", "jaccard", "other_fact")
TEXTS = ("measure", "fact_id", "language", "other_language")  # the other columns hold numbers
OUTPUT = -1  # the layer of what no layer of its own has


@dataclass(frozen=True)
class TrainingHistory:
    """What a model knew, shared and lost at each checkpoint of its training.

    `values` has one row per step, `measure`, `layer` and fact: its `value` and that of its
    `control` (NaN where it has none). Measures of no single layer have layer -1.

    - "knowing": share of the prompts answered, in the languages in which training shows the fact.
    - "transfer": the same in languages in which training never shows it.
    - "sharing": Jaccard index of languages of different scripts; control: with another fact.
    - "effect": what the fact loses outside Latin script, in nats, when neurons found without the
      language get their mean over other facts; control: another fact's neurons. "effect of the own
      set": the same of the language's own neurons.
    - "another language leads", "own language leads": share of prompts in which a layer names the
      answer in another language before it does in the prompt's own, or the reverse (see
      `language_lens`); control: the names of other facts.

    `pairs` has one row per step and pair of languages: the mean Jaccard index over facts, and that
    with another fact.
    """

    model: str
    steps: tuple[int, ...]
    values: "pd.DataFrame"
    pairs: "pd.DataFrame"
    provenance: Provenance

    def __repr__(self) -> str:
        turns = self.turning_points()
        said = ", ".join(f"{name} {row.step:,.0f}" for name, row in turns.iterrows())
        n_facts = self.values["fact_id"].nunique()
        return (
            f"TrainingHistory({self.model}: {len(self.steps)} checkpoints up to step "
            f"{self.steps[-1]:,}, {n_facts} facts; half of the highest at step: {said or 'none'})"
        )

    def to_frame(self) -> "pd.DataFrame":
        """One row per step, `measure` and `layer`: means over facts with 95% intervals.

        `value` with `low` and `high`, the same of the `control`, and `difference`, the value less
        its control (or the value itself, where there is none); `n_facts` are counted.
        """
        import pandas as pd

        rows = []
        for key, part in self.values.groupby(["step", "measure", "layer"], sort=False):
            row: dict[str, Any] = dict(zip(("step", "measure", "layer"), key, strict=True))
            value, control = part["value"].to_numpy(float), part["control"].to_numpy(float)
            for name, of in (
                ("", value), ("control", control), ("difference", _excess(value, control)),
            ):  # fmt: skip
                low, high = bootstrap(of, limits=_limits(row["measure"], name))
                ends = (f"{name}_low", f"{name}_high") if name else ("low", "high")
                row |= {name or "value": float(mean_of_finite(of, 0))}
                row |= dict(zip(ends, (low, high), strict=True))
            rows.append(row | {"n_facts": int(np.isfinite(value).sum())})
        return pd.DataFrame(rows)

    @property
    def lens_layer(self) -> int:
        """The layer in which another language leads most beyond its control at the last step."""
        last = self.values["step"] == self.steps[-1]
        rows = self.values[last & (self.values["measure"] == OTHER_LANGUAGE)]
        if rows.empty:
            return OUTPUT
        means = (rows["value"] - rows["control"]).groupby(rows["layer"]).mean()
        return int(means.index[int(means.argmax())])

    def excess(self, measure: str) -> Float[np.ndarray, "step fact"]:
        """Each fact's value less its control (or its value, where there is none) at each step.

        Of the lens, that of `lens_layer`. No row for a measure that was not taken.
        """
        rows = self.values[self.values["measure"] == measure]
        if measure in (OTHER_LANGUAGE, OWN_LANGUAGE):
            rows = rows[rows["layer"] == self.lens_layer]
        keys = {"index": "step", "columns": "fact_id"}
        tables = [
            rows.pivot(**keys, values=name).reindex(self.steps) for name in ("value", "control")
        ]
        return _excess(*(table.to_numpy(float) for table in tables))

    @takes(draws=bootstrap_draws, seed=a_seed)
    def turning_points(self, *, draws: int = 2000, seed: int = 0) -> "pd.DataFrame":
        """The step at which each measure reaches half of its highest value, with a 95% interval.

        Measures whose interval holds zero at their highest have no turning point, and no row: a
        control model may never share anything.

        Returns:
            By `measure`: `step`, `low`, `high`, and the `highest` mean with its interval.
        """
        import pandas as pd

        rng, rows = np.random.default_rng(seed), {}
        steps = np.array(self.steps, dtype=float)
        for measure in (KNOWING, TRANSFER, SHARING, EFFECT, OTHER_LANGUAGE):
            table = self.excess(measure)
            means = mean_of_finite(table, 1)
            if not np.isfinite(means).any():
                continue
            top = int(np.nanargmax(means))
            low, high = bootstrap(table[top])
            if not low > 0:
                continue
            chosen = rng.integers(0, table.shape[1], (draws, table.shape[1]))
            drawn = np.array([_half_way(steps, mean_of_finite(table[:, one], 1)) for one in chosen])
            ends = (float(end) for end in quantile_interval(drawn))
            rows[measure] = (_half_way(steps, means), *ends, float(means[top]), low, high)
        columns = ["step", "low", "high", "highest", "highest_low", "highest_high"]
        turns = pd.DataFrame.from_dict(rows, orient="index", columns=columns, dtype=float)
        return turns.rename_axis("measure")

    @takes(path=a_path)
    def save(self, path: str | Path) -> None:
        """Write the history to a JSON file, which is there as a whole or not at all."""
        tables = {
            name: table_record(table, digits=DIGITS)
            for name, table in (("values", self.values), ("pairs", self.pairs))
        }
        record = {"model": self.model, "steps": self.steps, "provenance": asdict(self.provenance)}
        write_json(Path(path), {**record, **tables})


def load_history(source: str | Path) -> TrainingHistory:
    """Read a history from a file, or that of a model by its name from those that come along.

    Raises:
        FileNotFoundError: if there is no such file and no history of such a model.
        FactError: for a file that does not hold a history.
    """
    where, record = read_result(
        source, folder="results/history", what="history", written_by="TrainingHistory.save"
    )
    tables = {
        name: table_of(
            where, value_of(where, record, name, Mapping[str, Any]), columns, texts=TEXTS
        )
        for name, columns in (("values", VALUES), ("pairs", PAIRS))
    }
    steps = value_of(where, record, "steps", tuple[int, ...])
    if not steps or set(steps) != set(tables["values"]["step"]):
        raise FactError(f"{where}: its steps are not those of its values; make it anew")
    return TrainingHistory(
        model=value_of(where, record, "model", str),
        steps=steps,
        provenance=read_as(where, record.get("provenance"), Provenance),
        **tables,
    )


def _limits(measure: str, name: str) -> tuple[float, float]:
    """The least and the greatest mean of a measure, its control or their difference."""
    if measure in (EFFECT, OWN_EFFECT):
        return (-np.inf, np.inf)
    return (-1.0 if name == "difference" else 0.0, 1.0)


def _excess(value: np.ndarray, control: np.ndarray) -> np.ndarray:
    return value - np.where(np.isfinite(control), control, 0.0)


def _half_way(steps: Float[np.ndarray, " step"], means: Float[np.ndarray, " step"]) -> float:
    """The first step at which the means reach half of their highest; NaN if that is not above 0."""
    finite = np.isfinite(means)
    steps, means = steps[finite], means[finite]
    if not len(means) or not means.max() > 0:
        return float("nan")
    half = means.max() / 2
    at = int(np.argmax(means >= half))
    if at == 0:
        return float(steps[0])
    before, after = means[at - 1 : at + 1]
    share = (half - before) / (after - before)
    return float(steps[at - 1] + share * (steps[at] - steps[at - 1]))
