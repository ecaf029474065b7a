"""Figure of a transplant: which language's values bring out the answer in which other."""

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float
from plotly.subplots import make_subplots

from lafn_viz.core.arguments import one_of, takes
from lafn_viz.core.messages import counted
from lafn_viz.datasets.languages import language_name
from lafn_viz.interventions.transplant import OTHER, OWN, RANDOM, Measure, Transplant
from lafn_viz.plots.drawn import draws
from lafn_viz.plots.style import SHARES, styled

TITLES = {OWN: "Values of the same fact", OTHER: "Control: values of another fact"}
# What is drawn as a share of pairs, in words.
SAID = {
    "rescued": "failed prompts that are answered",
    "giver's words": "failed prompts that are answered in the giver's language",
    "either's words": "failed prompts that are answered in either language",
    "lost": "answered prompts that no longer are",
}


@draws(Transplant)
@takes(of=one_of(SAID))
def transplant_matrix(transplant: Transplant, *, of: Measure = "rescued") -> go.Figure:
    """Draw the share of prompts that values of one language (rows) rescue in another (columns).

    Beside it, on the same scale, the same neurons with another fact's values. A cell says how many
    of how many prompts; the diagonal is another wording of the same language.
    """
    names = [language_name(code) for code in transplant.languages]
    figure = make_subplots(
        rows=1, cols=2, subplot_titles=list(TITLES.values()), horizontal_spacing=0.03,
        shared_yaxes=True,
    )  # fmt: skip
    for column, condition in enumerate(TITLES, 1):
        share, count = transplant.between_languages(condition, of=of)
        figure.add_trace(
            go.Heatmap(
                z=share,
                x=names,
                y=names,
                **SHARES,
                xgap=2,
                ygap=2,
                text=_counts(share, count),
                texttemplate="%{text}",
                textfont={"size": 10},
                showscale=column == 2,
                colorbar={"title": {"text": "share"}, "tickformat": ".0%", "thickness": 12},
                hovertemplate="from %{y} to %{x}: %{z:.0%}, %{text} prompts<extra>"
                + f"{condition}</extra>",
            ),
            row=1,
            col=column,
        )
    figure.update_yaxes(autorange="reversed", showgrid=False)
    figure.update_yaxes(title_text="values from", row=1, col=1)
    figure.update_xaxes(tickangle=-45, showgrid=False, title_text="asked in")
    figure = styled(
        figure,
        title="Are these neurons enough to answer in another language?",
        caption=_caption(transplant, of),
        height=560,
    )
    return figure.update_layout(margin={"l": 110, "b": 110})


def _counts(
    share: Float[np.ndarray, "*cell"], count: Float[np.ndarray, "*cell"]
) -> list[list[str]]:
    """How many of how many; a mean over draws may be a fraction."""
    return [
        [f"{value * n:.3g}/{n:.0f}" if n else "" for value, n in zip(*rows, strict=True)]
        for rows in zip(share, count, strict=True)
    ]


def _caption(transplant: Transplant, of: Measure) -> str:
    """What the whole of it says, between different languages, with intervals over facts."""
    table = transplant.summary().loc[of]
    said = [
        f"{name} {row['value']:.0%} [{row['low']:.0%}, {row['high']:.0%}]"
        for name, row in table.loc[[OWN, OTHER, RANDOM]].iterrows()
        if np.isfinite(row["value"])
    ]
    n_pairs, n_facts = table.loc[OWN, ["n_pairs", "n_facts"]]
    where = transplant.provenance.options.get("position", "answer")
    return (
        f"Share of {SAID[of]}, with {counted(round(transplant.n_neurons.mean()), 'neuron')} a "
        f"fact at '{where}':<br>{', '.join(said)} "
        f"(between languages: {n_pairs:.0f} pairs, {n_facts:.0f} "
        "facts)."
    )
