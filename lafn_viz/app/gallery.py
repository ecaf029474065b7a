"""Every figure of `plots`, drawn from real results on the embedded model: a page that shows them.

Results are small, computed when a figure first asks for them and shared by all that do. Pages open
without a network (one plotly.js beside them); pictures want kaleido and a browser, and are left out
with a sentence where one is missing.
"""

import html
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
from tqdm.auto import tqdm

from lafn_viz import plots
from lafn_viz.attribution.attribute import attribute
from lafn_viz.attribution.quadrature import Quadrature
from lafn_viz.attribution.scores import NeuronScores
from lafn_viz.core.options import require_one_of
from lafn_viz.datasets.counterfactuals import counterfactual_cases
from lafn_viz.datasets.facts import FactSet, Prompt, load_facts
from lafn_viz.datasets.languages import outside_latin
from lafn_viz.editing import baselines
from lafn_viz.editing.edit import Edit
from lafn_viz.editing.evaluation.answers import Evaluation
from lafn_viz.editing.evaluation.evaluate import evaluate
from lafn_viz.editing.optimise import lafn_edit
from lafn_viz.experiments.examine import Examination, examine
from lafn_viz.interventions.activation_patching import trace_subject
from lafn_viz.interventions.degenerate import find_degenerate
from lafn_viz.interventions.effects import Effects, effects
from lafn_viz.interventions.fact_checking import check_facts
from lafn_viz.interventions.neuron_cards import neuron_card, neuron_table
from lafn_viz.interventions.planted.planting import plant
from lafn_viz.interventions.planted.recovery import Named, method_scores, score_methods
from lafn_viz.models.loading import load_model
from lafn_viz.models.scoring import score_answers
from lafn_viz.neurons.controls import random_like
from lafn_viz.neurons.significance import significance
from lafn_viz.neurons.stability import threshold_curve

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FEW = ("en", "ru", "zh")  # languages of what takes long
RULES: tuple[Quadrature, ...] = ("riemann_left", "riemann_midpoint", "gauss_legendre")


class Results:
    """What the figures show, each computed when it is first asked for."""

    @cached_property
    def models(self) -> dict[str, "TransformerBridge"]:
        """The embedded model and its control."""
        return {name: load_model(name) for name in ("embedded", "embedded-control")}

    @property
    def model(self) -> "TransformerBridge":
        """The embedded model."""
        return self.models["embedded"]

    @cached_property
    def facts(self) -> FactSet:
        """Capitals that cannot be read off the subject's name."""
        return load_facts().filter(relation="capital", leaking=False)

    @cached_property
    def examined(self) -> dict[str, Examination]:
        """Eight facts looked at in both models."""
        some = self.facts.sample(8, seed=0)
        return {name: examine(model, some) for name, model in self.models.items()}

    @property
    def found(self) -> Examination:
        """The same in the embedded model alone."""
        return self.examined["embedded"]

    @cached_property
    def fact(self) -> str:
        """The fact with most language-agnostic neurons."""
        agnostic = self.found.overlap.agnostic
        return max(agnostic, key=lambda name: len(agnostic[name]))

    @cached_property
    def scores(self) -> NeuronScores:
        """Attribution of that fact in all languages."""
        return self.found.scores.select(lambda prompt: prompt.fact_id == self.fact)

    @cached_property
    def english(self) -> list[Prompt]:
        """Its prompts in English."""
        return [prompt for prompt in self.scores.prompts if prompt.language == "en"]

    def held_out(self, *, n_facts: int) -> list[Prompt]:
        """Prompts of some of the facts, in paraphrases that chose no neuron."""
        facts = self.found.overlap.facts[:n_facts]
        return [p for p in self.facts.prompts() if p.fact_id in facts and p.paraphrase > 3]

    @cached_property
    def effects(self) -> Effects:
        """Agnostic neurons and those specific to English, zeroed."""
        overlap = self.found.overlap
        sets = {"agnostic": overlap.agnostic, "specific to English": overlap.specific_to("en")}
        return effects(self.model, sets, self.held_out(n_facts=8), controls=2)

    @cached_property
    def effects_between(self) -> Effects:
        """The neurons of each language zeroed, and asked in all."""
        overlap = self.found.overlap
        languages = ("en", "de", "es", "ru", "zh", "ar")
        asked = [p for p in self.held_out(n_facts=4) if p.language in languages]
        some = overlap.of(facts=overlap.facts[:4])
        sets = {language: some.neurons_in(language) for language in languages}
        return effects(self.model, sets, asked, controls=1)

    @cached_property
    def edits(self) -> dict[str, list[Edit]]:
        """An edit with few and more neurons, and with as many random ones."""
        options: dict[str, Any] = {
            "subject": "Japan", "relation": "capital", "new_object": "Rome", "languages": FEW,
            "position": "answer",
        }  # fmt: skip
        located = [lafn_edit(self.model, self.facts, **options, n_neurons=n) for n in (10, 30, 100)]
        shape = self.found.overlap.shape
        chance = [
            lafn_edit(
                self.model, self.facts, **options, neurons=random_like(e.neurons, shape, seed=0)
            )
            for e in located
        ]
        return {"located": located, "as many random ones of the same layers": chance}

    @cached_property
    def evaluations(self) -> dict[str, Evaluation]:
        """Three editors on two edits."""
        cases = counterfactual_cases(n=2, seed=1).filter(languages=FEW)
        agnostic = baselines.language_agnostic(position="answer")
        editors = {
            "language-agnostic": agnostic,
            "random neurons": baselines.random_neurons(agnostic),
            "ROME at the answer": baselines.rome(position="answer"),
        }
        return {
            name: evaluate(self.model, editor, cases, progress=False)
            for name, editor in editors.items()
        }


def _completeness_curve(r: Results) -> go.Figure:
    some = r.english
    tried = [
        attribute(r.model, some, n_steps=n, quadrature=rule, tolerance=1e9)
        for rule in RULES
        for n in (2, 5, 10, 20, 40)
    ]
    return plots.completeness_curve([attribute(r.model, some), *tried])


def _degenerate_graph(r: Results) -> go.Figure:
    (first,) = find_degenerate(r.model, attribute(r.model, r.english[:2]), max_size=2, of="odds")
    return plots.degenerate_graph(first)


def _edit_matrix(r: Results) -> go.Figure:
    cases = counterfactual_cases(n=1, seed=1).filter(languages=FEW)
    editor = baselines.language_agnostic(position="answer")
    return plots.edit_matrix(evaluate(r.model, editor, cases, alone=True, progress=False))


def _fact_checking_roc(r: Results) -> go.Figure:
    check = check_facts(
        r.model, r.facts, "capital", languages=["en", "ru"], paraphrases=(0,), max_facts=30,
        train_share=0.5, of="odds",
    )  # fmt: skip
    return plots.fact_checking_roc(check)


def _method_scatter(r: Results) -> go.Figure:
    released, paper = (
        attribute(r.model, r.english, method=method, position="answer", tolerance=0.05)
        for method in ("amig_as_released", "amig")
    )
    names = ("AMIG, the paper", "AMIG, as released")
    return plots.method_scatter(paper, released, names=names)


def _model_comparison(r: Results) -> go.Figure:
    return plots.model_comparison(
        {
            f"{name},<br>{pairs}": one.overlap.summary(across_scripts=across)
            for name, one in r.examined.items()
            for pairs, across in (("all pairs", False), ("across scripts", True))
        }
    )


def _neuron_card(r: Results) -> go.Figure:
    best = neuron_table(r.scores, top=1).iloc[0]
    prompts = r.scores.prompts
    neuron = int(best["layer"]), int(best["neuron"])
    return plots.neuron_card(neuron_card(r.model, prompts, neuron, scores=r.scores))


def _planted_recovery(r: Results) -> go.Figure:
    planted = plant(languages=["en", "ru"], n_facts=2)
    methods: tuple[Named, ...] = (
        "integrated_gradients",
        "direct_effect",
        "gradient",
        "activation",
        "random",
    )
    return plots.planted_recovery(score_methods(planted, method_scores(planted, methods)))


def _subject_trace(r: Results) -> go.Figure:
    prompts = r.facts.filter(languages=["en", "fr", "ru"]).sample(16, seed=0).prompts()
    return plots.subject_trace(trace_subject(r.model, prompts, max_pairs=40))


def _transfer_and_sharing(r: Results) -> go.Figure:
    # Other scripts: there a name that was never told cannot be copied from another language.
    asked = [
        prompt
        for prompt in r.facts.filter(languages=filter(outside_latin, r.facts.languages))
        .sample(60, seed=0)
        .prompts()
        if prompt.paraphrase < 2
    ]
    answered = {name: score_answers(model, asked) for name, model in r.models.items()}
    overlaps = {name: one.overlap for name, one in r.examined.items()}
    return plots.transfer_and_sharing(answered, overlaps)


# Each figure of `plots` by its name, in the order in which they are shown.
FIGURES: dict[str, Callable[[Results], go.Figure]] = {
    "attribution_strip": lambda r: plots.attribution_strip(
        r.scores, agnostic=r.found.overlap.agnostic[r.fact]
    ),
    "neuron_card": _neuron_card,
    "completeness_curve": _completeness_curve,
    "method_scatter": _method_scatter,
    "overlap_heatmap": lambda r: plots.overlap_heatmap(r.found.overlap),
    "language_tree": lambda r: plots.language_tree(r.found.overlap),
    "upset": lambda r: plots.upset(r.found.overlap),
    "layer_distribution": lambda r: plots.layer_distribution(r.found.overlap),
    "threshold_lines": lambda r: plots.threshold_lines(
        threshold_curve(r.found.scores, (0.005, 0.01, 0.02, 0.05, 0.1, 0.2), across_scripts=True)
    ),
    "significance_ladder": lambda r: plots.significance_ladder(
        significance(r.found.overlap, n_permutations=400)
    ),
    "model_comparison": _model_comparison,
    "transfer_and_sharing": _transfer_and_sharing,
    "effects_by_language": lambda r: plots.effects_by_language(r.effects),
    "effects_matrix": lambda r: plots.effects_matrix(r.effects_between),
    "degenerate_graph": _degenerate_graph,
    "fact_checking_roc": _fact_checking_roc,
    "planted_recovery": _planted_recovery,
    "subject_trace": _subject_trace,
    "edit_curves": lambda r: plots.edit_curves(
        {f"30 neurons, {name}": some[1] for name, some in r.edits.items()}
    ),
    "edit_values": lambda r: plots.edit_values(next(iter(r.edits.values()))[1]),
    "edits_by_size": lambda r: plots.edits_by_size(r.edits),
    "edit_matrix": _edit_matrix,
    "editor_comparison": lambda r: plots.editor_comparison(r.evaluations),
}


@dataclass(frozen=True)
class Gallery:
    """What was written: `index` is the page that shows all, `pages` those of the figures.

    `without_pictures` says in a sentence why there are none; empty where there are, or nobody
    asked.
    """

    index: Path
    pages: tuple[Path, ...]
    without_pictures: str = ""


def gallery(
    out: Path,
    *,
    names: Iterable[str] | None = None,
    png: bool = True,
    results: Results | None = None,
    progress: bool = False,
) -> Gallery:
    """Draw the figures into a folder: a page each, a picture each, and `index.html`.

    Args:
        out: the folder; made if it is not there.
        names: of the figures, all unless given.
        png: pictures too, beside the pages.
        results: those of an earlier call, so that nothing is computed twice.
        progress: show a bar over the figures.

    Raises:
        ValueError: for a name that is no figure.
    """
    chosen = tuple(FIGURES) if names is None else require_one_of("figure", names, tuple(FIGURES))
    results = Results() if results is None else results
    out.mkdir(parents=True, exist_ok=True)
    figures = {}
    for name in tqdm(chosen, disable=not progress, desc="gallery", unit="figure"):
        figures[name] = FIGURES[name](results)
        figures[name].write_html(
            out / f"{name}.html", include_plotlyjs="directory", config=plots.CONFIG
        )
    said = write_pictures(figures, out) if png else ""
    pictures = png and not said
    index = out / "index.html"
    index.write_text(_index(figures, pictures=pictures), encoding="utf-8")
    return Gallery(index, tuple(out / f"{name}.html" for name in figures), said)


def write_pictures(figures: Mapping[str, go.Figure], out: Path) -> str:
    """Write each figure as NAME.png, and say in a sentence why not where that cannot be done."""
    try:
        import kaleido
        from choreographer.browsers.chromium import ChromeNotFoundError
    except ImportError:
        return (
            "no pictures were drawn, as kaleido is not installed; install it with: "
            "pip install 'lafn_viz[gallery]'"
        )
    given = os.environ.get("BROWSER_PATH")
    path = given or next(filter(None, map(shutil.which, BROWSERS)), None)
    # A path that is not there is tried for half a minute otherwise.
    if given and not Path(given).is_file():
        return f"no pictures were drawn, as there is no browser at BROWSER_PATH={given}; mend it"
    specs: Sequence[dict[str, Any]] = [
        {
            "fig": figure.to_dict(),
            "path": out / f"{name}.png",
            "opts": {"format": "png", "scale": 2},
        }
        for name, figure in figures.items()
    ]
    # Formulas would be asked of the network; there are none.
    options: dict[str, Any] = {"mathjax": False}
    try:
        kaleido.write_fig_from_object_sync(specs, kopts=options | ({"path": path} if path else {}))
    except ChromeNotFoundError:
        return (
            "no pictures were drawn, as no browser was found; install Chromium or Chrome, or set "
            "BROWSER_PATH to one"
        )
    return ""


STYLE = """
body { font-family: Inter, 'Noto Sans', sans-serif; color: #222; max-width: 58rem;
       margin: 2rem auto; padding: 0 1rem; line-height: 1.45 }
figure { margin: 0 0 3rem }
img, iframe { width: 100%; border: 1px solid #e5e5e5; background: #fff }
figcaption { margin-top: .5rem }
h2 { font-size: 1.1rem; margin: 0 }
code { background: #f3f3f3; padding: 0 .25em }
"""


def _index(figures: Mapping[str, go.Figure], *, pictures: bool) -> str:
    """A page that shows the figures, each with its name, title and caption."""
    shown = []
    for name, figure in figures.items():
        title = html.escape(_plain(figure.layout.title.text))
        caption = html.escape(_plain(figure.layout.title.subtitle.text))
        if pictures:
            seen = f'<a href="{name}.html"><img src="{name}.png" alt="{title}" loading="lazy"></a>'
        else:
            height = int(figure.layout.height) + 20
            seen = f'<iframe src="{name}.html" title="{title}" height="{height}"></iframe>'
        shown.append(
            f'<figure id="{name}">{seen}<figcaption><h2><a href="{name}.html">{title}</a></h2>'
            f"<p>{caption} <code>lv.plots.{name}</code></p></figcaption></figure>"
        )
    links = " · ".join(f'<a href="#{name}">{name.replace("_", " ")}</a>' for name in figures)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>lafn_viz: figures</title><style>{STYLE}</style></head>\n<body><main>"
        "<h1>The figures of lafn_viz</h1>\n<p>From small runs on the embedded model, so intervals "
        "are wide. Click on a figure to look at its values.</p>\n"
        f"<nav>{links}</nav>\n" + "\n".join(shown) + "\n</main></body></html>\n"
    )


def _plain(text: str | None) -> str:
    """A title's text without its line ends."""
    return (text or "").replace("<br>", " ")
