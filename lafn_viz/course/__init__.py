"""The checks of the course's exercises: `course.check_...(your_answer, ...)` gives a `Verdict`."""

from lafn_viz.course.grading import Verdict
from lafn_viz.course.hooks import check_direct_effect, check_layer_activations, check_without_neuron

__all__ = [
    "Verdict",
    "check_direct_effect",
    "check_layer_activations",
    "check_without_neuron",
]
