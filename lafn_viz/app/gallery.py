"""Every figure of `plots`, drawn from real results on the embedded model, and a page that shows
them.

The results are small. Each is computed when a figure first asks for it, and shared by all figures
that do. Pages open without a network (one plotly.js beside them). Pictures need kaleido and a
browser; if one is missing, they are left out and the reason is returned.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from tqdm.auto import tqdm

from lafn_viz import plots
from lafn_viz.app.gallery_pages import index_page, write_pictures
from lafn_viz.app.results import FEW_LANGUAGES, Results
from lafn_viz.attribution.attribute import attribute
from lafn_viz.attribution.quadrature import Quadrature
from lafn_viz.core.options import require_one_of
from lafn_viz.core.skipped import Skipped
from lafn_viz.datasets.counterfactuals import counterfactual_cases
from lafn_viz.datasets.languages import outside_latin
from lafn_viz.editing import baselines
from lafn_viz.editing.evaluation.evaluate import evaluate
from lafn_viz.interventions.activation_patching import trace_subject
from lafn_viz.interventions.degenerate import find_degenerate
from lafn_viz.interventions.fact_checking import check_facts
from lafn_viz.interventions.failures import failures
from lafn_viz.interventions.lens_effects import lens_effects
from lafn_viz.interventions.lens_reading import language_lens
from lafn_viz.interventions.neuron_cards import neuron_card, neuron_table
from lafn_viz.interventions.planted.planting import plant
from lafn_viz.interventions.planted.recovery import RankingMethod, method_scores, score_methods
from lafn_viz.interventions.training_history import load_history
from lafn_viz.interventions.transplanting import transplant
from lafn_viz.models.known import known_share
from lafn_viz.models.scoring import score_answers
from lafn_viz.neurons.neuron_sets import Neurons, select_neurons
from lafn_viz.neurons.overlaps import overlap
from lafn_viz.neurons.significance import significance
from lafn_viz.neurons.stability import threshold_curve
from lafn_viz.plots.pages import write_page

RULES: tuple[Quadrature, ...] = ("riemann_left", "riemann_midpoint", "gauss_legendre")


def _completeness_curve(r: Results) -> go.Figure:
    prompts = r.english
    fixed_steps = [
        attribute(r.model, prompts, n_steps=n, quadrature=rule, tolerance=1e9)
        for rule in RULES
        for n in (2, 5, 10, 20, 40)
    ]
    return plots.completeness_curve([attribute(r.model, prompts), *fixed_steps])


def _degenerate_graph(r: Results) -> go.Figure:
    (first,) = find_degenerate(r.model, attribute(r.model, r.english[:2]), max_size=2, of="odds")
    return plots.degenerate_graph(first)


def _edit_matrix(r: Results) -> go.Figure:
    cases = counterfactual_cases(n=1, seed=1).filter(languages=FEW_LANGUAGES)
    editor = baselines.language_agnostic(position="answer")
    return plots.edit_matrix(evaluate(r.model, editor, cases, alone=True, progress=False))


def _edit_values(r: Results) -> go.Figure:
    located, random = (edits[1] for edits in r.edits.values())
    return plots.edit_values(located, control=random)


def _fact_checking_roc(r: Results) -> go.Figure:
    check = check_facts(
        r.model, r.facts, "capital", languages=["en", "ru"], paraphrases=(0,), max_facts=30,
        train_share=0.5, of="odds",
    )  # fmt: skip
    return plots.fact_checking_roc(check)


def _known_shares(r: Results) -> go.Figure:
    # Trained on bare questions, the embedded model loses its way after examples; others gain.
    facts = r.facts.sample(60, seed=0)
    known = known_share(r.model, facts, shots=(0, 2), paraphrases=0, examples=r.facts)
    return plots.known_shares(known)


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
            f"{name},<br>{pairs}": examination.overlap.summary(across_scripts=across)
            for name, examination in r.examinations.items()
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
    methods: tuple[RankingMethod, ...] = (
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


def _threshold_lines(r: Results) -> go.Figure:
    fractions = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
    return plots.threshold_lines(
        threshold_curve(r.examination.scores, fractions, across_scripts=True)
    )


def _training_history(r: Results) -> go.Figure:
    return plots.training_history({name: load_history(name) for name in r.models})


def _transplant_matrix(r: Results) -> go.Figure:
    # Facts that training never told in the language asked; the examined ones hardly ever fail.
    prompts = [prompt for prompt in r.facts.prompts() if prompt.paraphrase in (0, 4)]
    untold = [p for p in prompts if p.paraphrase == 4 and p.split == "held-out pair"]
    known = score_answers(r.model, untold).known
    failed = [p for p, answered in zip(untold, known, strict=True) if not answered][:15]
    facts = {prompt.fact_id for prompt in failed}
    chosen = [prompt for prompt in prompts if prompt.fact_id in facts]
    scores = attribute(r.model, [prompt for prompt in chosen if prompt.paraphrase == 0])
    shared = overlap(select_neurons(scores, fraction=0.02), min_languages=4)
    givers = [prompt for prompt in chosen if prompt.paraphrase == 4]
    transplanted = transplant(r.model, givers, failed, shared.agnostic)
    return plots.transplant_matrix(transplanted, of="either's words")


def _transfer_and_sharing(r: Results) -> go.Figure:
    # In other scripts, a name never seen in training cannot be copied from another language.
    prompts = [
        prompt
        for prompt in r.facts.filter(languages=filter(outside_latin, r.facts.languages))
        .sample(60, seed=0)
        .prompts()
        if prompt.paraphrase < 2
    ]
    answered = {name: score_answers(model, prompts) for name, model in r.models.items()}
    overlaps = {name: examination.overlap for name, examination in r.examinations.items()}
    return plots.transfer_and_sharing(answered, overlaps)


def _failure_kinds(r: Results) -> go.Figure:
    # Facts that training never told in the language asked: the others are answered.
    untold = r.facts.filter(languages=r.lens.languages).prompts(splits="held-out pair")
    asked = [prompt for prompt in untold if prompt.paraphrase == 1]
    lens = language_lens(r.model, asked)
    return plots.failure_kinds(failures(lens, score_answers(r.model, asked)))


def _lens_changes(r: Results) -> go.Figure:
    overlap, languages = r.examination.overlap, r.lens.languages
    prompts = [prompt for prompt in r.held_out(n_facts=8) if prompt.language in languages]
    sets: dict[str, Mapping[Any, Neurons]] = {
        "agnostic": overlap.agnostic, "specific": overlap.specific,
    }  # fmt: skip
    return plots.lens_changes(lens_effects(r.model, prompts, sets))


# Each figure of `plots` by its name, in the order of the page.
FIGURES: dict[str, Callable[[Results], go.Figure]] = {
    "attribution_strip": lambda r: plots.attribution_strip(
        r.scores, agnostic=r.examination.overlap.agnostic[r.fact]
    ),
    "known_shares": _known_shares,
    "neuron_card": _neuron_card,
    "completeness_curve": _completeness_curve,
    "method_scatter": _method_scatter,
    "overlap_heatmap": lambda r: plots.overlap_heatmap(r.examination.overlap),
    "sharing_by_pair": lambda r: plots.sharing_by_pair(r.examination.overlap.to_frame()),
    "language_tree": lambda r: plots.language_tree(r.examination.overlap),
    "upset": lambda r: plots.upset(r.examination.overlap),
    "layer_distribution": lambda r: plots.layer_distribution(r.examination.overlap),
    "threshold_lines": _threshold_lines,
    "significance_ladder": lambda r: plots.significance_ladder(
        significance(r.examination.overlap, n_permutations=400)
    ),
    "model_comparison": _model_comparison,
    "training_history": _training_history,
    "transfer_and_sharing": _transfer_and_sharing,
    "compared_sets": lambda r: plots.compared_sets(
        {name: examination.effect_table() for name, examination in r.examinations.items()}
    ),
    "effects_by_language": lambda r: plots.effects_by_language(r.effects),
    "effects_matrix": lambda r: plots.effects_matrix(r.effects_between),
    "transplant_matrix": _transplant_matrix,
    "degenerate_graph": _degenerate_graph,
    "fact_checking_roc": _fact_checking_roc,
    "planted_recovery": _planted_recovery,
    "subject_trace": _subject_trace,
    "latent_languages": lambda r: plots.latent_languages(r.lens),
    "language_ranks": lambda r: plots.language_ranks(r.lens),
    "lens_strip": lambda r: plots.lens_strip(r.lens, prompt=r.lens.languages.index("ru") * 2),
    "lens_changes": _lens_changes,
    "failure_kinds": _failure_kinds,
    "edit_curves": lambda r: plots.edit_curves(
        {f"30 neurons, {name}": edits[1] for name, edits in r.edits.items()}
    ),
    "edit_values": _edit_values,
    "edits_by_size": lambda r: plots.edits_by_size(r.edits),
    "edit_matrix": _edit_matrix,
    "editor_comparison": lambda r: plots.editor_comparison(r.evaluations),
}


@dataclass(frozen=True)
class Gallery:
    """The files of a gallery: `index` shows all figures, `pages` are those of each.

    `without_pictures` is the reason for leaving out pictures that were asked for, or empty.
    `left_out` has the reason for each figure that could not be drawn.
    """

    index: Path
    pages: tuple[Path, ...]
    without_pictures: str = ""
    left_out: Mapping[str, str] = field(default_factory=dict)


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
        out: the folder, which is made if it does not exist.
        names: of the figures; all by default.
        png: draw pictures, too, beside the pages.
        results: those of an earlier call, so that nothing is computed twice.
        progress: show a bar over the figures.

    Raises:
        ValueError: for a name that is no figure.
        Exception: that of the first figure, if none can be drawn.

    Warns:
        SkippedWarning: naming the figures that cannot be drawn; the others are there.
    """
    chosen = tuple(FIGURES) if names is None else require_one_of("figure", names, tuple(FIGURES))
    results = Results() if results is None else results
    out.mkdir(parents=True, exist_ok=True)
    figures, skipped = {}, Skipped("figure")
    for name in tqdm(chosen, disable=not progress, desc="gallery", unit="figure"):
        with skipped.unless_it_fails(name):
            figure = FIGURES[name](results)
            write_page(figure, out, name)
            figures[name] = figure
    skipped.report(len(chosen))
    without_pictures = write_pictures(figures, out) if png else ""
    index = out / "index.html"
    page = index_page(figures, pictures=png and not without_pictures)
    index.write_text(page, encoding="utf-8")
    pages = tuple(out / f"{name}.html" for name in figures)
    return Gallery(index, pages, without_pictures, skipped.reasons)
