"""A plotly figure on a page, and where it was clicked.

plotly's own FigureWidget sends its library with every figure and loses updates in Voilà. This
widget sends the library once per page, redraws by `Plotly.react`, and sends back only where a click
was.
"""

import json
from typing import Any

import anywidget
import plotly.graph_objects as go
import traitlets

from lafn_viz.plots.exported import description, drawing_script, figure_html
from lafn_viz.plots.style import config_for
from lafn_viz.widgets.exported import COPIES, Kept
from lafn_viz.widgets.html import STATIC, script


class FigureView(Kept, anywidget.AnyWidget):
    """Shows a figure in the light or dark theme of the page.

    `clicked` is {"curve", "row", "column", "click"}: the trace, the place in it (of a trace without
    rows only the column), and a number that grows, so that two clicks on one cell differ.

    `outdated` is a sentence over a dimmed figure that is not of what is chosen now; see `outdate`.
    """

    _esm = drawing_script() + script("saving.js", "figure.js")
    _css = STATIC / "figure.css"

    figure = traitlets.Unicode("").tag(sync=True)
    label = traitlets.Unicode("").tag(sync=True)
    revision = traitlets.Int(0).tag(sync=True)
    clicked = traitlets.Dict().tag(sync=True)
    outdated = traitlets.Unicode("").tag(sync=True)

    def __init__(self, figure: go.Figure | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._what = ""
        self.on_msg(self._send_library)
        if figure is not None:
            self.show(figure)

    def show(self, figure: go.Figure | None, *, what: str = "") -> None:
        """Draw a figure, of `what`, in place of the last one; None leaves the place empty."""
        with self.hold_sync():
            self._what, self.outdated = what, ""
            if figure is None:
                self.figure = self.label = ""
            else:
                drawn = json.loads(figure.to_json())
                config = config_for(f"{drawn['layout'].get('title', {}).get('text', '')} {what}")
                self.figure = json.dumps({**drawn, "config": config}, ensure_ascii=False)
                self.label = description(drawn)
            self.revision += 1
        COPIES.changed()

    def outdate(self) -> None:
        """Dim the figure, and say what it still shows, until another one is drawn."""
        if self.figure:
            self.outdated = still(self._what or "the last figure")

    def kept_html(self) -> str:
        """Return HTML that draws the figure in an exported page."""
        return figure_html(json.loads(self.figure)) if self.figure else ""

    def _send_library(self, _: Any, content: dict[str, Any], buffers: list[Any]) -> None:
        """Send plotly.js when the page asks for it."""
        if content.get("kind") == "plotly":
            from plotly.offline import get_plotlyjs

            self.send({"kind": "plotly", "code": get_plotlyjs()})


def still(what: str) -> str:
    """Say of something that is drawn that it is of an earlier choice."""
    return f"Not what is chosen now: this is still {what}."
