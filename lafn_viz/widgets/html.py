"""HTML of the explorers: tables whose text is escaped, and rows of widgets."""

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

import ipywidgets as w

STATIC = Path(__file__).parent / "static"  # scripts and style sheets


def script(*names: str) -> str:
    """Return scripts, one after the other, as one module."""
    return "".join((STATIC / name).read_text("utf-8") for name in names)


def row(*widgets: w.Widget) -> w.HBox:
    """Put widgets side by side; they wrap where the page is narrow."""
    return w.HBox(list(widgets)).add_class("lafn-row")


def class_name(code: str) -> str:
    """Return a language code without the characters that a CSS class may not have."""
    return "".join(x for x in code if x.isalnum())


class Cell(NamedTuple):
    """Text of a table, its language, and its tone: "good", "bad", "faint" or none."""

    text: str
    language: str = ""
    tone: str = ""


def table(
    head: Sequence[str], rows: Iterable[Sequence[Cell | str]], *, caption: str, name: str
) -> str:
    """Return an HTML table; all text is escaped, and each cell has the direction of its text."""
    header = "".join(f'<th scope="col">{escape(x)}</th>' for x in head)
    body = "".join("<tr>" + "".join(map(_cell, cells)) + "</tr>" for cells in rows)
    return (
        f'<div class="lafn-scroll"><table class="lafn-table {name}">'
        f"<caption>{escape(caption)}</caption><thead><tr>{header}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def _cell(cell: Cell | str) -> str:
    cell = Cell(cell) if isinstance(cell, str) else cell
    language = f' lang="{escape(cell.language)}"' if cell.language else ""
    tone = f' class="lafn-{cell.tone}"' if cell.tone else ""
    return f'<td dir="auto"{language}{tone}>{escape(cell.text)}</td>'


def outdated(drawn: str, note: str) -> str:
    """Return HTML that was drawn before, dimmed under a note; as it is where one is empty."""
    if not (drawn and note):
        return drawn
    return (
        f'<p class="lafn-outdated-answers">{escape(note)}</p><div class="lafn-dimmed">{drawn}</div>'
    )
