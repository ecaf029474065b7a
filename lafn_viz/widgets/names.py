"""Names as a person types them: of subjects, and of new objects, in any language and case."""

from collections.abc import Iterable, Mapping

from lafn_viz.core.messages import quoted
from lafn_viz.core.options import nearest
from lafn_viz.datasets.fact import Fact
from lafn_viz.datasets.fact_files import load_facts
from lafn_viz.datasets.facts import FactSet
from lafn_viz.datasets.languages import language_name
from lafn_viz.plots.style import isolated


def subject_id(facts: FactSet, relation: str, typed: str) -> str:
    """Return the subject that a typed name stands for.

    Raises:
        ValueError: where it stands for none or for several; it says which name is near, or why the
            embedded facts have the subject and these do not.
    """
    typed = typed.strip()
    if not typed:
        raise ValueError("no subject is given; type or pick one")
    of_relation = facts.filter(relation=relation)
    found = sorted(subjects_named(of_relation, typed))
    if len(found) > 1:
        raise ValueError(f"{quoted(typed)} stands for {', '.join(found)}; type one of these ids")
    if found:
        return found[0]
    kind = relation.replace("_", " ")
    if why := _why_left_out(relation, typed):
        raise ValueError(f"{quoted(typed)} is left out here ({kind}), because {why}; take another")
    known = [name for fact in of_relation for name in fact.subject.values()]
    raise ValueError(
        f"no fact here ({kind}) has the subject {quoted(typed)}"
        f"{nearest(typed, known) or '; the field lists all'}"
    )


def new_object(typed: str) -> str | Mapping[str, str]:
    """Read a name, or names by language as in `en: Gotham; fr: Gotham-ville`.

    Raises:
        ValueError: where only some parts have a language.
    """
    parts = [part.strip() for part in typed.split(";") if part.strip()]
    pairs = [part.partition(":") for part in parts]
    if not any(sign for _, sign, _ in pairs):
        return typed.strip()
    if not all(sign and name.strip() for _, sign, name in pairs):
        raise ValueError(
            f"{quoted(typed)} names only some languages; give each a code and a name, as in "
            "'en: Gotham; fr: Gotham'"
        )
    return {code.strip(): name.strip() for code, _, name in pairs}


def subjects_named(facts: Iterable[Fact], typed: str) -> set[str]:
    """The subjects of this id or name; where none has it letter by letter, in any case."""
    names = [
        (fact.subject_id, name)
        for fact in facts
        for name in (fact.subject_id, *fact.subject.values())
    ]
    exact = {subject for subject, name in names if name == typed}
    folded = typed.casefold()
    return exact or {subject for subject, name in names if name.casefold() == folded}


def _why_left_out(relation: str, typed: str) -> str:
    """Why the embedded facts know a subject that is not here; nothing where they do not."""
    facts = load_facts()
    of_subject = [fact for fact in facts if subjects_named([fact], typed)]
    for fact in of_subject:
        for code in fact.leaks:
            if fact.relation == relation and fact.subject[code].casefold() == typed.casefold():
                return (
                    f"it shows the answer ({isolated(fact.object[code])}) in {language_name(code)}"
                )
    if any(fact.relation == relation for fact in of_subject):
        return "these facts do not hold it"
    # See data/README.md.
    return "the answer shows in its name, or it has two right answers" if of_subject else ""
