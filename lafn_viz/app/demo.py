"""The figures of the demo: a model and its control, side by side."""

from collections.abc import Mapping

import plotly.graph_objects as go

from lafn_viz import plots
from lafn_viz.experiments.examination import Examination
from lafn_viz.plots.overlaps import highest_jaccard

SHOWN_FACT = "capital/FR"  # shown neuron by neuron, if it was examined


def demo_figures(examinations: Mapping[str, Examination]) -> dict[str, go.Figure]:
    """Return figures by name, of the examinations of a model and of its control."""
    main = next(iter(examinations.values()))
    agnostic = main.overlap.agnostic
    fact = max(agnostic, key=lambda name: len(agnostic[name]))
    if SHOWN_FACT in agnostic:
        fact = SHOWN_FACT
    return {
        **_heatmaps(examinations),
        "models": plots.model_comparison(
            {
                f"{name}, {pairs}": examination.overlap.summary(across_scripts=across)
                for name, examination in examinations.items()
                for pairs, across in (("all pairs", False), ("across scripts", True))
            }
        ),
        "layers": plots.layer_distribution(main.overlap),
        "fact": plots.attribution_strip(
            main.scores.select(lambda prompt: prompt.fact_id == fact), agnostic=main.overlap
        ),
    }


def _heatmaps(examinations: Mapping[str, Examination]) -> dict[str, go.Figure]:
    """The overlap of the model and of its control, told apart by their titles, on one scale."""
    overlaps = {name: examination.overlap for name, examination in examinations.items()}
    top = highest_jaccard(*overlaps.values())
    drawn = {
        name: plots.overlap_heatmap(
            overlap, title=f"{name}: does it keep a fact in the same neurons?", top=top
        )
        for name, overlap in overlaps.items()
    }
    return dict(zip(("overlap", "overlap-control"), drawn.values(), strict=True))
