"""Checks of the course's exercises: `course.check_...(your_answer, ...)` returns a `Verdict`."""

from lafn_viz.course.attribution import (
    check_completeness_error,
    check_integrated_gradients,
    check_path_from,
    check_without_each_token,
)
from lafn_viz.course.degenerate_and_fact_checking import (
    check_auc,
    check_effect,
    check_expected,
    check_is_degenerate,
    check_rescued,
)
from lafn_viz.course.editing import (
    check_edit_loss,
    check_with_values,
    check_writes_most,
)
from lafn_viz.course.editing_evaluation import check_edit_scores, check_speaks_of
from lafn_viz.course.grading import Verdict
from lafn_viz.course.language_lens import (
    check_kind_of_failure,
    check_missed_most,
    check_ranks,
    check_told_apart,
    lens_tables,
)
from lafn_viz.course.neurons_and_hooks import (
    check_direct_effect,
    check_layer_activations,
    check_without_neuron,
)
from lafn_viz.course.overlap import (
    check_jaccard,
    check_keep,
    check_other_facts,
    check_p_value,
    check_refine,
)
from lafn_viz.course.real_model import check_excess, check_known_in, check_without
from lafn_viz.course.when_it_fails import (
    check_chance_jaccard,
    check_discoveries,
    check_known_everywhere,
)
from lafn_viz.course.your_model import check_known_share, check_wording

__all__ = [
    "Verdict",
    "check_auc",
    "check_chance_jaccard",
    "check_completeness_error",
    "check_direct_effect",
    "check_discoveries",
    "check_edit_loss",
    "check_edit_scores",
    "check_effect",
    "check_excess",
    "check_expected",
    "check_integrated_gradients",
    "check_is_degenerate",
    "check_jaccard",
    "check_keep",
    "check_kind_of_failure",
    "check_known_everywhere",
    "check_known_in",
    "check_known_share",
    "check_layer_activations",
    "check_missed_most",
    "check_other_facts",
    "check_p_value",
    "check_path_from",
    "check_ranks",
    "check_refine",
    "check_rescued",
    "check_speaks_of",
    "check_told_apart",
    "check_with_values",
    "check_without",
    "check_without_each_token",
    "check_without_neuron",
    "check_wording",
    "check_writes_most",
    "lens_tables",
]
