"""Figures of what changes when neurons are ablated, each beside its controls."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lafn_viz.core.arguments import one_of, results_by_name, takes
from lafn_viz.core.messages import counted
from lafn_viz.core.options import require_one_of
from lafn_viz.core.stats import bootstrap
from lafn_viz.datasets.languages import language_name
from lafn_viz.interventions.effects import Effects
from lafn_viz.models.scoring import AnswerScores
from lafn_viz.neurons.overlap_result import Overlap
from lafn_viz.plots.drawn import draws
from lafn_viz.plots.style import AGNOSTIC, CONTROL, SPECIFIC, interval, of_model, signed, styled

CONTRASTS = {"own fact": AGNOSTIC, "other fact": SPECIFIC, "random neurons": CONTROL}
SPLITS = {"trained": "told in<br>this language", "held-out pair": "told in<br>others only"}
MeanAndInterval = tuple[float, float, float]  # the mean, and the low and high end
UNITS = {"p": "change of P(correct)", "log_p": "change of log P(correct), nats"}


@draws(Effects)
@takes(of=one_of(("p", "log_p")))
def effects_by_language(effects: Effects, *, of: Literal["p", "log_p"] = "log_p") -> go.Figure:
    """Draw each set's effect in every language, with 95% intervals over facts, and its controls."""
    table = effects.summary(by_language=True)
    names = [language_name(code) for code in effects.languages]
    figure = make_subplots(
        rows=1,
        cols=len(effects.sets),
        shared_yaxes=True,
        subplot_titles=[
            f"{name} ({counted(round(np.nanmean(count)), 'neuron')})"
            for name, count in zip(effects.sets, effects.n_neurons, strict=True)
        ],
        horizontal_spacing=0.04,
    )
    for column, name in enumerate(effects.sets, 1):
        for place, (kind, colour) in enumerate(CONTRASTS.items()):
            rows = table.xs((name, kind), level=("set", "measured on")).reindex(
                list(effects.languages)
            )
            middle = rows[of]
            figure.add_trace(
                go.Scatter(
                    x=middle,
                    y=np.arange(len(names)) + (place - 1) * 0.22,
                    error_x=interval(
                        middle, rows[f"{of}_low"], rows[f"{of}_high"], thickness=1.5, width=0
                    ),
                    mode="markers",
                    marker={"color": colour, "size": 7},
                    name=kind,
                    legendgroup=kind,
                    showlegend=column == 1,
                    customdata=[
                        f"{language}: {change}"
                        for language, change in zip(names, signed(middle, 3), strict=True)
                    ],
                    hovertemplate="%{customdata}<extra>" + f"{name}, {kind}</extra>",
                ),
                row=1,
                col=column,
            )  # fmt: skip
    figure.add_vline(x=0, line={"color": "#333333", "width": 1})
    figure.update_yaxes(
        tickvals=list(range(len(names))), ticktext=names, range=[len(names) - 0.5, -0.5]
    )
    figure.update_yaxes(zeroline=False, showgrid=False)
    # One scale: a small effect beside a large one has to look small.
    figure.update_xaxes(title_text=UNITS[of])
    for column in range(2, len(effects.sets) + 1):
        figure.update_xaxes(matches="x", col=column)
    if of == "p":
        figure.update_xaxes(tickformat="+.0%")
    top, height = 140, 220 + 32 * len(names)
    # The same distance above the panels' titles in pixels, whatever the number of languages.
    above = 1 + 25 / (height - top - 60)
    figure.update_layout(legend={"orientation": "h", "y": above, "x": 0, "yanchor": "bottom"})
    figure = styled(
        figure,
        title=f"What happens to the answers? ({effects.provenance.options['how']})",
        caption=f"Mean over {counted(len(effects.facts), 'fact')} with 95% intervals; all "
        "panels have one scale.<br>Grey: as many random neurons of the same layers; orange: "
        "another fact." + of_model(effects.provenance),
        height=height,
    )
    return figure.update_layout(margin={"t": top})


@draws(Effects)
@takes(of=one_of(("p", "log_p")))
def effects_matrix(effects: Effects, *, of: Literal["p", "log_p"] = "log_p") -> go.Figure:
    """Draw what neurons found in one language (rows) do in another (columns) when ablated.

    `effects` has one set for each language. The control beside it is another fact; the caption also
    gives the effect of as many random neurons of the same layers.
    """
    names = [language_name(code) for code in effects.languages]
    rows = [language_name(code) for code in effects.sets]
    changes = effects.changes(of=of)
    titles = ("The fact itself", "Control: another fact")
    panels = {
        title: np.nanmean(changes[kind], 1)
        for title, kind in zip(titles, ("own fact", "other fact"), strict=True)
    }
    top = max(float(np.nanmax(np.abs(matrix))) for matrix in panels.values())
    figure = make_subplots(
        rows=1, cols=2, subplot_titles=list(panels), horizontal_spacing=0.04, shared_yaxes=True
    )
    for column, (title, matrix) in enumerate(panels.items(), 1):
        figure.add_trace(
            go.Heatmap(
                z=matrix,
                x=names,
                y=rows,
                zmin=-top,
                zmax=top,
                zmid=0,
                colorscale="RdBu",
                showscale=column == 2,
                colorbar={"title": {"text": "nats" if of == "log_p" else "share"}, "len": 0.9},
                text=[signed(row, 2 if len(names) < 9 else 1) for row in matrix],
                texttemplate="%{text}",
                textfont={"size": 11 if len(names) < 9 else 9},
                customdata=[signed(row, 3) for row in matrix],
                hovertemplate="found in %{y}, measured in %{x}: %{customdata}<extra>"
                + title
                + "</extra>",
            ),
            row=1,
            col=column,
        )
    figure.update_yaxes(autorange="reversed")
    figure.update_yaxes(title_text="neurons found in", row=1, col=1)
    figure.update_xaxes(tickangle=-45, title_text="measured in")
    random = float(np.nanmean(changes["random neurons"]))
    matrix = panels["The fact itself"]
    same = np.array([[source == target for target in effects.languages] for source in effects.sets])
    figure = styled(
        figure,
        title=f"Do neurons of one language carry the fact in another? "
        f"({effects.provenance.options['how']})",
        caption=f"Change of {UNITS[of][10:]}, mean of {counted(len(effects.facts), 'fact')}: "
        f"{matrix[same].mean():+z.2f} in the same language, {matrix[~same].mean():+z.2f} in "
        f"others;<br>as many random neurons of the same layers {random:+z.2f}."
        + of_model(effects.provenance),
        height=560,
    )
    return figure.update_layout(margin={"l": 110, "b": 110})


@draws(AnswerScores, by_name=True)
@takes(overlaps=results_by_name(Overlap))
def transfer_and_sharing(
    known: Mapping[str, AnswerScores], overlaps: Mapping[str, Overlap]
) -> go.Figure:
    """Draw models side by side: what they know without being told, and the neurons they share.

    Left: share of prompts answered, by what training showed (`Prompt.split`). Right: overlap of a
    fact's neurons between languages with different scripts. 95% intervals over facts.
    """
    require_one_of("name of known", known, tuple(overlaps))
    figure = make_subplots(
        rows=1,
        cols=2,
        subplot_titles=("Prompts answered", "Overlap across scripts"),
        horizontal_spacing=0.14,
    )
    for (name, scores), colour in zip(known.items(), (AGNOSTIC, SPECIFIC, CONTROL), strict=False):
        jaccard = overlaps[name].summary(across_scripts=True).set_index("comparison")
        shared = {kind: tuple(jaccard.loc[kind]) for kind in ("same fact", "other fact", "chance")}
        for column, groups, number in ((1, _answered(scores), ".0%"), (2, shared, ".3f")):
            bars = _bars(name, colour, groups, number)
            figure.add_trace(bars.update(showlegend=column == 1), row=1, col=column)
    figure.update_yaxes(tickformat=".0%", rangemode="tozero", row=1, col=1)
    figure.update_yaxes(title_text="mean Jaccard", rangemode="tozero", row=1, col=2)
    figure.update_layout(barmode="group")
    figure.update_layout(legend={"orientation": "h", "y": 1.08, "x": 0, "yanchor": "bottom"})
    figure = styled(
        figure,
        title="What two models transfer, and what they share",
        caption="Two models that learned the same facts. The model that answers what it was never "
        "told in a language<br>shares neurons across scripts; the other shares no more than "
        "between different facts. 95% intervals over facts.",
        height=480,
    )
    return figure.update_layout(margin={"t": 150})


def _answered(scores: AnswerScores) -> dict[str, MeanAndInterval]:
    """The share of a fact's prompts that are answered, over facts, by what training showed."""
    frame = scores.to_frame()
    shares = {}
    for split, label in SPLITS.items():
        by_fact = frame[frame["split"] == split].groupby("fact_id")["known"].mean()
        shares[label] = (
            float(by_fact.mean()),
            *bootstrap(by_fact.to_numpy(dtype=float), limits=(0.0, 1.0)),
        )
    return shares


def _bars(name: str, colour: str, groups: Mapping[str, MeanAndInterval], number: str) -> go.Bar:
    """One model's mean of each group with its interval over facts; `number` formats the means."""
    means, low, high = np.array(list(groups.values())).T
    return go.Bar(
        name=name,
        x=list(groups),
        y=means,
        error_y=interval(means, low, high),
        marker_color=colour,
        text=[format(value, number) for value in means],
        # White text on a bar that is hardly there could not be read.
        textposition=np.where(means > 0.1 * means.max(), "inside", "outside"),
        insidetextanchor="start",
        textangle=0,
        constraintext="none",
        textfont={"size": 11},
        legendgroup=name,
        hovertemplate="%{x}: %{y:.3f}<extra>" + name + "</extra>",
    )
