"""Which attribution method finds planted neurons, and does `overlap` tell them apart?

Of the neurons that `plant` added, each method has to bring those that act in a language to its top;
the decoys show what it takes for them. Two rankings stand beside the methods: scores drawn at
random, and the ablation of single neurons, the causal truth one neuron at a time.

Caveats: planted neurons are cleaner than learned ones: linear detectors, one object, no other work,
and they write straight to the answer, which is all that "direct_effect" sees. A method that fails
here fails at the easy case; one that passes has passed that only. The model's own neurons that help
to write the answer count as wrong here, though they may be right, which the ranking by ablation
shows: what single neurons cause is no recall of 1 either. It is no upper mark: methods that look at
what a neuron writes find more of the planted ones.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from lafn_viz.attribution.attribute import Method, Target as Goal, attribute
from lafn_viz.attribution.scores import NeuronScores
from lafn_viz.core.stats import bootstrap
from lafn_viz.interventions.ablation import measure_ablation
from lafn_viz.interventions.planted.planting import Planted
from lafn_viz.models.tokens import Position
from lafn_viz.neurons.neuron_sets import Neuron, mask_of, select_neurons
from lafn_viz.neurons.overlap_result import Overlap
from lafn_viz.neurons.overlaps import overlap

if TYPE_CHECKING:
    import pandas as pd

# These begin at the mean activations of other facts' prompts in the same language, not at zero.
FROM_MEAN: dict[str, Method] = {
    "integrated_gradients_mean": "integrated_gradients", "direct_effect_mean": "direct_effect"
}  # fmt: skip
Named = Literal[Method, "integrated_gradients_mean", "direct_effect_mean", "ablation", "random"]


def method_scores(
    planted: Planted,
    methods: Sequence[Named] = get_args(Named),
    *,
    position: Position = "answer",
    target: Goal = "probability",
    seed: int = 0,
    progress: bool = False,
) -> dict[str, NeuronScores]:
    """Attribute the prompts of the planted facts by each method.

    Args:
        planted: of `plant`.
        methods: of `attribute`; with `_mean` from the mean activations of other facts' prompts in
            the same language instead of zero; "ablation": what P loses without each neuron alone,
            which is what an attribution hopes to predict (a pass for every neuron: minutes); or
            "random": scores drawn at random, the control.
        position: where neurons are looked at. The planted act at the answer.
        target: of the attribution.
        seed: of the random scores.
        progress: show a bar for each method.

    Returns:
        The scores of each method, for `score_methods` and `score_overlap`.
    """
    return {name: _scores(planted, name, position, target, seed, progress) for name in methods}


def score_methods(
    planted: Planted, scores: Mapping[str, NeuronScores], *, top: int = 20, seed: int = 0
) -> "pd.DataFrame":
    """How well each attribution method finds the planted neurons.

    For each fact and language, by scores averaged over paraphrases, with the K planted neurons that
    act in that language: `recall`, the share of them among the `top`; `precision`, the share of
    planted among the best K; `average_precision` over the whole ranking; `decoys`, the share of
    decoys among the `top`. With 95% bootstrap intervals over (fact, language) pairs.

    Args:
        planted: of `plant`.
        scores: of its prompts, by the name of the method, such as `method_scores` makes.
        top: how many neurons count as found; more than K, so that all can be.
        seed: of the intervals.

    Returns:
        One row a method: the four shares, each with `_low` and `_high`; `n` pairs; K as `planted`.

    Raises:
        ValueError: for scores of other prompts.
    """
    import pandas as pd

    _of_its_prompts(planted, scores)
    rows = []
    for method, one in scores.items():
        found = pd.DataFrame(_recovery(planted, one.values, top))
        count, position = found.pop("planted").mean(), one.provenance.options["position"]
        row = {"method": method, "position": position, "n": len(found), "planted": count}
        rows.append(row | _means(found, seed))
    return pd.DataFrame(rows).set_index("method")


def _of_its_prompts(planted: Planted, scores: Mapping[str, NeuronScores]) -> None:
    for method, one in scores.items():
        if one.prompts != planted.prompts:
            raise ValueError(
                f"the scores of {method!r} are of other prompts; attribute planted.prompts, or use "
                "method_scores(planted)"
            )


def _means(cases: "pd.DataFrame", seed: int) -> dict[str, float]:
    """Mean of each column, with its 95% bootstrap interval as `_low` and `_high`."""
    found: dict[str, float] = {}
    for name, column in cases.items():
        low, high = bootstrap(column.to_numpy(float), seed=seed)
        found |= {f"{name}": column.mean(), f"{name}_low": low, f"{name}_high": high}
    return found


def _scores(
    planted: Planted,
    method: Named,
    position: Position,
    target: Goal,
    seed: int,
    progress: bool,
) -> NeuronScores:
    options: dict[str, Any] = {"position": position, "progress": progress}
    if method in FROM_MEAN:
        options |= {"method": FROM_MEAN[method], "baseline": "mean", "corpus": planted.others}
        return attribute(planted.model, planted.prompts, target=target, **options)
    if method == "ablation":
        return _ablated(planted, position)
    if method != "random":
        options |= {"method": method}
        return attribute(planted.model, planted.prompts, target=target, **options)
    scores = attribute(planted.model, planted.prompts, method="activation", **options)
    generator = torch.Generator().manual_seed(seed)
    # One draw a fact and language: paraphrases that agree at random would be a fairer rival.
    drawn: dict[tuple[str, str], Tensor] = {}
    for prompt in planted.prompts:
        key = prompt.fact_id, prompt.language
        drawn.setdefault(key, torch.rand(scores.values.shape[1:], generator=generator))
    values = torch.stack([drawn[p.fact_id, p.language] for p in planted.prompts])
    made = replace(scores.provenance, method="random", options={"position": position, "seed": seed})
    return replace(scores, values=values, provenance=made)


def _ablated(planted: Planted, position: Position) -> NeuronScores:
    """What P loses when each neuron alone is zeroed: the causal truth, one neuron at a time."""
    scores = attribute(planted.model, planted.prompts, method="activation", position=position)
    n_layers, width = scores.values.shape[1:]
    values = []
    for numbers in torch.arange(n_layers * width).split(512):
        masks = torch.zeros(len(numbers), n_layers, width, dtype=torch.bool)
        masks[torch.arange(len(numbers)), numbers // width, numbers % width] = True
        before, after = measure_ablation(
            planted.model, planted.prompts, masks, position=position, max_rows=1024
        )
        values.append((before.exp() - after.exp()).T)
    made = replace(scores.provenance, method="ablation")
    return replace(scores, values=torch.cat(values, 1).view_as(scores.values), provenance=made)


def _recovery(
    planted: Planted, values: Float[Tensor, "prompt layer neuron"], top: int
) -> Iterator[dict[str, float]]:
    """Of each fact and language: K, recall, precision, average precision and decoys."""
    shape = values.shape[1], values.shape[2]
    of_decoys = (s.neuron for s in planted.spots if s.kind in ("firing", "writing"))
    decoys = mask_of(of_decoys, shape)
    for fact in planted.facts:
        for language in fact.languages:
            rows = [
                i
                for i, p in enumerate(planted.prompts)
                if (p.fact_id, p.language) == (fact.id, language)
            ]
            order = values[rows].mean(0).flatten().argsort(descending=True, stable=True)
            true = mask_of(planted.acting(fact.id, language), shape).flatten()[order].float()
            count = int(true.sum())
            precision = true.cumsum(0) / torch.arange(1, len(true) + 1)
            yield {
                "planted": count,
                "recall": float(true[:top].sum()) / count,
                "precision": float(true[:count].mean()),
                "average_precision": float((precision * true).sum()) / count,
                "decoys": float(decoys.flatten()[order[:top]].float().mean()),
            }


def score_overlap(
    planted: Planted,
    scores: Mapping[str, NeuronScores],
    *,
    top: int = 20,
    min_languages: int | None = None,
    seed: int = 0,
) -> "pd.DataFrame":
    """Does `overlap` tell planted agnostic from planted specific neurons?

    The `top` neurons of each prompt, refined over paraphrases (`select_neurons`), then `overlap`.

    `scores` are of the prompts of `planted`, by the name of the method (see `method_scores`).

    Returns:
        One row a method and kind ("agnostic", "specific"): the share of the planted neurons of that
        kind that `overlap` calls `agnostic`, `specific` (to the right language),
        `specific_elsewhere` (to a wrong one), `some_languages` (in several sets, but not enough) or
        `missed` (in none), and `purity`, the share of planted neurons of that kind among all those
        that overlap calls so. `_low` and `_high`: 95% bootstrap intervals over facts (agnostic) or
        (fact, language) pairs (specific).

    Raises:
        ValueError: for scores of other prompts.
    """
    import pandas as pd

    _of_its_prompts(planted, scores)
    rows = []
    for method, one in scores.items():
        sets = select_neurons(one, top=top)
        found = overlap(sets, min_languages=min_languages)
        some: dict[str, dict[str, set[Neuron]]] = {}
        for each in sets:
            some.setdefault(each.fact_id, {})[each.language] = set(each.neurons)
        for kind in ("agnostic", "specific"):
            cases = [
                _verdict(planted, found, some, fact.id, language)
                for fact in planted.facts
                if fact.id in found.facts
                for language in ((None,) if kind == "agnostic" else fact.languages)
                if language is None or (fact.id, language) in found.specific
            ]
            row = {"method": method, "kind": kind, "n": len(cases)}
            rows.append(row | _means(pd.DataFrame(cases), seed))
    return pd.DataFrame(rows).set_index(["method", "kind"])


def _verdict(
    planted: Planted,
    found: Overlap,
    sets: Mapping[str, Mapping[str, set[Neuron]]],
    fact_id: str,
    language: str | None,
) -> dict[str, float]:
    """What became of the planted agnostic neurons of a fact, or of the specific ones of one."""
    if language is None:
        mine, named = planted.find("agnostic", fact_id), found.agnostic[fact_id]
    else:
        mine = planted.find("specific", fact_id, language)
        named = found.specific[fact_id, language]
    where = {neuron: [x for x, of in sets[fact_id].items() if neuron in of] for neuron in mine}
    verdicts = []
    for neuron, seen in where.items():
        if not seen:
            verdicts.append("missed")
        elif neuron in found.agnostic[fact_id]:
            verdicts.append("agnostic")
        elif len(seen) == 1:
            verdicts.append("specific" if seen[0] == language else "specific_elsewhere")
        else:
            verdicts.append("some_languages")
    names = ("agnostic", "specific", "specific_elsewhere", "some_languages", "missed")
    shares = {name: verdicts.count(name) / len(mine) for name in names}
    shares["purity"] = len(mine & named) / len(named) if named else math.nan
    return shares
