"""Choose facts to plant: subjects that the model reads but was never told this relation of.

1. Subjects: known by at least two other relations in all wanted languages, and neither subject nor
   object of the relation itself.
2. Objects: of known facts of the relation, few tokens long in every language (by default one).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from lafn_viz.datasets.fact import Fact
from lafn_viz.datasets.facts import FactSet
from lafn_viz.models.tokens import encode

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


def choose_new_facts(
    base: "TransformerBridge",
    facts: FactSet,
    relation: str,
    n_facts: int,
    languages: Sequence[str] | None,
    max_tokens: int,
    rng: np.random.Generator,
) -> FactSet:
    """Draw subjects and objects, and make a new fact of each two."""
    facts = facts if languages is None else facts.filter(languages=languages)
    subjects = _subjects(facts, relation, n_facts, rng)
    objects = _objects(base, facts, relation, n_facts, max_tokens, rng)
    new = [
        Fact(
            id=f"{relation}/{known.subject_id}",
            relation=relation,
            subject_id=known.subject_id,
            object_id=answer.object_id,
            source="planted",
            leaks=(),
            held_out=(),
            subject=dict(known.subject),
            object=dict(answer.object),
        )
        for known, answer in zip(subjects, objects, strict=True)
    ]
    return replace(facts, facts=tuple(new))


def _subjects(facts: FactSet, relation: str, n_facts: int, rng: np.random.Generator) -> list[Fact]:
    """A fact of another relation for each subject drawn."""
    of_relation, languages = facts.filter(relation=relation), facts.languages
    known: dict[str, list[Fact]] = {}
    for fact in facts:
        if fact.relation != relation and fact.languages == languages:
            known.setdefault(fact.subject_id, []).append(fact)
    taken = {fact.subject_id for fact in of_relation} | {fact.object_id for fact in of_relation}
    free = [
        of_subject[0]
        for name, of_subject in known.items()
        if len(of_subject) >= 2 and name not in taken
    ]
    if len(free) < n_facts:
        raise ValueError(
            f"{len(free)} subjects are known by two other relations and not by {relation!r}, "
            f"n_facts={n_facts}; ask for fewer facts or give another relation"
        )
    return [free[i] for i in rng.permutation(len(free))[:n_facts]]


def _objects(
    base: "TransformerBridge",
    facts: FactSet,
    relation: str,
    n_facts: int,
    max_tokens: int,
    rng: np.random.Generator,
) -> list[Fact]:
    """Facts of the relation whose objects have at most `max_tokens` tokens in every language."""
    of_relation, languages = facts.filter(relation=relation), facts.languages
    objects: list[Fact] = []
    for number in rng.permutation(len(of_relation)):
        fact = of_relation.facts[number]
        if fact.languages != languages or fact.leaks:
            continue
        asked = replace(of_relation, facts=(fact,)).prompts()
        if all(len(encode(base, prompt).answer) <= max_tokens for prompt in asked):
            objects.append(fact)
        if len(objects) == n_facts:
            break
    if len(objects) < n_facts:
        raise ValueError(
            f"{len(objects)} objects of {relation!r} have at most {max_tokens} tokens in every "
            f"language, n_facts={n_facts}; ask for fewer facts or languages, or raise max_tokens"
        )
    return objects
