"""The compared editors, and edits of weights."""

from lafn_viz.editing.baselines.editor import (
    Applicable,
    Editor,
    fine_tuning,
    knowledge_neurons,
    language_agnostic,
    memit,
    per_language,
    random_neurons,
    rome,
    scaled,
)

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
