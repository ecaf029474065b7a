"""Checks of unit 3: from scores to sets, what sets share, and whether that is more than habit."""

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
    """`answer(scores, share)`: numbers of the neurons above a share of the largest score."""
    width = scores.values.shape[-1]
    generator = torch.Generator().manual_seed(0)
    made_up = [torch.randn(12, generator=generator) * size for size in (0.01, 3.0)]
    small = torch.tensor([0.05, -0.04, 0.02, 0.01, 0.0])
    large = torch.tensor([2.0, 0.5, 0.7, 0.1, -1.0])
    for values in (large, small, *made_up):
        _judge_kept(run(answer, values.clone(), 0.3), values, 0.3)
    right: set[int] = set()
    for row, prompt in enumerate(scores.prompts):
        found = select_neurons(scores.select(partial(is_, prompt)), threshold=0.2)[0]
        right = {layer * width + neuron for layer, neuron in found.neurons}
        values = scores.values[row].flatten()
        got = members(run(answer, values.clone(), 0.2))
        if found.known and got != right:
            _judge_kept(got, values, 0.2)
            raise Wrong(
                f"Of {prompt.text!r} `lv.select_neurons` keeps {len(right)} neurons, "
                f"yours are {len(got)}."
            )
    against = int((values < 0).sum())
    return (
        f"Of the last prompt {len(right)} of {values.numel()} neurons are kept, the same as by "
        f"`lv.select_neurons`; {against} others speak against the answer."
    )


def _judge_kept(answer: Any, values: torch.Tensor, share: float) -> None:
    """Say what is wrong with the neurons kept of one prompt; nothing where they are right."""
    got = members(answer)
    largest = float(values.max())
    right = _above(values, share * largest)
    if got == right:
        return
    told = f"{share:.0%} of the largest score, which is {largest:.3g} here"
    if got == _above(values, share):
        raise Wrong(
            f"You compare scores with {share} itself. The limit is {told}: scores have another "
            "size in every prompt."
        )
    of_sizes = _above(values.abs(), share * float(values.abs().max()))
    if got in (of_sizes, _above(values.abs(), share * largest)):
        raise Wrong(
            "You keep neurons with a large negative score. They speak against the answer: compare "
            "the score as it is, with its sign."
        )
    if any(isinstance(one, float) for one in got):
        raise Wrong("Those are scores. The numbers of the neurons are asked for.")
    raise Wrong(
        f"The limit is {told}. {len(right)} of {values.numel()} neurons are above it; you keep "
        f"{len(got)}."
    )


def _above(values: torch.Tensor, limit: float) -> set[int]:
    return set((values > limit).nonzero()[:, 0].tolist())


@check
def check_refine(answer: Callable, scores: NeuronScores) -> str:
    """`answer(kept, share)`: the neurons in more than a share of some sets."""
    rng = random.Random(0)
    cases: list[list[set[Any]]] = [
        [{1, 2, 3}, {2, 3}, {3, 4}, {3, 5}],
        [{1, 2}, {2, 3}, {3, 4}, {4, 1}],
    ]
    cases += [[set(rng.sample(range(10), 5)) for _ in range(n)] for n in (4, 5, 8)]
    for kept in cases:
        got = members(run(answer, [set(one) for one in kept], 0.5))
        times = Counter(neuron for one in kept for neuron in one)
        if got == _more(times, len(kept) / 2):
            continue
        if got == _more(times, len(kept) - 1.0):
            raise Wrong(
                f"You keep only what all {len(kept)} paraphrases keep. One odd wording is then "
                "enough to lose a neuron; more than half is asked for."
            )
        if got == set(times):
            raise Wrong(
                "You keep what any paraphrase keeps. What belongs to one wording stays in then; "
                "more than a share of all of them have to agree."
            )
        if got == _more(times, len(kept) / 2 - 0.5):
            raise Wrong(
                f"A neuron in exactly half of the {len(kept)} paraphrases is in yours. More than "
                "half is asked for."
            )
        raise Wrong(
            f"Of {kept} {_more(times, len(kept) / 2)} are in more than half; yours are {got}."
        )
    for share in (0.25, 0.7):
        times = Counter(neuron for one in cases[-1] for neuron in one)
        copies = [set(one) for one in cases[-1]]
        if members(run(answer, copies, share)) != _more(times, share * len(cases[-1])):
            raise Wrong(
                f"For a half it is right, for share={share} it is not. A neuron has to be in more "
                "than share x number of sets; do not round that."
            )
    refined = select_neurons(scores, threshold=0.2)[0]
    apart = [
        set(select_neurons(scores.select(partial(is_, prompt)), threshold=0.2)[0].neurons)
        for prompt, known in zip(scores.prompts, scores.known.tolist(), strict=True)
        if known and (prompt.fact_id, prompt.language) == (refined.fact_id, refined.language)
    ]
    if members(run(answer, apart, 0.5)) != set(refined.neurons):
        raise Wrong(f"`lv.select_neurons` keeps {len(refined.neurons)} neurons here, not yours.")
    return (
        f"One wording or another keeps {len(set().union(*apart))} neurons, more than half of the "
        f"wordings keep {len(refined.neurons)}, the same as by `lv.select_neurons`."
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
        if any(_near(got, both / len(some)) for some in (one, other)):
            raise Wrong(
                f"{shown} you divide by the size of one of the sets. A small set inside of a large "
                "one would then count as equal to it; divide by all neurons that are in either."
            )
        if _near(got, both / (len(one) + len(other))):
            raise Wrong(
                f"{shown} you divide by both sizes together. That counts what is shared twice: "
                "equal sets would get 0.5 and not 1."
            )
        if _near(got, 2 * both / (len(one) + len(other))):
            raise Wrong("This is Dice's index. Jaccard's divides by all neurons in either set.")
        if _near(got, 1 - both / union):
            raise Wrong("This is the distance; what the sets share is 1 minus that.")
        raise Wrong(f"{shown} the index is {both} / {union}, {both / union:.3f}; yours {got:.3f}.")
    found = overlap(sets)
    fact, languages = found.facts[0], found.known_in(found.facts[0])[:2]
    a, b = (set(found.sets[fact, language].neurons) for language in languages)
    got = number(run(answer, a, b))
    at = [found.languages.index(language) for language in languages]
    reference = float(found.same_fact[0, at[0], at[1]])
    if not _near(got, reference, 1e-5):
        raise Wrong(f"`lv.overlap` has {reference:.3f} here; yours is {got:.3f}.")
    return (
        f"{fact} in {languages[0]!r} and {languages[1]!r}: {len(a & b)} of {len(a | b)} neurons "
        f"are shared, {got:.3f}, as `lv.overlap` says. (Is that much? See the next exercise.)"
    )


@check
def check_other_facts(answer: Callable, sets: Sequence[NeuronSet]) -> str:
    """`answer(sets, fact, one, other)`: mean Jaccard index with other facts, two languages."""
    found = overlap(sets)
    rng = random.Random(0)
    names, languages = ("a", "b", "c"), ("x", "y", "z")
    made_up = {(f, lang): set(rng.sample(range(30), 12)) for f in names for lang in languages}
    real = {key: set(some.neurons) for key, some in found.sets.items()}
    for table in (made_up, real):
        facts = tuple(dict.fromkeys(fact for fact, _ in table))
        spoken = tuple(dict.fromkeys(language for _, language in table))
        for fact in facts:
            _judge_control(answer, table, facts, fact, spoken[0], spoken[1])
    fact, (one, other) = found.facts[0], found.languages[:2]
    got = number(run(answer, real, fact, one, other))
    reference, same = float(found.other_fact[0, 0, 1]), float(found.same_fact[0, 0, 1])
    if not _near(got, reference, 1e-5):
        raise Wrong(f"`lv.overlap` has {reference:.3f} as the other-fact control; yours {got:.3f}.")
    return (
        f"{fact} in {one!r} and {other!r}: {same:.3f} for the same fact, {got:.3f} for another. "
        f"Only the difference, {same - got:.3f}, belongs to the fact."
    )


def _judge_control(
    answer: Callable, table: Sets, facts: Sequence[str], fact: str, one: str, other: str
) -> None:
    def mean(pairs: Iterable[tuple[tuple[str, str], tuple[str, str]]]) -> float:
        values = [_index(set(table[a]), set(table[b])) for a, b in pairs]
        return sum(values) / len(values)

    got = number(run(answer, {key: set(some) for key, some in table.items()}, fact, one, other))
    others = [name for name in facts if name != fact]
    mine, shown = (fact, one), f"the control of {fact!r} in {one!r} and {other!r}"
    if _near(got, mean((mine, (x, other)) for x in others)):
        return
    if _near(got, mean((mine, (x, other)) for x in facts)):
        raise Wrong(
            f"The fact itself is among the others in {shown}: leave it out. With it, the control "
            "holds a part of what it should be compared with."
        )
    if _near(got, mean((mine, (x, one)) for x in others)):
        raise Wrong(
            f"Both sets are of {one!r}. A control changes one thing alone, the fact: keep the two "
            f"languages, {one!r} and {other!r}."
        )
    if _near(got, mean(((x, one), (x, other)) for x in others)):
        raise Wrong(
            "Your pairs are of one fact again, only of another one. The two sets of a pair have to "
            "be of different facts."
        )
    if _near(got, mean(((fact, other), (x, one)) for x in others)):
        raise Wrong(
            f"You take {fact!r} in {other!r} and the others in {one!r}. It is asked for in {one!r}."
        )
    if _near(got, _index(set(table[mine]), set(table[fact, other]))):
        raise Wrong("This is the overlap of the same fact; the control needs another fact.")
    right = mean((mine, (x, other)) for x in others)
    raise Wrong(f"As {shown} {right:.3f} is right; yours is {got:.3f}.")


def _index(one: set[Any], other: set[Any]) -> float:
    return len(one & other) / len(one | other)


@check
def check_p_value(answer: Callable) -> str:
    """`answer(observed, draws)`: how often the null reaches what was observed, with its 1s."""
    from scipy.stats import hypergeom

    rng = random.Random(0)
    cases = [(3, [1, 1, 3, 3, 4, 4, 4, 4, 4]), (5, list(range(20))), (30, list(range(20)))]
    cases += [(rng.randrange(9), [rng.randrange(9) for _ in range(49)]) for _ in range(4)]
    for observed, draws in cases:
        _judge_p(number(run(answer, observed, list(draws))), observed, draws)
    # Two sets of 20 of 200 neurons share 5: the exact probability of so many is known.
    draws = [len(set(rng.sample(range(200), 20)) & set(range(20))) for _ in range(999)]
    got = number(run(answer, 5, draws))
    _judge_p(got, 5, draws)
    exact = float(hypergeom.sf(4, 200, 20, 20))
    return (
        f"Two sets of 20 out of 200 neurons share 5: p = {got:.3f} from 999 draws at random, "
        f"{exact:.3f} exactly. The smallest p that 999 draws can give is {1 / 1000}."
    )


def _judge_p(got: float, observed: int, draws: Sequence[int]) -> None:
    n, reached = len(draws), sum(draw >= observed for draw in draws)
    above = sum(draw > observed for draw in draws)
    below = sum(draw <= observed for draw in draws)
    if _near(got, (1 + reached) / (1 + n)):
        return
    shown = f"{observed} was observed, and {reached} of {n} draws reach that"
    if _near(got, reached / n):
        zero = "0 is never true" if not reached else "it would be 0 where none reaches it"
        raise Wrong(
            f"{shown}: you give {reached} / {n}. Count what was observed as one more draw, above "
            f"and below the line; {zero}, more draws might have reached it."
        )
    if _near(got, (1 + below) / (1 + n)) or _near(got, below / n):
        raise Wrong(
            f"{shown}: you count the draws that are as small or smaller. Asked is how often chance "
            "reaches as much or more."
        )
    if _near(got, (1 + above) / (1 + n)) or _near(got, above / n):
        raise Wrong(
            f"{shown}: you count only draws that are larger. One that is equal reaches it too."
        )
    if _near(got, reached / (1 + n)):
        raise Wrong(f"{shown}: what was observed is one more draw above the line, too.")
    if _near(got, (1 + reached) / n):
        raise Wrong(f"{shown}: there is one more draw below the line too, {n + 1} in all.")
    raise Wrong(
        f"{shown}: p is {1 + reached} / {1 + n}, {(1 + reached) / (1 + n):.3f}; not {got:.3f}."
    )


def _near(one: float, other: float, tolerance: float = TOLERANCE) -> bool:
    return abs(one - other) < tolerance
