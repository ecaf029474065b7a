"""Figure of failed prompts: why they fail, language by language, beside other objects."""

import plotly.graph_objects as go

from lafn_viz.datasets.languages import language_name
from lafn_viz.interventions.failures import KINDS, Failures, Kind
from lafn_viz.plots.drawn import draws
from lafn_viz.plots.style import AGNOSTIC, CONTROL, LEGEND_ABOVE, SPECIFIC, styled

COLOURS: dict[Kind, str] = {
    "unknown": CONTROL,
    "lost on the way out": AGNOSTIC,
    "other answer": SPECIFIC,
    "form": "#F0E442",
}
ROW = 34  # pixels


@draws(Failures)
def failure_kinds(failures: Failures) -> go.Figure:
    """Draw the share of each kind of failure, a bar for each language and one for all.

    The last bar is the control: what other objects would be, sorted as if they were the answer.
    """
    table, counts = failures.summary(), failures.by_language()
    totals = counts.sum(axis=1)
    names = [
        f"{language_name(str(code))} ({total})"
        for code, total in zip(counts.index, totals, strict=True)
    ]
    names += [f"<b>all ({len(failures.prompts)})</b>", "<i>other facts' objects</i>"]
    figure = go.Figure()
    for kind in KINDS:
        of_language = counts[kind].tolist()
        shares = (counts[kind] / totals).tolist()
        all_and_control = [table[of].to_dict()[kind] for of in ("share", "control")]
        texts = [str(count) if count else "" for count in of_language]
        texts += [f"{value:.0%}" if value >= 0.03 else "" for value in all_and_control]
        figure.add_trace(
            go.Bar(
                x=[*shares, *all_and_control],
                y=names,
                orientation="h",
                name=kind,
                marker_color=COLOURS[kind],
                text=texts,
                textposition="inside",
                insidetextanchor="middle",
                textangle=0,
                hovertemplate="%{y}: %{x:.0%} " + kind + "<extra></extra>",
            )
        )
    figure.update_layout(
        barmode="stack", bargap=0.25, legend=LEGEND_ABOVE | {"traceorder": "normal"}
    )
    figure.update_yaxes(autorange="reversed", showgrid=False)
    figure.update_xaxes(tickformat=".0%", range=[0, 1], title_text="share of failed prompts")
    lost = table.loc["lost on the way out"]
    figure = styled(
        figure,
        title="Why are answers wrong?",
        caption=f"{len(failures.prompts)} failed prompts of "
        f"{len(failures.prompts) + failures.n_answered} (numbers: prompts). Lost on the way out, "
        f"named in another language alone: {lost['share']:.0%} [{lost['low']:.0%}, "
        f"{lost['high']:.0%}];<br>other facts' objects, sorted alike: {lost['control']:.0%}. 95% "
        f"interval over facts. Left out: {failures.n_left_out} prompts whose own name begins like "
        "another one.",
        height=230 + ROW * len(names),
    )
    return figure.update_layout(margin={"l": 150, "t": 140})
