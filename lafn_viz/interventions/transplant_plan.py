"""Who gives values to whom, and the rows of a transplant that have to be run."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from lafn_viz.datasets.prompts import Prompt
from lafn_viz.datasets.seam import separator_at
from lafn_viz.interventions.interchange import Rows
from lafn_viz.interventions.transplant import (
    ANSWERS,
    BEFORE,
    LAYERS,
    LAYERS_OTHER,
    OTHER,
    OWN,
    RANDOM,
    Answer,
)
from lafn_viz.neurons.controls import random_like
from lafn_viz.neurons.neuron_sets import Neuron, mask_of

# Neurons by fact, or by fact and the language of the giver.
Sets = Mapping[Any, frozenset[Neuron]]
Mask = Bool[Tensor, "layer neuron"]


@dataclass(frozen=True)
class Pair:
    """Numbers of the prompt that gives values and of the one that gets them."""

    giver: int
    getter: int


class Pairing:
    """Who gives values to whom: `known` are the numbers of the givers that are answered."""

    def __init__(
        self, givers: Sequence[Prompt], known: Sequence[int], getters: Sequence[Prompt], seed: int
    ) -> None:
        self.givers, self.getters = givers, getters
        self.rng = np.random.default_rng(seed)
        self.answers = {(p.fact_id, p.language): p.answer for p in (*getters, *givers)}
        self.known: dict[tuple[str, str], list[int]] = defaultdict(list)
        self.facts: dict[tuple[str, str], list[str]] = defaultdict(list)
        for number in known:
            giver = givers[number]
            if not self.known[giver.fact_id, giver.language]:
                self.facts[giver.relation, giver.language].append(giver.fact_id)
            self.known[giver.fact_id, giver.language].append(number)
        self.languages = tuple(dict.fromkeys(language for _, language in self.known))

    def pairs(self) -> Iterator[Pair]:
        """Each prompt that gets values, with its giver in every language that has one."""
        for number, getter in enumerate(self.getters):
            for language in self.languages:
                giver = self._giver(getter, getter.fact_id, language)
                if giver is not None:
                    yield Pair(giver, number)

    def other_givers(self, pair: Pair, count: int) -> list[int]:
        """Draw prompts of other facts, with other answers, of the giver's relation and language."""
        giver, getter = self.givers[pair.giver], self.getters[pair.getter]
        facts = [
            fact
            for fact in self.facts[giver.relation, giver.language]
            if self.answers[fact, giver.language] != giver.answer
            and self.answers.get((fact, getter.language)) != getter.answer
        ]
        drawn = self.rng.permutation(len(facts))[:count].tolist()
        numbers = [self._giver(getter, facts[number], giver.language) for number in drawn]
        return [number for number in numbers if number is not None]

    def _giver(self, getter: Prompt, fact: str, language: str) -> int | None:
        """The known prompt of a fact in a language: in the getter's wording, or the first."""
        numbers = self.known.get((fact, language), [])
        if (fact, language) == (getter.fact_id, getter.language):
            numbers = [n for n in numbers if self.givers[n].text != getter.text]
        same = [n for n in numbers if self.givers[n].paraphrase == getter.paraphrase]
        return next(iter([*same, *numbers]), None)


def key_of(sets: Sets, giver: Prompt) -> Any:
    """The key of a giver's neurons in sets by fact, or by fact and language; None without any."""
    keys = (giver.fact_id, (giver.fact_id, giver.language))
    return next((key for key in keys if sets.get(key)), None)


class Plan:
    """The rows to run, each once, and the cells of the tables that read them."""

    def __init__(self, pairing: Pairing, pairs: Sequence[Pair], shape: tuple[int, int]) -> None:
        self.pairing, self.pairs, self.shape = pairing, pairs, shape
        self.asked: dict[Prompt, int] = {}
        self._masks: dict[tuple[Any, ...], tuple[int, Mask]] = {}
        self._rows: dict[tuple[int, int, int], int] = {}
        self._cells: dict[tuple[str, Answer, int], list[int]] = defaultdict(list)
        self._before: dict[tuple[Answer, int], dict[int, None]] = defaultdict(dict)

    def add_pair(self, number: int, sets: Mapping[str, Sets], controls: int, seed: int) -> None:
        """Plan the transplant of a pair with each of the sets, and its controls."""
        pair = self.pairs[number]
        giver, getter = self.pairing.givers[pair.giver], self.pairing.getters[pair.getter]
        asked: dict[Answer, Prompt] = {"asked": getter}
        if giver.answer != getter.answer:
            asked["giver"] = asked_for(getter, giver.answer)
        for name, of_name in sets.items():
            if (key := key_of(of_name, giver)) is not None:
                mask = self._mask((name, key), partial(mask_of, of_name[key], self.shape))
                self._add(name, number, asked, mask, pair.giver)
        key = key_of(sets[OWN], giver)
        own, neurons = self._mask((OWN, key)), sets[OWN][key]
        layers = self._mask((LAYERS, key), partial(whole_layers, neurons, self.shape))
        self._add(LAYERS, number, asked, layers, pair.giver)
        for draw in range(controls):
            random = partial(self._random, neurons, seed + draw)
            self._add(RANDOM, number, asked, self._mask((RANDOM, key, draw), random), pair.giver)
        for other in self.pairing.other_givers(pair, controls):
            answer = self.pairing.answers.get((self.pairing.givers[other].fact_id, getter.language))
            with_other = asked if answer is None else asked | {"other": asked_for(getter, answer)}
            self._add(OTHER, number, with_other, own, other)
            self._add(LAYERS_OTHER, number, with_other, layers, other)

    def rows(self) -> Rows:
        """The rows, in the order in which they were first asked for."""
        return Rows(*torch.tensor(list(self._rows)).T)

    def masks(self) -> Bool[Tensor, "mask layer neuron"]:
        """The sets of neurons that rows number."""
        return torch.stack([mask for _, mask in self._masks.values()])

    def tables(
        self, conditions: Sequence[str], untouched: Tensor, changed: Tensor
    ) -> tuple[np.ndarray, np.ndarray]:
        """Log-probabilities and whether they are written, by condition, answer and pair."""
        shape = len(conditions), len(ANSWERS), len(self.pairs), 2
        table = np.full(shape, np.nan)
        before, after = untouched.double().numpy(), changed.double().numpy()
        for (answer, number), places in self._before.items():
            cell = conditions.index(BEFORE), ANSWERS.index(answer), number
            table[cell] = before[list(places)].mean(0)
        for (condition, answer, number), rows in self._cells.items():
            cell = conditions.index(condition), ANSWERS.index(answer), number
            table[cell] = after[rows].mean(0)
        return table[..., 0], table[..., 1]

    def _mask(self, key: tuple[Any, ...], make: Callable[[], Mask] | None = None) -> int:
        """The number of a set of neurons, which is made where it is new."""
        if key not in self._masks and make is not None:
            self._masks[key] = len(self._masks), make()
        return self._masks[key][0]

    def _random(self, neurons: frozenset[Neuron], seed: int) -> Mask:
        return mask_of(random_like(neurons, self.shape, seed=seed), self.shape)

    def _add(
        self, condition: str, number: int, asked: Mapping[Answer, Prompt], mask: int, donor: int
    ) -> None:
        """Score the answers of a pair with these neurons at the donor's values."""
        for answer, prompt in asked.items():
            place = self.asked.setdefault(prompt, len(self.asked))
            row = self._rows.setdefault((place, mask, donor), len(self._rows))
            self._cells[condition, answer, number].append(row)
            self._before[answer, number][place] = None


def whole_layers(neurons: frozenset[Neuron], shape: tuple[int, int]) -> Mask:
    """All neurons of the layers that a set has neurons in."""
    return mask_of(neurons, shape).any(1, keepdim=True).expand(shape)


def asked_for(prompt: Prompt, answer: str) -> Prompt:
    """The prompt with another answer, and with what stands before that one."""
    separator = separator_at(prompt.text, answer, prompt.language)
    return replace(prompt, answer=answer, separator=separator)
