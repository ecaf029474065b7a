"""A student in JupyterLab: the check refuses the hole, the hint unfolds, the solution passes."""

import shutil
from pathlib import Path

import pytest
from loading import load_script

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
UNIT = "01_neurons_and_hooks"


@pytest.mark.notebook
def test_student_is_told_what_is_wrong_unfolds_the_solution_and_passes(page, lab):
    from driving import end_session, open_notebook

    build = load_script("notebooks/scripts/build.py")
    notebook = build.read(ROOT / "notebooks" / f"{UNIT}.py")
    exercise = build.exercises(notebook)[0]
    cells = build.for_students(notebook).cells
    hole = next(i for i, cell in enumerate(cells) if cell.source == exercise.hole)
    shutil.copy(ROOT / "notebooks" / f"{UNIT}.ipynb", lab.folder)
    open_notebook(page, lab.address, f"{UNIT}.ipynb")
    activate(page, hole)
    page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-all-above')")

    code, check = (page.locator(".jp-Notebook-cell").nth(hole + i) for i in (0, 1))
    run_two(page, hole)
    check.get_by_role("status").filter(has_text="Not yet. Your code is still missing").wait_for()

    for number, name in ((2, "Hint"), (3, "Solution")):
        folded = page.locator(".jp-Notebook-cell").nth(hole + number)
        inside = folded.locator("details > :not(summary)").first
        assert not inside.is_visible()
        folded.get_by_text(name, exact=True).click()
        inside.wait_for()
    shown = page.locator(".jp-Notebook-cell").nth(hole + 3).locator("code").inner_text()
    assert shown.strip() == exercise.solution

    # The solution replaces the hole as it is shown.
    code.locator(".cm-content").click()
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(shown)
    run_two(page, hole)
    check.get_by_role("status").filter(
        has_text="Right. You read 640 neurons in each layer"
    ).wait_for()
    end_session(page, lab.address)


def activate(page, cell: int) -> None:
    page.evaluate(
        "i => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = i; }", cell
    )


def run_two(page, cell: int) -> None:
    """Run a cell and then the next one."""
    activate(page, cell)
    for _ in range(2):
        page.evaluate(
            "() => window.jupyterapp.commands.execute('notebook:run-cell-and-select-next')"
        )
