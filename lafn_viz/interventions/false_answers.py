"""Ask for a false answer in place of the true one: another object of the relation.

All paraphrases of a fact in a language get the same false answer, which depends on the seed and not
on what else is asked.
"""

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from lafn_viz.core.skipped import Skipped
from lafn_viz.datasets.facts import FactSet
from lafn_viz.datasets.prompts import Prompt
from lafn_viz.datasets.text import normal
from lafn_viz.models.batching import require_readable
from lafn_viz.models.calls import reads_model
from lafn_viz.models.scoring import score_answers
from lafn_viz.models.tokens import Position

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

FalseAnswers = Literal["random", "plausible"]


@reads_model
def readable_facts(
    model: "TransformerBridge",
    pool: FactSet,
    paraphrases: Sequence[int] | None,
    position: Position,
    skipped: Skipped,
) -> FactSet:
    """The facts whose prompts the model can be asked, in these paraphrases.

    Raises:
        ValueError: if there is none.
    """
    readable = []
    for fact in pool:
        with skipped.unless_it_fails(fact.id):
            prompts = replace(pool, facts=(fact,)).prompts()
            asked = [p for p in prompts if paraphrases is None or p.paraphrase in paraphrases]
            if asked:
                require_readable(model, asked, position=position)
            readable.append(fact)
    if not readable:
        skipped.report(len(pool))
    return replace(pool, facts=tuple(readable))


def true_and_false(
    model: "TransformerBridge",
    pool: FactSet,
    asked: Sequence[Prompt],
    false_answers: FalseAnswers,
    seed: int,
) -> tuple[list[Prompt], list[Prompt]]:
    """The prompts with their true answers, and the same prompts each with a false one.

    False answers are objects of `pool` in the same language. Prompts for which there is none are
    left out of both lists.

    Raises:
        ValueError: if there is no false answer for any prompt.
    """
    objects: dict[str, set[str]] = defaultdict(set)
    true_objects: dict[tuple[str, str], set[str]] = defaultdict(set)
    for fact in pool:
        for language, name in fact.object.items():
            objects[language].add(name)
            true_objects[fact.subject_id, language].add(normal(name, language))
    paraphrases: dict[tuple[str, str], list[Prompt]] = defaultdict(list)
    for prompt in asked:
        paraphrases[prompt.fact_id, prompt.language].append(prompt)
    answers: dict[tuple[str, str], str] = {}
    for (fact_id, language), prompts in paraphrases.items():
        right = true_objects[pool[fact_id].subject_id, language]
        wrong = sorted(x for x in objects[language] if normal(x, language) not in right)
        if wrong and false_answers == "random":
            draw = random.Random(f"{seed} {fact_id} {language}")
            answers[fact_id, language] = draw.choice(wrong)
        elif wrong:
            answers[fact_id, language] = _likeliest(model, prompts, wrong)
    true = [prompt for prompt in asked if (prompt.fact_id, prompt.language) in answers]
    if not true:
        raise ValueError(
            f"there is no false answer for any of {len(asked)} prompts; give paraphrases that "
            "exist and facts with at least two different objects in a language"
        )
    return true, [replace(p, answer=answers[p.fact_id, p.language]) for p in true]


def _likeliest(
    model: "TransformerBridge", prompts: Sequence[Prompt], answers: Sequence[str]
) -> str:
    """The answer with the highest log-probability, mean over the prompts of a fact."""
    candidates = [replace(prompt, answer=answer) for answer in answers for prompt in prompts]
    log_prob = score_answers(model, candidates).log_prob.view(len(answers), len(prompts))
    return answers[int(log_prob.double().mean(1).argmax())]
