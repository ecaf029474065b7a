"""Figures of attribution: the scores of a fact, completeness, two methods compared."""

from collections.abc import Collection, Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float, Int

from lafn_viz.attribution.scores import NeuronScores
from lafn_viz.core.arguments import or_none, some_results, some_texts, takes, whole, wrong
from lafn_viz.core.messages import counted
from lafn_viz.core.stats import mean_of_finite
from lafn_viz.datasets.languages import language_name
from lafn_viz.neurons.neuron_sets import Neuron, Neurons, as_neurons
from lafn_viz.neurons.overlap_result import Overlap
from lafn_viz.plots.drawn import draws
from lafn_viz.plots.style import (
    AGNOSTIC,
    CONTROL,
    SPECIFIC,
    TARGET_UNITS,
    asked_of,
    interval,
    made_of_scores,
    selected_by,
    styled,
)

# Colour and marker of each quadrature rule.
RULES = {
    "auto": ("#000000", "star"),
    "gauss_legendre": ("#0072B2", "circle"),
    "gauss_radau": ("#56B4E9", "square"),
    "riemann_midpoint": ("#009E73", "diamond"),
    "riemann_left": ("#D55E00", "triangle-left"),
    "riemann_right": ("#CC79A7", "triangle-right"),
}


ROW, CONTROL_ROW = 34, 22  # pixels of a language in a strip and in its control
PALE = 1e-3  # the smallest range of colours, in the unit of the target: less is no effect to show


class Strongest(NamedTuple):
    """One neuron of each bin of neighbouring neurons, and its score in each language."""

    languages: list[str]
    scores: Float[np.ndarray, "language bin"]
    neurons: list[Neuron]


def strongest_in_bins(
    scores: NeuronScores, bins: int = 48, agnostic: Collection[Neuron] = ()
) -> Strongest:
    """Return what a strip shows: `bins` bins per layer, layer by layer, of means over prompts.

    The neuron of a bin is the same in all languages, so that a column can be read: the one with the
    largest score in any language, among the `agnostic` ones where the bin has some.
    """
    languages = list(dict.fromkeys(prompt.language for prompt in scores.prompts))
    _, n_layers, width = scores.values.shape
    rows = [[p.language == language for p in scores.prompts] for language in languages]
    means = np.stack([scores.values[row].mean(0).numpy() for row in rows])
    highest = np.abs(means).max(0)
    neurons = []
    for layer in range(n_layers):
        for start, stop in pairwise(_edges(width, bins)):
            among = [n for n in range(start, stop) if (layer, n) in agnostic] or range(start, stop)
            neurons.append(Neuron(layer, int(max(among, key=lambda n: highest[layer, n]))))
    values = np.stack([means[:, layer, neuron] for layer, neuron in neurons], 1)
    return Strongest(languages, values, neurons)


def _edges(width: int, bins: int) -> Int[np.ndarray, " edge"]:
    return np.linspace(0, width, min(bins, width) + 1).round().astype(int)


@draws(NeuronScores)
@takes(bins=whole(1), control=some_results(NeuronScores))
def attribution_strip(
    scores: NeuronScores,
    *,
    agnostic: Neurons | Overlap = (),
    control: NeuronScores | Iterable[NeuronScores] = (),
    bins: int = 48,
) -> go.Figure:
    """Draw the attribution of one fact in every layer and language, a neuron for each bin.

    The neurons of a layer stand side by side in `bins` bins. A bin shows one neuron, the same in
    all languages: the one whose score, averaged over paraphrases, has the largest magnitude in any
    language. In bins with `agnostic` neurons it is the strongest of these, under a marker; of an
    overlap with the fact, the caption says how its agnostic neurons were found.

    With `control`, the scores of other facts, a second strip shows what the same neurons do there,
    in the same colours: a mean over prompts and then over these results. A column that is as
    strong in it belongs to the relation, not to the fact.
    """
    facts = list(dict.fromkeys(prompt.fact_id for prompt in scores.prompts))
    if len(facts) != 1:
        raise ValueError(
            f"these are the scores of {len(facts)} facts, and a strip shows one; "
            "narrow them with scores.select(lambda prompt: prompt.fact_id == ...)"
        )
    found = ""
    if isinstance(agnostic, Overlap):
        found = f" (in {agnostic.criterion}{selected_by(agnostic.provenance.options)})"
        agnostic = agnostic.agnostic.get(facts[0], ())
    others: tuple[NeuronScores, ...] = some_results(NeuronScores)("control", control)
    if any(other.values.shape[1:] != scores.values.shape[1:] for other in others):
        raise ValueError("control= is of another model; give scores of other facts in the same one")
    shared = set(as_neurons(agnostic, "agnostic"))
    strongest = strongest_in_bins(scores, bins, shared)
    _, n_layers, width = scores.values.shape
    bins = min(bins, width)
    target = scores.provenance.options.get("target", "")
    figure = go.Figure(_strip_cells(strongest, target))
    marked = sorted(
        {
            layer * bins + int(np.searchsorted(_edges(width, bins), neuron, "right")) - 1
            for layer, neuron in shared
        }
    )
    languages = strongest.languages
    if marked:
        _mark_bins(figure, marked, label=language_name(languages[0]))
    if others:
        _add_control(figure, strongest, others)
    _lay_out_strip(figure, n_layers, bins, ("y", "y3") if others else ("y",))
    mean = "Mean over paraphrases. " if len(scores.prompts) > len(languages) else ""
    return styled(
        figure,
        title=f"{asked_of(scores.prompts[0])}: which neurons answer?",
        caption=f"{mean}A column is one neuron in all languages: of {-(-width // bins)} the one "
        f"strongest in any{f';<br>▾: of the language-agnostic ones{found}' if marked else ''}."
        f"{_if_pale(strongest, target)}" + made_of_scores(scores),
        height=max(280, 200 + ROW * len(languages))
        + (50 + CONTROL_ROW * len(languages)) * bool(others),
    )


def _add_control(figure: go.Figure, strongest: Strongest, control: Sequence[NeuronScores]) -> None:
    """Put what the same neurons do in other facts under a strip, in the colours of the strip."""
    cells = go.Heatmap(figure.data[0])
    cells.update(z=_in_others(strongest, control), yaxis="y3", showscale=False)
    figure.add_trace(cells)
    # In pixels, from below: the control, its title, the strip, and the markers above it.
    rows = len(strongest.languages)
    edges = np.cumsum([0, CONTROL_ROW * rows, 50, ROW * rows, 8, 26])
    bottom, below_title, base, top, markers, _ = (edges / edges[-1]).tolist()
    figure.update_layout(
        xaxis={"anchor": "y3"},
        yaxis={"domain": [base, top]},
        yaxis2={"domain": [markers, 1]},
        yaxis3={
            "domain": [bottom, below_title],
            "anchor": "x",
            "autorange": "reversed",
            "showgrid": False,
            "zeroline": False,
        },
    )
    said = f"Control: the same neurons in {counted(len(control), 'other fact')}"
    figure.add_annotation(
        text=f"{said}{' (mean)' if len(control) > 1 else ''}", showarrow=False,
        x=0, xref="paper", xanchor="left", y=below_title, yref="paper", yanchor="bottom",
    )  # fmt: skip


def _in_others(
    strongest: Strongest, control: Sequence[NeuronScores]
) -> Float[np.ndarray, "language bin"]:
    """The scores of a strip's neurons in other facts; NaN in a language that none has."""
    layers, numbers = np.array(strongest.neurons).T
    of_facts = np.full((len(control), *strongest.scores.shape), np.nan)
    for of_fact, scores in zip(of_facts, control, strict=True):
        values = scores.values.numpy()[:, layers, numbers]
        for row, language in enumerate(strongest.languages):
            asked = [prompt.language == language for prompt in scores.prompts]
            if any(asked):
                of_fact[row] = values[asked].mean(0)
    return mean_of_finite(of_facts, 0)


def _if_pale(strongest: Strongest, target: str) -> str:
    """A sentence for a strip whose scores are too small for its colours; nothing for others."""
    unit, top = TARGET_UNITS.get(target), float(np.abs(strongest.scores).max())
    if unit is None or top >= PALE:
        return ""
    return (
        f"<br>No neuron here moves the answer by more than {top:.1g} ({unit}), which is next to "
        "nothing: the colours stay pale."
    )


def _strip_cells(strongest: Strongest, target: str) -> go.Heatmap:
    """The scores of the bins, one row for each language; zero is white."""
    unit = TARGET_UNITS.get(target)
    top = max(float(np.abs(strongest.scores).max()), PALE if unit else 1e-9)
    languages = [language_name(code) for code in strongest.languages]
    return go.Heatmap(
        z=strongest.scores,
        x=list(range(strongest.scores.shape[1])),
        y=languages,
        customdata=[[f"{layer}:{n}" for layer, n in strongest.neurons]] * len(languages),
        zmin=-top,
        zmax=top,
        zmid=0,
        colorscale="RdBu",
        reversescale=True,
        colorbar={
            "title": {"text": f"score<br>({unit})" if unit else "score"},
            "lenmode": "pixels",
            "len": max(130, ROW * len(languages)),
            "nticks": 5,
        },
        hovertemplate="%{y}, neuron %{customdata}: %{z:.3~g}<extra></extra>",
    )


def _mark_bins(figure: go.Figure, bins: Sequence[int], *, label: str) -> None:
    """Put a marker over each of some bins; `label` is a row, which an axis of names needs."""
    figure.add_trace(
        go.Scatter(
            x=bins,
            y=[label] * len(bins),
            mode="markers",
            marker={"symbol": "triangle-down", "size": 9, "color": AGNOSTIC},
            yaxis="y2",
            name="language-agnostic",
            hovertemplate="language-agnostic neuron here<extra></extra>",
        )
    )
    figure.update_layout(
        yaxis2={"domain": [0.93, 1], "visible": False}, yaxis={"domain": [0, 0.92]}
    )


def _lay_out_strip(figure: go.Figure, n_layers: int, bins: int, axes: Sequence[str]) -> None:
    """Divide the strips on these y axes into layers, and put the first language on top."""
    for layer in range(1, n_layers):
        for axis in axes:
            figure.add_shape(
                type="line", x0=layer * bins - 0.5, x1=layer * bins - 0.5, y0=0, y1=1,
                yref=f"{axis} domain", line={"color": "#333333", "width": 1},
            )  # fmt: skip
    figure.update_xaxes(
        tickvals=[(layer + 0.5) * bins for layer in range(n_layers)],
        ticktext=[f"layer {layer}" for layer in range(n_layers)],
        showgrid=False,
        zeroline=False,
        range=[-0.5, n_layers * bins - 0.5],
    )
    figure.update_layout(
        yaxis={"autorange": "reversed", "showgrid": False, "zeroline": False}, showlegend=False
    )


@draws(NeuronScores, several=True)
def completeness_curve(scores: NeuronScores | Iterable[NeuronScores]) -> go.Figure:
    """Draw by how much the scores miss the sum they should have, over the points on each path.

    Each of `scores` is one point: the median over its prompts and layers, with the range from the
    10th to the 90th percentile. A line joins those of one quadrature rule; `n_steps="auto"` stands
    alone.
    """
    runs: tuple[NeuronScores, ...] = some_results(NeuronScores)("scores", scores)
    if not runs:
        raise ValueError("there are no scores; give those of attribute(), with several n_steps")
    rows: dict[str, list[tuple[float, ...]]] = {}
    for run in runs:
        options = run.provenance.options
        error = run.relative_error.numpy()
        if "n_steps" not in options or not np.isfinite(error).all():
            raise ValueError(
                f"{run.provenance.method} has no completeness error; "
                "give scores of integrated_gradients or amig"
            )
        rule = "auto" if options["n_steps"] == "auto" else options["quadrature"]
        # An error below the rounding of F has no meaning.
        low, middle, high = np.maximum(np.percentile(error, [10, 50, 90]), 1e-7)
        points = run.n_points.float().mean().item()
        rows.setdefault(rule, []).append((points, low, middle, high, error.max()))
    figure = go.Figure()
    for rule in sorted(rows, key=list(RULES).index):
        points, low, middle, high, worst = np.array(sorted(rows[rule])).T
        colour, symbol = RULES[rule]
        figure.add_trace(
            go.Scatter(
                x=points,
                y=middle,
                error_y=interval(middle, low, high, thickness=1, width=3),
                mode="lines+markers",
                name=rule.replace("_", " "),
                line={"color": colour},
                marker={"symbol": symbol, "size": 15 if rule == "auto" else 8, "color": colour},
                customdata=worst,
                hovertemplate="%{x:.1f} points: median %{y:.1e}, worst %{customdata:.1e}"
                f"<extra>{rule.replace('_', ' ')}</extra>",
            )
        )
    figure.add_hline(y=0.01, line={"color": CONTROL, "dash": "dot"})
    figure.update_xaxes(
        title_text="points on each path (mean over prompts and layers)",
        type="log",
        tickvals=[1, 2, 5, 10, 20, 50, 100, 200, 500],
    )
    figure.update_yaxes(
        title_text="completeness error (share of F(w) − F(b))", type="log", exponentformat="power"
    )
    figure.update_layout(legend={"orientation": "h", "y": 1.1, "x": 0})
    worst = max(float(run.relative_error.max()) for run in runs)
    return styled(
        figure,
        title="Do the scores add up?",
        caption="F(w): the answer's probability with a layer's neurons as they are, F(b) with them "
        "at the baseline. Their difference is what<br>the scores should add up to. Median over "
        "prompts and layers, bars: 10th to 90th percentile; dotted: the tolerance of 1%.<br>"
        f"The worst single layer misses by {worst:.0%}.",
        height=460,
    )


def _two_names(name: str, given: Any) -> tuple[str, ...]:
    names = some_texts(name, given)
    if len(names) != 2:
        raise wrong(name, given, "two names, as in ('IG', 'AMIG')")
    return names


@draws(NeuronScores, also=("second",))
@takes(names=or_none(_two_names), top=whole(1))
def method_scatter(
    first: NeuronScores,
    second: NeuronScores,
    *,
    names: tuple[str, str] | None = None,
    top: int = 20,
) -> go.Figure:
    """Draw each neuron's score by two methods for the same prompts, as a share of all |scores|.

    Neurons among the `top` of both methods have one colour, those of only one method another.
    """
    if [p.full_text for p in first.prompts] != [p.full_text for p in second.prompts]:
        raise ValueError(
            "the two scores are of different prompts; attribute the same prompts by both methods"
        )
    labels = names or tuple(s.provenance.method.replace("_", " ") for s in (first, second))
    flat = [s.values.mean(0).flatten().numpy() for s in (first, second)]
    x, y = (values / max(np.abs(values).sum(), 1e-12) for values in flat)
    best = [set(np.argsort(-values)[:top].tolist()) for values in (x, y)]
    width = first.values.shape[-1]
    groups = (
        ("neither", sorted(set(range(len(x))) - best[0] - best[1]), CONTROL, 4),
        (f"top {top} of one", sorted(best[0] ^ best[1]), SPECIFIC, 8),
        (f"top {top} of both", sorted(best[0] & best[1]), AGNOSTIC, 8),
    )
    figure = go.Figure()
    for name, neurons, colour, size in groups:
        figure.add_trace(
            go.Scatter(
                x=x[neurons],
                y=y[neurons],
                mode="markers",
                name=f"{name} ({len(neurons)})",
                marker={"color": colour, "size": size},
                text=[f"layer {i // width}, neuron {i % width}" for i in neurons],
                hovertemplate="%{text}: %{x:.4f}, %{y:.4f}<extra></extra>",
            )
        )
    figure.add_hline(y=0, line={"color": CONTROL, "width": 1})
    figure.add_vline(x=0, line={"color": CONTROL, "width": 1})
    figure.update_xaxes(title_text=f"{labels[0]} (share of all |scores|)")
    figure.update_yaxes(title_text=f"{labels[1]} (share of all |scores|)")
    figure.update_layout(legend={"orientation": "h", "y": 1.1, "x": 0})
    scored = x * y != 0
    opposite = float((x * y < 0)[scored].mean()) if scored.any() else 0.0
    return styled(
        figure,
        title=f"{labels[0]} against {labels[1]}",
        caption=f"One dot per neuron. Of the neurons that both methods score, {opposite:.0%} "
        f"change sign; {len(best[0] & best[1])} of the top {top} are the same.",
        height=520,
    )
