"""Figures of edits: the optimisation, the values, the number of neurons, and the outcome."""

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from itertools import cycle
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lafn_viz.core.arguments import (
    a_mapping,
    a_result,
    in_order,
    or_none,
    scalar,
    some_results,
    takes,
    whole,
    wrong,
)
from lafn_viz.core.messages import counted, quoted
from lafn_viz.datasets.languages import language_name
from lafn_viz.editing.edit import Edit
from lafn_viz.editing.evaluation.answers import ALL, EVALUATOR, METRIC, METRICS, Evaluation, Metric
from lafn_viz.editing.evaluation.metrics import AnswerMetric
from lafn_viz.plots.drawn import draws
from lafn_viz.plots.style import (
    AGNOSTIC,
    CONTROL,
    LEGEND_ABOVE,
    SHARES,
    SPECIFIC,
    interval,
    isolated,
    signed,
    styled,
)

COLOURS = (AGNOSTIC, CONTROL, SPECIFIC)


@takes(edits=a_mapping)
def edit_curves(edits: Mapping[str, Edit | Sequence[float]]) -> go.Figure:
    """Draw the loss of each edit while its values were optimised; a control comes second.

    For an edit that is still being made, its losses so far can be given instead.
    """
    figure = go.Figure()
    for (name, edit), colour in zip(edits.items(), cycle(COLOURS), strict=False):
        curve = edit.curve if isinstance(edit, Edit) else _losses(name, edit)
        steps = list(range(1, len(curve) + 1))
        label = escape(name, quote=False)
        figure.add_scatter(x=steps, y=curve, name=label, mode="lines", line={"color": colour})
    only = f" – {escape(next(iter(edits)), quote=False)}" if len(edits) == 1 else ""
    figure.update_xaxes(title_text="evaluation of the loss")
    figure.update_yaxes(title_text="loss (nats)", rangemode="tozero")
    figure.update_layout(legend=LEGEND_ABOVE)
    return styled(
        figure,
        title=f"How the values were optimised{only}",
        caption="Loss: −log P(new object), divergence on what should stay, and decay.<br>"
        "A jump up: some neurons were dropped, and the rest optimised again.",
        height=400,
    )


def _losses(name: str, given: Any) -> list[float]:
    """Read the losses of an edit that is still being made."""
    losses = in_order(given)
    if losses is None or None in map(scalar, losses):
        raise wrong(f"edits[{quoted(name)}]", given, "an Edit, or its losses so far")
    return losses


@draws(Edit)
@takes(top=whole(1), control=or_none(a_result(Edit)))
def edit_values(edit: Edit, *, top: int = 30, control: Edit | None = None) -> go.Figure:
    """Draw the values with the largest magnitude of an edit as bars, in the order of neurons.

    Args:
        top: how many values to draw.
        control: the same edit by other neurons, as by random ones, drawn beside it on one scale.
    """
    drawn = {"the edit": edit} if control is None else {"the edit": edit, "control": control}
    figure = make_subplots(
        cols=len(drawn), shared_yaxes=True, horizontal_spacing=0.04,
        subplot_titles=[
            f"{name}: sum of magnitudes {float(each.values.abs().sum()):.0f}"
            for name, each in drawn.items()
        ] if control else None,
    )  # fmt: skip
    for column, (each, colour) in enumerate(zip(drawn.values(), COLOURS, strict=False), 1):
        figure.add_trace(_value_bars(each, top, colour), row=1, col=column)
    order = range(min(top, len(edit.neurons)))
    layers = Counter(layer for layer, _ in edit.neurons)
    by_layer = ", ".join(f"{layers[layer]} in layer {layer}" for layer in sorted(layers))
    figure.update_xaxes(title_text="neuron (layer:neuron)", type="category", tickangle=-60)
    figure.update_yaxes(zeroline=True)
    figure.update_yaxes(title_text="value (activation)", col=1)
    figure.update_layout(showlegend=False)
    return styled(
        figure,
        title=f"Which values are added to which neurons – {escape(_edited(edit), quote=False)}",
        caption="One value per neuron, the same in all languages. "
        f"{counted(len(edit.neurons), 'neuron')}: {by_layer};"
        f"<br>the {len(order)} with the largest magnitude are drawn.",
        height=400,
    )


def _edited(edit: Edit) -> str:
    """An edit in words: `Japan: capital → Rome`."""
    subject, new = next(iter(edit.names.values()))[0], next(iter(edit.new.values()))
    return f"{isolated(subject)}: {edit.relation.replace('_', ' ')} → {isolated(new)}"


def _value_bars(edit: Edit, top: int, colour: str) -> go.Bar:
    """The values with the largest magnitude, in the order of neurons."""
    order = edit.values.abs().argsort(descending=True)[:top].tolist()
    order.sort(key=lambda i: edit.neurons[i])
    return go.Bar(
        x=[f"{layer}:{neuron}" for layer, neuron in (edit.neurons[i] for i in order)],
        y=edit.values[order].tolist(),
        marker_color=colour,
        customdata=signed(edit.values[order], 2),
        hovertemplate="neuron %{x}: %{customdata}<extra></extra>",
    )


def _edits_by_name(name: str, given: Any) -> dict[str, Sequence[Edit]]:
    """Read edits of several sizes by name, at least one of each name."""
    by_name = {
        key: some_results(Edit)(name, edits) for key, edits in a_mapping(name, given).items()
    }
    if not by_name or not all(by_name.values()):
        raise wrong(name, given, "edits of several sizes by name, at least one of each")
    return by_name


@takes(edits=_edits_by_name)
def edits_by_size(edits: Mapping[str, Sequence[Edit]]) -> go.Figure:
    """Draw the loss of the new object over the number of neurons; a control comes second."""
    figure = go.Figure()
    for (name, by_size), colour in zip(edits.items(), cycle(COLOURS), strict=False):
        figure.add_scatter(
            x=[len(edit.neurons) for edit in by_size],
            y=[edit.loss for edit in by_size],
            name=escape(name, quote=False),
            mode="lines+markers",
            line={"color": colour},
            hovertemplate="%{x} neurons: %{y:.2f} nats<extra>"
            + escape(name, quote=False)
            + "</extra>",
        )
    sizes = sorted({len(edit.neurons) for by_size in edits.values() for edit in by_size})
    figure.update_xaxes(title_text="neurons", type="log", tickvals=sizes)
    figure.update_yaxes(title_text="mean −log P(new object), nats", rangemode="tozero")
    figure.update_layout(legend=LEGEND_ABOVE)
    return styled(
        figure,
        title="How many neurons does it take to change the fact?",
        caption="Lower is better. Where the control comes close, it does not matter which<br>"
        "neurons are changed: enough values can produce any answer.",
        height=400,
    )


def _words(name: str) -> str:
    """The name of a metric as a reader writes it."""
    return name.replace("_", " ")


@draws(Evaluation)
@takes(metric=METRIC, evaluator=EVALUATOR)
def edit_matrix(
    evaluation: Evaluation,
    metric: Metric = "reliability",
    evaluator: AnswerMetric = "exact_match",
) -> go.Figure:
    """Draw what an edit in one language does in the others; the last row is an edit in all."""
    matrix = evaluation.matrix(metric, evaluator)
    rows = ["all languages" if x == ALL else language_name(x) for x in matrix.index]
    figure = go.Figure(
        go.Heatmap(
            z=matrix.to_numpy(),
            text=np.where(np.isfinite(matrix), np.char.mod("%.2f", matrix.to_numpy()), ""),
            x=[language_name(x) for x in matrix.columns],
            y=rows,
            **SHARES,
            texttemplate="%{text}",
            xgap=1,
            ygap=1,
            colorbar={"title": {"text": "mean", "side": "right"}, "thickness": 12},
            hovertemplate="edited in %{y}, asked in %{x}: %{z:.2f}<extra></extra>",
        )
    )
    figure.update_yaxes(autorange="reversed", title_text="edited in", ticksuffix=" ")
    figure.update_xaxes(title_text="asked in", tickangle=-35)
    cases = len({answer.case for answer in evaluation.answers})
    styled(
        figure,
        title=f"Edit in one language, ask in another: {_words(metric)}",
        caption=f"{evaluation.editor}, {_words(evaluator)}, mean of {counted(cases, 'edit')}.<br>"
        "A full row: the edit holds in every language. The diagonal alone: only in its own.",
        height=220 + 30 * len(rows),
    )
    figure.update_layout(margin={"l": 120, "b": 90})
    return figure


@draws(Evaluation, by_name=True)
@takes(evaluator=EVALUATOR)
def editor_comparison(
    evaluations: Mapping[str, Evaluation], evaluator: AnswerMetric = "exact_match"
) -> go.Figure:
    """Draw editors side by side: a panel for each metric, means with 95% intervals over edits."""
    tables = {
        name: evaluation.summary(evaluator).set_index("metric")
        for name, evaluation in evaluations.items()
    }
    metrics = [m for m in METRICS if any(m in table.index for table in tables.values())]
    figure = make_subplots(
        cols=len(metrics),
        shared_yaxes=True,
        horizontal_spacing=0.03,
        subplot_titles=[*map(_words, metrics)],
    )
    for column, metric in enumerate(metrics, 1):
        rows = {name: table.loc[metric] for name, table in tables.items() if metric in table.index}
        means = [row["mean"] for row in rows.values()]
        low, high = ([row[x] for row in rows.values()] for x in ("low", "high"))
        figure.add_scatter(
            x=[row["before"] for row in rows.values()], y=list(rows), mode="markers",
            marker={"color": CONTROL, "symbol": "line-ns-open", "size": 12},
            name="without the edit", showlegend=column == 1, row=1, col=column,
            hovertemplate="%{y}, without the edit: %{x:.3f}<extra></extra>",
        )  # fmt: skip
        figure.add_scatter(
            x=means, y=list(rows), mode="markers", name="edited", showlegend=column == 1,
            marker={"color": AGNOSTIC, "size": 9},
            error_x=interval(means, low, high, thickness=1.5, width=3), row=1, col=column,
            hovertemplate="%{y}: %{x:.3f}<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(range=[-0.04, 1.04], tickvals=[0, 0.5, 1], showgrid=True)
    figure.update_yaxes(autorange="reversed", ticksuffix=" ")
    cases = max(table["cases"].max() for table in tables.values())
    styled(
        figure,
        title="Editors side by side",
        caption=f"{_words(evaluator)}, mean over up to {cases} edits with 95% intervals; further "
        "right is better.<br>Locality and same subject: does the model still write what it wrote "
        "before?",
        height=230 + 30 * len(tables),
    )
    figure.update_layout(
        margin={"l": 170, "t": 150},
        legend={"orientation": "h", "x": 0, "y": 0.02, "yref": "container", "yanchor": "bottom"},
    )
    return figure
