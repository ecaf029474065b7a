"""Figure of one neuron: where it acts, what it writes, what happens without it."""

from collections.abc import Sequence
from html import escape

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lafn_viz.datasets.languages import language_name
from lafn_viz.interventions.neuron_cards import NeuronCard
from lafn_viz.plots.style import (
    AGNOSTIC,
    CONTROL,
    SPECIFIC,
    TARGET_UNITS,
    asked_of,
    language_colour,
    styled,
    visible,
)

LINE = 24  # pixels a row


def neuron_card(card: NeuronCard, *, n_tokens: int = 10) -> go.Figure:
    """A neuron by language, the tokens it promotes and demotes, and the answers without it.

    Dots are paraphrases (of all facts), bars across them means of a language. `n_tokens` of each
    kind are drawn, at most as many as the card has.
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
            *(f"Tokens it {what}" if some else "" for what, some in
              zip(("promotes", "demotes"), tokens, strict=True)),
        ],
    )  # fmt: skip
    _languages(figure, card, names)
    for column, (some, colour) in enumerate(zip(tokens, (AGNOSTIC, SPECIFIC), strict=True)):
        _tokens(figure, some, colour, column=1 + 2 * column, rows=rows)
    layer, neuron = card.neuron
    facts = list(dict.fromkeys(prompt.fact_id for prompt in card.prompts))
    about = asked_of(card.prompts[0]) if len(facts) == 1 else f"{len(facts)} facts"
    draws = len(card.effect.control)
    control = f"mean of {draws} random ones of its layer" if draws else "none was drawn"
    change = card.effect.change
    beside = f", {card.effect.control_change.mean():+z.1%} without a random one" if draws else ""
    styled(
        figure,
        title=f"Layer {layer}, neuron {neuron}: {about}",
        caption="Dots: paraphrases, dashes: their mean. What matters lies away from the control "
        f"(grey: {control}).<br>P(correct) {change:+z.1%} without the neuron{beside}. "
        "Tokens: along the residual stream alone; ␣ is a space.",
        height=above + inner + below,
    )
    return figure.update_layout(
        margin={"l": 100, "t": above, "b": below, "r": 30}, showlegend=False, bargap=0.25
    )


def _languages(figure: go.Figure, card: NeuronCard, names: Sequence[str]) -> None:
    """Four panels that share the languages."""
    frame, means = card.to_frame(), card.by_language()
    log_p, p = (
        {
            which: frame[f"{name}_{which}"] - frame[f"{name}_before"]
            for which in ("after", "control")
        }
        for name in ("log_prob", "p")
    )
    panels = (
        (frame["attribution"], None, means["attribution"], None),
        (frame["activation"], None, means["activation"], None),
        (log_p["after"], log_p["control"], means["change_log_p"], means["control_log_p"]),
        (p["after"], p["control"], means["change_p"], means["control_p"]),
    )
    unit = TARGET_UNITS.get(card.provenance.options.get("target", ""), "score")
    titles = (unit, "activation", "change (nats)", "change (points)")
    where = {code: place for place, code in enumerate(card.languages)}
    rows = np.array([where[code] for code in frame["language"]], dtype=float)
    # Paraphrases stand a little apart, so that equal values can be told.
    order = frame.groupby("language").cumcount().to_numpy(dtype=float)
    spread = (order / max(order.max(), 1) - 0.5) * 0.3
    labels = [
        f"{name}: {escape(text, quote=False)}"
        for name, text in zip(map(language_name, frame["language"]), frame["text"], strict=True)
    ]
    colours = [language_colour(code) for code in frame["language"]]
    everyone = np.arange(len(names))
    for column, (values, other, mean, other_mean) in enumerate(panels, 1):
        number, raised = (":+.2%" if column == 4 else ":+.4f"), 0.0
        if other is not None and len(card.effect.control):
            raised = 0.1
            for x, y, symbol, size in (
                (other, rows + 0.36, "circle", 4),
                (other_mean, everyone + 0.36, "line-ns-open", 8),
            ):
                figure.add_trace(
                    go.Scatter(
                        x=x, y=y, mode="markers", hoverinfo="skip",
                        marker={"color": CONTROL, "size": size, "symbol": symbol,
                                "line": {"width": 2 if size > 4 else 0}},
                    ),
                    row=1, col=column,
                )  # fmt: skip
        figure.add_trace(
            go.Scatter(
                x=values,
                y=rows + spread - raised,
                mode="markers",
                marker={
                    "color": colours,
                    "size": 6,
                    "opacity": 0.75,
                    "line": {"color": "#444444", "width": 0.5},
                },
                customdata=labels,
                hovertemplate="%{customdata}<br>%{x" + number + "}<extra></extra>",
            ),
            row=1,
            col=column,
        )
        figure.add_trace(
            go.Scatter(
                x=mean,
                y=everyone - raised,
                mode="markers",
                marker={
                    "symbol": "line-ns-open",
                    "size": 15,
                    "color": [language_colour(code) for code in card.languages],
                    "line": {"width": 2.5},
                },
                customdata=names,
                hovertemplate="%{customdata}, mean: %{x" + number + "}<extra></extra>",
            ),
            row=1,
            col=column,
        )
        figure.add_vline(x=0, line={"color": "#333333", "width": 1}, row=1, col=column)
        figure.update_xaxes(
            title_text=titles[column - 1], nticks=4, zeroline=False, row=1, col=column,
            tickformat=".1%" if column == 4 else None,
        )  # fmt: skip
        figure.update_yaxes(
            tickvals=list(range(len(names))), ticktext=list(names), showticklabels=column == 1,
            range=[len(names) - 0.4, -0.6], zeroline=False, row=1, col=column,
        )  # fmt: skip


def _tokens(
    figure: go.Figure, some: Sequence[tuple[str, float]], colour: str, *, column: int, rows: int
) -> None:
    """Horizontal bars of what is added to the logits of some tokens, each with its text."""
    if not some:
        figure.update_xaxes(visible=False, row=2, col=column)
        figure.update_yaxes(visible=False, row=2, col=column)
        return
    values = [value for _, value in some]
    texts = [visible(text) for text, _ in some]
    figure.add_trace(
        go.Bar(
            x=values,
            y=list(range(len(some))),
            orientation="h",
            marker_color=colour,
            text=texts,
            textposition="outside",
            cliponaxis=False,
            constraintext="none",
            customdata=texts,
            hovertemplate="%{customdata}: %{x:+.3f}<extra></extra>",
        ),
        row=2,
        col=column,
    )
    # Room for the texts, outside of the longest bar.
    room = 1.75 if max(map(len, texts)) > 10 else 1.45
    ends = sorted((0.0, room * max(values, key=abs)))
    figure.update_xaxes(
        title_text="logits per unit of activation",
        range=ends,
        zeroline=True,
        nticks=5,
        row=2,
        col=column,
    )
    figure.update_yaxes(range=[rows - 0.4, -0.6], visible=False, row=2, col=column)
