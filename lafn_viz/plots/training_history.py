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
from lafn_viz.plots.style import AGNOSTIC, CONTROL, LEGEND_ABOVE, SPECIFIC, band, curve, styled

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
    n_rows, n_columns = len(PANELS) + 1, len(histories)
    n_panels = len(PANELS) * n_columns
    titles = [
        f"{name}: {panel}"
        for panel in (*(title for title, _, _ in PANELS), "pairs of languages")
        for name in histories
    ]
    height = len(PANELS) * ROW + MAP
    figure = make_subplots(
        rows=n_rows, cols=n_columns, subplot_titles=titles, shared_yaxes=True,
        horizontal_spacing=0.1, vertical_spacing=GAP, row_heights=[ROW] * len(PANELS) + [MAP],
    )  # fmt: skip
    for column, history in enumerate(histories.values(), 1):
        _add_curves(figure, history, column)
    named: set[str] = set()
    for line in figure.select_traces(selector={"mode": "lines+markers"}):
        line.update(showlegend=line.name not in named)
        named.add(line.name)
    n_curves = len(figure.data)
    steps = sorted({step for history in histories.values() for step in history.steps})
    top = max(
        history.pairs[["jaccard", "other_fact"]].max().max() for history in histories.values()
    )
    for column, history in enumerate(histories.values(), 1):
        for step in history.steps:
            heatmap = _pairs(history, step, float(top), scale=column == n_columns)
            heatmap.update(visible=step == history.steps[-1])
            figure.add_trace(heatmap, row=n_rows, col=column)
    figure.update_xaxes(type="log", exponentformat="none", tickfont_size=11)
    figure.update_xaxes(title_text="step", title_font_size=11, row=len(PANELS))
    figure.update_xaxes(type="category", title_text=None, showgrid=False, row=n_rows)
    for row, (_, axis, _) in enumerate(PANELS, 1):
        figure.update_yaxes(showticklabels=True, row=row)
        figure.update_yaxes(title_text=axis, row=row, col=1)
    figure.update_yaxes(type="category", autorange="reversed", showgrid=False, row=n_rows)
    figure = styled(
        figure,
        title="What comes first: knowing, sharing, or transfer?",
        caption="Means over facts with 95% intervals, at checkpoints of the training (logarithmic "
        f"axis). Grey, the control: another fact.<br>{_turning_points(histories)}<br>Heatmaps: "
        "Jaccard of two languages at the slider's step, above the diagonal the same fact, below it "
        "another fact.",
        height=height + 350,
    )
    return figure.update_layout(
        legend=LEGEND_ABOVE | {"y": 1.03},
        margin={"t": 260, "b": 90},
        sliders=[_slider(histories, steps, n_curves, n_panels)],
        shapes=_marks(steps[-1], n_panels),
    )


def _add_curves(figure: go.Figure, history: TrainingHistory, column: int) -> None:
    """Draw the measures of one model, and the controls of those that have one, below each other."""
    table = history.to_frame().set_index(["measure", "layer"]).sort_index()
    for row, (_, _, curves) in enumerate(PANELS, 1):
        for measure, name, colour in curves:
            layer = history.lens_layer if measure == OTHER_LANGUAGE else OUTPUT
            if (measure, layer) not in table.index:
                continue
            part = table.loc[[(measure, layer)]].sort_values("step")
            if measure in CONTROLLED:
                ends = ("control", "control_low", "control_high")
                figure.add_traces(_curve(part, ANOTHER_FACT, CONTROL, ends), row, column)
            figure.add_traces(_curve(part, name, colour, ("value", "low", "high")), row, column)


def _curve(
    part: "pd.DataFrame", name: str, colour: str, columns: tuple[str, str, str]
) -> list[go.Scatter]:
    """A line with the band of its intervals."""
    value, low, high = (part[column].to_numpy(float) for column in columns)
    steps = part["step"].to_numpy()
    finite = np.isfinite(low) & np.isfinite(high)
    ends = (steps[finite], low[finite], high[finite])
    hover = "step %{x:,}: %{y:.3f} [%{customdata[0]:.3f}, %{customdata[1]:.3f}]"
    return [
        band(*ends, colour, legendgroup=name, showlegend=False),
        curve(steps, value, colour, name=name, hover=hover, customdata=np.stack([low, high], 1)),
    ]


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
    n_facts = history.values.groupby("measure")["fact_id"].nunique()
    about = (
        f"{name}, neurons of {n_facts[SHARING]} and answers of {counted(n_facts[KNOWING], 'fact')}"
    )
    # A caption's line has room for three.
    lines = [", ".join(said[number : number + 3]) for number in range(0, len(said), 3)]
    return f"{about}, is half-way at step:<br>{',<br>'.join(lines)}." if said else f"{about}."
