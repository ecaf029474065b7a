"""Figure of activation patching: where in the model the subject is read."""

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lafn_viz.interventions.activation_patching import WHATS, WHERES, Trace
from lafn_viz.plots.drawn import draws
from lafn_viz.plots.style import SHARES, styled

TITLES = {"layer input": "what enters the layer", "neurons": "what its neurons do"}


@draws(Trace)
def subject_trace(trace: Trace) -> go.Figure:
    """Draw how often the values of another subject, patched in at one place, lead to its answer."""
    figure = make_subplots(
        rows=1,
        cols=len(WHATS),
        shared_yaxes=True,
        subplot_titles=[TITLES[what] for what in WHATS],
        horizontal_spacing=0.05,
    )
    layers = [f"layer {layer}" for layer in range(trace.share.shape[1])]
    places = [where.replace(" ", "<br>", 1) for where in WHERES]
    for column, table in enumerate(trace.share, 1):
        figure.add_trace(
            go.Heatmap(
                z=table,
                x=places,
                y=layers,
                **SHARES,
                xgap=2,
                ygap=2,
                text=np.where(np.isfinite(table), np.char.mod("%.2f", table), "–"),
                texttemplate="%{text}",
                showscale=column == 1,
                colorbar={
                    "title": {"text": "share with<br>the donor's<br>answer"},
                    "thickness": 12,
                },
                hovertemplate="%{y}, %{x}: %{z:.1%}<extra></extra>",
            ),
            row=1,
            col=column,
        )
    figure.update_yaxes(autorange="reversed", showgrid=False)
    figure.update_xaxes(showgrid=False, side="bottom")
    return styled(
        figure,
        title="Where is the subject read?",
        caption=(
            "Values of a prompt about another subject (the donor) are patched in at one place.<br>"
            f"{trace.n_pairs} pairs; {trace.donor:.0%} of the donor prompts are answered; without "
            f"a patch, {trace.untouched:.0%} write the donor's answer."
        ),
        height=200 + 55 * len(layers),
    )
