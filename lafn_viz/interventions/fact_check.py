"""The result of fact-checking: what each judge says of true and false answers."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

from lafn_viz.core.arguments import a_seed, a_text, bootstrap_draws, takes
from lafn_viz.core.options import require_one_of
from lafn_viz.core.provenance import Provenance
from lafn_viz.core.stats import bootstrap, quantile_interval, widened
from lafn_viz.datasets.prompts import Prompt, prompt_columns
from lafn_viz.interventions.degenerate import Degenerate
from lafn_viz.neurons.neuron_sets import Neuron

if TYPE_CHECKING:
    import pandas as pd

DKN, TOP = "degenerate neurons", "top neurons"
P, RANDOM = "P(candidate)", "random neurons"


@dataclass(frozen=True)
class FactCheck:
    """True and false answers of one relation, and what each judge says of them.

    Each of the `prompts` asks for a candidate answer; `truth` says whether it is the true one.
    `judges` name the rows of `scores` (mean attribution over neurons, or probability): degenerate
    neurons, top neurons, P(candidate), and one row for each draw of random neurons. A candidate
    passes above the judge's threshold, which is fitted on the facts in `train`.

    `found` are the degenerate neurons of the training facts, `neurons` the frequent ones, and `top`
    as many others that are most often among the best by attribution. When none is frequent,
    `reason` says why; then the scores of the degenerate neurons are NaN, and there are no rows for
    top and random neurons.
    """

    relation: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    neurons: tuple[Neuron, ...]
    top: tuple[Neuron, ...]
    found: tuple[Degenerate, ...]
    prompts: tuple[Prompt, ...]
    truth: Bool[np.ndarray, " item"]
    judges: tuple[str, ...]
    scores: Float[np.ndarray, "judge item"]
    thresholds: Float[np.ndarray, " judge"]
    reason: str | None
    provenance: Provenance

    def __repr__(self) -> str:
        auc = self.summary(draws=2)["auc"]
        beside = ", ".join(f"{judge} {value:.3f}" for judge, value in auc.items())
        return f"FactCheck({self.relation!r}, {len(self.test)} test facts, AUC: {beside})"

    @takes(judge=a_text)
    def rows(self, judge: str) -> tuple[Float[np.ndarray, "draw item"], Bool[np.ndarray, " item"]]:
        """One judge's scores of the candidates of the test facts, and their truth."""
        require_one_of("judge", judge, (*dict.fromkeys(self.judges), DKN, TOP, P, RANDOM))
        rows = [number for number, name in enumerate(self.judges) if name == judge]
        of_test = np.array([prompt.fact_id in self.test for prompt in self.prompts], dtype=bool)
        return self.scores[rows][:, of_test], self.truth[of_test]

    def _auc(self, judge: str, draws: int, seed: int) -> Float[np.ndarray, " draw"]:
        """AUC, mean over the judge's rows: of the test facts, then of bootstrap draws of them."""
        scores, truth = self.rows(judge)
        owner = [self.test.index(p.fact_id) for p in self.prompts if p.fact_id in self.test]
        belongs = np.eye(len(self.test))[owner]
        times = np.random.default_rng(seed).multinomial(
            len(self.test), np.full(len(self.test), 1 / len(self.test)), draws
        )
        weight = np.vstack([np.ones(len(self.test)), times])
        pairs = np.outer(belongs[truth].sum(0), belongs[~truth].sum(0))
        won = np.full_like(pairs, np.nan)
        if len(scores) and np.isfinite(scores).all():
            difference = scores[:, truth, None] - scores[:, None, ~truth]
            wins = ((np.sign(difference) + 1) / 2).mean(0)  # a tie counts half
            won = belongs[truth].T @ wins @ belongs[~truth]
        return ((weight @ won) * weight).sum(1) / ((weight @ pairs) * weight).sum(1)

    @takes(draws=bootstrap_draws, seed=a_seed)
    def compare(
        self, judge: str = DKN, other: str = RANDOM, *, draws: int = 2000, seed: int = 0
    ) -> tuple[float, float, float]:
        """AUC of one judge minus another's, with its 95% bootstrap interval over test facts."""
        difference = self._auc(judge, draws, seed) - self._auc(other, draws, seed)
        return float(difference[0]), *_interval(difference, len(self.test))

    @takes(draws=bootstrap_draws, seed=a_seed)
    def summary(self, *, draws: int = 2000, seed: int = 0) -> "pd.DataFrame":
        """One row per judge: AUC and accuracy, with 95% bootstrap intervals over the test facts.

        `accuracy_true` and `accuracy_false` are the shares of true and of false candidates that the
        threshold judges correctly, means over facts.
        """
        import pandas as pd

        table: dict[str, dict[str, float]] = {}
        for judge in dict.fromkeys(self.judges):
            scores, truth = self.rows(judge)
            auc = self._auc(judge, draws, seed)
            row = {"auc": auc[0]}
            low, high = _interval(auc, len(self.test))
            row |= {"low": max(low, 0.0), "high": min(high, 1.0)}  # NaN stays NaN
            limit = self.thresholds[[name == judge for name in self.judges]]
            correct = ((scores > limit[:, None]) == truth).mean(0)
            correct = np.where(np.isfinite(scores).all(0), correct, np.nan)
            owner = np.array([p.fact_id for p in self.prompts if p.fact_id in self.test])
            for name, side in (("true", truth), ("false", ~truth)):
                per_fact = np.array([correct[side & (owner == fact)].mean() for fact in self.test])
                low, high = bootstrap(per_fact, draws=draws, seed=seed, limits=(0.0, 1.0))
                row |= {f"accuracy_{name}": per_fact.mean()}
                row |= {f"{name}_low": low, f"{name}_high": high}
            table[judge] = row
        return pd.DataFrame.from_dict(table, orient="index").rename_axis("judge")

    def to_frame(self) -> "pd.DataFrame":
        """One row per candidate: prompt, truth, part, each judge's score (mean over its rows)."""
        import pandas as pd

        columns = prompt_columns(self.prompts)
        names = np.array(self.judges)
        return pd.DataFrame(
            {
                **columns,
                "true": self.truth,
                "part": ["test" if fact in self.test else "train" for fact in columns["fact_id"]],
                **{
                    judge: self.scores[names == judge].mean(0)
                    for judge in dict.fromkeys(self.judges)
                },
            }
        ).rename(columns={"answer": "candidate"})


def roc(
    scores: Float[np.ndarray, " item"], truth: Bool[np.ndarray, " item"]
) -> Float[np.ndarray, "2 point"]:
    """ROC curve: shares of false and of true candidates that pass, from (0, 0) to (1, 1)."""
    above = scores >= np.concatenate([[np.inf], np.unique(scores)[::-1]])[:, None]
    return np.stack([above[:, ~truth].mean(1), above[:, truth].mean(1)])


def fit_threshold(scores: Float[np.ndarray, " item"], truth: Bool[np.ndarray, " item"]) -> float:
    """Fit the threshold with the best balanced accuracy, half-way between two scores."""
    if not np.isfinite(scores).all():
        return float("nan")
    values = np.unique(scores)
    limits = np.concatenate([[values[0] - 1], (values[1:] + values[:-1]) / 2])
    above = scores > limits[:, None]
    balanced = above[:, truth].mean(1) + (~above[:, ~truth]).mean(1)
    return float(limits[balanced.argmax()])


def _interval(draws: Float[np.ndarray, " draw"], facts: int) -> tuple[float, float]:
    """95% interval of the first value, from bootstrap draws of the test facts, which follow it."""
    low, high = quantile_interval(draws[1:])
    return widened(float(draws[0]), float(low), float(high), facts)
