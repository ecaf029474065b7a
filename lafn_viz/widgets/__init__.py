"""Explorers: controls for what the package computes and draws, with no maths and no figures here.

Each explorer is a widget that a notebook shows; `page` puts all of them in tabs.
"""

from lafn_viz.widgets.editor import LiveEditor
from lafn_viz.widgets.figure import FigureView
from lafn_viz.widgets.lens import LensExplorer
from lafn_viz.widgets.neuron import NeuronExplorer
from lafn_viz.widgets.overlap import OverlapExplorer
from lafn_viz.widgets.page import EXPLORERS, page
from lafn_viz.widgets.prompt import PromptExplorer

__all__ = [
    "EXPLORERS",
    "FigureView",
    "LensExplorer",
    "LiveEditor",
    "NeuronExplorer",
    "OverlapExplorer",
    "PromptExplorer",
    "page",
]
