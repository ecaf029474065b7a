"""The figure of `examine` and `evidence`: the neurons found without a language beside controls."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lafn_viz.core.arguments import a_text, one_of, takes, wrong
from lafn_viz.plots.drawn import a_table
from lafn_viz.plots.effects import UNITS
from lafn_viz.plots.style import AGNOSTIC, CONTROL, SPECIFIC, interval, signed, styled

if TYPE_CHECKING:
    import pandas as pd

COLOURS = {"outside Latin script": AGNOSTIC, "Latin script": SPECIFIC}
NEUTRAL = "#333333"
_table = a_table("Examination.effect_table()", "how", "languages", "set", "p", "log_p")


def _tables(name: str, given: Any) -> Mapping[str, "pd.DataFrame"]:
    """Read tables of effects by the name of their model."""
    if not isinstance(given, Mapping) or not given:
        raise wrong(name, given, "tables of Examination.effect_table() by the name of their model")
    return {model: _table(f"{name}[{model!r}]", table) for model, table in given.items()}


@takes(effects=_tables, how=a_text, of=one_of(("p", "log_p")))
def compared_sets(
    effects: Mapping[str, "pd.DataFrame"],
    *,
    how: str = "mean",
    of: Literal["p", "log_p"] = "p",
) -> go.Figure:
    """Draw what changing each set of neurons does to the answer, models side by side.

    Args:
        effects: by the name of a model, `Examination.effect_table()` or the table "effects" of
            evidence.
        how: the value that changed neurons get, one that the tables have.
        of: the relative change of P, or the change of log P (nats).

    Raises:
        ValueError: if a table has no such effects.
    """
    figure = make_subplots(
        rows=1, cols=len(effects), shared_yaxes=True, subplot_titles=list(effects),
        horizontal_spacing=0.03,
    )  # fmt: skip
    sets: list[str] = []
    shown: set[str] = set()
    for column, (model, table) in enumerate(effects.items(), 1):
        of_how = table[table["how"] == how]
        if of_how.empty:
            raise ValueError(
                f"how={how!r}, but the effects of {model} are of "
                f"{', '.join(dict.fromkeys(table['how']))}; give one of these"
            )
        sets = sets or list(dict.fromkeys(of_how["set"]))
        for place, (where, colour) in enumerate(COLOURS.items()):
            rows = of_how[of_how["languages"] == where].set_index("set").reindex(sets)
            if rows[of].isna().all():
                continue
            figure.add_trace(
                go.Scatter(
                    x=rows[of],
                    y=np.arange(len(sets)) + (place - 0.5) * 0.3,
                    error_x=interval(
                        rows[of], rows[f"{of}_low"], rows[f"{of}_high"], thickness=1.5, width=0
                    ),
                    mode="markers",
                    marker={"color": colour, "size": 7},
                    name=where,
                    legendgroup=where,
                    showlegend=where not in shown,
                    customdata=[
                        f"{name}: {change}"
                        for name, change in zip(sets, signed(rows[of], 3), strict=True)
                    ],
                    hovertemplate="%{customdata}<extra>" + f"{model}, {where}</extra>",
                ),
                row=1,
                col=column,
            )  # fmt: skip
            shown.add(where)
    figure.add_vline(x=0, line={"color": NEUTRAL, "width": 1})
    figure.add_hrect(y0=0.5, y1=len(sets) - 0.5, fillcolor=CONTROL, opacity=0.08, line_width=0)
    figure.update_yaxes(
        tickvals=list(range(len(sets))), ticktext=sets, range=[len(sets) - 0.5, -0.5],
        zeroline=False, showgrid=False,
    )  # fmt: skip
    figure.update_xaxes(title_text=UNITS[of], title_font_size=12, matches="x")
    if of == "p":
        figure.update_xaxes(tickformat="+.0%")
    figure.update_layout(legend={"orientation": "h", "y": 1.12, "x": 0, "yanchor": "bottom"})
    figure = styled(
        figure,
        title="Do neurons of the other languages carry the fact?",
        caption=f"Neurons changed ({how}); means over facts with 95% intervals. Grey: the controls."
        "<br>Where “all neurons” change little, no set can, and a small effect says nothing.",
        height=520,
    )
    return figure.update_layout(margin={"t": 160, "l": 190})
