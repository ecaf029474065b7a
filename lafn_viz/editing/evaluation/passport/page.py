"""A passport as one page: tables that need no script, no network and no other file.

Every text of a model, a case or a caller is escaped, has its language and its own direction. Shares
are written as counts; the bars behind them only repeat what the counts say.
"""

import json
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict
from html import escape
from typing import Any

from lafn_viz.core.html_parts import (
    Cell,
    Section,
    count,
    details,
    document,
    number,
    paragraph,
    row,
    section,
    table,
    text,
)
from lafn_viz.datasets.languages import language_name
from lafn_viz.editing.evaluation.passport.page_parts import TITLES
from lafn_viz.editing.evaluation.passport.page_texts import all_questions, firing
from lafn_viz.editing.evaluation.passport.questions import (
    ABOUT,
    CHANGE,
    EVERYWHERE,
    KINDS,
    STAY,
    WAYS_ROUND,
)
from lafn_viz.editing.evaluation.passport.tables import PassportTables


def page(passport: PassportTables) -> str:
    """The whole page."""
    sections = "".join(part.html() for part in passport_sections(passport))
    return document(f"Passport of an edit: {passport.case}", _head(passport) + sections)


def passport_sections(passport: PassportTables) -> list[Section]:
    """The parts of a passport, without its head."""
    parts = (
        _glance(passport), _languages(passport), _ways_round(passport), _damage(passport),
        firing(passport), all_questions(passport), _reading(passport),
    )  # fmt: skip
    return [part for part in parts if part.content]


def _head(passport: PassportTables) -> str:
    """What was edited, and what came of it, in a sentence for each edit."""
    language = next(iter(passport.new), "")
    by_language = (passport.subject, passport.old, passport.new)
    subject, old, new = (
        text(names.get(language, next(iter(names.values()), "?")), language)
        for names in by_language
    )
    names = [
        row(language_name(x), *(Cell(of_one.get(x, ""), x) for of_one in by_language))
        for x in passport.new
    ]
    return (
        f"<header><h1>Passport of an edit</h1>"
        f'<p class="fact">{subject}, {escape(passport.relation.replace("_", " "))}: '
        f"<del>{old}</del> → <ins>{new}</ins></p>"
        f"<p>Model {text(passport.provenance.model)}, {len(passport.new)} "
        f"language{'s' if len(passport.new) != 1 else ''}, {len(passport.questions)} questions, "
        f"{len(passport.damage)} texts.</p>{verdicts(passport)}</header>"
        + details(
            "The names in each language",
            table(("Language", "Subject", "Old answer", "New answer"), names,
                  "What was edited, by language"),
        )
    )  # fmt: skip


def verdicts(passport: PassportTables) -> str:
    """What came of each edit, a sentence each."""
    said = "".join(f"<li>{_verdict(passport, edit)}</li>" for edit in passport.edits)
    return f"<ul>{said}</ul>"


def _verdict(passport: PassportTables, edit: str) -> str:
    rows = [x for x in passport.summary().to_dict("records") if x["edit"] == edit]

    def total(kinds: Sequence[str], column: str) -> int:
        return sum(x[column] for x in rows if x["kind"] in kinds and not x["control"])

    parts = [
        f"writes the new answer to {total(CHANGE, 'well')} of {total(CHANGE, 'questions')} "
        "questions about the fact"
    ]
    if stay := total(STAY, "questions"):
        parts.append(f"leaves {total(STAY, 'well')} of {stay} other answers as they were")
    if roundabout := total(WAYS_ROUND, "right_before"):
        parts.append(
            f"and gives the old answer to {total(WAYS_ROUND, 'recovered')} of {roundabout} "
            "roundabout questions that had it before"
        )
    return f"<b>{escape(edit)}</b> {', '.join(parts)}."


def _glance(passport: PassportTables) -> Section:
    """How many answers of each kind are as they should be."""
    summary = passport.summary().to_dict("records")
    by_kind = {(x["kind"], x["edit"]): x for x in summary if not x["control"]}
    rows = []
    for kind in (*CHANGE, *STAY):
        asked = [by_kind[kind, edit] for edit in passport.edits if (kind, edit) in by_kind]
        if asked:
            should = "new answer" if kind in CHANGE else "same answer"
            cells = [count(x["well"], x["questions"]) for x in asked]
            before = count(asked[0]["right_before"], asked[0]["questions"])
            rows.append(row(TITLES[kind], should, before, *cells))
    note = "".join(map(_spread, summary))
    return section(
        "glance",
        "At a glance",
        table(
            ("Questions", "Should give", "Right before", *passport.edits),
            rows,
            "Answers that are as they should be after the edit",
        ),
        paragraph(
            f"{note}Questions about one fact hang together, so that their counts have no interval."
        ),
    )


def _spread(one: Mapping[Hashable, Any]) -> str:
    """The interval over other subjects, where there is one."""
    if one["kind"] != "other subject" or one["control"] or not one["low"] < one["high"]:
        return ""
    return (
        f"{one['edit']} leaves {one['well'] / one['questions']:.0%} [{one['low']:.0%}, "
        f"{one['high']:.0%}] of the answers about other subjects as they were (95% interval over "
        "subjects). "
    )


def _languages(passport: PassportTables) -> Section:
    """The same, by language."""
    summary = passport.by_language().to_dict("records")
    found = {(x["edit"], x["kind"], x["language"]): x for x in summary if not x["control"]}
    kinds = [kind for kind in (*CHANGE, *STAY) if any(kind == of for _, of, _ in found)]
    tables = []
    for edit in passport.edits:
        rows = []
        for language in passport.languages:
            asked = [found.get((edit, kind, language)) for kind in kinds]
            cells = [count(x["well"], x["questions"]) if x else count(0, 0) for x in asked]
            rows.append(row(language_name(language), *cells))
        head = ("Language", *(TITLES[kind] for kind in kinds))
        tables.append(table(head, rows, f"Answers as they should be after {edit}, by language"))
    return section("languages", "In each language", *tables)


def _ways_round(passport: PassportTables) -> Section:
    """What comes of roundabout questions, beside the same questions about neighbours."""
    summary = passport.summary().to_dict("records")
    found = {(x["kind"], x["edit"], x["control"]): x for x in summary}
    rows = []
    for kind in WAYS_ROUND:
        for edit in passport.edits:
            if asked := found.get((kind, edit, False)):
                n, n_known = asked["questions"], asked["right_before"]
                control = found.get((kind, edit, True))
                rows.append(
                    row(
                        TITLES[kind], Cell(edit, tone="name"), count(n_known, n),
                        "–" if kind == "reversed" else count(asked["new"], n),
                        count(asked["old"], n, bad=True),
                        count(asked["other"], n, bad=True),
                        count(asked["recovered"], n_known, bad=True) if n_known else "none had it",
                        count(control["well"], control["questions"]) if control else "no control",
                    )
                )  # fmt: skip
    missing = [f"{TITLES[k]}: {passport.left_out[k]}." for k in KINDS if k in passport.left_out]
    head = (
        "Question",
        "Edit",
        "Right before",
        "New answer",
        "Old answer",
        "Something else",
        "Old again, of those right before",
        "Control: as before",
    )
    return section(
        "round",
        "Does the old answer come back?",
        table(head, rows, "Answers to roundabout questions after the edit") if rows else "",
        paragraph(
            "The control asks about unedited neighbours in the same way. Where the model did not "
            "know the answer before the edit, nothing can come back."
        )
        if rows
        else "",
        *(paragraph(f"Not asked, or not all: {one}") for one in missing),
    )


def _damage(passport: PassportTables) -> Section:
    """How far the model's expectations move, by language."""
    summary = passport.damage_summary().to_dict("records")
    most = max((one["divergence"] for one in summary), default=0.0)
    tables = []
    for about in ABOUT:
        found = {(one["edit"], one["language"]): one for one in summary if one["about"] == about}
        rows = []
        for language in dict.fromkeys(language for _, language in found):
            cells = [_moved(found[edit, language], most) for edit in passport.edits]
            name = "All" if language == EVERYWHERE else language_name(language)
            rows.append(
                row(name, str(found[next(iter(passport.edits)), language]["texts"]), *cells)
            )
        if rows:
            caption = f"{about[0].upper()}{about[1:]}: KL divergence from before, in nats per token"
            tables.append(table(("Language", "Texts", *passport.edits), rows, caption))
    missing = [one for name, one in passport.left_out.items() if name in ABOUT]
    return section(
        "damage",
        "Damage",
        *tables,
        paragraph(
            "How far the distribution of the next token moves, as a mean over the tokens; in "
            "brackets the 95% interval over texts of different facts, then the share of tokens "
            "after which another token is the likeliest."
        )
        if tables
        else "",
        *(paragraph(f"Not measured: {one}") for one in missing),
    )


def _moved(one: Mapping[Hashable, Any], most: float) -> Cell:
    spread = one["low"] < one["high"]
    interval = f" [{number(one['low'])}, {number(one['high'])}]" if spread else ""
    written = f"{number(one['divergence'])}{interval}, {one['changed']:.0%} changed"
    return Cell(written, share=one["divergence"] / most if most else 0.0, tone="bad")


def _reading(passport: PassportTables) -> Section:
    """What the numbers mean, and where they come from."""
    made = "".join(
        f"<li><b>{escape(name)}</b>: <code>{escape(what)}</code></li>"
        for name, what in passport.edits.items()
    )
    origin = json.dumps(asdict(passport.provenance), ensure_ascii=False, indent=1)
    return section(
        "reading",
        "How it was measured",
        paragraph(
            "The model writes its answers by greedy decoding. An answer counts as an object if it "
            "begins with its name; where it should stay, it has to be what the model wrote before. "
            "Marked in the questions: where the edit finds its subject."
        ),
        f"<ul>{made}</ul>",
        details("Provenance", f"<pre>{escape(origin)}</pre>"),
    )
