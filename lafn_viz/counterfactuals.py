"""Edits made of facts: a benchmark that needs no download.

Each fact gets the object of another fact of its relation, the subject stays. What is asked after it
comes from the same facts, so subject spans, paraphrases and separators are exact, in all languages.
"""

import random
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from lafn_viz.cases import EditCase, EditSet, normal
from lafn_viz.facts import Fact, FactSet, Prompt, known, load_facts, shows_answer


def counterfactual_cases(
    facts: FactSet | None = None,
    *,
    relation: str | Iterable[str] | None = "capital",
    n: int = 100,
    seed: int = 0,
    neighbours: int = 3,
) -> EditSet:
    """Edits made of facts: each gets the object of another fact of its relation.

    The new object is never one that the facts give for the subject, has another name than the old
    one in every language, and cannot be read off the subject in any. What the facts do not know
    (a second official language) can be right all the same, so capitals are the default.

    - **edit**: the trained paraphrases; **rephrased**: the held-out ones (of a relation without
      any, the last of several).
    - **locality**: up to `neighbours` other subjects of the relation, first the one whose object
      is the new one, and the other relations of the same subject; one trained paraphrase each, and
      only facts that no case edits, so that all edits can be made at once.
    - **portability**: empty. No relation of the embedded facts follows from another's new object.

    Args:
        facts: the embedded ones by default.
        relation: of the facts to edit, `None` for all.
        n: how many edits.
        seed: of the facts and objects drawn.
        neighbours: how many other subjects of the relation an edit's locality asks for, at most.

    Raises:
        ValueError: for fewer than `n` facts that can be edited, a relation that is not there, or
            `n` or `neighbours` out of range.
    """
    if n < 1 or neighbours < 0:
        raise ValueError(f"n={n}, neighbours={neighbours}; give n of 1 or more, neighbours from 0")
    facts = load_facts() if facts is None else facts
    chosen = facts.relations if relation is None else known("relation", relation, facts.relations)
    draw = random.Random(seed)
    pool = [fact for fact in facts if fact.relation in chosen and not fact.leaks]
    draw.shuffle(pool)
    objects: dict[str, list[Fact]] = defaultdict(list)
    right: dict[tuple[str, str], set[str]] = defaultdict(set)
    for fact in facts:
        objects[fact.relation].append(fact)
        right[fact.relation, fact.subject_id].add(fact.object_id)
    edits: list[tuple[Fact, Fact]] = []
    for fact in pool:
        if len(edits) == n:
            break
        others = objects[fact.relation]
        for other in draw.sample(others, len(others)):
            known_of = right[fact.relation, fact.subject_id]
            if other.object_id not in known_of and _can_replace(other, fact):
                edits.append((fact, other))
                break
    if len(edits) < n:
        raise ValueError(f"n={n}, but {len(edits)} facts can be edited; give 1 to that many")
    edited = {fact.id for fact, _ in edits}
    kept = [fact for fact in facts if fact.id not in edited]
    cases = []
    for fact, new in edits:
        near = [
            other
            for other in kept
            if other.relation == fact.relation and other.subject_id != fact.subject_id
        ]
        draw.shuffle(near)
        near.sort(key=lambda other: other.object_id != new.object_id)
        beside = [
            x for x in kept if x.subject_id == fact.subject_id and x.relation != fact.relation
        ]
        told = {lang: new.object[lang] for lang in fact.languages}
        asked = _asked(facts, replace(fact, object=told))
        around = [_asked(facts, other) for other in (*near[:neighbours], *beside)]
        cases.append(
            EditCase(
                id=f"{fact.id}->{new.object_id}",
                source="facts",
                subject=dict(fact.subject),
                old=dict(fact.object),
                edit={lang: trained for lang, (trained, _) in asked.items()},
                rephrased={lang: held_out for lang, (_, held_out) in asked.items() if held_out},
                locality={
                    lang: tuple(other[lang][0][0] for other in around if lang in other)
                    for lang in asked
                },
            )
        )
    return EditSet(tuple(cases))


def _can_replace(new: Fact, fact: Fact) -> bool:
    """Whether another fact's object is a new one here in every language, and not given away."""
    return all(
        lang in new.object
        and normal(new.object[lang]) != normal(fact.object[lang])
        and not shows_answer(fact.subject[lang], new.object[lang])
        for lang in fact.languages
    )


def _asked(facts: FactSet, fact: Fact) -> dict[str, tuple[tuple[Prompt, ...], tuple[Prompt, ...]]]:
    """The (trained, held-out) prompts of one fact by language; at least one is trained."""
    by_language: dict[str, list[Prompt]] = defaultdict(list)
    for prompt in replace(facts, facts=(fact,)).prompts():
        by_language[prompt.language].append(prompt)
    found = {}
    for lang, prompts in by_language.items():
        held_out = set(facts.paraphrases[fact.relation, lang].held_out) or {len(prompts) - 1}
        if len(held_out) == len(prompts):
            held_out.remove(min(held_out))
        found[lang] = (
            tuple(p for p in prompts if p.paraphrase not in held_out),
            tuple(p for p in prompts if p.paraphrase in held_out),
        )
    return found
