"""Prove that planted neurons carry the new facts, and that the old facts are as they were.

For each fact and language: P(object) before, with the planted neurons, without them, without its
agnostic ones, without as many decoys, and without all but one; and where the neurons fire. For the
old facts: the mean absolute change of P(correct).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from lafn_viz.attribution.attribute import attribute
from lafn_viz.datasets.facts import FactSet
from lafn_viz.datasets.prompts import Prompt
from lafn_viz.interventions.ablation import measure_ablation
from lafn_viz.interventions.planted.examples import HELD_OUT
from lafn_viz.interventions.planted.weights import PlantedNeuron
from lafn_viz.models.capabilities import capabilities
from lafn_viz.models.scoring import score_answers
from lafn_viz.neurons.neuron_sets import masks_of

if TYPE_CHECKING:
    import pandas as pd
    from transformer_lens.model_bridge import TransformerBridge


def proof_table(
    base: "TransformerBridge",
    model: "TransformerBridge",
    prompts: Sequence[Prompt],
    neurons: Sequence[PlantedNeuron],
) -> "pd.DataFrame":
    """The rows of `Planted.check`."""
    import pandas as pd

    shape = capabilities(model).shape
    p_base = score_answers(base, prompts).probability.numpy()
    fires = attribute(model, prompts, method="activation", position="answer").values > 0
    fact_of = np.array([p.fact_id for p in prompts])
    language_of = np.array([p.language for p in prompts])
    held_out = np.array([p.paraphrase in HELD_OUT for p in prompts])
    rows = []
    for fact_id in dict.fromkeys(p.fact_id for p in prompts):
        of_fact = np.flatnonzero(fact_of == fact_id)
        asked = [prompts[i] for i in of_fact.tolist()]
        added = [n for n in neurons if n.fact_id == fact_id]
        planted = [n for n in added if n.kind in ("agnostic", "specific")]
        masks = masks_of(_sets_without(added, planted), shape)
        measured = measure_ablation(model, asked, masks)
        p, p_changed = (log_prob.exp().numpy() for log_prob in measured)
        for language in dict.fromkeys(p.language for p in asked):
            spoken = language_of[of_fact] == language
            numbers, elsewhere = of_fact[spoken], of_fact[~spoken]
            specific = [n for n in planted if n.language == language]
            acting = [n for n in planted if n.language in (None, language)]
            p_without, p_agnostic, p_decoys = p_changed[:3, spoken].mean(1)
            rows.append(
                {
                    "fact_id": fact_id,
                    "language": language,
                    "p_before": p_base[numbers].mean(),
                    "p": p[spoken].mean(),
                    "p_without": p_without,
                    "p_without_agnostic": p_agnostic,
                    "p_without_decoys": p_decoys,
                    "p_one": p_changed[3:, spoken].mean(1).max(),
                    "fires": _share_firing(fires, numbers[~held_out[numbers]], acting),
                    "fires_held_out": _share_firing(fires, numbers[held_out[numbers]], acting),
                    "fires_elsewhere": _share_firing(fires, elsewhere, specific),
                }
            )
    return pd.DataFrame(rows)


def drift(
    base: "TransformerBridge",
    model: "TransformerBridge",
    facts: FactSet,
    count: int,
    rng: np.random.Generator,
) -> float:
    """Mean absolute change of P(correct) over `count` prompts of the old facts, drawn at random."""
    prompts = facts.prompts()
    drawn = [prompts[i] for i in sorted(rng.permutation(len(prompts))[:count])]
    before, after = (score_answers(scored, drawn).probability for scored in (base, model))
    return float((after - before).abs().mean())


def _sets_without(
    added: Sequence[PlantedNeuron], planted: Sequence[PlantedNeuron]
) -> list[list[tuple[int, int]]]:
    """What to zero: the planted, the agnostic, the firing decoys; then all planted but one."""
    sets = [
        planted,
        [n for n in planted if n.kind == "agnostic"],
        [n for n in added if n.kind == "firing"],
        *([n for n in planted if n is not kept] for kept in planted),
    ]
    return [[n.neuron for n in chosen] for chosen in sets]


def _share_firing(
    fires: Bool[Tensor, "prompt layer neuron"],
    rows: np.ndarray,
    neurons: Sequence[PlantedNeuron],
) -> float:
    """Share of (prompt, neuron) pairs in which the neuron fires."""
    layer, number = torch.tensor([n.neuron for n in neurons]).T
    return float(fires[rows][:, layer, number].float().mean())
