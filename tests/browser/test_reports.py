"""Reports and the atlas as their readers open them: from a disk, without a network."""

import pytest

import lafn_viz as lv

pytestmark = pytest.mark.slow
expect = pytest.importorskip("playwright.sync_api").expect
Axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe

LIGHT_INK = "rgb(232, 232, 232)"
DRAWN = "document.documentElement.dataset.drawn"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A report and an atlas of a small sweep."""
    out = tmp_path_factory.mktemp("reports")
    facts = lv.load_facts().filter(relation="capital", leaking=False).sample(4, seed=0)
    store = lv.sweep(
        "embedded", facts, out / "store", methods=["activation"], how="mean", controls=1,
        progress=False,
    )  # fmt: skip
    lv.report(store, out / "report.html")
    lv.atlas(store, out / "site", neurons=3)
    return out


def opened(page, path, *, figures: bool = True):
    """Open a page, and return what it complained about and asked for."""
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    if figures:
        page.wait_for_function(DRAWN, timeout=60_000)
    assert all(url.startswith("file:") for url in asked)
    assert not said
    return asked


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_report_is_drawn_in_the_readers_theme(page, folder, scheme):
    page.emulate_media(color_scheme=scheme)
    assert len(opened(page, folder / "report.html")) == 1  # the page alone
    assert page.locator(".draw .main-svg").count() > 0
    colour = page.locator(".gtitle").first.evaluate("e => getComputedStyle(e).fill")
    red = int(colour.removeprefix("rgb(").split(",")[0])
    assert (red > 200) == (scheme == "dark")
    serious = [v["id"] for v in Axe().run(page).response["violations"]]
    assert serious == []


def test_a_report_fits_a_phone_and_paper(page, folder):
    page.set_viewport_size({"width": 390, "height": 800})
    opened(page, folder / "report.html")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.emulate_media(color_scheme="dark")
    title = page.locator(".gtitle").first
    expect(title).to_have_css("fill", LIGHT_INK)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    expect(title).not_to_have_css("fill", LIGHT_INK)  # for white paper
    assert page.locator(".draw").first.get_attribute("data-width") == "680"
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    expect(title).to_have_css("fill", LIGHT_INK)


def test_the_table_of_a_figure_is_copied(page, folder):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    opened(page, folder / "report.html")
    button = page.locator("#shared-by-layer button.copy")
    button.click()
    page.get_by_role("button", name="Copied").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()").splitlines()
    assert copied[0].split("\t") == ["layer", "agnostic", "specific"]
    assert len(copied) == 5


def test_a_link_to_folded_numbers_unfolds_them(page, folder):
    page.goto((folder / "report.html").as_uri() + "#known-share-table")
    page.wait_for_function(DRAWN, timeout=60_000)
    assert page.locator("#known-share-table").is_visible()


def test_the_atlas_finds_a_fact_by_its_name_in_any_language(page, folder):
    site = folder / "site"
    opened(page, site / "index.html", figures=False)
    fact = lv.load_facts().filter(relation="capital", leaking=False).sample(4, seed=0).facts[0]
    for language in ("ru", "zh", "ar", "en"):
        page.get_by_role("searchbox").fill(fact.subject[language])
        hit = page.locator("#hits a").first
        hit.wait_for()
        assert fact.subject["en"] in hit.inner_text()
    page.get_by_role("searchbox").fill("no such name")
    assert page.locator("#found").inner_text() == "Nothing has this name."
    page.get_by_role("searchbox").fill(fact.subject["ru"].upper())
    page.locator("#hits a").first.click()
    assert fact.subject["en"] in page.locator("h1").inner_text()
    assert Axe().run(page).response["violations"] == []
    page.get_by_role("link", name="Atlas of shared facts").click()
    page.get_by_role("link", name="all results").click()
    page.wait_for_function(DRAWN, timeout=60_000)
    assert page.locator(".draw .main-svg").count() > 0
