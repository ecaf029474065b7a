"""The public names of lafn_viz: what each is called and which module holds it."""

from lafn_viz import plots as plots
from lafn_viz.attribution.attribute import attribute as attribute
from lafn_viz.attribution.baselines import BaselineWarning as BaselineWarning
from lafn_viz.attribution.scores import (
    CompletenessWarning as CompletenessWarning,
    NeuronScores as NeuronScores,
)
from lafn_viz.core.json_records import FactError as FactError
from lafn_viz.core.provenance import Provenance as Provenance
from lafn_viz.core.skipped import SkippedWarning as SkippedWarning
from lafn_viz.datasets.counterfactuals import (
    counterfactual_case as counterfactual_case,
    counterfactual_cases as counterfactual_cases,
)
from lafn_viz.datasets.edit_cases import EditCase as EditCase
from lafn_viz.datasets.edit_readers import (
    load_edit_cases as load_edit_cases,
)
from lafn_viz.datasets.edit_sets import EditSet as EditSet
from lafn_viz.datasets.fact import Fact as Fact
from lafn_viz.datasets.fact_files import load_facts as load_facts
from lafn_viz.datasets.fact_readers import (
    lint_patterns as lint_patterns,
    load_mlama as load_mlama,
    load_mpararel as load_mpararel,
)
from lafn_viz.datasets.facts import FactSet as FactSet
from lafn_viz.datasets.prompts import Prompt as Prompt
from lafn_viz.datasets.text import shows_answer as shows_answer
from lafn_viz.editing import baselines as baselines
from lafn_viz.editing.activation_matcher import (
    ActivationMatcher as ActivationMatcher,
)
from lafn_viz.editing.baselines.editor import (
    Editor as Editor,
)
from lafn_viz.editing.cache import (
    EditCache as EditCache,
    EditError as EditError,
    edited as edited,
)
from lafn_viz.editing.edit import Edit as Edit, NotConvergedWarning as NotConvergedWarning
from lafn_viz.editing.evaluation.answers import Evaluation as Evaluation
from lafn_viz.editing.evaluation.evaluate import evaluate as evaluate
from lafn_viz.editing.evaluation.journal import load_evaluation as load_evaluation
from lafn_viz.editing.evaluation.passport.make import passport as passport
from lafn_viz.editing.evaluation.passport.result import Passport as Passport
from lafn_viz.editing.gate import RelationGate as RelationGate
from lafn_viz.editing.gate_by_relation import gate_by_relation as gate_by_relation
from lafn_viz.editing.many import (
    edit_cases as edit_cases,
)
from lafn_viz.editing.optimise import edit_case as edit_case, lafn_edit as lafn_edit
from lafn_viz.editing.retrieval.match import Match as Match
from lafn_viz.editing.retrieval.subject_matcher import SubjectMatcher as SubjectMatcher
from lafn_viz.experiments.evidence import Evidence as Evidence, evidence as evidence
from lafn_viz.experiments.evidence_files import (
    SavedEvidence as SavedEvidence,
    load_evidence as load_evidence,
    save_evidence as save_evidence,
)
from lafn_viz.experiments.examination import Examination as Examination
from lafn_viz.experiments.examine import examine as examine
from lafn_viz.experiments.over_checkpoints import over_checkpoints as over_checkpoints
from lafn_viz.experiments.plan import Plan as Plan
from lafn_viz.experiments.store import (
    Store as Store,
    StoreError as StoreError,
)
from lafn_viz.experiments.sweep import (
    sweep as sweep,
)
from lafn_viz.interventions.activation_patching import (
    Trace as Trace,
    trace_subject as trace_subject,
)
from lafn_viz.interventions.degenerate import (
    Degenerate as Degenerate,
    find_degenerate as find_degenerate,
    overview as overview,
)
from lafn_viz.interventions.effects import (
    Effects as Effects,
    effects as effects,
)
from lafn_viz.interventions.fact_check import FactCheck as FactCheck
from lafn_viz.interventions.fact_checking import check_facts as check_facts
from lafn_viz.interventions.failures import Failures as Failures, failures as failures
from lafn_viz.interventions.intervene import (
    Effect as Effect,
    intervene as intervene,
)
from lafn_viz.interventions.language_lens import LanguageLens as LanguageLens
from lafn_viz.interventions.lens_effects import (
    LensEffects as LensEffects,
    lens_effects as lens_effects,
)
from lafn_viz.interventions.lens_reading import language_lens as language_lens
from lafn_viz.interventions.neuron_cards import (
    NeuronCard as NeuronCard,
    neuron_card as neuron_card,
    neuron_table as neuron_table,
    neurons_promoting as neurons_promoting,
)
from lafn_viz.interventions.planted.planting import (
    Planted as Planted,
    plant as plant,
)
from lafn_viz.interventions.planted.recovery import (
    method_scores as method_scores,
    score_methods as score_methods,
    score_overlap as score_overlap,
)
from lafn_viz.interventions.training_history import (
    TrainingHistory as TrainingHistory,
    load_history as load_history,
)
from lafn_viz.interventions.transplant import Transplant as Transplant
from lafn_viz.interventions.transplanting import (
    transplant as transplant,
)
from lafn_viz.models.generation import next_tokens as next_tokens
from lafn_viz.models.known import KnownShare as KnownShare, known_share as known_share
from lafn_viz.models.loading import load_model as load_model
from lafn_viz.models.scoring import (
    AnswerScores as AnswerScores,
    score_answers as score_answers,
)
from lafn_viz.models.vocabulary import UnknownWordWarning as UnknownWordWarning
from lafn_viz.neurons.agnostic_counts import agnostic_counts as agnostic_counts
from lafn_viz.neurons.controls import matched_like as matched_like, random_like as random_like
from lafn_viz.neurons.lape import (
    Lape as Lape,
    lape as lape,
)
from lafn_viz.neurons.neuron_sets import (
    NeuronSet as NeuronSet,
    select_neurons as select_neurons,
)
from lafn_viz.neurons.overlap_result import Overlap as Overlap
from lafn_viz.neurons.overlaps import overlap as overlap
from lafn_viz.neurons.significance import (
    Significance as Significance,
    significance as significance,
)
from lafn_viz.neurons.stability import (
    Stability as Stability,
    stability as stability,
    threshold_curve as threshold_curve,
)
from lafn_viz.reports.atlas import Atlas as Atlas, atlas as atlas
from lafn_viz.reports.report import report as report
from lafn_viz.widgets import (
    LensExplorer as LensExplorer,
    LiveEditor as LiveEditor,
    NeuronExplorer as NeuronExplorer,
    OverlapExplorer as OverlapExplorer,
    PromptExplorer as PromptExplorer,
)

__version__: str
