"""The parts of a passport's page that show its texts: where edits act, and every answer."""

from lafn_viz.core.html_parts import Cell, Section, count, details, paragraph, row, section, table
from lafn_viz.datasets.languages import language_name
from lafn_viz.editing.evaluation.passport.page_parts import TITLES, answer, question
from lafn_viz.editing.evaluation.passport.questions import KINDS
from lafn_viz.editing.evaluation.passport.tables import PassportTables

_RULES = ("exact", "normalised", "alias", "fuzzy", "activation")


def firing(passport: PassportTables) -> Section:
    """Which texts an edit acts on, and by which rule it finds its subject there."""
    finds = [x for x in passport.edits if any(x in q.fires for q in passport.questions)]
    parts = []
    for edit in finds:
        rows = []
        for kind in KINDS:
            for control in (False, True):
                asked = [q for q in passport.questions if (q.kind, q.control) == (kind, control)]
                if not asked:
                    continue
                rules = [q.fires[edit][0].rule for q in asked if q.fires[edit]]
                by_rule = (str(rules.count(rule) or "–") for rule in _RULES)
                name = f"{TITLES[kind]}{' (control)' if control else ''}"
                rows.append(row(name, count(len(rules), len(asked), plain=True), *by_rule))
        head = ("Questions", "Acts", *_RULES)
        parts.append(table(head, rows, f"Texts that {edit} acts on, by the rule that finds them"))
        parts.append(_unexpected(passport, edit))
    for edit in passport.edits:
        if edit not in finds:
            parts.append(paragraph(f"{edit} looks for no subject: it acts on every text."))
    return section("firing", "Which texts it acts on", *parts)


def _unexpected(passport: PassportTables, edit: str) -> str:
    """The texts that ask for the fact without effect, and those of another subject that change.

    In questions about other relations and about what follows, an edit acts by name and not by gate.
    """
    rows = []
    for asked in passport.questions:
        if asked.kind in ("other relation", "what follows"):
            continue
        is_asked = not asked.control and asked.kind not in ("other subject", "reversed")
        if bool(asked.fires[edit]) != is_asked:
            what = "does not act" if is_asked else "acts"
            rows.append(row(language_name(asked.language), question(asked), what))
    if not rows:
        return paragraph(
            f"{edit} acts on all texts that ask for the fact, and on no other subject."
        )
    caption = f"Texts that {edit} should act on and does not, or the reverse"
    return details(
        f"{edit}: {len(rows)} text{'s' if len(rows) > 1 else ''} where that is not as it should be",
        table(("Language", "Question", "The edit"), rows, caption),
    )


def all_questions(passport: PassportTables) -> Section:
    """Every question with its answers, folded by kind."""
    parts = []
    for kind in KINDS:
        for control in (False, True):
            asked = [q for q in passport.questions if (q.kind, q.control) == (kind, control)]
            if asked:
                name = f"{TITLES[kind]}{' (control: a neighbour)' if control else ''}"
                rows = [
                    row(
                        language_name(q.language), question(q), Cell(q.before, q.language),
                        *(answer(q, edit) for edit in passport.edits),
                    )
                    for q in asked
                ]  # fmt: skip
                head = ("Language", "Question", "Before", *passport.edits)
                parts.append(details(f"{name}: {len(asked)}", table(head, rows, name)))
    return section("questions", "All questions", *parts)
