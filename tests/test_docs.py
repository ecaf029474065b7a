"""The documentation: it names all there is, and its checks find what is broken."""

import ast
import builtins
import re
from inspect import ismodule
from pathlib import Path

import nbformat
import pytest
from loading import load_script

import lafn_viz as lv

DOCS = Path(__file__).parents[1] / "docs"
ROOT = DOCS.parent


links, prepare = load_script("docs/links.py"), load_script("docs/prepare.py")


def text_of(folder: str) -> str:
    return "\n".join(path.read_text("utf-8") for path in sorted((DOCS / folder).glob("*.md")))


def test_every_public_name_is_in_the_api_reference():
    directive = r"^\.\. auto(function|class|exception|module):: lafn_viz\.([\w.]+)$"
    shown = {name for _, name in re.findall(directive, text_of("api"), re.MULTILINE)}
    for name in lv.__all__:
        value = getattr(lv, name)
        if ismodule(value):  # such as lv.plots
            assert value.__name__.removeprefix("lafn_viz.") in shown
        else:
            assert name in shown
            # The module that holds it says what it means.
            assert lv._PUBLIC_NAMES[name].removeprefix("lafn_viz.") in shown


def test_every_page_of_the_api_is_listed():
    listed = (DOCS / "api" / "index.md").read_text("utf-8").splitlines()
    assert {path.stem for path in (DOCS / "api").glob("*.md")} - {"index"} <= set(listed)


def test_pages_include_parts_of_other_pages_that_are_there():
    """A part is named by the text before it and after it."""
    found = 0
    for page in DOCS.rglob("*.md"):
        text = page.read_text("utf-8")
        for path, options in re.findall(r"```\{include\} (\S+)\n((?::.*\n)*)", text):
            included = (page.parent / path).read_text("utf-8")
            for mark in re.findall(
                r"^:(?:start-after|end-before): \"(.*)\"$", options, re.MULTILINE
            ):
                assert mark in included, f"{page.name}: {mark!r} is not in {path}"
                found += 1
    assert found > 4


def test_every_notebook_has_a_page_of_the_course():
    assert [path.stem for path in prepare.notebooks()] == sorted(
        path.stem for path in (ROOT / "notebooks").glob("*.ipynb")
    )
    assert ":glob:" in (DOCS / "course" / "index.md").read_text("utf-8")


def test_every_benchmark_is_explained():
    page = (DOCS / "howto" / "benchmark.md").read_text("utf-8")
    for path in (ROOT / "benchmarks").glob("*.py"):
        assert f"`{path.name}`" in page, path.name
        assert f"python benchmarks/{path.name} " in page, path.name


def test_every_figure_of_the_gallery_has_its_call():
    from lafn_viz.app import gallery

    calls = prepare.gallery_calls()
    assert list(calls) == list(gallery.FIGURES)
    there = {*vars(gallery), *vars(builtins), "r"}
    for name, call in calls.items():
        assert f"plots.{name}(" in call
        nodes = [node for node in ast.walk(ast.parse(call)) if isinstance(node, ast.Name)]
        read = {node.id for node in nodes if isinstance(node.ctx, ast.Load)}
        made = {node.id for node in nodes if isinstance(node.ctx, ast.Store)}
        made |= {node.arg for node in ast.walk(ast.parse(call)) if isinstance(node, ast.arg)}
        assert not read - made - there, "the page says: from lafn_viz.app.gallery import *"


def test_examples_in_the_guides_are_python():
    for path in (DOCS / "howto").glob("*.md"):
        for code in re.findall(r"```python\n(.*?)```", path.read_text("utf-8"), re.DOTALL):
            compile(code, path.name, "exec")


def page_of(*outputs: dict, source: str = "1 + 1") -> str:
    cell = nbformat.v4.new_code_cell(source, outputs=[nbformat.from_dict(o) for o in outputs])
    opening = nbformat.v4.new_markdown_cell("# Title")
    return "\n".join(prepare.course_page("00_x", nbformat.v4.new_notebook(cells=[opening, cell])))


def shown(**data) -> dict:
    kinds = {"plotly": prepare.FIGURE, "widget": prepare.WIDGET, "plain": "text/plain"}
    data = {kinds[name]: value for name, value in data.items()}
    return {"output_type": "display_data", "data": data, "metadata": {}}


def test_a_page_keeps_what_was_printed_and_drops_bars_and_colours():
    text = "/here/lafn_viz/interventions/effects.py:1: \x1b[31mred\x1b[0m <b>\n"
    text += "edits:  40%|████      | 4/10\r done\n 50%|██| 1/2\n"
    page = page_of({"output_type": "stream", "name": "stdout", "text": text})
    assert ">lafn_viz/interventions/effects.py:1: red &lt;b&gt;\n done</pre>" in page
    assert "%|" not in page
    assert "\x1b" not in page
    bar = shown(widget={"model_id": "x"}, plain="edits:   0%|          | 0/10")
    assert "output" not in page_of(bar)


def test_a_widget_becomes_a_sentence_and_a_figure_its_data():
    assert "lafn-viz lab</code> to use them" in page_of(shown(widget={"model_id": "x"}))
    title = {"text": "A <i>title</i>", "subtitle": {"text": "what<br>to see"}}
    figure = {"data": [{"text": "</script>"}], "layout": {"title": title, "height": 321}}
    page = page_of(shown(plotly=figure))
    assert 'aria-label="A title. what to see"' in page
    assert "height:321px" in page
    assert page.count("</script>") == 1


def test_links_to_notebooks_lead_to_their_pages():
    first = prepare.notebooks()[0].stem
    assert prepare.linked(f"See [`{first}`]({first}.ipynb).") == f"See [`{first}`]({first}.md)."
    assert prepare.linked("See [it](mine.ipynb).") == "See [it](mine.ipynb)."


def test_results_are_made_anew_when_code_changes_but_not_for_a_docstring(tmp_path, monkeypatch):
    monkeypatch.setattr(prepare, "ROOT", tmp_path)
    module = tmp_path / "one.py"

    def digest(text: str) -> str:
        module.write_text(text, "utf-8")
        return prepare.digest([module])

    was = digest('def f():\n    """Says."""\n    return 1\n')
    assert digest('def f():\n    """Says more."""\n\n    return 1  # one\n') == was
    assert digest('def f():\n    """Says."""\n    return 2\n') != was


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('<a href="missing.html">', "a.html links to missing.html, which is not there"),
        ('<a href="b.html#no">', "a.html links to b.html#no, where there is no such place"),
        ('<a href="#no">', "a.html links to #no, where there is no such place"),
        ('<a href="../out.html">', "a.html links to ../out.html, which is not there"),
        ('<img src="no.png">', "a.html links to no.png, which is not there"),
        ('<script src="https://cdn.test/x.js">', "loads https://cdn.test/x.js from another"),
        ('<link rel="stylesheet" href="//cdn.test/x.css">', "loads //cdn.test/x.css from another"),
        ('<a href="b.html#yes">', ""),
        ('<a href="b.html">', ""),
        ('<a href="https://arxiv.org">', ""),
    ],
)
def test_the_link_check_finds_what_is_broken(body, said, tmp_path):
    site = tmp_path / "site"
    site.mkdir()
    (site / "a.html").write_text(f"<body>{body}</body>", "utf-8")
    (site / "b.html").write_text('<h1 id="yes">', "utf-8")
    (tmp_path / "out.html").write_text("", "utf-8")
    found = links.problems(site)
    assert len(found) == bool(said)
    assert said in "".join(found)


def test_the_link_check_wants_pages_and_styles_from_here(tmp_path):
    assert "holds no pages" in links.problems(tmp_path)[0]
    (tmp_path / "a.html").write_text("<p>", "utf-8")
    (tmp_path / "a.css").write_text('@font-face { src: url( "https://fonts.test/x") }', "utf-8")
    assert "a.css loads something" in links.problems(tmp_path)[0]
