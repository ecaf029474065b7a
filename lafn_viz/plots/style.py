"""What all figures share: colours, fonts, error bars, title and caption."""

import colorsys
import html
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from lafn_viz.core.provenance import Provenance
from lafn_viz.datasets.languages import code_or_tag
from lafn_viz.datasets.prompts import Prompt

AGNOSTIC, SPECIFIC, CONTROL = "#0072B2", "#D55E00", "#999999"
# Okabe-Ito has eight colours, too few for twelve languages. These are the nine of Paul Tol's
# "muted" set (Tol 2021, "Colour Schemes", SRON/EPS/TN/09-002), his blue #6699CC and brown #661100,
# and black: the three that are furthest from the nine and from each other, to normal, deuteranope
# and protanope eyes. They differ in lightness too. A label always names the language as well.
LANGUAGE_COLOURS = {
    "en": "#332288", "fr": "#6699CC", "de": "#000000", "es": "#DDCC77", "it": "#44AA99",
    "pt": "#117733", "ru": "#CC6677", "zh": "#882255", "ja": "#AA4499", "ar": "#999933",
    "hi": "#661100", "tr": "#88CCEE",
}  # fmt: skip
FONT = (
    "Inter, 'Noto Sans', 'Noto Sans CJK SC', 'Noto Sans Arabic', 'Noto Sans Devanagari', sans-serif"
)
LEGEND_ABOVE = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"}
# The unit of the scores, by the target of the attribution.
TARGET_UNITS = {"probability": "probability", "log_prob": "nats", "logit_difference": "nats"}
# Options of every exported page: no logo, and no button that uploads the chart.
CONFIG = {"displaylogo": False, "showSendToCloud": False, "responsive": True}


def language_colour(code: str) -> str:
    """Return the colour of a language, for any form of its tag, or one derived from its code."""
    code = code_or_tag(code)
    colour = LANGUAGE_COLOURS.get(code) or LANGUAGE_COLOURS.get(code.split("-")[0])
    if colour:
        return colour
    # Python's own hash differs from run to run.
    number = zlib.crc32(code.encode())
    hue, lightness = number % 360 / 360, (0.3, 0.42, 0.54)[number // 360 % 3]
    parts = colorsys.hls_to_rgb(hue, lightness, 0.55)
    return "#" + "".join(f"{round(255 * part):02X}" for part in parts)


def asked_of(prompt: Prompt) -> str:
    """Return what a prompt asks, escaped for HTML: subject and relation, or its text."""
    text = f"{prompt.subject} – {prompt.relation}" if prompt.subject else prompt.text
    return html.escape(text, quote=False)


def made_of(facts: Sequence[str], provenance: Provenance) -> str:
    """Return the last line of a caption: of which facts, model, method and position a figure is."""
    what = facts[0] if len(facts) == 1 else f"{len(facts)} facts"
    how = [provenance.method.replace("_", " ")]
    if position := provenance.options.get("position"):
        how.append(f"position {position!r}")
    parts = [what, provenance.model, *how]
    return "<br>" + html.escape(" · ".join(parts), quote=False)


def visible(text: str) -> str:
    """Return a readable token, escaped for HTML: spaces, tabs and line ends become signs."""
    for blank, sign in ((" ", "␣"), ("\t", "⇥"), ("\r", "␍"), ("\n", "↵")):
        text = text.replace(blank, sign)
    printable = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)
    return html.escape(printable, quote=False)


# How a heatmap of shares colours its cells, so that shares can be compared between figures.
SHARES = {"zmin": 0, "zmax": 1, "colorscale": "Blues"}


def interval(value: ArrayLike, low: ArrayLike, high: ArrayLike, **look: Any) -> dict[str, Any]:
    """Return error bars from `low` to `high` around `value`; `look` sets width and thickness."""
    value, low, high = (np.asarray(x, dtype=float) for x in (value, low, high))
    return {
        "type": "data",
        "symmetric": False,
        "array": high - value,
        "arrayminus": value - low,
        **look,
    }


def styled(figure: go.Figure, *, title: str, caption: str, height: int) -> go.Figure:
    """Set the house style: the title says what is shown, the caption under it what to look for."""
    figure.update_layout(
        template="plotly_white",
        font={"family": FONT, "size": 13},
        title={
            "text": title,
            "subtitle": {"text": caption, "font": {"size": 12.5, "color": "#555555"}},
            "x": 0.01,
            "xanchor": "left",
            "y": 1,
            "yanchor": "top",
            "yref": "container",
            "pad": {"t": 16},
        },
        margin={"l": 80, "r": 30, "t": 120, "b": 60},
        height=height,
        width=840,
    )
    # Otherwise the labels of rows touch the figure.
    figure.update_yaxes(ticklabelstandoff=4)
    # 5 × 10⁻⁸ and 2,000 rather than 50n and 2k.
    figure.update_xaxes(exponentformat="power").update_yaxes(exponentformat="power")
    figure.update_traces(colorbar_exponentformat="power", selector={"type": "heatmap"})
    return figure
