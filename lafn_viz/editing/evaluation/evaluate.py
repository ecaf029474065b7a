"""How well does an edit hold, and what else does it change?

For each case: edit it, let the model write its answers to everything that is asked after it, and
take the edit back. An edit is made in all languages together, or in one alone and asked about in
all. Every text is kept, from before and after.

What is asked: **reliability** (the questions that were edited), **generality** (the same in other
words), **locality** (something else: is the answer as before), **same subject** (locality that
names the edited subject: other relations of it), **portability** (what follows from the edit).

Who judges is always named, for judges disagree; each gives a score in [0, 1], the best over an
answer's aliases. `exact_match`, `starts_with`, `token_f1` and `remake` read the text (see
`judges`), `token_accuracy` is the share of the answer's tokens that are the likeliest, those before
them given.

For locality the answer is what the model wrote before the edit, right or wrong. **Conflict** is how
far a language's reliability falls when the others are edited too.
"""

import json
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from lafn_viz.core.json_records import (
    FactError,
    as_object,
    decoded,
    parsed,
    read_bytes,
    record_text,
    value_of,
)
from lafn_viz.datasets.edit_cases import ROLES, EditCase, EditSet, Role
from lafn_viz.datasets.facts import Prompt, known
from lafn_viz.editing.baselines.editor import Editor
from lafn_viz.editing.evaluation.metrics import JUDGES
from lafn_viz.models.generation import write
from lafn_viz.models.loading import Provenance, context_length, provenance, traits
from lafn_viz.models.scoring import encode
from lafn_viz.neurons.overlaps import bootstrap

if TYPE_CHECKING:
    import pandas as pd
    from transformer_lens.model_bridge import TransformerBridge

Metric = Literal["reliability", "generality", "locality", "same subject", "portability"]
METRICS: tuple[Metric, ...] = get_args(Metric)
Evaluator = Literal["exact_match", "starts_with", "token_f1", "remake", "token_accuracy"]
EVALUATORS: tuple[Evaluator, ...] = get_args(Evaluator)
ALL = "all"

_OF_ROLE: dict[Role, Metric] = {
    "edit": "reliability",
    "rephrased": "generality",
    "locality": "locality",
    "portability": "portability",
}


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

    def score(self, evaluator: Evaluator, *, before: bool = False) -> float:
        """In [0, 1], of what was written after the edit (or before it)."""
        known("evaluator", evaluator, EVALUATORS)
        if evaluator == "token_accuracy":
            return self.right_before if before else self.right
        written = self.before if before else self.after
        judge = JUDGES[evaluator]
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
            row |= {name: answer.score(name) for name in EVALUATORS if name in JUDGES}
            rows.append({"editor": self.editor, **row})
        return pd.DataFrame(rows)

    def summary(self, evaluator: Evaluator = "exact_match") -> "pd.DataFrame":
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
        self, metric: Metric = "reliability", evaluator: Evaluator = "exact_match"
    ) -> "pd.DataFrame":
        """Mean over cases, by the language edited (rows; the last all of them) and asked in."""
        import pandas as pd

        known("metric", metric, METRICS)
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

    def conflict(self, evaluator: Evaluator = "exact_match") -> "pd.DataFrame":
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
    answers: Iterable[Answered], evaluator: Evaluator, *, before: bool = False
) -> np.ndarray:
    """Mean of each case: over its languages, of the mean over a language's questions."""
    scores: dict[str, dict[tuple[str, str], list[float]]] = defaultdict(lambda: defaultdict(list))
    for answer in answers:
        scores[answer.case][answer.edited_in, answer.language].append(
            answer.score(evaluator, before=before)
        )
    return np.array([np.mean([np.mean(x) for x in of.values()]) for of in scores.values()])


def evaluate(
    model: "TransformerBridge",
    editor: Editor,
    cases: EditSet | Iterable[EditCase],
    *,
    languages: Iterable[str] | None = None,
    together: bool = True,
    alone: bool = False,
    at_once: bool = False,
    file: str | Path | None = None,
    progress: bool = True,
    max_prompts: int = 128,
) -> Evaluation:
    """Edit each case, ask everything that belongs to it, and take the edit back.

    Args:
        editor: one of `baselines`, or your own.
        languages: to edit and ask in; all of the cases unless given.
        together: edit each case in all languages at once.
        alone: edit it in each language alone, too, and ask in all: what the edit x test matrix and
            the conflict are made of. As many more edits as there are languages.
        at_once: make the edits of all cases first, and ask about each with all of them in place.
        file: JSON lines to keep what is done in, case by case. Called again with the same file, an
            evaluation that was stopped goes on where it was.
        max_prompts: in one batch, which bounds the memory.

    Raises:
        ValueError: for no cases, neither `together` nor `alone`, `at_once` with `alone`, a question
            that is longer than the model reads, or a file of another evaluation or with a line
            that cannot be read (FactError, naming the line).
        FileNotFoundError: for a folder in place of the file.
    """
    chosen = cases if isinstance(cases, EditSet) else EditSet(tuple(cases))
    chosen = chosen if languages is None else chosen.filter(languages=languages)
    if not len(chosen) or not (together or alone):
        raise ValueError(
            f"there is nothing to evaluate ({len(chosen)} cases, together={together}, "
            f"alone={alone}); give cases, and edit them together, alone or both"
        )
    if at_once and alone:
        raise ValueError(
            "all cases at once are edited in all their languages; leave out alone=True"
        )
    if traits(model).masked:
        raise ValueError("editors are evaluated by what a model writes; give a causal model")
    source = provenance(
        model, "evaluate", editor=editor.name, cases=[case.id for case in chosen],
        languages=list(chosen.languages), together=together, alone=alone, at_once=at_once,
        **{f"editor_{name}": plain(value) for name, value in editor.options.items()},
    )  # fmt: skip
    limit = context_length(model) or 0
    for case in chosen:
        for prompt in (prompt for role in ROLES for prompt in case.prompts(role)):
            # No token is shorter than a byte, so that few need to be encoded to know.
            if len((prompt.text + prompt.continuation).encode()) >= limit > 0:
                encode(model, prompt)
    done = _Done(None if file is None else Path(file), source)
    if at_once and any(case.id not in done.of for case in chosen):
        every = editor.together(model, list(chosen))
        editor = replace(editor, edit=lambda model, case, languages: every)
    answers: list[Answered] = []
    from tqdm.auto import tqdm

    for case in tqdm(chosen, desc=editor.name, disable=not progress, unit="edit"):
        if case.id not in done.of:
            ways = [(ALL, case.languages)] if together else []
            ways += [(language, (language,)) for language in case.languages] if alone else []
            done.add(case.id, _answered(model, editor, case, ways, max_prompts))
        answers += done.of[case.id]
    return Evaluation(editor.name, tuple(answers), source)


def _answered(
    model: "TransformerBridge",
    editor: Editor,
    case: EditCase,
    ways: Sequence[tuple[str, Sequence[str]]],
    max_prompts: int,
) -> list[Answered]:
    """Every question of a case, after its edit in each of some ways."""
    asked = [(_metric(case, role, p), p) for role in ROLES for p in case.prompts(role)]
    prompts = [prompt for _, prompt in asked]
    before = write(model, prompts, max_prompts=max_prompts)
    stays = [metric in ("locality", "same subject") for metric, _ in asked]
    references = [old.tokens if stay else None for old, stay in zip(before, stays, strict=True)]
    found = []
    for name, languages in ways:
        with editor.edit(model, case, languages).applied(model):
            after = write(model, prompts, references=references, max_prompts=max_prompts)
        found += [
            Answered(
                case=case.id,
                edited_in=name,
                metric=metric,
                language=prompt.language,
                text=prompt.text,
                reference=old.text if stay else prompt.answer,
                aliases=() if stay else prompt.aliases,
                before=old.text,
                after=new.text,
                right_before=1.0 if stay else old.right,
                right=new.right,
            )
            for (metric, prompt), stay, old, new in zip(asked, stays, before, after, strict=True)
        ]
    return found


def _metric(case: EditCase, role: Role, prompt: Prompt) -> Metric:
    """What a question of a case measures."""
    own = case.subject.get(prompt.language)
    if role == "locality" and prompt.subject and prompt.subject == own:
        return "same subject"
    return _OF_ROLE[role]


def plain(value: Any) -> Any:
    """An option as JSON would keep it, or the name of its type."""
    try:
        return json.loads(json.dumps(value))
    except TypeError:
        return type(value).__name__


class _Done:
    """What is evaluated already, by case: in memory, and on disk if there is a file."""

    def __init__(self, file: Path | None, source: Provenance) -> None:
        self.file, self.of = file, dict[str, list[Answered]]()
        if file is None:
            return
        head = json.loads(json.dumps({"weights": source.weights, **source.options}))
        if not file.exists() or (file.is_file() and not file.stat().st_size):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(head, ensure_ascii=False) + "\n", encoding="utf-8")
            return
        raw = read_bytes(file, give="a file to keep what is done in")
        # Whoever is killed while writing leaves a line without an end: that case is done anew.
        *whole, cut = raw.split(b"\n")
        try:
            there = parsed(str(file), decoded(str(file), whole[0])) if whole else None
        except FactError:
            there = None
        if not isinstance(there, dict) or there != head:
            told = there if isinstance(there, dict) else {}
            differs = [name for name in head if told.get(name) != head[name]]
            raise ValueError(
                f"{file} holds another evaluation (its {', '.join(differs) or 'options'} differ); "
                "give another file, or evaluate as before"
            )
        for number, line in enumerate(whole[1:], 2):
            where = f"{file}, line {number}"
            try:
                record = as_object(where, parsed(where, decoded(where, line)))
                case = record_text(where, record, "case")
                self.of[case] = [*value_of(where, record, "answers", tuple[Answered, ...])]
            except FactError as error:
                raise FactError(f"{error}; remove this line, and its case is done anew") from None
        if cut:
            os.truncate(file, len(raw) - len(cut))

    def add(self, case: str, answers: list[Answered]) -> None:
        self.of[case] = answers
        if self.file is not None:
            line = json.dumps(
                {"case": case, "answers": [asdict(one) for one in answers]}, ensure_ascii=False
            )
            with self.file.open("a", encoding="utf-8") as out:
                out.write(line + "\n")
