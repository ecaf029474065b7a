"""The report of a sweep: what a model knows, what its languages share, and what that does."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from lafn_viz.core.html_parts import Section, paragraph
from lafn_viz.core.messages import counted
from lafn_viz.core.stats import share_interval
from lafn_viz.datasets.fact import fact_name
from lafn_viz.datasets.languages import language_name
from lafn_viz.experiments.compared_sets import OWN_SET, WITHOUT
from lafn_viz.experiments.figures import VALUES, Interval, mean_interval, script_groups
from lafn_viz.experiments.store import Store
from lafn_viz.interventions.effects import Effects
from lafn_viz.interventions.language_lens import ANY, TOP
from lafn_viz.neurons.overlap_result import Overlap
from lafn_viz.plots.effects import effects_by_language
from lafn_viz.plots.known import draw_known
from lafn_viz.plots.language_lens import draw_latent
from lafn_viz.plots.overlaps import layer_distribution, overlap_heatmap
from lafn_viz.reports.edit_report import edit_parts
from lafn_viz.reports.methods import methods_html
from lafn_viz.reports.parts import (
    decimal,
    figure_part,
    lead,
    numbers_table,
    share,
    signed_share,
    with_interval,
    words,
)
from lafn_viz.reports.provenance import call_text, provenance_html

if TYPE_CHECKING:
    import pandas as pd


class SweepResults:
    """What a report says of a store; each part is read when it is asked for."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.options = store.head["options"]
        self.model = str(store.head["model"]["name"])
        self.method = str(self.options["methods"][0]) if self.options["methods"] else ""

    @cached_property
    def sets(self) -> "pd.DataFrame":
        """The table `sets` of the first method."""
        sets = self.store.read("sets")
        return sets[sets["method"] == self.method]

    @cached_property
    def overlap(self) -> Overlap | None:
        """How the languages share the neurons; None if no fact is known in two languages."""
        several = self.sets[self.sets["known"]].groupby("fact_id").size() > 1
        return self.store.overlap(self.method) if several.any() else None

    @cached_property
    def effects(self) -> dict[str, Effects]:
        """What ablation changes, by its way, where it was measured."""
        there = self.store.read("effects", columns=["method", "how"])
        there = there[there["method"] == self.method]
        ways = [how for how in self.options["how"] if (there["how"] == how).any()]
        return {how: self.store.effects(how, method=self.method) for how in ways}

    @property
    def how(self) -> str:
        """The first way of ablation that was measured, the cautious one; "" without any."""
        return next(iter(self.effects), "")

    @cached_property
    def lens(self) -> "pd.DataFrame":
        """The table `lens`."""
        return self.store.read("lens")

    @cached_property
    def names(self) -> dict[str, str]:
        """The subject of each fact, in English where it has such a name."""
        named: dict[str, str] = {}
        for row in self.sets.to_dict("records"):
            if row["fact_id"] not in named or row["language"] == "en":
                named[row["fact_id"]] = row["subject"] or row["fact_id"]
        return named

    def known_table(self) -> "pd.DataFrame":
        """The share known, as `KnownShare.to_frame` gives it."""
        import pandas as pd

        sets = self.sets.assign(share=self.sets["n_known"] / self.sets["n_prompts"])
        rows = []
        for (relation, language), of in sets.groupby(["relation", "language"], sort=False):
            low, high = share_interval(of["share"].to_numpy(dtype=float))
            rows.append(
                {
                    "shots": self.options["shots"], "relation": relation, "language": language,
                    "share": of["share"].mean(), "low": low, "high": high, "n_facts": len(of),
                    "n_prompts": int(of["n_prompts"].sum()),
                }
            )  # fmt: skip
        return pd.DataFrame(rows)

    @cached_property
    def fact_table(self) -> "pd.DataFrame":
        """One row per fact: where it is known, what is shared of it, and what that does."""
        import pandas as pd

        known = self.sets[self.sets["known"]].groupby("fact_id")["language"].agg(list).to_dict()
        first = self.sets.groupby("fact_id")[["relation", "n_agnostic"]].first()
        shared, other = {}, {}
        if self.overlap is not None:
            by_fact = self.overlap.by_fact()
            shared, other = (
                dict(zip(self.overlap.facts, by_fact[name], strict=True))
                for name in ("same fact", "other fact")
            )
        effects = self.effects.get(self.how)
        changes: dict[str, float] = {}
        if effects is not None and WITHOUT in effects.sets:
            own = effects.changes(mean_of=effects.languages)["own fact"]
            changes = dict(zip(effects.facts, own[effects.sets.index(WITHOUT), :, 0], strict=True))
        return pd.DataFrame(
            {
                "fact_id": fact,
                "relation": first["relation"][fact],
                "fact": fact_name(name, first["relation"][fact]),
                "known_in": " ".join(known.get(fact, ())) or "–",
                "agnostic_neurons": int(first["n_agnostic"][fact]),
                "Jaccard": shared.get(fact, np.nan),
                "of_another_fact": other.get(fact, np.nan),
                "change_of_P": changes.get(fact, np.nan),
            }
            for fact, name in self.names.items()
        )

    def effect(self, how: str, name: str, kind: str) -> tuple[str, Interval] | None:
        """The change of P outside Latin script or, without such languages, in it.

        Returns:
            Where it is, and its mean over facts with the 95% interval; None if not measured.
        """
        effects = self.effects.get(how)
        if effects is None or name not in effects.sets:
            return None
        where, codes = script_groups(effects.languages)[0]
        changes = effects.changes(mean_of=codes)[kind][effects.sets.index(name), :, 0]
        return where, mean_interval(changes)


def sweep_report(found: SweepResults) -> tuple[str, str, list[Section]]:
    """The title, the lead and the parts of the report of a sweep."""
    title = f"Where does the model {found.model} keep its facts?"
    if not found.store.head["facts"]["count"]:
        title = f"Edits of the model {found.model}"
    return title, lead(lead_sentences(found)), list(_parts(found))


def lead_sentences(found: SweepResults) -> Iterator[str]:
    """What was found, as a sceptic would say it: the cautious figures, each with its control."""
    if len(found.sets):
        known = found.sets["known"]
        languages = found.sets["language"].nunique()
        yield (
            f"The model {found.model} knows {known.sum():,} of {len(known):,} pairs of fact and "
            f"language ({counted(found.sets['fact_id'].nunique(), 'fact')}, "
            f"{counted(languages, 'language')})."
        )
    if found.overlap is not None:
        yield shared_sentence(found.overlap)
    yield from effect_sentences(found)
    if not found.store.complete:
        yield "The sweep is not finished: this report has the shards that are written."


def shared_sentence(overlap: Overlap) -> str:
    """Whether languages share more of one fact than of two."""
    rows: dict[str, Interval] = {
        row["comparison"]: (row["jaccard"], row["low"], row["high"])
        for row in overlap.summary().to_dict("records")
    }
    same, other, difference = (
        with_interval(*rows[name]) for name in ("same fact", "other fact", "same minus other fact")
    )
    low = rows["same minus other fact"][1]
    n_facts = counted(len(overlap.facts), "fact")
    if not np.isfinite(rows["other fact"][0]):
        return (
            f"Its languages share neurons of a fact with a Jaccard index of {same} ({n_facts}); "
            "no other fact of a relation is there to compare with."
        )
    if np.isfinite(low) and low > 0:
        said = "Its languages share more neurons of one fact than of two different facts"
    else:
        said = (
            "It is not shown that its languages share more neurons of one fact than of two "
            "different facts"
        )
    chance = decimal(rows["chance"][0])
    return (
        f"{said}: the Jaccard index is {same} for the same fact and {other} for another one of "
        f"the relation, a difference of {difference}; chance gives {chance} ({n_facts})."
    )


def effect_sentences(found: SweepResults) -> Iterator[str]:
    """What the shared neurons do, in the first way of ablation that was measured."""
    how = found.how
    own = found.effect(how, WITHOUT, "own fact")
    if own is None:
        return
    where, (value, low, high) = own
    random = found.effect(how, WITHOUT, "random neurons")
    most = found.effect(how, OWN_SET, "own fact")
    beside = []
    if random is not None and np.isfinite(random[1][0]):
        beside.append(f"as many random neurons by {signed_share(random[1][0])}")
    if most is not None:
        beside.append(f"a language's own neurons by {signed_share(most[1][0])}")
    doubt = "" if low > 0 or high < 0 else " The interval holds zero: no effect is shown."
    yield (
        f"Neurons that are agnostic without a language, {VALUES[how]}, change the probability "
        f"of its answers by {with_interval(value, low, high, signed_share)} {where}"
        f"{', ' if beside else ''}{', '.join(beside)}.{doubt}"
    )


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
