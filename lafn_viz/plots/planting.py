"""Figure of planted neurons: which attribution method finds them."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lafn_viz.core.arguments import takes
from lafn_viz.plots.drawn import a_table
from lafn_viz.plots.style import AGNOSTIC, CONTROL, SPECIFIC, interval, styled

if TYPE_CHECKING:
    import pandas as pd


class _Panel(NamedTuple):
    """One column of the table as a panel."""

    column: str
    title: str
    colour: str
    axis: str


PANELS = (
    _Panel("recall", "Planted neurons found", AGNOSTIC, "share of the planted neurons"),
    _Panel("decoys", "Decoys mistaken for them", SPECIFIC, "share of the top neurons"),
)


@takes(table=a_table("score_methods() for one position"))
def planted_recovery(table: "pd.DataFrame") -> go.Figure:
    """Draw the share of planted neurons among each method's top neurons, and of decoys.

    `table` is that of `score_methods` for one position; "random" is the control.
    """
    ends = ("", "_low", "_high")
    needed = {"position", *(f"{panel.column}{end}" for panel in PANELS for end in ends)}
    missing = needed - set(table.columns)
    if missing or table["position"].nunique() != 1:
        raise ValueError(
            f"a table without {', '.join(sorted(missing)) or 'exactly one position'}; give that of "
            "score_methods() for one position"
        )
    # The best method stands on top; scores drawn at random close the list.
    is_random = table.index == "random"
    table = table.iloc[np.lexsort((-table["recall"], is_random))][::-1]
    figure = make_subplots(
        rows=1,
        cols=2,
        shared_yaxes=True,
        subplot_titles=[panel.title for panel in PANELS],
        horizontal_spacing=0.06,
    )
    for column, panel in enumerate(PANELS, 1):
        _draw_panel(figure, table, panel, column)
    figure.update_yaxes(automargin=True, showgrid=True)
    first = table.iloc[0]
    return styled(
        figure,
        title="Which method finds the planted neurons?",
        caption=f"About {first['planted']:.0f} planted neurons act in each of {first['n']:.0f} "
        f"pairs of {first['facts']:.0f} facts and their languages; as many decoys only fire, as "
        "many only write.<br>Bars: 95% bootstrap intervals over facts. "
        "Grey: scores drawn at random.",
        height=140 + 44 * len(table) + 90,
    )


def _draw_panel(figure: go.Figure, table: "pd.DataFrame", panel: _Panel, column: int) -> None:
    """Draw a share with its interval for each method, and write it to the right of both."""
    names = [str(name).replace("_", " ") for name in table.index]
    share, low, high = (table[panel.column + end] for end in ("", "_low", "_high"))
    figure.add_trace(
        go.Scatter(
            x=share,
            y=names,
            error_x=interval(share, low, high, thickness=1.5, width=4),
            mode="markers",
            marker={
                "size": 11,
                "color": [CONTROL if name == "random" else panel.colour for name in table.index],
            },
            showlegend=False,
            hovertemplate="%{y}: %{x:.1%}<extra>" + panel.title + "</extra>",
        ),
        row=1,
        col=column,
    )
    for name, value, end in zip(names, share, high, strict=True):
        figure.add_annotation(
            x=max(value, end if np.isfinite(end) else value),
            y=name,
            text=f"{value:.0%}",
            showarrow=False,
            xanchor="left",
            xshift=8,
            font={"size": 12, "color": "#555555"},
            row=1,
            col=column,
        )
    figure.update_xaxes(
        title_text=panel.axis,
        range=[-0.03, 1.15],
        tickvals=[0, 0.25, 0.5, 0.75, 1],
        tickformat=".0%",
        zeroline=False,
        row=1,
        col=column,
    )
