"""Make one edit and test it: does it hold, in other words too, and what else does it change?

1. The model is asked for the fact first. What it does not know in any language cannot be changed.
2. The edit is made, and the questions of its case are asked before and after it (see `evaluate`):
   the wordings that were edited, held-out wordings, the same relation of other subjects, and other
   relations of the subject.
3. `EditTrial.to_text` is the table that `lafn-viz edit` prints. An edit that does not hold in the
   wordings that it was made from is refused by `require_holding`.
"""

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING

from lafn_viz.core.messages import quoted, shown
from lafn_viz.datasets.counterfactuals import counterfactual_case
from lafn_viz.datasets.edit_cases import EditCase
from lafn_viz.datasets.facts import FactSet
from lafn_viz.editing.baselines.editor import Applicable, Editor
from lafn_viz.editing.cache import EditCache
from lafn_viz.editing.evaluation.answers import ALL, Answered, Evaluation, Metric
from lafn_viz.editing.evaluation.evaluate import evaluate
from lafn_viz.editing.evaluation.metrics import AnswerMetric
from lafn_viz.interventions.activation_patching import Place, trace_subject
from lafn_viz.models.scoring import score_answers

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

HOLDS = 0.5  # share of the edited wordings that an edit has to change at least
BEGINS: AnswerMetric = "starts_with"  # many models write on after an answer
NEIGHBOURS = 3  # other subjects that are asked about
# To find out where the model reads the subject: prompts to ask, those that it has to answer, pairs.
_ASKED, _KNOWN, _PAIRS = 300, 10, 16
_EXAMPLES = 4  # of answers that are not as they should be
_ROWS: dict[Metric, str] = {
    "reliability": "new answer in the wordings that were edited",
    "generality": "new answer in held-out wordings",
    "locality": "same answer for other subjects",
    "same subject": "same answer for other relations of the subject",
}


def place_to_edit(model: "TransformerBridge", facts: FactSet, case: EditCase) -> Place:
    """Where neurons tell the model most about the subject.

    It is traced by other facts of the case's relation, in its languages: some prompts are drawn,
    and those that the model answers are used.

    Raises:
        ValueError: as `trace_subject`, or if the model answers too few.
    """
    subject, relation = case.key
    alike = facts.filter(relation=relation, languages=case.languages).prompts()
    others = [prompt for prompt in alike if not prompt.fact_id.endswith(f"/{subject}")]
    drawn = random.Random(0).sample(others, min(_ASKED, len(others)))
    known = list(compress(drawn, score_answers(model, drawn).known.tolist()))
    if len(known) < _KNOWN:
        raise ValueError(
            f"the model answers {len(known)} of {len(drawn)} prompts of {quoted(relation)}, so it "
            "cannot be traced where it reads a subject; give --position answer, or languages in "
            "which it knows more"
        )
    return trace_subject(model, known, max_pairs=_PAIRS).place


@dataclass(frozen=True)
class EditTrial:
    """An edit and the answers to all questions of its case, before it and after."""

    case: EditCase
    edit: Applicable
    evaluation: Evaluation

    def to_text(self) -> str:
        """A table to print: in percent of the texts, with the language where it is lowest.

        A text counts if it begins with the answer; `whole` has those that are nothing else.
        """
        width = 2 + max(map(len, _ROWS.values()))
        lines = [f"{self.case.id} in {len(self.case.languages)} languages; % of the texts:"]
        lines.append(f"{'':<{width}}{'questions':>9}{'before':>9}{'after':>9}{'whole':>9}  lowest")
        of_metric = self.evaluation.summary(BEGINS).set_index("metric").to_dict("index")
        whole = self.evaluation.summary().set_index("metric")["mean"]
        for metric, name in _ROWS.items():
            if metric not in of_metric:
                continue
            row = of_metric[metric]
            by_language = self.evaluation.matrix(metric, BEGINS).loc[ALL].dropna()
            lowest, least = by_language.idxmin(), by_language.min()
            lines.append(
                f"{name:<{width}}{row['questions']:>9}{row['before']:>9.0%}{row['mean']:>9.0%}"
                f"{whole[metric]:>9.0%}"
                + (f"  {lowest} {least:.0%}" if least < by_language.max() else "")
            )
        lines += [
            f"  {answer.language}: {shown(answer.text)} {shown(answer.after)}, not "
            f"{shown(answer.reference)}"
            for answer in self._wrong()[:_EXAMPLES]
        ]
        return "\n".join(lines)

    def _wrong(self) -> list[Answered]:
        """The answers that are not as they should be, what changed by mistake first."""
        wrong = [answer for answer in self.evaluation.answers if answer.score(BEGINS) < 1]
        return sorted(wrong, key=lambda answer: answer.metric in ("reliability", "generality"))

    def require_holding(self) -> None:
        """Refuse an edit that does not hold in the wordings that it was made from.

        Raises:
            ValueError: saying in how many it holds.
        """
        summary = self.evaluation.summary(BEGINS).set_index("metric")
        if (share := summary["mean"]["reliability"]) < HOLDS:
            new = next(iter(self.case.edit.values()))[0].answer
            raise ValueError(
                f"the edit does not hold: the model answers {quoted(new)} in {share:.0%} of the "
                "wordings that were edited; change more neurons or another position, or edit only "
                "languages in which the model knows the fact"
            )


def case_to_try(
    facts: FactSet,
    *,
    subject: str,
    relation: str,
    new_object: str | Mapping[str, str],
    languages: str | Iterable[str] | None = None,
) -> EditCase:
    """The case of one fact, which also asks about some other subjects.

    Args:
        subject, relation, new_object, languages: as in `counterfactual_case`. The new object may
            also be the id of a subject, whose object is meant: "IT" for Rome.
    """
    owners = [x for x in facts.filter(relation=relation) if x.subject_id == new_object]
    return counterfactual_case(
        facts,
        subject=subject,
        relation=relation,
        new_object=owners[0].object if owners else new_object,
        languages=languages,
        neighbours=NEIGHBOURS,
    )


def try_edit(model: "TransformerBridge", editor: Editor, case: EditCase) -> EditTrial:
    """Make the edit of a case and test it.

    Raises:
        ValueError: for a fact that the model knows in no language.
    """
    asked = [
        replace(prompt, answer=case.old[prompt.language])
        for prompt in (*case.prompts("edit"), *case.prompts("rephrased"))
    ]
    if not score_answers(model, asked).known.any():
        raise ValueError(
            f"the model gives {quoted(asked[0].answer)} as the answer to none of {len(asked)} "
            f"questions such as {quoted(asked[0].text)}, in no language, so there is no fact to "
            "change; give one that it knows (see lv.known_share)"
        )
    edit = editor.edit(model, case, case.languages)
    made = Editor(editor.name, lambda model, case, languages: edit, editor.options)
    return EditTrial(case, edit, evaluate(model, made, [case], progress=False))


def cache_in(folder: Path, model: "TransformerBridge") -> EditCache:
    """The cache of a model's edits that a folder holds; an empty one if there is no folder.

    Raises:
        FileNotFoundError, EditError: for a folder that holds no cache, or edits of another model.
    """
    cache = EditCache.load(folder) if folder.exists() else EditCache()
    for edit in list(cache)[:1]:  # all others are of the same model
        edit.require(model)
    return cache
