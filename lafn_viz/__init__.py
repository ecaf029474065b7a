"""See, prove and change the facts that a language model keeps in neurons of every language.

The public names, loaded on first use so that `import lafn_viz` stays quick.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lafn_viz import baselines, plots
    from lafn_viz.activation_matching import ActivationMatcher
    from lafn_viz.attribution.attribute import CompletenessWarning, NeuronScores, attribute
    from lafn_viz.baselines import Editor
    from lafn_viz.bulk import edit_cases
    from lafn_viz.cache import EditCache, EditError, edited
    from lafn_viz.datasets.counterfactuals import counterfactual_case, counterfactual_cases
    from lafn_viz.datasets.edit_cases import EditCase, EditSet
    from lafn_viz.datasets.edit_readers import load_edit_cases
    from lafn_viz.datasets.fact_readers import lint_patterns, load_mlama, load_mpararel
    from lafn_viz.datasets.facts import Fact, FactError, FactSet, Prompt, load_facts
    from lafn_viz.editing import Edit, edit_case, lafn_edit
    from lafn_viz.evaluation import Evaluation, evaluate
    from lafn_viz.interventions.activation_patching import Trace, trace_subject
    from lafn_viz.interventions.degenerate import Degenerate, find_degenerate
    from lafn_viz.interventions.effects import Effect, Effects, effects, intervene
    from lafn_viz.interventions.fact_checking import FactCheck, check_facts
    from lafn_viz.interventions.neuron_cards import NeuronCard, neuron_card, neuron_table
    from lafn_viz.interventions.planted.planting import Planted, plant
    from lafn_viz.matching import Match, SubjectMatcher
    from lafn_viz.models.loading import Provenance, load_model
    from lafn_viz.models.scoring import AnswerScores, score_answers
    from lafn_viz.neurons.lape import Lape, lape
    from lafn_viz.neurons.neuron_sets import NeuronSet, select_neurons
    from lafn_viz.neurons.overlaps import Overlap, overlap
    from lafn_viz.neurons.significance import Significance, significance
    from lafn_viz.neurons.stability import Stability, stability, threshold_curve
    from lafn_viz.store import Store, StoreError
    from lafn_viz.sweeps import sweep
    from lafn_viz.widgets import LiveEditor, NeuronExplorer, OverlapExplorer, PromptExplorer

_HOME = {
    "ActivationMatcher": "activation_matching",
    "AnswerScores": "models.scoring",
    "CompletenessWarning": "attribution.attribute",
    "Degenerate": "interventions.degenerate",
    "Edit": "editing",
    "EditCache": "cache",
    "EditCase": "datasets.edit_cases",
    "EditError": "cache",
    "EditSet": "datasets.edit_cases",
    "Editor": "baselines",
    "Effect": "interventions.effects",
    "Effects": "interventions.effects",
    "Evaluation": "evaluation",
    "Fact": "datasets.facts",
    "FactCheck": "interventions.fact_checking",
    "FactError": "datasets.facts",
    "FactSet": "datasets.facts",
    "Lape": "neurons.lape",
    "LiveEditor": "widgets",
    "Match": "matching",
    "NeuronCard": "interventions.neuron_cards",
    "NeuronExplorer": "widgets",
    "NeuronScores": "attribution.attribute",
    "NeuronSet": "neurons.neuron_sets",
    "Overlap": "neurons.overlaps",
    "OverlapExplorer": "widgets",
    "Planted": "interventions.planted.planting",
    "Prompt": "datasets.facts",
    "PromptExplorer": "widgets",
    "Provenance": "models.loading",
    "Significance": "neurons.significance",
    "Stability": "neurons.stability",
    "Store": "store",
    "StoreError": "store",
    "SubjectMatcher": "matching",
    "Trace": "interventions.activation_patching",
    "attribute": "attribution.attribute",
    "baselines": "",
    "check_facts": "interventions.fact_checking",
    "counterfactual_case": "datasets.counterfactuals",
    "counterfactual_cases": "datasets.counterfactuals",
    "edit_case": "editing",
    "edit_cases": "bulk",
    "edited": "cache",
    "effects": "interventions.effects",
    "evaluate": "evaluation",
    "find_degenerate": "interventions.degenerate",
    "intervene": "interventions.effects",
    "lafn_edit": "editing",
    "lape": "neurons.lape",
    "lint_patterns": "datasets.fact_readers",
    "load_edit_cases": "datasets.edit_readers",
    "load_facts": "datasets.facts",
    "load_mlama": "datasets.fact_readers",
    "load_model": "models.loading",
    "load_mpararel": "datasets.fact_readers",
    "neuron_card": "interventions.neuron_cards",
    "neuron_table": "interventions.neuron_cards",
    "overlap": "neurons.overlaps",
    "plant": "interventions.planted.planting",
    "plots": "",
    "score_answers": "models.scoring",
    "select_neurons": "neurons.neuron_sets",
    "significance": "neurons.significance",
    "stability": "neurons.stability",
    "sweep": "sweeps",
    "threshold_curve": "neurons.stability",
    "trace_subject": "interventions.activation_patching",
}
__all__ = [
    "ActivationMatcher",
    "AnswerScores",
    "CompletenessWarning",
    "Degenerate",
    "Edit",
    "EditCache",
    "EditCase",
    "EditError",
    "EditSet",
    "Editor",
    "Effect",
    "Effects",
    "Evaluation",
    "Fact",
    "FactCheck",
    "FactError",
    "FactSet",
    "Lape",
    "LiveEditor",
    "Match",
    "NeuronCard",
    "NeuronExplorer",
    "NeuronScores",
    "NeuronSet",
    "Overlap",
    "OverlapExplorer",
    "Planted",
    "Prompt",
    "PromptExplorer",
    "Provenance",
    "Significance",
    "Stability",
    "Store",
    "StoreError",
    "SubjectMatcher",
    "Trace",
    "attribute",
    "baselines",
    "check_facts",
    "counterfactual_case",
    "counterfactual_cases",
    "edit_case",
    "edit_cases",
    "edited",
    "effects",
    "evaluate",
    "find_degenerate",
    "intervene",
    "lafn_edit",
    "lape",
    "lint_patterns",
    "load_edit_cases",
    "load_facts",
    "load_mlama",
    "load_model",
    "load_mpararel",
    "neuron_card",
    "neuron_table",
    "overlap",
    "plant",
    "plots",
    "score_answers",
    "select_neurons",
    "significance",
    "stability",
    "sweep",
    "threshold_curve",
    "trace_subject",
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
