"""Make the notebooks that readers open from the scripts that authors edit.

A script `notebooks/NN_name.py` becomes `notebooks/NN_name.ipynb` for students and, if it has
exercises, `notebooks/solutions/NN_name.ipynb` for teachers. An exercise is a run of cells with
these tags:

    exercise    markdown: "### Exercise 2.1: ...", difficulty, minutes and the task
    exercise    code with one hole
    check       code: says what is wrong, or that the answer is right
    hint        markdown
    solution    code that takes the place of the hole
    mistake     code, two cells: typical wrong answers, only for the tests

Students get the hint and the solution as folded text, so that running every cell solves nothing.
Teachers get the solution in place of the hole. An exercise needs only the cells tagged `setup`, and
the rest of a notebook needs no exercise.
"""

import re
import sys
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import jupytext
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

NOTEBOOKS = Path(__file__).resolve().parents[1]
PARTS = ("exercise", "exercise", "check", "hint", "solution", "mistake", "mistake")
KINDS = ("markdown", "code", "code", "markdown", "code", "code", "code")
HEADING = re.compile(
    r"### Exercise (?P<number>\d+\.\d+): (?P<title>.+)\n"
    r"\*(?P<difficulty>[●○]{3}), (?P<minutes>\d+) minutes\*\n"
)


@dataclass(frozen=True)
class Exercise:
    """One exercise of a script: its `number`, such as "2.1", and the source of each cell."""

    number: str
    title: str
    difficulty: int
    minutes: int
    hole: str
    check: str
    solution: str
    mistakes: tuple[str, str]


def scripts() -> list[Path]:
    """The scripts in the order of the course."""
    return sorted(NOTEBOOKS.glob("[0-9]*.py"))


def read(path: Path) -> NotebookNode:
    """Read a script as a notebook, with tags in the cells' metadata and nothing random in it."""
    notebook = jupytext.read(path)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata = NotebookNode(kernelspec=kernel, language_info={"name": "python"})
    for i, cell in enumerate(notebook.cells):
        cell.id = f"cell-{i}"
        if cell.cell_type == "markdown":
            cell.source = linked(cell.source)
        cell.metadata = NotebookNode({"tags": tags} if (tags := _tags(cell)) else {})
    return notebook


def linked(text: str) -> str:
    """Turn the names of notebooks into links to them."""
    names = {path.stem for path in scripts()}

    def link(match: re.Match[str]) -> str:
        return f"[{match[0]}]({match[1]}.ipynb)" if match[1] in names else match[0]

    return re.sub(r"(?<!\[)`([0-9]{2}_\w+)`", link, text)


def exercises(notebook: NotebookNode) -> list[Exercise]:
    """Return the exercises; raises ValueError if a cell is missing or out of order."""
    result, cells = [], [cell for cell in notebook.cells if _part(cell)]
    for i in range(0, len(cells), len(PARTS)):
        run = cells[i : i + len(PARTS)]
        heading = HEADING.match(run[0].source)
        if heading is None:
            raise ValueError(
                f"an exercise must begin with its heading, not with: {run[0].source!r}"
            )
        where = f"exercise {heading['number']}"
        if tuple(map(_part, run)) != PARTS or tuple(c.cell_type for c in run) != KINDS:
            kinds = ", ".join(f"{_part(cell)} ({cell.cell_type})" for cell in run)
            raise ValueError(f"{where} needs the cells {', '.join(PARTS)}; it has {kinds}")
        _, hole, check, _, solution, *mistakes = [cell.source for cell in run]
        if "..." not in hole:
            raise ValueError(f"{where}: its code has no hole (...)")
        result.append(
            Exercise(
                heading["number"],
                heading["title"],
                heading["difficulty"].count("●"),
                int(heading["minutes"]),
                hole,
                check,
                solution,
                (mistakes[0], mistakes[1]),
            )
        )
    return result


def for_students(notebook: NotebookNode) -> NotebookNode:
    """Return the notebook with its holes, and hints and solutions as folded text."""
    student = deepcopy(notebook)
    student.cells = [cell for cell in student.cells if _part(cell) != "mistake"]
    for i, cell in enumerate(student.cells):
        if _part(cell) == "hint":
            student.cells[i] = _folded(cell, "Hint", cell.source)
        if _part(cell) == "solution":
            student.cells[i] = _folded(cell, "Solution", f"```python\n{cell.source}\n```")
    return student


def for_teachers(notebook: NotebookNode) -> NotebookNode:
    """Return the notebook with each hole filled."""
    solutions = {e.hole: e.solution for e in exercises(notebook)}
    teacher = for_students(notebook)
    teacher.cells = [cell for cell in teacher.cells if _part(cell) != "solution"]
    for cell in teacher.cells:
        if _part(cell) == "exercise" and cell.cell_type == "code":
            cell.source = solutions[cell.source]
            cell.metadata["tags"] = ["solution"]
        if cell.cell_type == "markdown":  # solutions lie in a folder below
            cell.source = re.sub(r"\]\((\w+\.ipynb)\)", r"](../\1)", cell.source)
    return teacher


def built(path: Path) -> dict[Path, str]:
    """Return the text of each notebook that a script makes, by its path."""
    notebook = read(path)
    notebooks = {NOTEBOOKS / f"{path.stem}.ipynb": for_students(notebook)}
    if exercises(notebook):
        notebooks[NOTEBOOKS / "solutions" / f"{path.stem}.ipynb"] = for_teachers(notebook)
    return {file: jupytext.writes(content, fmt="ipynb") for file, content in notebooks.items()}


def main() -> int:
    for script in scripts():
        for path, text in built(script).items():
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, "utf-8")
    return 0


def _tags(cell: NotebookNode) -> list[str]:
    return list(cell.metadata.get("tags", []))


def _part(cell: NotebookNode) -> str | None:
    """Which part of an exercise a cell is, or None."""
    return next((tag for tag in _tags(cell) if tag in PARTS), None)


def _folded(cell: NotebookNode, summary: str, body: str) -> NotebookNode:
    text = f"<details>\n<summary>{summary}</summary>\n\n{body}\n\n</details>"
    return new_markdown_cell(text, id=cell.id, metadata=cell.metadata)


if __name__ == "__main__":
    sys.exit(main())
