"""Figure of one neuron: where it is active, what it promotes, and what changes without it."""

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float
from plotly.subplots import make_subplots

from lafn_viz.core.arguments import takes, whole
from lafn_viz.datasets.languages import language_name
from lafn_viz.interventions.neuron_cards import NeuronCard
from lafn_viz.plots.drawn import draws
from lafn_viz.plots.style import (
    AGNOSTIC,
    SPECIFIC,
    TARGET_UNITS,
    asked_of,
    isolated,
    language_colour,
    signed,
    styled,
    visible,
)

if TYPE_CHECKING:
    import pandas as pd

RANDOM = "#777777"  # the control: light grey cannot be seen beside the colours of languages
LINE = 24  # pixels per row


@draws(NeuronCard)
@takes(n_tokens=whole(1))
def neuron_card(card: NeuronCard, *, n_tokens: int = 10) -> go.Figure:
    """Draw a neuron by language, the tokens it promotes and demotes, and the answers without it.

    Dots are paraphrases (of all facts), the dashes across them their mean in a language. Up to
    `n_tokens` of each kind are drawn.
    """
    names = [language_name(code) for code in card.languages]
    tokens = [card.promoted[:n_tokens], card.demoted[:n_tokens]]
    rows = max(map(len, tokens))
    heights = [LINE * len(names), LINE * rows or 1]
    above, between, below = 130, 110, 70
    inner = sum(heights) + between
    specs = [[{}, {}, {}, {}], [{"colspan": 2}, None, {"colspan": 2}, None]]
    figure = make_subplots(
        rows=2,
        cols=4,
        specs=specs,
        row_heights=heights,
        vertical_spacing=between / inner,
        horizontal_spacing=0.035,
        subplot_titles=[
            "Attribution", "Activation", "Zeroed: log P", "Zeroed: P",
            *(f"Tokens it {verb}" if shown else "" for verb, shown in
              zip(("promotes", "demotes"), tokens, strict=True)),
        ],
    )  # fmt: skip
    frame = card.to_frame()
    for column, panel in enumerate(_panels(card, frame), 1):
        _draw_panel(figure, card, frame, panel, column)
    # One scale, as the two are compared.
    reach = max([abs(value) for shown in tokens for _, value in shown], default=0.0)
    for column, (shown, colour) in enumerate(zip(tokens, (AGNOSTIC, SPECIFIC), strict=True)):
        _tokens(figure, shown, colour, column=1 + 2 * column, rows=rows, reach=reach)
    layer, neuron = card.neuron
    facts = list(dict.fromkeys(prompt.fact_id for prompt in card.prompts))
    about = asked_of(card.prompts[0]) if len(facts) == 1 else f"{len(facts)} facts"
    draws = len(card.effect.control)
    random = f"of {draws} random neurons" if draws > 1 else "a random neuron"
    control = f"; grey diamonds: mean {random} of its layer" if draws else ""
    change = card.effect.change
    without = f", {card.effect.control_change.mean():+z.1%} without a random one" if draws else ""
    styled(
        figure,
        title=f"Layer {layer}, neuron {neuron}: {about}",
        caption=f"Dots: paraphrases; dashes: their mean{control}.<br>P(correct) changes by "
        f"{change:+z.1%} without the neuron{without}. Tokens: by the residual stream alone; "
        "␣ is a space.",
        height=above + inner + below,
    )
    return figure.update_layout(
        margin={"l": 100, "t": above, "b": below, "r": 30}, showlegend=False, bargap=0.25
    )


class _Panel(NamedTuple):
    """A number of each prompt and its mean in each language; the control's, where there is one."""

    unit: str
    digits: int  # that are written when the pointer is on it
    values: "pd.Series"
    means: "pd.Series"
    control: "pd.Series | None" = None
    control_means: "pd.Series | None" = None
    ticks: str | None = None

    def written(self, values: "pd.Series | None") -> list[str]:
        """How values are written when the pointer is on them."""
        return signed([] if values is None else values, self.digits, percent=self.ticks is not None)


def _panels(card: NeuronCard, frame: "pd.DataFrame") -> tuple[_Panel, ...]:
    """Return attribution, activation, and the change of log P and of P without the neuron."""
    means = card.by_language()

    def change(name: str, which: str) -> "pd.Series":
        return frame[f"{name}_{which}"] - frame[f"{name}_before"]

    has_control = bool(len(card.effect.control))
    changes = [
        _Panel(
            unit, digits, change(name, "after"), means[f"change_{short}"],
            change(name, "control") if has_control else None,
            means[f"control_{short}"] if has_control else None,
            ticks,
        )
        for name, short, unit, digits, ticks in (
            ("log_prob", "log_p", "change (nats)", 4, None),
            ("p", "p", "change (points)", 2, ".1%"),
        )
    ]  # fmt: skip
    unit = TARGET_UNITS.get(card.provenance.options.get("target", ""), "score")
    return (
        _Panel(unit, 4, frame["attribution"], means["attribution"]),
        _Panel("activation", 4, frame["activation"], means["activation"]),
        *changes,
    )


def _draw_panel(
    figure: go.Figure, card: NeuronCard, frame: "pd.DataFrame", panel: _Panel, column: int
) -> None:
    """Draw dots and means in the row of each language, the control's a little below them."""
    names = [language_name(code) for code in card.languages]
    row_of = {code: row for row, code in enumerate(card.languages)}
    rows = np.array([row_of[code] for code in frame["language"]], dtype=float)
    mean_rows = np.arange(len(names))
    raised = 0.0
    if panel.control is not None:
        raised = 0.1
        for x, y, look in (
            (
                panel.control,
                rows + 0.34,
                {"size": 5, "symbol": "diamond", "opacity": 0.6, "line": {"width": 0}},
            ),
            (
                panel.control_means,
                mean_rows + 0.34,
                {"size": 12, "symbol": "line-ns-open", "line": {"width": 2.5}},
            ),
        ):
            figure.add_trace(
                go.Scatter(
                    x=x, y=y, mode="markers", marker={"color": RANDOM, **look},
                    customdata=panel.written(x),
                    hovertemplate="random neurons: %{customdata}<extra></extra>",
                ),
                row=1, col=column,
            )  # fmt: skip
    # Paraphrases stand a little apart, so that equal values can be told from one another.
    order = frame.groupby("language").cumcount().to_numpy(dtype=float)
    spread = (order / max(order.max(), 1) - 0.5) * 0.3
    _draw_paraphrases(figure, panel, frame, rows + spread - raised, column)
    figure.add_trace(
        go.Scatter(
            x=panel.means,
            y=mean_rows - raised,
            mode="markers",
            marker={
                "symbol": "line-ns-open",
                "size": 15,
                "color": [language_colour(code) for code in card.languages],
                "line": {"width": 2.5},
            },
            customdata=[
                f"{name}, mean: {mean}"
                for name, mean in zip(names, panel.written(panel.means), strict=True)
            ],
            hovertemplate="%{customdata}<extra></extra>",
        ),
        row=1,
        col=column,
    )
    figure.add_vline(x=0, line={"color": "#333333", "width": 1}, row=1, col=column)
    figure.update_xaxes(
        title_text=panel.unit, nticks=4, zeroline=False, row=1, col=column, tickformat=panel.ticks
    )
    figure.update_yaxes(
        tickvals=list(range(len(names))), ticktext=names, showticklabels=column == 1,
        range=[len(names) - 0.4, -0.6], zeroline=False, row=1, col=column,
    )  # fmt: skip


def _draw_paraphrases(
    figure: go.Figure,
    panel: _Panel,
    frame: "pd.DataFrame",
    y: Float[np.ndarray, " prompt"],
    column: int,
) -> None:
    """Draw a dot for each prompt, in the colour of its language."""
    labels = [
        f"{language_name(code)}: {isolated(escape(text, quote=False))}<br>{value}"
        for code, text, value in zip(
            frame["language"], frame["text"], panel.written(panel.values), strict=True
        )
    ]
    figure.add_trace(
        go.Scatter(
            x=panel.values,
            y=y,
            mode="markers",
            marker={
                "color": [language_colour(code) for code in frame["language"]],
                "size": 6,
                "opacity": 0.75,
                "line": {"color": "#444444", "width": 0.5},
            },
            customdata=labels,
            hovertemplate="%{customdata}<extra></extra>",
        ),
        row=1,
        col=column,
    )


def _tokens(
    figure: go.Figure, tokens: Sequence[tuple[str, float]], colour: str, *, column: int, rows: int,
    reach: float,
) -> None:  # fmt: skip
    """Draw what the neuron adds to the logits of tokens as horizontal bars with their texts."""
    if not tokens:
        figure.update_xaxes(visible=False, row=2, col=column)
        figure.update_yaxes(visible=False, row=2, col=column)
        return
    values = [value for _, value in tokens]
    texts = [visible(text) for text, _ in tokens]
    figure.add_trace(
        go.Bar(
            x=values,
            y=list(range(len(tokens))),
            orientation="h",
            marker_color=colour,
            text=texts,
            textposition="outside",
            cliponaxis=False,
            constraintext="none",
            customdata=[
                f"{isolated(text)}: {value}"
                for text, value in zip(texts, signed(values, 3), strict=True)
            ],
            hovertemplate="%{customdata}<extra></extra>",
        ),
        row=2,
        col=column,
    )
    # Room for the texts, which stand outside the bars.
    room = 1.75 if max(map(len, texts)) > 10 else 1.45
    ends = sorted((0.0, float(np.copysign(room * reach, max(values, key=abs)))))
    figure.update_xaxes(
        title_text="logits per unit of activation",
        range=ends,
        zeroline=True,
        nticks=5,
        row=2,
        col=column,
    )
    figure.update_yaxes(range=[rows - 0.4, -0.6], visible=False, row=2, col=column)
