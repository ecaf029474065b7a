"""Is a set of neurons enough? Give it its values from another language, and ask again.

Zeroing neurons shows that an answer needs them. Whether they are *enough* shows the opposite: take
a fact that the model answers in one language and fails in another, and give the neurons, in the
prompt that fails, the values that they have in the one that is answered. If the neurons carry the
fact in a form that languages share, the answer comes.

1. Each prompt that gets values has a giver in every language: a prompt of the same fact that the
   model answers, of the same paraphrase if it answers that one. In the prompt's own language it is
   another wording: the ceiling.
2. Three answers are scored in the prompt: the name that it asks for, the name in the giver's
   language (a model may write "Paris" where "Париж" is asked for), and the other fact's (below).
3. Beside it stand, in the same places: **another fact's values** (same relation, giver's language,
   same neurons), which should bring out that fact's answer and not this one's; the right values
   on **as many random neurons** of the same layers; **all neurons of these layers**, the most that
   feed-forward neurons of these layers can carry, with this fact's values and another's; and sets
   that you name, such as the neurons specific to the giver's language.
4. Pairs that were answered before show what the same transplant breaks.

These are interchange interventions (Geiger et al. 2021, "Causal Abstractions of Neural Networks",
arXiv 2106.02997) between prompts of different lengths, so values move only between places that mean
the same in both (see `interchange`). What attention reads at these places stays the getter's own.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lafn_viz.core.arguments import a_seed, one_of, takes, whole, wrong
from lafn_viz.core.messages import quoted
from lafn_viz.datasets.arguments import Prompts, as_prompts
from lafn_viz.interventions.interchange import (
    MATCHED_POSITIONS,
    MatchedPosition,
    interchange,
    read_donors,
)
from lafn_viz.interventions.intervene import validated_set
from lafn_viz.interventions.transplant import CONDITIONS, OWN, Transplant
from lafn_viz.interventions.transplant_plan import Pairing, Plan, key_of
from lafn_viz.models.calls import reads_model
from lafn_viz.models.capabilities import capabilities, provenance
from lafn_viz.neurons.neuron_sets import Neuron, Neurons

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

# Neurons by fact, or by fact and the language that gives their values.
NeuronsByFact = Mapping[str, Neurons] | Mapping[tuple[str, str], Neurons]


@reads_model
@takes(position=one_of(MATCHED_POSITIONS), controls=whole(0), seed=a_seed)
def transplant(
    model: "TransformerBridge",
    from_prompts: Prompts,
    to_prompts: Prompts,
    neurons: Neurons | NeuronsByFact,
    *,
    others: Mapping[str, Neurons | NeuronsByFact] | None = None,
    position: MatchedPosition = "answer",
    controls: int = 2,
    seed: int = 0,
) -> Transplant:
    """Give the neurons of each fact the values that they have in other languages, and ask.

    Args:
        from_prompts: what may give values; prompts that the model does not answer give none.
        to_prompts: what gets values, answered or not.
        neurons: the neurons of each fact, by fact_id (`overlap.agnostic`) or by (fact_id, giver's
            language) (`overlap.specific`), or one set for all facts. Facts without neurons are left
            out.
        others: more sets to transplant beside them, by name.
        position: where values are given: where the "answer" begins, at the subject's last token
            ("subject_last"), or at both ("subject_and_answer").
        controls: the number of other facts and of random sets for each pair; the tables hold their
            means. With 0 both are left out.
        seed: of the other facts and the random sets.

    Raises:
        ValueError: for an unknown option, a neuron that the model does not have, a set that holds
            more than half of a layer while random ones are asked for, or when no prompt can get
            values.
    """
    shape = capabilities(model).shape
    givers, getters = as_prompts(from_prompts, "from_prompts"), as_prompts(to_prompts, "to_prompts")
    facts = tuple(dict.fromkeys(prompt.fact_id for prompt in givers))
    sets = {
        name: _by_fact(given, facts, shape)
        for name, given in {OWN: neurons, **_named(others)}.items()
    }
    donors = read_donors(model, givers, position)
    known = [number for number, answered in enumerate(donors.known.tolist()) if answered]
    pairing = Pairing(givers, known, getters, seed)
    own = sets[OWN]
    pairs = [pair for pair in pairing.pairs() if key_of(own, givers[pair.giver]) is not None]
    if not pairs:
        raise ValueError(
            f"none of {len(getters)} prompts has neurons and a giver among the {len(known)} of "
            f"{len(givers)} from_prompts that the model answers; give prompts of the same facts in "
            "a language that knows them, with the neurons of these facts"
        )
    plan = Plan(pairing, pairs, shape)
    for number in range(len(pairs)):
        plan.add_pair(number, sets, controls, seed)
    tables = interchange(
        model, list(plan.asked), plan.rows(), plan.masks(), donors.values, position
    )
    conditions = (*CONDITIONS, *list(sets)[1:])
    log_p, written = plan.tables(conditions, *tables)
    used = [givers[pair.giver] for pair in pairs]
    return Transplant(
        conditions=conditions,
        givers=tuple(used),
        getters=tuple(getters[pair.getter] for pair in pairs),
        n_neurons=np.array([len(own[key_of(own, giver)]) for giver in used], dtype=float),
        log_p=log_p,
        written=written,
        n_givers=(len(known), len(givers)),
        provenance=provenance(model, "transplant", seed=seed, position=position, controls=controls),
    )


def _named(others: Any) -> Mapping[str, Any]:
    if others is not None and not isinstance(others, Mapping):
        raise wrong("others", others, "sets by name, as in {'specific': overlap.specific}")
    taken = [name for name in others or {} if name in CONDITIONS]
    if taken:
        raise ValueError(
            f"others has {quoted(taken)}, which transplant() measures anyway; give another name"
        )
    return others or {}


def _by_fact(
    given: Neurons | NeuronsByFact, facts: Sequence[str], shape: tuple[int, int]
) -> dict[Any, frozenset[Neuron]]:
    """Neurons by fact, or by fact and giver's language; ValueError if the model lacks one."""
    if isinstance(given, Mapping):
        return {key: validated_set(neurons, shape) for key, neurons in given.items()}
    return dict.fromkeys(facts, validated_set(given, shape))
