"""What a report is built from: figures with their tables, tables of numbers, and sentences."""

import itertools
import json
import math
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from lafn_viz.core.html_parts import STYLE, Cell, Section, details, document, paragraph, table
from lafn_viz.plots.exported import data_html, description, drawing_script, packed_plotly
from lafn_viz.plots.style import config_for

if TYPE_CHECKING:
    import pandas as pd

STATIC = Path(__file__).parent / "static"
MOST_ROWS = 2000  # of one table; a page of more is slow to open


def words(name: str) -> str:
    """A name of the package as people write it."""
    return name.replace("_", " ")


def share(value: float, digits: int = 1) -> str:
    """A change or a share in per cent, with a true minus sign."""
    return _readable(value, lambda x: f"{100 * x:.{digits}f}%")


def signed_share(value: float, digits: int = 1) -> str:
    """A change in per cent, with its sign."""
    return _readable(value, lambda x: f"{100 * x:+.{digits}f}%")


def decimal(value: float, digits: int = 3) -> str:
    """A number with so many decimals."""
    return _readable(value, lambda x: f"{x:.{digits}f}")


def _readable(value: float, write: Callable[[float], str]) -> str:
    if not math.isfinite(value):
        return "–"
    written = write(value).replace("-", "−")
    # What rounds to zero has no sign.
    return written.lstrip("−+") if not any(x in written for x in "123456789") else written


def with_interval(
    value: float, low: float, high: float, write: Callable[[float], str] = decimal
) -> str:
    """A mean with its 95% interval, where it has one: `0.23 [0.18, 0.28]`."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return write(value)
    return f"{write(value)} [{write(low)}, {write(high)}]"


def unused_name(name: str, used: Container[str]) -> str:
    """The name, with the first number from 2 on that makes it one that is not used yet."""
    numbered = (f"{name} ({number})" for number in itertools.count(2))
    return next(x for x in itertools.chain([name], numbered) if x not in used)


def figure_part(name: str, figure: go.Figure, numbers: str) -> str:
    """A figure that can be hovered, a link to it, and its numbers as a table to copy.

    Args:
        name: its address within the page; the table is NAME-table.
        numbers: the table, as `numbers_table` makes it for this name.
    """
    drawn = json.loads(figure.to_json())
    title = drawn["layout"].get("title", {}).get("text", name)
    label = escape(description(drawn))
    data = data_html({**drawn, "config": config_for(title)})
    height = int(drawn["layout"].get("height") or 450)
    return (
        f'<figure id="{name}"><div class="plot" tabindex="0" role="group" aria-label="{label}">'
        f'<div class="draw" style="min-height:{height}px"><p class="waits">{label}</p>'
        f"{data}</div></div>"
        f'<div class="tools"><a href="#{name}">Link to this figure</a>'
        f'<button type="button" class="copy" data-of="{name}-table">Copy the table</button></div>'
        f"{details('The numbers of this figure', numbers)}</figure>"
    )


def numbers_table(
    frame: "pd.DataFrame",
    caption: str,
    *,
    name: str = "",
    formats: Mapping[str, Callable[[Any], str]] | None = None,
    texts: Sequence[str] = (),
) -> str:
    """A frame as a table; what is too long is cut, and the caption says so.

    Args:
        name: of the figure that the table belongs to; without one it has no address.
        formats: how the numbers of some columns are written; otherwise with three decimals.
        texts: the columns whose texts are in the language that the column "language" has.
    """
    if len(frame) > MOST_ROWS:
        caption = f"{caption} (the first {MOST_ROWS:,} of {len(frame):,} rows)"
        frame = frame.head(MOST_ROWS)
    columns = list(frame.columns)
    head = [str(column).replace("_", " ") for column in columns]
    rows = []
    for record in frame.to_dict("records"):
        language = str(record["language"]) if texts else ""
        cells = [
            _cell(record[column], (formats or {}).get(column), language if column in texts else "")
            for column in columns
        ]
        rows.append("<tr>" + cells[0].html("th") + "".join(x.html() for x in cells[1:]) + "</tr>")
    return table(
        head, rows, caption, name=f"{name}-table" if name else "", kind="" if texts else "numbers"
    )


def _cell(value: Any, write: Callable[[Any], str] | None, language: str) -> Cell:
    if write is not None:
        return Cell(write(value), tone="number")
    if isinstance(value, str):
        return Cell(value, language)
    if isinstance(value, bool) or value is None:
        return Cell({True: "yes", False: "no", None: "–"}[value])
    if isinstance(value, int):
        return Cell(f"{value:,}", tone="number")
    return Cell(decimal(float(value)), tone="number")


def lead(sentences: Iterable[str]) -> str:
    """What was found, a sentence a paragraph."""
    return "".join(paragraph(x).replace("<p>", '<p class="lead">', 1) for x in sentences)


def page(
    title: str,
    head: str,
    parts: Sequence[Section],
    *,
    above: str = "",
    assets: str = "",
    scripts: Sequence[str] = (),
) -> str:
    """The whole page: title, head (what was found, in a few sentences), contents, and parts.

    Args:
        above: what stands above the title.
        assets: the folder of style and `scripts`, for a page of a site; otherwise the page holds
            both, so that it can be sent alone.
    """
    links = "".join(f'<li><a href="#{part.name}">{escape(part.heading)}</a></li>' for part in parts)
    contents = f'<nav aria-label="Contents"><ol>{links}</ol></nav>' if len(parts) > 1 else ""
    body = (
        f"<header>{above}<h1>{escape(title)}</h1>{head}</header>{contents}"
        f"{''.join(map(_linked, parts))}"
    )
    if assets:
        style = f'<link rel="stylesheet" href="{assets}style.css">'
        code = "".join(f'<script src="{assets}{name}"></script>' for name in scripts)
        return document(title, body, head=style, script=code)
    style = f"<style>{STYLE}{(STATIC / 'report.css').read_text('utf-8')}</style>"
    return document(title, body, head=style, script=f"<script>{report_script()}</script>")


def report_script() -> str:
    """The script of a page with figures, plotly.js among it."""
    code = drawing_script() + (STATIC / "report.js").read_text("utf-8")
    code = code.replace('"PACKED_PLOTLY"', f'"{packed_plotly()}"')
    return f"(() => {{\n{code}}})();\n"


def _linked(part: Section) -> str:
    link = f'<a class="anchor" href="#{part.name}" aria-label="Link to this part">#</a>'
    return part.html(link)
