"""The last state of a widget, for the pages exported from a notebook.

A widget lives in a kernel: an exported page shows nothing of it, or asks a CDN for code that could
not draw its figures without the kernel. So each widget that is shown (`Kept`) is followed by an
output of HTML with its figures, tables, texts and chosen values.

1. Where a front end has the widget's kernel, the HTML is hidden: figure.js marks the notebook.
2. The HTML follows the widget: it is written again when the widget has been at rest for a moment,
   and at the end of each cell.
3. A notebook that is opened again has lost the kernel: the HTML stands there in the widget's place.
4. Where nobody is watching (`jupyter nbconvert --execute`), a cell ends only when the work of the
   widgets that it shows is done.
"""

import functools
import os
import threading
import uuid
from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets as w

from lafn_viz.plots.exported import LIBRARY, figures_are_kept, nobody_is_watching, on_cell_end
from lafn_viz.widgets.html import STATIC, table

if TYPE_CHECKING:
    import pandas as pd

NEEDS_KERNEL = (
    "This is the last state of what the notebook showed here. Its controls need a running kernel: "
    "open the notebook in JupyterLab and run its cells to use them."
)
COPY_STYLE = """
.lafn-live .lafn-copy { display: none; }
/* JupyterLab's word about a widget whose kernel is gone: the copy that follows shows it. */
.jp-OutputArea-child:has(~ .jp-OutputArea-child .lafn-copy)
  > .jp-OutputArea-output:not(:has(*)) { display: none; }
.lafn-copy .lafn-table th, .lafn-copy .lafn-table td { text-align: start; }
"""
AT_REST = 1.0  # seconds without a change after which the HTML is written again
MAX_ROWS = 8  # of a table that the widget shows in pages


class Kept:
    """A widget whose last state stays in exported pages (mix it in before the widget's class)."""

    def _ipython_display_(self, **_: Any) -> None:
        from IPython.display import display

        bundle: Any = self._repr_mimebundle_  # type: ignore[attr-defined]  # a widget's
        shown = bundle() if bundle else {"text/plain": f"{type(self).__name__}, closed"}
        data, metadata = shown if isinstance(shown, tuple) else (shown, {})
        display(data, metadata=metadata, raw=True)
        if bundle and figures_are_kept() and not _in_voila():
            COPIES.add(self)


class _Copies:
    """The widgets that are shown, and the HTML that stands for each in exported pages."""

    def __init__(self) -> None:
        self._shown: dict[str, Any] = {}  # by the id of their output
        self._written: dict[str, str] = {}
        self._lock = threading.RLock()
        self._timer: threading.Timer | None = None

    def add(self, widget: Any) -> None:
        """Show an empty output, which `write` fills."""
        from IPython.display import display

        if library := LIBRARY.once():
            display({"text/html": library}, raw=True)
        name = uuid.uuid4().hex
        display({"text/html": ""}, raw=True, display_id=name)
        with self._lock:
            self._shown[name] = widget
        on_cell_end(self.at_cell_end)

    def changed(self) -> None:
        """Write what has changed, once nothing changes any more."""
        with self._lock:
            if self._timer:
                self._timer.cancel()
            if self._shown:
                self._timer = threading.Timer(AT_REST, self.write)
                self._timer.daemon = True
                self._timer.start()

    def at_cell_end(self) -> None:
        """Write what has changed; where nobody is watching, first wait until all work is done."""
        if nobody_is_watching():
            for widget in list(self._shown.values()):
                for part in _parts(widget):
                    if hasattr(part, "submit"):  # an explorer
                        part.wait(seconds=600)
        self.write()

    def write(self) -> None:
        """Write the HTML of each widget that has changed."""
        from IPython.display import update_display

        with self._lock:
            for name, widget in list(self._shown.items()):
                if widget.comm is None:  # closed
                    del self._shown[name]
                    continue
                if (text := kept_html(widget)) != self._written.get(name):
                    self._written[name] = text
                    update_display({"text/html": text}, raw=True, display_id=name)


COPIES = _Copies()


def kept_html(widget: Any) -> str:
    """Return a widget's figures, tables, texts and chosen values as HTML."""
    pieces, chosen = [], []
    for part in _parts(widget):
        pieces.append(_html(part))
        chosen.append(_chosen(part))
    values = " · ".join(filter(None, chosen))
    return (
        f"<style>{_style()}</style>"
        f'<div class="lafn-copy lafn-explorer"><p class="lafn-faint">{NEEDS_KERNEL}</p>'
        f'{"".join(pieces)}<p class="lafn-faint">{values}</p></div>'
    )


def _parts(widget: Any) -> Iterator[Any]:
    """Yield a widget and all that is in it, unless it is hidden."""
    if widget.layout.display != "none":
        yield widget
        for child in getattr(widget, "children", ()):
            yield from _parts(child)


def _html(part: Any) -> str:
    """Return what a part shows, if it is no control."""
    if hasattr(part, "kept_html"):
        return str(part.kept_html())
    if isinstance(part, w.HTML):
        return f"<div>{part.value}</div>"
    if hasattr(part, "df"):  # an ITable
        return _first_rows(part.df)
    return ""


def _first_rows(frame: "pd.DataFrame") -> str:
    rows = [
        [f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row]
        for row in frame.head(MAX_ROWS).itertuples(index=False)
    ]
    caption = f"The first {len(rows)} of {len(frame)} rows" if len(frame) > len(rows) else ""
    return table([str(name) for name in frame.columns], rows, caption=caption, name="lafn-rows")


def _chosen(part: Any) -> str:
    """Return the name and the value of a control."""
    name, value = getattr(part, "description", ""), getattr(part, "value", None)
    if not name or value in (None, False, ""):
        return ""
    if isinstance(part, w.Checkbox):
        return escape(name)
    shown = getattr(part, "label", None) or value
    return f"{escape(name)}: {escape(str(shown))}"


@functools.cache
def _style() -> str:
    """Return the explorers' style sheet, with the rules for copies."""
    return (STATIC / "explorer.css").read_text("utf-8") + COPY_STYLE


def _in_voila() -> bool:
    return os.environ.get("SERVER_SOFTWARE", "").startswith("voila")
