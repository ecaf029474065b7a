"""Figure of planted neurons: which method finds them."""

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lafn_viz.plots.style import AGNOSTIC, CONTROL, SPECIFIC, interval, styled

if TYPE_CHECKING:
    import pandas as pd


def planted_recovery(table: "pd.DataFrame") -> go.Figure:
    """Of each attribution method: planted neurons among its top, and the decoys beside them.

    `table` is that of `recovery.score_methods` for one position; "random" is the control.
    """
    missing = {"position", "recall", "recall_low", "decoys", "decoys_high"} - set(table.columns)
    if missing or table["position"].nunique() != 1:
        raise ValueError(
            f"a table without {', '.join(sorted(missing)) or 'exactly one position'}; give that of "
            "score_methods() for one position"
        )
    # The best on top; what is drawn at random closes the list.
    chance = table.index == "random"
    table = table.iloc[np.lexsort((-table["recall"], chance))][::-1]
    names = [str(name).replace("_", " ") for name in table.index]
    panels = (
        ("recall", "Planted neurons found", AGNOSTIC, "share of the planted"),
        ("decoys", "Decoys taken for them", SPECIFIC, "share of the top"),
    )
    figure = make_subplots(
        rows=1,
        cols=2,
        shared_yaxes=True,
        subplot_titles=[title for _, title, _, _ in panels],
        horizontal_spacing=0.06,
    )
    for column, (name, title, colour, axis) in enumerate(panels, 1):
        value = table[name]
        figure.add_trace(
            go.Scatter(
                x=value,
                y=names,
                error_x=interval(
                    value, table[f"{name}_low"], table[f"{name}_high"], thickness=1.5, width=4
                ),
                mode="markers",
                marker={
                    "size": 11,
                    "color": [CONTROL if x == "random" else colour for x in table.index],
                },
                showlegend=False,
                hovertemplate="%{y}: %{x:.1%}<extra>" + title + "</extra>",
            ),
            row=1,
            col=column,
        )
        for label, at, high in zip(names, value, table[f"{name}_high"], strict=True):
            figure.add_annotation(
                x=max(at, high if np.isfinite(high) else at),
                y=label,
                text=f"{at:.0%}",
                showarrow=False,
                xanchor="left",
                xshift=8,
                font={"size": 12, "color": "#555555"},
                row=1,
                col=column,
            )
        figure.update_xaxes(
            title_text=axis,
            range=[-0.03, 1.15],
            tickvals=[0, 0.25, 0.5, 0.75, 1],
            tickformat=".0%",
            zeroline=False,
            row=1,
            col=column,
        )
    figure.update_yaxes(automargin=True, showgrid=True)
    first = table.iloc[0]
    return styled(
        figure,
        title="Which method finds neurons that were planted?",
        caption=f"About {first['planted']:.0f} planted neurons act in each of {first['n']:.0f} "
        "(fact, language) pairs; as many decoys fire, as many write.<br>Bars: 95% bootstrap "
        "intervals over pairs. Grey: scores drawn at random.",
        height=140 + 44 * len(table) + 90,
    )
