"""Explorers without a browser: controls are set as the page sets them.

Models and edits that several tests need are loaded and made once.
"""

import importlib
import threading
from collections.abc import Callable, Iterator

import pytest

import lafn_viz as lv
from lafn_viz.models.capabilities import weights_of
from lafn_viz.widgets import editor as editor_module, explorer as explorer_module

LANGUAGES = ["en", "fr", "zh"]


@pytest.fixture(scope="session")
def capitals() -> lv.FactSet:
    """Two relations in three languages."""
    return (
        lv.load_facts()
        .filter(relation=["capital", "continent"], leaking=False)
        .filter(languages=LANGUAGES)
    )


@pytest.fixture(scope="session", autouse=True)
def models_loaded_once(embedded) -> Iterator[None]:
    """Explorers that load "embedded" by its name get the model that all tests share."""
    real = explorer_module.load_model
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            explorer_module,
            "load_model",
            lambda name: embedded if name == "embedded" else real(name),
        )
        yield


@pytest.fixture(scope="session")
def edits_made() -> dict:
    """Edits by what was asked for, each made by the first test that asks for it."""
    return {}


@pytest.fixture
def edits_made_once(edits_made, monkeypatch) -> None:
    """Let the editor make each edit once; later tests get the same edit again."""
    real = editor_module.edit_case

    def edit_case(model, case, *, n_neurons, position, **options):
        weights = weights_of(model)
        key = weights, case.key, str(case.edit), n_neurons, position
        if key not in edits_made:
            edits_made[key] = real(model, case, n_neurons=n_neurons, position=position, **options)
        return edits_made[key]

    monkeypatch.setattr(editor_module, "edit_case", edit_case)


@pytest.fixture(scope="session")
def overlap_explorer(embedded, capitals) -> lv.OverlapExplorer:
    explorer = lv.OverlapExplorer(embedded, capitals, n_others=2)
    explorer.wait()
    return explorer


@pytest.fixture
def hold(monkeypatch) -> Callable[[str, str], threading.Event]:
    """Lets a function of a module, both given by name, wait until the returned event is set."""

    def hold(module: str, name: str) -> threading.Event:
        home = importlib.import_module(module)
        real, go_on = getattr(home, name), threading.Event()

        def waits(*args, **options):
            go_on.wait(30)
            return real(*args, **options)

        monkeypatch.setattr(home, name, waits)
        return go_on

    return hold
