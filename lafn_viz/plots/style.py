"""What all figures share: colours, fonts, error bars, title and caption."""

import colorsys
import html
import re
import unicodedata
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from lafn_viz.attribution.scores import NeuronScores
from lafn_viz.core.messages import counted
from lafn_viz.core.provenance import Provenance
from lafn_viz.datasets.fact import fact_name
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
WIDTH = 840  # of a figure, in pixels; a page of its own is wider where there is room
# Options of every exported page: no logo, and no button that uploads the chart.
CONFIG = {"displaylogo": False, "showSendToCloud": False, "responsive": True}


def config_for(name: str) -> dict[str, Any]:
    """Return the options of a page whose figure is saved under a name, as with the mode bar."""
    words = re.sub(r"<[^>]*>", " ", html.unescape(name))
    file = re.sub(r"[^\w.]+", "-", words).strip("-.")[:80].rstrip("-.")
    return {**CONFIG, "toImageButtonOptions": {"filename": file or "figure", "scale": 2}}


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
    return html.escape(_asked_of(prompt), quote=False)


def _asked_of(prompt: Prompt) -> str:
    return fact_name(prompt.subject, prompt.relation) if prompt.subject else prompt.text


def made_of_scores(scores: NeuronScores) -> str:
    """Return the last line of a caption for the scores of one fact."""
    return made_of([_asked_of(scores.prompts[0])], scores.provenance, len(scores.prompts))


def of_model(provenance: Provenance) -> str:
    """Return the end of a caption that says the rest: of which model a figure is."""
    return html.escape(f" Model: {provenance.model}.", quote=False)


def made_of(facts: Sequence[str], provenance: Provenance, n_prompts: int | None = None) -> str:
    """Return the last line of a caption: of which facts, model, method, position, selection and
    number of prompts (where it is known) a figure is."""
    what = facts[0] if len(facts) == 1 else f"{len(facts)} facts"
    options = provenance.options
    how = [provenance.method.replace("_", " ")]
    if position := options.get("position"):
        how.append(f"position {position!r}")
    parts = [what, provenance.model, " · ".join(how) + selected_by(options)]
    if n_prompts is not None:
        parts.append(counted(n_prompts, "prompt"))
    return "<br>" + html.escape(" · ".join(parts), quote=False)


def selected_by(options: Mapping[str, Any]) -> str:
    """Say after a dot how neurons were selected, where they were: of what a share is one."""
    if "fraction" in options:
        return f" · best {100 * options['fraction']:.3g}% of all neurons"
    if "top" in options:
        return f" · best {counted(options['top'], 'neuron')}"
    if "threshold" in options:
        return f" · scores above {100 * options['threshold']:.3g}% of the largest"
    return ""


def visible(text: str) -> str:
    """Return a readable token, escaped for HTML: spaces, tabs and line ends become signs."""
    for blank, sign in ((" ", "␣"), ("\t", "⇥"), ("\r", "␍"), ("\n", "↵")):
        text = text.replace(blank, sign)
    printable = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)
    return html.escape(printable, quote=False)


def signed(values: ArrayLike, digits: int, *, percent: bool = False) -> list[str]:
    """Return numbers with their sign and so many digits; what rounds to zero is `0`, NaN nothing.

    plotly writes such numbers as −0.0000 and NaN.
    """
    texts = []
    for value in np.atleast_1d(np.asarray(values, dtype=float)):
        scaled = round(100 * value if percent else value, digits) if np.isfinite(value) else value
        if scaled == 0:
            texts.append("0")
        else:
            texts.append(
                f"{value:+.{digits}{'%' if percent else 'f'}}" if np.isfinite(value) else ""
            )
    return [text.replace("-", "−") for text in texts]


def isolated(text: str) -> str:
    """Return a text that leaves the numbers and signs beside it where they are.

    A text with letters that are written from right to left is put between the Unicode characters
    "first strong isolate" and "pop directional isolate"; any other comes back as it is.
    """
    is_rtl = any(unicodedata.bidirectional(letter) in ("R", "AL") for letter in text)
    return f"\u2068{text}\u2069" if is_rtl else text


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


def band(x: ArrayLike, low: ArrayLike, high: ArrayLike, colour: str, **look: Any) -> go.Scatter:
    """Return the area between two curves; `look` names it, and may change how it is drawn."""
    look = {"opacity": 0.18, "mode": "lines", "line": {"width": 0}, "hoverinfo": "skip"} | look
    return go.Scatter(
        x=[*np.asarray(x), *np.asarray(x)[::-1]],
        y=[*np.asarray(low), *np.asarray(high)[::-1]],
        fill="toself",
        fillcolor=colour,
        **look,
    )


def curve(
    x: ArrayLike, y: ArrayLike, colour: str, *, name: str, hover: str, **look: Any
) -> go.Scatter:
    """Return a line with a marker at each of its points; its legend entry hides its group."""
    look = {"legendgroup": name} | look
    return go.Scatter(
        x=x,
        y=y,
        mode="lines+markers",
        name=name,
        line={"color": colour, "width": 2},
        marker={"size": 5},
        hovertemplate=f"{hover}<extra>{name}</extra>",
        **look,
    )


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
        width=WIDTH,
    )
    # Otherwise the labels of rows touch the figure.
    figure.update_yaxes(ticklabelstandoff=4)
    # 5 × 10⁻⁸ and 2,000 rather than 50n and 2k.
    figure.update_xaxes(exponentformat="power").update_yaxes(exponentformat="power")
    # A cell without a number, as on a diagonal, says nothing: otherwise it says NaN.
    figure.update_traces(
        colorbar_exponentformat="power", hoverongaps=False, selector={"type": "heatmap"}
    )
    return figure
