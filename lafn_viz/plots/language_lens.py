"""Figures of the language lens: which language leads in which layer, and what a layer writes."""

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Bool
from plotly.subplots import make_subplots

from lafn_viz.core.arguments import a_text, or_none, takes, whole
from lafn_viz.core.options import require_one_of
from lafn_viz.datasets.languages import language_name
from lafn_viz.interventions.language_lens import ANY, TOP, LanguageLens
from lafn_viz.plots.drawn import draws
from lafn_viz.plots.style import (
    AGNOSTIC,
    LEGEND_ABOVE,
    SHARES,
    SPECIFIC,
    asked_of,
    band,
    curve,
    isolated,
    of_model,
    styled,
    visible,
)

if TYPE_CHECKING:
    import pandas as pd

ROW = 17  # pixels


@draws(LanguageLens)
@takes(top=or_none(whole(1)))
def latent_languages(lens: LanguageLens, *, top: int | None = TOP) -> go.Figure:
    """Draw the share of prompts that each language leads in each layer, a panel a language.

    The prompts' own language is bold. The last row is the control: the share of other facts whose
    name leads, in any language; the control of each language is in the text of its cell.

    Args:
        top: a name leads among so many likeliest tokens; None lets any rank lead.
    """
    table = lens.by_language(top=top)
    within = "of all ranks" if top is None else f"among the {top} likeliest tokens"
    left_out = int((~lens.told_apart).sum())
    return draw_latent(
        table[table["n_prompts"] > 0], lens.languages, within=within,
        ends=f"{left_out} of {len(lens.prompts)} prompts left out:<br>their own name begins like "
        f"that of another language.{of_model(lens.provenance)}",
    )  # fmt: skip


def draw_latent(
    table: "pd.DataFrame", languages: Sequence[str], *, within: str, ends: str
) -> go.Figure:
    """Draw the table of `LanguageLens.by_language`, of the languages that have prompts.

    Args:
        languages: those whose names are read, in order.
        within: what the least rank has to be, to lead.
        ends: the end of the caption.
    """
    n_layers = int(table["layer"].max())
    spoken = list(dict.fromkeys(table["language"]))
    counts = table.groupby("language")["n_prompts"].first()
    figure, n_rows, places = _panels(
        [f"asked in {language_name(x)} (n = {counts[x]})" for x in spoken],
        abreast=2,
        gap=0.27,
        horizontal_spacing=0.17,
    )
    for place, language in zip(places, spoken, strict=True):
        cells = table[table["language"] == language].set_index(["name", "layer"])
        share, control = (
            cells[of].unstack().reindex([*languages, ANY]).to_numpy(dtype=float)
            for of in ("share", "control")
        )
        named = [_marked(name, name == language) for name in languages]
        figure.add_trace(
            go.Heatmap(
                z=np.concatenate([share[:-1], control[-1:]]),
                x=list(range(n_layers + 1)),
                y=[*named, "<i>other facts</i>"],
                customdata=np.concatenate([control[:-1], control[-1:]]),
                coloraxis="coloraxis",
                xgap=1,
                ygap=1,
                hovertemplate="layer %{x}, %{y}: leads %{z:.0%} of prompts; other facts "
                "%{customdata:.0%}<extra></extra>",
            ),
            **place,
        )
    figure.update_yaxes(autorange="reversed", showgrid=False, tickfont_size=11)
    figure.update_xaxes(
        showgrid=False, zeroline=False, tickfont_size=10, dtick=max(1, n_layers // 9)
    )
    figure.update_xaxes(title_text="layer (0: embedding)", title_font_size=11, row=n_rows)
    figure.update_layout(
        coloraxis={
            **_SHARES,
            "colorbar": {
                "title": {"text": "share led"},
                "tickformat": ".0%",
                "lenmode": "pixels",
                "len": 260,
                "y": 1,
                "yanchor": "top",
            },
        }
    )
    figure = styled(
        figure,
        title="In which language does each layer name the answer?",
        caption=f"Share of prompts in which a language's name has the least rank and is {within}. "
        "Bold: the prompt's own language.<br>Names that begin alike lead together. "
        f"Last row, the control: other facts' names, in any language. {ends}",
        height=170 + n_rows * (85 + ROW * (len(languages) + 1)),
    )
    return figure.update_layout(margin={"l": 90, "t": 140})


_SHARES = {"cmin": SHARES["zmin"], "cmax": SHARES["zmax"], "colorscale": SHARES["colorscale"]}


def _panels(
    titles: Sequence[str], *, abreast: int, gap: float, **options: Any
) -> tuple[go.Figure, int, list[dict[str, int]]]:
    """Panels side by side, `abreast` at most, and below: the figure, its rows, and each place.

    Rows are `gap`, as a share of the height, apart in all.
    """
    n_columns = min(abreast, len(titles))
    n_rows = -(-len(titles) // n_columns)
    figure = make_subplots(
        rows=n_rows, cols=n_columns, subplot_titles=titles, vertical_spacing=gap / n_rows, **options
    )
    places = [
        {"row": number // n_columns + 1, "col": number % n_columns + 1}
        for number in range(len(titles))
    ]
    return figure, n_rows, places


def _marked(language: str, is_own: bool) -> str:
    name = language_name(language)
    return f"<b>{name}</b>" if is_own else name


@draws(LanguageLens)
@takes(pivot=a_text)
def language_ranks(lens: LanguageLens, *, pivot: str = "en") -> go.Figure:
    """Draw the ranks of the name in one language and in the prompt's own, layer by layer.

    Lines are medians over prompts; the bands, of the same colours, hold 80% of other facts' names
    in the same two languages. The axis is logarithmic, the likeliest token at the top.

    Args:
        pivot: the language that is compared with the prompts' own.
    """
    (pivot,) = require_one_of("pivot", pivot, lens.languages)
    number = lens.languages.index(pivot)
    counted = lens.told_apart & (lens.own != number) & (lens.token[:, number] >= 0)
    spoken = [x for x in lens.languages if any(counted & (lens.own == lens.languages.index(x)))]
    if not spoken:
        raise ValueError(
            f"no prompt has a name of its own beside that in {pivot!r}; give another pivot"
        )
    figure, n_rows, places = _panels(
        [f"asked in {language_name(x)}" for x in spoken],
        abreast=3,
        gap=0.25,
        horizontal_spacing=0.03,
        shared_xaxes=True,
        shared_yaxes=True,
    )
    for place, language in zip(places, spoken, strict=True):
        own = lens.languages.index(language)
        prompts = counted & (lens.own == own)
        for of, name, colour in (
            (number, f"the {language_name(pivot)} name", AGNOSTIC),
            (own, "the own name", SPECIFIC),
        ):
            for trace in _curve(lens, prompts, of, name, colour):
                trace.update(showlegend=place is places[0])
                figure.add_trace(trace, **place)
    figure.update_yaxes(
        type="log", autorange="reversed", dtick=1, exponentformat="power", tickfont_size=11
    )
    figure.update_yaxes(title_text="rank + 1", col=1)
    figure.update_xaxes(dtick=max(1, lens.n_layers // 6), showticklabels=True, tickfont_size=11)
    figure.update_xaxes(title_text="layer (0: embedding)", title_font_size=11, row=n_rows)
    figure = styled(
        figure,
        title=f"When does the {language_name(pivot)} name come, and when the own one?",
        caption=f"Rank of the name's first token, median over prompts ({int(counted.sum())} in "
        "all, whose two names begin differently).<br>Bands: 80% of other facts' names in the same "
        "language and prompts. A line inside its band says nothing of the fact."
        + of_model(lens.provenance),
        height=190 + 210 * n_rows,
    )
    return figure.update_layout(legend=LEGEND_ABOVE | {"y": 1 + 0.12 / n_rows}, margin={"t": 150})


def _curve(
    lens: LanguageLens, prompts: Bool[np.ndarray, " prompt"], of: int, name: str, colour: str
) -> Sequence[go.Scatter]:
    """The band of other facts' names in a language, and the line of the fact's."""
    layers = list(range(lens.n_layers + 1))
    control = lens.control_rank[prompts][..., of].transpose(1, 0, 2).reshape(len(layers), -1) + 1
    median = np.nanmedian(lens.rank[prompts][..., of] + 1, 0)
    found: list[go.Scatter] = []
    if np.isfinite(control).any(1).all():
        low, high = np.nanquantile(control, (0.1, 0.9), axis=1)
        of_band = f"{name}, other facts"
        found.append(band(layers, low, high, colour, name=of_band, legendgroup=of_band))
    hover = "layer %{x}: rank %{y:,.0f} of 1, 2, …"
    return [*found, curve(layers, median, colour, name=name, hover=hover)]


@draws(LanguageLens)
@takes(prompt=whole(0))
def lens_strip(lens: LanguageLens, *, prompt: int = 0) -> go.Figure:
    """Draw what each layer would write after one prompt, and the ranks of the answer's names.

    Args:
        prompt: its number in `lens.prompts`.
    """
    if prompt >= len(lens.prompts):
        raise ValueError(
            f"prompt={prompt}, but the lens has {len(lens.prompts)} prompts; give one from 0 to "
            f"{len(lens.prompts) - 1}"
        )
    asked, layers = lens.prompts[prompt], list(range(lens.n_layers + 1))
    names = lens.names[asked.fact_id]
    shown = [i for i, code in enumerate(lens.languages) if lens.token[prompt, i] >= 0]
    # Of many languages only the codes fit side by side.
    label = language_name if len(shown) <= 8 else str
    heads = [
        f"{isolated(_named(names[lens.languages[i]]))}<br>{label(lens.languages[i])}" for i in shown
    ]
    own = lens.own[prompt]
    _, median, _ = lens.control_ranks()
    columns = [lens.rank[prompt][:, i] for i in shown]
    if own >= 0:
        other = "other facts" if len(shown) <= 8 else "others"
        heads.append(f"<i>{other}</i><br>{label(asked.language)}")
        columns.append(median[prompt, :, own])
    rank = np.stack(columns, 1) + 1
    figure = make_subplots(
        cols=2, column_widths=[0.22, 0.78], horizontal_spacing=0.02, shared_yaxes=True
    )
    written = [[isolated(_named(visible(text)))] for text in lens.written[prompt]]
    figure.add_trace(
        go.Heatmap(
            z=lens.written_prob[prompt][:, None],
            x=["writes"],
            y=layers,
            text=written,
            texttemplate="%{text}",
            **SHARES,
            xgap=2,
            ygap=2,
            showscale=False,
            hovertemplate="layer %{y} writes %{text} with P = %{z:.2f}<extra></extra>",
        ),
        col=1,
        row=1,
    )
    figure.add_trace(
        go.Heatmap(
            z=np.log10(rank),
            x=heads,
            y=layers,
            text=[["" if np.isnan(x) else f"{x:,.0f}" for x in row] for row in rank],
            texttemplate="%{text}",
            colorscale="Oranges_r",
            zmin=0,
            zmax=4,
            xgap=2,
            ygap=2,
            showscale=False,
            hovertemplate="layer %{y}, %{x}: rank %{text}<extra></extra>",
        ),
        col=2,
        row=1,
    )
    figure.update_yaxes(dtick=1, showgrid=False, zeroline=False, autorange="reversed")
    figure.update_yaxes(title_text="layer (0: embedding)", col=1)
    figure.update_xaxes(side="top", showgrid=False, tickangle=0)
    figure = styled(
        figure,
        title=f"What each layer would write: {asked_of(asked)}",
        caption=f"After “{html.escape(asked.text, quote=False)}” ({language_name(asked.language)}):"
        " the likeliest token of each layer (darker: more probable),<br>and the rank (1: likeliest)"
        " of the first token of the answer's name in each language; median of other facts' names."
        + of_model(lens.provenance),
        height=230 + 24 * len(layers),
    )
    return figure.update_layout(margin={"l": 70, "t": 150})


def _named(name: str, longest: int = 16) -> str:
    """A name or a token that fits its cell."""
    return name if len(name) <= longest else name[: longest - 1] + "…"
