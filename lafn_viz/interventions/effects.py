"""Do these neurons cause the answer? Change them and see, beside sets that should not matter.

An attribution is a claim about one path through the model. An intervention tests it: it really
changes the neurons (see `ablation` for the ways) and measures the answers.

Three controls stand beside each set: random neurons of the same layers, as many in each and drawn
several times; other named sets, such as the neurons of one language; and the same neurons on
another fact. P(correct) saturates near 1, so effects are also given as the change of the
log-probability (nats). Measure on paraphrases that did not choose the neurons.

To find neurons in language A, change them, and measure in language B for all A and B (AMIG's
"cross-lingual editing"), call `effects` with one set for each language. A set may also differ from
language to language: with the keys (fact, language) each language is measured with its own.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float
from tqdm.auto import tqdm

from lafn_viz.core.arguments import a_flag, a_seed, bootstrap_draws, one_of, takes
from lafn_viz.core.provenance import Provenance
from lafn_viz.core.stats import bootstrap, mean_of_finite
from lafn_viz.datasets.arguments import Prompts, as_prompts
from lafn_viz.datasets.languages import require_languages
from lafn_viz.datasets.prompts import Prompt
from lafn_viz.interventions.ablation import ABLATION, Ablation, ablation_options, measure_ablation
from lafn_viz.interventions.effect_table import (
    MEASUREMENTS,
    EffectTable,
    measure_fact,
    next_of_relation,
    require_sets_by_fact,
    sets_of_facts,
)
from lafn_viz.interventions.replacements import (
    FROM_CORPUS,
    CorpusActivations,
    read_corpus,
    require_other_facts,
)
from lafn_viz.models.calls import reads_model
from lafn_viz.models.capabilities import capabilities, provenance
from lafn_viz.models.tokens import Position
from lafn_viz.neurons.neuron_sets import Neurons

if TYPE_CHECKING:
    import pandas as pd
    from transformer_lens.model_bridge import TransformerBridge


@dataclass(frozen=True)
class Effects:
    """The effect of changing each fact's own neurons, by named set and language.

    `p` and `log_p` (nats) are means over the prompts of a fact in a language, for each of
    MEASUREMENTS: the fact before and after the change, and after the same change of as many random
    neurons of the same layers (mean over draws); another fact of the relation before and after the
    change. NaN where nothing was measured.
    """

    sets: tuple[str, ...]
    facts: tuple[str, ...]
    languages: tuple[str, ...]
    n_neurons: Float[np.ndarray, "set fact language"]
    p: Float[np.ndarray, "kind set fact language"]
    log_p: Float[np.ndarray, "kind set fact language"]
    provenance: Provenance

    def __repr__(self) -> str:
        table = self.summary()
        own = ", ".join(f"{name} {table['p'].loc[name, 'own fact']:+.1%}" for name in self.sets[:4])
        more = f" and {len(self.sets) - 4} more" if len(self.sets) > 4 else ""
        return f"Effects({len(self.facts)} facts, P(correct) with the neurons of {own}{more})"

    @takes(of=one_of(("p", "log_p")))
    def changes(
        self, *, of: Literal["p", "log_p"] = "p", mean_of: str | Iterable[str] | None = None
    ) -> dict[str, Float[np.ndarray, "set fact language"]]:
        """Change of the fact itself, of it with random neurons, and of another fact.

        The change of p is relative to its value before (-1: nothing is left), that of log_p in
        nats. With `mean_of` the table has one column, the mean over these languages.
        """
        values = getattr(self, of)
        if mean_of is not None:
            chosen = require_languages(mean_of, self.languages)
            columns = [self.languages.index(language) for language in chosen]
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

    @takes(by_language=a_flag, draws=bootstrap_draws, seed=a_seed)
    def summary(
        self,
        *,
        by_language: bool = False,
        languages: str | Iterable[str] | None = None,
        draws: int = 2000,
        seed: int = 0,
    ) -> "pd.DataFrame":
        """Mean change of P and log P (nats), with 95% bootstrap intervals over facts.

        Args:
            by_language: give one row per language instead of their mean.
            languages: use only these, in any form of a tag.
        """
        import pandas as pd

        chosen = self.languages
        if languages is not None:
            chosen = require_languages(languages, self.languages)
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
        """One row per set, fact and language: P and log P (nats) before and after."""
        import pandas as pd

        keys = pd.MultiIndex.from_product(
            [self.sets, self.facts, self.languages], names=["set", "fact_id", "language"]
        )
        columns = {"n_neurons": self.n_neurons.ravel()}
        for of in ("p", "log_p"):
            columns |= {
                f"{of}_{kind}": getattr(self, of)[number].ravel()
                for number, kind in enumerate(MEASUREMENTS)
            }
        return pd.DataFrame(columns, index=keys).dropna(subset=["p_after"]).reset_index()


@reads_model
@takes(**ABLATION, other_fact=a_flag, progress=a_flag)
def effects(
    model: "TransformerBridge",
    sets: Mapping[str, Mapping[Any, Neurons]],
    prompts: Prompts,
    *,
    how: Ablation = "zero",
    factor: float = 2.0,
    position: Position = "all",
    controls: int = 5,
    corpus: Prompts | CorpusActivations | None = None,
    other_fact: bool = True,
    seed: int = 0,
    progress: bool = False,
) -> Effects:
    """Change the neurons of each fact and measure it in every language, beside its controls.

    Args:
        sets: for each name, the neurons of each fact (by fact_id), or of each fact in each language
            (by (fact_id, language)). A fact or language without neurons in a set is left out there.
        prompts: what is measured, best in paraphrases that did not choose the neurons.
        how, factor, position, controls, seed: as in `intervene`.
        corpus: prompts for "mean" and "resample", of several facts: each fact gets what neurons do
            on the others, never on prompts of its own. If the corpus serves several calls, give
            what `read_corpus(..., without_own=True)` read of it.
        other_fact: measure the neurons of each fact on the next fact of its relation, too.

    Raises:
        ValueError: for an unknown option, a neuron that the model does not have, when no fact of
            the sets is among the prompts, or for a corpus without another fact in some language.
    """
    shape = capabilities(model).shape
    prompts = as_prompts(prompts)
    if not isinstance(corpus, CorpusActivations | None):
        corpus = as_prompts(corpus, "corpus")
    require_sets_by_fact(sets)
    by_fact: dict[str, list[Prompt]] = {}
    for prompt in prompts:
        by_fact.setdefault(prompt.fact_id, []).append(prompt)
    languages = tuple(dict.fromkeys(prompt.language for prompt in prompts))
    neurons = sets_of_facts(sets, tuple(by_fact), languages, shape)
    facts = tuple(fact for fact in by_fact if fact in neurons)
    if not facts:
        raise ValueError(
            "no fact of the neuron sets is among the prompts; give prompts of the same facts"
        )
    table = EffectTable(tuple(sets), facts, languages)
    measure = partial(
        measure_ablation, model, how=how, factor=factor, position=position, seed=seed,
        corpus=_other_facts(model, prompts, corpus, how, position),
    )  # fmt: skip
    for fact in tqdm(facts, disable=not progress, desc=how):
        other = next_of_relation(fact, facts, by_fact) if other_fact else None
        measure_fact(
            table, measure, fact, neurons[fact], by_fact, other,
            shape=shape, controls=controls, seed=seed,
        )  # fmt: skip
    return Effects(
        sets=table.sets,
        facts=facts,
        languages=table.languages,
        n_neurons=table.n_neurons,
        provenance=provenance(
            model, "effects", seed=seed, controls=controls, other_fact=other_fact,
            **ablation_options(
                how, factor, position,
                corpus.corpus if isinstance(corpus, CorpusActivations) else corpus,
            ),
        ),
        **table.values,
    )  # fmt: skip


def _other_facts(
    model: "TransformerBridge",
    prompts: Sequence[Prompt],
    corpus: Sequence[Prompt] | CorpusActivations | None,
    how: Ablation,
    position: Position,
) -> CorpusActivations | None:
    """Read the corpus of which each fact gets the prompts of the others, if it is needed."""
    if how not in FROM_CORPUS or not corpus:
        return None  # which `measure_ablation` refuses where it needs one
    if isinstance(corpus, CorpusActivations):
        require_other_facts(prompts, corpus.corpus, f"how={how!r}")
        return corpus
    require_other_facts(prompts, corpus, f"how={how!r}")
    return read_corpus(model, corpus, how=how, position=position, without_own=True)
