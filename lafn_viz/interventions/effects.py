"""Do neurons cause the answer? Change them and look, beside sets that should not matter.

An attribution is a claim about a path; this is what happens when the neurons are really changed
(see `changes` for the ways).

Controls: as many random neurons of the same layers, drawn several times; neurons of one language;
and the same neurons on another fact. P(correct) saturates near 1, so effects are given as the
change of the log-probability (nats) too. Measure on paraphrases that did not choose the neurons.

Neurons found in language A, changed, and measured in language B for all A and B (AMIG, "cross-
lingual editing") is `effects` with one set a language.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float
from torch import Tensor
from tqdm.auto import tqdm

from lafn_viz.core.provenance import Provenance
from lafn_viz.core.stats import bootstrap, mean_of_finite
from lafn_viz.datasets.facts import Prompt, prompt_columns
from lafn_viz.interventions.ablation import Ablation, measure_ablation
from lafn_viz.models.capabilities import capabilities, provenance
from lafn_viz.models.tokens import Position
from lafn_viz.neurons.controls import random_like
from lafn_viz.neurons.neuron_sets import Neuron, masks_of

if TYPE_CHECKING:
    import pandas as pd
    from transformer_lens.model_bridge import TransformerBridge


@dataclass(frozen=True)
class Effect:
    """Log-probability (nats) of each answer before and after, and under each control.

    `control` are random sets of the same layers, `others` the named sets given to `intervene`.
    """

    before: Float[Tensor, " prompt"]
    after: Float[Tensor, " prompt"]
    control: Float[Tensor, "draw prompt"]
    neurons: frozenset[Neuron]
    prompts: tuple[Prompt, ...]
    provenance: Provenance
    others: Mapping[str, Float[Tensor, " prompt"]] = field(default_factory=dict)

    def __repr__(self) -> str:
        change, control = self.change, self.control_change
        beside = f", {len(control)} random sets {control.mean():+.1%}" if len(control) else ""
        return f"Effect({len(self.neurons)} neurons: P(correct) {change:+.1%}{beside})"

    @property
    def change(self) -> float:
        """Relative change of the mean probability of the answers; -1 where it is gone."""
        return float(self.after.exp().mean() / self.before.exp().mean() - 1)

    @property
    def control_change(self) -> Float[np.ndarray, " draw"]:
        """The same for each random set."""
        return (self.control.exp().mean(-1) / self.before.exp().mean() - 1).numpy()

    def summary(self, *, draws: int = 2000, seed: int = 0) -> "pd.DataFrame":
        """One row a set: change of P and of log P (nats), with 95% intervals over prompts."""
        import pandas as pd

        sets = {"neurons": self.after, **self.others}
        if len(self.control):
            sets["random, same layers"] = self.control.exp().mean(0).log()
        before = self.before.exp().numpy()
        rows = []
        for name, after in sets.items():
            p = (after.exp().numpy() - before) / before.mean()
            nats = (after - self.before).numpy()
            rows.append(
                (
                    name, p.mean(), *bootstrap(p, draws=draws, seed=seed),
                    nats.mean(), *bootstrap(nats, draws=draws, seed=seed),
                )
            )  # fmt: skip
        columns = ["set", "p", "p_low", "p_high", "log_p", "log_p_low", "log_p_high"]
        return pd.DataFrame(rows, columns=columns).set_index("set")

    def to_frame(self) -> "pd.DataFrame":
        """One row a prompt: log_prob and probability before, after, and the controls' mean."""
        import pandas as pd

        return pd.DataFrame(
            {
                **prompt_columns(self.prompts),
                "log_prob_before": self.before.numpy(),
                "log_prob_after": self.after.numpy(),
                "log_prob_control": self.control.mean(0).numpy(),
                "p_before": self.before.exp().numpy(),
                "p_after": self.after.exp().numpy(),
                "p_control": self.control.exp().mean(0).numpy(),
            }
        )


def intervene(
    model: "TransformerBridge",
    prompts: Sequence[Prompt],
    neurons: Iterable[tuple[int, int]],
    *,
    how: Ablation = "zero",
    factor: float = 2.0,
    position: Position = "all",
    controls: int = 5,
    others: Mapping[str, Iterable[tuple[int, int]]] | None = None,
    corpus: Sequence[Prompt] | None = None,
    seed: int = 0,
) -> Effect:
    """Change a set of neurons and measure the answers, beside as many random ones.

    Args:
        neurons: (layer, neuron) pairs.
        how: "zero", "scale" by `factor`, "mean" of the prompt's language over `corpus`, or
            "resample": a random position of a random prompt of that language in `corpus`.
        position: where: "all" positions of the prompt, "answer", or "subject_last".
        controls: how many random sets with the same count in each layer.
        others: more sets by name to measure beside, such as those of one language.
        corpus: prompts for mean and resample, best of other facts.
        seed: of the random sets and of resampling.

    Raises:
        ValueError: for an unknown option or a neuron that the model does not have.
    """
    shape = _shape(model)
    chosen = _checked(neurons, shape)
    named = {name: _checked(some, shape) for name, some in (others or {}).items()}
    random = [random_like(chosen, shape, seed=seed + draw) for draw in range(controls)]
    sets = [chosen, *random, *named.values()]
    before, after = measure_ablation(
        model, prompts, masks_of(sets, shape),
        how=how, factor=factor, position=position, corpus=corpus, seed=seed,
    )  # fmt: skip
    return Effect(
        before=before,
        after=after[0],
        control=after[1 : 1 + controls],
        neurons=chosen,
        prompts=tuple(prompts),
        provenance=provenance(model, "intervene", seed=seed, **_said(how, factor, position)),
        others=dict(zip(named, after[1 + controls :], strict=True)),
    )


# What `Effects` holds of every set, fact and language.
MEASUREMENTS = ("before", "after", "random", "other_before", "other")


@dataclass(frozen=True)
class Effects:
    """What changing each fact's own neurons does to it, by named set and language.

    `p` and `log_p` (nats) are means over a fact's prompts in a language, each for MEASUREMENTS:
    before and after the change, with as many random neurons of the same layers (mean over draws),
    and another fact of the relation before and after the same change. NaN where nothing was
    measured.
    """

    sets: tuple[str, ...]
    facts: tuple[str, ...]
    languages: tuple[str, ...]
    n_neurons: Float[np.ndarray, "set fact"]
    p: Float[np.ndarray, "kind set fact language"]
    log_p: Float[np.ndarray, "kind set fact language"]
    provenance: Provenance

    def __repr__(self) -> str:
        table = self.summary()
        own = ", ".join(f"{name} {table['p'].loc[name, 'own fact']:+.1%}" for name in self.sets[:4])
        more = f" and {len(self.sets) - 4} more" if len(self.sets) > 4 else ""
        return f"Effects({len(self.facts)} facts, P(correct) with the neurons of {own}{more})"

    def changes(
        self, *, of: Literal["p", "log_p"] = "p", mean_of: Iterable[str] | None = None
    ) -> dict[str, Float[np.ndarray, "set fact language"]]:
        """Change on the fact itself, with random neurons instead, and on another fact.

        Of p as a share of what it was (-1: gone), of log_p in nats. `mean_of` languages are taken
        together, as one column.
        """
        values = getattr(self, of)
        if mean_of is not None:
            columns = [self.languages.index(language) for language in mean_of]
            values = mean_of_finite(values[..., columns], -1)[..., None]
        before, after, random, other_before, other = values
        pairs = {
            "own fact": (after, before),
            "random neurons": (random, before),
            "other fact": (other, other_before),
        }
        return {
            name: new / old - 1 if of == "p" else new - old for name, (new, old) in pairs.items()
        }

    def summary(
        self,
        *,
        by_language: bool = False,
        languages: Iterable[str] | None = None,
        draws: int = 2000,
        seed: int = 0,
    ) -> "pd.DataFrame":
        """Mean change of P and log P (nats), with 95% bootstrap intervals over facts.

        Args:
            by_language: one row for each language instead of their mean.
            languages: only these.
        """
        import pandas as pd

        chosen = tuple(languages) if languages is not None else self.languages
        groups = {language: [language] for language in chosen} if by_language else {"": chosen}
        rows = []
        for language, group in groups.items():
            p, log_p = (self.changes(of=of, mean_of=group) for of in ("p", "log_p"))
            for number, name in enumerate(self.sets):
                for kind in p:
                    row: list[Any] = [name, kind, language]
                    for values in (p[kind][number, :, 0], log_p[kind][number, :, 0]):
                        mean = float(mean_of_finite(values, 0))
                        row += [mean, *bootstrap(values, draws=draws, seed=seed)]
                    rows.append(row)
        keys = ["set", "measured on", "language"]
        frame = pd.DataFrame(
            rows, columns=[*keys, "p", "p_low", "p_high", "log_p", "log_p_low", "log_p_high"]
        )
        return (
            frame.set_index(keys)
            if by_language
            else frame.drop(columns=keys[2]).set_index(keys[:2])
        )

    def to_frame(self) -> "pd.DataFrame":
        """One row a set, fact and language: P and log P (nats) before and after."""
        import pandas as pd

        keys = pd.MultiIndex.from_product(
            [self.sets, self.facts, self.languages], names=["set", "fact_id", "language"]
        )
        columns = {"n_neurons": np.repeat(self.n_neurons, len(self.languages))}
        for of in ("p", "log_p"):
            columns |= {
                f"{of}_{kind}": getattr(self, of)[number].ravel()
                for number, kind in enumerate(MEASUREMENTS)
            }
        return pd.DataFrame(columns, index=keys).dropna(subset=["p_after"]).reset_index()


def effects(
    model: "TransformerBridge",
    sets: Mapping[str, Mapping[str, Iterable[tuple[int, int]]]],
    prompts: Sequence[Prompt],
    *,
    how: Ablation = "zero",
    factor: float = 2.0,
    position: Position = "all",
    controls: int = 5,
    corpus: Sequence[Prompt] | None = None,
    seed: int = 0,
    progress: bool = False,
) -> Effects:
    """Change the neurons of each fact and measure it in every language, beside its controls.

    Args:
        sets: for each name, the neurons of each fact (by fact_id). A fact with no neurons in a set
            is left out there.
        prompts: what is measured, best in paraphrases that did not choose the neurons.
        how, factor, position, controls, corpus, seed: as in `intervene`.

    Raises:
        ValueError: when no fact of the sets is among the prompts.
    """
    shape = _shape(model)
    by_fact: dict[str, list[Prompt]] = {}
    for prompt in prompts:
        by_fact.setdefault(prompt.fact_id, []).append(prompt)
    chosen = {
        (name, fact): _checked(some, shape)
        for name, of in sets.items()
        for fact, some in of.items()
        if fact in by_fact
    }
    facts = tuple(fact for fact in by_fact if any((name, fact) in chosen for name in sets))
    if not facts:
        raise ValueError(
            "no fact of the neuron sets is among the prompts; give prompts of the same facts"
        )
    relations = {fact: by_fact[fact][0].relation for fact in facts}
    languages = tuple(dict.fromkeys(prompt.language for prompt in prompts))
    size = (len(sets), len(facts), len(languages))
    found = {of: np.full((len(MEASUREMENTS), *size), np.nan) for of in ("p", "log_p")}
    n_neurons = np.full(size[:2], np.nan)
    options: dict[str, Any] = {
        "how": how, "factor": factor, "position": position, "corpus": corpus, "seed": seed,
    }  # fmt: skip

    def put(kind: str, cell: tuple[int, int], log_prob: Tensor, of: Sequence[Prompt]) -> None:
        values = log_prob.double().reshape(-1, len(of)).numpy()
        for column, language in enumerate(languages):
            mine = [number for number, prompt in enumerate(of) if prompt.language == language]
            if mine and len(values):
                at = (MEASUREMENTS.index(kind), *cell, column)
                found["p"][at] = np.exp(values[:, mine]).mean()
                found["log_p"][at] = values[:, mine].mean()

    for row, fact in enumerate(tqdm(facts, disable=not progress, desc=how)):
        own = {
            number: chosen[name, fact] for number, name in enumerate(sets) if (name, fact) in chosen
        }
        for number, some in own.items():
            n_neurons[number, row] = len(some)
        own = {number: some for number, some in own.items() if some}
        if not own:
            continue
        random = [
            random_like(some, shape, seed=seed + draw)
            for some in own.values()
            for draw in range(controls)
        ]
        masks = masks_of([*own.values(), *random], shape)
        before, after = measure_ablation(model, by_fact[fact], masks, **options)
        drawn = after[len(own) :].unflatten(0, (len(own), controls)) if controls else after[:0]
        for place, number in enumerate(own):
            put("before", (number, row), before, by_fact[fact])
            put("after", (number, row), after[place], by_fact[fact])
            if controls:
                put("random", (number, row), drawn[place], by_fact[fact])
        same = [other for other in facts if relations[other] == relations[fact]]
        if len(same) > 1:
            stranger = by_fact[same[(same.index(fact) + 1) % len(same)]]
            before, after = measure_ablation(model, stranger, masks[: len(own)], **options)
            for place, number in enumerate(own):
                put("other_before", (number, row), before, stranger)
                put("other", (number, row), after[place], stranger)
    return Effects(
        sets=tuple(sets),
        facts=facts,
        languages=languages,
        n_neurons=n_neurons,
        provenance=provenance(model, "effects", seed=seed, **_said(how, factor, position)),
        **found,
    )


def _shape(model: "TransformerBridge") -> tuple[int, int]:
    found = capabilities(model)
    return found.n_layers, found.d_mlp


def _said(how: Ablation, factor: float, position: Position) -> dict[str, Any]:
    """The options that a provenance names."""
    return {"how": how, "position": position} | ({"factor": factor} if how == "scale" else {})


def _checked(neurons: Iterable[tuple[int, int]], shape: tuple[int, int]) -> frozenset[Neuron]:
    chosen = frozenset(Neuron(*neuron) for neuron in neurons)
    for layer, neuron in sorted(chosen):
        if not (0 <= layer < shape[0] and 0 <= neuron < shape[1]):
            raise ValueError(
                f"there is no neuron ({layer}, {neuron}); layers go from 0 to {shape[0] - 1}, "
                f"neurons from 0 to {shape[1] - 1}"
            )
    return chosen
