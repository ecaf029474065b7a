"""Pages exported from notebooks, opened without a kernel."""

from pathlib import Path
from typing import TYPE_CHECKING

from nbformat import NotebookNode

if TYPE_CHECKING:
    from playwright.sync_api import Page


def exported_page(notebook: NotebookNode, **options: str) -> str:
    """Return `jupyter nbconvert --to html` of a notebook, without what its template takes from a
    CDN: RequireJS and MathJax.
    """
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(require_js_url="", mathjax_url="", **options)
    return exporter.from_notebook_node(notebook)[0]


def open_exported(page: "Page", text: str, folder: Path, *, figures: int) -> None:
    """Open a page and wait until its figures are drawn, no more and no fewer than `figures`."""
    from driving import wait_for_plots

    path = folder / "page.html"
    path.write_text(text, "utf-8")
    page.goto(path.as_uri())
    wait_for_plots(page, figures)
    assert page.locator(".js-plotly-plot").count() == figures
