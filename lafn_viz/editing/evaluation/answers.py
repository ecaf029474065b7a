"""The result of an evaluation: every answer before and after every edit, and its scores."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from lafn_viz.core.options import require_one_of
from lafn_viz.core.provenance import Provenance
from lafn_viz.core.stats import bootstrap
from lafn_viz.editing.evaluation.metrics import ANSWER_METRICS

if TYPE_CHECKING:
    import pandas as pd


Metric = Literal["reliability", "generality", "locality", "same subject", "portability"]


METRICS: tuple[Metric, ...] = get_args(Metric)


AnswerMetric = Literal["exact_match", "starts_with", "token_f1", "remake", "token_accuracy"]


ANSWER_METRIC_NAMES: tuple[AnswerMetric, ...] = get_args(AnswerMetric)


ALL = "all"


@dataclass(frozen=True)
class Answered:
    """One question after one edit.

    `edited_in`: the language edited, or "all". `reference` is the new answer, or what was written
    before where nothing should change. `right_before` and `right`: token accuracy.
    """

    case: str
    edited_in: str
    metric: Metric
    language: str
    text: str
    reference: str
    aliases: tuple[str, ...]
    before: str
    after: str
    right_before: float
    right: float

    def score(self, evaluator: AnswerMetric, *, before: bool = False) -> float:
        """In [0, 1], of what was written after the edit (or before it)."""
        require_one_of("evaluator", evaluator, ANSWER_METRIC_NAMES)
        if evaluator == "token_accuracy":
            return self.right_before if before else self.right
        written = self.before if before else self.after
        judge = ANSWER_METRICS[evaluator]
        return max(judge(written, name, self.language) for name in (self.reference, *self.aliases))


@dataclass(frozen=True)
class Evaluation:
    """Every answer to every question after every edit of one editor."""

    editor: str
    answers: tuple[Answered, ...]
    provenance: Provenance

    def __repr__(self) -> str:
        cases = {answer.case for answer in self.answers}
        means = self.summary().set_index("metric")["mean"]
        told = ", ".join(f"{metric} {mean:.3f}" for metric, mean in means.items())
        return f"Evaluation({self.editor}, {len(cases)} cases, exact match: {told})"

    def to_frame(self) -> "pd.DataFrame":
        """One row an edit and question: texts before and after, and what every judge says."""
        import pandas as pd

        rows = []
        for answer in self.answers:
            row = asdict(answer)
            row["token_accuracy"] = row.pop("right")
            row["token_accuracy_before"] = row.pop("right_before")
            row |= {
                name: answer.score(name) for name in ANSWER_METRIC_NAMES if name in ANSWER_METRICS
            }
            rows.append({"editor": self.editor, **row})
        return pd.DataFrame(rows)

    def summary(self, evaluator: AnswerMetric = "exact_match") -> "pd.DataFrame":
        """One row a metric: mean over cases with its 95% bootstrap interval, after edits in all
        languages (or, without such, in single ones); `before` is the mean without the edit.

        A case counts once, whatever the number of its questions; a language once in a case.
        """
        import pandas as pd

        there = {answer.edited_in for answer in self.answers}
        chosen = [a for a in self.answers if (a.edited_in == ALL) == (ALL in there)]
        rows = []
        for metric in METRICS:
            some = [answer for answer in chosen if answer.metric == metric]
            if some:
                values = _by_case(some, evaluator)
                low, high = bootstrap(values)
                rows.append(
                    {
                        "editor": self.editor, "metric": metric, "evaluator": evaluator,
                        "mean": values.mean(), "low": low, "high": high,
                        "before": _by_case(some, evaluator, before=True).mean(),
                        "cases": len(values), "questions": len(some),
                    }
                )  # fmt: skip
        return pd.DataFrame(rows)

    def matrix(
        self, metric: Metric = "reliability", evaluator: AnswerMetric = "exact_match"
    ) -> "pd.DataFrame":
        """Mean over cases, by the language edited (rows; the last all of them) and asked in."""
        import pandas as pd

        require_one_of("metric", metric, METRICS)
        values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        for answer in self.answers:
            if answer.metric == metric:
                values[answer.edited_in][answer.language].append(answer.score(evaluator))
        languages = list(dict.fromkeys(answer.language for answer in self.answers))
        order = [x for x in (*languages, ALL) if x in values]
        return pd.DataFrame(
            [[np.mean(values[row][x]) if values[row][x] else np.nan for x in languages]
             for row in order],
            index=pd.Index(order, name="edited in"),
            columns=pd.Index(languages, name="asked in"),
        )  # fmt: skip

    def conflict(self, evaluator: AnswerMetric = "exact_match") -> "pd.DataFrame":
        """One row a language: reliability edited alone, with all others, and how far it falls.

        With the 95% bootstrap interval over cases; the last row is the mean over languages.

        Raises:
            ValueError: if the edits were not made both ways.
        """
        import pandas as pd

        scores: dict[tuple[str, str, bool], list[float]] = defaultdict(list)
        for answer in self.answers:
            if answer.metric == "reliability" and answer.edited_in in (ALL, answer.language):
                key = answer.language, answer.case, answer.edited_in == ALL
                scores[key].append(answer.score(evaluator))
        if len({together for *_, together in scores}) < 2:
            raise ValueError(
                "conflict compares edits in one language with edits in all; evaluate with "
                "alone=True and together=True"
            )
        both: dict[str, dict[str, tuple[float, float]]] = defaultdict(dict)
        for language, case, together in scores:
            if not together and (language, case, True) in scores:
                alone = float(np.mean(scores[language, case, False]))
                both[language][case] = alone, float(np.mean(scores[language, case, True]))
        cases = list(dict.fromkeys(case for of in both.values() for case in of))
        mean = {c: tuple(np.mean([of[c] for of in both.values() if c in of], 0)) for c in cases}
        rows = []
        for language, of in (*both.items(), ("mean", mean)):
            pairs = np.array(list(of.values()))
            fall = pairs[:, 0] - pairs[:, 1]
            low, high = bootstrap(fall)
            rows.append(
                {
                    "editor": self.editor, "language": language, "alone": pairs[:, 0].mean(),
                    "together": pairs[:, 1].mean(), "conflict": fall.mean(), "low": low,
                    "high": high, "cases": len(fall),
                }
            )  # fmt: skip
        return pd.DataFrame(rows)


def _by_case(
    answers: Iterable[Answered], evaluator: AnswerMetric, *, before: bool = False
) -> np.ndarray:
    """Mean of each case: over its languages, of the mean over a language's questions."""
    scores: dict[str, dict[tuple[str, str], list[float]]] = defaultdict(lambda: defaultdict(list))
    for answer in answers:
        scores[answer.case][answer.edited_in, answer.language].append(
            answer.score(evaluator, before=before)
        )
    return np.array([np.mean([np.mean(x) for x in of.values()]) for of in scores.values()])
