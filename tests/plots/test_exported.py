"""Figures that stay in exported pages: their HTML, and the one copy of plotly.js."""

import base64
import gzip
import json
import re
from html.parser import HTMLParser
from types import SimpleNamespace

import plotly.graph_objects as go
import plotly.io as pio
import pytest
from hypothesis import given, settings, strategies as st
from plotly.offline import get_plotlyjs

from lafn_viz.plots import exported
from lafn_viz.plots.style import config_for


class Reader(HTMLParser):
    """Collects the scripts and the text of a page as a browser would."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.scripts, self.text, self._script = [], "", False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self._script = tag == "script"
        if self._script:
            self.scripts.append("")

    def handle_endtag(self, tag):
        self._script = False

    def handle_data(self, data):
        if self._script:
            self.scripts[-1] += data
        else:
            self.text += data


@settings(max_examples=40)
@given(
    st.one_of(st.text(), st.sampled_from(["</script>", "<!-- <script>", "a\n\nb", "&lt;", "'\""]))
)
def test_any_text_in_a_figure_arrives_and_ends_no_script(text):
    figure = {
        "data": [{"type": "bar", "y": [1], "name": text}],
        "layout": {"title": {"text": text}},
    }
    page = exported.figure_html(figure)
    data, reports = Reader(page).scripts
    assert json.loads(data) == figure
    assert "lafnKept" in reports
    assert "\n\n" not in page  # a blank line would end the HTML in Markdown


def test_a_figure_has_its_title_and_caption_as_text():
    layout = {"title": {"text": "One<br>two &amp; <b>three</b>", "subtitle": {"text": "Look"}}}
    assert exported.description({"layout": layout}) == "One two & three. Look"
    assert "One two & three. Look" in Reader(exported.figure_html({"layout": layout})).text
    assert exported.description({}) == "Figure"


def test_plotly_js_is_packed_whole_and_nothing_else_is_loaded():
    page = exported.library_html()
    packed = re.search(r'const packed = "([^"]+)"', page)[1]
    assert gzip.decompress(base64.b64decode(packed)).decode() == get_plotlyjs()
    assert "http" not in page.replace(packed, "")
    assert len(page) < 2_200_000


@pytest.fixture
def run(monkeypatch):
    """Runs cells of a notebook: `run(cell, figures)` returns how many copies of plotly.js came."""
    shell = SimpleNamespace(display_pub=None, kernel=None)
    monkeypatch.setattr(exported, "_shell", lambda: shell)
    library = exported._Library()

    def run(cell: str, figures: int, *, deleted: tuple[str, ...] = ()) -> int:
        request = {"metadata": {"cellId": cell, "deletedCells": list(deleted)}}
        monkeypatch.setattr(exported, "_request", lambda: request)
        library.before_cell()
        return sum(bool(library.once()) for _ in range(figures))

    run.shell = shell
    return run


def test_one_output_of_the_notebook_carries_plotly_js(run):
    assert [run("a", 0), run("b", 2), run("c", 3)] == [0, 1, 0]
    assert run("b", 2) == 1  # its output was replaced
    assert run("b", 0) == 0  # it shows no figure any more: the next figure carries it
    assert [run("c", 1), run("a", 1)] == [1, 0]
    assert run("d", 1, deleted=("c",)) == 1


def test_captured_output_does_not_count(run):
    from IPython.core.displaypub import CapturingDisplayPublisher

    run.shell.display_pub = CapturingDisplayPublisher()
    assert run("a", 1) == 1
    run.shell.display_pub = None
    assert [run("b", 1), run("c", 1)] == [1, 0]


@pytest.fixture
def default(monkeypatch):
    """Plotly's default renderer, put back afterwards."""
    before = pio.renderers.default
    events = SimpleNamespace(register=lambda name, call: None)
    monkeypatch.setattr(
        exported, "_shell", lambda: SimpleNamespace(events=events, display_pub=None)
    )
    monkeypatch.setattr(exported, "LIBRARY", exported._Library())
    monkeypatch.delenv("PLOTLY_RENDERER", raising=False)
    yield
    pio.renderers.default = before


def test_a_kernel_adds_html_to_what_front_ends_draw_themselves(default):
    pio.renderers.default = "plotly_mimetype"
    exported.keep_figures()
    assert exported.figures_are_kept()
    bundle = go.Figure(go.Bar(y=[1])).update_layout(title="What")._repr_mimebundle_()
    assert {"application/vnd.plotly.v1+json", "text/html", "text/plain"} == set(bundle)
    assert bundle["text/plain"] == "What"
    assert bundle["application/vnd.plotly.v1+json"]["config"] == config_for("What")
    exported.keep_figures()
    assert pio.renderers.default == "plotly_mimetype+lafn_viz"


@pytest.mark.parametrize("chosen", ["notebook_connected", "colab", "png", ""])
def test_a_renderer_that_was_chosen_stays(default, chosen):
    pio.renderers.default = chosen
    exported.keep_figures()
    assert pio.renderers.default == chosen
    assert not exported.figures_are_kept()


def test_the_environment_chooses_and_outside_a_kernel_nothing_changes(default, monkeypatch):
    pio.renderers.default = "plotly_mimetype"
    monkeypatch.setenv("PLOTLY_RENDERER", "plotly_mimetype")
    exported.keep_figures()
    monkeypatch.delenv("PLOTLY_RENDERER")
    monkeypatch.setattr(exported, "_shell", lambda: None)
    exported.keep_figures()
    assert pio.renderers.default == "plotly_mimetype"
