"""Figures of whether an overlap is more than chance, and of its threshold."""

from typing import TYPE_CHECKING, get_args

import numpy as np
import plotly.graph_objects as go

from lafn_viz.core.arguments import one_of, takes, whole
from lafn_viz.core.messages import quoted
from lafn_viz.neurons.significance import NULLS, STATISTICS, Significance
from lafn_viz.neurons.stability import Choice
from lafn_viz.plots.drawn import a_table, draws
from lafn_viz.plots.style import AGNOSTIC, CONTROL, LEGEND_ABOVE, SPECIFIC, made_of, styled

if TYPE_CHECKING:
    import pandas as pd


@draws(Significance)
@takes(statistic=one_of(STATISTICS), top=whole(1))
def significance_ladder(
    found: Significance, *, statistic: str = "across scripts", top: int = 40
) -> go.Figure:
    """Draw each fact's statistic beside its 95th percentile under both null models."""
    row = STATISTICS.index(statistic)
    order = np.argsort(-found.observed[row])[:top]
    names = found.names or found.facts
    figure = go.Figure()
    for null, colour, symbol in (
        (1, SPECIFIC, "line-ew-open"),
        (0, CONTROL, "line-ew-open"),
    ):
        figure.add_trace(
            go.Scatter(
                x=[names[i] for i in order],
                y=found.null_high[null, row, order],
                mode="markers",
                marker={"symbol": symbol, "size": 12, "color": colour, "line": {"width": 3}},
                name=f"{NULLS[null]}: 95th percentile",
                hovertemplate="%{x}: %{y:.2f}<extra>" + NULLS[null] + "</extra>",
            )
        )
    q = found.q_value[1, row]
    for is_significant, name, colour in (
        (True, "q < 0.05 against other facts", AGNOSTIC),
        (False, "not significant", "#ffffff"),
    ):
        chosen = [i for i in order if bool(q[i] < 0.05) == is_significant]
        figure.add_trace(
            go.Scatter(
                x=[names[i] for i in chosen],
                y=found.observed[row, chosen],
                mode="markers",
                marker={"size": 10, "color": colour, "line": {"color": AGNOSTIC, "width": 2}},
                name=f"observed, {name} ({len(chosen)})",
                customdata=q[chosen],
                hovertemplate="%{x}: %{y:.2f}, q = %{customdata:.3f}<extra></extra>",
            )
        )
    unit = "agnostic neurons" if statistic == "agnostic" else "shared neurons, mean pair"
    highest = max(float(np.nanmax(v)) for v in (found.observed[row], found.null_high[:, row]))
    figure.update_yaxes(title_text=unit, range=[0, 1.08 * highest])
    figure.update_xaxes(
        title_text="fact",
        tickangle=-60,
        categoryorder="array",
        categoryarray=[names[i] for i in order],
    )
    figure.update_layout(legend=LEGEND_ABOVE)
    figure = styled(
        figure,
        title=f"Is the overlap more than chance, and more than for other facts? ({statistic})",
        caption=f"{found.n_permutations} permutations. Grey: random neurons of the same layers; "
        "orange: neurons of other facts of the relation." + made_of(names, found.provenance),
        height=480,
    )
    return figure.update_layout(margin={"b": 110, "t": 140})


@takes(table=a_table("threshold_curve()", "comparison", "jaccard", "low", "high"))
def threshold_lines(table: "pd.DataFrame") -> go.Figure:
    """Draw the overlap and its controls over the threshold, from `threshold_curve()`."""
    option = str(table.columns[0])
    if option not in get_args(Choice):
        raise ValueError(
            f"a table by {quoted(option)}; give the table of threshold_curve(), whose first column "
            f"is {' or '.join(get_args(Choice))}"
        )
    colours = {"same fact": AGNOSTIC, "other fact": SPECIFIC, "chance": CONTROL}
    figure = go.Figure()
    for name, colour in colours.items():
        rows = table[table["comparison"] == name]
        x = [*rows[option], *rows[option][::-1]]
        figure.add_trace(
            go.Scatter(
                x=x, y=[*rows["high"], *rows["low"][::-1]], mode="lines", fill="toself",
                opacity=0.25, line={"width": 0}, fillcolor=colour, hoverinfo="skip",
                showlegend=False,
            )
        )  # fmt: skip
        figure.add_trace(
            go.Scatter(
                x=rows[option],
                y=rows["jaccard"],
                mode="lines+markers",
                line={"color": colour},
                name=name,
                hovertemplate="%{x}: %{y:.3f}<extra>" + name + "</extra>",
            )
        )
    figure.update_xaxes(title_text=f"{option} of neurons kept for each prompt", type="log")
    if option == "threshold":
        figure.update_xaxes(title_text="threshold (share of the largest score)", type="linear")
    ticks = sorted(set(table[option]))
    figure.update_xaxes(tickvals=ticks, ticktext=[f"{tick:g}" for tick in ticks])
    figure.update_yaxes(title_text="mean Jaccard between languages", rangemode="tozero")
    figure.update_layout(legend=LEGEND_ABOVE)
    return styled(
        figure,
        title="Does the overlap depend on the threshold?",
        caption="Means with 95% intervals over facts. Only the overlap above the orange line "
        "belongs to the fact.",
        height=420,
    )
