"""The main job, end to end: does a model keep its facts in neurons of every language?

1. Attribute every fact in every language, on some of its paraphrases.
2. Select neurons and compare languages; do the same for other facts of the relation (control).
3. Zero the agnostic neurons of each fact and ask it in the paraphrases that did not choose them.
   Beside it stand as many random neurons of the same layers, and the same neurons on another fact.

Run it on the embedded model and on its control, which knows the same facts without transfer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from lafn_viz.attribution.attribute import attribute
from lafn_viz.attribution.scores import NeuronScores
from lafn_viz.core.arguments import a_flag, a_seed, some_wholes, takes, whole
from lafn_viz.core.messages import quoted
from lafn_viz.core.stats import bootstrap
from lafn_viz.datasets.arguments import Facts, as_facts
from lafn_viz.datasets.languages import outside_latin
from lafn_viz.experiments.stages import locate, measure_held_out, split_prompts
from lafn_viz.models.calls import reads_model
from lafn_viz.models.scoring import score_answers
from lafn_viz.neurons.neuron_sets import SELECTION
from lafn_viz.neurons.overlap_result import Overlap
from lafn_viz.neurons.overlaps import a_min_languages

if TYPE_CHECKING:
    import pandas as pd
    from transformer_lens.model_bridge import TransformerBridge

COLUMN = 26  # characters of a column of numbers in `comparison_text`


@dataclass(frozen=True)
class Examination:
    """What one model does with some facts: what it knows, shares between languages, and loses.

    `known` is the share of all prompts answered. `own`, `random` and `other` are for each fact the
    relative change of P(correct) when its agnostic neurons are zeroed: on the fact itself, with
    random neurons instead, and on another fact (NaN if the fact has no agnostic neurons).
    `own_not_latin` is `own` in the languages of other scripts, which share no spelling with the
    rest.
    """

    model: str
    known: float
    scores: NeuronScores
    overlap: Overlap
    own: Float[np.ndarray, " fact"]
    own_not_latin: Float[np.ndarray, " fact"]
    random: Float[np.ndarray, " fact"]
    other: Float[np.ndarray, " fact"]

    def __repr__(self) -> str:
        return f"Examination({len(self.overlap.facts)} facts in {self.model})"

    def to_frame(self) -> "pd.DataFrame":
        """One row per figure: its value and 95% interval over facts."""
        import pandas as pd

        counts = np.array([len(neurons) for neurons in self.overlap.agnostic.values()], dtype=float)
        jaccard = self.overlap.by_fact()
        across_scripts = self.overlap.by_fact(across_scripts=True)
        # Means over pairs of facts are no independent items.
        items = {
            "Jaccard, other fact (control)": self.overlap.items()["other fact"],
            "Jaccard across scripts, other fact (control)": self.overlap.items(across_scripts=True)[
                "other fact"
            ],
        }
        values_by_fact = {
            "agnostic neurons a fact": counts,
            "Jaccard, same fact": jaccard["same fact"],
            "Jaccard, other fact (control)": jaccard["other fact"],
            "Jaccard, chance (control)": jaccard["chance"],
            "Jaccard across scripts, same fact": across_scripts["same fact"],
            "Jaccard across scripts, other fact (control)": across_scripts["other fact"],
            "P(correct), agnostic zeroed": self.own,
            "P(correct) outside Latin script, agnostic zeroed": self.own_not_latin,
            "P(correct), as many random zeroed (control)": self.random,
            "P(correct) of another fact, agnostic zeroed (control)": self.other,
        }
        rows = [("prompts answered", self.known, np.nan, np.nan)]
        for name, values in values_by_fact.items():
            finite = values[np.isfinite(values)]
            mean = float(finite.mean()) if len(finite) else np.nan
            rows.append((name, mean, *bootstrap(items.get(name, values))))
        return pd.DataFrame(rows, columns=["figure", "value", "low", "high"]).set_index("figure")

    def to_text(self) -> str:
        """The figures as a table to print."""
        return comparison_text({self.model: self})


@reads_model
@takes(
    fraction=SELECTION["fraction"], min_languages=a_min_languages, controls=whole(0),
    seed=a_seed, progress=a_flag,
)  # fmt: skip
def examine(
    model: "TransformerBridge",
    facts: Facts,
    *,
    select_on: int | Sequence[int] = (0, 1, 2, 3),
    fraction: float = 0.02,
    min_languages: int | None = 4,
    controls: int = 5,
    seed: int = 0,
    progress: bool = False,
) -> Examination:
    """Attribute some facts of one relation, compare languages, and ablate what they share.

    Args:
        select_on: the paraphrases that choose neurons; the others measure their effect.
        fraction: the share of all neurons kept for each prompt (see `select_neurons`).
        min_languages: the number of languages from which on a shared neuron counts as agnostic
            (see `overlap`).
        controls: the number of random neuron sets for each fact.
        seed: of the random neurons.
        progress: show a bar for each stage.

    Raises:
        ValueError: if `select_on` leaves no prompt to choose neurons or none to measure them.
    """
    facts, numbers = as_facts(facts), some_wholes(0)("select_on", select_on)
    choosing, held_out = split_prompts(facts, select_on=numbers)
    if not choosing or not held_out:
        raise ValueError(
            f"select_on={quoted(numbers)} leaves {len(choosing)} prompts to choose neurons and "
            f"{len(held_out)} to measure them; both need some"
        )
    scores = attribute(model, choosing, progress=progress)
    overlap = locate(scores, fraction=fraction, min_languages=min_languages).overlap
    effects = measure_held_out(
        model, {"agnostic": overlap.agnostic}, held_out,
        controls=controls, seed=seed, progress=progress,
    )  # fmt: skip
    changes = effects.changes(mean_of=effects.languages)
    not_latin = [language for language in effects.languages if outside_latin(language)]
    return Examination(
        model=scores.provenance.model,
        known=score_answers(model, facts.prompts()).known.float().mean().item(),
        scores=scores,
        overlap=overlap,
        own=changes["own fact"][0, :, 0],
        own_not_latin=effects.changes(mean_of=not_latin)["own fact"][0, :, 0],
        random=changes["random neurons"][0, :, 0],
        other=changes["other fact"][0, :, 0],
    )


def comparison_text(examinations: Mapping[str, Examination]) -> str:
    """A table to print: one row per figure, one column per examination, named by its key."""
    tables = {name: examination.to_frame() for name, examination in examinations.items()}
    figures = list(next(iter(tables.values())).index)
    width = max(len(figure) for figure in figures)
    lines = [" " * width + "".join(f"{name:>{COLUMN}}" for name in tables)]
    for figure in figures:
        cells = [_cell(figure, *table.loc[figure]) for table in tables.values()]
        lines.append(f"{figure:<{width}}" + "".join(f"{cell:>{COLUMN}}" for cell in cells))
    lines.append("(mean and 95% interval over facts; effects on paraphrases that chose no neuron)")
    return "\n".join(lines)


def _cell(figure: str, value: float, low: float, high: float) -> str:
    if figure == "prompts answered":
        return f"{value:.1%}"
    number_format = "{:+.1%}" if figure.startswith("P(correct)") else "{:.3f}"
    if figure.startswith("agnostic"):
        number_format = "{:.1f}"
    if np.isnan(value):
        return "no such neurons"
    return f"{number_format} [{number_format}, {number_format}]".format(value, low, high)
