"""The result of an evaluation: every answer before and after every edit, and its scores."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from lafn_viz.core.arguments import a_flag, one_of, takes
from lafn_viz.core.provenance import Provenance
from lafn_viz.core.stats import bootstrap
from lafn_viz.editing.evaluation.metrics import ANSWER_METRICS, AnswerMetric

if TYPE_CHECKING:
    import pandas as pd

Metric = Literal["reliability", "generality", "locality", "same subject", "portability"]
METRICS: tuple[Metric, ...] = get_args(Metric)
METRIC, EVALUATOR = one_of(METRICS), one_of(ANSWER_METRICS)  # readers
ALL = "all"  # in place of a language: edited in all languages at once


@dataclass(frozen=True)
class Answered:
    """The answers to one question, before and after one edit.

    `edited_in` is the language edited, or "all". `before` and `after` are what the model writes.
    `reference` is the new answer or, where nothing should change, what the model wrote before the
    edit. `token_accuracy_before` and `token_accuracy` are the share of the reference's tokens that
    are the likeliest, each given those before it.
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
    token_accuracy_before: float
    token_accuracy: float

    @takes(evaluator=EVALUATOR, before=a_flag)
    def score(self, evaluator: AnswerMetric, *, before: bool = False) -> float:
        """The score of the answer after the edit (or before it), in [0, 1], best over aliases."""
        metric = ANSWER_METRICS[evaluator]
        if metric is None:
            return self.token_accuracy_before if before else self.token_accuracy
        written = self.before if before else self.after
        return max(metric(written, name, self.language) for name in (self.reference, *self.aliases))


@dataclass(frozen=True)
class Evaluation:
    """Every answer to every question after every edit of one editor.

    `left_out` has the reason for each case that could not be evaluated, by its id.
    """

    editor: str
    answers: tuple[Answered, ...]
    provenance: Provenance
    left_out: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        cases = {answer.case for answer in self.answers}
        means = self.summary().set_index("metric")["mean"]
        shown = ", ".join(f"{metric} {mean:.3f}" for metric, mean in means.items())
        left_out = f" ({len(self.left_out)} left out)" if self.left_out else ""
        return f"Evaluation({self.editor}, {len(cases)} cases{left_out}, exact match: {shown})"

    def to_frame(self) -> "pd.DataFrame":
        """One row for each edit and question: the texts before and after, and all their scores."""
        import pandas as pd

        rows = []
        for answer in self.answers:
            row = asdict(answer)
            for name in ("token_accuracy", "token_accuracy_before"):
                row[name] = row.pop(name)  # the columns' order: scores stand together
            row |= {
                name: answer.score(name)
                for name, metric in ANSWER_METRICS.items()
                if metric is not None
            }
            rows.append({"editor": self.editor, **row})
        return pd.DataFrame(rows)

    @takes(evaluator=EVALUATOR)
    def summary(self, evaluator: AnswerMetric = "exact_match") -> "pd.DataFrame":
        """One row for each metric: its mean over cases, with its 95% interval over cases.

        It is that of edits in all languages or, without such, of edits in single languages.
        `before` is the mean without the edit. Every case has the same weight, however many
        questions it has, and so has every language of a case.
        """
        import pandas as pd

        edited_in = {answer.edited_in for answer in self.answers}
        chosen = [a for a in self.answers if (a.edited_in == ALL) == (ALL in edited_in)]
        rows = []
        for metric in METRICS:
            answers = [answer for answer in chosen if answer.metric == metric]
            if answers:
                values = _by_case(answers, evaluator)
                low, high = bootstrap(values, limits=(0.0, 1.0))
                rows.append(
                    {
                        "editor": self.editor, "metric": metric, "evaluator": evaluator,
                        "mean": values.mean(), "low": low, "high": high,
                        "before": _by_case(answers, evaluator, before=True).mean(),
                        "cases": len(values), "questions": len(answers),
                    }
                )  # fmt: skip
        return pd.DataFrame(rows)

    @takes(metric=METRIC, evaluator=EVALUATOR)
    def matrix(
        self, metric: Metric = "reliability", evaluator: AnswerMetric = "exact_match"
    ) -> "pd.DataFrame":
        """Mean over cases, by the language edited (rows, "all" last) and the language asked in."""
        import pandas as pd

        scores: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        for answer in self.answers:
            if answer.metric == metric:
                scores[answer.edited_in][answer.language].append(answer.score(evaluator))
        languages = list(dict.fromkeys(answer.language for answer in self.answers))
        edited_in = [x for x in (*languages, ALL) if x in scores]
        return pd.DataFrame(
            [[np.mean(scores[row][x]) if scores[row][x] else np.nan for x in languages]
             for row in edited_in],
            index=pd.Index(edited_in, name="edited in"),
            columns=pd.Index(languages, name="asked in"),
        )  # fmt: skip

    @takes(evaluator=EVALUATOR)
    def conflict(self, evaluator: AnswerMetric = "exact_match") -> "pd.DataFrame":
        """One row for each language: its reliability edited alone and with all other languages.

        `conflict` is how far reliability falls, with its 95% interval over cases. The last
        row is the mean over languages.

        Raises:
            ValueError: if the edits were not made both ways.
        """
        import pandas as pd

        by_language = self._alone_and_together(evaluator)
        of_case: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for by_case in by_language.values():
            for case, pair in by_case.items():
                of_case[case].append(pair)
        mean = {case: tuple(np.mean(pairs, 0)) for case, pairs in of_case.items()}
        rows = []
        for language, by_case in (*by_language.items(), ("mean", mean)):
            pairs = np.array(list(by_case.values()))
            fall = pairs[:, 0] - pairs[:, 1]
            low, high = bootstrap(fall, limits=(-1.0, 1.0))
            rows.append(
                {
                    "editor": self.editor, "language": language, "alone": pairs[:, 0].mean(),
                    "together": pairs[:, 1].mean(), "conflict": fall.mean(), "low": low,
                    "high": high, "cases": len(fall),
                }
            )  # fmt: skip
        return pd.DataFrame(rows)

    def _alone_and_together(
        self, evaluator: AnswerMetric
    ) -> dict[str, dict[str, tuple[float, float]]]:
        """By language and case: the reliability edited alone, and edited with all languages."""
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
        pairs: dict[str, dict[str, tuple[float, float]]] = defaultdict(dict)
        for language, case, together in scores:
            if not together and (language, case, True) in scores:
                alone = float(np.mean(scores[language, case, False]))
                pairs[language][case] = alone, float(np.mean(scores[language, case, True]))
        return pairs


def _by_case(
    answers: Iterable[Answered], evaluator: AnswerMetric, *, before: bool = False
) -> np.ndarray:
    """The mean of each case: over its languages, of the mean over a language's questions."""
    scores: dict[str, dict[tuple[str, str], list[float]]] = defaultdict(lambda: defaultdict(list))
    for answer in answers:
        scores[answer.case][answer.edited_in, answer.language].append(
            answer.score(evaluator, before=before)
        )
    return np.array(
        [np.mean([np.mean(x) for x in by_language.values()]) for by_language in scores.values()]
    )
