"""The sets whose effects `examine` compares: neurons found without a language, and controls.

For each fact and each language that knows it:

- `WITHOUT`: the neurons that are agnostic without the language. They were found in other languages
  and are tried on this one, so what they do here was not fitted here.
- "agnostic": those found with all languages.
- "own set": the language's own selected neurons, the most that any set of such a size should do.
- "as highly attributed": neurons of the same layers with scores as high in this language, but not
  agnostic. "as active": neurons of the same layers, as active on the fact's prompts in this
  language. "random": any neurons of the same layers. Each matches `WITHOUT`, neuron for neuron.
- "another fact's": the neurons found without the language for the next fact of the relation: what
  languages share of the relation, without this fact.
- "all neurons": every neuron of every layer. Where this changes little, no set can change much, and
  a small effect is no evidence of anything.
"""

from collections.abc import Collection, Mapping
from functools import cache
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from lafn_viz.attribution.scores import NeuronScores
from lafn_viz.neurons.controls import matched_like, random_like
from lafn_viz.neurons.neuron_sets import Neuron, neurons_of
from lafn_viz.neurons.overlap_result import Overlap

Control = Literal[
    "agnostic", "own set", "as highly attributed", "as active", "random", "another fact's",
    "all neurons",
]  # fmt: skip
WITHOUT = "found without the language"
OWN_SET = "own set"
Key = tuple[str, str]  # a fact in a language
CONTROLS: tuple[Control, ...] = get_args(Control)
Sets = dict[Key, frozenset[Neuron]]


def compared_sets(
    overlap: Overlap,
    scores: NeuronScores,
    activations: Mapping[Key, Float[Tensor, "layer neuron"]],
    controls: Collection[Control],
    *,
    seed: int,
) -> dict[str, Sets]:
    """The neurons of each fact in each language, `WITHOUT` and then the chosen controls.

    Args:
        activations: the mean of each neuron on a fact's prompts in a language, for "as active".
    """
    found = {language: overlap.agnostic_without(language) for language in overlap.languages}
    without = {
        (fact, language): found[language][fact]
        for fact, language in overlap.sets
        if fact in found[language]
    }
    sets: dict[str, Sets] = {WITHOUT: without}
    for name in controls:
        sets[name] = {
            key: _control(name, key, without, overlap, scores, activations, seed + number)
            for number, key in enumerate(without)
        }
    return sets


def _control(
    name: Control,
    key: Key,
    without: Sets,
    overlap: Overlap,
    scores: NeuronScores,
    activations: Mapping[Key, Float[Tensor, "layer neuron"]],
    seed: int,
) -> frozenset[Neuron]:
    """The neurons of one control of one fact in one language."""
    fact, own = key[0], without[key]
    if name == "agnostic":
        return overlap.agnostic[fact]
    if name == OWN_SET:
        return overlap.sets[key].neurons
    if name == "as highly attributed":
        return matched_like(own, _mean_scores(scores, key), avoid=overlap.agnostic[fact])
    if name == "as active":
        return matched_like(own, activations[key])
    if name == "random":
        return random_like(own, overlap.shape, seed=seed)
    if name == "another fact's":
        others = _others(key, without, overlap)
        return without[others[0]] if others else frozenset()
    return _all_neurons(overlap.shape)


def _others(key: Key, without: Sets, overlap: Overlap) -> list[Key]:
    """The other facts of the relation in this language: those after the fact, then those before."""
    relation = dict(zip(overlap.facts, overlap.relations, strict=True))
    place = overlap.facts.index(key[0])
    return [
        (fact, key[1])
        for fact in (*overlap.facts[place + 1 :], *overlap.facts[:place])
        if relation[fact] == relation[key[0]] and (fact, key[1]) in without
    ]


def _mean_scores(scores: NeuronScores, key: Key) -> Float[Tensor, "layer neuron"]:
    """The mean scores over a fact's known prompts in a language."""
    rows = [
        row
        for row, prompt in enumerate(scores.prompts)
        if (prompt.fact_id, prompt.language) == key and bool(scores.known[row])
    ]
    return scores.values[rows].mean(0)


@cache
def _all_neurons(shape: tuple[int, int]) -> frozenset[Neuron]:
    return neurons_of(torch.ones(shape, dtype=torch.bool))
