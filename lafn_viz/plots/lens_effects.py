"""Figure of what layers name without some neurons: in another language, and in the prompt's own."""

from typing import TYPE_CHECKING, Literal

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lafn_viz.core.arguments import one_of, takes
from lafn_viz.core.messages import counted
from lafn_viz.interventions.language_lens import ANOTHER, OWN
from lafn_viz.interventions.lens_effects import KINDS, OTHER, RANDOM, ZEROED, LensEffects
from lafn_viz.plots.drawn import draws
from lafn_viz.plots.style import (
    AGNOSTIC,
    CONTROL,
    LEGEND_ABOVE,
    SPECIFIC,
    band,
    curve,
    of_model,
    styled,
)

if TYPE_CHECKING:
    import pandas as pd

COLOURS = {ZEROED: AGNOSTIC, OTHER: SPECIFIC, RANDOM: CONTROL}
NAMED = {ZEROED: "the fact's neurons", OTHER: "another fact's", RANDOM: "random ones"}
PANELS = {ANOTHER: "name in another language", OWN: "the own name"}
UNITS = {"log_p": "change, nats", "leads": "change of the share it leads"}
ROW = 230  # pixels


@draws(LensEffects)
@takes(of=one_of(tuple(UNITS)))
def lens_changes(effects: LensEffects, *, of: Literal["log_p", "leads"] = "log_p") -> go.Figure:
    """Draw how each layer's names change without some neurons, a row for each set.

    Left: the name in another language; right: the one in the prompt's own. Bands are 95% intervals
    over facts. All panels share one scale.

    Args:
        of: the log-probability ("log_p", nats), or the share of prompts that the name "leads".
    """
    table = effects.summary().reset_index()
    sets = [
        name for name, of_set in zip(effects.sets, effects.n_neurons, strict=True) if of_set.any()
    ]
    titles = [f"{name}: {panel}" for name in sets for panel in PANELS.values()]
    figure = make_subplots(
        rows=len(sets), cols=2, subplot_titles=titles, shared_yaxes="all",
        horizontal_spacing=0.04, vertical_spacing=0.3 / len(sets),
    )  # fmt: skip
    for row, name in enumerate(sets, 1):
        for column, leader in enumerate(PANELS, 1):
            for kind in KINDS:
                values = table[
                    (table[["set", "kind", "leader"]] == [name, kind, leader]).all(axis=1)
                ]
                if values[of].notna().any():
                    figure.add_traces(
                        _curve(values, of, kind, legend=(row, column) == (1, 1)),
                        rows=row,
                        cols=column,
                    )
    figure.update_xaxes(dtick=max(1, effects.lens.n_layers // 6), showticklabels=True)
    figure.update_xaxes(title_text="layer (0: embedding)", row=len(sets))
    figure.update_yaxes(
        title_text=UNITS[of], col=1, tickformat=".0%" if of == "leads" else None, zeroline=True
    )
    figure = styled(
        figure,
        title="What do layers no longer name without these neurons?",
        caption=_caption(effects),
        height=210 + ROW * len(sets),
    )
    legend = LEGEND_ABOVE | {"y": 1 + 0.13 / len(sets)}
    return figure.update_layout(legend=legend, margin={"t": 165})


def _curve(values: "pd.DataFrame", of: str, kind: str, *, legend: bool) -> list[go.Scatter]:
    """The line of one kind of change over the layers, with its interval as a band."""
    layers = values["layer"].tolist()
    low, high = values[f"{of}_low"], values[f"{of}_high"]
    look = {"legendgroup": kind, "name": NAMED[kind]}
    traces = []
    if np.isfinite(low).all():
        traces.append(band(layers, low, high, COLOURS[kind], showlegend=False, **look))
    unit = "%{y:+.0%}" if of == "leads" else "%{y:+.2f} nats"
    hover = "layer %{x}: " + unit
    line = curve(layers, values[of], COLOURS[kind], hover=hover, showlegend=legend, **look)
    return [*traces, line]


def _caption(effects: LensEffects) -> str:
    measured = np.isfinite(effects.log_p).any((0, 1, 2, 4))
    facts = {p.fact_id for p, yes in zip(effects.lens.prompts, measured, strict=True) if yes}
    counts = ", ".join(
        f"{name} {round(float(of_set[of_set > 0].mean()))}" if (of_set > 0).any() else f"{name} 0"
        for name, of_set in zip(effects.sets, effects.n_neurons, strict=True)
    )
    return (
        f"Neurons at zero (a prompt: {counts}), read by the logit lens: first tokens of names,<br>"
        f"in {int(measured.sum())} prompts of {counted(len(facts), 'fact')} whose names are told "
        "apart. Bands: 95% intervals over facts.<br>A line inside the band of random neurons says "
        "nothing of the fact." + of_model(effects.lens.provenance)
    )
