"""Editors to compare: LU-LAFNs and its controls, knowledge neurons, fine-tuning, ROME and MEMIT.

Each module's docstring gives its method, formula and paper; `editor` describes the interface that
they share, and how to add an editor of your own.
"""

from lafn_viz.editing.baselines.editor import Applicable, Editor
from lafn_viz.editing.baselines.fine_tuning import fine_tuning
from lafn_viz.editing.baselines.knowledge_neurons import knowledge_neurons, scaled
from lafn_viz.editing.baselines.neuron_editors import (
    language_agnostic,
    per_language,
    random_neurons,
)
from lafn_viz.editing.baselines.rome_memit import memit, rome
from lafn_viz.editing.baselines.weight_edits import WeightEdit

__all__ = [
    "Applicable",
    "Editor",
    "WeightEdit",
    "fine_tuning",
    "knowledge_neurons",
    "language_agnostic",
    "memit",
    "per_language",
    "random_neurons",
    "rome",
    "scaled",
]
