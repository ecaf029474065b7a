"""Every notebook runs from first to last cell, in JupyterLab or, without a browser, in a kernel."""

import re
import shutil
from pathlib import Path

import pytest
from servers import browser_required, why_no_browser

pytestmark = pytest.mark.slow

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
EXPORTED = ("00_quickstart", "08_explore")  # one with figures, one with explorers
FIGURE = "application/vnd.plotly.v1+json"
WIDGET = "application/vnd.jupyter.widget-view+json"


@pytest.mark.notebook
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_from_first_cell_to_last(path, request, tmp_path):
    in_lab = browser_required() or why_no_browser() is None
    outputs = run_in_lab(path, request, tmp_path) if in_lab else run_bare(path, tmp_path)
    assert not [output for output in outputs if output["output_type"] == "error"]
    # An explorer is a widget, which holds its own figures.
    assert sum(FIGURE in o.get("data", {}) or WIDGET in o.get("data", {}) for o in outputs) >= 3


def run_in_lab(path: Path, request: pytest.FixtureRequest, tmp_path: Path) -> list[dict]:
    """Run the notebook in JupyterLab until all figures are drawn; return its outputs."""
    page, lab = request.getfixturevalue("page"), request.getfixturevalue("lab")
    from driving import (
        end_session,
        notebook_outputs,
        open_notebook,
        run_all_cells,
        show_whole_notebook,
        wait_for_plots,
    )

    shutil.copy(path, lab.folder)
    open_notebook(page, lab.address, path.name)
    finished = run_all_cells(page)
    outputs = notebook_outputs(page)
    assert finished, [output for output in outputs if output["output_type"] == "error"]
    wait_for_plots(page, max(3, sum(FIGURE in output.get("data", {}) for output in outputs)))
    show_whole_notebook(page)
    end_session(page, lab.address)
    if path.stem in EXPORTED:
        check_exported(page, tmp_path)
    return outputs


def check_exported(page, folder: Path) -> None:
    """Export the open notebook: all its figures are drawn where there is no kernel."""
    import nbformat
    from driving import Watch
    from exporting import exported_page, open_exported

    content = page.evaluate(
        "() => JSON.stringify(window.jupyterapp.shell.currentWidget.context.model.toJSON())"
    )
    drawn = page.locator(".js-plotly-plot").count()
    page, watch = page.context.new_page(), Watch()
    watch.attach(page)
    open_exported(page, exported_page(nbformat.reads(content, as_version=4)), folder, figures=drawn)
    watch.check()


def run_bare(path: Path, folder: Path) -> list[dict]:
    """Run the notebook in a kernel without JupyterLab; return its outputs."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": folder}}).execute()
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def test_a_notebook_that_is_opened_again_shows_its_last_state(page, lab):
    from driving import end_session, notebook_outputs, open_notebook, run_cell, wait_status

    run_cell(page, lab, "again.ipynb", "import lafn_viz as lv\nlv.LensExplorer()")
    said = wait_status(page, ".lafn-explorer .lafn-status", re.compile("names lead"))
    # The copy is written once nothing changes any more.
    while not any(said in str(output) for output in notebook_outputs(page)):
        page.wait_for_timeout(200)
    page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
    end_session(page, lab.address)

    open_notebook(page, lab.address, "again.ipynb")
    copy = page.locator(".lafn-copy").locator("visible=true")
    copy.get_by_text(said).wait_for()
    copy.locator(".js-plotly-plot .gtitle").first.wait_for()
    lost = page.get_by_text(re.compile("Error displaying widget|Loading widget"))
    lost.first.wait_for(state="hidden")
    assert not lost.locator("visible=true").count()
    end_session(page, lab.address)
