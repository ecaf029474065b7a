"""Figure of what a model knows."""

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lafn_viz.datasets.languages import language_name
from lafn_viz.models.known import KnownShare
from lafn_viz.plots.drawn import draws
from lafn_viz.plots.style import SHARES, styled

if TYPE_CHECKING:
    import pandas as pd

ROW = 30  # pixels


@draws(KnownShare)
def known_shares(known: KnownShare) -> go.Figure:
    """Draw the share of facts known by language and relation, a panel for each number of examples.

    All panels have one colour scale, from none to all. The number of facts is under each relation,
    and the interval over facts in the text of each cell.
    """
    return draw_known(known.to_frame())


def draw_known(frame: "pd.DataFrame") -> go.Figure:
    """Draw the table of `KnownShare.to_frame`."""
    numbers = list(dict.fromkeys(frame["shots"]))
    relations, languages = (list(dict.fromkeys(frame[key])) for key in ("relation", "language"))
    names = [language_name(code) for code in languages]
    most = frame.groupby("relation")["n_facts"].max()
    figure = make_subplots(
        cols=len(numbers),
        shared_yaxes=True,
        horizontal_spacing=0.03,
        subplot_titles=[_after(shots) for shots in numbers],
    )
    for column, shots in enumerate(numbers, 1):
        cells = frame[frame["shots"] == shots].set_index(["language", "relation"])
        index = [[(language, relation) for relation in relations] for language in languages]
        values = {
            key: np.array([[cells[key].get(cell, np.nan) for cell in row] for row in index])
            for key in ("share", "low", "high", "n_facts")
        }
        text = [
            ["" if np.isnan(share) else f"{share:.0%}" for share in row] for row in values["share"]
        ]
        figure.add_trace(
            go.Heatmap(
                z=values["share"],
                x=[f"{relation}<br>n = {most[relation]}" for relation in relations],
                y=names,
                **SHARES,
                text=text,
                texttemplate="%{text}",
                customdata=np.stack([values[key] for key in ("low", "high", "n_facts")], -1),
                hovertemplate="%{y}, %{x}: %{z:.0%} [%{customdata[0]:.0%}, %{customdata[1]:.0%}]"
                " of %{customdata[2]:.0f} facts<extra></extra>",
                xgap=1,
                ygap=1,
                showscale=column == 1,
                colorbar={"title": {"text": "share known"}, "tickformat": ".0%"},
            ),
            row=1,
            col=column,
        )
    figure.update_yaxes(autorange="reversed")
    return styled(
        figure,
        title="What does the model know, in which languages?",
        caption="Share of facts whose whole answer greedy decoding writes (mean over facts, n of "
        "them; 95% intervals on hover).<br>Only these facts and languages say anything about "
        "neurons.",
        height=200 + ROW * len(languages),
    )


def _after(shots: int) -> str:
    return {0: "no example", 1: "after 1 example"}.get(shots, f"after {shots} examples")
