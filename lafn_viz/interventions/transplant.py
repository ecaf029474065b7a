"""The result of a transplant: what is answered with values of another language, and controls."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from jaxtyping import Bool, Float

from lafn_viz.core.arguments import a_result, a_seed, bootstrap_draws, one_of, takes
from lafn_viz.core.options import require_one_of
from lafn_viz.core.provenance import Provenance
from lafn_viz.core.stats import bootstrap, mean_of_finite
from lafn_viz.datasets.languages import script_of
from lafn_viz.datasets.prompts import Prompt
from lafn_viz.interventions.failures import KINDS, Failures

if TYPE_CHECKING:
    import pandas as pd

# The answers that are scored: the name in the language that is asked, the name in the language that
# gives the values, and, where another fact gives them, that fact's name in the language asked.
Answer = Literal["asked", "giver", "other"]
ANSWERS: tuple[Answer, ...] = get_args(Answer)
BEFORE, OWN, OTHER, RANDOM = "before", "own fact", "other fact", "random neurons"
LAYERS, LAYERS_OTHER = "whole layers", "whole layers, other fact"
CONDITIONS = (BEFORE, OWN, OTHER, RANDOM, LAYERS, LAYERS_OTHER)

Measure = Literal["rescued", "giver's words", "either's words", "lost", "other's answer", "log_p"]
Pairs = Literal["languages", "scripts", "wordings"]
WORDS: Measure = "giver's words"
MEASURES: tuple[Measure, ...] = get_args(Measure)
_COLUMNS = ("value", "low", "high", "n_pairs", "n_facts")


@dataclass(frozen=True)
class Transplant:
    """What a model answers when neurons get the values of another prompt of the same fact.

    Each pair has a prompt that gives the values, which the model answers, and one that gets them.
    A pair *failed* if the prompt that gets them is not answered before. Where both are of one
    language, the values come from another wording: that is the ceiling, not transfer.

    `log_p` (nats) and `written` (greedy decoding writes it: 1 or 0) are tables of each of ANSWERS
    in each of `conditions`, means over draws where a control is drawn several times. NaN where
    nothing was measured, and for a giver's word that is the same as the word asked for. `n_givers`
    is how many of the prompts that could give values are answered, and how many there are.
    """

    conditions: tuple[str, ...]
    givers: tuple[Prompt, ...]
    getters: tuple[Prompt, ...]
    n_neurons: Float[np.ndarray, " pair"]
    log_p: Float[np.ndarray, "condition answer pair"]
    written: Float[np.ndarray, "condition answer pair"]
    n_givers: tuple[int, int]
    provenance: Provenance

    def __repr__(self) -> str:
        chosen = self._chosen("languages")

        def mean(of: Measure, condition: str) -> float:
            values = np.where(chosen, self.by_pair(condition, of=of), np.nan)
            return float(mean_of_finite(self._by_fact(values), 0))

        shares = [
            f"{name} {mean('rescued', name):.0%} + {mean(WORDS, name):.0%}"
            for name in (OWN, OTHER, RANDOM, BEFORE)
        ]
        failed = np.flatnonzero(chosen & self.failed)
        n_facts = len({self.getters[number].fact_id for number in failed})
        return (
            f"Transplant({len(failed)} failed pairs of languages, {n_facts} facts; answered in the "
            f"language asked + in the giver's: {', '.join(shares)})"
        )

    @property
    def failed(self) -> Bool[np.ndarray, " pair"]:
        """Whether the prompt that gets the values was not answered before."""
        return self.written[self._row(BEFORE), 0] == 0

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages that take part, in the order of the prompts that get values."""
        prompts = (*self.getters, *self.givers)
        return tuple(dict.fromkeys(prompt.language for prompt in prompts))

    @takes(of=one_of(MEASURES))
    def by_pair(
        self, condition: str = OWN, *, of: Measure = "rescued"
    ) -> Float[np.ndarray, " pair"]:
        """One measure of each pair in a condition; NaN for pairs that it does not speak of.

        - "rescued": 1 where a failed pair is answered.
        - "giver's words": 1 where a failed pair is answered in the language of its giver. (Before,
          too, this is where a failed prompt is answered in another language.)
        - "either's words": the sum of these two.
        - "lost": 1 where a pair that was answered before no longer is.
        - "other's answer": 1 where the answer is the other fact's, in the language asked.
        - "log_p": change of the log-probability (nats) of the answer of a failed pair.
        """
        require_one_of("condition", condition, self.conditions)
        asked, giver, other = self.written[self._row(condition)]
        failed = self.failed
        measures: dict[Measure, Callable[[], Any]] = {
            "rescued": lambda: np.where(failed, asked, np.nan),
            "giver's words": lambda: np.where(failed, giver, np.nan),
            "either's words": lambda: np.where(failed, asked + np.nan_to_num(giver), np.nan),
            "lost": lambda: np.where(failed, np.nan, 1 - asked),
            "other's answer": lambda: other,
            "log_p": lambda: np.where(
                failed, self.log_p[self._row(condition), 0] - self.log_p[self._row(BEFORE), 0],
                np.nan,
            ),
        }  # fmt: skip
        return np.asarray(measures[of](), dtype=float)

    @takes(pairs=one_of(get_args(Pairs)), draws=bootstrap_draws, seed=a_seed)
    def summary(
        self, *, pairs: Pairs = "languages", draws: int = 2000, seed: int = 0
    ) -> "pd.DataFrame":
        """Mean of each measure in each condition, with 95% bootstrap intervals over facts.

        The mean of a fact is over its pairs, the value over facts. "own fact - other fact" and
        "own fact - random neurons" are differences within facts.

        Args:
            pairs: of two "languages", of languages with two "scripts", or of two "wordings" of one
                language, which is the ceiling.
        """
        import pandas as pd

        chosen, options = self._chosen(pairs), {"draws": draws, "seed": seed}
        rows = [
            (of, name, *self._mean_over_facts(np.where(chosen, values, np.nan), of, name, options))
            for of in MEASURES
            for name, values in self._compared(of).items()
        ]
        columns = ["measure", "condition", *_COLUMNS]
        return pd.DataFrame(rows, columns=columns).set_index(["measure", "condition"])

    @takes(
        failures=a_result(Failures), of=one_of(MEASURES), pairs=one_of(get_args(Pairs)),
        draws=bootstrap_draws, seed=a_seed,
    )  # fmt: skip
    def by_failure(
        self,
        failures: Failures,
        *,
        of: Measure = "rescued",
        pairs: Pairs = "languages",
        draws: int = 2000,
        seed: int = 0,
    ) -> "pd.DataFrame":
        """Mean of a measure by the reason for which prompts fail, with intervals over facts.

        A fact that is lost on the way out is in the model, and one that is unknown is not. So what
        rescues the one and the other tells what the transplanted neurons carry.

        Args:
            failures: of the prompts that get values; a pair whose prompt is not among them (because
                its names are not told apart) is left out.
            of, pairs, draws, seed: as in `by_pair` and `summary`.

        Returns:
            One row per `kind` of failure that has pairs, and `condition`: `value`, mean over facts,
            with `low` and `high`, `n_pairs` and `n_facts`.
        """
        import pandas as pd

        kind_of = {
            prompt: KINDS[kind]
            for prompt, kind in zip(failures.prompts, failures.kind.tolist(), strict=True)
        }
        kind_of_pair = np.array([kind_of.get(getter, "") for getter in self.getters], dtype=object)
        if not (kind_of_pair != "").any():
            raise ValueError(
                f"none of the {len(failures.prompts)} failed prompts gets values in this "
                "transplant; give failures() of the prompts that do"
            )
        chosen, options = self._chosen(pairs), {"draws": draws, "seed": seed}
        rows = [
            (kind, name, *self._mean_over_facts(values, of, name, options))
            for kind in KINDS
            if (chosen & (kind_of_pair == kind)).any()
            for name, values in self._compared(of).items()
            for values in [np.where(chosen & (kind_of_pair == kind), values, np.nan)]
        ]
        columns = ["kind", "condition", *_COLUMNS]
        return pd.DataFrame(rows, columns=columns).set_index(["kind", "condition"])

    @takes(of=one_of(MEASURES))
    def between_languages(
        self, condition: str = OWN, *, of: Measure = "rescued"
    ) -> tuple[Float[np.ndarray, "giver getter"], Float[np.ndarray, "giver getter"]]:
        """Mean of a measure for each language that gives (rows) and gets, and number of pairs."""
        values = self.by_pair(condition, of=of)
        place = {language: number for number, language in enumerate(self.languages)}
        total, count = np.zeros((2, len(place), len(place)))
        for giver, getter, value in zip(self.givers, self.getters, values, strict=True):
            if np.isfinite(value):
                total[place[giver.language], place[getter.language]] += value
                count[place[giver.language], place[getter.language]] += 1
        return np.where(count > 0, total / np.maximum(count, 1), np.nan), count

    def to_frame(self) -> "pd.DataFrame":
        """One row per pair and condition: log_p (nats) and written of each of ANSWERS."""
        import pandas as pd

        keys = {
            "fact_id": [prompt.fact_id for prompt in self.getters],
            "relation": [prompt.relation for prompt in self.getters],
            "giver": [prompt.language for prompt in self.givers],
            "language": [prompt.language for prompt in self.getters],
            "giver_paraphrase": [prompt.paraphrase for prompt in self.givers],
            "paraphrase": [prompt.paraphrase for prompt in self.getters],
            "n_neurons": self.n_neurons,
            "failed": self.failed,
        }
        tables = [
            pd.DataFrame(
                keys
                | {"condition": condition}
                | {f"log_p_{name}": self.log_p[row, i] for i, name in enumerate(ANSWERS)}
                | {f"written_{name}": self.written[row, i] for i, name in enumerate(ANSWERS)}
            )
            for row, condition in enumerate(self.conditions)
        ]
        return pd.concat(tables, ignore_index=True)

    def _compared(self, of: Measure) -> dict[str, Float[np.ndarray, " pair"]]:
        """One measure of each pair in each condition, and the differences to the controls."""
        by_pair = {name: self.by_pair(name, of=of) for name in self.conditions}
        for control in (OTHER, RANDOM):
            if control in by_pair and of != "other's answer":
                by_pair[f"{OWN} - {control}"] = by_pair[OWN] - by_pair[control]
        return by_pair

    def _mean_over_facts(
        self, values: Float[np.ndarray, " pair"], of: Measure, name: str, options: dict[str, int]
    ) -> tuple[float, float, float, int, int]:
        """What _COLUMNS name."""
        facts = self._by_fact(values)
        most = np.inf if of == "log_p" else 1.0
        least = -most if of == "log_p" or " - " in name else 0.0
        low, high = bootstrap(facts, **options, limits=(least, most))
        counts = int(np.isfinite(values).sum()), int(np.isfinite(facts).sum())
        return float(mean_of_finite(facts, 0)), low, high, *counts

    def _row(self, condition: str) -> int:
        return self.conditions.index(condition)

    def _chosen(self, pairs: Pairs) -> Bool[np.ndarray, " pair"]:
        """Which pairs are of two languages, of two scripts, or of one language."""
        of_giver, of_getter = (
            np.array([p.language for p in prompts]) for prompts in (self.givers, self.getters)
        )
        if pairs == "scripts":
            of_giver, of_getter = (
                np.array([script_of(code) for code in codes]) for codes in (of_giver, of_getter)
            )
        return (of_giver == of_getter) == (pairs == "wordings")

    def _by_fact(self, values: Float[np.ndarray, " pair"]) -> Float[np.ndarray, " fact"]:
        """Mean over the pairs of each fact; NaN where it has none."""
        facts, number = np.unique([p.fact_id for p in self.getters], return_inverse=True)
        finite = np.isfinite(values)
        count = np.bincount(number[finite], minlength=len(facts))
        total = np.bincount(number[finite], values[finite], minlength=len(facts))
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)
