"""Figures of degenerate neurons, which stand in for one another, and of fact-checking by them."""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from lafn_viz.core.messages import counted
from lafn_viz.datasets.languages import language_name
from lafn_viz.interventions.degenerate import Degenerate
from lafn_viz.interventions.fact_check import DKN, RANDOM, TOP, FactCheck, P, roc
from lafn_viz.plots.drawn import draws
from lafn_viz.plots.style import AGNOSTIC, CONTROL, SPECIFIC, asked_of, styled

TOGETHER = "#009E73"  # pairs that do more together than their neurons do one by one
OFTEN = "#CC79A7"  # neurons of high attribution that are not degenerate
WIDTHS = (5, 3.5, 2, 1)  # of the lines, from the pairs that cost most to those that cost least
JUDGES = {P: SPECIFIC, DKN: AGNOSTIC, TOP: OFTEN, RANDOM: CONTROL}


@draws(Degenerate)
def degenerate_graph(result: Degenerate) -> go.Figure:
    """Draw candidate neurons by layer and attribution; lines join the degenerate pairs.

    A line is green where the pair does more than the product of what its neurons do alone, and
    grey where that product explains it.
    """
    names = result.candidates
    if not names:
        raise ValueError(f"there are no candidates to draw: {result.reason}")
    of = result.provenance.options.get("of", "probability")
    layers = sorted({layer for layer, _ in names})
    x = _columns(result, layers)
    figure = go.Figure([*_pair_lines(result, x), _candidates(result, x, of)])
    _lay_out_graph(figure, layers, np.log10(result.attribution))
    asked = f"{asked_of(result.prompts[0])} in {language_name(result.language)}"
    return styled(
        figure,
        title=f"{asked}: which neurons stand in for one another?",
        caption=f"{_findings(result)}.<br>Circles: neurons by number. Without all {len(names)}: "
        f"{result.together:+.0%} of the {of}; without as many random ones: "
        f"{result.together_random:+.0%}.",
        height=560,
    )


def _pairs(result: Degenerate) -> list[tuple[int, ...]]:
    """Return the degenerate pairs as places among the candidates."""
    places = result.candidates.index
    return [tuple(sorted(map(places, pair))) for pair in result.sets if len(pair) == 2]


def _columns(result: Degenerate, layers: list[int]) -> Float[np.ndarray, " neuron"]:
    """Return where each candidate stands: in the column of its layer, in the order of numbers."""
    x = np.zeros(len(result.candidates))
    for column, layer in enumerate(layers):
        places = [i for i, neuron in enumerate(result.candidates) if neuron.layer == layer]
        places.sort(key=lambda i: result.candidates[i].neuron)
        for rank, place in enumerate(places):
            x[place] = column + 0.84 * (rank + 0.5) / len(places) - 0.42
    return x


def _pair_lines(result: Degenerate, x: Float[np.ndarray, " neuron"]) -> Iterator[go.Scatter]:
    """Yield the lines between pairs, by colour and width; one legend entry for each colour."""
    pairs, y = _pairs(result), result.attribution
    product = np.outer(1 + result.single, 1 + result.single) - 1
    changes = [result.pair[pair] for pair in pairs] or [0.0]
    steps = np.linspace(min(changes), max(changes) + 1e-9, len(WIDTHS) + 1)
    for is_joint, name, colour in (
        (True, "together more than one by one", TOGETHER),
        (False, "no more than one by one", CONTROL),
    ):
        in_legend = False
        for width, (low, high) in zip(WIDTHS, pairwise(steps), strict=True):
            drawn = [
                pair
                for pair in pairs
                if low <= result.pair[pair] < high
                and (result.pair[pair] < product[pair]) == is_joint
            ]
            if not drawn:
                continue
            yield go.Scatter(
                x=[end for a, b in drawn for end in (x[a], x[b], None)],
                y=[end for a, b in drawn for end in (y[a], y[b], None)],
                mode="lines",
                line={"color": colour, "width": width},
                opacity=0.6,
                name=name,
                legendgroup=name,
                showlegend=not in_legend,
                hoverinfo="skip",
            )
            in_legend = True


def _candidates(result: Degenerate, x: Float[np.ndarray, " neuron"], of: str) -> go.Scatter:
    """Circles, each in the colour of what its neuron does alone."""
    names, single = result.candidates, result.single
    reach = max(float(np.abs(single).max()), 0.01)
    larger = [neurons for neurons in result.sets if len(neurons) > 2]
    best = [int(np.argmin(row)) for row in result.pair]
    return go.Scatter(
        x=x,
        y=result.attribution,
        mode="markers+text",
        text=[str(neuron) for _, neuron in names],
        textfont={
            "size": 10,
            "color": ["white" if abs(v) > 0.6 * reach else "#222222" for v in single],
        },
        marker={
            "size": 27,
            "color": single,
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
             f"{names[b].layer}, {names[b].neuron}", sum(n in neurons for neurons in larger))
            for n, alone, row, b in zip(names, single, result.pair, best, strict=True)
        ],
        hovertemplate="%{customdata[0]}: alone %{customdata[1]}, at most %{customdata[2]} with "
        "(%{customdata[3]}); larger sets with it: %{customdata[4]}<extra></extra>",
        showlegend=False,
    )  # fmt: skip


def _lay_out_graph(
    figure: go.Figure, layers: list[int], log_attribution: Float[np.ndarray, " neuron"]
) -> None:
    """Set the axes: a column for each layer, attribution on a logarithmic scale with few ticks."""
    figure.update_xaxes(
        title_text="layer, and in it the neurons by number",
        tickvals=list(range(len(layers))),
        ticktext=[f"layer {layer}" for layer in layers],
        range=[-0.55, len(layers) - 0.45],
        showgrid=False,
        zeroline=False,
    )
    for column in range(1, len(layers)):
        figure.add_vline(x=column - 0.5, line={"color": "#DDDDDD", "width": 1})
    spread = np.ptp(log_attribution)
    room = 0.08 * float(spread) + 0.02
    ticks = [m * 10.0**power for power in range(-12, 4) for m in (1, 1.5, 2, 3, 5, 7)]
    ticks = [t for t in ticks if abs(np.log10(t) - log_attribution.mean()) < spread + room]
    figure.update_yaxes(
        title_text="attribution (mean over paraphrases)",
        type="log",
        range=[log_attribution.min() - room, log_attribution.max() + room],
        tickvals=ticks,
        ticktext=[f"{tick:.2g}" for tick in ticks],
    )
    figure.update_layout(legend={"orientation": "h", "y": 1.09, "x": 0})


def _findings(result: Degenerate) -> str:
    """Say how many sets are degenerate, and how many among random neurons."""
    sets = "No set of neurons is degenerate"
    if result.sets:
        n_pairs, n_larger = len(_pairs(result)), sum(len(neurons) > 2 for neurons in result.sets)
        pairs = counted(n_pairs, "degenerate pair")
        larger = f" and {counted(n_larger, 'larger set')}"
        larger = larger if max(result.searched) > 2 else ""
        sets = f"{pairs} (lines, thick where they cost most){larger}"
    if not result.control:
        return f"{sets}; no control was searched"
    return f"{sets}; {np.mean(result.control):.1f} among as many random neurons"


class _Curve(NamedTuple):
    """A judge's ROC curve, with the band of its draws where there are several."""

    x: Float[np.ndarray, " point"]
    y: Float[np.ndarray, " point"]
    n_draws: int = 1
    band: tuple[Float[np.ndarray, " point"], Float[np.ndarray, " point"]] | None = None


@draws(FactCheck)
def fact_checking_roc(check: FactCheck) -> go.Figure:
    """Draw how well degenerate neurons, and three controls, tell true answers from false ones."""
    figure = go.Figure()
    curves = _curves(check)
    for judge, curve in curves.items():
        figure.add_traces(list(_roc_traces(judge, curve)))
    _label_curves(figure, check, curves)
    figure.add_shape(
        type="line", x0=0, y0=0, x1=1, y1=1, line={"color": CONTROL, "dash": "dot", "width": 1}
    )
    look = {"range": [-0.02, 1.02], "tickformat": ".0%", "zeroline": False}
    figure.update_xaxes(title_text="false answers that pass", **look)
    figure.update_yaxes(title_text="true answers that pass", **look)
    figure.update_layout(showlegend=False)
    false = check.provenance.options["false_answers"]
    return styled(
        figure,
        title=f"Fact-checking by neurons, {check.relation}: true or {false} false answers?",
        caption=_roc_caption(check),
        height=560,
    )


def _curves(check: FactCheck) -> dict[str, _Curve]:
    """Return the curve of each judge that has scores; of several draws the median, with a band."""
    curves = {}
    grid = np.linspace(0, 1, 101)
    for judge in JUDGES:
        scores, truth = check.rows(judge)
        if not len(scores) or not np.isfinite(scores).all():
            continue
        drawn = [roc(row, truth) for row in scores]
        if len(drawn) == 1:
            curves[judge] = _Curve(*drawn[0])
            continue
        heights = np.array([np.interp(grid, *curve) for curve in drawn])
        low, median, high = np.percentile(heights, [2.5, 50, 97.5], axis=0)
        curves[judge] = _Curve(grid, median, len(drawn), (low, high))
    return curves


def _roc_traces(judge: str, curve: _Curve) -> Iterator[go.Scatter]:
    """Yield the band of a judge, if there is one, then its line."""
    if curve.band is not None:
        low, high = curve.band
        yield go.Scatter(
            x=[*curve.x, *curve.x[::-1]],
            y=[*high, *low[::-1]],
            fill="toself",
            fillcolor="rgba(153,153,153,0.25)",
            line={"width": 0},
            hoverinfo="skip",
            name=f"{judge}, 95% of draws",
        )
    yield go.Scatter(
        x=curve.x,
        y=curve.y,
        mode="lines",
        line={"color": JUDGES[judge], "width": 3},
        name=judge,
        hovertemplate=f"%{{y:.0%}} of the true, %{{x:.0%}} of the false<extra>{judge}</extra>",
    )


def _label_curves(figure: go.Figure, check: FactCheck, curves: Mapping[str, _Curve]) -> None:
    """Write each judge's name in its colour beside its area under the curve."""
    summary = check.summary()
    for row, (judge, curve) in enumerate(curves.items()):
        auc, low, high = summary.loc[judge, ["auc", "low", "high"]]
        draws = f" (mean of {curve.n_draws} draws)" if curve.n_draws > 1 else ""
        colour = JUDGES[judge]
        figure.add_annotation(
            x=0.985,
            y=0.05 + 0.075 * (len(curves) - 1 - row),
            text=f"<b>{judge}{draws}</b>: AUC {auc:.3f} [{low:.3f}, {high:.3f}]",
            font={"color": "#666666" if colour == CONTROL else colour, "size": 13},
            bgcolor="rgba(255,255,255,0.85)",
            xanchor="right",
            showarrow=False,
        )


def _roc_caption(check: FactCheck) -> str:
    """Say how far the degenerate neurons are above the controls, or why they judge nothing."""
    if check.reason:
        return (
            f"The degenerate neurons judge nothing here:<br>{check.reason.replace(', ', ',<br>')}."
        )
    above = {}
    for other in (TOP, RANDOM):
        difference, low, high = check.compare(other=other)
        above[other] = f"{difference:+.3f} [{low:+.3f}, {high:+.3f}]"
    return (
        f"{counted(len(check.neurons), 'neuron')} of {check.provenance.model}, {len(check.test)} "
        "test facts, 95% intervals over facts (band: over random draws).<br>AUC above the top "
        f"neurons {above[TOP]}, above the random ones {above[RANDOM]}. To beat: "
        "P(candidate)."
    )
