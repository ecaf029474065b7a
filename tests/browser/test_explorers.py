"""Every control of every explorer, used as a person uses it, in the app and in JupyterLab."""

import re
from collections.abc import Callable

import pytest

expect = pytest.importorskip("playwright.sync_api").expect

from driving import (  # noqa: E402
    click_cell,
    plot_data,
    plot_title,
    run_cell,
    shown,
    wait_for_app,
    wait_status,
)

pytestmark = pytest.mark.slow

EVIL = "<img src=x onerror='window.harmed = true'>"


@pytest.fixture(params=["app", "lab"])
def explorers(request, page) -> Callable[[str], None]:
    """Returns a function that opens the tab of an explorer, in the app or in a notebook."""
    if request.param == "app":
        page.goto(request.getfixturevalue("app").address)
        wait_for_app(page)
    else:
        lab = request.getfixturevalue("lab")
        run_cell(page, lab, "explorers.ipynb", "from lafn_viz.widgets import page\npage()")

    def open_tab(name: str) -> None:
        page.get_by_role("tab", name=name).click()

    return open_tab


def status(page, text: str | re.Pattern[str]) -> str:
    return wait_status(page, ".lafn-status", text)


def test_every_view_gives_its_python(explorers, page):
    told = {
        "Overlap": "lv.plots.overlap_heatmap(one, top=1).show()",
        "Layers": "lv.plots.lens_strip(lens",
    }
    for tab, line in told.items():
        explorers(tab)
        status(page, re.compile("control|names lead|Control"))
        page.wait_for_timeout(500)
        shown(page, ".lafn-copy-python").click()
        code = shown(page, ".lafn-python pre")
        expect(code).to_contain_text(line, timeout=30_000)
        expect(code).to_contain_text("import lafn_viz as lv")
        expect(shown(page, ".lafn-python [role=status]")).to_contain_text(
            re.compile("Copied|select")
        )


def press(page, selector: str, key: str, times: int = 1) -> None:
    handle = shown(page, f"{selector} .noUi-handle")
    handle.focus()
    for _ in range(times):
        page.keyboard.press(key)


def test_every_control_does_what_it_says(page, explorers):
    use_overlap(page)
    explorers("Neurons")
    use_neurons(page)
    explorers("Type and see")
    use_prompt(page)
    explorers("Edit")
    use_editor(page)
    assert page.evaluate("() => window.harmed") is None


def use_overlap(page) -> None:
    status(page, re.compile(r"Control: 5 other facts\.$"))  # all scores are exact
    heatmap, _ = plot_data(page, ".lafn-overlap")
    assert heatmap["x"][:3] == ["English", "French", "German"]
    # A click on a cell lists the neurons that its languages share; none if the overlap is 0.
    click_cell(page, ".lafn-overlap", 2, 0)
    title = page.get_by_role("heading", name="neurons of France – capital in German and English")
    title.wait_for()
    count = int(title.inner_text().split()[0])
    assert (count > 0) == (heatmap["z"][2][0] > 0)
    rows = page.locator(".lafn-neurons tbody tr")
    expect(rows).to_have_count(min(count, 8))
    rows.first.click()
    status(page, "Neuron ")
    assert plot_title(page, ".lafn-card").startswith("Layer ")
    # The other half is the control.
    click_cell(page, ".lafn-overlap", 2, 0, trace=1)
    status(page, "This half is the control")
    # A stricter threshold, by keyboard.
    before = status(page, "")
    press(page, ".lafn-fraction", "ArrowLeft", 2)
    after = status(page, re.compile(r"France – capital: \d+ neurons in 4 languages"))
    assert after != before
    assert plot_data(page, ".lafn-overlap")[0]["z"] != heatmap["z"]
    shown(page, ".lafn-min-languages input").fill("2")
    page.keyboard.press("Enter")
    status(page, "in 2 languages or more")
    # One language less.
    shown(page, ".lafn-language-tr input").click()
    page.wait_for_function(
        """() => document.querySelector('.lafn-overlap .js-plotly-plot')
            ._fullData[0].x.length === 11"""
    )
    shown(page, ".lafn-between select").select_option("Chinese")
    page.get_by_role(
        "heading", name="neurons of France – capital in Chinese and English"
    ).wait_for()
    for view, title in (
        ("Languages together", "Which languages"),
        ("Layers", "Where do shared"),
        ("Strip", "France – capital"),
    ):
        page.get_by_role("button", name=view).click()
        page.wait_for_function(
            """title => document.querySelector('.lafn-overlap .gtitle')
                ?.textContent.startsWith(title)""",
            arg=title,
        )
    fits_its_place(page, ".lafn-overlap")
    neuron = plot_data(page, ".lafn-overlap")[0]["customdata"][1][3]
    click_cell(page, ".lafn-overlap", 1, 3)
    status(page, f"Neuron {neuron}.")
    page.get_by_role("button", name="Heatmap").click()
    shown(page, ".lafn-subject select").select_option("Germany")
    status(page, re.compile("Germany – capital: .* 5 other facts"))
    shown(page, ".lafn-method select").select_option("activation")
    status(page, re.compile("Germany – capital: .* 5 other facts"))
    shown(page, ".lafn-relation select").select_option("continent")
    status(page, re.compile(" – continent: .* 5 other facts"))
    # The other tabs take over what is chosen here.
    shown(page, ".lafn-language-tr input").click()
    shown(page, ".lafn-method select").select_option("integrated gradients")
    shown(page, ".lafn-relation select").select_option("capital")
    status(page, re.compile(" – capital: .* 5 other facts"))  # its subjects are listed
    shown(page, ".lafn-subject select").select_option("France")
    status(page, re.compile("France – capital: .* 5 other facts"))


def fits_its_place(page, selector: str) -> None:
    """A figure is as wide as its place in a wide and a narrow window, and cuts no text.

    One of 840 pixels shrinks to 462 and grows to 1,260.
    """
    before = page.viewport_size
    for width in (700, 1800):
        page.set_viewport_size({"width": width, "height": before["height"]})
        page.wait_for_function(
            """selector => {
                const place = document.querySelector(selector);
                const drawn = place.querySelector('.main-svg').getBoundingClientRect();
                const wanted = Math.max(462, Math.min(place.clientWidth, 1260));
                return Math.abs(drawn.width - wanted) < 10
                    && [...place.querySelectorAll('.gtitle, .gtitle-subtitle')]
                        .every(text => text.getBoundingClientRect().right <= drawn.right);
            }""",
            arg=selector,
        )
    page.set_viewport_size(before)
    page.wait_for_timeout(500)  # until it is drawn for this window


def use_neurons(page) -> None:
    status(page, "Neuron ")
    search = shown(page, ".lafn-neurons input[type=search]")
    search.fill("1:")
    row = shown(page, ".lafn-neurons tbody tr")
    page.wait_for_timeout(500)
    assert "1:" in row.inner_text().split()[0]
    chosen = row.inner_text().split()[0]
    row.click()
    status(page, f"Neuron {chosen}.")
    field = shown(page, ".lafn-neuron input")
    field.fill("9:9")
    page.keyboard.press("Enter")
    status(page, "neurons=[(9, 9)]; give at least one")
    field.fill("0:7")
    page.keyboard.press("Enter")
    status(page, "Neuron 0:7.")


def use_prompt(page) -> None:
    status(page, "P(Paris) = ")
    text, answer = shown(page, ".lafn-text input"), shown(page, ".lafn-answer input")
    text.fill("")
    text.press_sequentially("The capital of Japan is", delay=20)
    answer.fill("Tokyo")
    status(page, re.compile(r"P\(Tokyo\) = 9\d"))
    assert shown(page, ".lafn-next td").inner_text() == "Tokyo"
    assert "Japan" in plot_title(page, ".lafn-prompt-strip")
    # HTML in a text is shown and not run.
    text.fill(EVIL)
    status(page, "it is not what the model would write")
    assert EVIL in plot_title(page, ".lafn-prompt-strip")
    text.fill("")
    status(page, "empty text")
    shown(page, ".lafn-prompt-language select").select_option("Arabic")
    text.fill("عاصمة اليابان هي")
    answer.fill("طوكيو")
    status(page, "طوكيو")
    assert page.evaluate("x => getComputedStyle(x).direction", text.element_handle()) == "rtl"


def use_editor(page) -> None:
    status(page, "Ready.")
    subject, new = shown(page, ".lafn-subject input"), shown(page, ".lafn-object input")
    shown(page, ".lafn-relation select").select_option("capital")
    shown(page, ".lafn-position select").select_option("answer")

    def edit(name: str, object_: str) -> None:
        subject.fill(name)
        new.fill(object_)
        page.keyboard.press("Tab")
        shown(page, "button.lafn-edit").click()

    edit(EVIL, "Rome")
    status(page, "has the subject")
    edit("日本", "Rome")
    status(page, "Evaluation ")
    page.get_by_role("button", name="Cancel").click()
    status(page, "Cancelled.")
    edit("日本", "Rome")
    status(page, "Evaluation ")
    assert shown(page, ".lafn-bar").is_visible()
    status(page, "1 edit applied. the edit: 12 of 12")
    answers = page.locator(".lafn-the-edit tbody tr")
    assert answers.count() == 12
    chinese = answers.filter(has_text="Chinese")
    assert chinese.locator(".lafn-good").first.inner_text() == "罗马"
    assert "东京" in chinese.inner_text()
    # Scaled down to nothing, and undone.
    press(page, ".lafn-scale", "Home")
    status(page, "the edit: 0 of 12")
    assert answers.locator(".lafn-bad").count() == 24
    shown(page, "button.lafn-undo").click()
    status(page, "the edit: 12 of 12")
    drawn = plot_data(page, ".lafn-values")[0]["y"]
    press(page, ".lafn-slider", "Home")
    page.wait_for_function(
        """old => JSON.stringify(Array.from(document.querySelector('.lafn-values .js-plotly-plot')
            ._fullData[0].y)) !== JSON.stringify(old)""",
        arg=drawn,
    )
    shown(page, "button.lafn-undo").click()
    # An edit that fails is red, and is taken back where that is said.
    shown(page, ".lafn-n-neurons input").fill("1")
    edit("Peru", "Berlin")
    status(page, "2 edits applied.")
    expect(shown(page, ".lafn-verdict")).to_contain_text("The edit f")
    shown(page, "button.lafn-discard").click()
    status(page, "1 edit applied.")
    expect(page.locator(".lafn-verdict")).not_to_be_visible()
    shown(page, ".lafn-n-neurons input").fill("100")
    edit("Peru", "Berlin")
    status(page, "2 edits applied.")
    shown(page, ".lafn-path input").fill("edits of a test")
    shown(page, "button.lafn-save").click()
    wait_status(
        page, ".lafn-files-status", "Saved EditCache(2 edits of 2 subjects, 2 gated by relation)"
    )
    shown(page, "button.lafn-remove").click()
    status(page, "1 edit applied.")
    shown(page, "button.lafn-load").click()
    status(page, "2 edits applied.")
    shown(page, ".lafn-selected select").select_option(label="Japan: capital → Rome")
    status(page, "the edit: 12 of 12")
    expect(answers.first).to_contain_text("Japan")
