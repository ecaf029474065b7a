"""Ground truth: plant facts in known neurons, to see which attribution method finds them.

Nobody can say whether an attribution names the right neurons of a trained model. So add some:

1. Take subjects that the model reads in every language but was never told this relation of (a
   country that it knows by currency and continent, not by capital), and give each an object
   (`new_facts`).
2. Widen the feed-forward layers of a *copy* of the model. An **agnostic** neuron fires when the new
   fact is asked in any language, a **specific** one in exactly one language.
3. Fit when they fire (`weights`, to `examples`) and learn what they write (`output_directions`), in
   turn, as each changes the other. Agnostic neurons write half of the wanted P(object), specific
   ones the rest; no neuron does it alone.
4. Add **decoys**, as many again of each kind: *firing* ones fire on the same prompts and write a
   random direction that is orthogonal to the object's tokens; *writing* ones write as the planted
   neurons do and never fire.
5. Prove the plant (`proof`): `Planted.check` has P without the planted neurons, without as many
   decoys, and with one neuron alone.

The activations of planted neurons are as large as the model's own strong ones. This matters because
a ReLU neuron's activation can be scaled at will, its output weights by the inverse, and the scale
alone would decide what the method "activation" finds.

Caveats: look at `check` before anything else. The model's own context has to pick the language of
what an agnostic neuron writes, so with many languages the names of an object compete. In a gated
model directions are learned last, for the detectors as they are, and what is written may make
neurons of later layers fire where they should not: `fires_elsewhere` and `drift` show it.
`recovery` scores attribution methods by what they find.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from lafn_viz.core.arguments import (
    a_path,
    a_seed,
    a_text,
    or_none,
    real,
    some_languages,
    some_texts,
    some_wholes,
    takes,
    whole,
)
from lafn_viz.core.messages import told
from lafn_viz.core.provenance import Provenance
from lafn_viz.datasets.arguments import Facts, as_facts
from lafn_viz.datasets.fact_files import load_facts
from lafn_viz.datasets.facts import FactSet
from lafn_viz.datasets.languages import code_or_tag
from lafn_viz.datasets.prompts import Prompt
from lafn_viz.interventions.planted.copies import read_model, saved_and_loaded, widen_ffn
from lafn_viz.interventions.planted.examples import HELD_OUT, DetectorExamples, ffn_inputs
from lafn_viz.interventions.planted.feed_forward import SUPPORTED, FeedForward
from lafn_viz.interventions.planted.new_facts import choose_new_facts
from lafn_viz.interventions.planted.output_directions import OutputDirections
from lafn_viz.interventions.planted.proof import drift, proof_table
from lafn_viz.interventions.planted.weights import (
    Kind,
    PlantedNeuron,
    fit_detectors,
    strong_activation,
)
from lafn_viz.models.capabilities import capabilities, provenance
from lafn_viz.neurons.neuron_sets import Neuron

if TYPE_CHECKING:
    import pandas as pd
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import PreTrainedModel

ROUNDS = 4  # of fitting detectors, with output directions learned between two of them


def _a_name_or_folder(name: str, given: Any) -> str | Path:
    """Read where a model is. A loaded model is none: its weights are read anew to be changed."""
    if not isinstance(given, str | Path):
        raise TypeError(
            f"{told(name, given)}; give the name or the folder of a model, as in plant('embedded')"
        )
    return given


@dataclass(frozen=True)
class Planted:
    """A model with facts whose neurons are known.

    `prompts` are those of `facts`, in all languages and paraphrases; `others` are some of other
    facts of the relation. `spots` are the added neurons, decoys included. No detector was fitted to
    the paraphrases `held_out`.

    `check` has a row for each fact and language, with mean probabilities over paraphrases:
    `p_before` (the model as it was), `p`, `p_without` (its planted neurons zeroed),
    `p_without_agnostic`, `p_without_decoys` (the firing ones), and `p_one` (the best of its planted
    neurons alone); and with shares of (neuron, prompt) pairs in which acting neurons fire: `fires`
    on fitted and `fires_held_out` on held-out paraphrases, `fires_elsewhere` for the language's
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
        count = {kind: sum(n.kind == kind for n in self.spots) for kind in get_args(Kind)}
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
        """The added neurons of one kind and fact, in one language or in all (None)."""
        code = None if language is None else code_or_tag(language)
        return frozenset(
            planted.neuron
            for planted in self.spots
            if planted.kind == kind
            and planted.fact_id == fact_id
            and code in (None, planted.language)
        )


@takes(
    model=_a_name_or_folder, relation=a_text, n_facts=whole(), languages=or_none(some_languages),
    n_agnostic=whole(), n_specific=whole(), layers=or_none(some_wholes(0)), probability=real(),
    max_tokens=whole(1), n_negatives=whole(12), seed=a_seed, folder=or_none(a_path),
)  # fmt: skip
def plant(
    model: str | Path = "embedded",
    *,
    facts: Facts | None = None,
    relation: str = "capital",
    n_facts: int = 3,
    languages: str | Sequence[str] | None = None,
    n_agnostic: int = 10,
    n_specific: int = 2,
    layers: int | Sequence[int] | None = None,
    probability: float = 0.9,
    max_tokens: int = 1,
    n_negatives: int = 2400,
    seed: int = 0,
    folder: str | Path | None = None,
) -> Planted:
    """Plant new facts of one relation in a copy of a model.

    The model is a GPT-2 with ReLU neurons, such as the embedded one, or has gated neurons, such as
    Gemma, Llama, Qwen, SmolLM2 and OLMo 2. The copy is in float32.

    Args:
        model: name or folder of the model; it is not changed.
        facts: what the model knows; gives subjects, objects and negatives.
        relation: of the new facts. Their subjects must be known by at least two other relations.
        n_facts: 2 or more, so that each has another fact as its control.
        languages: of the new facts; by default all in which the subjects have a name.
        n_agnostic: number of planted neurons of a fact that act in all languages.
        n_specific: number of planted neurons of a fact for each language.
        layers: where neurons are added, in turn; by default all but the first of up to six, and
            four in the second half of a deeper model, where the answer position has read the
            subject. In layer 0 a specific detector does not carry over to other paraphrases.
        probability: wanted mean P(object) of each fact.
        max_tokens: most tokens of an object in any language. All are learned, but planted neurons
            fire before the first one only.
        n_negatives: prompts of other facts, at most, on which detectors learn to be silent; a
            quarter as many prompts of the relation are `others`, and a sixth as many give `drift`.
            A few hundred are enough for a large model, which takes long to read them.
        seed: of subjects, objects, subsets and directions.
        folder: where to save the new model; by default it is not kept on disk.

    Raises:
        ValueError: for an option out of its range, a model of another kind, or too few subjects.
        TypeError: for a loaded model.
    """
    facts = load_facts() if facts is None else as_facts(facts)
    languages = None if languages is None else some_texts("languages", languages)
    wanted = None if layers is None else some_wholes(0)("layers", layers)
    if n_facts < 2 or n_agnostic < 1 or n_specific < 1 or not 0 < probability < 1:
        raise ValueError(
            f"n_facts={n_facts}, n_agnostic={n_agnostic}, n_specific={n_specific}, "
            f"probability={probability}; give at least 2 facts, 1 neuron of each kind, and a "
            "probability between 0 and 1"
        )
    base, original, chosen = read_model(model, wanted)
    rng = np.random.default_rng(seed)
    new = choose_new_facts(base, facts, relation, n_facts, languages, max_tokens, rng)
    d_mlp = capabilities(base).d_mlp
    neurons, d_mlp = _place_neurons(new, n_agnostic, n_specific, chosen, d_mlp)
    wide = widen_ffn(original, d_mlp)
    examples = DetectorExamples.of(base, facts, new, relation, n_negatives, rng)
    asked = facts.filter(relation=relation, languages=new.languages).prompts()
    others = tuple(asked[i] for i in sorted(rng.permutation(len(asked))[: n_negatives // 4]))
    level = strong_activation(base, others)
    _fit(base, original, wide, neurons, examples, level, probability, rng)
    planted_model = saved_and_loaded(wide, model, folder)
    planted_model.cfg.model_name = f"{model} with {n_facts} planted facts"
    prompts = tuple(new.prompts())
    check = proof_table(base, planted_model, prompts, neurons)
    return Planted(
        model=planted_model,
        facts=new,
        prompts=prompts,
        others=others,
        spots=neurons,
        held_out=HELD_OUT,
        check=check,
        drift=drift(
            base, planted_model, facts.filter(languages=new.languages), n_negatives // 6, rng
        ),
        provenance=provenance(
            base, "plant", seed=seed, relation=relation, n_facts=n_facts, n_agnostic=n_agnostic,
            n_specific=n_specific, layers=chosen, probability=probability,
            languages=new.languages, level=level,
        ),
    )  # fmt: skip


def _place_neurons(
    new: FactSet, n_agnostic: int, n_specific: int, layers: Sequence[int], d_mlp: int
) -> tuple[tuple[PlantedNeuron, ...], int]:
    """Number all added neurons, one layer after another in turn; and the new d_mlp."""
    used = dict.fromkeys(layers, d_mlp)
    neurons = []
    turn = 0
    for fact in new:
        groups = [(None, n_agnostic), *((language, n_specific) for language in fact.languages)]
        for language, count in groups:
            acting: Kind = "agnostic" if language is None else "specific"
            kinds: tuple[Kind, ...] = (acting, "firing", "writing")
            for _ in range(count):
                layer = layers[turn % len(layers)]
                turn += 1
                # A decoy sits beside the neuron that it imitates.
                for kind in kinds:
                    neuron = Neuron(layer, used[layer])
                    neurons.append(PlantedNeuron(kind, fact.id, language, neuron))
                    used[layer] += 1
    return tuple(neurons), max(used.values())


def _fit(
    base: "TransformerBridge",
    original: "PreTrainedModel",
    wide: "PreTrainedModel",
    neurons: Sequence[PlantedNeuron],
    examples: DetectorExamples,
    level: float,
    probability: float,
    rng: np.random.Generator,
) -> None:
    """Fit detectors and learn output directions in turn, and write both into the wide model."""
    net, layers = FeedForward.of(wide), {planted.neuron.layer for planted in neurons}
    unembedding = capabilities(base).unembedding
    if unembedding is None:
        raise ValueError(
            "the model's un-embedding is more than a matrix, a bias and a cap, so nothing can be "
            f"planted in it; planting needs {SUPPORTED}"
        )
    inputs = [ffn_inputs(FeedForward.of(original), examples, layers)]
    directions = OutputDirections(net, unembedding, neurons, examples, inputs[0], level)
    for number in range(ROUNDS):
        # What layers read changes with what is written below, so detectors are fitted again. The
        # last round of a plain network only fits: detectors belong to the directions written last.
        fit_detectors(net, neurons, examples, inputs, level, rng)
        if net.gated or number < ROUNDS - 1:
            directions.learn(probability, rng)
            directions.write(rng)
        if number < ROUNDS - 1:
            now = ffn_inputs(net, examples, layers)
            # Norms make P depend on how loud each neuron is as the model reads now. A ReLU network
            # learns from both, before and after.
            inputs = [now] if net.gated else [inputs[0], now]
