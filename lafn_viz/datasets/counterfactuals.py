"""Edits made of facts: what to change, what to ask after it, what to hold still; no download.

The subject stays and gets another object of its relation. What is asked after it comes from the
same facts, so subject spans, paraphrases and separators are exact, in all languages:

- **edit**: the trained paraphrases; **rephrased**: the held-out ones (of a relation without any,
  the last of several).
- **keep**: the subject's other relations, the first `KEEP` trained paraphrases of each.
- **locality**: the same relations, and other subjects of the edited one, each in a held-out
  paraphrase, so that nothing that was held still is asked.
- **portability**: empty. No relation of the embedded facts follows from another's new object.
"""

import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from lafn_viz.core.options import require_one_of
from lafn_viz.datasets.edit_cases import EditCase
from lafn_viz.datasets.edit_sets import EditSet
from lafn_viz.datasets.fact_files import load_facts
from lafn_viz.datasets.facts import Fact, FactSet, Prompt, trained_and_held_out
from lafn_viz.datasets.text import normal, shows_answer

KEEP = 2  # paraphrases of each other relation and language that shall not change


def counterfactual_case(
    facts: FactSet,
    *,
    subject: str,
    relation: str,
    new_object: str | Mapping[str, str],
    languages: str | Iterable[str] | None = None,
) -> EditCase:
    """One edit of one fact. Its locality asks for the subject's other relations alone.

    Args:
        subject: its name in any language, or its id.
        new_object: the name of an object of this relation in any language, or its names by
            language for one that the facts do not hold.
        languages: to edit in; all that name the fact unless given.

    Raises:
        ValueError: for a subject, relation, object or language that does not exist.
    """
    found = facts.filter(relation=relation).filter(subjects=subject)
    ids = {fact.subject_id for fact in found}
    if len(ids) > 1:
        raise ValueError(
            f"the name {subject!r} stands for {len(ids)} subjects of {relation!r}: "
            f"{', '.join(sorted(ids))}; give one of these ids"
        )
    fact = next(iter(found))
    chosen = next(iter(found.filter(languages=languages))).languages
    new = _new_names(facts, fact, relation, new_object, chosen)
    others = [x for x in facts if x.subject_id == fact.subject_id and x.relation != relation]
    return _case(facts, fact, new, "own", others)


def counterfactual_cases(
    facts: FactSet | None = None,
    *,
    relation: str | Iterable[str] | None = "capital",
    n: int = 100,
    seed: int = 0,
    neighbours: int = 3,
) -> EditSet:
    """Edits of many facts: each gets the object of another fact of its relation.

    The new object is never one that the facts give for the subject, has another name than the old
    one in every language, and cannot be read off the subject in any. What the facts do not know
    (a second official language) can be right all the same, so capitals are the default.

    Locality asks for up to `neighbours` other subjects of the relation, first the one whose object
    is the new one, and for the other relations of the same subject; only for facts that no case
    edits, so that all edits can be made at once.

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
    chosen = (
        facts.relations
        if relation is None
        else require_one_of("relation", relation, facts.relations)
    )
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
        cases.append(_case(facts, fact, told, new.object_id, [*near[:neighbours], *beside]))
    return EditSet(tuple(cases))


def _case(
    facts: FactSet, fact: Fact, new: Mapping[str, str], to: str, around: Sequence[Fact]
) -> EditCase:
    """The case of a fact that gets the names `new` in some languages."""
    asked = trained_and_held_out(facts, fact)
    others = [(other, trained_and_held_out(facts, other)) for other in around]
    kept = {
        lang: tuple(
            prompt
            for other, of in others
            if other.subject_id == fact.subject_id and lang in of
            for prompt in of[lang][0][:KEEP]
        )
        for lang in new
    }

    def told(prompts: Iterable[Prompt]) -> tuple[Prompt, ...]:
        return tuple(replace(prompt, answer=new[prompt.language]) for prompt in prompts)

    def last(trained: tuple[Prompt, ...], held_out: tuple[Prompt, ...]) -> Prompt:
        return (held_out or trained)[0]

    return EditCase(
        id=f"{fact.id}->{to}",
        source="facts",
        subject=dict(fact.subject),
        old=dict(fact.object),
        edit={lang: told(asked[lang][0]) for lang in new},
        rephrased={lang: told(asked[lang][1]) for lang in new if asked[lang][1]},
        locality={lang: tuple(last(*of[lang]) for _, of in others if lang in of) for lang in new},
        keep={lang: prompts for lang, prompts in kept.items() if prompts},
        subject_id=fact.subject_id,
        relation=fact.relation,
    )


def _new_names(
    facts: FactSet,
    fact: Fact,
    relation: str,
    new_object: str | Mapping[str, str],
    wanted: Sequence[str],
) -> dict[str, str]:
    """The new object's name in each language that is edited."""
    if isinstance(new_object, str):
        objects = {other.object_id: other.object for other in facts.filter(relation=relation)}
        named = [names for names in objects.values() if new_object in names.values()]
        if not named:
            some = sorted(next(iter(names.values())) for names in objects.values())[:8]
            raise ValueError(
                f"no fact of {relation!r} has the object {new_object!r}; there are, for example, "
                f"{', '.join(some)}; for another give its names by language"
            )
        new_object = named[0]
    missing = [language for language in wanted if not new_object.get(language, "").strip()]
    if missing:
        raise ValueError(
            f"the new object has no name in {', '.join(missing)}; name it there, or leave these "
            "languages out"
        )
    same = [x for x in wanted if new_object[x] == fact.object[x]]
    if len(same) == len(wanted):
        raise ValueError(
            f"{fact.id!r} has the object {fact.object[same[0]]!r} already; give another one"
        )
    return {language: new_object[language] for language in wanted}


def _can_replace(new: Fact, fact: Fact) -> bool:
    """Whether another fact's object is a new one here in every language, and not given away."""
    return all(
        lang in new.object
        and normal(new.object[lang]) != normal(fact.object[lang])
        and not shows_answer(fact.subject[lang], new.object[lang])
        for lang in fact.languages
    )
