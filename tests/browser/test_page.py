"""One study in all tabs of the app: its address, what is taken along, and what would be lost."""

import json
import os
import re
import signal
import subprocess
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

expect = pytest.importorskip("playwright.sync_api").expect

from driving import COMPUTED, shown, wait_for_app, wait_for_plots, wait_status  # noqa: E402
from servers import app_server  # noqa: E402

from lafn_viz.core.paths import data_folder  # noqa: E402

pytestmark = pytest.mark.slow


def chosen(page) -> dict[str, str]:
    """What the address says."""
    return {name: value for name, (value,) in parse_qs(urlsplit(page.url).fragment).items()}


def selected(page, name: str) -> str:
    """The label that a list shows."""
    return shown(page, f"{name} select").evaluate("x => x.selectedOptions[0].text")


def saved(page, button) -> bytes:
    """Click a button that saves a file, and return the file."""
    with page.expect_download() as downloading:
        button.click()
    return Path(downloading.value.path()).read_bytes()


def test_the_address_opens_the_same_view_again(page, app):
    asked = "#tab=neurons&model=embedded&fact=capital%2FJP&method=activation&languages=en%2Czh"
    page.goto(app.address + asked)
    wait_for_app(page)
    wait_status(page, ".lafn-status", "Neuron ")
    assert selected(page, ".lafn-subject") == "Japan"
    assert selected(page, ".lafn-method") == "activation"
    assert chosen(page)["fact"] == "capital/JP"
    shown(page, ".lafn-subject select").select_option("Peru")
    page.wait_for_function("() => location.hash.includes('capital%2FPE')")
    page.get_by_role("tab", name="Overlap").click()
    wait_status(page, ".lafn-status", re.compile("Peru – capital: .* Control: "))
    assert chosen(page) == {
        "tab": "overlap", "model": "embedded", "fact": "capital/PE", "method": "activation",
        "languages": "en,zh",
    }  # fmt: skip
    page.reload()
    wait_for_app(page)
    wait_status(page, ".lafn-status", re.compile("Peru – capital: .* Control: "))
    assert selected(page, ".lafn-method") == "activation"
    # What is not there is said, and what is shown stays.
    page.evaluate("() => { location.hash = 'fact=capital/XX'; }")
    expect(page.locator(".lafn-page-state")).to_contain_text("does not offer fact 'capital/XX'")
    page.wait_for_function("() => location.hash.includes('capital%2FPE')")


def test_what_is_shown_is_taken_along(app_page):
    page = app_page
    wait_status(page, ".lafn-status", "Control: 5 other facts")
    wait_for_plots(page, 1)
    save = shown(page, ".lafn-overlap .lafn-save-figure")
    svg = saved(page, save.get_by_role("button", name="SVG")).decode()
    assert svg.startswith("<svg")
    assert "France – capital" in svg
    png = saved(page, save.get_by_role("button", name="PNG"))
    assert png[:4] == b"\x89PNG"
    assert int.from_bytes(png[16:20], "big") == 2 * 840  # twice the figure's pixels
    drawn = saved(page, save.get_by_role("button", name="HTML")).decode()
    other = page.context.new_page()
    try:
        other.set_content(drawn)
        wait_for_plots(other, 1)
        assert "France" in other.locator(".gtitle-subtitle").first.text_content()
    finally:
        other.close()
    table = saved(page, shown(page, ".lafn-download button")).decode("utf-8-sig")
    assert table.startswith("layer,neuron,")

    page.get_by_role("tab", name="Edit").click()
    wait_status(page, ".lafn-status", "Ready.")
    expect(shown(page, ".lafn-subject input")).to_have_value("France")
    shown(page, ".lafn-object input").fill("Rome")
    page.keyboard.press("Tab")
    shown(page, "button.lafn-edit").click()
    wait_status(page, ".lafn-status", "1 edit applied.")
    own = shown(page, ".lafn-own-prompt input")
    own.fill("The capital of France is")
    page.keyboard.press("Enter")
    wait_status(page, ".lafn-status", "What the model writes after your prompt is below.")
    rows = page.locator(".lafn-own-answers tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.nth(0)).to_contain_text("Paris")
    expect(rows.nth(1)).to_contain_text("Rome")
    answers = page.locator(".lafn-the-edit tbody tr")
    n_failed = answers.locator(".lafn-bad").count() // 2
    shown(page, ".lafn-only-failures input").click()
    if n_failed:
        expect(answers).to_have_count(n_failed)
    else:
        expect(page.locator(".lafn-all-well").first).to_contain_text("All 12 are")
    unsaved = page.locator(".lafn-unsaved")
    expect(unsaved).to_contain_text("saved nowhere")
    edits = saved(page, shown(page, ".lafn-download-edits button"))
    assert edits[:2] == b"PK"
    expect(unsaved).not_to_be_visible()
    shown(page, "button.lafn-undo").click()
    wait_status(page, ".lafn-status", "No edits are applied.")
    shown(page, "button.lafn-redo").click()
    wait_status(page, ".lafn-status", "1 edit applied.")
    shown(page, "button.lafn-remove").click()
    wait_status(page, ".lafn-status", "No edits are applied.")
    with page.expect_file_chooser() as choosing:
        shown(page, "button.lafn-upload-edits").click()
    file = {"name": "mine.zip", "mimeType": "application/zip", "buffer": edits}
    choosing.value.set_files(file)
    wait_status(page, ".lafn-files-status", "Loaded 1 edit from mine.zip.")
    wait_status(page, ".lafn-status", "1 edit applied.")


def test_facts_of_ones_own_are_opened_and_stand_side_by_side(app_page, tmp_path):
    page, facts = app_page, tmp_path / "mine.jsonl"
    lines = (data_folder() / "facts.jsonl").read_text("utf-8").splitlines()
    wanted = {"capital/DE", "capital/IT", "capital/PE"}
    facts.write_text("\n".join(x for x in lines if json.loads(x)["id"] in wanted), "utf-8")
    wait_status(page, ".lafn-status", "Control: 5 other facts")
    button = shown(page, "button.lafn-open-yours")
    assert "facts of your own" in button.get_attribute("aria-description")
    button.click()
    field = shown(page, ".lafn-open-facts input")
    field.fill(str(tmp_path / "none.jsonl"))
    shown(page, "button.lafn-open").click()
    said = page.locator(".lafn-tools .lafn-status:visible")
    expect(said).to_contain_text("there is no file")
    expect(said).to_have_attribute("role", "alert")
    field.fill(str(facts))
    shown(page, "button.lafn-open").click()
    expect(said).to_contain_text("Opened 3 facts")
    explorers = page.locator(".lafn-explorer:visible")
    expect(explorers.locator(".lafn-status")).to_contain_text(
        "Control: 2 other facts", timeout=COMPUTED * 1000
    )
    assert selected(page, ".lafn-subject") == "Germany"

    shown(page, "button.lafn-side-by-side").click()
    expect(explorers).to_have_count(2)
    second = explorers.nth(1)
    second.locator(".lafn-subject select").select_option("Peru")
    expect(second.locator(".lafn-status")).to_contain_text(
        "Peru – capital", timeout=COMPUTED * 1000
    )
    wait_for_plots(page, 2)
    expect(explorers.nth(0).locator(".lafn-status")).to_contain_text("Germany – capital")
    page.set_viewport_size({"width": 1920, "height": 1000})
    first, other = (explorers.nth(number).bounding_box() for number in (0, 1))
    assert abs(first["y"] - other["y"]) < 2
    assert first["x"] + first["width"] <= other["x"] + 1
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    shown(page, "button.lafn-side-by-side").click()
    expect(explorers).to_have_count(1)


def test_a_page_whose_process_is_gone_says_so_and_opens_again(page, tmp_path):
    with app_server(tmp_path) as server:
        page.goto(server.address)
        wait_for_app(page)
        # All is exact, so that no table is on its way when the process ends.
        done = re.compile(r"Control: 5 other facts\.$")
        wait_status(page, ".lafn-status", done)
        shown(page, ".lafn-subject select").select_option("Peru")
        page.wait_for_function("() => location.hash.includes('capital%2FPE')")
        config = json.loads(page.locator("#jupyter-config-data").text_content())
        (kernel,) = [
            int(line.split()[0])
            for line in subprocess.run(
                ["ps", "-ww", "-eo", "pid,args"], capture_output=True, text=True, check=True
            ).stdout.splitlines()
            if config["kernelId"] in line
        ]
        os.kill(kernel, signal.SIGKILL)
        lost = page.locator(".lafn-lost")
        expect(lost).to_contain_text("has ended", timeout=30_000)
        lost.get_by_role("button", name="Start again").click()
        wait_for_app(page)
        wait_status(page, ".lafn-status", "Peru – capital")
        expect(lost).not_to_be_visible()


def test_the_guide_marks_what_it_speaks_of(app_page):
    from driving import shown, wait_status, wait_until_idle

    app_page.get_by_role("button", name="Guide me").click()
    for number, marked in enumerate(
        (".lafn-overlap", ".widget-vbox", ".widget-vbox", ".lafn-lens-strip", ".lafn-edit"), 1
    ):
        wait_status(app_page, ".lafn-guide .lafn-status", f"{number} of 5.")
        wait_until_idle(app_page)
        shown(app_page, f"{marked}.lafn-marked").wait_for()
        assert app_page.locator(".lafn-marked").locator("visible=true").count() == 1
        shown(app_page, ".lafn-next").click()
    app_page.locator(".lafn-guide").locator("visible=true").wait_for(state="hidden")
    assert not app_page.locator(".lafn-marked").locator("visible=true").count()
