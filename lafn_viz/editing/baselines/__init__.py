"""The compared editors, and edits of weights."""

from lafn_viz.editing.baselines.editor import Applicable, Editor
from lafn_viz.editing.baselines.fine_tuning import fine_tuning
from lafn_viz.editing.baselines.knowledge_neurons import knowledge_neurons, scaled
from lafn_viz.editing.baselines.neuron_editors import (
    language_agnostic,
    per_language,
    random_neurons,
)
from lafn_viz.editing.baselines.rome_memit import memit, rome

__all__ = [
    "Applicable",
    "Editor",
    "fine_tuning",
    "knowledge_neurons",
    "language_agnostic",
    "memit",
    "per_language",
    "random_neurons",
    "rome",
    "scaled",
]
