"""What stays of a widget in exported pages."""

import ipywidgets as w
import pandas as pd
import pytest
from itables.widget import ITable
from plotly import graph_objects as go

from lafn_viz.widgets import FigureView
from lafn_viz.widgets.exported import MAX_ROWS, NEEDS_KERNEL, kept_html
from lafn_viz.widgets.html import row


def test_a_copy_holds_what_is_shown_and_what_is_chosen():
    frame = pd.DataFrame({"neuron": [f"0:{i}" for i in range(40)], "score": 0.123456789})
    hidden = w.VBox([w.HTML("hidden")], layout={"display": "none"})
    box = w.VBox(
        [
            row(w.Dropdown(options=[("France & co", "FR")], description="Subject"), w.Button()),
            w.Checkbox(value=True, description="Hindi"),
            w.Checkbox(value=False, description="Turkish"),
            w.Text(value="<b>", description="Prompt"),
            FigureView(go.Figure(go.Bar(y=[1, 2])).update_layout(title="Bars")),
            FigureView(),
            ITable(frame),
            hidden,
        ]
    )
    text = kept_html(box)
    assert NEEDS_KERNEL in text
    assert "Subject: France &amp; co · Hindi · Prompt: &lt;b&gt;" in text
    assert text.count("plotly-graph-div") == 1
    assert "Bars" in text
    assert text.count("<tr>") == MAX_ROWS + 1
    assert f"The first {MAX_ROWS} of 40 rows" in text
    assert "0.1235" in text
    assert "hidden" not in text.split("</style>")[1]
    hidden.layout.display = None
    assert "<div>hidden</div>" in kept_html(box)


@pytest.mark.slow
def test_a_copy_of_an_explorer_has_its_figure_status_and_table(overlap_explorer):
    text = kept_html(overlap_explorer)
    assert overlap_explorer.figure.label in text.replace("&#x27;", "'")
    assert overlap_explorer.status.text in text
    assert "Subject: France" in text
    assert "Cancel" not in text
    overlap_explorer.view.value = "layers"
    assert kept_html(overlap_explorer) != text
    overlap_explorer.view.value = "heatmap"
    assert kept_html(overlap_explorer) == text
