"""What callers may give for prompts, facts and edit cases, and how it is read.

- **Prompts**: prompts in a list, a generator, an array or a Series; one prompt; facts, which stand
  for all their prompts. A text alone is not enough: a prompt needs an answer.
- **Facts**: a `FactSet`, one fact or several. A fact alone has no paraphrases, so only an embedded
  one can be read; of your own facts, take a part by `FactSet.filter`.
- **Edit cases**: an `EditSet`, one case or several.

A generator is read once, at the head of the call, so that it serves all of its passes.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, TypeAlias

from lafn_viz.core.arguments import in_order, some_results, wrong
from lafn_viz.datasets.edit_cases import EditCase
from lafn_viz.datasets.edit_sets import EditSet
from lafn_viz.datasets.fact import Fact
from lafn_viz.datasets.fact_files import load_facts
from lafn_viz.datasets.facts import FactSet
from lafn_viz.datasets.prompts import Prompt

Prompts: TypeAlias = Prompt | FactSet | Fact | Iterable[Prompt | Fact]
Facts: TypeAlias = FactSet | Fact | Iterable[Fact]
Cases: TypeAlias = EditSet | EditCase | Iterable[EditCase]

_PROMPTS = "prompts, as in facts.prompts() or [Prompt.of(text, answer, subject=name)]"
_FACTS = "facts, as load_facts() returns them, or a part by facts.filter(...)"
_CASES = "edit cases, as in counterfactual_cases(), or one of them"


def as_prompts(given: Any, name: str = "prompts") -> list[Prompt]:
    """Read prompts (see the module), at least one.

    Raises:
        ValueError: for no prompts, or anything that does not stand for prompts.
    """
    items = [given] if isinstance(given, Prompt | Fact | FactSet) else in_order(given)
    if items is None:
        raise wrong(name, given, _PROMPTS)
    prompts: list[Prompt] = []
    for place, item in enumerate(items):
        if isinstance(item, Prompt):
            prompts.append(item)
        elif isinstance(item, Fact | FactSet):
            prompts += as_facts(item, name).prompts()
        else:
            raise wrong(f"{name}[{place}]", item, _PROMPTS)
    if not prompts:
        what = "" if name == "prompts" else f" in {name}"
        raise ValueError(f"there are no prompts{what}; give at least one (facts.prompts())")
    return prompts


def as_facts(given: Any, name: str = "facts") -> FactSet:
    """Read facts (see the module), at least one.

    Raises:
        ValueError: for no facts, a fact without paraphrases, or anything that is no fact.
    """
    if isinstance(given, FactSet):
        facts = given
    else:
        facts = _embedded(some_results(Fact, _FACTS)(name, given))
    if not len(facts):
        raise ValueError(f"there are no {name}; give at least one (load_facts())")
    return facts


def _embedded(facts: Sequence[Fact]) -> FactSet:
    """Some of the embedded facts with their paraphrases, each in the languages that it names."""
    embedded = _all_embedded()
    by_id = {fact.id: fact for fact in embedded}
    for fact in facts:
        known = by_id.get(fact.id)
        if known is None or any(
            known.subject.get(language) != fact.subject[language]
            or known.object.get(language) != fact.object[language]
            for language in fact.languages
        ):
            raise ValueError(
                f"fact {fact.id!r} is not an embedded one, so its paraphrases are not known; "
                "give a part of your facts by facts.filter(...)"
            )
    return FactSet(tuple(facts), embedded.paraphrases)


@cache
def _all_embedded() -> FactSet:
    return load_facts()


def as_cases(given: Any, name: str = "cases") -> EditSet:
    """Read edit cases (see the module), possibly none.

    Raises:
        ValueError: for anything that is no edit case.
    """
    if isinstance(given, EditSet):
        return given
    return EditSet(some_results(EditCase, _CASES)(name, given))


def as_case(given: Any, name: str = "case") -> EditCase:
    """Read one edit case."""
    if isinstance(given, EditCase):
        return given
    cases = as_cases(given, name)
    if len(cases) != 1:
        raise ValueError(f"{name} holds {len(cases)} edit cases; give one of them, as in cases[0]")
    return cases.cases[0]
