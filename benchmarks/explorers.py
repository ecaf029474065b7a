"""How long a user waits after each action on the app's page, in Chromium.

    python benchmarks/explorers.py [--repeat 5] [--after 0]

The page is opened `--after` seconds after the server is ready: 40 are enough for a page that is
computed before it is asked for.
Seconds from the click or key press until the page shows the result: the median and the longest.
"""

import argparse
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "browser"))

from driving import click_cell, launch, wait_for_app, watched_page
from playwright.sync_api import Page, sync_playwright
from servers import app_server, find_chromium


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--after", type=float, default=0, help="seconds before it is opened")
    args = parser.parse_args()
    repeat = args.repeat
    chromium = find_chromium()
    if chromium is None:
        parser.error("there is no Chromium; install it, or give its path in CHROMIUM")
    with (
        tempfile.TemporaryDirectory() as folder,
        sync_playwright() as playwright,
        app_server(Path(folder)) as app,
    ):
        browser = launch(playwright, chromium)
        with watched_page(browser, Path(folder) / "page.png") as page:
            time.sleep(args.after)
            start = time.perf_counter()
            page.goto(app.address)
            wait_for_app(page)
            print(f"{'the page is ready':<50}{time.perf_counter() - start:>8.2f}")
            status(page, "neurons in")
            took = time.perf_counter() - start
            print(f"{'the first heatmap':<50}{took:>8.2f}")
            status(page, "Control: 5 other facts")
            print(f"{'its control, a first look':<50}{time.perf_counter() - start:>8.2f}")
            status(page, r"Control: 5 other facts\.$")
            print(f"{'all scores exact':<50}{time.perf_counter() - start:>8.2f}")
            for what, act in actions(page).items():
                took = [act(number) for number in range(repeat)]
                print(f"{what:<50}{statistics.median(took):>8.2f}{max(took):>8.2f}", flush=True)
        browser.close()


def status(page: Page, text: str | re.Pattern[str]) -> None:
    """Wait until the visible status line matches the text."""
    line = page.locator(".lafn-status").locator("visible=true").first
    while not re.search(text, line.inner_text()):
        page.wait_for_timeout(10)


def revision(page: Page, plot: str) -> str:
    return page.evaluate(
        "p => document.querySelector(p + ' [data-revision]').dataset.revision", plot
    )


def redrawn(page: Page, plot: str, before: str) -> None:
    page.wait_for_function(
        "([p, old]) => document.querySelector(p + ' [data-revision]')?.dataset.revision !== old",
        arg=[plot, before],
        polling=10,
    )


def shown(page: Page, selector: str):
    return page.locator(selector).locator("visible=true").first


def timed(act: Callable[[], object], wait: Callable[[], object]) -> float:
    start = time.perf_counter()
    act()
    wait()
    return time.perf_counter() - start


def actions(page: Page) -> dict[str, Callable[[int], float]]:
    def share(number: int) -> float:
        before = revision(page, ".lafn-overlap")
        shown(page, ".lafn-fraction .noUi-handle").focus()
        key = "ArrowRight" if number % 2 == 0 else "ArrowLeft"
        return timed(
            lambda: page.keyboard.press(key), lambda: redrawn(page, ".lafn-overlap", before)
        )

    def view(number: int) -> float:
        before = revision(page, ".lafn-overlap")
        name = "Layers" if number % 2 == 0 else "Heatmap"
        button = page.get_by_role("button", name=name)
        return timed(button.click, lambda: redrawn(page, ".lafn-overlap", before))

    heatmap = page.get_by_role("button", name="Heatmap")

    def cell(number: int) -> float:
        if "mod-active" not in str(heatmap.get_attribute("class")):
            view(1)
        names = ["English", "French", "German", "Spanish", "Italian", "Portuguese"]
        row, column = 1 + number % 5, 0
        listed = page.get_by_text(re.compile(rf"neurons of .* in {names[row]} and {names[column]}"))
        return timed(lambda: click_cell(page, ".lafn-overlap", row, column), listed.wait_for)

    def fact(number: int) -> float:
        name = ("Germany", "Japan", "Peru", "Spain", "Kenya")[number % 5]
        choice = shown(page, ".lafn-subject select")
        before = revision(page, ".lafn-overlap")
        return timed(
            lambda: choice.select_option(name), lambda: redrawn(page, ".lafn-overlap", before)
        )

    def card(number: int) -> float:
        if number == 0:
            page.get_by_role("tab", name="Neurons").click()
            status(page, "Neuron ")
        field = shown(page, ".lafn-neuron input")
        name = f"0:{number + 3}"

        def enter() -> None:
            field.fill(name)
            page.keyboard.press("Enter")

        return timed(enter, lambda: status(page, re.escape(f"Neuron {name}.")))

    def typed(number: int) -> float:
        if number == 0:
            page.get_by_role("tab", name="Type and see").click()
            status(page, r"P\(")
        field = shown(page, ".lafn-text input")
        before = revision(page, ".lafn-prompt-strip")
        text = f"The capital of {('Egypt', 'Italy', 'Cuba', 'Ghana', 'Norway')[number % 5]} is"
        return timed(lambda: field.fill(text), lambda: redrawn(page, ".lafn-prompt-strip", before))

    def edit(number: int) -> float:
        if number == 0:
            page.get_by_role("tab", name="Edit").click()
            status(page, "Ready")
            shown(page, ".lafn-relation select").select_option("capital")
        shown(page, ".lafn-subject input").fill("Japan")
        shown(page, ".lafn-object input").fill(
            ("Rome", "Berlin", "Lima", "Oslo", "Cairo")[number % 5]
        )
        page.keyboard.press("Tab")
        button = shown(page, "button.lafn-edit")

        def made() -> None:
            status(page, "Evaluation ")
            status(page, "1 edit applied")

        return timed(button.click, made)

    def scaled(number: int) -> float:
        shown(page, ".lafn-scale .noUi-handle").focus()
        took = timed(
            lambda: page.keyboard.press("Home"), lambda: status(page, "the edit: 0 of 12 as")
        )
        shown(page, "button.lafn-undo").click()
        status(page, "the edit: [1-9]")
        return took

    return {
        "move the share kept, heatmap redrawn": share,
        "switch the view": view,
        "click a cell, its neurons listed": cell,
        "choose a fact, its heatmap (control follows)": fact,
        "choose a neuron, its card": card,
        "type a prompt, its attribution": typed,
        "edit in 12 languages, all answers": edit,
        "scale all values, all answers": scaled,
    }


if __name__ == "__main__":
    main()
