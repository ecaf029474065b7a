"""What every figure shares: colours, names of languages, fonts, title and caption."""

import plotly.graph_objects as go

AGNOSTIC, SPECIFIC, CONTROL = "#0072B2", "#D55E00", "#999999"
LANGUAGE_NAMES = {
    "en": "English", "fr": "French", "de": "German", "es": "Spanish", "it": "Italian",
    "pt": "Portuguese", "ru": "Russian", "zh": "Chinese", "ja": "Japanese", "ar": "Arabic",
    "hi": "Hindi", "tr": "Turkish",
}  # fmt: skip
FONT = (
    "Inter, 'Noto Sans', 'Noto Sans CJK SC', 'Noto Sans Arabic', 'Noto Sans Devanagari', sans-serif"
)
# Written into every exported page: no logo, and no button that uploads the chart.
CONFIG = {"displaylogo": False, "showSendToCloud": False, "responsive": True}


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
