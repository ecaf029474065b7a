"""Checks of unit 3: from scores to sets, what sets share, and whether that is more than chance."""

import random
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import partial
from operator import is_
from typing import Any

import torch

from lafn_viz.attribution.scores import NeuronScores
from lafn_viz.course.grading import Wrong, check, members, number, run
from lafn_viz.neurons.neuron_sets import NeuronSet, select_neurons
from lafn_viz.neurons.overlaps import overlap

TOLERANCE = 1e-6
Sets = Mapping[tuple[str, str], Iterable[Hashable]]


@check
def check_keep(answer: Callable, scores: NeuronScores) -> str:
    """`answer(scores, share)`: the neurons whose scores exceed a share of the largest score."""
    width = scores.values.shape[-1]
    generator = torch.Generator().manual_seed(0)
    made_up = [torch.randn(12, generator=generator) * size for size in (0.01, 3.0)]
    small = torch.tensor([0.05, -0.04, 0.02, 0.01, 0.0])
    large = torch.tensor([2.0, 0.5, 0.7, 0.1, -1.0])
    for values in (large, small, *made_up):
        _judge_kept(run(answer, values.clone(), 0.3), values, 0.3)
    right: set[int] = set()
    for row, prompt in enumerate(scores.prompts):
        selected = select_neurons(scores.select(partial(is_, prompt)), threshold=0.2)[0]
        right = {layer * width + neuron for layer, neuron in selected.neurons}
        values = scores.values[row].flatten()
        got = members(run(answer, values.clone(), 0.2))
        if selected.known and got != right:
            _judge_kept(got, values, 0.2)
            raise Wrong(
                f"For {prompt.text!r} `lv.select_neurons` keeps {len(right)} neurons; "
                f"you keep {len(got)}."
            )
    against = int((values < 0).sum())
    return (
        f"For the last prompt you keep {len(right)} of {values.numel()} neurons, the same ones as "
        f"`lv.select_neurons`. Another {against} speak against the answer."
    )


def _judge_kept(answer: Any, values: torch.Tensor, share: float) -> None:
    """Raise `Wrong` if these are not the neurons to keep for one prompt."""
    got = members(answer)
    largest = float(values.max())
    right = _above(values, share * largest)
    if got == right:
        return
    limit = f"{share:.0%} of the largest score, which is {largest:.3g} here"
    if got == _above(values, share):
        raise Wrong(
            f"You compare the scores with {share} itself. The limit is {limit}, because the size "
            "of scores differs from prompt to prompt."
        )
    of_sizes = _above(values.abs(), share * float(values.abs().max()))
    if got in (of_sizes, _above(values.abs(), share * largest)):
        raise Wrong(
            "You keep neurons with a large negative score. They speak against the answer, so "
            "compare each score with its sign."
        )
    if any(isinstance(member, float) for member in got):
        raise Wrong("You return scores. Return the numbers of the neurons instead.")
    raise Wrong(
        f"The limit is {limit}. {len(right)} of {values.numel()} neurons are above it; you keep "
        f"{len(got)}."
    )


def _above(values: torch.Tensor, limit: float) -> set[int]:
    return set((values > limit).nonzero()[:, 0].tolist())


@check
def check_refine(answer: Callable, scores: NeuronScores) -> str:
    """`answer(kept, share)`: the neurons that are in more than a share of the sets."""
    rng = random.Random(0)
    cases: list[list[set[Any]]] = [
        [{1, 2, 3}, {2, 3}, {3, 4}, {3, 5}],
        [{1, 2}, {2, 3}, {3, 4}, {4, 1}],
    ]
    cases += [[set(rng.sample(range(10), 5)) for _ in range(n)] for n in (4, 5, 8)]
    for kept in cases:
        got = members(run(answer, [set(neurons) for neurons in kept], 0.5))
        times = Counter(neuron for neurons in kept for neuron in neurons)
        if got == _more(times, len(kept) / 2):
            continue
        if got == _more(times, len(kept) - 1.0):
            raise Wrong(
                f"You keep only neurons that all {len(kept)} paraphrases keep. Then one odd "
                "wording is enough to lose a neuron; more than half of them should suffice."
            )
        if got == set(times):
            raise Wrong(
                "You keep every neuron that any paraphrase keeps. Then neurons of a single wording "
                "stay in; more than the given share of the paraphrases have to agree."
            )
        if got == _more(times, len(kept) / 2 - 0.5):
            raise Wrong(
                f"You keep a neuron that is in exactly half of the {len(kept)} paraphrases. It has "
                "to be in more than half."
            )
        raise Wrong(
            f"In {kept} the neurons {_more(times, len(kept) / 2)} are in more than half of the "
            f"sets; you keep {got}."
        )
    for share in (0.25, 0.7):
        times = Counter(neuron for neurons in cases[-1] for neuron in neurons)
        copies = [set(neurons) for neurons in cases[-1]]
        if members(run(answer, copies, share)) != _more(times, share * len(cases[-1])):
            raise Wrong(
                f"Your code is right for share=0.5 but not for share={share}. A neuron has to be "
                "in more than share x (number of sets); do not round that."
            )
    refined = select_neurons(scores, threshold=0.2)[0]
    apart = [
        set(select_neurons(scores.select(partial(is_, prompt)), threshold=0.2)[0].neurons)
        for prompt, known in zip(scores.prompts, scores.known.tolist(), strict=True)
        if known and (prompt.fact_id, prompt.language) == (refined.fact_id, refined.language)
    ]
    if members(run(answer, apart, 0.5)) != set(refined.neurons):
        raise Wrong(
            f"Here `lv.select_neurons` keeps {len(refined.neurons)} neurons, and yours are others."
        )
    return (
        f"At least one wording keeps {len(set().union(*apart))} neurons; more than half of the "
        f"wordings keep {len(refined.neurons)}, the same ones as `lv.select_neurons`."
    )


def _more(times: Mapping[Any, int], limit: float) -> set[Any]:
    return {neuron for neuron, n in times.items() if n > limit}


@check
def check_jaccard(answer: Callable, sets: Sequence[NeuronSet]) -> str:
    """`answer(one, other)`: how much two sets share."""
    rng = random.Random(0)
    cases = [({1, 2, 3}, {3, 4}), ({1, 2}, {1, 2}), ({1, 2}, {3}), ({1}, {1, 2, 3, 4})]
    for _ in range(5):
        sizes = rng.sample(range(3, 12), 2)
        cases.append((set(rng.sample(range(15), sizes[0])), set(rng.sample(range(15), sizes[1]))))
    for one, other in cases:
        got = number(run(answer, set(one), set(other)))
        both, union = len(one & other), len(one | other)
        if _near(got, both / union):
            continue
        shown = f"For {one} and {other}"
        if any(_near(got, both / len(neurons)) for neurons in (one, other)):
            raise Wrong(
                f"{shown} you divide by the size of one of the sets. Then a small set inside a "
                "large one would count as equal to it; divide by all neurons that are in either."
            )
        if _near(got, both / (len(one) + len(other))):
            raise Wrong(
                f"{shown} you divide by the sum of both sizes. That counts the shared neurons "
                "twice, so that equal sets would get 0.5 instead of 1."
            )
        if _near(got, 2 * both / (len(one) + len(other))):
            raise Wrong(
                "This is Dice's index. Jaccard's index divides by all neurons that are in either "
                "set."
            )
        if _near(got, 1 - both / union):
            raise Wrong("This is the Jaccard distance; the index is 1 minus the distance.")
        raise Wrong(
            f"{shown} the index is {both} / {union} = {both / union:.3f}; yours is {got:.3f}."
        )
    shared = overlap(sets)
    fact, languages = shared.facts[0], shared.known_in(shared.facts[0])[:2]
    a, b = (set(shared.sets[fact, language].neurons) for language in languages)
    got = number(run(answer, a, b))
    row, column = (shared.languages.index(language) for language in languages)
    reference = float(shared.same_fact[0, row, column])
    if not _near(got, reference, 1e-5):
        raise Wrong(f"Here `lv.overlap` gives {reference:.3f}; yours is {got:.3f}.")
    return (
        f"{fact} in {languages[0]!r} and {languages[1]!r} shares {len(a & b)} of {len(a | b)} "
        f"neurons: {got:.3f}, as `lv.overlap` says. (Is that a lot? See the next exercise.)"
    )


@check
def check_other_facts(answer: Callable, sets: Sequence[NeuronSet]) -> str:
    """`answer(sets, fact, one, other)`: mean Jaccard index with other facts in two languages."""
    shared = overlap(sets)
    rng = random.Random(0)
    names, languages = ("a", "b", "c"), ("x", "y", "z")
    made_up = {(f, lang): set(rng.sample(range(30), 12)) for f in names for lang in languages}
    real = {key: set(of_key.neurons) for key, of_key in shared.sets.items()}
    for table in (made_up, real):
        facts = tuple(dict.fromkeys(fact for fact, _ in table))
        spoken = tuple(dict.fromkeys(language for _, language in table))
        for fact in facts:
            _judge_control(answer, table, facts, fact, spoken[0], spoken[1])
    fact, (one, other) = shared.facts[0], shared.languages[:2]
    got = number(run(answer, real, fact, one, other))
    reference, same = float(shared.other_fact[0, 0, 1]), float(shared.same_fact[0, 0, 1])
    if not _near(got, reference, 1e-5):
        raise Wrong(f"The control of `lv.overlap` is {reference:.3f} here; yours is {got:.3f}.")
    return (
        f"{fact} in {one!r} and {other!r}: {same:.3f} for the same fact, {got:.3f} for other "
        f"facts. Only the difference, {same - got:.3f}, belongs to the fact."
    )


def _judge_control(
    answer: Callable, table: Sets, facts: Sequence[str], fact: str, one: str, other: str
) -> None:
    def mean(pairs: Iterable[tuple[tuple[str, str], tuple[str, str]]]) -> float:
        values = [_index(set(table[a]), set(table[b])) for a, b in pairs]
        return sum(values) / len(values)

    copies = {key: set(neurons) for key, neurons in table.items()}
    got = number(run(answer, copies, fact, one, other))
    others = [name for name in facts if name != fact]
    key, shown = (fact, one), f"the control of {fact!r} in {one!r} and {other!r}"
    if _near(got, mean((key, (x, other)) for x in others)):
        return
    if _near(got, mean((key, (x, other)) for x in facts)):
        raise Wrong(
            f"In {shown} you count the fact itself among the other facts. Leave it out: otherwise "
            "the control holds part of what you compare it with."
        )
    if _near(got, mean((key, (x, one)) for x in others)):
        raise Wrong(
            f"Both of your sets are in {one!r}. A control changes only one thing, here the fact: "
            f"keep the two languages, {one!r} and {other!r}."
        )
    if _near(got, mean(((x, one), (x, other)) for x in others)):
        raise Wrong(
            "Both sets of your pairs belong to one fact again, only to another one. The two sets "
            "of a pair have to belong to different facts."
        )
    if _near(got, mean(((fact, other), (x, one)) for x in others)):
        raise Wrong(
            f"You take {fact!r} in {other!r} and the other facts in {one!r}; it should be the "
            f"other way round, {fact!r} in {one!r}."
        )
    if _near(got, _index(set(table[key]), set(table[fact, other]))):
        raise Wrong("This is the overlap of the fact with itself; the control needs other facts.")
    right = mean((key, (x, other)) for x in others)
    raise Wrong(f"For {shown} the mean is {right:.3f}; yours is {got:.3f}.")


def _index(one: set[Any], other: set[Any]) -> float:
    return len(one & other) / len(one | other)


@check
def check_p_value(answer: Callable) -> str:
    """`answer(observed, draws)`: p-value of an observation, itself counted among the draws."""
    from scipy.stats import hypergeom

    rng = random.Random(0)
    cases = [(3, [1, 1, 3, 3, 4, 4, 4, 4, 4]), (5, list(range(20))), (30, list(range(20)))]
    cases += [(rng.randrange(9), [rng.randrange(9) for _ in range(49)]) for _ in range(4)]
    for observed, draws in cases:
        _judge_p(number(run(answer, observed, list(draws))), observed, draws)
    # Two sets of 20 of 200 neurons share 5; the exact probability of 5 or more is known.
    draws = [len(set(rng.sample(range(200), 20)) & set(range(20))) for _ in range(999)]
    got = number(run(answer, 5, draws))
    _judge_p(got, 5, draws)
    exact = float(hypergeom.sf(4, 200, 20, 20))
    return (
        f"Two sets of 20 out of 200 neurons share 5: p = {got:.3f} from 999 draws at random, and "
        f"{exact:.3f} exactly. The smallest p that 999 draws can give is {1 / 1000}."
    )


def _judge_p(got: float, observed: int, draws: Sequence[int]) -> None:
    n, reached = len(draws), sum(draw >= observed for draw in draws)
    above = sum(draw > observed for draw in draws)
    below = sum(draw <= observed for draw in draws)
    if _near(got, (1 + reached) / (1 + n)):
        return
    shown = f"{observed} was observed, and {reached} of {n} draws reach it"
    if _near(got, reached / n):
        zero = (
            "otherwise p would be 0 where no draw reaches it"
            if reached
            else "p is never 0, because more draws might have reached it"
        )
        raise Wrong(
            f"{shown}: you give {reached} / {n}. Count the observation as one more draw, above and "
            f"below the line; {zero}."
        )
    if _near(got, (1 + below) / (1 + n)) or _near(got, below / n):
        raise Wrong(
            f"{shown}: you count the draws that are as small or smaller. The question is how often "
            "chance reaches as much or more."
        )
    if _near(got, (1 + above) / (1 + n)) or _near(got, above / n):
        raise Wrong(
            f"{shown}: you count only draws that are larger. A draw that is equal reaches it too."
        )
    if _near(got, reached / (1 + n)):
        raise Wrong(f"{shown}: the observation counts as one more draw above the line, too.")
    if _near(got, (1 + reached) / n):
        raise Wrong(f"{shown}: count the observation below the line too, {n + 1} draws in all.")
    raise Wrong(
        f"{shown}: p is {1 + reached} / {1 + n} = {(1 + reached) / (1 + n):.3f}; "
        f"yours is {got:.3f}."
    )


def _near(one: float, other: float, tolerance: float = TOLERANCE) -> bool:
    return abs(one - other) < tolerance
