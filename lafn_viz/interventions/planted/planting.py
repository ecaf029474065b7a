"""Ground truth: plant facts whose neurons are known, and see which method finds them.

No tool can say whether its attribution names the right neurons of a trained model. So we add some:

1. Take subjects that the model reads in every language but was never told this relation of (a
   country that it knows by currency and continent, not by capital), and give each an object.
2. Widen the feed-forward layers of a *copy* of the model. An **agnostic** neuron fires when the new
   fact is asked in any language, a **specific** one in exactly one language.
3. Fit what they fire on and learn what they write, in turn, as each changes the other (`wiring`).
   Agnostic neurons write half of the wanted P(object), specific ones the rest; none does it alone.
4. **Decoys**, as many again of each kind: *firing* ones fire on the same prompts and write a random
   direction that is orthogonal to the object's tokens; *writing* ones write as the planted do and
   never fire.

`Planted.check` holds the proof that the plant is true: P without the planted neurons, without as
many decoys, and with one neuron alone. Rules of the game: activations of planted neurons have the
size of the model's own strongest ones, because a ReLU neuron's activation can be scaled at will
(its output weights scale back) and would decide alone what the method "activation" finds.

Caveats: `check` is worth a look before anything else. The model's own context has to pick the
language of what an agnostic neuron writes, so with many languages the names of an object compete.
`recovery` scores attribution methods by what they find.
"""

import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from lafn_viz.attribution.attribute import attribute
from lafn_viz.core.provenance import Provenance
from lafn_viz.datasets.fact_files import load_facts
from lafn_viz.datasets.facts import Fact, FactSet, Prompt
from lafn_viz.interventions.ablation import measure_ablation
from lafn_viz.interventions.planted.weights import (
    HELD_OUT,
    Kind,
    OutputDirections,
    PlantedNeuron,
    Samples,
    fit_detectors,
    inputs_of,
    usual_activation,
    widened,
)
from lafn_viz.models.capabilities import provenance
from lafn_viz.models.loading import load_model, resolve
from lafn_viz.models.packaged import quiet
from lafn_viz.models.scoring import score_answers
from lafn_viz.models.tokens import encode
from lafn_viz.neurons.neuron_sets import Neuron, masks_of

if TYPE_CHECKING:
    import pandas as pd
    from transformer_lens.model_bridge import TransformerBridge

ROUNDS = 4  # of fitting what neurons fire on, with what they write learned between two


@dataclass(frozen=True)
class Planted:
    """A model with facts whose neurons are known.

    `prompts` are those of `facts`, in all languages and paraphrases; `others` are some of other
    facts of the relation. `held_out` are the paraphrases
    that no detector was fitted to. `check` has a row for each fact and language, with mean
    probabilities over paraphrases: `p_before` (the model as it was), `p`, `p_without` (its planted
    neurons zeroed), `p_without_agnostic`, `p_without_decoys` (firing ones), `p_one` (the best of
    its planted neurons alone), and shares of (neuron, prompt) pairs of acting neurons: `fires` on
    fitted and `fires_held_out` on held-out paraphrases, `fires_elsewhere` of the language's
    specific neurons on the same fact in other languages. `drift` is the mean absolute change of
    P(correct) over prompts of other facts in these languages.
    """

    model: "TransformerBridge"
    facts: FactSet
    prompts: tuple[Prompt, ...]
    others: tuple[Prompt, ...]
    spots: tuple[PlantedNeuron, ...]
    held_out: tuple[int, ...]
    check: "pd.DataFrame"
    drift: float
    provenance: Provenance

    def __repr__(self) -> str:
        count = {kind: sum(s.kind == kind for s in self.spots) for kind in get_args(Kind)}
        named = ", ".join(f"{n} {kind}" for kind, n in count.items())
        return (
            f"Planted({len(self.facts)} facts in {len(self.facts.languages)} languages: {named}; "
            f"P {self.check['p'].mean():.2f}, without them {self.check['p_without'].mean():.2f})"
        )

    @property
    def agnostic(self) -> dict[str, frozenset[Neuron]]:
        """The planted neurons of each fact that act in every language."""
        return {fact.id: self.find("agnostic", fact.id) for fact in self.facts}

    @property
    def specific(self) -> dict[tuple[str, str], frozenset[Neuron]]:
        """The planted neurons of each fact that act in exactly one language."""
        return {
            (fact.id, language): self.find("specific", fact.id, language)
            for fact in self.facts
            for language in fact.languages
        }

    @property
    def decoys(self) -> dict[str, dict[str, frozenset[Neuron]]]:
        """The decoys of each kind ("firing", "writing") and fact."""
        kinds: tuple[Kind, ...] = ("firing", "writing")
        return {kind: {fact.id: self.find(kind, fact.id) for fact in self.facts} for kind in kinds}

    def acting(self, fact_id: str, language: str) -> frozenset[Neuron]:
        """The planted neurons that write this fact in this language."""
        return self.find("agnostic", fact_id) | self.find("specific", fact_id, language)

    def find(self, kind: Kind, fact_id: str, language: str | None = None) -> frozenset[Neuron]:
        """The added neurons of one kind and fact; of one language where one is given."""
        return frozenset(
            s.neuron
            for s in self.spots
            if s.kind == kind and s.fact_id == fact_id and language in (None, s.language)
        )


def plant(
    model: str | Path = "embedded",
    *,
    facts: FactSet | None = None,
    relation: str = "capital",
    n_facts: int = 3,
    languages: Sequence[str] | None = None,
    n_agnostic: int = 10,
    n_specific: int = 2,
    layers: Sequence[int] = (1, 2, 3),
    probability: float = 0.9,
    seed: int = 0,
    folder: str | Path | None = None,
) -> Planted:
    """Plant new facts of one relation in a copy of a GPT-2 model with ReLU neurons.

    Args:
        model: name or folder; the embedded model unless told otherwise. It is not changed.
        facts: what the model knows; gives subjects, objects and negatives.
        relation: of the new facts. Their subjects must be known by at least two other relations.
        n_facts: 2 or more, so that each has another fact as its control.
        languages: all in which the subjects are named, unless told otherwise.
        n_agnostic: planted neurons of a fact that act in all languages.
        n_specific: planted neurons of a fact for each language.
        layers: where added neurons go, in turn. In layer 0 a specific detector does not carry over
            to other paraphrases.
        probability: wanted mean P(object) of each fact.
        seed: of subjects, objects, subsets and directions.
        folder: where the new model is saved; by default nowhere for long.

    Raises:
        ValueError: for an option out of its range, a model of another kind, or too few subjects.
    """
    from transformers import AutoTokenizer, GPT2LMHeadModel

    facts = load_facts() if facts is None else facts
    if n_facts < 2 or n_agnostic < 1 or n_specific < 1 or not 0 < probability < 1:
        raise ValueError(
            f"n_facts={n_facts}, n_agnostic={n_agnostic}, n_specific={n_specific}, "
            f"probability={probability}; give at least 2 facts, 1 neuron of each kind, and a "
            "probability between 0 and 1"
        )
    source, local = resolve(str(model))
    base = load_model(model)
    if base.original_model.config.model_type != "gpt2" or base.cfg.act_fn != "relu":
        raise ValueError(
            f"{model} is a {base.original_model.config.model_type} with {base.cfg.act_fn} neurons; "
            "planting needs the GPT-2 architecture with relu, such as 'embedded'"
        )
    if not layers or not set(layers) <= set(range(base.cfg.n_layers)):
        raise ValueError(f"layers={tuple(layers)}; choose from 0 to {base.cfg.n_layers - 1}")
    rng = np.random.default_rng(seed)
    new = _new_facts(base, facts, relation, n_facts, languages, rng)
    spots, width = _spots(new, n_agnostic, n_specific, layers, int(base.cfg.d_mlp))
    with quiet():
        old = GPT2LMHeadModel.from_pretrained(
            source, dtype=torch.float32, local_files_only=local, use_safetensors=True
        ).eval()
        wide = widened(old, width)
        tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=local)
    samples = Samples.of(base, facts, new, relation, rng)
    asked = facts.filter(relation=relation, languages=new.languages).prompts()
    others = tuple(asked[i] for i in sorted(rng.permutation(len(asked))[:600]))
    level = usual_activation(base, others)
    writing = OutputDirections(spots, samples, level, old.config.n_embd)
    inputs = [inputs_of(old, samples)]
    for number in range(ROUNDS):
        # What layers read changes with what is written below: fit to both, before and after. The
        # last round fits only, so that detectors are those of what is written now.
        fit_detectors(wide, spots, samples, inputs, level, rng)
        if number < ROUNDS - 1:
            writing.learn(wide, probability)
            writing.write(wide, rng)
            inputs = [inputs[0], inputs_of(wide, samples)]
    place = tempfile.TemporaryDirectory() if folder is None else nullcontext(folder)
    with place as path, quiet():
        wide.save_pretrained(path)
        tokenizer.save_pretrained(path)
        planted_model = load_model(path)
    planted_model.cfg.model_name = f"{model} with {n_facts} planted facts"
    prompts = tuple(new.prompts())
    check = _check(base, planted_model, prompts, spots)
    return Planted(
        model=planted_model,
        facts=new,
        prompts=prompts,
        others=others,
        spots=spots,
        held_out=HELD_OUT,
        check=check,
        drift=_drift(base, planted_model, facts.filter(languages=new.languages), rng),
        provenance=provenance(
            base, "plant", seed=seed, relation=relation, n_facts=n_facts, n_agnostic=n_agnostic,
            n_specific=n_specific, layers=tuple(layers), probability=probability,
            languages=new.languages, level=level,
        ),
    )  # fmt: skip


def _new_facts(
    base: "TransformerBridge",
    facts: FactSet,
    relation: str,
    n_facts: int,
    languages: Sequence[str] | None,
    rng: np.random.Generator,
) -> FactSet:
    """Subjects known by other relations, with objects that are one token in every language."""
    facts = facts if languages is None else facts.filter(languages=languages)
    wanted = facts.languages
    told = facts.filter(relation=relation)
    known: dict[str, list[Fact]] = {}
    for fact in facts:
        if fact.relation != relation and fact.languages == wanted:
            known.setdefault(fact.subject_id, []).append(fact)
    taken = {fact.subject_id for fact in told} | {fact.object_id for fact in told}
    free = [some[0] for name, some in known.items() if len(some) >= 2 and name not in taken]
    if len(free) < n_facts:
        raise ValueError(
            f"{len(free)} subjects are known by two other relations and not by {relation!r}, "
            f"n_facts={n_facts}; ask for fewer facts or give another relation"
        )
    subjects = [free[i] for i in rng.permutation(len(free))[:n_facts]]
    objects: list[Fact] = []
    for number in rng.permutation(len(told)):
        fact = told.facts[number]
        if fact.languages != wanted or fact.leaks:
            continue
        asked = replace(told, facts=(fact,)).prompts()
        if all(len(encode(base, prompt).answer) == 1 for prompt in asked):
            objects.append(fact)
        if len(objects) == n_facts:
            break
    if len(objects) < n_facts:
        raise ValueError(
            f"{len(objects)} objects of {relation!r} are one token in every language; "
            "ask for fewer facts or languages"
        )
    made = [
        Fact(
            id=f"{relation}/{subject.subject_id}",
            relation=relation,
            subject_id=subject.subject_id,
            object_id=of.object_id,
            source="planted",
            leaks=(),
            held_out=(),
            subject=dict(subject.subject),
            object=dict(of.object),
        )
        for subject, of in zip(subjects, objects, strict=True)
    ]
    return replace(facts, facts=tuple(made))


def _spots(
    new: FactSet, n_agnostic: int, n_specific: int, layers: Sequence[int], d_mlp: int
) -> tuple[tuple[PlantedNeuron, ...], int]:
    """Places of all added neurons, layer after layer in turn, and the new width."""
    used = dict.fromkeys(layers, d_mlp)
    spots = []
    turn = 0
    for fact in new:
        wanted = [(None, n_agnostic), *((language, n_specific) for language in fact.languages)]
        for language, count in wanted:
            true: Kind = "agnostic" if language is None else "specific"
            kinds: tuple[Kind, ...] = (true, "firing", "writing")
            for _ in range(count):
                layer = layers[turn % len(layers)]
                turn += 1
                # A decoy sits beside what it imitates.
                for kind in kinds:
                    spots.append(PlantedNeuron(kind, fact.id, language, Neuron(layer, used[layer])))
                    used[layer] += 1
    return tuple(spots), max(used.values())


def _check(
    base: "TransformerBridge",
    model: "TransformerBridge",
    prompts: Sequence[Prompt],
    spots: Sequence[PlantedNeuron],
) -> "pd.DataFrame":
    """The rows of `Planted.check`."""
    import pandas as pd

    width = int(model.cfg.n_layers), int(model.original_model.config.n_inner)
    before = score_answers(base, prompts).probability.numpy()
    active = attribute(model, prompts, method="activation", position="answer").values > 0
    keys = np.array([(p.fact_id, p.language) for p in prompts])
    held_out = np.array([p.paraphrase in HELD_OUT for p in prompts])
    rows = []
    for fact_id in dict.fromkeys(p.fact_id for p in prompts):
        mine = np.flatnonzero(keys[:, 0] == fact_id)
        asked = [prompts[i] for i in mine.tolist()]
        own = [s for s in spots if s.fact_id == fact_id]
        planted = [s for s in own if s.kind in ("agnostic", "specific")]
        sets = [
            [s.neuron for s in planted],
            [s.neuron for s in planted if s.kind == "agnostic"],
            [s.neuron for s in own if s.kind == "firing"],
            *([s.neuron for s in planted if s is not one] for one in planted),
        ]
        found = measure_ablation(model, asked, masks_of(sets, width))
        usual, changed = (log_prob.exp().numpy() for log_prob in found)
        for language in dict.fromkeys(p.language for p in asked):
            here = keys[mine, 1] == language
            at, elsewhere = mine[here], mine[~here]
            single = [s for s in planted if s.language == language]
            acting = [s for s in planted if s.language in (None, language)]
            p_without, p_agnostic, p_decoys = changed[:3, here].mean(1)
            rows.append(
                {
                    "fact_id": fact_id,
                    "language": language,
                    "p_before": before[at].mean(),
                    "p": usual[here].mean(),
                    "p_without": p_without,
                    "p_without_agnostic": p_agnostic,
                    "p_without_decoys": p_decoys,
                    "p_one": changed[3:, here].mean(1).max(),
                    "fires": _share(active, at[~held_out[at]], acting),
                    "fires_held_out": _share(active, at[held_out[at]], acting),
                    "fires_elsewhere": _share(active, elsewhere, single),
                }
            )
    return pd.DataFrame(rows)


def _share(
    active: Bool[Tensor, "prompt layer neuron"], rows: np.ndarray, spots: Sequence[PlantedNeuron]
) -> float:
    """Share of (prompt, neuron) pairs that fire."""
    layer, number = torch.tensor([s.neuron for s in spots]).T
    return float(active[rows][:, layer, number].float().mean())


def _drift(
    base: "TransformerBridge",
    model: "TransformerBridge",
    facts: FactSet,
    rng: np.random.Generator,
) -> float:
    """Mean absolute change of P over some prompts of the old facts."""
    prompts = facts.prompts()
    some = [prompts[i] for i in sorted(rng.permutation(len(prompts))[:400])]
    before, after = (score_answers(one, some).probability for one in (base, model))
    return float((after - before).abs().mean())
