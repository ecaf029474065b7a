"""Figures that stay in the pages exported from a notebook.

1. In a kernel, plotly hands a figure to the front end as data alone. JupyterLab, Notebook 7 and
   VS Code draw it; `jupyter nbconvert` cannot, and drops it without a word.
2. `keep_figures` adds a second form to each figure that is shown: HTML that draws itself. Front
   ends that know plotly's data still take the data; exported pages take the HTML.
3. The HTML needs plotly.js (4.8 MB). It is written once per notebook, compressed to 2 MB, with the
   first figure that is shown. The cell that carries it writes it again whenever it runs again.
   Nothing is loaded from the network.

`plotly.io.renderers.default = "plotly_mimetype"` switches the HTML off, and so does the environment
variable `PLOTLY_RENDERER`.
"""

import base64
import functools
import gzip
import html
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import plotly.io as pio
from plotly.io.base_renderers import MimetypeRenderer, PlotlyRenderer

from lafn_viz.plots.style import CONFIG, config_for

NAME = "lafn_viz"  # of the renderer
# What plotly chooses in kernels whose front ends draw its data themselves.
DATA_ALONE = ("plotly_mimetype", "jupyterlab", "nteract", "vscode")
NOT_DRAWN = (
    "This figure is drawn by plotly.js, which is not in this page. Run all cells of the notebook, "
    "save it and export it again."
)


def keep_figures() -> None:
    """Let figures that this kernel shows carry HTML for exported pages, and `CONFIG` in notebooks.

    Does nothing outside a kernel, or where a renderer was chosen.
    """
    if (
        _shell() is None
        or "PLOTLY_RENDERER" in os.environ
        or pio.renderers.default not in DATA_ALONE
    ):
        return
    for name in DATA_ALONE:
        pio.renderers[name] = NamedData(CONFIG)
    pio.renderers[NAME] = HtmlCopy()
    pio.renderers.default = f"{pio.renderers.default}+{NAME}"
    _shell().events.register("pre_run_cell", LIBRARY.before_cell)


def figures_are_kept() -> bool:
    """Whether what is shown carries HTML for exported pages."""
    return NAME in (pio.renderers.default or "").split("+")


class NamedData(PlotlyRenderer):
    """The renderer of a figure's data, with the title as the name of the file it is saved in."""

    def to_mimebundle(self, fig_dict: dict[str, Any]) -> dict[str, Any]:
        """Return the figure's data, with options of its own."""
        config = {**self.config, **config_for(_title(fig_dict))}
        bundle: dict[str, Any] = PlotlyRenderer(config).to_mimebundle(fig_dict)
        return bundle


class HtmlCopy(MimetypeRenderer):
    """The renderer that adds a figure's HTML, and its title and caption as plain text."""

    def __init__(self) -> None:
        self.config = CONFIG

    def to_mimebundle(self, fig_dict: dict[str, Any]) -> dict[str, str]:
        """Return the figure as `text/html`, with plotly.js if it is the first, and `text/plain`."""
        figure = json.loads(pio.to_json(fig_dict, validate=False))
        return {
            "text/html": LIBRARY.once()
            + figure_html({**figure, "config": {**self.config, **config_for(_title(figure))}}),
            "text/plain": description(figure),
        }


def figure_html(figure: dict[str, Any]) -> str:
    """Return HTML that draws a figure, given as plotly's JSON, once plotly.js is on the page.

    Until then, and where scripts do not run, its title and caption are there as text.
    """
    label = html.escape(description(figure))
    height = int(figure.get("layout", {}).get("height") or 450)
    # Lines without blanks stay HTML in Markdown.
    return (
        f'<div class="lafn-kept plotly-graph-div" role="group" aria-label="{label}" '
        f'style="min-height:{height}px"><p>{label}</p><p>{NOT_DRAWN}</p>'
        f"{data_html(figure)}</div>\n"
        "<script>(window.lafnKept ??= []).push(1)</script>\n"
    )


def data_html(figure: dict[str, Any]) -> str:
    """Return an element that holds a figure, given as plotly's JSON, as data for a script."""
    # No text in it may begin a tag or a comment.
    data = json.dumps(figure, ensure_ascii=False).replace("<", "\\u003c")
    return f'<script type="application/json">{data}</script>'


def _title(figure: dict[str, Any]) -> str:
    return str((figure.get("layout", {}).get("title") or {}).get("text") or "")


def description(figure: dict[str, Any]) -> str:
    """Return the title and the caption of a figure, given as plotly's JSON, as plain text."""
    title = figure.get("layout", {}).get("title", {})
    parts = (title.get("text"), (title.get("subtitle") or {}).get("text"))
    text = ". ".join(part.replace("<br>", " ") for part in parts if part)
    text = re.sub(r"</?\w[^>]*>", "", text)
    return " ".join(html.unescape(text).split()) or "Figure"


class _Library:
    """plotly.js for exported pages, and the cell whose output carries it."""

    def __init__(self) -> None:
        self._holder: object = None

    def once(self) -> str:
        """Return the HTML that holds plotly.js, or nothing if another cell's output has it."""
        from IPython.core.displaypub import CapturingDisplayPublisher

        if self._holder is not None:
            return ""
        shell = _shell()
        # What is captured (%%capture) may never reach the notebook.
        if shell and not isinstance(shell.display_pub, CapturingDisplayPublisher):
            self._holder = _cell() or True
        return library_html()

    def before_cell(self, _: object = None) -> None:
        """Forget the cell that carries plotly.js if it runs again, or was deleted."""
        if self._holder is not None and self._holder in (_cell(), *_deleted_cells()):
            self._holder = None


LIBRARY = _Library()


@functools.cache
def library_html() -> str:
    """Return a script that holds plotly.js and draws the figures of its page."""
    code = (Path(__file__).parent / "exported.js").read_text("utf-8")
    return f"<script>{code.replace('PACKED_PLOTLY', packed_plotly())}</script>\n"


@functools.cache
def packed_plotly() -> str:
    """Return plotly.js, compressed and in the letters of base64."""
    from plotly.offline import get_plotlyjs

    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode()


def drawing_script() -> str:
    """Return the functions that fit a figure to its page."""
    return (Path(__file__).parent / "drawing.js").read_text("utf-8")


def on_cell_end(call: Callable[[], None]) -> None:
    """Call a function at the end of each cell from now on; again is the same as once."""
    if (shell := _shell()) and call not in shell.events.callbacks["post_execute"]:
        shell.events.register("post_execute", call)


def _shell() -> Any:
    """Return IPython's shell in a kernel; None elsewhere."""
    if "IPython" not in sys.modules:
        return None
    shell = sys.modules["IPython"].get_ipython()
    return shell if shell is not None and hasattr(shell, "kernel") else None


def _request() -> dict[str, Any]:
    """Return the request that runs the current cell; empty where a kernel tells none."""
    shell = _shell()
    get_parent = getattr(getattr(shell, "kernel", None), "get_parent", None)
    return (get_parent() if get_parent else None) or {}


def _cell() -> str | None:
    """Return the id of the current cell, or its code where the front end sends no id."""
    request = _request()
    return request.get("metadata", {}).get("cellId") or request.get("content", {}).get("code")


def _deleted_cells() -> list[str]:
    return _request().get("metadata", {}).get("deletedCells") or []


def nobody_is_watching() -> bool:
    """Whether the notebook runs by itself (`jupyter nbconvert --execute`, papermill, Quarto).

    Such programs tell the kernel that nobody can answer `input()`.
    """
    return _request().get("content", {}).get("allow_stdin") is False
