"""The course: its notebooks are what its scripts make, and every check knows right from wrong."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest
from loading import load_script

import lafn_viz as lv
from lafn_viz import course as lv_course
from lafn_viz.course import grading

ROOT = Path(__file__).parents[2]
build = load_script("notebooks/scripts/build.py")
SCRIPTS = {path.stem: build.read(path) for path in build.scripts()}
EXERCISES = [(name, e) for name, script in SCRIPTS.items() for e in build.exercises(script)]
IDS = [exercise.number for _, exercise in EXERCISES]


def test_names_of_notebooks_are_links_where_there_is_one():
    first = build.scripts()[0].stem
    assert build.linked(f"See `{first}`.") == f"See [`{first}`]({first}.ipynb)."
    assert build.linked("See `99_nothing`.") == "See `99_nothing`."
    for path in build.scripts():
        for notebook, text in build.built(path).items():
            for target in re.findall(r"\]\(([\w./]+\.ipynb)\)", text):
                assert (notebook.parent / target).resolve().is_file(), f"{notebook}: {target}"


@pytest.mark.parametrize("path", build.scripts(), ids=lambda path: path.stem)
def test_notebooks_are_what_their_script_makes(path):
    for notebook, text in build.built(path).items():
        assert notebook.is_file(), "run `make notebooks`"
        assert notebook.read_text("utf-8") == text, "run `make notebooks`"


def test_no_notebook_is_without_its_script():
    made = {notebook for path in build.scripts() for notebook in build.built(path)}
    assert set((ROOT / "notebooks").rglob("*.ipynb")) == made


@pytest.mark.parametrize("name", SCRIPTS)
def test_notebook_says_what_a_reader_needs_to_know(name):
    cells = SCRIPTS[name].cells
    first, text = cells[0].source, "\n".join(c.source for c in cells if c.cell_type == "markdown")
    assert first.startswith(f"# {int(name[:2])}. ")
    for part in ("**You will**", "**Time**", "**Before**", "**What to expect**"):
        assert part in first, part
    assert "**The idea**" in text
    assert re.search(r"\$\$.+\$\$", text, re.DOTALL)
    for part in ("## Limits", "**Papers**", "**Next**"):
        assert part in cells[-1].source, part
    for cell in cells:
        if cell.cell_type == "code":
            assert len(cell.source.splitlines()) <= 15, cell.source


def test_course_has_exercises_in_order():
    assert len(EXERCISES) >= 15
    numbers = [tuple(map(int, exercise.number.split("."))) for _, exercise in EXERCISES]
    by_unit: dict[int, list[int]] = {}
    for (name, _), (unit, one) in zip(EXERCISES, numbers, strict=True):
        assert unit == int(name[:2])
        by_unit.setdefault(unit, []).append(one)
    assert all(ones == list(range(1, len(ones) + 1)) for ones in by_unit.values())


@cache
def load_model(name):
    return ORIGINAL(name)


ORIGINAL = lv.load_model


@cache
def prepared(name):
    """What the cells tagged `setup` leave, run once a notebook."""
    left: dict = {}
    for cell in SCRIPTS[name].cells:
        if "setup" in build._tags(cell):
            exec(compile(cell.source, f"{name}, setup", "exec"), left)
    return left


def judged(name, exercise, answer):
    """The verdict on an answer, by the notebook's own check."""
    left = dict(prepared(name))
    exec(compile(answer, f"{name}, answer", "exec"), left)
    *before, last = ast.parse(exercise.check).body
    exec(compile(ast.Module(before, []), f"{name}, check", "exec"), left)
    return eval(ast.unparse(last), left)


@pytest.fixture(autouse=True)
def one_copy_of_each_model(monkeypatch):
    monkeypatch.setattr(lv, "load_model", load_model)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "exercise"), EXERCISES, ids=IDS)
def test_check_refuses_the_hole_and_passes_the_solution(name, exercise):
    hole = judged(name, exercise, exercise.hole)
    assert not hole.passed
    assert hole.says == grading.UNFILLED
    solution = judged(name, exercise, exercise.solution)
    assert solution.passed, solution.says


@pytest.mark.slow
@pytest.mark.parametrize(("name", "exercise"), EXERCISES, ids=IDS)
def test_check_explains_two_typical_mistakes(name, exercise):
    first, second = (judged(name, exercise, mistake) for mistake in exercise.mistakes)
    assert not first.passed
    assert not second.passed
    # Two mistakes, two explanations: neither is the hole's, nor that of code that breaks.
    says = {first.says, second.says}
    assert len(says) == 2
    assert all(grading.UNFILLED not in one and "Your code stops" not in one for one in says)


@pytest.mark.parametrize(("name", "exercise"), EXERCISES, ids=IDS)
def test_check_says_what_broke(name, exercise):
    broken = re.sub(r"\.\.\.", "(1 / 0)", exercise.hole)
    verdict = judged_or_raised(name, exercise, broken)
    assert verdict is None or (not verdict.passed and "ZeroDivisionError" in verdict.says)


def judged_or_raised(name, exercise, answer):
    """A verdict; None where the answer is no function and breaks in the student's own cell."""
    try:
        return judged(name, exercise, answer)
    except ZeroDivisionError:
        return None


def test_students_find_hint_and_solution_folded_and_teachers_no_hole():
    for script in SCRIPTS.values():
        solved = build.exercises(script)
        student, teacher = build.for_students(script), build.for_teachers(script)
        sources = [cell.source for cell in student.cells if cell.cell_type == "code"]
        for exercise in solved:
            assert exercise.hole in sources
            assert exercise.solution not in sources
            assert not any(m in c.source for c in student.cells for m in exercise.mistakes)
        folded = [c for c in student.cells if {"hint", "solution"} & set(build._tags(c))]
        assert len(folded) == 2 * len(solved)
        assert all(c.cell_type == "markdown" and "<details>" in c.source for c in folded)
        filled = [cell.source for cell in teacher.cells if cell.cell_type == "code"]
        assert all(e.solution in filled and e.hole not in filled for e in solved)


def test_verdict_escapes_what_the_student_wrote():
    verdict = grading.Verdict(False, "Your `x` is <script>")
    assert "<code>x</code> is &lt;script&gt;" in verdict._repr_html_()
    assert "<script>" not in verdict._repr_html_()
    assert repr(verdict).startswith("✗")


def test_a_verdict_says_how_far_the_student_is(monkeypatch):
    monkeypatch.setattr(grading, "_SOLVED", {})

    def judge(answer):
        if answer != 7:
            raise grading.Wrong("It is 7.")
        return "So it is."

    def named(name, module):
        one = type(judge)(judge.__code__, judge.__globals__, name)
        one.__module__ = module
        return grading.check(one)

    first, second = named("first", "course.unit"), named("second", "course.unit_more")
    named("third", "course.another")
    assert first(7).progress == "1 of 2 exercises of this unit solved."
    assert repr(second(8)) == "✗ Not yet. It is 7. 1 of 2 exercises of this unit solved."
    assert second(7).progress == "You have solved all 2 exercises of this unit."
    assert "You have solved all 2" in second(7)._repr_html_()
    assert first(...).progress == "1 of 2 exercises of this unit solved."


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_exercise_of_a_unit_counts(name):
    of_unit = [e for unit, e in EXERCISES if unit == name]
    checks = {call for e in of_unit for call in re.findall(r"course\.(check_\w+)", e.check)}
    modules = {vars(lv_course)[call].__wrapped__.__module__ for call in checks}
    counted = {c for module, own in grading._SOLVED.items() if module in modules for c in own}
    assert counted == checks
    assert len({grading.progress_in(module).split(" of ")[-1] for module in modules}) <= 1
