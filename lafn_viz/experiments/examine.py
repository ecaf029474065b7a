"""The main job, end to end: does a model keep its facts in neurons of every language?

1. Attribute every fact in every language, on some of its paraphrases.
2. Select neurons, compare languages; the same for other facts of the relation (control).
3. Zero the agnostic neurons of each fact and ask it in the paraphrases that did not select them;
   beside it as many random neurons of the same layers, and the same neurons on another fact.

Run it on the embedded model and on its control, which knows the same facts without transfer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from lafn_viz.attribution.attribute import attribute
from lafn_viz.attribution.scores import NeuronScores
from lafn_viz.core.stats import bootstrap
from lafn_viz.datasets.facts import FactSet
from lafn_viz.datasets.languages import SCRIPTS
from lafn_viz.interventions.effects import effects
from lafn_viz.models.scoring import score_answers
from lafn_viz.neurons.neuron_sets import select_neurons
from lafn_viz.neurons.overlaps import Overlap, overlap

if TYPE_CHECKING:
    import pandas as pd
    from transformer_lens.model_bridge import TransformerBridge


@dataclass(frozen=True)
class Examination:
    """What was found in one model.

    `known` is the share of all prompts answered. `own`, `random` and `other` are for each fact the
    relative change of P(correct) when its agnostic neurons are zeroed: on the fact itself, with
    random neurons instead, and on another fact (NaN: it has none). `own_not_latin` is `own` in the
    languages of other scripts, which share no spelling with the rest.
    """

    model: str
    known: float
    scores: NeuronScores
    overlap: Overlap
    own: Float[np.ndarray, " fact"]
    own_not_latin: Float[np.ndarray, " fact"]
    random: Float[np.ndarray, " fact"]
    other: Float[np.ndarray, " fact"]

    def to_frame(self) -> "pd.DataFrame":
        """One row a figure: value and 95% bootstrap interval over facts."""
        import pandas as pd

        counts = np.array([len(neurons) for neurons in self.overlap.agnostic.values()], dtype=float)
        rows = [("prompts answered", self.known, np.nan, np.nan)]
        everywhere, across = self.overlap.by_fact(), self.overlap.by_fact(across_scripts=True)
        for name, values in (
            ("agnostic neurons a fact", counts),
            ("Jaccard, same fact", everywhere["same fact"]),
            ("Jaccard, other fact (control)", everywhere["other fact"]),
            ("Jaccard, chance (control)", everywhere["chance"]),
            ("Jaccard across scripts, same fact", across["same fact"]),
            ("Jaccard across scripts, other fact (control)", across["other fact"]),
            ("P(correct), agnostic zeroed", self.own),
            ("P(correct) outside Latin script, agnostic zeroed", self.own_not_latin),
            ("P(correct), as many random zeroed (control)", self.random),
            ("P(correct) of another fact, agnostic zeroed (control)", self.other),
        ):
            there = values[np.isfinite(values)]
            mean = float(there.mean()) if len(there) else np.nan
            rows.append((name, mean, *bootstrap(values)))
        return pd.DataFrame(rows, columns=["figure", "value", "low", "high"]).set_index("figure")


def examine(
    model: "TransformerBridge",
    facts: FactSet,
    *,
    select_on: Sequence[int] = (0, 1, 2, 3),
    fraction: float = 0.02,
    min_languages: int | None = 4,
    controls: int = 5,
    seed: int = 0,
    progress: bool = False,
) -> Examination:
    """Attribute, compare and intervene on some facts of one relation.

    Args:
        select_on: the paraphrases that choose the neurons; the others measure their effect.
        fraction: of all neurons, kept for each prompt (see `select_neurons`).
        min_languages: from which on a shared neuron counts as agnostic (see `overlap`).
        controls: random neuron sets for each fact.
    """
    prompts = facts.prompts()
    chosen = [prompt for prompt in prompts if prompt.paraphrase in select_on]
    rest = [prompt for prompt in prompts if prompt.paraphrase not in select_on]
    if not chosen or not rest:
        raise ValueError(
            f"select_on={tuple(select_on)} leaves {len(chosen)} prompts to choose neurons and "
            f"{len(rest)} to measure them; both need some"
        )
    scores = attribute(model, chosen, progress=progress)
    found = overlap(select_neurons(scores, fraction=fraction), min_languages=min_languages)
    zeroed = effects(
        model, {"agnostic": found.agnostic}, rest, controls=controls, seed=seed, progress=progress
    )
    changes = zeroed.changes(mean_of=zeroed.languages)
    not_latin = [language for language in zeroed.languages if language in SCRIPTS]
    return Examination(
        model=scores.provenance.model,
        known=score_answers(model, prompts).known.float().mean().item(),
        scores=scores,
        overlap=found,
        own=changes["own fact"][0, :, 0],
        own_not_latin=zeroed.changes(mean_of=not_latin)["own fact"][0, :, 0],
        random=changes["random neurons"][0, :, 0],
        other=changes["other fact"][0, :, 0],
    )
