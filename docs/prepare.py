"""Run the notebooks, draw the gallery, and write both as pages for Sphinx.

    python docs/prepare.py              # run what has changed; results go to build/docs-cache
    python docs/prepare.py --no-execute # use the last results, whatever has changed since

A result is computed again when its notebook, the code of the package (without comments and
docstrings), the data or the computing libraries change. A notebook that fails stops the build.
"""

import argparse
import ast
import hashlib
import html
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
CACHE = ROOT / "build" / "docs-cache"
GALLERY = "gallery"
FIGURE = "application/vnd.plotly.v1+json"
WIDGET = "application/vnd.jupyter.widget-view+json"
ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
PROGRESS = re.compile(r"\d+%\|")  # a progress bar of tqdm
FOLDER = re.compile(
    r"/\S*/(?=lafn_viz/)|/\S*/ipykernel_\d+/"
)  # the folder of a file named in a warning
READ = (".json", ".jsonl", ".safetensors")
COMPUTE = ("numpy", "pandas", "plotly", "torch", "transformer-lens", "transformers")
FENCE = "``````"  # longer than any in a notebook


def notebooks() -> list[Path]:
    """The notebooks in the order of the course."""
    return sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--no-execute", dest="execute", action="store_false")
    execute = parser.parse_args().execute
    # The gallery comes first because it takes longest.
    tasks = [(GALLERY, draw_gallery), *((path.stem, run_notebook) for path in notebooks())]
    CACHE.mkdir(parents=True, exist_ok=True)
    if execute:
        versions = " ".join(f"{name}=={version(name)}" for name in COMPUTE)
        common = digest(shared_sources(), versions)
        # Small models gain more from two processes than from two threads.
        with ProcessPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
            runs = [pool.submit(ensure, name, common, task) for name, task in tasks]
            for run in runs:
                print(run.result(), flush=True)
    for stale in [*(DOCS / "course").glob("[0-9]*.md"), DOCS / "gallery" / "figures.md"]:
        stale.unlink(missing_ok=True)
    for path in notebooks():
        notebook = nbformat.reads((kept(path.stem) or path).read_text("utf-8"), as_version=4)
        page = "\n\n".join(course_page(path.stem, notebook))
        (DOCS / "course" / f"{path.stem}.md").write_text(page + "\n", "utf-8")
    (DOCS / "course" / "exercises.md").write_text(exercises_page() + "\n", "utf-8")
    drawn = kept(GALLERY)
    figures = json.loads(drawn.read_text("utf-8")) if drawn else {}
    page = "\n\n".join(gallery_page(figures))
    (DOCS / "gallery" / "figures.md").write_text(page + "\n", "utf-8")
    return 0


# Run each notebook once for each state of the sources.


def shared_sources() -> Iterator[Path]:
    """The files that any result may depend on, besides its own notebook."""
    yield from (ROOT / "lafn_viz").rglob("*.py")
    yield from (path for path in (ROOT / "data").rglob("*") if path.suffix in READ)


def digest(paths: Iterable[Path], start: str = "") -> str:
    """Return a hash of the files' names and contents."""
    hashed = hashlib.sha256(start.encode())
    for path in sorted(paths):
        content = code_of(path) if path.suffix == ".py" else path.read_bytes()
        hashed.update(str(path.relative_to(ROOT)).encode() + b"\0" + content)
    return hashed.hexdigest()[:16]


def code_of(path: Path) -> bytes:
    """Return the code of a module without comments, layout and docstrings."""
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        if documented and ast.get_docstring(node) is not None:
            del node.body[0]
    return ast.dump(tree).encode()


def ensure(name: str, common: str, task: Callable[[str], str]) -> str:
    """Run a task unless its result is in the cache, which keeps one result of each task."""
    own = [path for path in notebooks() if path.stem == name]
    place = CACHE / f"{name}-{digest(own, common)}.json"
    if place.exists():
        return f"{name}: unchanged"
    text = task(name)
    for old in CACHE.glob(f"{name}-*.json"):
        old.unlink()
    place.write_text(text, "utf-8")
    return f"{name}: run"


def kept(name: str) -> Path | None:
    """The result in the cache, whatever state of the sources it is from."""
    return next(CACHE.glob(f"{name}-*.json"), None)


def run_notebook(name: str) -> str:
    """Run a notebook and return it with its outputs; raises if a cell fails."""
    from nbclient import NotebookClient

    os.environ["PLOTLY_RENDERER"] = "plotly_mimetype"
    notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    folder = {"metadata": {"path": str(ROOT / "notebooks")}}
    times = {"timeout": 600, "startup_timeout": 300}  # seconds
    client = NotebookClient(notebook, resources=folder, **times)
    client.extra_arguments = [
        "--log-level=ERROR"
    ]  # hide warnings about the connection to the kernel
    client.execute()
    return nbformat.writes(notebook)


def draw_gallery(name: str) -> str:
    """Draw every figure of the gallery and return them as JSON, by name."""
    from lafn_viz.app.gallery import FIGURES, Results

    results = Results()
    return json.dumps({n: json.loads(draw(results).to_json()) for n, draw in FIGURES.items()})


# Write the pages.


def course_page(stem: str, notebook: NotebookNode) -> Iterator[str]:
    """Write a notebook as MyST Markdown: its text, its code and its outputs."""
    link = f"{{download}}`{stem}.ipynb <../../notebooks/{stem}.ipynb>`"
    opening = f"{link} · `lafn-viz lab` opens it, so that you can run and change it."
    for i, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            yield linked(cell.source)
        else:
            yield f"{FENCE}python\n{cell.source}\n{FENCE}"
            shown = "\n".join(filter(None, map(output, cell.outputs)))
            if shown:
                yield raw(f'<div class="output">\n{shown}\n</div>')
        if i == 0:
            yield f":::{{container}} open-notebook\n{opening}\n:::"


def exercises_page() -> str:
    """Write the page of all exercises, with their difficulty and minutes."""
    sys.path.insert(0, str(ROOT / "notebooks" / "scripts"))
    import build

    rows = ["| exercise | unit | difficulty | minutes |", "|---|---|---|---|"]
    total = 0
    for script in build.scripts():
        for task in build.exercises(build.read(script)):
            dots = "●" * task.difficulty + "○" * (3 - task.difficulty)
            unit = f"[{task.number.split('.')[0]}]({script.stem}.md)"
            rows.append(f"| {task.number} {task.title} | {unit} | {dots} | {task.minutes} |")
            total += task.minutes
    table = "\n".join(rows)
    return f"# All exercises\n\n{len(rows) - 2} exercises, {total} minutes in all.\n\n{table}"


def linked(text: str) -> str:
    """Turn links to notebooks into links to their pages."""
    return re.sub(r"\]\(([0-9]{2}_\w+)\.ipynb\)", r"](\1.md)", text)


def output(one: NotebookNode) -> str:
    """Return one output as HTML; empty for progress bars and outputs with nothing to show."""
    if one.output_type == "stream":
        return preformatted(one.text)
    data = one.get("data", {})
    if FIGURE in data:
        return figure(data[FIGURE])
    if WIDGET in data:
        if PROGRESS.search(data.get("text/plain", "")):
            return ""
        return (
            '<p class="needs-kernel">The notebook shows controls here, which need a running '
            "Python: open it with <code>lafn-viz lab</code> to use them.</p>"
        )
    if "image/png" in data:
        return f'<img alt="" src="data:image/png;base64,{data["image/png"].strip()}">'
    return data.get("text/html") or preformatted(data.get("text/plain", ""))


def preformatted(text: str) -> str:
    """Return text as printed, without colours, progress bars and this computer's folders."""
    text = FOLDER.sub("", text)
    lines = [line.rsplit("\r", 1)[-1].rstrip() for line in ANSI.sub("", text).split("\n")]
    printed = "\n".join(line for line in lines if not PROGRESS.search(line)).strip("\n")
    return f'<pre tabindex="0">{html.escape(printed)}</pre>' if printed.strip() else ""


def figure(drawn: dict[str, Any]) -> str:
    """Return a figure as data, which figures.js draws when it comes into view."""
    layout = drawn.get("layout", {})
    label = html.escape(". ".join(titles(drawn)), quote=True)
    data = json.dumps({"data": drawn["data"], "layout": layout}, ensure_ascii=False)
    data = data.replace("</", "<\\/")  # so that no text in it ends the script
    size = f"height:{int(layout.get('height', 450))}px"
    return (
        f'<div class="figure" tabindex="0" role="figure" aria-label="{label}"><div style="{size}">'
        f'<script type="application/json">{data}</script></div></div>'
    )


def titles(drawn: dict[str, Any]) -> list[str]:
    """Return the title and the caption of a figure as plain text."""
    title = drawn.get("layout", {}).get("title", {})
    texts = (title.get("text"), title.get("subtitle", {}).get("text"))
    return [re.sub(r"<[^>]+>", " ", text).replace("  ", " ").strip() for text in texts if text]


def gallery_page(figures: dict[str, Any]) -> Iterator[str]:
    """Write every figure with its caption, its documentation and the call that draws it."""
    yield "# All figures"
    yield (
        "These figures come from small runs on the embedded model, so the intervals are wide. "
        "Point at a figure to read its values. The calls take their results from `r`:"
    )
    yield "```python\nfrom lafn_viz.app.gallery import *\n\nr = Results()\n```"
    if not figures:
        yield ":::{note}\nThis site was built without running anything: no figures.\n:::"
    calls = gallery_calls()
    for name, drawn in figures.items():
        title, *caption = titles(drawn)
        yield f"({name})=\n## {escaped(title)}"
        yield raw(figure(drawn))
        yield f"{escaped(' '.join(caption))} Drawn by {{py:func}}`lafn_viz.plots.{name}`:"
        yield f"```python\n{calls[name]}\n```"


def gallery_calls() -> dict[str, str]:
    """Return the code in app/gallery.py that draws each figure."""
    source = (ROOT / "lafn_viz" / "app" / "gallery.py").read_text("utf-8")
    tree = ast.parse(source)
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    table = next(
        node.value
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "FIGURES"
    )
    assert isinstance(table, ast.Dict)
    calls = {}
    for key, value in zip(table.keys, table.values, strict=True):
        assert isinstance(key, ast.Constant)
        if isinstance(value, ast.Lambda):
            calls[key.value] = dedented(ast.get_source_segment(source, value.body) or "")
        else:
            body = functions[ast.unparse(value)].body
            lines = source.splitlines()[body[0].lineno - 1 : body[-1].end_lineno]
            calls[key.value] = re.sub(r"^    |  # fmt: skip", "", "\n".join(lines), flags=re.M)
            calls[key.value] = calls[key.value].replace("return plots.", "plots.")
    return calls


def dedented(code: str) -> str:
    """An expression whose later lines stand where they stood in their file."""
    first, *rest = code.split("\n")
    return "\n".join([first, *(line.removeprefix("    ") for line in rest)])


def escaped(text: str) -> str:
    """Plain text for Markdown."""
    return re.sub(r"([\\`*_{}\[\]<>$|#])", r"\\\1", html.unescape(text))


def raw(text: str) -> str:
    return f"{FENCE}{{raw}} html\n{text}\n{FENCE}"


if __name__ == "__main__":
    sys.exit(main())
