"""Figure of a training run: when a model comes to know, to share and to transfer its facts."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lafn_viz.core.messages import counted
from lafn_viz.datasets.languages import language_name, outside_latin
from lafn_viz.interventions.training_history import (
    EFFECT,
    KNOWING,
    OTHER_LANGUAGE,
    OUTPUT,
    OWN_EFFECT,
    SHARING,
    TRANSFER,
    TrainingHistory,
)
from lafn_viz.plots.drawn import draws
from lafn_viz.plots.style import AGNOSTIC, CONTROL, LEGEND_ABOVE, SPECIFIC, band, styled

if TYPE_CHECKING:
    import pandas as pd

# Each panel: its title, its axis, and its curves (measure, name, colour).
PANELS: tuple[tuple[str, str, tuple[tuple[str, str, str], ...]], ...] = (
    (
        "answers",
        "share answered",
        (
            (KNOWING, "where training shows the fact", SPECIFIC),
            (TRANSFER, "where it never does", AGNOSTIC),
        ),
    ),
    ("shared neurons", "Jaccard across scripts", ((SHARING, "the same fact", AGNOSTIC),)),
    (
        "effect outside Latin script",
        "nats lost",
        (
            (EFFECT, "neurons found without the language", AGNOSTIC),
            (OWN_EFFECT, "the language's own neurons", SPECIFIC),
        ),
    ),
    (
        "another language leads",
        "share of prompts",
        ((OTHER_LANGUAGE, "another language", AGNOSTIC),),
    ),
)
CONTROLLED = (SHARING, EFFECT, OTHER_LANGUAGE)  # whose control is drawn
ANOTHER_FACT = "control: another fact"
ROW, MAP = 190, 330  # pixels of a panel of curves and of a heatmap
GAP = 0.07


@draws(TrainingHistory, by_name=True)
def training_history(histories: Mapping[str, TrainingHistory]) -> go.Figure:
    """Draw what models know, share and lose at each step of their training, a column a model.

    Curves are means over facts with 95% intervals, and the grey ones their control, another fact.
    The heatmap has the overlap of each pair of languages at the step of the slider: above the
    diagonal of the same fact, below it of another one.

    Args:
        histories: by the names that stand above their columns; all panels of a row share one scale.
    """
    n_rows = len(PANELS) + 1
    titles = [
        f"{name}: {panel}"
        for panel in (*(title for title, _, _ in PANELS), "pairs of languages")
        for name in histories
    ]
    height = len(PANELS) * ROW + MAP
    figure = make_subplots(
        rows=n_rows, cols=len(histories), subplot_titles=titles, horizontal_spacing=0.1,
        vertical_spacing=GAP, row_heights=[ROW] * len(PANELS) + [MAP],
    )  # fmt: skip
    top = max(float(_off_diagonal(history.pairs).max()) for history in histories.values())
    shown = set()
    for column, history in enumerate(histories.values(), 1):
        table = history.to_frame()
        for row, (_, axis, curves) in enumerate(PANELS, 1):
            for measure, name, colour in curves:
                layer = history.lens_layer if measure == OTHER_LANGUAGE else OUTPUT
                part = table[(table["measure"] == measure) & (table["layer"] == layer)]
                drawn = [(name, colour, ("value", "low", "high"))]
                if measure in CONTROLLED:
                    control = ("control", "control_low", "control_high")
                    drawn.insert(0, (ANOTHER_FACT, CONTROL, control))
                for of, in_colour, columns in drawn:
                    if part[columns[0]].notna().any():
                        for trace in _curve(part, of, in_colour, columns):
                            trace.update(
                                showlegend=trace.showlegend is not False and of not in shown
                            )
                            figure.add_trace(trace, row=row, col=column)
                        shown.add(of)
            figure.update_yaxes(title_text=axis if column == 1 else None, row=row, col=column)
    n_curves = len(figure.data)
    steps = sorted({step for history in histories.values() for step in history.steps})
    for column, history in enumerate(histories.values(), 1):
        for step in history.steps:
            heatmap = _pairs(history, step, top, scale=column == len(histories))
            heatmap.update(visible=step == history.steps[-1])
            figure.add_trace(heatmap, row=n_rows, col=column)
    for row in range(1, n_rows):
        _share_scale(figure, row, len(histories))
    figure.update_xaxes(type="log", exponentformat="none", tickfont_size=11)
    figure.update_xaxes(title_text="step", title_font_size=11, row=len(PANELS))
    figure.update_xaxes(type="category", title_text=None, showgrid=False, row=n_rows)
    figure.update_yaxes(
        type="category", autorange="reversed", showgrid=False, title_text=None, row=n_rows
    )
    for column in range(2, len(histories) + 1):
        figure.update_yaxes(showticklabels=False, row=n_rows, col=column)
    figure = styled(
        figure,
        title="What comes first: knowing, sharing, or transfer?",
        caption="Means over facts with 95% intervals, at checkpoints of the training (logarithmic "
        f"axis). Grey, the control: another fact.<br>{_turning_points(histories)}<br>Heatmaps: "
        "Jaccard of two languages at the slider's step, above the diagonal the same fact, below it "
        "another fact.",
        height=height + 350,
    )
    figure.update_layout(
        legend=LEGEND_ABOVE | {"y": 1.03},
        margin={"t": 260, "b": 90},
        sliders=[_slider(histories, steps, n_curves, len(PANELS) * len(histories))],
        shapes=_marks(steps[-1], len(PANELS) * len(histories)),
    )
    return figure


def _curve(
    part: "pd.DataFrame", name: str, colour: str, columns: tuple[str, str, str]
) -> list[go.Scatter]:
    """A line with the band of its intervals."""
    value, low, high = (part[column].to_numpy(float) for column in columns)
    steps = part["step"].to_numpy()
    found = []
    if (finite := np.isfinite(low) & np.isfinite(high)).any():
        found.append(
            band(
                steps[finite], low[finite], high[finite], colour, legendgroup=name, showlegend=False
            )
        )
    line = go.Scatter(
        x=steps, y=value, mode="lines+markers", name=name, legendgroup=name,
        line={"color": colour, "width": 2}, marker={"size": 4},
        customdata=np.stack([low, high], 1),
        hovertemplate="step %{x:,}: %{y:.3f} [%{customdata[0]:.3f}, %{customdata[1]:.3f}]"
        f"<extra>{name}</extra>",
    )  # fmt: skip
    return [*found, line]


def _pairs(history: TrainingHistory, step: int, top: float, *, scale: bool) -> go.Heatmap:
    """The overlap of pairs of languages at a step: the same fact above, another one below."""
    rows = history.pairs[history.pairs["step"] == step]
    codes = list(dict.fromkeys([*rows["language"], *rows["other_language"]]))
    codes.sort(key=outside_latin)
    place = {code: number for number, code in enumerate(codes)}
    cells = np.full((len(codes), len(codes)), np.nan)
    for row in rows.itertuples():
        first, second = sorted((place[row.language], place[row.other_language]))
        cells[first, second], cells[second, first] = row.jaccard, row.other_fact
    names = [language_name(code) for code in codes]
    return go.Heatmap(
        z=cells, x=names, y=names, zmin=0, zmax=top, colorscale="Viridis", showscale=scale,
        colorbar={
            "title": {"text": "Jaccard"}, "lenmode": "pixels", "len": MAP - 60, "y": 0,
            "yanchor": "bottom",
        },
        customdata=np.where(np.triu(np.ones_like(cells), 1) > 0, "the same fact", "another fact"),
        hovertemplate=f"step {step:,}, %{{y}} and %{{x}}, %{{customdata}}: %{{z:.3f}}"
        "<extra></extra>",
    )  # fmt: skip


def _off_diagonal(pairs: "pd.DataFrame") -> np.ndarray:
    return pairs[["jaccard", "other_fact"]].fillna(0).to_numpy(float)


def _share_scale(figure: go.Figure, row: int, n_columns: int) -> None:
    """Give the panels of a row one scale of values, on which all of them are seen."""
    axes = [next(figure.select_yaxes(row=row, col=column)) for column in range(1, n_columns + 1)]
    first = axes[0].plotly_name.replace("axis", "")
    for axis in axes[1:]:
        axis.update(matches=first)


def _marks(step: int, n_panels: int) -> list[dict[str, Any]]:
    """A line in each panel of curves at the slider's step."""
    axes = ["" if number == 0 else str(number + 1) for number in range(n_panels)]
    return [
        {
            "type": "line", "x0": step, "x1": step, "y0": 0, "y1": 1,
            "xref": f"x{axis}", "yref": f"y{axis} domain",
            "line": {"color": "#555555", "width": 1, "dash": "dot"},
        }
        for axis in axes
    ]  # fmt: skip


def _slider(
    histories: Mapping[str, TrainingHistory], steps: list[int], n_curves: int, n_panels: int
) -> dict[str, Any]:
    """A slider over the steps of all models; a model without a step shows its last one before."""
    entries = []
    for step in steps:
        visible = [True] * n_curves
        for history in histories.values():
            before = [own for own in history.steps if own <= step] or [history.steps[0]]
            visible += [own == before[-1] for own in history.steps]
        entries.append(
            {
                "label": f"{step:,}",
                "method": "update",
                "args": [{"visible": visible}, {"shapes": _marks(step, n_panels)}],
            }
        )
    return {
        "active": len(steps) - 1,
        "currentvalue": {"prefix": "step ", "font": {"size": 13}},
        "steps": entries,
        "pad": {"t": 34},
    }


def _turning_points(histories: Mapping[str, TrainingHistory]) -> str:
    """At which step each measure of the first model reaches half of its highest value."""
    name, history = next(iter(histories.items()))
    turns = history.turning_points()
    said = [
        f"{measure} {turn.step:,.0f} [{turn.low:,.0f}, {turn.high:,.0f}]"
        for measure, turn in turns.iterrows()
    ]
    n_facts = history.values["fact_id"].nunique()
    about = f"{name}, {counted(n_facts, 'fact')}"
    # A caption's line has room for three.
    lines = [", ".join(said[number : number + 3]) for number in range(0, len(said), 3)]
    return f"{about}, is half-way at step: {',<br>'.join(lines)}." if said else f"{about}."
