"""A small store, and one whose names are no names."""

import pytest
from html_pages import HOSTILE

import lafn_viz as lv


@pytest.fixture(scope="session")
def studied(facts):
    chosen = facts.filter(
        relation=["capital", "language"], leaking=False, languages=["en", "fr", "ru", "zh"]
    )
    return chosen.sample(6, seed=3)


@pytest.fixture(scope="session")
def store(embedded, studied, tmp_path_factory):
    return lv.sweep(
        embedded, studied, tmp_path_factory.mktemp("reports") / "store", how=["mean", "zero"],
        methods=["activation", "gradient_x_activation"], controls=1, min_languages=3, min_scripts=2,
        progress=False,
    )  # fmt: skip


@pytest.fixture(scope="session")
def hostile_store(embedded, studied, tmp_path_factory):
    """A sweep of facts and of a model whose names are no names."""
    from dataclasses import replace

    named = [
        replace(
            fact, id=f"{fact.id} {HOSTILE}",
            subject={code: f"{name} {HOSTILE}" for code, name in fact.subject.items()},
        )
        for fact in studied.facts[:2]
    ]  # fmt: skip
    unread = replace(named[0], id=HOSTILE, object={**named[0].object, "fr": " "})
    some = lv.FactSet((*named, unread), studied.paraphrases)
    store = lv.sweep(
        embedded, some, tmp_path_factory.mktemp("hostile") / "store", methods=["activation"],
        controls=1, min_languages=2, min_scripts=1, how="zero", progress=False,
    )  # fmt: skip
    head = store.folder / "sweep.json"
    head.write_text(head.read_text("utf-8").replace('"name": "embedded"', '"name": "<b>x</b>"'))
    return lv.Store(store.folder)
