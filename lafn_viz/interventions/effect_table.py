"""Measure the sets of one fact after another, and collect the means that `Effects` holds."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from lafn_viz.core.arguments import wrong
from lafn_viz.core.messages import quoted
from lafn_viz.datasets.prompts import Prompt
from lafn_viz.interventions.intervene import validated_set
from lafn_viz.neurons.controls import random_like
from lafn_viz.neurons.neuron_sets import Neuron, Neurons, mask_of

# The five means that `Effects` holds for every set, fact and language.
MEASUREMENTS = ("before", "after", "random", "other_before", "other")

# By the name of the set: the neurons of a fact in each language.
SetsOfFact = Mapping[str, Mapping[str, frozenset[Neuron]]]


def require_sets_by_fact(sets: Any) -> None:
    """Refuse sets that are not given by name and fact."""
    wanted = "for each name the neurons of each fact, as in {'agnostic': overlap.agnostic}"
    if not isinstance(sets, Mapping):
        raise wrong("sets", sets, wanted)
    for name, by_id in sets.items():
        if not isinstance(by_id, Mapping):
            raise wrong(f"sets[{quoted(name)}]", by_id, wanted)


def sets_of_facts(
    sets: Mapping[str, Mapping[Any, Neurons]],
    facts: Sequence[str],
    languages: Sequence[str],
    shape: tuple[int, int],
) -> dict[str, dict[str, dict[str, frozenset[Neuron]]]]:
    """The validated neurons by fact, name of the set and language, of these facts and languages."""
    by_fact: dict[str, dict[str, dict[str, frozenset[Neuron]]]] = {}
    validated: dict[frozenset[Neuron], frozenset[Neuron]] = {}  # one set may serve many facts
    for name, by_key in sets.items():
        for key, given in by_key.items():
            fact, chosen = (key, languages) if isinstance(key, str) else (key[0], key[1:])
            if fact in facts and set(chosen) <= set(languages):
                if isinstance(given, frozenset) and given in validated:
                    neurons = validated[given]
                else:
                    neurons = validated_set(given, shape)
                    validated[neurons] = neurons
                of_name = by_fact.setdefault(fact, {}).setdefault(name, {})
                of_name.update(dict.fromkeys(chosen, neurons))
    return by_fact


class EffectTable:
    """The means of `Effects` while they are measured; NaN until then."""

    def __init__(
        self, sets: tuple[str, ...], facts: tuple[str, ...], languages: tuple[str, ...]
    ) -> None:
        self.sets, self.facts, self.languages = sets, facts, languages
        shape = (len(MEASUREMENTS), len(sets), len(facts), len(languages))
        self.values = {of: np.full(shape, np.nan) for of in ("p", "log_p")}
        self.n_neurons = np.full(shape[1:], np.nan)

    def record(
        self, kind: str, name: str, fact: str, log_prob: Tensor, prompts: Sequence[Prompt]
    ) -> None:
        """Enter the means over prompts (and over rows, where there are several draws).

        A language in which the set has no neurons stays NaN: nothing was changed there.
        """
        draws = log_prob.double().reshape(-1, len(prompts)).numpy()
        cell = self.sets.index(name), self.facts.index(fact)
        for column, language in enumerate(self.languages):
            numbers = [i for i, prompt in enumerate(prompts) if prompt.language == language]
            if numbers and len(draws) and self.n_neurons[(*cell, column)] > 0:
                place = (MEASUREMENTS.index(kind), *cell, column)
                self.values["p"][place] = np.exp(draws[:, numbers]).mean()
                self.values["log_p"][place] = draws[:, numbers].mean()


def measure_fact(
    table: EffectTable,
    measure: Callable[..., tuple[Tensor, Tensor]],
    fact: str,
    neurons: SetsOfFact,
    by_fact: Mapping[str, Sequence[Prompt]],
    other: str | None,
    *,
    shape: tuple[int, int],
    controls: int,
    seed: int,
) -> None:
    """Change one fact's neurons of each set, and random ones; measure it and the other fact."""
    for name, of_name in neurons.items():
        for language, own in of_name.items():
            cell = table.sets.index(name), table.facts.index(fact), table.languages.index(language)
            table.n_neurons[cell] = len(own)
    neurons = {name: of_name for name, of_name in neurons.items() if any(of_name.values())}
    if not neurons:
        return
    masks = [_masks(of_name, table.languages, shape) for of_name in neurons.values()]
    random = [
        _masks(
            {language: random_like(own, shape, seed=seed + draw) for language, own in of.items()},
            table.languages, shape,
        )
        for of in neurons.values()
        for draw in range(controls)
    ]  # fmt: skip

    def changed(prompts: Sequence[Prompt], masks: list[Tensor]) -> tuple[Tensor, Tensor]:
        groups = torch.tensor([table.languages.index(prompt.language) for prompt in prompts])
        return measure(prompts, torch.stack(masks), groups=groups)

    before, after = changed(by_fact[fact], [*masks, *random])
    drawn = after[len(neurons) :].unflatten(0, (len(neurons), controls)) if controls else None
    for row, name in enumerate(neurons):
        table.record("before", name, fact, before, by_fact[fact])
        table.record("after", name, fact, after[row], by_fact[fact])
        if drawn is not None:
            table.record("random", name, fact, drawn[row], by_fact[fact])
    if other is not None:
        before, after = changed(by_fact[other], masks)
        for row, name in enumerate(neurons):
            table.record("other_before", name, fact, before, by_fact[other])
            table.record("other", name, fact, after[row], by_fact[other])


def _masks(
    by_language: Mapping[str, frozenset[Neuron]], languages: Sequence[str], shape: tuple[int, int]
) -> Bool[Tensor, "language layer neuron"]:
    """The neurons of each language as tables of booleans; languages without any have none."""
    masks: dict[frozenset[Neuron], Tensor] = {}
    for own in by_language.values():
        if own not in masks:
            masks[own] = mask_of(own, shape)
    nothing = torch.zeros(shape, dtype=torch.bool)
    return torch.stack(
        [masks[by_language[code]] if code in by_language else nothing for code in languages]
    )


def next_of_relation(
    fact: str, facts: Sequence[str], by_fact: Mapping[str, Sequence[Prompt]]
) -> str | None:
    """The next fact of the same relation, after the last the first; None if it is the only one."""
    relation = by_fact[fact][0].relation
    alike = [name for name in facts if by_fact[name][0].relation == relation]
    return alike[(alike.index(fact) + 1) % len(alike)] if len(alike) > 1 else None
