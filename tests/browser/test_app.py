"""The page as a reader gets it: by its address, offline, and for people who use no mouse."""

import signal

import pytest
from servers import app_server, status

NOBODY = "11111111-1111-1111-1111-111111111111"
# What axe-core finds and nothing here can mend: rule, and why.
EXCEPTIONS: dict[str, str] = {}


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("", 302),  # to the login
        ("voila/render/app.ipynb", 302),
        (f"api/kernels/{NOBODY}", 403),
        (f"api/kernels/{NOBODY}/channels", 403),
        ("voila/files/app.ipynb", 403),
    ],
)
def test_nothing_is_shown_without_the_token(app, path, answer):
    assert status(app.bare + path) == answer
    assert status(f"{app.bare}{path}?token=guessed") == answer


def test_a_kernel_of_a_reader_is_closed_to_others(app_page, browser, app):
    kernel = app_page.evaluate(
        "() => JSON.parse(document.querySelector('#jupyter-config-data').textContent).kernelId"
    )
    assert app_page.request.get(f"{app.bare}api/kernels/{kernel}").status == 200
    assert status(f"{app.bare}api/kernels/{kernel}") == 403
    stranger = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    stranger["Sec-WebSocket-Key"] = "AAAAAAAAAAAAAAAAAAAAAA=="
    assert status(f"{app.bare}api/kernels/{kernel}/channels", **stranger) == 403


def test_a_name_that_is_not_this_computers_is_refused(app):
    assert status(app.address, Host="elsewhere.example") == 403


def test_page_is_drawn_with_a_tab_for_each_explorer(app_page):
    assert app_page.title() == "lafn_viz"
    assert app_page.locator("[role=tab]").count() >= 2
    assert app_page.locator(".lafn-status").locator("visible=true").count() >= 1


def test_page_has_a_language_a_heading_and_a_main_part(app_page):
    assert app_page.locator("html").get_attribute("lang") == "en"
    assert app_page.locator("h1").all_inner_texts() == ["lafn_viz"]
    assert app_page.locator("main").count() == 1


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_colours_follow_the_system(app_page, colours):
    app_page.emulate_media(color_scheme=colours)
    background = app_page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    dark = sum(int(part) for part in background.strip("rgba()").split(",")[:3]) < 3 * 128
    assert dark == (colours == "dark")
    assert app_page.locator("body").get_attribute("data-jp-theme-light") == str(not dark).lower()


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_no_serious_barrier_by_axe_core(app_page, colours):
    from axe_playwright_python.sync_playwright import Axe

    app_page.emulate_media(color_scheme=colours)
    tabs = app_page.locator("[role=tab]")
    for number in range(tabs.count()):
        tabs.nth(number).click()
        found = [
            f"{name}: {rule['id']} ({rule['impact']}): {rule['help']}\n    {node['html'][:300]}"
            for name in [tabs.nth(number).inner_text()]
            for rule in Axe().run(app_page).response["violations"]
            if rule["impact"] in ("serious", "critical") and rule["id"] not in EXCEPTIONS
            for node in rule["nodes"]
        ]
        assert not found, "\n".join(found)


def test_ctrl_c_ends_it(tmp_path):
    with app_server(tmp_path) as server:
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(20) == 0
        assert "Traceback" not in server.log.read_text("utf-8")
