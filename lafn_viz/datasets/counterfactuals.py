"""Edit cases made from facts: what is edited, what is asked afterwards, what must stay the same.

The subject stays and gets another object of its relation. All questions come from the same facts,
so that subject spans, paraphrases and separators are exact in every language:

- **edit**: the trained paraphrases; **rephrased**: the held-out ones (of a relation without any,
  the last of several).
- **keep**: the subject's other relations, the first `KEEP` trained paraphrases of each, and the
  first `KEEP_UNKNOWN` of relations of which the facts do not know its object.
- **locality**: the same relations, and the edited relation of other subjects, each in a held-out
  paraphrase, so that no prompt is asked that was kept during the edit.
- **portability**: empty. No relation of the embedded facts follows from another's new object.
"""

import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from lafn_viz.core.arguments import (
    a_seed,
    a_text,
    or_none,
    some_languages,
    some_texts,
    takes,
    whole,
    wrong,
)
from lafn_viz.core.options import nearest, require_one_of
from lafn_viz.datasets.arguments import Facts, as_facts
from lafn_viz.datasets.edit_cases import EditCase
from lafn_viz.datasets.edit_sets import EditSet
from lafn_viz.datasets.fact import Fact
from lafn_viz.datasets.fact_files import load_facts
from lafn_viz.datasets.facts import FactSet, trained_and_held_out
from lafn_viz.datasets.languages import by_code
from lafn_viz.datasets.names import is_named
from lafn_viz.datasets.prompts import Prompt
from lafn_viz.datasets.text import same_text, shows_answer

KEEP = 2  # paraphrases of each other relation and language
KEEP_UNKNOWN = 1  # and of each relation of which the facts know no object of the subject


@takes(
    subject=a_text, relation=a_text, languages=or_none(some_languages), neighbours=whole(0),
    seed=a_seed,
)  # fmt: skip
def counterfactual_case(
    facts: Facts,
    *,
    subject: str,
    relation: str,
    new_object: str | Mapping[str, str],
    languages: str | Iterable[str] | None = None,
    neighbours: int = 0,
    seed: int = 0,
) -> EditCase:
    """Make the edit of one fact. Its locality asks for the subject's other relations.

    Args:
        subject: its name in any language, or its id.
        new_object: the name, in any language, of an object of this relation; or names by language,
            for an object that the facts do not hold.
        languages: the languages to edit in; all that name the fact by default. Here and in
            `new_object` they may have any form of a tag.
        neighbours: for how many other subjects of the relation the locality asks too, as in
            `counterfactual_cases`.
        seed: for the draw of these subjects.

    Raises:
        ValueError: for a subject, relation, object or language that does not exist.
    """
    facts = as_facts(facts)
    new_object = _read_names(new_object)
    matching = facts.filter(relation=relation).filter(subjects=subject)
    ids = {fact.subject_id for fact in matching}
    if len(ids) > 1:
        raise ValueError(
            f"the name {subject!r} stands for {len(ids)} subjects of {relation!r}: "
            f"{', '.join(sorted(ids))}; give one of these ids"
        )
    fact = next(iter(matching))
    chosen = next(iter(matching.filter(languages=languages))).languages
    names = _new_names(facts, fact, relation, new_object, chosen)
    with_names = (x for x in facts if x.relation == relation and names.items() <= x.object.items())
    new_id = next((x.object_id for x in with_names), "")
    around = _around(fact, new_id, facts.facts, neighbours, random.Random(seed))
    return _case(facts, fact, names, "own", around)


def _read_names(new_object: Any) -> str | Mapping[str, str]:
    """Read the new object: a name in any language, or names by language."""
    by_language = new_object if isinstance(new_object, Mapping) else {"": new_object}
    if not all(isinstance(part, str) for pair in by_language.items() for part in pair):
        raise wrong("new_object", new_object, "a name, or names by language as in {'en': 'Rome'}")
    return new_object


@takes(
    relation=or_none(some_texts), n=whole(1), seed=a_seed, neighbours=whole(0)
)  # fmt: skip
def counterfactual_cases(
    facts: Facts | None = None,
    *,
    relation: str | Iterable[str] | None = "capital",
    n: int = 100,
    seed: int = 0,
    neighbours: int = 3,
) -> EditSet:
    """Make edits of many facts: each fact gets the object of another fact of its relation.

    The new object is never one that the facts give for the subject. In every language its name
    differs from the old one, and the subject does not give it away. An object that the facts do not
    know (a second official language) can be right all the same, so capitals are the default.

    Locality asks for up to `neighbours` other subjects of the relation, first the one whose object
    is the new one, and for the other relations of the same subject. It asks only for facts that no
    case edits, so that all edits can be made at once.

    Args:
        facts: the embedded ones by default.
        relation: the relations of the facts to edit, `None` for all.
        n: how many edits.
        seed: for the draws of facts and objects.
        neighbours: for how many other subjects of the relation the locality asks, at most.

    Raises:
        ValueError: for fewer than `n` facts that can be edited, an unknown relation, or `n` or
            `neighbours` out of range.
    """
    facts = load_facts() if facts is None else as_facts(facts)
    relations = (
        facts.relations
        if relation is None
        else require_one_of("relation", relation, facts.relations)
    )
    draw = random.Random(seed)
    edits = _draw_edits(facts, relations, n, draw)
    if len(edits) < n:
        raise ValueError(f"n={n}, but {len(edits)} facts can be edited; give 1 to that many")
    edited = {fact.id for fact, _ in edits}
    unedited = [fact for fact in facts if fact.id not in edited]
    cases = []
    for fact, new in edits:
        around = _around(fact, new.object_id, unedited, neighbours, draw)
        names = {language: new.object[language] for language in fact.languages}
        cases.append(_case(facts, fact, names, new.object_id, around))
    return EditSet(tuple(cases))


def _draw_edits(
    facts: FactSet, relations: Sequence[str], n: int, draw: random.Random
) -> list[tuple[Fact, Fact]]:
    """Up to `n` pairs of a fact and the fact whose object it gets."""
    pool = [fact for fact in facts if fact.relation in relations and not fact.leaks]
    draw.shuffle(pool)
    by_relation: dict[str, list[Fact]] = defaultdict(list)
    right: dict[tuple[str, str], set[str]] = defaultdict(set)
    for fact in facts:
        by_relation[fact.relation].append(fact)
        right[fact.relation, fact.subject_id].add(fact.object_id)
    edits: list[tuple[Fact, Fact]] = []
    for fact in pool:
        if len(edits) == n:
            break
        others = by_relation[fact.relation]
        for other in draw.sample(others, len(others)):
            is_right = other.object_id in right[fact.relation, fact.subject_id]
            if not is_right and _can_replace(other, fact):
                edits.append((fact, other))
                break
    return edits


def _around(
    fact: Fact, new_id: str, unedited: Sequence[Fact], neighbours: int, draw: random.Random
) -> list[Fact]:
    """The facts that the locality of an edit asks for: other subjects, then other relations."""
    others = [
        other
        for other in unedited
        if other.relation == fact.relation and other.subject_id != fact.subject_id
    ]
    draw.shuffle(others)
    others.sort(key=lambda other: other.object_id != new_id)
    same_subject = [
        other
        for other in unedited
        if other.subject_id == fact.subject_id and other.relation != fact.relation
    ]
    return [*others[:neighbours], *same_subject]


def _case(
    facts: FactSet, fact: Fact, names: Mapping[str, str], to: str, around: Sequence[Fact]
) -> EditCase:
    """The case of a fact whose object gets new names, by language; `to` is the end of its id."""
    prompts = trained_and_held_out(facts, fact)
    others = [(other, trained_and_held_out(facts, other)) for other in around]
    known = [parts for other, parts in others if other.subject_id == fact.subject_id]
    unknown = [trained_and_held_out(facts, asked) for asked in _unknown(facts, fact)]
    kept = {
        lang: tuple(
            prompt
            for n_kept, relations in ((KEEP, known), (KEEP_UNKNOWN, unknown))
            for parts in relations
            if lang in parts
            for prompt in parts[lang][0][:n_kept]
        )
        for lang in names
    }

    def with_new_answer(prompts: Iterable[Prompt]) -> tuple[Prompt, ...]:
        return tuple(replace(prompt, answer=names[prompt.language]) for prompt in prompts)

    def held_out_first(trained: tuple[Prompt, ...], held_out: tuple[Prompt, ...]) -> Prompt:
        return (held_out or trained)[0]

    return EditCase(
        id=f"{fact.id}->{to}",
        source="facts",
        subject=dict(fact.subject),
        old=dict(fact.object),
        edit={lang: with_new_answer(prompts[lang][0]) for lang in names},
        rephrased={lang: with_new_answer(prompts[lang][1]) for lang in names if prompts[lang][1]},
        locality={
            lang: tuple(held_out_first(*parts[lang]) for _, parts in others if lang in parts)
            for lang in names
        },
        keep={lang: prompts for lang, prompts in kept.items() if prompts},
        subject_id=fact.subject_id,
        relation=fact.relation,
    )


def _unknown(facts: FactSet, fact: Fact) -> list[Fact]:
    """Relations that subjects of the fact's relation have, but not its own subject in these facts.

    Its object, which is not known, is that of the fact.
    """
    alike = {other.subject_id for other in facts if other.relation == fact.relation}
    have: dict[str, set[str]] = defaultdict(set)
    for other in facts:
        if other.subject_id in alike:
            have[other.relation].add(other.subject_id)
    return [
        replace(fact, id=f"{relation}/{fact.subject_id}", relation=relation)
        for relation, subjects in have.items()
        if fact.subject_id not in subjects
        and all((relation, language) in facts.paraphrases for language in fact.languages)
    ]


def _new_names(
    facts: FactSet,
    fact: Fact,
    relation: str,
    new_object: str | Mapping[str, str],
    wanted: Sequence[str],
) -> dict[str, str]:
    """The name of the new object in each language that is edited."""
    if isinstance(new_object, str):
        objects = {other.object_id: other.object for other in facts.filter(relation=relation)}
        matching = [names for names in objects.values() if is_named(names, new_object)]
        if not matching:
            examples = sorted(next(iter(names.values())) for names in objects.values())[:8]
            known = [known for names in objects.values() for known in names.values()]
            raise ValueError(
                f"no fact of {relation!r} has the object {new_object!r}; there are, for example, "
                f"{', '.join(examples)}{nearest(new_object, known)}; for another object give its "
                "names by language"
            )
        # Where several objects have such a name, one that has it letter by letter comes first.
        matching.sort(key=lambda names: new_object not in names.values())
        new_object = matching[0]
    new_object = by_code(new_object)
    missing = [language for language in wanted if not new_object.get(language, "").strip()]
    if missing:
        raise ValueError(
            f"the new object has no name in {', '.join(missing)}; name it there, or leave these "
            "languages out"
        )
    same = [x for x in wanted if same_text(new_object[x], fact.object[x], x)]
    if len(same) == len(wanted):
        raise ValueError(
            f"{fact.id!r} has the object {fact.object[same[0]]!r} already; give another one"
        )
    return {language: new_object[language] for language in wanted}


def _can_replace(new: Fact, fact: Fact) -> bool:
    """Whether the object of `new` has another name in every language, and none is given away."""
    return all(
        lang in new.object
        and not same_text(new.object[lang], fact.object[lang], lang)
        and not shows_answer(fact.subject[lang], new.object[lang])
        for lang in fact.languages
    )
