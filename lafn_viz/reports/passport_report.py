"""The report of edits' passports: all edits at a glance, then one by one."""

from collections.abc import Iterator, Sequence
from html import escape

from lafn_viz.core.html_parts import Section, count, row, table
from lafn_viz.core.messages import counted
from lafn_viz.editing.evaluation.passport.page import passport_sections, verdicts
from lafn_viz.editing.evaluation.passport.page_parts import TITLES
from lafn_viz.editing.evaluation.passport.questions import CHANGE, STAY
from lafn_viz.editing.evaluation.passport.result import Passport
from lafn_viz.reports.methods import methods_html
from lafn_viz.reports.parts import lead, words


def passport_report(passports: Sequence[Passport]) -> tuple[str, str, list[Section]]:
    """The title, the head and the parts of the report of some passports."""
    models = list(dict.fromkeys(passport.provenance.model for passport in passports))
    facts = counted(len(passports), "fact")
    said = [
        f"{facts} of {', '.join(models)}, edited, and asked about in every way that the passport "
        "of an edit knows. Questions about one fact hang together, so counts have no interval."
    ]
    parts = [
        Section("glance", "At a glance", _overview(passports)), *_one_by_one(passports),
        Section("methods", "Methods", methods_html(["edits", "language-agnostic"])),
    ]  # fmt: skip
    return f"Passports of {counted(len(passports), 'edit')}", lead(said), parts


def named(passport: Passport) -> str:
    """An edit in words: `Japan, capital: Tokyo → Rome`."""
    first = next(iter(passport.new), "")
    names = (
        of.get(first, next(iter(of.values()), "?"))
        for of in (passport.subject, passport.old, passport.new)
    )
    subject, old, new = names
    return f"{subject}, {words(passport.relation)}: {old} → {new}"


def _overview(passports: Sequence[Passport]) -> str:
    """How many answers of each kind are as they should be, an edit a row."""
    kinds = (*CHANGE, *STAY)
    rows = []
    for number, passport in enumerate(passports, 1):
        summary = passport.summary().to_dict("records")
        found = {(x["edit"], x["kind"]): x for x in summary if not x["control"]}
        for edit in passport.edits:
            asked = [found.get((edit, kind)) for kind in kinds]
            cells = [count(x["well"], x["questions"]) if x else count(0, 0) for x in asked]
            rows.append(row(f"{number}. {named(passport)}, {edit}", *cells))
    head = ("Edit", *(TITLES[kind] for kind in kinds))
    return table(head, rows, "Answers that are as they should be after the edit")


def _one_by_one(passports: Sequence[Passport]) -> Iterator[Section]:
    for number, passport in enumerate(passports, 1):
        content = "".join(
            f'<h3 id="{part.name}-{number}">{escape(part.heading)}</h3>{part.content}'
            for part in passport_sections(passport)
        )
        heading = f"{number}. {named(passport)}"
        yield Section(f"edit-{number}", heading, verdicts(passport) + content)
