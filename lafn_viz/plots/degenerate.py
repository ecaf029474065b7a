"""Figures of neurons that stand in for one another, and of fact-checking by them."""

from itertools import pairwise

import numpy as np
import plotly.graph_objects as go

from lafn_viz.datasets.languages import language_name
from lafn_viz.interventions.degenerate import Degenerate
from lafn_viz.interventions.fact_checking import DKN, RANDOM, TOP, FactCheck, P, roc
from lafn_viz.plots.style import AGNOSTIC, CONTROL, SPECIFIC, asked_of, styled

TOGETHER = "#009E73"  # what neurons do only together
OFTEN = "#CC79A7"  # neurons of high attribution that are not degenerate


def degenerate_graph(result: Degenerate) -> go.Figure:
    """Candidate neurons by layer and attribution; lines join the degenerate pairs.

    A line is green where the pair does more than the product of what its neurons do alone, and
    grey where that product explains it.
    """
    names = result.candidates
    if not names:
        raise ValueError(f"there are no candidates to draw, for {result.reason}")
    layers = sorted({layer for layer, _ in names})
    x = np.zeros(len(names))
    for column, layer in enumerate(layers):
        mine = [place for place, neuron in enumerate(names) if neuron.layer == layer]
        # Golden-ratio steps: neighbours in rank stand far apart.
        for rank, place in enumerate(mine):
            x[place] = column + 0.76 * ((0.25 + 0.618 * rank) % 1) - 0.38
    y, of = result.attribution, result.provenance.options.get("of", "probability")
    product = np.outer(1 + result.single, 1 + result.single) - 1
    pairs = [tuple(sorted(map(names.index, some))) for some in result.sets if len(some) == 2]
    figure = go.Figure()
    joint = [result.pair[pair] for pair in pairs] or [0.0]
    steps = np.linspace(min(joint), max(joint) + 1e-9, 5)
    for more, name, colour in (
        (True, "together more than one by one", TOGETHER),
        (False, "no more than one by one", CONTROL),
    ):
        shown = False
        for width, (low, high) in zip((5, 3.5, 2, 1), pairwise(steps), strict=True):
            some = [
                pair
                for pair in pairs
                if low <= result.pair[pair] < high and (result.pair[pair] < product[pair]) == more
            ]
            if some:
                figure.add_trace(
                    go.Scatter(
                        x=[at for a, b in some for at in (x[a], x[b], None)],
                        y=[at for a, b in some for at in (y[a], y[b], None)],
                        mode="lines",
                        line={"color": colour, "width": width},
                        opacity=0.6,
                        name=name,
                        legendgroup=name,
                        showlegend=not shown,
                        hoverinfo="skip",
                    )
                )
                shown = True
    reach = max(float(np.abs(result.single).max()), 0.01)
    larger = [some for some in result.sets if len(some) > 2]
    best = [int(np.argmin(row)) for row in result.pair]
    figure.add_trace(
        go.Scatter(
            x=x,
            y=y,
            mode="markers+text",
            text=[str(neuron) for _, neuron in names],
            textfont={
                "size": 10,
                "color": ["white" if abs(v) > 0.6 * reach else "#222222" for v in result.single],
            },
            marker={
                "size": 27,
                "color": result.single,
                "colorscale": "RdBu",
                "cmin": -reach,
                "cmax": reach,
                "line": {"color": "#444444", "width": 1},
                "colorbar": {
                    "title": {"text": f"change of<br>{of}<br>without it"},
                    "tickformat": "+.0%" if reach >= 0.05 else "+.1%",
                    "len": 0.9,
                },
            },
            customdata=[
                (f"layer {n.layer}, neuron {n.neuron}", f"{alone:+.1%}", f"{row[b]:+.1%}",
                 f"{names[b].layer}, {names[b].neuron}", sum(n in some for some in larger))
                for n, alone, row, b in zip(names, result.single, result.pair, best, strict=True)
            ],
            hovertemplate="%{customdata[0]}: alone %{customdata[1]}, at most %{customdata[2]} with "
            "(%{customdata[3]}); in %{customdata[4]} larger sets<extra></extra>",
            showlegend=False,
        )
    )  # fmt: skip
    figure.update_xaxes(
        tickvals=list(range(len(layers))),
        ticktext=[f"layer {layer}" for layer in layers],
        range=[-0.55, len(layers) - 0.45],
        showgrid=False,
        zeroline=False,
    )
    for column in range(1, len(layers)):
        figure.add_vline(x=column - 0.5, line={"color": "#DDDDDD", "width": 1})
    log = np.log10(y)
    room = 0.08 * float(np.ptp(log)) + 0.02
    ticks = [m * 10.0**power for power in range(-12, 4) for m in (1, 1.5, 2, 3, 5, 7)]
    ticks = [tick for tick in ticks if abs(np.log10(tick) - log.mean()) < np.ptp(log) + room]
    figure.update_yaxes(
        title_text="attribution (mean over paraphrases)",
        type="log",
        range=[log.min() - room, log.max() + room],
        tickvals=ticks,
        ticktext=[f"{tick:.2g}" for tick in ticks],
    )
    figure.update_layout(legend={"orientation": "h", "y": 1.09, "x": 0})
    found = "No set of neurons is degenerate"
    if result.sets:
        beside = f" and {len(larger)} larger sets" if max(result.searched) > 2 else ""
        found = f"{len(pairs)} degenerate pairs (lines, thick where they cost most){beside}"
    control = (
        f"{np.mean(result.control):.1f} among as many random neurons"
        if result.control
        else "no control was searched"
    )
    language = language_name(result.language)
    return styled(
        figure,
        title=f"{asked_of(result.prompts[0])} in {language}: which neurons stand in for another?",
        caption=f"{found}; {control}.<br>Circles: neurons by number. Without all {len(names)}: "
        f"{result.together:+.0%} of the {of}; without as many random ones: "
        f"{result.together_random:+.0%}.",
        height=560,
    )


def fact_checking_roc(check: FactCheck) -> go.Figure:
    """True and false answers told apart by degenerate neurons, and by the three controls."""
    figure = go.Figure()
    summary = check.summary()
    grid = np.linspace(0, 1, 101)
    colours = {P: SPECIFIC, DKN: AGNOSTIC, TOP: OFTEN, RANDOM: CONTROL}
    labels = []
    for judge, colour in colours.items():
        scores, truth = check.rows(judge)
        if not len(scores) or not np.isfinite(scores).all():
            continue
        curves = [roc(row, truth) for row in scores]
        x, y = curves[0]
        if len(curves) > 1:
            heights = np.array([np.interp(grid, *curve) for curve in curves])
            low, y, high = np.percentile(heights, [2.5, 50, 97.5], axis=0)
            x = grid
            figure.add_trace(
                go.Scatter(
                    x=[*grid, *grid[::-1]],
                    y=[*high, *low[::-1]],
                    fill="toself",
                    fillcolor="rgba(153,153,153,0.25)",
                    line={"width": 0},
                    hoverinfo="skip",
                    name=f"{judge}, 95% of draws",
                )
            )
        figure.add_trace(
            go.Scatter(
                x=x,
                y=y,
                mode="lines",
                line={"color": colour, "width": 3},
                name=judge,
                hovertemplate="%{y:.0%} of the true, %{x:.0%} of the false<extra>"
                + judge
                + "</extra>",
            )
        )
        auc, low, high = summary.loc[judge, ["auc", "low", "high"]]
        draws = f" (mean of {len(scores)} draws)" if len(scores) > 1 else ""
        labels.append((judge + draws, colour, f"AUC {auc:.3f} [{low:.3f}, {high:.3f}]"))
    for row, (name, colour, text) in enumerate(labels):
        figure.add_annotation(
            x=0.985,
            y=0.05 + 0.075 * (len(labels) - 1 - row),
            text=f"<b>{name}</b>: {text}",
            font={"color": "#666666" if colour == CONTROL else colour, "size": 13},
            bgcolor="rgba(255,255,255,0.85)",
            xanchor="right",
            showarrow=False,
        )
    figure.add_shape(
        type="line", x0=0, y0=0, x1=1, y1=1, line={"color": CONTROL, "dash": "dot", "width": 1}
    )
    figure.update_xaxes(
        title_text="false answers that pass", range=[-0.02, 1.02], tickformat=".0%", zeroline=False
    )
    figure.update_yaxes(
        title_text="true answers that pass", range=[-0.02, 1.02], tickformat=".0%", zeroline=False
    )
    figure.update_layout(showlegend=False)
    false = check.provenance.options["false_answers"]
    if check.reason:
        caption = (
            f"Degenerate neurons judge nothing here:<br>{check.reason.replace(', ', ',<br>')}."
        )
    else:
        above = {}
        for other in (TOP, RANDOM):
            difference, low, high = check.compare(other=other)
            above[other] = f"{difference:+.3f} [{low:+.3f}, {high:+.3f}]"
        caption = (
            f"{len(check.neurons)} neurons of {check.provenance.model}, {len(check.test)} test "
            "facts, 95% intervals over them (band: of the random draws).<br>AUC above the top "
            f"neurons {above[TOP]}, above the random ones {above[RANDOM]}. The bar to pass is "
            "P(candidate)."
        )
    return styled(
        figure,
        title=f"Fact-checking by neurons, {check.relation}: true from {false} false answers?",
        caption=caption,
        height=560,
    )
