"""What each fact of a sweep is asked: prompts that choose its neurons, and prompts that measure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from lafn_viz.core.provenance import Provenance
from lafn_viz.datasets.fact import Fact
from lafn_viz.datasets.facts import FactSet
from lafn_viz.datasets.prompts import Prompt
from lafn_viz.experiments.plan import Plan
from lafn_viz.experiments.stages import count_known, split_prompts
from lafn_viz.models.capabilities import capabilities, provenance
from lafn_viz.models.scoring import AnswerScores, score_answers
from lafn_viz.neurons.neuron_sets import NeuronSet

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


@dataclass(frozen=True)
class Questions:
    """Asks for the facts of a sweep as its plan says.

    `examples` are the facts of which some stand answered before each question.
    """

    facts: FactSet
    plan: Plan
    examples: FactSet

    def split(self, *facts: Fact) -> tuple[list[Prompt], list[Prompt]]:
        """The prompts of some facts that choose neurons, and those that measure them."""
        return split_prompts(
            replace(self.facts, facts=facts), select_on=self.plan.select_on, shots=self.plan.shots,
            seed=self.plan.seed, examples=self.examples,
        )  # fmt: skip


@dataclass(frozen=True)
class AskedFact:
    """The prompts of one fact: those that choose neurons, and the `held_out` ones that measure.

    `control` are the held-out prompts of another fact. `corpus` are prompts of several facts that
    choose neurons, over which a baseline is the mean, and `held_out_corpus` such that measure, for
    ablation. Where only known prompts are used, `answers` are those to all that may choose neurons;
    otherwise it is None.
    """

    choosing: Sequence[Prompt]
    held_out: Sequence[Prompt]
    control: Sequence[Prompt]
    corpus: Sequence[Prompt]
    held_out_corpus: Sequence[Prompt]
    answers: AnswerScores | None = None

    @property
    def left_out(self) -> AnswerScores | None:
        """The answers to the prompts that choose no neurons."""
        if self.answers is None:
            return None
        chosen = set(self.choosing)
        rows = [row for row, p in enumerate(self.answers.prompts) if p not in chosen]
        return replace(
            self.answers, log_prob=self.answers.log_prob[rows], rank=self.answers.rank[rows],
            prompts=tuple(self.answers.prompts[row] for row in rows),
        )  # fmt: skip

    def all_sets(self, sets: Sequence[NeuronSet], model: "TransformerBridge") -> list[NeuronSet]:
        """The sets of the languages, also of those left out, with counts of all prompts asked."""
        if self.answers is None:
            return list(sets)
        by_language = {held.language: held for held in sets}
        origin: Provenance = sets[0].provenance if sets else provenance(model, "sweep")
        subjects = {prompt.language: prompt for prompt in reversed(self.answers.prompts)}
        found = []
        for (fact_id, language), (n_known, n_prompts) in count_known(self.answers).items():
            prompt = subjects[language]
            empty = NeuronSet(
                fact_id=fact_id, relation=prompt.relation, language=language, neurons=frozenset(),
                n_prompts=n_prompts, n_known=n_known, shape=capabilities(model).shape,
                provenance=origin, subject=prompt.subject,
            )  # fmt: skip
            held = by_language.get(language, empty)
            found.append(replace(held, n_prompts=n_prompts, n_known=n_known))
        return found


def ask(
    model: "TransformerBridge",
    questions: Questions,
    fact: Fact,
    control: Fact | None,
    others: Iterable[Fact],
) -> AskedFact:
    """Make the prompts of a fact; where the plan says so, only those that the model answers.

    Args:
        control: another fact of its relation.
        others: further facts of its relation, of which means are taken.
    """
    choosing, held_out = questions.split(fact)
    _, of_control = questions.split(control) if control else ([], [])
    corpus, held_out_corpus = questions.split(fact, *others)
    if not questions.plan.known_only:
        return AskedFact(choosing, held_out, of_control, corpus, held_out_corpus)
    answers = score_answers(model, choosing)
    counts = count_known(answers)
    languages = {code for (_, code), (known, count) in counts.items() if 2 * known > count}
    return AskedFact(
        choosing=_known(answers, languages),
        held_out=_known_of(model, held_out, languages),
        control=_known_of(model, of_control, languages),
        corpus=[prompt for prompt in corpus if prompt.language in languages],
        held_out_corpus=[prompt for prompt in held_out_corpus if prompt.language in languages],
        answers=answers,
    )


def _known_of(
    model: "TransformerBridge", prompts: Sequence[Prompt], languages: set[str]
) -> list[Prompt]:
    """The prompts in some languages that the model answers."""
    asked = [prompt for prompt in prompts if prompt.language in languages]
    return _known(score_answers(model, asked), languages) if asked else []


def _known(answers: AnswerScores, languages: set[str]) -> list[Prompt]:
    rows = torch.nonzero(answers.known)[:, 0].tolist()
    return [answers.prompts[row] for row in rows if answers.prompts[row].language in languages]
