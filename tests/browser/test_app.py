"""The app as a reader gets it: by its address, offline, and usable without a mouse."""

import json
import shutil
import signal
import time

import psutil
import pytest
from servers import app_server, status

from lafn_viz.core.paths import data_folder
from lafn_viz.widgets import EXPLORERS

pytestmark = pytest.mark.slow

TABS = ".lafn-page > .lm-TabBar [role=tab]"
NOBODY = "11111111-1111-1111-1111-111111111111"
# The visible controls that no screen reader explains, and titles that say nothing.
# Buttons of plotly are named, and say themselves what they do.
UNEXPLAINED = """() => [...document.querySelectorAll(
        ".lafn-row :is(input, select, button:not(.modebar-btn), .noUi-handle)")]
    .filter(field => field.checkVisibility() && !field.getAttribute("aria-description"))
    .map(field => field.outerHTML.slice(0, 120))
    .concat([...document.querySelectorAll('[title="null"]')].map(x => x.outerHTML.slice(0, 120)))"""
# Rules of axe-core that this page cannot satisfy, and why.
EXCEPTIONS: dict[str, str] = {}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("", 302),  # to the login
        ("voila/render/app.ipynb", 302),
        (f"api/kernels/{NOBODY}", 403),
        (f"api/kernels/{NOBODY}/channels", 403),
        ("voila/files/app.ipynb", 403),
    ],
)
def test_nothing_is_shown_without_the_token(app, path, expected):
    assert status(app.bare + path) == expected
    assert status(f"{app.bare}{path}?token=guessed") == expected


def test_a_name_that_is_not_this_computers_is_refused(app):
    assert status(app.address, Host="elsewhere.example") == 403


# Every page that is opened starts Python and loads the model: one page serves several checks.
def test_page_is_drawn_and_closed_to_strangers(app_page, app):
    assert app_page.title() == "lafn_viz"
    assert app_page.locator("html").get_attribute("lang") == "en"
    assert app_page.locator("main h1").all_inner_texts() == ["lafn_viz"]
    assert app_page.locator("h1").count() == app_page.locator("main").count() == 1
    assert app_page.locator(TABS).count() == len(EXPLORERS)
    assert app_page.locator(".lafn-status").locator("visible=true").count() >= 1

    config = app_page.locator("#jupyter-config-data").text_content()
    kernel = f"{app.bare}api/kernels/{json.loads(config)['kernelId']}"
    assert app_page.request.get(kernel).status == 200
    assert status(kernel) == 403
    stranger = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    stranger["Sec-WebSocket-Key"] = "AAAAAAAAAAAAAAAAAAAAAA=="
    assert status(f"{kernel}/channels", **stranger) == 403


def test_page_follows_the_systems_colours_without_a_serious_barrier(app_page):
    from driving import wait_until_idle
    from playwright.sync_api import expect

    for colours in ("light", "dark"):
        app_page.emulate_media(color_scheme=colours)
        background = app_page.evaluate("() => getComputedStyle(document.body).backgroundColor")
        dark = sum(int(part) for part in background.strip("rgba()").split(",")[:3]) < 3 * 128
        assert dark == (colours == "dark")
        # The attribute changes a moment after the style sheets.
        expect(app_page.locator("body")).to_have_attribute(
            "data-jp-theme-light", str(not dark).lower()
        )
        for tab in app_page.locator(TABS).all():
            tab.click()
            wait_until_idle(app_page)
            unexplained = app_page.evaluate(UNEXPLAINED)
            assert not unexplained, f"{tab.inner_text()}: no help for {unexplained}"
            barriers = serious_barriers(app_page)
            assert not barriers, f"{tab.inner_text()}, {colours}:\n" + "\n".join(barriers)


def serious_barriers(page) -> list[str]:
    """Return what axe-core finds that is serious or worse: rule, help and element."""
    from axe_playwright_python.sync_playwright import Axe

    return [
        f"{rule['id']} ({rule['impact']}): {rule['help']}\n    {node['html'][:300]}"
        for rule in Axe().run(page).response["violations"]
        if rule["impact"] in ("serious", "critical") and rule["id"] not in EXCEPTIONS
        for node in rule["nodes"]
    ]


def test_a_page_of_an_embedded_model_is_ready_before_it_is_asked_for(page, tmp_path):
    from driving import COMPUTED, wait_for_app

    with app_server(tmp_path / "embedded") as server:
        until = time.monotonic() + COMPUTED
        while not (ready := pages_of(server)):
            assert time.monotonic() < until, "no page is made before it is asked for"
            time.sleep(0.1)
        page.goto(server.address)
        wait_for_app(page)
        assert pages_of(server) == ready
        assert len(ready) == 1
        assert status(f"{server.bare}voila/query/{NOBODY}") == 302  # to the login: no such page
    model = tmp_path / "mine"
    shutil.copytree(data_folder() / "models" / "embedded", model)
    with app_server(tmp_path / "other", "--model", str(model)) as server:
        assert not pages_of(server)


def pages_of(server) -> list[int]:
    """The processes of a server's pages."""
    return [child.pid for child in psutil.Process(server.process.pid).children(recursive=True)]


def test_it_opens_with_the_model_and_the_facts_that_are_named(page, tmp_path):
    from driving import wait_for_app

    facts = tmp_path / "facts.jsonl"
    facts.write_text(
        '{"id": "capital/XX", "relation": "capital", "subject_id": "XX", "object_id": "FR", '
        '"subject": {"en": "Gaul", "fr": "Gaule"}, "object": {"en": "Paris", "fr": "Paris"}}'
    )
    options = ("--file", str(facts), str(data_folder() / "paraphrases.jsonl"))
    with app_server(tmp_path, "--model", "embedded-control", *options) as server:
        page.goto(server.address)
        wait_for_app(page)
        chosen = page.locator(".lafn-page select").locator("visible=true")
        assert chosen.first.evaluate("x => x.selectedOptions[0].text") == "embedded-control"
        assert page.locator(".lafn-subject option").all_inner_texts() == ["Gaul"]


def test_ctrl_c_ends_it(tmp_path):
    with app_server(tmp_path) as server:
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(20) == 0
        assert "Traceback" not in server.log.read_text("utf-8")
