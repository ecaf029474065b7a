"""Notebooks exported as pages: every figure is drawn, without a kernel and without a network."""

import subprocess
import sys

import nbformat
import pytest
from exporting import exported_page, open_exported
from nbformat.v4 import new_code_cell, new_notebook
from servers import fresh_environment

from lafn_viz.widgets.exported import NEEDS_KERNEL

pytestmark = pytest.mark.slow

CELLS = (
    "import lafn_viz as lv\nimport numpy as np\nimport plotly.graph_objects as go",
    "figure = go.Figure(go.Heatmap(z=np.eye(3)))\n"
    "lv.plots.style.styled(figure, title='A </script>', caption='<!-- b', height=300)",
    "figure.show()\ngo.Figure(go.Bar(y=[1, 2]))",
    "from lafn_viz.widgets import FigureView\n\nFigureView(figure)",
    "facts = lv.load_facts().filter(relation='capital', languages=['en', 'fr'])\n"
    "lv.OverlapExplorer('embedded', facts, n_others=1)",
)
FIGURES = 5


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """A small notebook as `jupyter nbconvert --execute` leaves it."""
    folder = tmp_path_factory.mktemp("exports")
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    cells = [new_code_cell(code) for code in CELLS]
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), folder / "it.ipynb")
    command = [sys.executable, "-m", "nbconvert", "--to=notebook", "--execute", "--inplace"]
    subprocess.run(
        [*command, "it.ipynb"], cwd=folder, env=fresh_environment(folder), check=True, timeout=300
    )
    notebook = nbformat.read(folder / "it.ipynb", as_version=4)
    assert notebook.metadata.pop("widgets")  # JupyterLab saves a notebook without it
    return notebook


@pytest.fixture(scope="module")
def exported(executed) -> str:
    return exported_page(executed)


def test_every_figure_is_drawn_in_an_exported_page(exported, page, tmp_path):
    assert exported.count("const packed") == 1
    assert len(exported) < 3_000_000
    open_exported(page, exported, tmp_path, figures=FIGURES)
    assert page.locator(".gtitle", has_text="Do languages keep a fact").count() == 1
    assert page.get_by_text(NEEDS_KERNEL).count() == 2
    assert page.get_by_text("Control: 1 other fact.").count() == 1


def test_a_saved_notebook_with_widget_state_still_shows_the_copies(executed, page, tmp_path):
    """nbconvert then prefers the widgets, which it loads from a CDN."""
    views = [
        output.data["application/vnd.jupyter.widget-view+json"]["model_id"]
        for cell in executed.cells
        for output in cell.get("outputs", [])
        if "application/vnd.jupyter.widget-view+json" in output.get("data", {})
    ]
    assert len(views) == 2
    state = {"application/vnd.jupyter.widget-state+json": {"state": {name: {} for name in views}}}
    stored = nbformat.from_dict({**executed, "metadata": {**executed.metadata, "widgets": state}})
    text = exported_page(stored, widget_renderer_url="data:,")
    open_exported(page, text, tmp_path, figures=FIGURES)


def test_markdown_keeps_the_figures_as_html(executed, page, tmp_path):
    from markdown_it import MarkdownIt
    from nbconvert import MarkdownExporter

    markdown, _ = MarkdownExporter().from_notebook_node(executed)
    text = MarkdownIt("commonmark", {"html": True}).render(markdown)
    open_exported(page, text, tmp_path, figures=FIGURES)


def test_a_slide_draws_its_figures_when_it_is_shown(exported, page, tmp_path):
    text = exported.replace("<main>", '<main style="display: none">')
    (tmp_path / "page.html").write_text(text, "utf-8")
    page.goto((tmp_path / "page.html").as_uri())
    page.wait_for_timeout(800)
    assert page.locator(".js-plotly-plot").count() == 0
    page.evaluate("() => { document.querySelector('main').style.display = ''; }")
    page.wait_for_function(f"() => document.querySelectorAll('.gtitle').length >= {FIGURES - 1}")


def test_a_page_that_lost_plotly_js_says_so(exported, page, tmp_path):
    text = exported.replace("const packed", "return; const packed")
    (tmp_path / "page.html").write_text(text, "utf-8")
    page.goto((tmp_path / "page.html").as_uri())
    said = page.get_by_text("This figure is drawn by plotly.js, which is not in this page.")
    assert said.count() == FIGURES
