"""One function a figure: from a result to a plotly Figure, with no model and no state.

Signed scores lie on a diverging scale centred at zero; agnostic neurons, specific ones and controls
keep one colour everywhere (from the Okabe-Ito palette, which colour-blind readers can tell apart).
A claim's control is drawn beside it, on the same scale. A title says what is shown, the caption
under it what to see.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lafn_viz.attribution import NeuronScores
from lafn_viz.overlaps import Overlap

if TYPE_CHECKING:
    import pandas as pd

AGNOSTIC, SPECIFIC, CONTROL = "#0072B2", "#D55E00", "#999999"
# One colour a rule of where the points of a path lie.
RULES = {
    "auto": ("#000000", "star"),
    "gauss_legendre": ("#0072B2", "circle"),
    "gauss_radau": ("#56B4E9", "square"),
    "riemann_midpoint": ("#009E73", "diamond"),
    "riemann_left": ("#D55E00", "triangle-left"),
    "riemann_right": ("#CC79A7", "triangle-right"),
}
LANGUAGE_NAMES = {
    "en": "English", "fr": "French", "de": "German", "es": "Spanish", "it": "Italian",
    "pt": "Portuguese", "ru": "Russian", "zh": "Chinese", "ja": "Japanese", "ar": "Arabic",
    "hi": "Hindi", "tr": "Turkish",
}  # fmt: skip
FONT = (
    "Inter, 'Noto Sans', 'Noto Sans CJK SC', 'Noto Sans Arabic', 'Noto Sans Devanagari', sans-serif"
)
# Written into every exported page: no logo, and no button that uploads the chart.
CONFIG = {"displaylogo": False, "showSendToCloud": False, "responsive": True}


def _style(figure: go.Figure, *, title: str, caption: str, height: int) -> go.Figure:
    figure.update_layout(
        template="plotly_white",
        font={"family": FONT, "size": 13},
        title={
            "text": title,
            "subtitle": {"text": caption, "font": {"size": 12.5, "color": "#555555"}},
            "x": 0.01,
            "xanchor": "left",
            "y": 1,
            "yanchor": "top",
            "yref": "container",
            "pad": {"t": 16},
        },
        margin={"l": 80, "r": 30, "t": 120, "b": 60},
        height=height,
        width=840,
    )
    return figure


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
    return _style(
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
    return _style(
        figure,
        title="Where do shared and separate neurons sit?",
        caption=f"Agnostic: in the sets of {'at least ' if overlap.min_languages else ''}{needed} "
        "languages that know the fact. Specific: in exactly one language's set.",
        height=420,
    )


def attribution_strip(
    scores: NeuronScores, *, agnostic: Iterable[tuple[int, int]] = (), bins: int = 48
) -> go.Figure:
    """One fact: attribution of every layer's neurons in each language, strongest of each bin.

    Neurons of a layer stand side by side in `bins` bins; a bin shows the score of largest
    magnitude in it, averaged over paraphrases. Markers on top show the bins of `agnostic` neurons.
    """
    facts = list(dict.fromkeys(prompt.fact_id for prompt in scores.prompts))
    if len(facts) != 1:
        raise ValueError(
            f"these are the scores of {len(facts)} facts, and a strip shows one; "
            "narrow them with scores.select(lambda prompt: prompt.fact_id == ...)"
        )
    languages = list(dict.fromkeys(prompt.language for prompt in scores.prompts))
    _, n_layers, width = scores.values.shape
    bins = min(bins, width)
    edges = np.linspace(0, width, bins + 1).round().astype(int)
    rows = []
    for language in languages:
        mine = [i for i, prompt in enumerate(scores.prompts) if prompt.language == language]
        mean = scores.values[mine].mean(0).numpy()
        cells = [
            part[np.abs(part).argmax()]
            for layer in mean
            for part in (layer[a:b] for a, b in pairwise(edges))
        ]
        rows.append(cells)
    top = max(float(np.abs(rows).max()), 1e-9)
    names = [LANGUAGE_NAMES.get(code, code) for code in languages]
    labels = [
        f"layer {layer}, neurons {edges[i]} to {edges[i + 1] - 1}"
        for layer in range(n_layers)
        for i in range(bins)
    ]
    figure = go.Figure(
        go.Heatmap(
            z=rows,
            x=list(range(n_layers * bins)),
            y=names,
            customdata=[labels] * len(names),
            zmin=-top,
            zmax=top,
            zmid=0,
            colorscale="RdBu",
            reversescale=True,
            colorbar={"title": {"text": "score"}},
            hovertemplate="%{y}, %{customdata}: %{z:.4f}<extra></extra>",
        )
    )
    places = sorted(
        {layer * bins + int(np.searchsorted(edges, n, "right")) - 1 for layer, n in agnostic}
    )
    if places:
        figure.add_trace(
            go.Scatter(
                x=places,
                y=[names[0]] * len(places),
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
    for layer in range(1, n_layers):
        figure.add_vline(x=layer * bins - 0.5, line={"color": "#333333", "width": 1})
    figure.update_xaxes(
        tickvals=[(layer + 0.5) * bins for layer in range(n_layers)],
        ticktext=[f"layer {layer}" for layer in range(n_layers)],
        showgrid=False,
    )
    figure.update_layout(yaxis={"autorange": "reversed"}, showlegend=False)
    prompt = scores.prompts[0]
    method = scores.provenance.method.replace("_", " ")
    return _style(
        figure,
        title=f"{prompt.subject} – {prompt.relation}: which neurons answer?",
        caption=f"{method.capitalize()}, mean over paraphrases. A column is the strongest of "
        f"{-(-width // bins)} neurons{'; ▾ marks language-agnostic ones' if places else ''}.",
        height=200 + 34 * len(names),
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
    return _style(
        figure,
        title=title,
        caption=caption,
        height=440,
    )


def completeness_curve(scores: Sequence[NeuronScores]) -> go.Figure:
    """How far the scores miss what they should sum to, over the points taken on each path.

    Each of `scores` is one point: the median over its prompts and layers, with the range from the
    10th to the 90th percentile. Those of one quadrature are joined; `n_steps="auto"` stands alone.
    """
    rows: dict[str, list[tuple[float, ...]]] = {}
    for one in scores:
        options = one.provenance.options
        error = one.relative_error.numpy()
        if "n_steps" not in options or not np.isfinite(error).all():
            raise ValueError(
                f"{one.provenance.method} has no completeness error; "
                "give scores of integrated_gradients or amig"
            )
        rule = "auto" if options["n_steps"] == "auto" else options["quadrature"]
        # Nothing is exact: below the rounding of F a smaller error says no more.
        low, middle, high = np.maximum(np.percentile(error, [10, 50, 90]), 1e-7)
        points = one.n_points.float().mean().item()
        rows.setdefault(rule, []).append((points, low, middle, high, error.max()))
    figure = go.Figure()
    for rule in sorted(rows, key=list(RULES).index):
        points, low, middle, high, worst = np.array(sorted(rows[rule])).T
        colour, symbol = RULES[rule]
        figure.add_trace(
            go.Scatter(
                x=points,
                y=middle,
                error_y={
                    "type": "data",
                    "symmetric": False,
                    "array": high - middle,
                    "arrayminus": middle - low,
                    "thickness": 1,
                    "width": 3,
                },
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
    worst = max(float(one.relative_error.max()) for one in scores)
    return _style(
        figure,
        title="Do the scores add up?",
        caption="Median over prompts and layers, bars: 10th to 90th percentile; dotted: the "
        f"tolerance of 1%.<br>The worst single layer shown misses by {worst:.0%}.",
        height=460,
    )


def method_scatter(
    first: NeuronScores,
    second: NeuronScores,
    *,
    names: tuple[str, str] | None = None,
    top: int = 20,
) -> go.Figure:
    """Every neuron's score by two methods for the same prompts, each divided by its total size.

    Neurons among the `top` of both are one colour, of one alone another.
    """
    if [p.text for p in first.prompts] != [p.text for p in second.prompts]:
        raise ValueError("the two scores are of other prompts; attribute the same ones twice")
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
    for name, some, colour, size in groups:
        figure.add_trace(
            go.Scatter(
                x=x[some],
                y=y[some],
                mode="markers",
                name=f"{name} ({len(some)})",
                marker={"color": colour, "size": size},
                text=[f"layer {i // width}, neuron {i % width}" for i in some],
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
    return _style(
        figure,
        title=f"{labels[0]} against {labels[1]}",
        caption=f"One dot a neuron. Of those that both score, {opposite:.0%} change their sign; "
        f"of the top {top}, {len(best[0] & best[1])} are the same.",
        height=520,
    )


def planted_recovery(table: "pd.DataFrame") -> go.Figure:
    """Of each attribution method: planted neurons among its top, and the decoys beside them.

    `table` is that of `planting.score_methods` for one position; "random" is the control.
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
                error_x={
                    "type": "data",
                    "symmetric": False,
                    "array": table[f"{name}_high"] - value,
                    "arrayminus": value - table[f"{name}_low"],
                    "thickness": 1.5,
                    "width": 4,
                },
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
    return _style(
        figure,
        title="Which method finds neurons that were planted?",
        caption=f"About {first['planted']:.0f} planted neurons act in each of {first['n']:.0f} "
        "(fact, language) pairs; as many decoys fire, as many write.<br>Bars: 95% bootstrap "
        "intervals over pairs. Grey: scores drawn at random.",
        height=140 + 44 * len(table) + 90,
    )
