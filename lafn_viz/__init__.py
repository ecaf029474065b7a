"""See, prove and change the facts that a language model keeps in neurons of every language.

The public names, loaded on first use so that `import lafn_viz` stays quick.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lafn_viz import plots
    from lafn_viz.attribution import CompletenessWarning, NeuronScores, attribute
    from lafn_viz.causal import Effect, Effects, effects, intervene
    from lafn_viz.facts import Fact, FactError, FactSet, Prompt, load_facts
    from lafn_viz.models import Provenance, load_model
    from lafn_viz.neurons import NeuronSet, select_neurons
    from lafn_viz.overlaps import Overlap, overlap
    from lafn_viz.planting import Planted, plant
    from lafn_viz.target import AnswerScores, score_answers

_HOME = {
    "AnswerScores": "target",
    "CompletenessWarning": "attribution",
    "Effect": "causal",
    "Effects": "causal",
    "Fact": "facts",
    "FactError": "facts",
    "FactSet": "facts",
    "NeuronScores": "attribution",
    "NeuronSet": "neurons",
    "Overlap": "overlaps",
    "Planted": "planting",
    "Prompt": "facts",
    "Provenance": "models",
    "attribute": "attribution",
    "effects": "causal",
    "intervene": "causal",
    "load_facts": "facts",
    "load_model": "models",
    "overlap": "overlaps",
    "plant": "planting",
    "plots": "",
    "score_answers": "target",
    "select_neurons": "neurons",
}
__all__ = [
    "AnswerScores",
    "CompletenessWarning",
    "Effect",
    "Effects",
    "Fact",
    "FactError",
    "FactSet",
    "NeuronScores",
    "NeuronSet",
    "Overlap",
    "Planted",
    "Prompt",
    "Provenance",
    "attribute",
    "effects",
    "intervene",
    "load_facts",
    "load_model",
    "overlap",
    "plant",
    "plots",
    "score_answers",
    "select_neurons",
]

try:
    __version__ = version("lafn_viz")
except PackageNotFoundError:  # read from a folder that nobody installed
    __version__ = "unknown"


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'lafn_viz' has no attribute {name!r}")
    if not _HOME[name]:
        return import_module(f"lafn_viz.{name}")
    value = getattr(import_module(f"lafn_viz.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
