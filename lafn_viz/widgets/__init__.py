"""Controls for what the package computes and draws: no maths here, and no figure built by hand.

Each explorer is a widget of its own, to be shown in a notebook; `page` has them all in tabs.
"""

from lafn_viz.widgets.editor import LiveEditor
from lafn_viz.widgets.figure import FigureView
from lafn_viz.widgets.neuron import NeuronExplorer
from lafn_viz.widgets.overlap import OverlapExplorer
from lafn_viz.widgets.page import EXPLORERS, page
from lafn_viz.widgets.prompt import PromptExplorer

__all__ = [
    "EXPLORERS",
    "FigureView",
    "LiveEditor",
    "NeuronExplorer",
    "OverlapExplorer",
    "PromptExplorer",
    "page",
]
