"""Which neurons name the fact in the middle layers, and which put it into the prompt's language?

A multilingual model may name an answer in one language first and in the prompt's own at the end
(see `lens_reading`). If language-agnostic neurons carry the fact, then without them the name in the
other language goes missing in the middle layers, and the own one after it. If specific neurons only
change the language, then without them the middle layers name the fact as before, and the end does
not. So: set the neurons to zero, and read every layer again.

The controls stand beside each set: random neurons of the same layers, as many in each and drawn
several times, and the neurons of the next fact of the relation.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float

from lafn_viz.core.arguments import (
    a_flag,
    a_seed,
    bootstrap_draws,
    or_none,
    some_languages,
    takes,
    whole,
)
from lafn_viz.core.messages import listed
from lafn_viz.core.provenance import Provenance
from lafn_viz.core.stats import bootstrap, mean_of_finite
from lafn_viz.datasets.arguments import Facts, Prompts
from lafn_viz.datasets.prompts import Prompt, prompt_columns
from lafn_viz.interventions.effect_table import (
    next_of_relation,
    require_sets_by_fact,
    sets_of_facts,
)
from lafn_viz.interventions.language_lens import ANOTHER, OWN, TOP, LanguageLens
from lafn_viz.interventions.lens_reading import LensReading
from lafn_viz.models.calls import reads_model
from lafn_viz.models.capabilities import capabilities, provenance
from lafn_viz.neurons.controls import random_like
from lafn_viz.neurons.neuron_sets import Neuron, Neurons, masks_of

if TYPE_CHECKING:
    import pandas as pd
    from transformer_lens.model_bridge import TransformerBridge

LEADERS = (OWN, ANOTHER)
ZEROED, RANDOM, OTHER = "zeroed", "random neurons", "other fact"
KINDS = (ZEROED, RANDOM, OTHER)
MEASURES = ("log_p", "leads")


@dataclass(frozen=True)
class LensEffects:
    """What each layer names with neurons at zero, beside what it names without a change.

    The tables have a row for each set in `sets` and each of KINDS: the set itself, as many random
    neurons of the same layers (means over the draws), and the next fact's neurons. `log_p` (nats)
    and `leads` (0 to 1) are changes, for the prompt's "own" name and that in "another" language,
    after each layer. `log_p` in another language is that of the likeliest name with a first token
    of its own. NaN: nothing was changed there, or there is no such name.

    `lens` is the reading without a change. `n_neurons` counts the neurons of each set and prompt.
    """

    lens: LanguageLens
    sets: tuple[str, ...]
    n_neurons: Float[np.ndarray, "set prompt"]
    log_p: Float[np.ndarray, "set kind leader prompt layer"]
    leads: Float[np.ndarray, "set kind leader prompt layer"]
    provenance: Provenance

    def __repr__(self) -> str:
        n_facts = len({prompt.fact_id for prompt in self.lens.prompts})
        means = mean_of_finite(self.log_p, 3)  # over prompts
        said = []
        for name, of_set, (own, *_) in zip(self.sets, self.n_neurons, means, strict=True):
            if not of_set.any():
                said.append(f"there are no {name} neurons")
                continue
            another = own[LEADERS.index(ANOTHER)]
            layer = int(np.argmax(np.nan_to_num(np.abs(another))))
            said.append(
                f"without {name} neurons another language's name changes most after layer {layer}, "
                f"by {another[layer]:+.2f} nats, and the own name at the end by "
                f"{own[LEADERS.index(OWN), -1]:+.2f}"
            )
        return (
            f"LensEffects({len(self.lens.prompts)} prompts of {n_facts} facts: {'; '.join(said)})"
        )

    @takes(draws=bootstrap_draws, seed=a_seed)
    def summary(self, *, draws: int = 2000, seed: int = 0) -> "pd.DataFrame":
        """Mean change in each layer, with 95% bootstrap intervals over facts.

        Returns:
            One row per `set`, `kind` (of KINDS), `leader` ("own" or "another") and `layer`: the
            change of `log_p` (nats) of its name and of the share of prompts in which it `leads`,
            each with `_low` and `_high`, `n_prompts` and `n_facts`. Prompts whose names are not
            told apart are left out. Means are over facts.
        """
        import pandas as pd

        limits = {"log_p": (-np.inf, np.inf), "leads": (-1.0, 1.0)}
        rows: list[dict[str, Any]] = []
        for place, key in self._rows():
            row: dict[str, Any] = {}
            for measure in MEASURES:
                facts = self.lens.by_fact(getattr(self, measure)[place])
                low, high = bootstrap(facts, draws=draws, seed=seed, limits=limits[measure])
                row |= {measure: float(mean_of_finite(facts, 0))}
                row |= {f"{measure}_low": low, f"{measure}_high": high}
            row["n_prompts"] = int(np.isfinite(self.log_p[place]).sum())
            row["n_facts"] = int(np.isfinite(facts).sum())
            rows.append(key | row)
        return pd.DataFrame(rows).set_index(["set", "kind", "leader", "layer"])

    def to_frame(self) -> "pd.DataFrame":
        """One row per set, kind, leader, layer and prompt: the changes, and the prompt's keys."""
        import pandas as pd

        keys = prompt_columns(self.lens.prompts)
        frames = [
            pd.DataFrame(
                {**keys, **key, "log_p": self.log_p[place], "leads": self.leads[place]}
            ).assign(n_neurons=self.n_neurons[place[0]])
            for place, key in self._rows()
        ]
        return pd.concat(frames, ignore_index=True).dropna(subset=["log_p"])

    def _rows(self) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
        """Each cell of the tables but for its prompts: where it is, and what it is called."""
        for s, k, leader in np.ndindex(*self.log_p.shape[:3]):
            for layer in range(self.lens.n_layers + 1):
                key = {"set": self.sets[s], "kind": KINDS[k], "leader": LEADERS[leader]}
                yield (s, k, leader, slice(None), layer), key | {"layer": layer}


@reads_model
@takes(
    languages=or_none(some_languages), controls=whole(0), other_fact=a_flag, seed=a_seed,
    max_prompts=whole(1),
)  # fmt: skip
def lens_effects(
    model: "TransformerBridge",
    prompts: Prompts,
    sets: Mapping[str, Mapping[Any, Neurons]],
    *,
    facts: Facts | None = None,
    languages: str | Sequence[str] | None = None,
    controls: int = 2,
    other_fact: bool = True,
    seed: int = 0,
    max_prompts: int = 32,
) -> LensEffects:
    """Read every layer with the neurons of each fact at zero, beside the controls.

    Neurons are at zero at all positions of the prompt, but not in the examples before it.

    Args:
        prompts, facts, languages, max_prompts: as in `language_lens`.
        sets: as in `effects`: for each name, the neurons of each fact (by fact_id), or of each fact
            in each language (by (fact_id, language)).
        controls: the number of random sets for each set; the tables hold their means.
        other_fact: zero the next fact's neurons, too.
        seed: of the random sets, and of the other objects.

    Raises:
        ValueError: as `language_lens`, for a neuron that the model does not have, or when no fact
            of the sets is among the prompts.
    """
    require_sets_by_fact(sets)
    reading = LensReading.of(model, prompts, facts, languages, 1, seed)
    shape = capabilities(model).shape
    by_fact: dict[str, list[Prompt]] = {}
    for prompt in reading.prompts:
        by_fact.setdefault(prompt.fact_id, []).append(prompt)
    spoken = tuple(dict.fromkeys(prompt.language for prompt in reading.prompts))
    neurons = sets_of_facts(sets, tuple(by_fact), spoken, shape)

    def chosen(name: str, fact: str | None, language: str) -> frozenset[Neuron]:
        of_fact = neurons.get(fact, {}) if fact is not None else {}
        return of_fact.get(name, {}).get(language, frozenset())

    def next_fact(name: str, fact: str) -> str | None:
        with_neurons = [
            fact for fact, of_fact in neurons.items() if any(of_fact.get(name, {}).values())
        ]
        return next_of_relation(fact, with_neurons, by_fact) if fact in with_neurons else None

    own = {
        name: [chosen(name, prompt.fact_id, prompt.language) for prompt in reading.prompts]
        for name in sets
    }
    counts = np.array([[len(of_prompt) for of_prompt in of_set] for of_set in own.values()])
    if not counts.any():
        raise ValueError(
            f"none of the sets ({listed(sets)}) has neurons of a fact and language that is among "
            "the prompts; give prompts of the same facts"
        )
    lens = reading.lens(model, max_prompts)
    before = _measured(lens)
    tables = {
        measure: np.full((len(sets), len(KINDS), *values.shape), np.nan)
        for measure, values in before.items()
    }
    for number, (name, of_set) in enumerate(own.items()):
        changes = {
            ZEROED: [of_set],
            RANDOM: [
                [random_like(of_prompt, shape, seed=seed + draw) for of_prompt in of_set]
                for draw in range(controls)
            ],
            OTHER: [
                [chosen(name, next_fact(name, p.fact_id), p.language) for p in reading.prompts]
            ] if other_fact else [],
        }  # fmt: skip
        for kind, draws in changes.items():
            after = [_zeroed(model, reading, lens.told_apart, draw, max_prompts) for draw in draws]
            for measure, table in tables.items():
                if after:
                    mean = np.mean([read[measure] for read in after], axis=0)
                    table[number, KINDS.index(kind)] = mean - before[measure]
    return LensEffects(
        lens=lens,
        sets=tuple(sets),
        n_neurons=counts.astype(float),
        **tables,
        provenance=provenance(
            model, "lens_effects", seed=seed, controls=controls, other_fact=other_fact,
            languages=reading.languages,
        ),
    )  # fmt: skip


def _zeroed(
    model: "TransformerBridge",
    reading: LensReading,
    readable: Bool[np.ndarray, " prompt"],
    neurons: Sequence[frozenset[Neuron]],
    max_prompts: int,
) -> dict[str, Float[np.ndarray, "leader prompt layer"]]:
    """The measures with each prompt's neurons at zero.

    Prompts without neurons, and those that are not told apart, are NaN and are not read.
    """
    n_layers, width = capabilities(model).shape
    shape = len(LEADERS), len(neurons), n_layers + 1
    found = {measure: np.full(shape, np.nan) for measure in MEASURES}
    numbers = [i for i, of_prompt in enumerate(neurons) if of_prompt and readable[i]]
    if numbers:
        zeroed = masks_of([neurons[i] for i in numbers], (n_layers, width))
        read = _measured(reading.only(numbers).lens(model, max_prompts, zeroed))
        for measure, values in found.items():
            values[:, numbers] = read[measure]
    return found


def _measured(lens: LanguageLens) -> dict[str, Float[np.ndarray, "leader prompt layer"]]:
    """Log-probability of the own name and of the likeliest other one, and whether each leads."""
    prompts = np.arange(len(lens.prompts))
    own_token = lens.token[prompts, lens.own]
    own_name = lens.log_prob[prompts, :, lens.own]
    apart = (lens.token >= 0) & (lens.token != own_token[:, None])
    others = np.where(apart[:, None], lens.log_prob, -np.inf).max(2)
    told_apart = lens.told_apart[:, None]
    return {
        "log_p": np.where(told_apart, np.stack([own_name, others]), np.nan),
        "leads": np.stack([lens.led(leader, top=TOP) for leader in LEADERS]),
    }
