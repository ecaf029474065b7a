"""The report of a sweep: what a model knows, what its languages share, and what that does."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lafn_viz.core.html_parts import Section, paragraph
from lafn_viz.core.messages import counted
from lafn_viz.datasets.languages import language_name
from lafn_viz.experiments.compared_sets import OWN_SET, WITHOUT
from lafn_viz.experiments.figures import VALUES, mean_interval, script_groups
from lafn_viz.interventions.language_lens import ANY, TOP
from lafn_viz.neurons.overlap_result import Overlap
from lafn_viz.plots.effects import effects_by_language
from lafn_viz.plots.known import draw_known
from lafn_viz.plots.language_lens import draw_latent
from lafn_viz.plots.overlaps import layer_distribution, overlap_heatmap
from lafn_viz.reports.edit_report import edit_parts
from lafn_viz.reports.methods import methods_html
from lafn_viz.reports.parts import (
    figure_part,
    lead,
    numbers_table,
    share,
    signed_share,
    with_interval,
    words,
)
from lafn_viz.reports.provenance import call_text, provenance_html
from lafn_viz.reports.sweep_lead import lead_sentences
from lafn_viz.reports.sweep_results import SweepResults


def sweep_report(found: SweepResults) -> tuple[str, str, list[Section]]:
    """The title, the lead and the parts of the report of a sweep."""
    title = f"Where does the model {found.model} keep its facts?"
    if not found.store.head["facts"]["count"]:
        title = f"Edits of the model {found.model}"
    return title, lead(lead_sentences(found)), list(_parts(found))


def _parts(found: SweepResults) -> Iterator[Section]:
    if len(found.sets):
        yield _question(found)
        yield _known(found)
        if found.overlap is not None:
            yield _overlap(found, found.overlap)
        if found.effects:
            yield _effects(found)
        if (lens := _lens(found)) is not None:
            yield lens
        yield _facts(found)
    evaluations = {}
    if found.store.head["cases"]["count"]:
        names = found.options["editors"]
        evaluations = {name: found.store.evaluation(name) for name in names}
    yield from edit_parts({name: x for name, x in evaluations.items() if x.answers})
    if len(found.store.failures):
        yield _failures(found)
    yield _methods(found)
    yield _limits(found)
    yield _provenance(found)


def _question(found: SweepResults) -> Section:
    store, options = found.store, found.options
    relations = ", ".join(map(words, store.head["facts"]["relations"]))
    shots = options["shots"]
    asked = f"after {counted(shots, 'example')}" if shots else "without examples"
    return Section(
        "question",
        "The question",
        paragraph(
            "Does a multilingual model keep a fact in neurons that serve all of its languages, or "
            "in neurons of each language? Three things would have to hold: languages share more "
            "neurons of one fact than of two different ones; neurons that were found in other "
            "languages matter in a language that had no say in their choice; and random neurons do "
            "not."
        )
        + paragraph(
            f"Asked were {counted(store.head['facts']['count'], 'fact')} ({relations}) {asked}, in "
            f"{counted(len(store.head['facts']['languages']), 'language')}. Neurons of the "
            f"feed-forward layers are scored by {words(found.method)} at position "
            f"“{options['position']}”; those in the sets of {store.criterion} count as agnostic."
        ),
    )


def _known(found: SweepResults) -> Section:
    frame = found.known_table()
    shown = frame.assign(language=frame["language"].map(language_name)).drop(columns="shots")
    table = numbers_table(
        shown, "Share of facts known, mean over facts with 95% interval", name="known-share",
        formats=dict.fromkeys(("share", "low", "high"), share),
    )  # fmt: skip
    return Section("known", "What it knows", figure_part("known-share", draw_known(frame), table))


def _overlap(found: SweepResults, overlap: Overlap) -> Section:
    pairs = overlap.to_frame()
    for column in ("language", "other_language"):
        pairs[column] = pairs[column].map(language_name)
    layers = overlap.per_layer()
    content = [
        figure_part(
            "shared-by-pair", overlap_heatmap(overlap),
            numbers_table(pairs, "Mean Jaccard index of each pair of languages",
                          name="shared-by-pair"),
        ),
        figure_part(
            "shared-by-layer", layer_distribution(overlap),
            numbers_table(layers, "Agnostic and specific neurons a fact, by layer",
                          name="shared-by-layer"),
        ),
    ]  # fmt: skip
    methods = found.options["methods"]
    if len(methods) > 1:
        content.append(_by_method(found, methods))
    return Section("shared", "What its languages share", "".join(content))


def _by_method(found: SweepResults, methods: Sequence[str]) -> str:
    import pandas as pd

    rows = []
    for method in methods:
        summary = found.store.overlap(method).summary().to_dict("records")
        shown = {x["comparison"]: with_interval(x["jaccard"], x["low"], x["high"]) for x in summary}
        rows.append({"method": words(method), **shown})
    return numbers_table(pd.DataFrame(rows), "Jaccard index by method of attribution")


def _effects(found: SweepResults) -> Section:
    content = [
        paragraph(
            "The first line of each table is the cautious one: neurons that were found without the "
            "language, in languages outside Latin script, which share no spelling with most others."
        )
    ]
    for how, effects in found.effects.items():
        sets = [name for name in effects.sets if name in (WITHOUT, OWN_SET, "agnostic")]
        content.append(_effect_table(found, how, sets))
        by_language = effects.summary(by_language=True).reset_index()
        by_language["language"] = by_language["language"].map(language_name)
        table = numbers_table(
            by_language, "Change of P(correct) and of log P (nats), by set and language",
            name=f"effect-{how}",
            formats=dict.fromkeys(("p", "p_low", "p_high"), signed_share),
        )  # fmt: skip
        content.append(figure_part(f"effect-{how}", effects_by_language(effects, of="p"), table))
    return Section("effects", "What the neurons do", "".join(content))


def _effect_table(found: SweepResults, how: str, sets: Sequence[str]) -> str:
    import pandas as pd

    effects = found.effects[how]
    rows: list[dict[str, Any]] = []
    for where, codes in script_groups(effects.languages):
        changes = effects.changes(mean_of=codes)
        for name in sets:
            number = effects.sets.index(name)
            of_set = {kind: values[number, :, 0] for kind, values in changes.items()}
            written = {
                kind: with_interval(*mean_interval(values), signed_share)
                for kind, values in of_set.items()
            }
            n_facts = int(np.isfinite(of_set["own fact"]).sum())
            rows.append({"languages": where, "neurons": name, **written, "facts": n_facts})
    return numbers_table(
        pd.DataFrame(rows),
        f"Change of P(correct), neurons {VALUES[how]}: of the fact itself, with as many random "
        "neurons, and of another fact",
    )


def _lens(found: SweepResults) -> Section | None:
    lens = found.lens
    if lens.empty:
        return None
    keys = ["language", "layer", "name"]
    means = lens.groupby(keys, sort=False)[["share", "control"]].mean()
    counts = lens.groupby(keys, sort=False)["n_prompts"].sum()
    frame = means.join(counts).reset_index()
    n_facts = lens["fact_id"].nunique()
    order = {code: place for place, code in enumerate(found.store.head["facts"]["languages"])}
    frame = frame.sort_values("language", key=lambda codes: codes.map(order), kind="stable")
    named = [code for code in order if (frame["name"] == code).any()]
    figure = draw_latent(
        frame, named, within=f"among the {TOP} likeliest tokens",
        ends=f"Mean of {counted(n_facts, 'fact')}; prompts whose names<br>are not told apart are "
        f"left out. Model: {found.model}.",
    )  # fmt: skip
    shown = frame.assign(
        language=frame["language"].map(language_name),
        name=frame["name"].map(lambda x: "any" if x == ANY else language_name(x)),
    )
    shown = shown[(shown["share"] > 0) | (shown["control"] > 0)]
    table = numbers_table(
        shown, "Share of prompts that each language leads; rows without any are left out",
        name="latent-language", formats=dict.fromkeys(("share", "control"), share),
    )  # fmt: skip
    return Section(
        "lens", "In which language it names the answer",
        figure_part("latent-language", figure, table),
    )  # fmt: skip


def _facts(found: SweepResults) -> Section:
    how = found.how or "mean"
    by_fact = found.fact_table.drop(columns=["fact_id", "relation"])
    table = numbers_table(
        by_fact.sort_values("Jaccard", ascending=False, na_position="last"),
        "Each fact: languages that know it, agnostic neurons, mean Jaccard index beside that of "
        f"other facts, and the change of P(correct) with neurons found without the language "
        f"{VALUES[how]}",
        formats={"change_of_P": signed_share},
    )
    return Section("facts", "Fact by fact", table)


def _failures(found: SweepResults) -> Section:
    failures = found.store.failures.drop(columns="model")
    said = paragraph("These stages failed; what does not depend on them is in the report.")
    return Section("failures", "What failed", said + numbers_table(failures, "Stages that failed"))


def _methods(found: SweepResults) -> Section:
    names = []
    if len(found.sets):
        names += ["known", *found.options["methods"], "agnostic"]
        names += ["effects"] * bool(found.effects)
        names += ["lens"] * (not found.lens.empty)
    if found.store.head["cases"]["count"]:
        names += ["edits", *found.options["editors"]]
    return Section("methods", "Methods", methods_html([*names, "intervals"]))


def _limits(found: SweepResults) -> Section:
    said = [
        "Neurons are those of the feed-forward layers. What attention does is not looked at.",
        "Intervals say what other facts of the same relations would give, in the same languages, "
        "wordings and model; they say nothing of other models.",
    ]
    if found.overlap is not None:
        said.append(
            "Languages of one script spell many names alike, and what they share may be the "
            "spelling. Figures across scripts are the stricter ones."
        )
    n_facts = found.store.head["facts"]["count"]
    if 0 < n_facts < 20:
        said.append(f"{counted(n_facts, 'fact')}: few, so intervals are wide and may be too short.")
    if not found.effects and n_facts:
        said.append("No neurons were changed, so nothing here shows that they matter.")
    items = "".join(f"<li>{x}</li>" for x in said)
    return Section("limits", "Limits", f"<ul>{items}</ul>")


def _provenance(found: SweepResults) -> Section:
    store, options = found.store, found.options
    facts = store.head["facts"]
    lines = ["import lafn_viz as lv", ""]
    if facts["count"]:
        lines.append(
            f"facts = lv.load_facts().filter(relation={facts['relations']!r}, "
            f"languages={facts['languages']!r})"
        )
    kept = {
        name: value for name, value in options.items()
        if name not in ("editors", "editor_options", "position", "target")
    }  # fmt: skip
    named = {"position": options["position"], "target": options["target"], **kept}
    call = call_text("lv.sweep", named)
    first = f"    {found.model!r}, {'facts' if facts['count'] else 'None'}, 'results',\n"
    lines.append("store = " + call.replace("(\n", "(\n" + first, 1))
    lines.append('lv.report(store, "report.html")')
    note = (
        f"The facts of this report are {facts['count']} with the checksum "
        f"{facts['checksum'][:16]}. If they are a sample, or come from files of your own, take the "
        "same ones: a folder refuses others. Editors are made as `lv.baselines` has them."
    )
    return Section(
        "provenance", "Where this comes from",
        provenance_html(store.provenance, "\n".join(lines), note),
    )  # fmt: skip
