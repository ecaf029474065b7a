"""What every figure shares: colours, names of languages, fonts, title and caption."""

from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike

AGNOSTIC, SPECIFIC, CONTROL = "#0072B2", "#D55E00", "#999999"
LANGUAGE_NAMES = {
    "en": "English", "fr": "French", "de": "German", "es": "Spanish", "it": "Italian",
    "pt": "Portuguese", "ru": "Russian", "zh": "Chinese", "ja": "Japanese", "ar": "Arabic",
    "hi": "Hindi", "tr": "Turkish",
}  # fmt: skip
FONT = (
    "Inter, 'Noto Sans', 'Noto Sans CJK SC', 'Noto Sans Arabic', 'Noto Sans Devanagari', sans-serif"
)
LEGEND_ABOVE = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"}
# Written into every exported page: no logo, and no button that uploads the chart.
CONFIG = {"displaylogo": False, "showSendToCloud": False, "responsive": True}


def language_name(code: str) -> str:
    """A language in English, or its code where that is not known."""
    return LANGUAGE_NAMES.get(code, code)


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
    return figure
