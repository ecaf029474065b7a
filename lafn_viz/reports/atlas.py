"""An atlas: a static site about several studies, with a page for each fact, neuron and relation.

    SITE/index.html               models side by side, search, lists of everything
    SITE/study/NAME.html          the report of a study
    SITE/fact/SLUG.html           a fact in every model; relation/, pair/ and neuron/NAME/ likewise
    SITE/assets/                  style, scripts, and the names that the search looks through
    SITE/atlas.json               what it was built of

It opens from a folder and from any host of files: links are relative, and nothing is fetched. A
page keeps its address when the atlas is built again with more studies (see `addresses`).
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

from lafn_viz.core.arguments import a_flag, a_path, a_text, in_order, or_none, takes, whole, wrong
from lafn_viz.core.files import whole_folder, write_utf8
from lafn_viz.core.html_parts import STYLE, Section
from lafn_viz.core.messages import counted
from lafn_viz.core.provenance import PACKAGE_VERSION
from lafn_viz.datasets.languages import language_name
from lafn_viz.datasets.prompts import Prompt
from lafn_viz.datasets.seam import separator_at
from lafn_viz.experiments.store import Store
from lafn_viz.interventions.neuron_cards import strongest_tokens
from lafn_viz.interventions.neuron_lens import read_neuron
from lafn_viz.models.capabilities import weights_of
from lafn_viz.models.loading import load_model
from lafn_viz.reports import atlas_pages as pages
from lafn_viz.reports.addresses import slug
from lafn_viz.reports.atlas_data import HeldNeuron, Study, Tokens
from lafn_viz.reports.parts import STATIC, lead, page, report_script, unused_name, words
from lafn_viz.reports.sweep_report import sweep_report

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

MARK = "atlas.json"  # a folder with this file may be replaced
N_TOKENS = 12  # of each kind on a neuron's page
N_PROMPTS = 4  # in which a neuron's tokens are read


@dataclass(frozen=True)
class Atlas:
    """A site that was built: its first page, the number of pages, and its size in bytes.

    `without_tokens` says why the neurons of a study have no tokens, by the study's label.
    """

    index: Path
    pages: int
    size: int
    without_tokens: Mapping[str, str]

    def __repr__(self) -> str:
        return f"Atlas({str(self.index)!r}: {self.pages} pages, {self.size / 1e6:.1f} MB)"


@takes(
    out=a_path, neurons=whole(0), tokens=a_flag, title=or_none(a_text), progress=a_flag,
)  # fmt: skip
def atlas(
    stores: Store | str | Path | Sequence[Store | str | Path],
    out: str | Path,
    *,
    neurons: int = 200,
    tokens: bool = True,
    title: str | None = None,
    progress: bool = False,
) -> Atlas:
    """Write a site about some sweeps into a folder.

    Args:
        stores: stores, or the folders of sweeps that attributed facts.
        out: a folder that does not exist, is empty, or holds an atlas, which is replaced.
        neurons: how many neurons of each study have a page: those that are agnostic for the most
            facts and languages.
        tokens: load each model by its name, and show which tokens these neurons promote. Where that
            cannot be done, `Atlas.without_tokens` says why.
        title: of the site.
        progress: show a bar.

    Raises:
        ValueError: for no stores, one without facts, or a folder that holds something else.
        StoreError: for a folder that holds no sweep.
    """
    studies = _studies(stores)
    folder = Path(out)
    _require_free(folder)
    heading = title or "Atlas of shared facts"
    with whole_folder(folder) as site:
        paged = {study.name: study.neurons[:neurons] for study in studies}
        without = _read_tokens(studies, paged, progress) if tokens and neurons else {}
        n_pages = 0
        written = _pages(studies, paged, heading)
        for address, text in tqdm(written, disable=not progress, desc="atlas", unit="page"):
            path = site / address
            path.parent.mkdir(parents=True, exist_ok=True)
            write_utf8(path, text)
            n_pages += 1
        _write_assets(site, studies, paged)
        size = sum(path.stat().st_size for path in site.rglob("*") if path.is_file())
    return Atlas(folder.resolve() / "index.html", n_pages, size, without)


def _studies(given: Any) -> list[Study]:
    """The studies of some stores, each with a label and a name of its own."""
    wanted = "stores, or folders of sweeps that attributed facts"
    if isinstance(given, Store | str | Path):
        given = [given]
    listed = in_order(given)
    if not listed:
        raise wrong("stores", given, wanted)
    studies: list[Study] = []
    for entry in listed:
        if not isinstance(entry, Store | str | Path):
            raise wrong("stores", entry, wanted)
        store = entry if isinstance(entry, Store) else Store(entry)
        if not store.head["facts"]["count"]:
            raise ValueError(f"{store.folder} has no facts, only edits; give sweeps of facts")
        model = str(store.head["model"]["name"])
        labels, names = {x.label for x in studies}, {x.name for x in studies}
        label = unused_name(model, labels)
        name = slug(label)
        if name in names:
            raise ValueError(f"two studies have the name {label!r}; give each sweep once")
        studies.append(Study(store, label, name))
    return studies


def _require_free(folder: Path) -> None:
    if folder.is_file():
        raise ValueError(f"{folder} is a file; give a folder for the site")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MARK).is_file():
        raise ValueError(
            f"{folder} holds something that is no atlas (no {MARK}); give another folder, or an "
            "empty one"
        )


def _pages(
    studies: Sequence[Study], paged: Mapping[str, Sequence[HeldNeuron]], title: str
) -> Iterable[tuple[str, str]]:
    """The address and the text of every page."""
    held = {name: frozenset(x.neuron for x in neurons) for name, neurons in paged.items()}

    def written(address: str, heading: str, parts: list[Section], head: str = "") -> Any:
        base = "../" * address.count("/")
        figures = address.startswith("study/")
        scripts = ["report.js"] if figures else ["names.js", "atlas.js"] * (base == "")
        above = "" if base == "" else f"<p>{pages.linked(base)('index.html', title)}</p>"
        return address, page(
            heading, head, parts, above=above, assets=f"{base}assets/", scripts=scripts
        )

    said = (
        f"{counted(len(studies), 'study', 'studies')} of "
        f"{counted(len(pages.all_facts(studies)), 'fact')} in "
        f"{counted(len(pages.all_languages(studies)), 'language')}: which neurons languages share, "
        "beside what other facts and chance share."
    )
    parts = pages.index_parts(studies, pages.linked(""))
    yield written("index.html", title, parts, lead([said]))
    for study in studies:
        heading, head, parts = sweep_report(study.results)
        yield written(pages.study_address(study), heading, parts, head)
    up = pages.linked("../")
    for fact in pages.all_facts(studies):
        parts = pages.fact_parts(studies, fact, up, held)
        yield written(pages.fact_address(fact), pages.name_of(studies, fact), parts)
    for relation in dict.fromkeys(x for study in studies for x in study.relations.values()):
        parts = pages.relation_parts(studies, relation, up)
        yield written(pages.relation_address(relation), words(relation), parts)
    languages = pages.all_languages(studies)
    for number, one in enumerate(languages):
        for other in languages[number + 1 :]:
            heading = f"{language_name(one)} and {language_name(other)}"
            parts = pages.pair_parts(studies, one, other, up)
            yield written(pages.pair_address(one, other), heading, parts)
    for study in studies:
        for neuron in paged[study.name]:
            layer, number = neuron.neuron
            parts = pages.neuron_parts(studies, study, neuron, pages.linked("../../"))
            heading = f"Layer {layer}, neuron {number} of {study.label}"
            yield written(pages.neuron_address(study, neuron.neuron), heading, parts)


def _write_assets(
    site: Path, studies: Sequence[Study], paged: Mapping[str, Sequence[HeldNeuron]]
) -> None:
    held = {name: frozenset(x.neuron for x in neurons) for name, neurons in paged.items()}
    entries = pages.search_entries(studies, held)
    names = json.dumps(entries, ensure_ascii=False, separators=(",", ":"))
    style = STYLE + "".join((STATIC / f"{x}.css").read_text("utf-8") for x in ("report", "atlas"))
    files = {
        "style.css": style,
        "report.js": report_script(),
        "names.js": f"const ATLAS = {names};\n",
        "atlas.js": (STATIC / "atlas.js").read_text("utf-8"),
    }
    assets = site / "assets"
    assets.mkdir()
    for name, content in files.items():
        write_utf8(assets / name, content)
    record = {
        "lafn_viz": PACKAGE_VERSION,
        "studies": [{"label": x.label, **x.store.head["model"]} for x in studies],
    }
    text = json.dumps(record, ensure_ascii=False, indent=1) + "\n"
    (site / MARK).write_text(text, encoding="utf-8")


def _read_tokens(
    studies: Sequence[Study], paged: Mapping[str, Sequence[HeldNeuron]], progress: bool
) -> dict[str, str]:
    """Read the tokens of the neurons that have a page; returns why of some studies none were."""
    without = {}
    for study in studies:
        head = study.store.head["model"]
        try:
            model = load_model(str(head["name"]), device="cpu")
        except (ValueError, OSError, ImportError) as error:
            without[study.label] = f"the model cannot be loaded: {error}"
            continue
        if weights_of(model) != head["weights"]:
            without[study.label] = "the model of this name has other weights"
            continue
        bar = tqdm(paged[study.name], disable=not progress, desc=f"tokens of {study.label}")
        prompts = _prompts(study)
        found = {held.neuron: _tokens(model, held, prompts) for held in bar}
        study.tokens = {neuron: tokens for neuron, tokens in found.items() if any(tokens)}
    return without


def _prompts(study: Study) -> dict[str, list[Prompt]]:
    """A known prompt of each fact in each language, without the examples before it."""
    columns = ["fact_id", "relation", "method", "language", "text", "answer", "known"]
    frame = study.store.read("prompts", columns=columns)
    frame = frame[(frame["method"] == study.results.method) & frame["known"]]
    asked: dict[str, list[Prompt]] = {}
    for row in frame.drop_duplicates(["fact_id", "language"]).to_dict("records"):
        language, text, answer = row["language"], row["text"], row["answer"]
        prompt = Prompt(
            fact_id=row["fact_id"], relation=row["relation"], language=language, paraphrase=0,
            text=text, answer=answer, subject="", subject_span=None,
            separator=separator_at(text, answer, language),
        )  # fmt: skip
        asked.setdefault(row["fact_id"], []).append(prompt)
    return asked


def _tokens(
    model: "TransformerBridge", held: HeldNeuron, prompts: Mapping[str, Sequence[Prompt]]
) -> Tokens:
    """The tokens that a neuron promotes and demotes in prompts of its facts."""
    asked = [prompt for fact in held.languages for prompt in prompts.get(fact, ())][:N_PROMPTS]
    if not asked:
        return (), ()
    logits = read_neuron(model, asked, held.neuron, (), 64).logits
    promoted, demoted = (
        tuple(token for token, _ in strongest_tokens(model, change, N_TOKENS))
        for change in (logits, -logits)
    )
    return promoted, demoted
