"""All explorers on one page."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import ipywidgets as w

from lafn_viz.datasets.facts import FactSet
from lafn_viz.widgets.editor import LiveEditor
from lafn_viz.widgets.explorer import Explorer
from lafn_viz.widgets.exported import Kept
from lafn_viz.widgets.lens import LensExplorer
from lafn_viz.widgets.neuron import NeuronExplorer
from lafn_viz.widgets.overlap import OverlapExplorer
from lafn_viz.widgets.prompt import PromptExplorer

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

EXPLORERS: dict[str, Callable[..., Explorer]] = {
    "Overlap": OverlapExplorer,
    "Neurons": NeuronExplorer,
    "Layers": LensExplorer,
    "Edit": LiveEditor,
    "Type and see": PromptExplorer,
}


class Tabs(Kept, w.Tab):
    """A tab for each explorer."""


def page(model: "TransformerBridge | str" = "embedded", facts: FactSet | None = None) -> w.Tab:
    """Return a tab for each explorer; an explorer is built when its tab is first opened.

    Edits are saved in folders inside the working folder.
    """
    places = [w.VBox() for _ in EXPLORERS]
    tabs = Tabs(places, titles=list(EXPLORERS))
    tabs.add_class("lafn-page")

    def build(*_: object) -> None:
        place = places[tabs.selected_index or 0]
        if not place.children:
            explorer = list(EXPLORERS.values())[tabs.selected_index or 0]
            options = {"root": Path.cwd()} if explorer is LiveEditor else {}
            place.children = [explorer(model, facts, **options)]

    tabs.observe(build, "selected_index")
    build()
    return tabs
