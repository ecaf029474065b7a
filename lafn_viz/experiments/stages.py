"""The stages of one experiment: which neurons carry a fact in every language, and what do they do?

1. `split_prompts`: some paraphrases of each fact choose neurons, the others are held out.
2. `attribute` (in `attribution`) scores every neuron on the paraphrases that choose.
3. `locate` selects a set of neurons per fact and language and compares the languages.
4. `measure_held_out` ablates the neurons found and asks the held-out paraphrases, beside as many
   random neurons and another fact.

`examine`, each fact of a sweep, and the overlap explorer are made of these stages.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from lafn_viz.attribution.baselines import without_other_facts
from lafn_viz.attribution.scores import NeuronScores
from lafn_viz.datasets.facts import Fact, FactSet, held_out_wordings
from lafn_viz.datasets.prompts import Prompt
from lafn_viz.interventions.ablation import Ablation
from lafn_viz.interventions.effects import Effects, effects
from lafn_viz.interventions.replacements import FROM_CORPUS, CorpusActivations, read_corpus
from lafn_viz.models.calls import reads_model
from lafn_viz.models.capabilities import capabilities
from lafn_viz.models.scoring import AnswerScores
from lafn_viz.models.tokens import Position
from lafn_viz.neurons.criterion import Criterion
from lafn_viz.neurons.neuron_sets import Neuron, Neurons, NeuronSet, select_neurons
from lafn_viz.neurons.overlap_result import Overlap
from lafn_viz.neurons.overlaps import overlap

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

OTHER_FACTS = 8  # at most; enough for a mean, and few beside what an attribution costs


class AskOptions(TypedDict, total=False):
    """The examples before each question: some options of `FactSet.prompts`."""

    shots: int
    seed: int
    examples: FactSet | None


class SelectOptions(TypedDict, total=False):
    """How neurons are selected: the options of `select_neurons`."""

    threshold: float | None
    top: int | None
    fraction: float | None
    share: float


@dataclass(frozen=True)
class LocatedNeurons:
    """The neurons of some facts: a set per fact and language, and how the languages overlap.

    `criterion` says which shared neurons count as agnostic.
    """

    scores: tuple[NeuronScores, ...]
    sets: tuple[NeuronSet, ...]
    criterion: Criterion

    @cached_property
    def overlap(self) -> Overlap:
        """The overlap of the sets. Raises ValueError if no fact is known in two languages."""
        needed = self.criterion
        return overlap(
            self.sets, min_languages=needed.min_languages, min_scripts=needed.min_scripts
        )

    @property
    def agnostic(self) -> Mapping[str, frozenset[Neuron]]:
        """The language-agnostic neurons of each fact that is known in two languages or more."""
        return self.overlap.agnostic if are_comparable(self.sets) else {}


def split_prompts(
    facts: FactSet, *, select_on: Sequence[int] | None = None, **asked: Unpack[AskOptions]
) -> tuple[list[Prompt], list[Prompt]]:
    """Return the prompts that choose neurons, and the held-out prompts that measure them.

    Args:
        select_on: the paraphrases that choose neurons; by default those that the facts do not mark
            as held out.
        asked: the examples before each question, as in `FactSet.prompts`.
    """
    choosing: list[Prompt] = []
    measuring: list[Prompt] = []
    for prompt in facts.prompts(**asked):
        if select_on is None:
            wordings = facts.paraphrases[prompt.relation, prompt.language]
            measures = prompt.paraphrase in held_out_wordings(wordings)
        else:
            measures = prompt.paraphrase not in select_on
        (measuring if measures else choosing).append(prompt)
    return choosing, measuring


def count_known(answers: AnswerScores) -> dict[tuple[str, str], tuple[int, int]]:
    """Return how many prompts of each fact in each language are known, and how many there are.

    A fact is known in a language where more than half of its prompts are (see `NeuronSet.known`).
    """
    keys = [(prompt.fact_id, prompt.language) for prompt in answers.prompts]
    known = Counter(key for key, yes in zip(keys, answers.known.tolist(), strict=True) if yes)
    return {key: (known[key], count) for key, count in Counter(keys).items()}


def corpus_of_others(
    model: "TransformerBridge", facts: FactSet, fact: Fact, asked: Sequence[Prompt]
) -> list[Prompt] | None:
    """Prompts of the next facts of a relation, for the baseline of a fact's prompts.

    Returns None where the baseline is zero, or where they lack a language of the prompts.
    """
    if not capabilities(model).scale_invariant:
        return None
    ids = [other.id for other in facts if other.relation == fact.relation]
    place = ids.index(fact.id)
    chosen = (ids[place + 1 :] + ids[:place])[:OTHER_FACTS]
    others = replace(facts, facts=tuple(facts[fact_id] for fact_id in chosen))
    corpus, _ = split_prompts(others)
    return None if without_other_facts(asked, corpus) else corpus


def locate(
    *scores: NeuronScores,
    min_languages: int | None = None,
    min_scripts: int = 1,
    **select: Unpack[SelectOptions],
) -> LocatedNeurons:
    """Select the neurons of each fact and language, and compare the languages.

    Args:
        scores: of one model; no fact and language in two of them.
        min_languages, min_scripts: see `overlap`.
        select: see `select_neurons`.
    """
    sets = [neurons for part in scores for neurons in select_neurons(part, **select)]
    return LocatedNeurons(scores, tuple(sets), Criterion(min_languages, min_scripts))


def with_other_facts(prompts: Sequence[Prompt], corpus: Sequence[Prompt]) -> list[Prompt]:
    """Return the prompts in whose language the corpus has another fact, to take their place."""
    alone = set(without_other_facts(prompts, corpus))
    return [prompt for prompt in prompts if prompt not in alone]


def are_comparable(sets: Iterable[NeuronSet]) -> bool:
    """Return whether any fact is known in two languages, so that there is an overlap to compute."""
    n_languages = Counter(neurons.fact_id for neurons in sets if neurons.known)
    return any(count > 1 for count in n_languages.values())


@reads_model
def measure_held_out(
    model: "TransformerBridge",
    sets: Mapping[str, Mapping[Any, Neurons]],
    held_out: Sequence[Prompt],
    *,
    control_fact: Sequence[Prompt] = (),
    corpus: Sequence[Prompt] = (),
    how: Ablation = "zero",
    position: Position = "all",
    controls: int = 5,
    other_fact: bool = True,
    seed: int = 0,
    progress: bool = False,
) -> Effects:
    """Ablate the neurons of each fact and measure the paraphrases that did not choose them.

    Args:
        sets: by name, the neurons of each fact, or of each fact in each language (see `effects`).
        held_out: prompts of these facts.
        control_fact: prompts of another fact of the relation, measured under the same ablation.
            Facts of one relation that are measured together need none: each has the next one.
        corpus: prompts whose activations "mean" and "resample" take, for each fact those of the
            others; by default the prompts measured. Prompts in whose language it has no other fact
            are not measured in these ways.
        how, position, controls, other_fact, seed: see `effects`.

    Raises:
        ValueError: if no prompt is left to measure.
    """
    prompts = [*held_out, *control_fact]
    read: CorpusActivations | None = None
    if how in FROM_CORPUS:
        corpus = corpus or prompts
        prompts = with_other_facts(prompts, corpus)
        read = read_corpus(model, corpus, how=how, position=position, without_own=True)
    no_neurons: dict[str, frozenset[Neuron]] = {p.fact_id: frozenset() for p in control_fact}
    return effects(
        model,
        {name: {**no_neurons, **by_fact} for name, by_fact in sets.items()},
        prompts,
        how=how,
        position=position,
        controls=controls,
        other_fact=other_fact,
        corpus=read,
        seed=seed,
        progress=progress,
    )
