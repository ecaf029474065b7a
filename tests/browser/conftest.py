"""A browser, the app and JupyterLab, each started once per worker, when a test first needs it.

    def test_something(app_page):  # the app is open and drawn
        click_cell(app_page, ".lafn-overlap", 2, 3)
        wait_status(app_page, ".lafn-overlap .lafn-status", "France")

Environment: CHROMIUM names the browser; with LAFN_VIZ_BROWSER=required tests fail where there is
no browser, otherwise they are skipped; LAFN_VIZ_SCREENSHOTS is the folder for screenshots, one for
each test.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from servers import Server, app_server, browser_required, find_chromium, lab_server, why_no_browser

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="session")
def browser() -> "Iterator[Browser]":
    """Headless Chromium; where there is none the test is skipped, or fails if it is required."""
    if missing := why_no_browser():
        if browser_required():
            pytest.fail(missing)
        pytest.skip(missing)
    from driving import launch
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = launch(playwright, find_chromium())
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The app as `lafn-viz app` serves it; `.address` has the token, `.bare` does not."""
    with app_server(tmp_path_factory.mktemp("app")) as server:
        yield server


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """JupyterLab in an empty `.folder`: put notebooks there and open them by name."""
    with lab_server(tmp_path_factory.mktemp("lab")) as server:
        yield server


@pytest.fixture
def screenshot(request: pytest.FixtureRequest) -> Path:
    """The path of this test's screenshot."""
    folder = os.environ.get("LAFN_VIZ_SCREENSHOTS") or Path(__file__).parent / "screenshots"
    return Path(folder) / (re.sub(r"[^\w.-]+", "-", request.node.name).strip("-") + ".png")


@pytest.fixture
def page(browser: "Browser", screenshot: Path) -> "Iterator[Page]":
    """An empty page that may send requests to this computer only (`driving.watched_page`)."""
    from driving import watched_page

    with watched_page(browser, screenshot) as opened:
        yield opened


@pytest.fixture
def app_page(page: "Page", app: Server) -> "Page":
    """The app, opened with its token, once it is drawn."""
    from driving import wait_for_app

    page.goto(app.address)
    wait_for_app(page)
    return page
