"""The pages of an atlas. All but those of the studies need no script."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from lafn_viz.core.html_parts import Cell, Section, count, paragraph, row, table, text
from lafn_viz.core.messages import counted
from lafn_viz.core.stats import bootstrap
from lafn_viz.datasets.fact import fact_name
from lafn_viz.datasets.languages import language_name
from lafn_viz.experiments.compared_sets import WITHOUT
from lafn_viz.experiments.figures import VALUES
from lafn_viz.neurons.neuron_sets import Neuron
from lafn_viz.plots.style import visible
from lafn_viz.reports.addresses import slug
from lafn_viz.reports.atlas_data import FactInLanguage, HeldNeuron, Study
from lafn_viz.reports.parts import decimal, signed_share, with_interval, words

if TYPE_CHECKING:
    import pandas as pd

Linked = Callable[[str, str], str]  # from an address in the site and a text to a link
Paged = Mapping[str, frozenset[Neuron]]  # by study, the neurons that have a page


def fact_address(fact: str) -> str:
    """Where the page of a fact is, within the site."""
    return f"fact/{slug(fact)}.html"


def neuron_address(study: Study, neuron: Neuron) -> str:
    """Where the page of a neuron is."""
    return f"neuron/{study.name}/{neuron.layer}-{neuron.neuron}.html"


def relation_address(relation: str) -> str:
    """Where the page of a relation is."""
    return f"relation/{slug(relation)}.html"


def pair_address(one: str, other: str) -> str:
    """Where the page of two languages is; their order does not matter."""
    return f"pair/{'_'.join(sorted((slug(one), slug(other))))}.html"


def study_address(study: Study) -> str:
    """Where the report of a study is."""
    return f"study/{study.name}.html"


def name_of(studies: Sequence[Study], fact: str) -> str:
    """A fact in words: its subject and relation."""
    for study in studies:
        if fact in study.relations:
            return fact_name(study.results.names[fact], study.relations[fact])
    return fact


def index_parts(studies: Sequence[Study], link: Linked) -> list[Section]:
    """The first page: what there is, models side by side, and where to go on."""
    rows = []
    for study in studies:
        found = study.results
        known = found.sets["known"]
        cells: list[Cell | str] = [
            Cell("", markup=link(study_address(study), "all results")),
            counted(len(study.facts), "fact"), count(int(known.sum()), len(known), plain=True),
            *_jaccard_cells(study), _effect_cell(study),
        ]  # fmt: skip
        rows.append(row(study.label, *cells))
    head = ("Model", "Report", "Facts", "Known", "Jaccard, same fact", "Other fact (control)",
            "Chance", "Change of P")  # fmt: skip
    note = paragraph(
        "Means over facts with 95% intervals. The last column is the change of the answers' "
        "probability in languages outside Latin script (or in all, where there are none), with "
        "neurons that were found without the language."
    )
    relations = Counter(relation for study in studies for relation in study.relations.values())
    by_relation = "".join(
        f"<li>{link(relation_address(name), words(name))}</li>" for name in relations
    )
    facts = all_facts(studies)
    by_name = sorted(facts, key=lambda fact: name_of(studies, fact).casefold())
    listed = "".join(
        f"<li>{link(fact_address(fact), name_of(studies, fact))}</li>" for fact in by_name
    )
    languages = all_languages(studies)
    pairs = "".join(
        f"<li>{link(pair_address(one, other), f'{language_name(one)} and {language_name(other)}')}"
        "</li>"
        for number, one in enumerate(languages)
        for other in languages[number + 1 :]
    )
    return [
        Section("search", "Search", SEARCH),
        Section("models", "Models side by side", table(head, rows, "What each study found") + note),
        Section("relations", "Relations", f'<ul class="columns">{by_relation}</ul>'),
        Section("pairs", "Pairs of languages", f'<ul class="columns">{pairs}</ul>'),
        Section("facts", "Facts", f'<ul class="columns">{listed}</ul>'),
    ]


SEARCH = (
    '<p><label for="query">A name of a subject or an answer in any language, a relation, or a '
    'neuron such as 3:120</label></p><p><input id="query" type="search" autocomplete="off" '
    'dir="auto"></p><p id="found" role="status"></p><ul id="hits" class="columns"></ul>'
    "<noscript><p>The search needs scripts; everything is listed below.</p></noscript>"
)


def all_facts(studies: Sequence[Study]) -> list[str]:
    """The facts of all studies, each once."""
    return list(dict.fromkeys(fact for study in studies for fact in study.facts))


def all_languages(studies: Sequence[Study]) -> list[str]:
    """The languages of all studies, each once."""
    return list(
        dict.fromkeys(code for study in studies for x in study.facts.values() for code in x)
    )


def _jaccard_cells(study: Study) -> list[Cell | str]:
    overlap = study.results.overlap
    if overlap is None:
        return ["–", "–", "–"]
    rows = {row["comparison"]: row for row in overlap.summary().to_dict("records")}
    return [
        with_interval(rows[name]["jaccard"], rows[name]["low"], rows[name]["high"])
        for name in ("same fact", "other fact", "chance")
    ]


def _effect_cell(study: Study) -> str:
    found = study.results.effect(study.results.how, WITHOUT, "own fact")
    if found is None:
        return "–"
    _, interval = found
    return f"{with_interval(*interval, signed_share)} {VALUES[study.results.how]}"


def fact_parts(studies: Sequence[Study], fact: str, link: Linked, paged: Paged) -> list[Section]:
    """The page of a fact: its names, and what each model does with it."""
    parts = []
    for study in studies:
        if fact in study.facts:
            content = [
                _fact_lead(study, fact), _fact_languages(study, fact, link),
                _fact_sharing(study, fact, link), _fact_lens(study, fact),
                _fact_neurons(study, fact, link, paged),
            ]  # fmt: skip
            parts.append(Section(study.name, study.label, "".join(content)))
    return parts


def _fact_lead(study: Study, fact: str) -> str:
    by_language = study.facts[fact]
    known = [code for code, x in by_language.items() if x.known]
    n_agnostic = next(iter(by_language.values())).n_agnostic
    said = f"Known in {len(known)} of {counted(len(by_language), 'language')}."
    if len(known) > 1:
        said += f" {counted(n_agnostic, 'neuron')} in the sets of {study.store.criterion}."
    pairs = study.pairs_of.get(fact)
    if pairs is not None:
        same, other = pairs["jaccard"].mean(), pairs["other_fact"].mean()
        said += (
            f" Pairs of languages share neurons with a mean Jaccard index of {decimal(same)}, "
            f"and with other facts of the relation {decimal(other)}."
        )
    return paragraph(said + " One fact has no interval.")


def _fact_languages(study: Study, fact: str, link: Linked) -> str:
    rows = []
    for code, held in study.facts[fact].items():
        change = study.changes.get((fact, code), np.nan)
        rows.append(
            row(
                language_name(code), Cell(held.subject, code), Cell(held.object, code),
                count(held.n_known, held.n_prompts), f"{held.n_neurons:,}", f"{held.n_specific:,}",
                signed_share(change),
            )
        )  # fmt: skip
    head = ("Language", "Subject", "Answer", "Prompts known", "Neurons", "Of them in it alone",
            "Change of P")  # fmt: skip
    caption = "The fact in each language"
    if study.results.how:
        caption += (
            "; the last column is the change of P(correct) with the neurons found without the "
            f"language {VALUES[study.results.how]}"
        )
    return table(head, rows, caption, kind="numbers")


def _fact_sharing(study: Study, fact: str, link: Linked) -> str:
    pairs = study.pairs_of.get(fact)
    if pairs is None:
        return ""
    return _pair_tables(
        pairs[pairs["jaccard"].notna()], "Jaccard index of the fact's neurons in two languages",
        "Control: the fact's neurons in one language, other facts' in the other", link,
    )  # fmt: skip


def _pair_tables(pairs: "pd.DataFrame", said: str, control: str, link: Linked) -> str:
    """What each two languages share, and the control beside it."""
    keys = ["language", "other_language"]
    codes = list(dict.fromkeys(pairs["language"]))
    tables = []
    for column, caption in (("jaccard", said), ("other_fact", control)):
        means = pairs.groupby(keys)[column].mean().unstack().reindex(index=codes, columns=codes)
        tables.append(heat_table(codes, means.to_numpy(dtype=float), caption, link))
    return "".join(tables)


def heat_table(codes: Sequence[str], values: np.ndarray, caption: str, link: Linked) -> str:
    """A table of pairs of languages whose cells are coloured by their numbers, from 0 to 1."""
    rows = []
    for number, code in enumerate(codes):
        cells = []
        for other, value in zip(codes, values[number], strict=True):
            if not np.isfinite(value):
                cells.append(Cell(""))
                continue
            shown = link(pair_address(code, other), decimal(value, 2))
            cells.append(Cell("", share=float(value), tone="heat", markup=shown))
        rows.append(row(language_name(code), *cells))
    return table(("Language", *codes), rows, caption, kind="heat")


def _fact_lens(study: Study, fact: str) -> str:
    """The language that leads in each layer, by the language of the prompt."""
    lens = study.lens.get(fact)
    if lens is None or lens.empty:
        return ""
    layers = sorted(lens["layer"].unique())
    rows = []
    for code in dict.fromkeys(lens["language"]):
        of_language = lens[lens["language"] == code]
        cells = []
        for layer in layers:
            here = of_language[of_language["layer"] == layer]
            most = here["share"].max()
            if not most > 0:
                cells.append(Cell("·"))
                continue
            leaders = list(here[here["share"] == most]["name"])
            shown = "/".join(leaders[:2]) + ("…" if len(leaders) > 2 else "")
            cells.append(
                Cell(shown, share=float(most), tone="good" if code in leaders else "plain")
            )
        rows.append(row(language_name(code), *cells))
    return table(
        ("Asked in", *map(str, layers)), rows,
        "The language whose name for the answer leads after each layer (0: the embedding), in most "
        "prompts of a language; the bar is their share, green where it is the prompt's own",
    )  # fmt: skip


def _fact_neurons(study: Study, fact: str, link: Linked, paged: Paged) -> str:
    neurons = study.agnostic.get(fact, [])
    if not neurons:
        return ""
    layers = Counter(neuron.layer for neuron in neurons)
    most = max(layers.values())
    bars = [
        row(str(layer), Cell(str(n), share=n / most, tone="plain"))
        for layer, n in sorted(layers.items())
    ]
    listed = ", ".join(
        link(neuron_address(study, neuron), f"{neuron.layer}:{neuron.neuron}")
        if neuron in paged[study.name]
        else f"{neuron.layer}:{neuron.neuron}"
        for neuron in neurons
    )
    return table(("Layer", "Agnostic neurons"), bars, "Where the fact's agnostic neurons are") + (
        f"<details><summary>The neurons (layer:neuron)</summary><p>{listed}</p></details>"
    )


def neuron_parts(
    studies: Sequence[Study], study: Study, held: HeldNeuron, link: Linked
) -> list[Section]:
    """The page of a neuron: the facts that hold it, and the tokens that it promotes."""
    relations = Counter(study.relations.values())
    of_relation = Counter(study.relations[fact] for fact in held.languages)
    said = "; ".join(
        f"{n} of {counted(relations[name], 'fact')} of {words(name)}"
        for name, n in of_relation.most_common()
    )
    common = any(n * 2 > relations[name] and relations[name] > 3 for name, n in of_relation.items())
    doubt = (
        " It serves most facts of a relation, so it belongs to the relation rather than to a fact."
        if common
        else ""
    )
    rows = [
        row(
            Cell("", markup=link(fact_address(fact), name_of(studies, fact))),
            f"{len(codes)}", ", ".join(map(language_name, codes)),
        )
        for fact, codes in sorted(held.languages.items(), key=lambda x: -len(x[1]))
    ]  # fmt: skip
    by_language = Counter(code for codes in held.languages.values() for code in codes)
    n_facts = len(held.languages)
    languages = [
        row(language_name(code), count(n, n_facts, plain=True))
        for code, n in by_language.most_common()
    ]
    parts = [
        Section("facts", "Facts", paragraph(f"Agnostic for {said}.{doubt}") + table(
            ("Fact", "Languages", "Which"), rows, "The facts for which it is agnostic")),
        Section("languages", "Languages", table(
            ("Language", "Facts"), languages, "In how many of these facts a language holds it")),
    ]  # fmt: skip
    if tokens := study.tokens.get(held.neuron):
        parts.append(_tokens(tokens))
    return parts


def _token(written: str) -> str:
    return f'<code><bdi dir="auto">{visible(written)}</bdi></code>'


def _tokens(tokens: tuple[tuple[str, ...], tuple[str, ...]]) -> Section:
    rows = [
        row(name, Cell("", markup=" ".join(map(_token, of))))
        for name, of in zip(("promotes", "demotes"), tokens, strict=True)
    ]
    note = paragraph(
        "What one unit of its activation adds to the logits through the residual stream alone, "
        "strongest first; what later layers do with it is left out."
    )
    return Section("tokens", "Tokens", table(("It", "Tokens"), rows, "Tokens") + note)


def relation_parts(studies: Sequence[Study], relation: str, link: Linked) -> list[Section]:
    """The page of a relation: its facts in each model, and how languages share them."""
    parts = []
    for study in studies:
        frame, names = study.results.fact_table, study.results.names
        frame = frame[frame["relation"] == relation].sort_values("Jaccard", ascending=False)
        if frame.empty:
            continue
        rows = [
            row(
                Cell("", markup=link(fact_address(x["fact_id"]), names[x["fact_id"]])),
                x["known_in"], f"{x['agnostic_neurons']:,}", decimal(x["Jaccard"]),
                decimal(x["of_another_fact"]), signed_share(x["change_of_P"]),
            )
            for x in frame.to_dict("records")
        ]  # fmt: skip
        head = ("Subject", "Known in", "Agnostic", "Jaccard", "Other fact (control)",
                "Change of P")  # fmt: skip
        content = table(head, rows, f"Facts of {words(relation)} in {study.label}", kind="numbers")
        pairs = study.pairs[study.pairs["relation"] == relation]
        if len(pairs):
            content += _pair_tables(
                pairs, "Mean Jaccard index, same fact", "Control: other facts of the relation", link
            )
        parts.append(Section(study.name, study.label, content))
    return parts


def pair_parts(studies: Sequence[Study], one: str, other: str, link: Linked) -> list[Section]:
    """The page of two languages: what they share in each model, fact by fact."""
    rows, parts = [], []
    for study in studies:
        pairs = study.pairs
        pairs = pairs[(pairs["language"] == one) & (pairs["other_language"] == other)]
        if pairs.empty:
            continue
        cells = []
        for column in ("jaccard", "other_fact", "chance"):
            values = pairs[column].to_numpy(dtype=float)
            values = values[np.isfinite(values)]
            ends = bootstrap(values) if column == "jaccard" else (np.nan, np.nan)
            cells.append(with_interval(float(values.mean()) if len(values) else np.nan, *ends))
        rows.append(row(study.label, counted(len(pairs), "fact"), *cells))
        of_facts = [
            row(
                Cell("", markup=link(fact_address(x["fact_id"]),
                                         name_of(studies, x["fact_id"]))),
                Cell(decimal(x["jaccard"]), share=x["jaccard"], tone="plain"),
                decimal(x["other_fact"]),
            )
            for x in pairs.sort_values("jaccard", ascending=False).to_dict("records")
        ]  # fmt: skip
        caption = f"Facts that both languages know in {study.label}"
        parts.append(
            Section(study.name, study.label, table(
                ("Fact", "Jaccard", "Other facts (control)"), of_facts, caption))
        )  # fmt: skip
    head = ("Model", "Facts", "Jaccard, same fact", "Other fact (control)", "Chance")
    said = "Models side by side: means over facts, with 95% intervals"
    nothing = paragraph("No study has a fact that both languages know.")
    glance = table(head, rows, said) if rows else nothing
    return [Section("models", "Models side by side", glance), *parts]


def search_entries(studies: Sequence[Study], paged: Paged) -> list[tuple[str, str, str]]:
    """What can be found: a text to show, what it is looked up by, and the address."""
    entries = []
    for fact in all_facts(studies):
        names: list[str] = []
        for study in studies:
            held: FactInLanguage
            for held in study.facts.get(fact, {}).values():
                names += [held.subject, held.object]
        keys = " ".join(dict.fromkeys([fact, name_of(studies, fact), *names]))
        entries.append((name_of(studies, fact), keys, fact_address(fact)))
    for relation in dict.fromkeys(x for study in studies for x in study.relations.values()):
        entries.append((f"All of {words(relation)}", words(relation), relation_address(relation)))
    for study in studies:
        for neuron in sorted(paged[study.name]):
            name = f"{neuron.layer}:{neuron.neuron}"
            shown = f"Neuron {name} of {study.label}"
            entries.append((shown, f"{name} {study.label}", neuron_address(study, neuron)))
    return entries


def linked(base: str) -> Linked:
    """A function that makes links for pages from which the site's first page is at `base`."""

    def link(address: str, shown: str) -> str:
        return f'<a href="{escape(base + address)}">{text(shown)}</a>'

    return link
