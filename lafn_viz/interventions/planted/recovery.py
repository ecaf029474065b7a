"""Which attribution method finds planted neurons, and does `overlap` tell them apart?

1. `method_scores` attributes the prompts of the planted facts by each method, and adds two rankings
   to compare with: scores drawn at random, and the ablation of single neurons, which is the causal
   truth one neuron at a time.
2. `score_methods` asks how many of the neurons that act in a language come to a method's top, and
   how many decoys.
3. `score_overlap` asks whether `overlap` calls planted agnostic and specific neurons what they are.

Caveats: planted neurons are cleaner than learned ones. They are linear detectors of one object with
no other work, and they write straight to the answer, which is all that "direct_effect" sees. A
method that fails here fails at the easy case; one that passes has passed only that. The model's own
neurons that help to write the answer count as wrong here, though they may be right; the ranking by
ablation shows how much that matters, since its recall is no 1 either. Nor is it an upper bound:
methods that look at what a neuron writes find more of the planted ones.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from lafn_viz.attribution.attribute import Method, Target, attribute
from lafn_viz.attribution.scores import NeuronScores
from lafn_viz.core.arguments import (
    a_flag,
    a_result,
    a_seed,
    one_of,
    results_by_name,
    takes,
    whole,
)
from lafn_viz.core.options import require_one_of
from lafn_viz.core.skipped import Skipped
from lafn_viz.core.stats import bootstrap, group_items
from lafn_viz.interventions.ablation import measure_ablation
from lafn_viz.interventions.planted.planting import Planted
from lafn_viz.models.tokens import POSITIONS, Position
from lafn_viz.models.torch_modes import plain_modes
from lafn_viz.neurons.criterion import a_min_languages
from lafn_viz.neurons.neuron_sets import NeuronSet, mask_of, require_finite, select_neurons
from lafn_viz.neurons.overlap_result import Overlap
from lafn_viz.neurons.overlaps import overlap

if TYPE_CHECKING:
    import pandas as pd

ABLATED_TOGETHER = 512  # neurons in one call, each alone
# Methods whose baseline is not zero but the mean activation over other facts' prompts in the same
# language.
MEAN_BASELINE: dict[str, Method] = {
    "integrated_gradients_mean": "integrated_gradients", "direct_effect_mean": "direct_effect"
}  # fmt: skip
RankingMethod = Literal[
    Method, "integrated_gradients_mean", "direct_effect_mean", "ablation", "random"
]

RANKING_METHODS: tuple[RankingMethod, ...] = get_args(RankingMethod)


def _methods(name: str, given: Any) -> Any:
    """Read the names of methods, at least one."""
    methods = require_one_of("method", given, RANKING_METHODS)
    if not methods:
        raise ValueError("there are no methods; give at least one")
    return methods


@takes(
    planted=a_result(Planted), position=one_of(POSITIONS),
    target=one_of(get_args(Target)), seed=a_seed, progress=a_flag,
)  # fmt: skip
def method_scores(
    planted: Planted,
    methods: RankingMethod | Sequence[RankingMethod] = RANKING_METHODS,
    *,
    position: Position = "answer",
    target: Target = "probability",
    seed: int = 0,
    progress: bool = False,
) -> dict[str, NeuronScores]:
    """Attribute the prompts of the planted facts by each method.

    Args:
        planted: from `plant`.
        methods: of `attribute`; with `_mean` the baseline is not zero but the mean activation over
            other facts' prompts in the same language. "ablation" is what P loses without each
            neuron alone, which an attribution hopes to predict (a pass for every neuron: minutes).
            "random" draws scores at random, as a control.
        position: where neurons are attributed. The planted ones act at the answer.
        target: of the attribution.
        seed: of the random scores.
        progress: show a bar for each method.

    Returns:
        The scores of each method, for `score_methods` and `score_overlap`.

    Raises:
        ValueError: for an unknown method or position.

    Warns:
        SkippedWarning: naming the methods that fail; the others have their scores.
    """
    names: tuple[RankingMethod, ...] = _methods("methods", methods)
    scores: dict[str, NeuronScores] = {}
    skipped = Skipped("method")
    for name in names:
        with skipped.unless_it_fails(name):
            scores[name] = _attribute(planted, name, position, target, seed, progress)
    skipped.report(len(names))
    return scores


@takes(
    planted=a_result(Planted), scores=results_by_name(NeuronScores), top=whole(1), seed=a_seed
)  # fmt: skip
@plain_modes()
def score_methods(
    planted: Planted, scores: Mapping[str, NeuronScores], *, top: int = 20, seed: int = 0
) -> "pd.DataFrame":
    """Measure how well each attribution method finds the planted neurons.

    For each fact and language, with scores averaged over paraphrases and the K planted neurons that
    act in that language: `recall` is the share of them among the `top`, `precision` the share of
    planted ones among the best K, `average_precision` that over the whole ranking, and `decoys` the
    share of decoys among the `top`. 95% bootstrap intervals are over facts, because a fact's
    languages share its agnostic neurons.

    Args:
        planted: from `plant`.
        scores: of its prompts, by method, such as those of `method_scores`.
        top: number of neurons that count as found; more than K, so that all can be.
        seed: of the intervals.

    Returns:
        One row per method: the four shares, each with `_low` and `_high`; `n` pairs of `facts`
        facts; K as `planted`.

    Raises:
        ValueError: for scores of other prompts, or if no method has scores that are all numbers.

    Warns:
        SkippedWarning: naming the methods with a score that is not a number, which have no row.
    """
    import pandas as pd

    _require_planted_prompts(planted, scores)
    rows = []
    for method, of_method in _finite_ones(scores).items():
        cases = pd.DataFrame(_recovery(planted, of_method.values, top))
        count, position = cases.pop("planted").mean(), of_method.provenance.options["position"]
        row = {"method": method, "position": position, "planted": count}
        rows.append(row | _means(cases, seed))
    return pd.DataFrame(rows).set_index("method")


def _require_planted_prompts(planted: Planted, scores: Mapping[str, NeuronScores]) -> None:
    """Refuse scores of other prompts than the planted ones."""
    for method, of_method in scores.items():
        if of_method.prompts != planted.prompts:
            raise ValueError(
                f"the scores of {method!r} are of other prompts; attribute planted.prompts, or use "
                "method_scores(planted)"
            )


def _finite_ones(scores: Mapping[str, NeuronScores]) -> dict[str, NeuronScores]:
    """The scores of the methods that have no score that is not a number; warn of the others."""
    finite, skipped = {}, Skipped("method")
    for method, of_method in scores.items():
        with skipped.unless_it_fails(method):
            require_finite(of_method)
            finite[method] = of_method
    skipped.report(len(scores))
    return finite


def _means(cases: "pd.DataFrame", seed: int) -> dict[str, int | float]:
    """Mean of each column of shares, with its 95% interval over facts as `_low` and `_high`.

    Also `n`, the number of rows, and `facts`, that of the facts in the column `fact`.
    """
    of_fact = list(cases.pop("fact"))
    means: dict[str, int | float] = {"n": len(cases), "facts": len(set(of_fact))}
    for name, column in cases.items():
        items = group_items(column.to_numpy(float), of_fact)
        low, high = bootstrap(items, seed=seed, limits=(0.0, 1.0))
        means |= {f"{name}": column.mean(), f"{name}_low": low, f"{name}_high": high}
    return means


def _attribute(
    planted: Planted,
    method: RankingMethod,
    position: Position,
    target: Target,
    seed: int,
    progress: bool,
) -> NeuronScores:
    """Scores of the planted prompts by one method."""
    if method == "ablation":
        return _ablated(planted, position)
    if method == "random":
        return _random(planted, position, seed)
    options: dict[str, Any] = {"position": position, "target": target, "progress": progress}
    if method in MEAN_BASELINE:
        options |= {"method": MEAN_BASELINE[method], "baseline": "mean", "corpus": planted.others}
    elif method in MEAN_BASELINE.values():
        options |= {"method": method, "baseline": "zero"}
    else:
        options |= {"method": method}
    return attribute(planted.model, planted.prompts, **options)


def _random(planted: Planted, position: Position, seed: int) -> NeuronScores:
    """Random scores, one draw for each fact and language."""
    scores = attribute(planted.model, planted.prompts, method="activation", position=position)
    generator = torch.Generator().manual_seed(seed)
    # Paraphrases share a draw: rankings that do not agree would be too weak a rival.
    drawn: dict[tuple[str, str], Tensor] = {}
    for prompt in planted.prompts:
        key = prompt.fact_id, prompt.language
        drawn.setdefault(key, torch.rand(scores.values.shape[1:], generator=generator))
    values = torch.stack([drawn[p.fact_id, p.language] for p in planted.prompts])
    source = replace(scores.provenance, method="random", options={"position": position}, seed=seed)
    return replace(scores, values=values, provenance=source)


def _ablated(planted: Planted, position: Position) -> NeuronScores:
    """What P loses when each neuron alone is zeroed: the causal truth, one neuron at a time."""
    scores = attribute(planted.model, planted.prompts, method="activation", position=position)
    n_layers, d_mlp = scores.values.shape[1:]
    losses = []
    for places in torch.arange(n_layers * d_mlp).split(ABLATED_TOGETHER):
        masks = torch.zeros(len(places), n_layers, d_mlp, dtype=torch.bool)
        masks[torch.arange(len(places)), places // d_mlp, places % d_mlp] = True
        before, after = measure_ablation(
            planted.model, planted.prompts, masks, position=position, max_rows=1024
        )
        losses.append((before.exp() - after.exp()).T)
    values = torch.cat(losses, 1).view_as(scores.values)
    return replace(scores, values=values, provenance=replace(scores.provenance, method="ablation"))


def _recovery(
    planted: Planted, values: Float[Tensor, "prompt layer neuron"], top: int
) -> Iterator[dict[str, float | str]]:
    """K, recall, precision, average precision and decoys of each fact and language."""
    shape = values.shape[1], values.shape[2]
    decoys = mask_of((n.neuron for n in planted.spots if n.kind in ("firing", "writing")), shape)
    for fact in planted.facts:
        for language in fact.languages:
            rows = [
                i
                for i, p in enumerate(planted.prompts)
                if (p.fact_id, p.language) == (fact.id, language)
            ]
            order = values[rows].mean(0).flatten().argsort(descending=True, stable=True)
            acting = mask_of(planted.acting(fact.id, language), shape).flatten()[order].float()
            count = int(acting.sum())
            precision = acting.cumsum(0) / torch.arange(1, len(acting) + 1)
            yield {
                "fact": fact.id,
                "planted": count,
                "recall": float(acting[:top].sum()) / count,
                "precision": float(acting[:count].mean()),
                "average_precision": float((precision * acting).sum()) / count,
                "decoys": float(decoys.flatten()[order[:top]].float().mean()),
            }


@takes(
    planted=a_result(Planted), scores=results_by_name(NeuronScores), top=whole(1),
    min_languages=a_min_languages, seed=a_seed,
)  # fmt: skip
@plain_modes()
def score_overlap(
    planted: Planted,
    scores: Mapping[str, NeuronScores],
    *,
    top: int = 20,
    min_languages: int | None = None,
    seed: int = 0,
) -> "pd.DataFrame":
    """Measure how well `overlap` tells planted agnostic from planted specific neurons.

    Takes the `top` neurons of each prompt, refines them over paraphrases (`select_neurons`), and
    then calls `overlap`.

    Args:
        planted: from `plant`.
        scores: of its prompts, by method, such as those of `method_scores`.
        top: number of neurons to keep of each prompt.
        min_languages: as in `overlap`.
        seed: of the intervals.

    Returns:
        One row per method and kind ("agnostic", "specific"): the share of the planted neurons of
        that kind that `overlap` calls `agnostic`, `specific` (to the right language),
        `specific_elsewhere` (to a wrong one), `some_languages` (in several sets, but not enough) or
        `missed` (in none), and `purity`, the share of planted neurons of that kind among all those
        that overlap calls so. `_low` and `_high`: 95% bootstrap intervals over `facts` facts; `n`
        counts facts (agnostic) or pairs of fact and language (specific).

    Raises:
        ValueError: for scores of other prompts, or if no method has scores that are all numbers.

    Warns:
        SkippedWarning: naming the methods with a score that is not a number, which have no row.
    """
    import pandas as pd

    _require_planted_prompts(planted, scores)
    rows = []
    for method, of_method in _finite_ones(scores).items():
        sets = select_neurons(of_method, top=top)
        shared = overlap(sets, min_languages=min_languages)
        for kind in ("agnostic", "specific"):
            cases = [
                {"fact": fact.id, **_verdicts(planted, shared, sets, fact.id, language)}
                for fact in planted.facts
                if fact.id in shared.facts
                for language in ((None,) if kind == "agnostic" else fact.languages)
                if language is None or (fact.id, language) in shared.specific
            ]
            row = {"method": method, "kind": kind}
            rows.append(row | _means(pd.DataFrame(cases), seed))
    return pd.DataFrame(rows).set_index(["method", "kind"])


def _verdicts(
    planted: Planted,
    shared: Overlap,
    sets: Sequence[NeuronSet],
    fact_id: str,
    language: str | None,
) -> dict[str, float]:
    """What overlap calls a fact's agnostic neurons (language None), or its specific ones."""
    if language is None:
        true, called = planted.find("agnostic", fact_id), shared.agnostic[fact_id]
    else:
        true = planted.find("specific", fact_id, language)
        called = shared.specific[fact_id, language]
    verdicts = []
    for neuron in true:
        holding = [s.language for s in sets if s.fact_id == fact_id and neuron in s.neurons]
        if not holding:
            verdicts.append("missed")
        elif neuron in shared.agnostic[fact_id]:
            verdicts.append("agnostic")
        elif len(holding) == 1:
            verdicts.append("specific" if holding == [language] else "specific_elsewhere")
        else:
            verdicts.append("some_languages")
    names = ("agnostic", "specific", "specific_elsewhere", "some_languages", "missed")
    shares = {name: verdicts.count(name) / len(true) for name in names}
    shares["purity"] = len(true & called) / len(called) if called else math.nan
    return shares
