"""A figure as a page: it has a title, fills its window, and needs no network."""

import re

import plotly.graph_objects as go

from lafn_viz.plots.pages import write_page
from lafn_viz.plots.style import styled


def test_a_page_fills_its_window_and_names_itself(tmp_path):
    figure = styled(
        go.Figure(go.Bar(x=["a"], y=[1])),
        title="Is <b>A</b> &lt; B?",
        caption="</main>",
        height=300,
    )
    page = write_page(figure, tmp_path, "a figure")
    assert page == tmp_path / "a figure.html"
    text = page.read_text("utf-8")
    assert re.search(r"<title>\s*Is\s+A\s+&lt; B\?\s*</title>", text)
    assert '"width":840' not in text
    assert '"height":300' in text
    assert "<\\u002fmain>" in text.lower() or text.count("</main>") == 1
    assert 'src="plotly.min.js"' in text
    assert (tmp_path / "plotly.min.js").stat().st_size > 1e6
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert figure.layout.width == 840  # the figure itself stays as it was
