"""Figures of edits: how the values were found, and with how many neurons."""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from lafn_viz.editing import Edit
from lafn_viz.plots.style import AGNOSTIC, CONTROL, SPECIFIC, styled

COLOURS = (AGNOSTIC, CONTROL, SPECIFIC)


def edit_curves(edits: Mapping[str, Edit]) -> go.Figure:
    """The loss of each edit while its values were optimised; a control comes second."""
    figure = go.Figure()
    for (name, edit), colour in zip(edits.items(), COLOURS, strict=False):
        steps = list(range(1, len(edit.curve) + 1))
        figure.add_scatter(x=steps, y=edit.curve, name=name, mode="lines", line={"color": colour})
    figure.update_xaxes(title_text="evaluation of the loss")
    figure.update_yaxes(title_text="loss (nats)", rangemode="tozero")
    figure.update_layout(legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"})
    return styled(
        figure,
        title="How the values were found",
        caption="-log P(new object), the divergence on what is to stay, and decay.<br>"
        "A jump up: neurons were left out, and the rest optimised again.",
        height=400,
    )


def edits_by_size(edits: Mapping[str, Sequence[Edit]]) -> go.Figure:
    """Loss of the new object by the number of neurons, for ways to choose them; control second."""
    figure = go.Figure()
    for (name, some), colour in zip(edits.items(), COLOURS, strict=False):
        figure.add_scatter(
            x=[len(edit.neurons) for edit in some],
            y=[edit.loss for edit in some],
            name=name,
            mode="lines+markers",
            line={"color": colour},
            hovertemplate="%{x} neurons: %{y:.2f} nats<extra>" + name + "</extra>",
        )
    sizes = sorted({len(edit.neurons) for some in edits.values() for edit in some})
    figure.update_xaxes(title_text="neurons", type="log", tickvals=sizes)
    figure.update_yaxes(title_text="mean -log P(new object), nats", rangemode="tozero")
    figure.update_layout(legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"})
    return styled(
        figure,
        title="With how many neurons can the fact be changed?",
        caption="Lower is better. Where the control comes near, it does not matter which<br>"
        "neurons are changed: enough values can be bent to anything.",
        height=400,
    )
