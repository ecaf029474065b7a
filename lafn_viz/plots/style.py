"""What every figure shares: colours, names of languages, fonts, title and caption."""

import colorsys
import html
import zlib
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from lafn_viz.datasets.facts import Prompt

AGNOSTIC, SPECIFIC, CONTROL = "#0072B2", "#D55E00", "#999999"
# Okabe-Ito has eight colours, too few for twelve languages. These are the nine of Paul Tol's
# "muted" set (Tol 2021, "Colour Schemes", SRON/EPS/TN/09-002), his blue #6699CC and brown #661100,
# and black: the three that stay furthest from the nine and each other, as seen with normal,
# deuteranope and protanope eyes. They differ in lightness too. No colour stands alone: a label says
# the language.
LANGUAGE_COLOURS = {
    "en": "#332288", "fr": "#6699CC", "de": "#000000", "es": "#DDCC77", "it": "#44AA99",
    "pt": "#117733", "ru": "#CC6677", "zh": "#882255", "ja": "#AA4499", "ar": "#999933",
    "hi": "#661100", "tr": "#88CCEE",
}  # fmt: skip
FONT = (
    "Inter, 'Noto Sans', 'Noto Sans CJK SC', 'Noto Sans Arabic', 'Noto Sans Devanagari', sans-serif"
)
LEGEND_ABOVE = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"}
# What scores of a target are counted in.
TARGET_UNITS = {"probability": "probability", "log_prob": "nats", "logit_difference": "nats"}
# Generation into every exported page: no logo, and no button that uploads the chart.
CONFIG = {"displaylogo": False, "showSendToCloud": False, "responsive": True}


def language_colour(code: str) -> str:
    """The colour of a language (also of "zh-TW"); one made of its code where there is none."""
    known = LANGUAGE_COLOURS.get(code) or LANGUAGE_COLOURS.get(code.split("-")[0])
    if known:
        return known
    # The same in every run, which Python's own hash is not.
    number = zlib.crc32(code.encode())
    hue, lightness = number % 360 / 360, (0.3, 0.42, 0.54)[number // 360 % 3]
    parts = colorsys.hls_to_rgb(hue, lightness, 0.55)
    return "#" + "".join(f"{round(255 * part):02X}" for part in parts)


def asked_of(prompt: Prompt) -> str:
    """What a prompt asks, marked for HTML: subject and relation, or its text."""
    text = f"{prompt.subject} – {prompt.relation}" if prompt.subject else prompt.text
    return html.escape(text, quote=False)


def visible(text: str) -> str:
    """A token as it can be read: spaces, tabs and line ends shown, marked for HTML."""
    for what, sign in ((" ", "␣"), ("\t", "⇥"), ("\r", "␍"), ("\n", "↵")):
        text = text.replace(what, sign)
    seen = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)
    return html.escape(seen, quote=False)


def interval(value: ArrayLike, low: ArrayLike, high: ArrayLike, **look: Any) -> dict[str, Any]:
    """Error bars from `low` to `high` around `value`; `look` is plotly's width and thickness."""
    value, low, high = (np.asarray(x, dtype=float) for x in (value, low, high))
    return {
        "type": "data",
        "symmetric": False,
        "array": high - value,
        "arrayminus": value - low,
        **look,
    }


def styled(figure: go.Figure, *, title: str, caption: str, height: int) -> go.Figure:
    """A figure in the house style: what is shown on top, what to see under it."""
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
    # Labels of rows would touch what they stand beside.
    figure.update_yaxes(ticklabelstandoff=4)
    return figure
