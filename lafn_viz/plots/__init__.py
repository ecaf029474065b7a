"""Each function draws one figure: it turns a result into a plotly Figure, without model or state.

Signed scores have a diverging scale centred at zero. Language-agnostic neurons, language-specific
ones and controls keep the same colours everywhere (from the Okabe-Ito palette, which colour-blind
readers can tell apart). The control of a claim is drawn beside it, on the same scale. A title says
what is shown, and the caption under it what to look for.
"""

from lafn_viz.plots.activation_patching import subject_trace
from lafn_viz.plots.attribution import attribution_strip, completeness_curve, method_scatter
from lafn_viz.plots.compared_sets import compared_sets
from lafn_viz.plots.degenerate import degenerate_graph, fact_checking_roc
from lafn_viz.plots.editing import (
    edit_curves,
    edit_matrix,
    edit_values,
    editor_comparison,
    edits_by_size,
)
from lafn_viz.plots.effects import effects_by_language, effects_matrix, transfer_and_sharing
from lafn_viz.plots.exported import keep_figures
from lafn_viz.plots.failures import failure_kinds
from lafn_viz.plots.known import known_shares
from lafn_viz.plots.language_lens import language_ranks, latent_languages, lens_strip
from lafn_viz.plots.lens_effects import lens_changes
from lafn_viz.plots.neuron_cards import neuron_card
from lafn_viz.plots.overlaps import (
    language_tree,
    layer_distribution,
    model_comparison,
    overlap_heatmap,
    sharing_by_pair,
    upset,
)
from lafn_viz.plots.planting import planted_recovery
from lafn_viz.plots.significance import significance_ladder, threshold_lines
from lafn_viz.plots.style import CONFIG
from lafn_viz.plots.training_history import training_history
from lafn_viz.plots.transplant import transplant_matrix

__all__ = [
    "CONFIG",
    "attribution_strip",
    "compared_sets",
    "completeness_curve",
    "degenerate_graph",
    "edit_curves",
    "edit_matrix",
    "edit_values",
    "editor_comparison",
    "edits_by_size",
    "effects_by_language",
    "effects_matrix",
    "fact_checking_roc",
    "failure_kinds",
    "known_shares",
    "language_ranks",
    "language_tree",
    "latent_languages",
    "layer_distribution",
    "lens_changes",
    "lens_strip",
    "method_scatter",
    "model_comparison",
    "neuron_card",
    "overlap_heatmap",
    "planted_recovery",
    "sharing_by_pair",
    "significance_ladder",
    "subject_trace",
    "threshold_lines",
    "training_history",
    "transfer_and_sharing",
    "transplant_matrix",
    "upset",
]

keep_figures()
