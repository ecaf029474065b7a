"""Every command and example of the pages is run, or it is on a list that says why it is not."""

import argparse
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from documentation import ROOT, SHELLS, SHOWN, blocks, commands, pages, shell_lines
from traitlets.config import Config

import lafn_viz as lv
from lafn_viz.cli.main import main

PAGES = {page.relative_to(ROOT).as_posix(): page for page in pages()}
EMBEDDED = ROOT / "data" / "models" / "embedded"


class Parsed(BaseException):
    """Raised in place of what a program does after it has read its options."""


@pytest.fixture
def only_parsed(monkeypatch):
    """Programs end once they have read their options."""
    parse = argparse.ArgumentParser.parse_args

    def stop(parser, args=None, namespace=None):
        parse(parser, args, namespace)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)


def of_the_package(words: list[str]) -> None:
    """`lafn-viz`: it has this command with these options."""
    with pytest.raises((Parsed, SystemExit)) as ended:
        main(words[1:])
    assert getattr(ended.value, "code", 0) == 0  # --help ends with 0, an unknown option does not


def of_a_script(words: list[str]) -> None:
    """`python SCRIPT`: it exists and takes these options."""
    script = ROOT / words[1]
    before, modules = sys.argv, set(sys.modules)
    sys.argv = [str(script), *words[2:]]
    sys.path.insert(0, str(script.parent))
    try:
        with pytest.raises(Parsed):
            runpy.run_path(str(script), run_name="__main__")
    finally:
        sys.argv = before
        sys.path.remove(str(script.parent))
        for name in {path.stem for path in script.parent.glob("*.py")} - modules:
            sys.modules.pop(name, None)


def of_make(words: list[str]) -> None:
    """`make TARGET`: the target exists, and nothing else is missing before it begins."""
    run = subprocess.run(
        ["make", "--dry-run", *words[1:]], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip()


def of_pip(words: list[str]) -> None:
    """`pip install`: the extras, packages and files are those of this project."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = {re.split(r"[\[<>=~]", need)[0] for needs in extras.values() for need in needs}
    for word in words[2:]:
        if extra := re.fullmatch(r"(?:lafn_viz|\.)\[([\w,-]+)\]", word):
            assert set(extra[1].split(",")) <= set(extras), word
        elif word.endswith(".txt"):
            assert (ROOT / word).is_file()
        elif not word.startswith("-"):
            assert word in {*wanted, "lafn_viz"}, word


def of_conda(words: list[str]) -> None:
    """`conda env create --file FILE`: the file is there (`test_project` compares its content)."""
    assert words[1:4] == ["env", "create", "--file"]
    assert (ROOT / words[4]).is_file()


def of_nbconvert(words: list[str]) -> None:
    """`jupyter nbconvert`: it has these options and formats, and the notebook is there."""
    from nbconvert import HTMLExporter
    from nbconvert.exporters import get_export_names
    from nbconvert.nbconvertapp import NbConvertApp
    from nbconvert.preprocessors import ExecutePreprocessor

    owners = {"HTMLExporter": HTMLExporter, "ExecutePreprocessor": ExecutePreprocessor}
    for option, value in zip(words[2:], [*words[3:], ""], strict=True):
        if owned := re.match(r"--(\w+)\.(\w+)=", option):
            assert owned[2] in owners[owned[1]].class_traits(config=True), option
        elif option == "--to":
            assert value in get_export_names()
        elif option.startswith("--"):
            assert option[2:] in NbConvertApp.flags, option
        elif option.endswith(".ipynb"):
            assert (ROOT / "notebooks" / option).is_file()


def of_tools(words: list[str]) -> None:
    """A tool in `.venv`: its arguments are options, or files of this project."""
    paths = [word for word in words[1:] if "/" in word]
    assert all((ROOT / path).exists() for path in paths)


# How each command is checked, or why it is not. The blocks of pages are also run, see below.
KNOWN: dict[str, Callable[[list[str]], None] | str] = {
    r"lafn-viz ": of_the_package,
    r"make ": of_make,
    r"python (benchmarks|docs)/\w+\.py": of_a_script,
    r"pip install ": of_pip,
    r"jupyter nbconvert ": of_nbconvert,
    r"conda ": of_conda,
    r"\.venv/bin/(python|ruff) ": of_tools,
    r"docker ": "needs Docker; the page says that these lines were not run",
    r"ray start ": "needs several machines; test_ray_backend.py starts several nodes on this one",
    r"(head=|srun |sleep )": "needs Slurm; the page says that these lines were not run",
}


def check_of(command: str) -> Callable[[list[str]], None] | str:
    """What is known of a command; fails for one that nobody has thought of."""
    for pattern, check in KNOWN.items():
        if re.match(pattern, command):
            return check
    pytest.fail(f"no test knows this command: {command}; add it to KNOWN, with a check or a reason")


@pytest.mark.parametrize("name", PAGES)
def test_every_command_of_a_page_exists(name, only_parsed):
    for command in commands(PAGES[name]):
        check = check_of(command)
        if not isinstance(check, str):
            check(shlex.split(command))


def test_no_rule_is_left_over():
    named = [command for page in PAGES.values() for command in commands(page)]
    assert len(named) > 40
    for pattern in KNOWN:
        assert any(re.match(pattern, command) for command in named), pattern


def test_notebooks_call_no_program():
    for path in ROOT.glob("notebooks/*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            assert cell.cell_type != "code" or not re.search(r"^\s*[!%]", cell.source, re.MULTILINE)


# What makes the examples of the pages small, or puts something that is there in its place.
SMALL = {
    r"--relation capital": "--relation capital --facts 1 --languages en fr --n-steps 4",
    r"--edits 20": "--edits 1",
    r"--fact capital/FR": "--fact capital/FR --languages en --layers 3 --neurons 640",
    r"lv\.edit_case\(model, case\)": "lv.edit_case(model, case, layers=3, n_neurons=640)",
    r"memit\(position=\"answer\"\)": "memit(position='answer', corpus=case.prompts('keep'))",
    r"--backend ray (--workers 2|--address auto)": "",  # test_ray_backend.py sweeps on Ray
    r"/shared/models/llama-7b": str(EMBEDDED),
    r"/shared/": "shared/",
    r"path/to/folder": str(EMBEDDED),
    r"lv\.counterfactual_cases\(n=100\)":
        "lv.counterfactual_cases(n=1).filter(languages=['en', 'fr'])",
    r"n=(20|2)\b": "n=1",
    r"\"runs/mine\"": "{1: 'embedded'}",
    r"\.sample\(24, seed=0\)": ".sample(3, seed=0)",
    r"(relation=sys\.argv\[1\]\))": r"\1.sample(1)",
}  # fmt: skip
# What is not run among the blocks of pages, and why.
NOT_RUN = {
    r"make ": "sets up an environment or runs all tests; the CI does",
    r"pip install ": "asks a package index; `make dist` installs the wheel in a new environment",
    r"lafn-viz (lab|app)": "stays until it is stopped; test_serving.py and tests/browser start it",
    r"jupyter nbconvert ": "runs a notebook for minutes; tests/browser/test_exports.py exports one",
    r"docker ": "needs Docker, see KNOWN",
    r"python benchmarks/": "measures, by hand on a quiet machine; its options are read above",
    r"(ray start|head=|srun|sleep) ?": "needs a cluster, see KNOWN",
}


def run_line(line: str) -> None:
    """Run one line of a shell block in the folder of this process."""
    if any(re.match(pattern, line) for pattern in NOT_RUN):
        return
    words = shlex.split(line)
    assert words[0] == "lafn-viz", f"no test can run this line: {line}"
    assert main(words[1:]) == 0


def run_python(text: str, names: dict[str, object]) -> None:
    """Run one block of Python after those before it; one that is a script gets its arguments."""
    if script := re.match(r"# \S+\.py: python (.*)\n", text):
        sys.argv = shlex.split(script[1])
    exec(compile(text, "page", "exec"), names)


def run_sql(text: str) -> None:
    """Run a query, which has to find something."""
    duckdb = pytest.importorskip("duckdb")
    assert len(duckdb.sql(text).df())


def write_lines(text: str, folder: Path) -> None:
    """Write the lines of JSON that a page shows under the name by which its examples read them."""
    name = "paraphrases" if '"texts"' in text else "facts"
    (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")


def small(text: str) -> str:
    """An example with fewer facts, and files that are there."""
    for pattern, replacement in SMALL.items():
        text = re.sub(pattern, replacement, text)
    return text


@pytest.fixture
def few_facts(monkeypatch):
    """A package with the facts of four countries in four languages."""
    load = lv.load_facts

    def few(*files, **options):
        if files or options:
            return load(*files, **options)
        return load().filter(subjects=["FR", "IT", "JP", "PE"], languages=["en", "fr", "de", "ru"])

    monkeypatch.setattr(lv, "load_facts", few)


RUNNABLE = [
    name for name, page in PAGES.items() if any(kind not in SHOWN for kind, _ in blocks(page))
]


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNNABLE)
def test_the_examples_of_a_page_run_one_after_the_other(name, few_facts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["page"])
    monkeypatch.setattr("plotly.basedatatypes.BaseFigure.show", lambda figure: None)
    for example in ("facts", "paraphrases"):  # a page may name what another one shows
        for kind, text in blocks(PAGES["docs/howto/facts.md"]):
            if kind == "json" and ('"texts"' in text) == (example == "paraphrases"):
                write_lines(text, tmp_path)
    # A configuration of Jupyter asks for its options by this name.
    names: dict[str, object] = {"__name__": "__main__", "get_config": Config}
    for kind, text in blocks(PAGES[name]):
        if kind in SHELLS and "#SBATCH" not in text:
            for line in shell_lines(small(text)):
                run_line(line)
        elif kind == "python":
            run_python(small(text), names)
        elif kind == "sql":
            run_sql(text)
        else:
            assert kind in (*SHOWN, *SHELLS), f"{name}: no test can run a block of {kind}"
