"""Pages of their own: tables, cells with bars, and texts of any language, as HTML.

A page needs no network and no other file. Every text is escaped, has its language and its own
direction. Colours follow the reader's theme, and what is printed is for white paper.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

import numpy as np

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --faint: #59636e; --paper: #fff;
  --line: #d8dee4; --head: #f4f6f8; --good: #6cbf84; --bad: #e39a72; --plain: #8fa9cf;
  --is-good: #e2f4e6; --is-bad: #fbe6db; --mark: #ffe58a; --on-mark: #1b1f24 }
@media screen and (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --faint: #9aa4af; --paper: #12161b; --line: #30363d; --head: #1b2128;
    --good: #3b9158; --bad: #b9663c; --plain: #52719d; --is-good: #17351f; --is-bad: #45241a;
    --mark: #6d5a14; --on-mark: #fff } }
* { box-sizing: border-box }
body { margin: 0; background: var(--paper); color: var(--ink); line-height: 1.45;
  font: 1rem/1.45 system-ui, 'Noto Sans', sans-serif }
main { max-width: 74rem; margin: 0 auto; padding: 1.2rem 1rem 3rem }
h1 { font-size: 1.6rem; margin: 0 0 .2rem }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .4rem; border-top: 1px solid var(--line);
  padding-top: 1rem }
p, li { max-width: 46rem }
.fact { font-size: 1.25rem; margin: .2rem 0 }
del { color: var(--faint) }
ins { text-decoration: none; font-weight: 600 }
.scroll { overflow-x: auto; margin: .6rem 0 1rem }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums }
caption { text-align: start; color: var(--faint); padding: .2rem 0 .4rem }
th, td { text-align: start; vertical-align: top; padding: .28rem .6rem;
  border-bottom: 1px solid var(--line) }
thead th { background: var(--head); vertical-align: bottom; font-weight: 600 }
tbody th { font-weight: 500; white-space: nowrap }
.name { white-space: nowrap }
.bar { display: block; white-space: nowrap; min-width: 5.2rem; padding-bottom: .3rem; background:
  linear-gradient(var(--tone), var(--tone)) no-repeat 0 100% / var(--share) .25rem }
.good { --tone: var(--good) } .bad { --tone: var(--bad) } .plain { --tone: var(--plain) }
.well { background: var(--is-good) } .not-well { background: var(--is-bad) }
.context { color: var(--faint); white-space: pre-line; font-size: .85em }
mark { background: var(--mark); color: var(--on-mark); border-radius: .15em }
details { margin: .4rem 0 } summary { cursor: pointer; padding: .15rem 0 }
code, pre { font-size: .85rem; overflow-wrap: anywhere; white-space: pre-wrap }
@media (max-width: 40rem) { main { padding: .8rem .6rem 2rem } table { font-size: .85rem }
  th, td { padding: .25rem .4rem } tbody th { white-space: normal; min-width: 6.5rem } }
@media print { main { max-width: none; padding: 0 } .scroll { overflow: visible }
  tr, h2 { break-inside: avoid; break-after: auto } h2 { break-after: avoid }
  .bar, .well, .not-well, mark { print-color-adjust: exact;
  -webkit-print-color-adjust: exact } }
"""


@dataclass(frozen=True)
class Cell:
    """A cell of a table: its text or markup, its language, its tone, and a bar for a share."""

    text: str
    language: str = ""
    share: float | None = None
    tone: str = ""
    markup: str = ""

    def html(self, tag: Literal["td", "th"] = "td") -> str:
        """The cell as HTML, all text escaped."""
        inside = self.markup or escape(self.text)
        if self.share is not None:
            share = min(1.0, max(0.0, self.share))
            inside = f'<span class="bar {self.tone}" style="--share:{share:.1%}">{inside}</span>'
        of_class = f' class="{self.tone}"' if self.tone and self.share is None else ""
        language = f' lang="{escape(self.language)}"' if self.language else ""
        scope = ' scope="row"' if tag == "th" else ""
        return f'<{tag}{scope} dir="auto"{language}{of_class}>{inside}</{tag}>'


@dataclass(frozen=True)
class Section:
    """A part of a page under its heading; `name` is its address within the page."""

    name: str
    heading: str
    content: str

    def html(self, beside: str = "") -> str:
        """The part as HTML, `beside` its heading; nothing where there is nothing to show."""
        if not self.content:
            return ""
        head = f'<h2 id="{self.name}">{escape(self.heading)}{beside}</h2>'
        return f'<section aria-labelledby="{self.name}">{head}{self.content}</section>'


def row(head: Cell | str, *cells: Cell | str) -> str:
    """A row of a table: what it is about, and its cells."""
    body = "".join((Cell(cell) if isinstance(cell, str) else cell).html() for cell in cells)
    first = Cell(head) if isinstance(head, str) else head
    return f"<tr>{first.html('th')}{body}</tr>"


def table(
    head: Sequence[str], rows: Iterable[str], caption: str, *, name: str = "", kind: str = ""
) -> str:
    """A table with its caption; it scrolls sideways where the page is narrow.

    `name` is its address within the page, if it has one, and `kind` its class.
    """
    address = "".join(f' {what}="{x}"' for what, x in (("id", name), ("class", kind)) if x)
    columns = "".join(f'<th scope="col" dir="auto">{escape(name)}</th>' for name in head)
    return (
        f'<div class="scroll" tabindex="0" role="group" aria-label="{escape(caption)}">'
        f"<table{address}><caption>{escape(caption)}</caption><thead><tr>{columns}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def details(summary: str, content: str) -> str:
    """What is shown on a click."""
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def text(written: str, language: str = "") -> str:
    """A text within a sentence, in its language and direction."""
    of_language = f' lang="{escape(language)}"' if language else ""
    return f'<bdi dir="auto"{of_language}>{escape(written)}</bdi>'


def count(n: int, of: int, *, bad: bool = False, plain: bool = False) -> Cell:
    """How many of how many, over a bar."""
    if not of:
        return Cell("–")
    tone = "plain" if plain else "bad" if bad else "good"
    return Cell(f"{n} of {of}", share=n / of, tone=tone)


def number(value: float) -> str:
    """A number with two digits that count, and never with an exponent."""
    if not math.isfinite(value):
        return "not a number"
    if 0 < abs(value) < 1e-6:
        return "below 0.000001"
    return np.format_float_positional(value, precision=2, fractional=False, trim="-")


def section(name: str, heading: str, *content: str) -> Section:
    """A part of a page, of several pieces of HTML."""
    return Section(name, heading, "".join(content))


def paragraph(sentence: str) -> str:
    """A sentence by itself, escaped."""
    return f"<p>{escape(sentence)}</p>"


def document(title: str, body: str, *, head: str = "", script: str = "") -> str:
    """A whole page.

    Args:
        head: elements of the head beside the title; by default the style of `STYLE`.
        script: elements after the page's content.
    """
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title>{head or f'<style>{STYLE}</style>'}</head>"
        f"<body><main>{body}</main>{script}</body></html>\n"
    )
