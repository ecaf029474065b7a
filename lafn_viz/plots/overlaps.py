"""Figures of shared neurons, each beside its controls."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lafn_viz.overlaps import Overlap
from lafn_viz.plots.style import AGNOSTIC, CONTROL, LANGUAGE_NAMES, SPECIFIC, styled

if TYPE_CHECKING:
    import pandas as pd


def overlap_heatmap(overlap: Overlap) -> go.Figure:
    """Mean Jaccard of each pair of languages: the same fact, and another fact as its control."""
    names = [LANGUAGE_NAMES.get(code, code) for code in overlap.languages]
    panels = (
        ("Same fact", overlap.jaccard),
        ("Control: other fact, same relation", overlap.jaccard_other_fact),
    )
    apart = ~np.eye(len(names), dtype=bool)
    tops = [np.nanmax(m[apart]) for _, m in panels if np.isfinite(m[apart]).any()]
    top = max([*tops, 1e-6])
    means = overlap.by_fact()
    titles = [
        f"{name} (mean {np.nanmean(v):.3f})" if np.isfinite(v).any() else f"{name} (none)"
        for (name, _), v in zip(panels, (means["same fact"], means["other fact"]), strict=True)
    ]
    figure = make_subplots(rows=1, cols=2, subplot_titles=titles, horizontal_spacing=0.14)
    for column, (name, matrix) in enumerate(panels, 1):
        # The diagonal of "same fact" is 1 by definition and would hide everything else.
        shown = np.where(apart, matrix, np.nan)
        figure.add_trace(
            go.Heatmap(
                z=shown,
                x=names,
                y=names,
                zmin=0,
                zmax=top,
                colorscale="Viridis",
                showscale=column == 2,
                colorbar={"title": {"text": "Jaccard"}, "len": 0.9},
                hovertemplate="%{y} and %{x}: %{z:.3f}<extra>" + name + "</extra>",
            ),
            row=1,
            col=column,
        )
    figure.update_yaxes(autorange="reversed")
    figure.update_xaxes(tickangle=-45)
    return styled(
        figure,
        title="Do languages keep a fact in the same neurons?",
        caption=f"Overlap of the neurons of {len(overlap.facts)} facts between languages. Only "
        f"what is brighter on the left belongs to the fact; chance is "
        f"{np.nanmean(means['chance']):.3f}.",
        height=520,
    )


def layer_distribution(overlap: Overlap) -> go.Figure:
    """Agnostic and specific neurons of a fact, layer by layer."""
    frame = overlap.per_layer()
    figure = make_subplots(
        rows=1,
        cols=2,
        subplot_titles=("Language-agnostic (a fact)", "Language-specific (a fact in a language)"),
        horizontal_spacing=0.12,
    )
    for column, (name, colour) in enumerate((("agnostic", AGNOSTIC), ("specific", SPECIFIC)), 1):
        figure.add_trace(
            go.Bar(
                x=frame["layer"],
                y=frame[name],
                marker_color=colour,
                showlegend=False,
                text=[f"{value:.1f}" for value in frame[name]],
                textposition="outside",
                cliponaxis=False,
                hovertemplate="layer %{x}: %{y:.2f} neurons<extra></extra>",
            ),
            row=1,
            col=column,
        )
    figure.update_xaxes(title_text="layer", dtick=max(1, len(frame) // 12))
    figure.update_yaxes(title_text="neurons (mean over facts)", rangemode="tozero")
    needed = overlap.min_languages or "all"
    return styled(
        figure,
        title="Where do shared and separate neurons sit?",
        caption=f"Agnostic: in the sets of {'at least ' if overlap.min_languages else ''}{needed} "
        "languages that know the fact. Specific: in exactly one language's set.",
        height=420,
    )


def model_comparison(
    summaries: Mapping[str, "pd.DataFrame"],
    *,
    title: str = "Transfer and shared neurons come together",
    caption: str = "Overlap of a fact's neurons between languages, 95% intervals over facts. The "
    "control knows the same facts without transfer.",
) -> go.Figure:
    """Mean Jaccard with 95% intervals for each model or method: same fact, other fact, chance.

    `summaries` maps a name to its `Overlap.summary()`.
    """
    figure = go.Figure()
    colours = {"same fact": AGNOSTIC, "other fact": SPECIFIC, "chance": CONTROL}
    for name, colour in colours.items():
        rows = [s.set_index("comparison").loc[name] for s in summaries.values()]
        figure.add_trace(
            go.Bar(
                name=name,
                x=list(summaries),
                y=[row["jaccard"] for row in rows],
                error_y={
                    "type": "data",
                    "symmetric": False,
                    "array": [row["high"] - row["jaccard"] for row in rows],
                    "arrayminus": [row["jaccard"] - row["low"] for row in rows],
                },
                marker_color=colour,
                text=[f"{row['jaccard']:.3f}" for row in rows],
                textposition="inside",
                insidetextanchor="start",
                textfont={"size": 11},
                textangle=0,
                constraintext="none",
                hovertemplate="%{x}, " + name + ": %{y:.3f}<extra></extra>",
            )
        )
    figure.update_yaxes(title_text="mean Jaccard between languages", rangemode="tozero")
    figure.update_layout(barmode="group", legend={"orientation": "h", "y": 1.08, "x": 0})
    return styled(
        figure,
        title=title,
        caption=caption,
        height=440,
    )
