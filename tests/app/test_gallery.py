import re
import shutil
import sys

import numpy as np
import plotly.graph_objects as go
import pytest
from made_up import a_set, scores_of

import lafn_viz as lv
from lafn_viz import plots
from lafn_viz.app import gallery as module
from lafn_viz.app.gallery import FIGURES, Gallery, gallery
from lafn_viz.app.gallery_pages import BROWSERS, write_pictures
from lafn_viz.app.results import Results
from lafn_viz.cli.main import main
from lafn_viz.experiments.examination import Examination


@pytest.fixture
def results():
    """Made-up results, so that no model has to be loaded."""
    sets = [a_set(f, lang, [(0, 1), (1, i)]) for i, f in enumerate("AB") for lang in ("en", "fr")]
    made = Results()
    made.__dict__["examinations"] = {
        "embedded": Examination(
            model="made-up", known=1.0, n_prompts=1, n_choosing=1, n_measured=0,
            scores=scores_of(np.zeros((1, 2, 10))), overlap=lv.overlap(sets),
            papers=lv.overlap(sets), effects={},
        )
    }  # fmt: skip
    return made


def a_figure():
    return plots.style.styled(go.Figure(), title="A title", caption="Two<br>lines", height=200)


def test_every_figure_is_in_the_gallery():
    assert set(FIGURES) == set(plots.__all__) - {"CONFIG"}


def test_pages_open_without_a_network_and_the_index_shows_them(results, tmp_path):
    names = ("overlap_heatmap", "layer_distribution")
    made = gallery(tmp_path / "new" / "gallery", names=names, png=False, results=results)
    assert [page.stem for page in made.pages] == list(names)
    for page in made.pages:
        text = page.read_text("utf-8")
        assert "Plotly.newPlot" in text
        assert '<script charset="utf-8" src="plotly.min.js"' in text
        assert "cdn.plot.ly" not in text
    assert (made.index.parent / "plotly.min.js").exists()
    index = made.index.read_text("utf-8")
    assert re.findall(r'<iframe src="(\w+)\.html"', index) == list(names)
    assert "<img" not in index
    for name in names:
        figure = FIGURES[name](results)
        assert figure.layout.title.text in index
        assert f"lv.plots.{name}" in index
    assert "chance is" in index  # a caption


def test_the_index_shows_pictures_only_if_they_were_drawn(results, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "write_pictures", lambda figures, out: "")
    made = gallery(tmp_path, names=["upset"], results=results)
    assert '<img src="upset.png" alt="Which languages' in made.index.read_text("utf-8")
    monkeypatch.setattr(module, "write_pictures", lambda figures, out: "no browser")
    made = gallery(tmp_path, names=["upset"], results=results)
    assert made.without_pictures == "no browser"
    assert "<img" not in made.index.read_text("utf-8")


@pytest.mark.slow
@pytest.mark.skipif(not any(map(shutil.which, BROWSERS)), reason="there is no browser")
def test_a_picture_is_drawn(tmp_path):
    pytest.importorskip("kaleido")
    assert write_pictures({"one": a_figure()}, tmp_path) == ""
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")


def test_a_sentence_explains_why_there_are_no_pictures(tmp_path, monkeypatch):
    monkeypatch.setenv("BROWSER_PATH", "/no/such/browser")
    output = write_pictures({"one": a_figure()}, tmp_path)
    assert "no browser at BROWSER_PATH=/no/such/browser" in output
    monkeypatch.setitem(sys.modules, "kaleido", None)
    assert "pip install 'lafn_viz[gallery]'" in write_pictures({"one": a_figure()}, tmp_path)
    assert not (tmp_path / "one.png").exists()


def test_unknown_figures_are_named(tmp_path):
    with pytest.raises(ValueError, match="unknown figure 'pie'; there are attribution_strip"):
        gallery(tmp_path, names=["pie"])


def test_a_figure_that_fails_keeps_the_others(results, tmp_path, monkeypatch, capsys):
    def fail(results):
        raise RuntimeError("no numbers")

    names = ["overlap_heatmap", "upset"]
    whole = gallery(tmp_path / "whole", names=names[:1], png=False, results=results)
    monkeypatch.setitem(FIGURES, "upset", fail)
    with pytest.warns(lv.SkippedWarning, match=r"1 of 2 figures left out: 'upset' \(no numbers\)"):
        made = gallery(tmp_path / "made", names=names, png=False, results=results)
    assert [page.stem for page in made.pages] == names[:1]
    assert made.index.read_text("utf-8") == whole.index.read_text("utf-8")
    monkeypatch.setattr(module, "gallery", lambda out, **options: made)
    assert main(["gallery", "--out", str(tmp_path)]) == 1
    output = capsys.readouterr()
    assert output.err == "lafn-viz: upset is left out: no numbers\n"
    assert "1 figures" in output.out


def test_command(monkeypatch, tmp_path, capsys):
    asked = []

    def fake(out, *, png, progress):
        asked.append((out, png))
        return Gallery(out / "index.html", (out / "upset.html",), "no pictures, as it rains")

    monkeypatch.setattr(module, "gallery", fake)
    assert main(["gallery", "--out", str(tmp_path)]) == 0
    assert main(["gallery", "--out", str(tmp_path), "--no-png"]) == 0
    assert asked == [(tmp_path, True), (tmp_path, False)]
    output = capsys.readouterr()
    assert "no pictures, as it rains" in output.err
    assert f"1 figures: {tmp_path / 'index.html'}" in output.out
