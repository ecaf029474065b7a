"""Tables as HTML."""

from lafn_viz.widgets.html import Cell, table


def test_text_of_a_data_set_is_escaped():
    text = "<img src=x onerror=alert(1)>"
    html = table([text], [[Cell(text, 'en" onclick="x')]], caption=text, name="t")
    assert "<img" not in html
    assert html.count("&lt;img src=x onerror=alert(1)&gt;") == 3
    assert 'onclick="' not in html
