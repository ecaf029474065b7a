"""Figures of shared neurons, each beside its controls."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lafn_viz.core.arguments import (
    a_mapping,
    a_result,
    a_text,
    or_none,
    real,
    takes,
    whole,
    wrong,
)
from lafn_viz.core.messages import counted
from lafn_viz.core.options import require_one_of
from lafn_viz.datasets.languages import language_name, script_of
from lafn_viz.neurons.overlap_result import Overlap
from lafn_viz.plots.drawn import a_table, draws
from lafn_viz.plots.style import (
    AGNOSTIC,
    CONTROL,
    LEGEND_ABOVE,
    SPECIFIC,
    interval,
    made_of,
    styled,
)

if TYPE_CHECKING:
    import pandas as pd


def _made_of(overlap: Overlap, facts: Sequence[str] | None = None) -> str:
    """The end of a caption, for some facts of an overlap or all."""
    chosen = overlap.facts if facts is None else facts
    names = dict(zip(overlap.facts, overlap.names, strict=True))
    n_prompts = sum(
        neurons.n_prompts for (fact, _), neurons in overlap.sets.items() if fact in chosen
    )
    return made_of([names[fact] for fact in chosen], overlap.provenance, n_prompts)


@draws(Overlap)
@takes(title=a_text, top=or_none(real(above=0)))
def overlap_heatmap(
    overlap: Overlap,
    *,
    title: str = "Do languages keep a fact in the same neurons?",
    top: float | None = None,
) -> go.Figure:
    """Draw the mean Jaccard of each pair of languages, for the same fact and for another one.

    Args:
        top: the Jaccard of the brightest colour, for figures that are compared (see
            `highest_jaccard`); the highest that is drawn unless given.
    """
    names = [language_name(code) for code in overlap.languages]
    panels = (
        ("Same fact", overlap.jaccard),
        ("Control: other fact, same relation", overlap.jaccard_other_fact),
    )
    apart = ~np.eye(len(names), dtype=bool)
    top = highest_jaccard(overlap) if top is None else top
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
    figure.update_yaxes(autorange="reversed", showgrid=False)
    figure.update_xaxes(tickangle=-45, showgrid=False)
    return styled(
        figure,
        title=title,
        caption="Overlap of a fact's neurons between languages. Only what is brighter on the left "
        f"belongs to the fact; chance is {np.nanmean(means['chance']):.3f}." + _made_of(overlap),
        height=520,
    )


def highest_jaccard(*overlaps: Overlap) -> float:
    """Return the highest mean Jaccard of two languages in some overlaps and their controls."""
    values = [
        matrix[~np.eye(len(matrix), dtype=bool)]
        for overlap in overlaps
        for matrix in (overlap.jaccard, overlap.jaccard_other_fact)
    ]
    return max([1e-6, *(float(np.nanmax(v)) for v in values if np.isfinite(v).any())])


@takes(pairs=a_table("Overlap.to_frame()", "language", "other_language", "jaccard", "other_fact"))
def sharing_by_pair(pairs: "pd.DataFrame") -> go.Figure:
    """Draw each pair of languages: the overlap of a fact's neurons against that of other facts'.

    Pairs on the diagonal share no more of the same fact than of two different facts. Languages of
    one script and of two are told apart.

    Args:
        pairs: `Overlap.to_frame()`, or the table "pairs" of evidence. Pairs without a value are
            left out.

    Raises:
        ValueError: if no pair has both values.
    """
    pairs = pairs.dropna(subset=["jaccard", "other_fact"])
    if pairs.empty:
        raise ValueError("no pair of languages has both values; use more facts or languages")
    scripts = [pairs[column].map(script_of) for column in ("language", "other_language")]
    right = 1.5 * max(pairs["other_fact"].max(), 1e-6)
    top = max(1.08 * pairs["jaccard"].max(), right)
    figure = go.Figure()
    for name, colour, symbol, rows in (
        ("one script", SPECIFIC, "circle-open", pairs[scripts[0] == scripts[1]]),
        ("two scripts", AGNOSTIC, "circle", pairs[scripts[0] != scripts[1]]),
    ):
        names = [rows[column].map(language_name) for column in ("language", "other_language")]
        figure.add_trace(
            go.Scatter(
                name=f"{name} (n = {len(rows)})",
                x=rows["other_fact"],
                y=rows["jaccard"],
                mode="markers",
                marker={"color": colour, "symbol": symbol, "size": 9},
                customdata=names[0] + " and " + names[1],
                hovertemplate="%{customdata}: same fact %{y:.3f}, other fact %{x:.3f}"
                "<extra></extra>",
            )
        )
    figure.add_shape(
        type="line", x0=0, y0=0, x1=right, y1=right, line={"color": CONTROL, "dash": "dash"}
    )
    figure.add_annotation(
        x=right, y=right, text="no more than another fact", showarrow=False,
        yanchor="bottom", xanchor="right", yshift=4, font={"color": "#555555"},
    )  # fmt: skip
    figure.update_xaxes(title_text="mean Jaccard, other fact (control)", range=[0, right])
    figure.update_yaxes(title_text="mean Jaccard, same fact", range=[0, top])
    figure.update_layout(legend=LEGEND_ABOVE)
    return styled(
        figure,
        title="Do two languages share the fact, or only the relation?",
        caption="A point is a pair of languages. How far it is above the line is what belongs to "
        "the fact.<br>Languages of one script spell many names alike.",
        height=520,
    )


@draws(Overlap)
@takes(control=or_none(a_result(Overlap)))
def layer_distribution(overlap: Overlap, *, control: Overlap | None = None) -> go.Figure:
    """Draw the numbers of agnostic and specific neurons of a fact, layer by layer.

    With `control`, the overlap of other facts, a grey bar beside each shows theirs.
    """
    frame = overlap.per_layer()
    if control is not None and control.shape != overlap.shape:
        raise ValueError("control= is of another model; give other facts in the same one")
    others = None if control is None else control.per_layer()
    figure = make_subplots(
        rows=1,
        cols=2,
        shared_yaxes=True,
        subplot_titles=(
            "Language-agnostic (per fact)",
            "Language-specific (per fact and language)",
        ),
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
        if others is not None:
            figure.add_trace(
                go.Bar(
                    x=others["layer"],
                    y=others[name],
                    marker_color=CONTROL,
                    showlegend=False,
                    hovertemplate="layer %{x}: %{y:.2f} neurons<extra>other facts</extra>",
                ),
                row=1,
                col=column,
            )
    figure.update_xaxes(title_text="layer", dtick=max(1, len(frame) // 12), zeroline=False)
    # One axis, as the two are compared, with room for the numbers above the bars.
    counts = [x[["agnostic", "specific"]].to_numpy() for x in (frame, others) if x is not None]
    top = max(1.15 * float(np.max(counts)), 1e-9)
    figure.update_yaxes(range=[0, top])
    figure.update_yaxes(title_text="neurons (mean over facts)", col=1)
    return styled(
        figure,
        title="Where do shared and separate neurons sit?",
        caption=f"Agnostic: in the sets of {overlap.criterion}. "
        "Specific: in exactly one language's set."
        + ("" if control is None else f"<br>Grey: the control, {_n_others(control)}.")
        + _made_of(overlap),
        height=420,
    )


def _n_others(control: Overlap) -> str:
    n_facts = len(control.facts)
    return f"{'mean of ' if n_facts > 1 else ''}{counted(n_facts, 'other fact')}"


def _summaries_by_name(name: str, given: Any) -> dict[str, Any]:
    """Read tables of `Overlap.summary` by name, at least one."""
    read = a_table("Overlap.summary()", "comparison", "jaccard", "low", "high")
    by_name = {key: read(name, table) for key, table in a_mapping(name, given).items()}
    if not by_name:
        raise wrong(name, given, "tables of Overlap.summary() by name")
    return by_name


@takes(summaries=_summaries_by_name, title=a_text, caption=a_text)
def model_comparison(
    summaries: Mapping[str, "pd.DataFrame"],
    *,
    title: str = "How much do languages share, model by model?",
    caption: str = "Overlap of a fact's neurons between languages, 95% intervals over facts. The "
    "control knows the same facts without transfer.",
) -> go.Figure:
    """Draw the mean Jaccard of each model or method: same fact, other fact, chance.

    Bars are 95% intervals over facts. `summaries` maps a name to its `Overlap.summary()`.
    """
    figure = go.Figure()
    colours = {"same fact": AGNOSTIC, "other fact": SPECIFIC, "chance": CONTROL}
    labels = []
    for name, colour in colours.items():
        rows = [table.set_index("comparison").loc[name] for table in summaries.values()]
        figure.add_trace(
            go.Bar(
                name=name,
                x=list(summaries),
                y=[row["jaccard"] for row in rows],
                error_y=interval(
                    *([row[column] for row in rows] for column in ("jaccard", "low", "high"))
                ),
                marker_color=colour,
                offsetgroup=name,
                hovertemplate="%{x}, " + name + ": %{y:.3f}<extra></extra>",
            )
        )
        # Above the error bar, which would run through a number inside the bar.
        labels.append(
            go.Scatter(
                x=list(summaries),
                y=[np.nanmax([row["jaccard"], row["high"]]) for row in rows],
                mode="text",
                text=[f"{row['jaccard']:.3f}" for row in rows],
                textposition="top center",
                textfont={"size": 11},
                offsetgroup=name,
                hoverinfo="skip",
                showlegend=False,
            )
        )
    figure.add_traces(labels)
    highest = max(
        float(np.nanmax(table[["jaccard", "high"]].to_numpy())) for table in summaries.values()
    )
    # Room for the number above the highest bar.
    figure.update_yaxes(
        title_text="mean Jaccard between languages", range=[0, 1.12 * max(highest, 1e-6)]
    )
    figure.update_layout(barmode="group", scattermode="group", legend=LEGEND_ABOVE)
    return styled(
        figure,
        title=title,
        caption=caption,
        height=440,
    )


@draws(Overlap)
def language_tree(overlap: Overlap) -> go.Figure:
    """Draw languages clustered by the neurons they share, beside their overlap in that order."""
    from scipy.cluster.hierarchy import dendrogram

    tree = dendrogram(overlap.linkage(), no_plot=True)
    order = tree["leaves"]
    names = [language_name(overlap.languages[i]) for i in order]
    panels = {"Same fact": overlap.jaccard, "Control: other fact": overlap.jaccard_other_fact}
    apart = ~np.eye(len(order), dtype=bool)
    top = max(float(np.nanmax(np.where(apart, m, np.nan))) for m in panels.values())
    figure = make_subplots(
        rows=1,
        cols=3,
        column_widths=[0.2, 0.4, 0.4],
        horizontal_spacing=0.03,
        subplot_titles=["1 − Jaccard", *panels],
    )
    for x, y in zip(tree["dcoord"], tree["icoord"], strict=True):
        # scipy puts leaf i at 5 + 10 i.
        figure.add_trace(
            go.Scatter(
                x=x, y=(np.array(y) - 5) / 10, mode="lines", line={"color": "#333333"},
                hoverinfo="skip", showlegend=False,
            ),
            row=1, col=1,
        )  # fmt: skip
    for column, (name, matrix) in enumerate(panels.items(), 2):
        figure.add_trace(
            go.Heatmap(
                z=np.where(apart, matrix, np.nan)[np.ix_(order, order)],
                x=list(range(len(order))),
                y=list(range(len(order))),
                customdata=[[f"{a} and {b}" for b in names] for a in names],
                zmin=0,
                zmax=top,
                colorscale="Viridis",
                showscale=column == 3,
                colorbar={"title": {"text": "Jaccard"}, "len": 0.9},
                hovertemplate="%{customdata}: %{z:.3f}<extra>" + name + "</extra>",
            ),
            row=1,
            col=column,
        )
    ticks = {"tickvals": list(range(len(order))), "ticktext": names, "showgrid": False}
    edge = [-0.5, len(order) - 0.5]
    figure.update_yaxes(range=edge[::-1], showticklabels=False, showgrid=False, zeroline=False)
    figure.update_yaxes(ticks, showticklabels=True, row=1, col=1, side="left")
    figure.update_xaxes(ticks, tickangle=-45, zeroline=False)
    longest = 1.02 * max(max(x) for x in tree["dcoord"])
    figure.update_xaxes(
        range=[longest, 0], tickvals=None, tickangle=0, tickmode="auto", nticks=3, row=1, col=1
    )
    figure = styled(
        figure,
        title="Which languages keep facts in the same neurons?",
        caption="Average linkage of 1 − Jaccard. Languages with one script share most; the control "
        "shows how much they share without a common fact." + _made_of(overlap),
        height=500,
    )
    return figure.update_layout(margin={"l": 100, "b": 100})


@draws(Overlap)
@takes(top=whole(1), min_degree=whole(1))
def upset(
    overlap: Overlap,
    *,
    facts: str | Iterable[str] | None = None,
    top: int = 18,
    min_degree: int = 2,
) -> go.Figure:
    """Draw how many neurons are in exactly which languages, for the most frequent combinations.

    Args:
        overlap: the sets; facts that are not drawn still serve as the control.
        facts: the facts to draw, all unless given.
        top: how many combinations to draw.
        min_degree: the smallest number of languages in a combination.

    Raises:
        ValueError: if no neuron is in that many languages.
    """
    chosen = overlap.facts if facts is None else require_one_of("fact", facts, overlap.facts)
    table = overlap.intersections(facts=chosen)
    table = table[table["degree"] >= min_degree].head(top).reset_index(drop=True)
    if table.empty:
        raise ValueError(
            f"no neuron is in {min_degree} languages or more; keep more neurons, or lower "
            "min_degree"
        )
    names = [language_name(code) for code in overlap.languages]
    figure = make_subplots(
        rows=2, cols=1, shared_xaxes=True, row_heights=[0.5, 0.5], vertical_spacing=0.03
    )
    bars = (("same fact", "neurons", AGNOSTIC), ("other facts (control)", "other_facts", CONTROL))
    for name, column, colour in bars:
        figure.add_trace(
            go.Bar(
                name=name,
                x=table.index,
                y=table[column],
                marker_color=colour,
                customdata=[", ".join(languages) for languages in table["languages"]],
                hovertemplate="%{customdata}: %{y:.2f} neurons<extra>" + name + "</extra>",
            ),
            row=1,
            col=1,
        )
    for trace in _combinations(table, overlap.languages):
        figure.add_trace(trace, row=2, col=1)
    figure.update_xaxes(showticklabels=False, showgrid=False, zeroline=False)
    figure.update_yaxes(title_text="neurons (mean per fact)", row=1, col=1)
    figure.update_yaxes(
        tickvals=list(range(len(names))), ticktext=names, autorange="reversed", showgrid=False,
        zeroline=False, row=2, col=1,
    )  # fmt: skip
    figure.update_layout(barmode="group", legend={"orientation": "h", "y": 1.06, "x": 0})
    return styled(
        figure,
        title="Which languages, exactly, share neurons?",
        caption=f"The {len(table)} most frequent combinations of {min_degree} or more languages. "
        "Grey: each language's set taken from another fact of the relation."
        + _made_of(overlap, chosen),
        height=340 + 22 * len(names),
    )


def _combinations(table: "pd.DataFrame", languages: Sequence[str]) -> Iterator[go.Scatter]:
    """Yield a grid of dots, those of each column's languages dark and joined by a line."""
    rows = [[languages.index(code) for code in codes] for codes in table["languages"]]
    grid = [(x, y) for x in table.index for y in range(len(languages))]
    held = [(x, y) for x, column in enumerate(rows) for y in column]
    look: dict[str, Any] = {"hoverinfo": "skip", "showlegend": False}
    for dots, colour in ((grid, "#e5e5e5"), (held, "#333333")):
        yield go.Scatter(
            x=[x for x, _ in dots], y=[y for _, y in dots], mode="markers",
            marker={"color": colour, "size": 11}, **look,
        )  # fmt: skip
    for x, column in enumerate(rows):
        yield go.Scatter(
            x=[x, x], y=[min(column), max(column)], mode="lines",
            line={"color": "#333333", "width": 2}, **look,
        )  # fmt: skip
