"""Do the degenerate neurons of a relation tell true answers from false ones?

Fact-checking of Chen et al. 2024, "Journey to the Center of the Knowledge Neurons" (section 5):

1. Split the facts of a relation in two. Find the degenerate neurons of each training fact, and keep
   the neurons that are degenerate for many of them.
2. Score a candidate answer by its mean attribution over these neurons. It passes above a threshold
   that is fitted on the training facts alone.
3. Judge true and false answers of the test facts: ROC, AUC, accuracy.

Three controls judge the same answers: the candidate's own probability, which costs one pass and
needs no neurons; as many neurons that are often among the best by attribution but were not kept,
which shows what degeneracy adds; and as many random neurons of the same layers.

Caveat: the model gives most false answers next to no probability when they are drawn at random.
`false_answers="plausible"` takes the likeliest wrong answer instead. It is chosen by the very
probability that the control P(candidate) judges by, so that this control is at its worst there; the
neurons are not.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import torch
from jaxtyping import Float

from lafn_viz.attribution.attribute import attribute
from lafn_viz.attribution.methods import METHODS, Method
from lafn_viz.attribution.scores import NeuronScores
from lafn_viz.core.arguments import (
    a_flag,
    a_text,
    one_of,
    or_none,
    real,
    some_languages,
    some_wholes,
    takes,
    whole,
)
from lafn_viz.core.skipped import Skipped
from lafn_viz.datasets.arguments import Facts, as_facts
from lafn_viz.datasets.facts import FactSet
from lafn_viz.interventions.degenerate import Degenerate, find_degenerate
from lafn_viz.interventions.degenerate_search import SEARCH, Of, SearchOptions
from lafn_viz.interventions.fact_check import DKN, RANDOM, TOP, FactCheck, P, fit_threshold
from lafn_viz.interventions.false_answers import FalseAnswers, readable_facts, true_and_false
from lafn_viz.models.calls import reads_model
from lafn_viz.models.capabilities import provenance
from lafn_viz.models.tokens import Position
from lafn_viz.neurons.controls import random_like
from lafn_viz.neurons.neuron_sets import Neuron, mask_of, require_finite

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


@reads_model
@takes(
    **SEARCH, relation=a_text, languages=or_none(some_languages),
    paraphrases=or_none(some_wholes(0)),
    max_facts=or_none(whole(1)), false_answers=one_of(get_args(FalseAnswers)),
    train_share=real(above=0, below=1), share=real(least=0, below=1), method=one_of(METHODS),
    progress=a_flag,
)  # fmt: skip
def check_facts(
    model: "TransformerBridge",
    facts: Facts,
    relation: str,
    *,
    languages: str | Iterable[str] | None = None,
    paraphrases: int | Sequence[int] | None = None,
    max_facts: int | None = None,
    false_answers: FalseAnswers = "random",
    train_share: float = 0.8,
    share: float = 0.7,
    top: int = 20,
    t_low: float = 0.2,
    t_high: float = 0.25,
    max_size: int = 2,
    of: Of = "probability",
    method: Method = "integrated_gradients",
    position: Position = "all",
    controls: int = 10,
    seed: int = 0,
    progress: bool = False,
) -> FactCheck:
    """Judge true and false answers of a relation by the degenerate neurons of other facts.

    Every prompt gets its true answer and one false one: another object of the relation in the same
    language. Cost: two attributions per prompt, and a search per training fact and language.

    Args:
        facts: with at least two facts of the relation and two different objects.
        languages: to ask in; all if not given.
        paraphrases: numbers of those to ask; all if not given.
        max_facts: use at most as many, drawn with the seed. False answers may come from all.
        false_answers: "random", or "plausible": of all wrong objects in that language the one to
            which the model gives the highest log-probability, mean over the asked paraphrases.
        train_share: share of the facts that find the neurons and fit the thresholds.
        share: a neuron is frequent when it is degenerate for more training facts and languages than
            this share of the most frequent neuron's count (the paper: 0.7).
        top, t_low, t_high, max_size, of: as in `find_degenerate`.
        method, position: as in `attribute`.
        controls: number of draws of random neurons of the same layers.
        seed: of the split, the false answers and the random neurons.

    Raises:
        ValueError: for an option out of its range or too few facts, prompts or objects.

    Warns:
        SkippedWarning: naming the facts that the model cannot be asked, and those with a score that
            is not a number. The others are judged as they would be without them.
    """
    paraphrases = None if paraphrases is None else some_wholes(0)("paraphrases", paraphrases)
    settings: dict[str, Any] = {
        "top": top, "t_low": t_low, "t_high": t_high, "max_size": max_size, "of": of,
        "position": position,
    }  # fmt: skip
    # Refused now, and not after minutes of attribution.
    SearchOptions(**settings, max_sets=1, controls=controls, seed=seed)
    chosen = as_facts(facts).filter(relation=relation, languages=languages)
    skipped = Skipped("fact")
    pool = readable_facts(model, chosen, paraphrases, position, skipped)
    options: dict[str, Any] = {"method": method, "position": position, "progress": progress}
    of_true, of_false = _attributed(
        model, pool, paraphrases, max_facts, false_answers, seed, skipped, options
    )
    skipped.report(len(chosen))
    true, false = of_true.prompts, of_false.prompts
    train, test = _split(list(dict.fromkeys(p.fact_id for p in true)), train_share, seed)
    of_train = of_true.select(lambda prompt: prompt.fact_id in train)
    results = find_degenerate(model, of_train, controls=0, progress=progress, **settings)
    neurons = _frequent(results, share)
    top_neurons = _by_frequency(results, without=neurons)[: len(neurons)]
    judges, scores = _judge([of_true, of_false], neurons, top_neurons, controls, seed)
    truth = np.repeat([True, False], [len(true), len(false)])
    fit_on = np.array([prompt.fact_id in train for prompt in (*true, *false)], dtype=bool)
    return FactCheck(
        relation=relation,
        train=train,
        test=test,
        neurons=neurons,
        top=top_neurons,
        found=tuple(results),
        prompts=(*true, *false),
        truth=truth,
        judges=judges,
        scores=scores,
        thresholds=np.array([fit_threshold(row[fit_on], truth[fit_on]) for row in scores]),
        reason=None if neurons else _reason(results),
        provenance=provenance(
            model, "check_facts", seed=seed, languages=languages,
            paraphrases=None if paraphrases is None else tuple(paraphrases), max_facts=max_facts,
            false_answers=false_answers, train_share=train_share, share=share, controls=controls,
            attribution=method, **settings,
        ),
    )  # fmt: skip


def _attributed(
    model: "TransformerBridge",
    pool: FactSet,
    paraphrases: Sequence[int] | None,
    max_facts: int | None,
    false_answers: FalseAnswers,
    seed: int,
    skipped: Skipped,
    options: Mapping[str, Any],
) -> tuple[NeuronScores, NeuronScores]:
    """The scores of the true and of the false candidates, without facts whose are no numbers."""
    drawn = (
        pool if max_facts is None or max_facts >= len(pool) else pool.sample(max_facts, seed=seed)
    )
    asked = [p for p in drawn.prompts() if paraphrases is None or p.paraphrase in paraphrases]
    candidates = true_and_false(model, pool, asked, false_answers, seed)
    of_true, of_false = (attribute(model, prompts, **options) for prompts in candidates)
    bad = set()
    for part in (of_true, of_false):
        for number in (~torch.isfinite(part.values).flatten(1).all(1)).nonzero().flatten().tolist():
            bad.add(part.prompts[number].fact_id)
            with skipped.unless_it_fails(part.prompts[number].fact_id):
                require_finite(part.at([number]))
    if not bad:
        return of_true, of_false
    # Without them from the start: false answers and the draw depend on the facts that there are.
    rest = replace(pool, facts=tuple(fact for fact in pool if fact.id not in bad))
    if not rest.facts:
        skipped.report(len(pool))
    return _attributed(model, rest, paraphrases, max_facts, false_answers, seed, skipped, options)


def _split(
    facts: list[str], train_share: float, seed: int
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Split facts at random into those to train and those to test."""
    n_train = round(train_share * len(facts))
    if not 0 < n_train < len(facts):
        raise ValueError(
            f"train_share={train_share} of {len(facts)} facts with a false candidate leaves "
            f"{n_train} to train and {len(facts) - n_train} to test; both need at least one"
        )
    random.Random(seed).shuffle(facts)
    return tuple(facts[:n_train]), tuple(facts[n_train:])


def _frequent(results: Sequence[Degenerate], share: float) -> tuple[Neuron, ...]:
    """Neurons that are degenerate more often than a share of the most frequent one's count."""
    count = Counter(neuron for result in results for neuron in result.neurons)
    limit = share * max(count.values(), default=0)
    return tuple(sorted(neuron for neuron, times in count.items() if times > limit))


def _by_frequency(results: Iterable[Degenerate], without: Iterable[Neuron]) -> tuple[Neuron, ...]:
    """The other candidates, from the most frequent to the least; ties by their attribution."""
    count: Counter[Neuron] = Counter()
    total: dict[Neuron, float] = defaultdict(float)
    for result in results:
        count.update(result.candidates)
        for neuron, score in zip(result.candidates, result.attribution.tolist(), strict=True):
            total[neuron] += score
    others = count.keys() - set(without)
    return tuple(sorted(others, key=lambda neuron: (-count[neuron], -total[neuron], neuron)))


def _judge(
    scores: Sequence[NeuronScores],
    neurons: Sequence[Neuron],
    top_neurons: Sequence[Neuron],
    controls: int,
    seed: int,
) -> tuple[tuple[str, ...], Float[np.ndarray, "judge item"]]:
    """The name of each judge and its scores of the candidates, true ones first."""
    values = torch.cat([part.values for part in scores])
    shape = (values.shape[1], values.shape[2])

    def mean_over(chosen: Iterable[Neuron]) -> Float[np.ndarray, " item"]:
        return values[:, mask_of(chosen, shape)].double().mean(1).numpy()  # NaN without neurons

    probability = torch.cat([part.target_prob for part in scores]).double().numpy()
    rows = [(DKN, mean_over(neurons)), (P, probability)]
    if top_neurons:
        rows.insert(1, (TOP, mean_over(top_neurons)))
    for draw in range(controls if neurons else 0):
        rows.append((RANDOM, mean_over(random_like(neurons, shape, seed=seed + draw))))
    return tuple(name for name, _ in rows), np.stack([row for _, row in rows])


def _reason(results: Sequence[Degenerate]) -> str:
    """Why no neuron is degenerate in any training fact."""
    reasons = Counter((result.reason or "").split(" (")[0] for result in results)
    return (
        f"no degenerate neuron in {len(results)} training facts and languages, mostly because "
        f"{reasons.most_common(1)[0][0]}"
    )
