"""The files of the gallery beside the figures' pages: pictures, and the index that shows them."""

import html
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
STYLE = """
body { font-family: Inter, 'Noto Sans', sans-serif; color: #222; max-width: 58rem;
       margin: 2rem auto; padding: 0 1rem; line-height: 1.45 }
figure { margin: 0 0 3rem }
img, iframe { width: 100%; border: 1px solid #e5e5e5; background: #fff }
figcaption { margin-top: .5rem }
h2 { font-size: 1.1rem; margin: 0 }
code { background: #f3f3f3; padding: 0 .25em }
"""


def write_pictures(figures: Mapping[str, go.Figure], out: Path) -> str:
    """Write each figure as NAME.png. Returns why that cannot be done, or an empty string."""
    try:
        import kaleido
        from choreographer.browsers.chromium import ChromeNotFoundError
    except ImportError:
        return (
            "no pictures were drawn because kaleido is not installed; install it with: "
            "pip install 'lafn_viz[gallery]'"
        )
    given = os.environ.get("BROWSER_PATH")
    path = given or next(filter(None, map(shutil.which, BROWSERS)), None)
    # Kaleido would try a missing path for half a minute.
    if given and not Path(given).is_file():
        return (
            f"no pictures were drawn because there is no browser at BROWSER_PATH={given}; set it "
            "to one"
        )
    specs: Sequence[dict[str, Any]] = [
        {
            "fig": figure.to_dict(),
            "path": out / f"{name}.png",
            "opts": {"format": "png", "scale": 2},
        }
        for name, figure in figures.items()
    ]
    # The figures hold no formulas, for which MathJax would be fetched from the network.
    options: dict[str, Any] = {"mathjax": False}
    try:
        kaleido.write_fig_from_object_sync(specs, kopts=options | ({"path": path} if path else {}))
    except ChromeNotFoundError:
        return (
            "no pictures were drawn because no browser was found; install Chromium or Chrome, or "
            "set BROWSER_PATH to one"
        )
    return ""


def index_page(figures: Mapping[str, go.Figure], *, pictures: bool) -> str:
    """Return a page that shows the figures, each with its name, title and caption."""
    entries = []
    for name, figure in figures.items():
        title = html.escape(_plain(figure.layout.title.text))
        caption = html.escape(_plain(figure.layout.title.subtitle.text))
        if pictures:
            image = f'<img src="{name}.png" alt="{title}" loading="lazy">'
            content = f'<a href="{name}.html">{image}</a>'
        else:
            height = int(figure.layout.height) + 20
            content = f'<iframe src="{name}.html" title="{title}" height="{height}"></iframe>'
        entries.append(
            f'<figure id="{name}">{content}<figcaption><h2><a href="{name}.html">{title}</a></h2>'
            f"<p>{caption} <code>lv.plots.{name}</code></p></figcaption></figure>"
        )
    links = " · ".join(f'<a href="#{name}">{name.replace("_", " ")}</a>' for name in figures)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>lafn_viz: figures</title><style>{STYLE}</style></head>\n<body><main>"
        "<h1>The figures of lafn_viz</h1>\n<p>From small runs on the embedded model, so intervals "
        "are wide. Click on a figure to look at its values.</p>\n"
        f"<nav>{links}</nav>\n" + "\n".join(entries) + "\n</main></body></html>\n"
    )


def _plain(text: str | None) -> str:
    """A title's text on one line."""
    return (text or "").replace("<br>", " ")
