"""The helpers do what the browser tests rely on, shown on figures that need no kernel."""

import json
import re

import pytest
from servers import browser_required

if not browser_required():
    pytest.importorskip("playwright")

from driving import (
    Watch,
    click_cell,
    click_point,
    plot_data,
    plot_title,
    wait_for_plots,
    wait_status,
)
from plotly.offline import get_plotlyjs

pytestmark = pytest.mark.slow

HEATMAP = {"type": "heatmap", "z": [[c + 7 * r for c in range(7)] for r in range(3)]}
NAMED = HEATMAP | {"x": list("abcdefg"), "y": ["en", "ja", "zh"]}
SIDE_BY_SIDE = {"grid": {"rows": 1, "columns": 2, "pattern": "independent"}}


@pytest.fixture
def draw(page):
    def on_page(traces: list[dict], layout: dict) -> None:
        page.set_content("<div style='height:1500px'></div><div id=plot></div><p id=clicked></p>")
        page.add_script_tag(content=get_plotlyjs())
        page.evaluate(
            """([traces, layout]) => Plotly.newPlot('plot', traces, layout).then(gd =>
                gd.on('plotly_click', event => {
                    const {curveNumber, pointIndex, pointNumber} = event.points[0];
                    document.querySelector('#clicked').textContent =
                        JSON.stringify([curveNumber, pointIndex ?? pointNumber]);
                }))""",
            [traces, {"title": {"text": "drawn"}} | layout],
        )
        wait_for_plots(page, 1)

    return on_page


def clicked(page) -> list:
    """Return the trace and the place of the last click."""
    return json.loads(wait_status(page, "#clicked", ",", seconds=5))


@pytest.mark.parametrize(
    ("traces", "layout"),
    [
        ([NAMED], {"yaxis": {"autorange": "reversed"}}),
        ([HEATMAP, NAMED | {"xaxis": "x2", "yaxis": "y2"}], SIDE_BY_SIDE),
    ],
    ids=["named, upside down", "the second of two"],
)
def test_click_cell_hits_the_cell(page, draw, traces, layout):
    draw(traces, layout)
    last = len(traces) - 1
    for row, column in ((0, 0), (2, 6), (1, 3)):
        click_cell(page, "#plot", row, column, trace=last)
        assert clicked(page) == [last, [row, column]]


@pytest.mark.parametrize(
    "trace",
    [
        {"type": "bar", "x": [3, -1, 2], "y": ["one", "two", "three"], "orientation": "h"},
        {"type": "scatter", "x": [1, 2, 3], "y": [3, 1, 2], "mode": "markers"},
    ],
    ids=["bars", "points"],
)
def test_click_point_hits_the_point(page, draw, trace):
    draw([trace], {})
    for number in (2, 0, 1):
        click_point(page, "#plot", number)
        assert clicked(page) == [0, number]


def test_a_figure_is_read_as_drawn_and_a_covered_cell_is_not_clicked(page, draw):
    draw([NAMED], {})
    (trace,) = plot_data(page, "#plot")
    assert trace["z"] == NAMED["z"]
    assert trace["y"] == ["en", "ja", "zh"]
    assert plot_title(page, "#plot") == "drawn"
    page.add_style_tag(content="body::after { content: ''; position: fixed; inset: 0; }")
    with pytest.raises(Exception, match="Timeout"):
        click_cell(page, "#plot", 1, 1, seconds=0.5)


def test_wait_status_reports_the_text_that_was_there_instead(page):
    page.set_content("<p class=lafn-status>busy</p>")
    page.evaluate("setTimeout(() => { document.querySelector('p').textContent = 'done 7' }, 300)")
    assert wait_status(page, ".lafn-status", re.compile(r"done \d")) == "done 7"
    with pytest.raises(AssertionError, match="says 'done 7', not 'failed'"):
        wait_status(page, ".lafn-status", "failed", seconds=0.3)


def test_a_page_that_contacts_another_computer_or_fails_is_caught(browser):
    watch, page = Watch(), browser.new_page()
    watch.attach(page)
    watch.check()
    page.set_content("<img src='https://fonts.example/one.png'>")
    with pytest.raises(AssertionError, match=r"contacted other computers: .*fonts\.example"):
        watch.check()
    watch.outside.clear()
    page.evaluate("setTimeout(() => { throw new Error('of its own') })")
    page.wait_for_timeout(200)
    with pytest.raises(AssertionError, match="of its own"):
        watch.check()
    page.close()
