"""A figure on the page: what is sent to the browser."""

import json

from plotly import graph_objects as go

from lafn_viz import plots
from lafn_viz.widgets import FigureView


def test_a_figure_is_sent_unchanged_with_its_description():
    view = FigureView()
    figure = go.Figure(go.Heatmap(z=[[1, 2, 3], [4, 5, 6]]))
    plots.style.styled(figure, title="What", caption="It<br>is", height=300)
    view.show(figure)
    sent = json.loads(view.figure)
    assert sent["data"][0]["z"] == [[1, 2, 3], [4, 5, 6]]
    assert sent["config"] == plots.style.config_for("What")
    view.show(figure, what="France – capital")
    saved_as = json.loads(view.figure)["config"]["toImageButtonOptions"]["filename"]
    assert saved_as == "What-France-capital"
    assert view.label == "What. It is"
    revision = view.revision
    view.show(None)
    assert (view.figure, view.label) == ("", "")
    assert view.revision == revision + 1


def test_plotly_is_sent_when_the_page_asks_for_it(monkeypatch):
    view, sent = FigureView(), []
    monkeypatch.setattr(view, "send", sent.append)
    view._handle_custom_msg({"kind": "other"}, [])
    assert not sent
    view._handle_custom_msg({"kind": "plotly"}, [])
    assert "Plotly" in sent[0]["code"]
