"""A figure as a page of its own, which fills its window and opens without a network."""

import html
import re
from pathlib import Path

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from lafn_viz.plots.style import WIDTH, config_for

PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ margin: 0; background: #fff; overflow-x: auto; }}
main {{ min-width: {narrowest}px; max-width: {widest}px; margin: 0 auto; }}
</style>
</head>
<body><main>{figure}</main></body>
</html>
"""
WIDEST = 1500  # pixels; wider ones part what belongs together


def write_page(figure: go.Figure, folder: Path, name: str) -> Path:
    """Write a figure to NAME.html in a folder that has, or gets, a copy of plotly.js for all pages.

    The figure is as wide as its window, within limits: captions do not wrap, and a narrow window
    scrolls sideways.
    """
    library = folder / "plotly.min.js"
    if not library.exists():
        library.write_text(get_plotlyjs(), encoding="utf-8")
    fluid = go.Figure(figure).update_layout(width=None, autosize=True)
    title = re.sub(r"<[^>]+>", " ", figure.layout.title.text or name)
    text = PAGE.format(
        title=html.escape(html.unescape(title)), narrowest=WIDTH, widest=WIDEST,
        figure=fluid.to_html(
            include_plotlyjs="directory", config=config_for(name), full_html=False
        ),
    )  # fmt: skip
    page = folder / f"{name}.html"
    page.write_text(text, encoding="utf-8")
    return page
