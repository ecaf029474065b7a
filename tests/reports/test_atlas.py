"""An atlas has a page for everything, whose links lead somewhere and stay where they are."""

import json
from pathlib import Path

import pytest
from html_pages import HOSTILE, Page
from hypothesis import given, settings, strategies as st

import lafn_viz as lv
from lafn_viz.reports.addresses import slug
from lafn_viz.reports.atlas_pages import fact_address, pair_address, relation_address

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(store, tmp_path_factory) -> Path:
    made = lv.atlas(store, tmp_path_factory.mktemp("atlas") / "site", neurons=5)
    assert made.without_tokens == {}
    return made.index.parent


def html_of(site: Path) -> dict[str, Page]:
    return {
        path.relative_to(site).as_posix(): Page(path.read_text("utf-8"))
        for path in site.rglob("*.html")
    }


def test_every_link_leads_to_a_page_or_a_part_of_one(site):
    pages = html_of(site)
    for name, page in pages.items():
        folder = (site / name).parent
        targets = [attrs["href"] for attrs in (*page.all("a"), *page.all("link"))]
        targets += [attrs["src"] for attrs in page.all("script") if "src" in attrs]
        for target in targets:
            path, _, part = target.partition("#")
            where = (folder / path).resolve() if path else site / name
            assert where.is_file(), (name, target)
            if part:
                assert part in pages[where.relative_to(site).as_posix()].ids
        assert len(set(page.ids)) == len(page.ids)
        if name != "index.html":
            assert "index.html" in {Path(target.partition("#")[0]).name for target in targets}


def test_there_is_a_page_for_each_fact_relation_pair_and_neuron(site, store, studied):
    pages = html_of(site)
    expected = {"index.html", "study/embedded.html"}
    expected |= {fact_address(fact.id) for fact in studied}
    expected |= {relation_address(relation) for relation in studied.relations}
    codes = studied.languages
    expected |= {pair_address(a, b) for a in codes for b in codes if a < b}
    assert expected <= set(pages)
    assert len(pages) == len(expected) + 5
    agnostic = store.read("neurons").query("method == 'activation' and agnostic")
    counts = agnostic.groupby(["layer", "neuron"]).size()
    written = {tuple(map(int, Path(x).stem.split("-"))) for x in pages if x.startswith("neuron/")}
    fifth = counts.sort_values(ascending=False).iloc[4]
    assert all(counts[neuron] >= fifth for neuron in written)


def test_the_page_of_a_fact_shows_its_names_and_numbers(site, store, studied):
    fact = studied.facts[0]
    page = html_of(site)[fact_address(fact.id)]
    for names in (fact.subject, fact.object):
        assert all(name in page.text for name in names.values())
    pairs = store.overlap("activation").by_pair().query("fact_id == @fact.id")
    assert f"Jaccard index of {pairs['jaccard'].mean():.3f}" in page.text
    assert f"of the relation {pairs['other_fact'].mean():.3f}" in page.text


def test_neurons_show_their_tokens(site):
    neurons = [page for name, page in html_of(site).items() if name.startswith("neuron/")]
    assert all("promotes" in page.text and "demotes" in page.text for page in neurons)
    assert all(len(page.all("code")) == 24 for page in neurons)


def test_names_in_all_languages_can_be_looked_up(site, studied):
    text = (site / "assets" / "names.js").read_text("utf-8")
    entries = json.loads(text.removeprefix("const ATLAS = ").removesuffix(";\n"))
    for fact in studied:
        (found,) = [keys for _, keys, address in entries if address == fact_address(fact.id)]
        assert all(name in found for name in (*fact.subject.values(), *fact.object.values()))
    assert all((site / address).is_file() for *_, address in entries)


def test_addresses_stay_when_a_study_is_added(site, store, studied, tmp_path):
    other = lv.sweep(
        "embedded-control", studied, tmp_path / "control", methods=["activation"], changed=[],
        lens=False, progress=False,
    )  # fmt: skip
    made = lv.atlas([store, other.folder], tmp_path / "site", neurons=5, tokens=False, title="Two")
    before = {path.relative_to(site) for path in site.rglob("*.html")}
    after = {path.relative_to(made.index.parent) for path in made.index.parent.rglob("*.html")}
    assert before <= after
    page = Page(made.index.read_text("utf-8"))
    assert "embedded-control" in page.text
    assert "2 studies of 6 facts" in page.text
    again = lv.atlas([store], made.index.parent, neurons=0, tokens=False)  # replaced
    assert again.pages < made.pages
    assert "Two" not in again.index.read_text("utf-8")


def test_the_same_stores_make_the_same_bytes(site, store, tmp_path):
    again = lv.atlas(store, tmp_path / "site", neurons=5).index.parent
    for path in site.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (again / path.relative_to(site)).read_bytes()


def test_hostile_names_are_shown_and_not_obeyed(hostile_store, tmp_path):
    made = lv.atlas(hostile_store, tmp_path / "site", title=HOSTILE)
    assert "<b>x</b>" in next(iter(made.without_tokens))
    pages = html_of(made.index.parent)
    assert all(HOSTILE in page.text for page in pages.values())
    for page in pages.values():
        assert not {"img", "b"} & {tag for tag, _ in page.tags}
        assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)
        assert all(not text or text.startswith("{") for text in page.scripts)
    names = (made.index.parent / "assets" / "names.js").read_text("utf-8")
    json.loads(names.removeprefix("const ATLAS = ").removesuffix(";\n"))


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.text(max_size=12) | st.sampled_from(["a", "A", "aux", "capital/FR"]), unique=True)
)
def test_different_names_have_different_addresses(names):
    made = [slug(name) for name in names]
    assert len({x.casefold() for x in made}) == len(names)
    assert all(x.isascii() and x and not set(x) & set('/\\:*?"<>| .%#') for x in made)


def test_what_is_there_is_not_lost(store, tmp_path, cases_alone):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds something that is no atlas"):
        lv.atlas(store, tmp_path / "full")
    assert (tmp_path / "full" / "thesis.txt").read_text() == "mine"
    with pytest.raises(ValueError, match="is a file; give a folder"):
        lv.atlas(store, tmp_path / "full" / "thesis.txt")
    with pytest.raises(lv.StoreError, match="holds no sweep"):
        lv.atlas(tmp_path / "full", tmp_path / "site")
    with pytest.raises(ValueError, match=r"stores=\[\]; give stores, or folders"):
        lv.atlas([], tmp_path / "site")
    with pytest.raises(ValueError, match="has no facts, only edits"):
        lv.atlas(cases_alone, tmp_path / "site")
    assert not (tmp_path / "site").exists()


@pytest.fixture(scope="module")
def cases_alone(embedded, facts, tmp_path_factory):
    from made_up_edits import NOTHING

    cases = lv.counterfactual_cases(facts, n=1).filter(languages=["en"])
    folder = tmp_path_factory.mktemp("edits") / "store"
    return lv.sweep(embedded, None, folder, cases=cases, editors=[NOTHING], progress=False)


def test_a_sweep_of_edits_alone_has_a_report(cases_alone, tmp_path):
    page = Page(lv.report(cases_alone, tmp_path / "page.html").read_text("utf-8"))
    assert "Edits of the model embedded" in page.text
    assert "nothing" in page.text
