"""How well does an edit hold, and what else does it change?

For each case: edit it, let the model write its answers to all of the case's questions, and take the
edit back. A case is edited in all languages together, or in one language alone and asked about in
all. Every text is kept, from before the edit and after.

What is asked: **reliability** (the questions that were edited), **generality** (the same in other
words), **locality** (something else, whose answer should stay), **same subject** (locality that
names the edited subject: its other relations), **portability** (what follows from the edit).

How it is scored: by one of the metrics in `metrics`, always named, because they disagree; each
gives a score in [0, 1], the best over an answer's aliases. `exact_match`, `starts_with`, `token_f1`
and `remake` compare texts, `token_accuracy` is the share of the answer's tokens that are the
likeliest, each given those before it.

For locality the reference is what the model wrote before the edit, true or false. **Conflict** is
how far a language's reliability falls when the other languages are edited too.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lafn_viz.core.arguments import (
    a_flag,
    a_path,
    a_result,
    or_none,
    some_languages,
    takes,
    whole,
)
from lafn_viz.core.messages import quoted
from lafn_viz.core.options import plain
from lafn_viz.core.skipped import Skipped
from lafn_viz.datasets.arguments import Cases, as_cases
from lafn_viz.datasets.edit_cases import ROLES, EditCase, Role
from lafn_viz.datasets.edit_sets import EditSet
from lafn_viz.datasets.prompts import Prompt
from lafn_viz.datasets.text import same_text
from lafn_viz.editing.baselines.editor import Editor
from lafn_viz.editing.evaluation.answers import ALL, Answered, Evaluation, Metric
from lafn_viz.editing.evaluation.journal import EvaluationJournal
from lafn_viz.models.calls import reads_model
from lafn_viz.models.capabilities import capabilities, context_length, provenance
from lafn_viz.models.generation import generate
from lafn_viz.models.tokens import encode

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

_METRIC_OF_ROLE: dict[Role, Metric] = {
    "edit": "reliability",
    "rephrased": "generality",
    "locality": "locality",
    "portability": "portability",
}


@reads_model
@takes(
    editor=a_result(Editor), languages=or_none(some_languages), together=a_flag, alone=a_flag,
    at_once=a_flag, file=or_none(a_path), progress=a_flag, max_prompts=whole(1),
)  # fmt: skip
def evaluate(
    model: "TransformerBridge",
    editor: Editor,
    cases: Cases,
    *,
    languages: str | Iterable[str] | None = None,
    together: bool = True,
    alone: bool = False,
    at_once: bool = False,
    file: str | Path | None = None,
    progress: bool = True,
    max_prompts: int = 128,
) -> Evaluation:
    """Edit each case, ask all of its questions, and take the edit back.

    Args:
        editor: one of `baselines`, or your own.
        languages: to edit and ask in; all of the cases unless given.
        together: edit each case in all languages at once.
        alone: edit it in each language alone, too, and ask in all: what `matrix` and `conflict`
            compare. This makes as many more edits as there are languages.
        at_once: edit all cases first, and ask about each with all of these edits in place.
        file: JSON lines to keep the answers in, case by case. Called again with the same file, an
            evaluation that was stopped resumes. A case whose contents have changed since is
            evaluated anew and appended; its old answers stay in the file and count again when the
            case is given as it was. A file of a version that did not record the contents is
            refused.
        max_prompts: in one batch, which bounds the memory.

    Raises:
        ValueError: for no cases, two of one id, neither `together` nor `alone`, `at_once` with
            `alone`, or a file of another evaluation, of an earlier version, or with a line that
            cannot be read (FactError, naming the line).
        FileNotFoundError: for a folder in place of the file.
        Exception: that of the first case, if none can be evaluated.

    Warns:
        SkippedWarning: naming the cases that cannot be evaluated, such as one with a question that
            is longer than the model reads. `Evaluation.left_out` has them too; the answers to the
            others are those of an evaluation without them.
    """
    from tqdm.auto import tqdm

    chosen = as_cases(cases)
    chosen = chosen if languages is None else chosen.filter(languages=languages)
    _require_something_to_do(chosen, together, alone, at_once)
    if capabilities(model).masked:
        raise ValueError("editors are evaluated by what a model writes; give a causal model")
    skipped = Skipped("case")
    usable = _readable_cases(model, chosen, skipped, edited_at_once=at_once)
    source = provenance(
        model, "evaluate", editor=editor.name, cases=[case.id for case in chosen],
        languages=list(chosen.languages), together=together, alone=alone, at_once=at_once,
        **{f"editor_{name}": plain(value) for name, value in editor.options.items()},
    )  # fmt: skip
    journal = EvaluationJournal(
        None if file is None else Path(file), source, edited_with=usable if at_once else ()
    )
    if at_once and any(journal.answers_of(case) is None for case in usable):
        all_edits = editor.together(model, usable)
        editor = replace(editor, edit=lambda model, case, languages: all_edits)
    answers: list[Answered] = []
    for case in tqdm(usable, desc=editor.name, disable=not progress, unit="edit"):
        answers_of_case = journal.answers_of(case)
        if answers_of_case is None:
            with skipped.unless_it_fails(case.id):
                answers_of_case = _evaluate_case(model, editor, case, together, alone, max_prompts)
            if answers_of_case is None:
                continue
            journal.add(case, answers_of_case)
        answers += answers_of_case
    skipped.report(len(chosen))
    return Evaluation(editor.name, tuple(answers), source, skipped.reasons)


def _require_something_to_do(cases: EditSet, together: bool, alone: bool, at_once: bool) -> None:
    """Refuse options under which nothing is edited, or which exclude each other."""
    if not len(cases) or not (together or alone):
        raise ValueError(
            f"there is nothing to evaluate ({len(cases)} cases, together={together}, "
            f"alone={alone}); give cases, and edit them together, alone or both"
        )
    if at_once and alone:
        raise ValueError(
            "all cases at once are edited in all their languages; leave out alone=True"
        )
    (most_frequent, times), *_ = Counter(case.id for case in cases).most_common(1)
    if times > 1:
        raise ValueError(
            f"{times} cases are named {quoted(most_frequent)}, and answers are counted by case; "
            "leave out all but one, or rename them"
        )


def _readable_cases(
    model: "TransformerBridge", cases: EditSet, skipped: Skipped, *, edited_at_once: bool
) -> list[EditCase]:
    """The cases without a question that is longer than the model reads, before any edit is made.

    Of cases that are edited at once every question is read: one bad edit would spoil them all.

    Raises:
        ValueError: if no case is left.
    """
    n_special = len(capabilities(model).special_prefix) + 1  # and a space in front of a text
    limit = context_length(model) or 0
    readable = []
    for case in cases:
        with skipped.unless_it_fails(case.id):
            for prompt in (prompt for role in ROLES for prompt in case.prompts(role)):
                # No token is shorter than a byte, so few questions have to be encoded to know.
                n_bytes = len((prompt.full_text + prompt.continuation).encode())
                if edited_at_once or n_bytes + n_special >= limit > 0:
                    encode(model, prompt)
            readable.append(case)
    if not readable:
        skipped.report(len(cases))
    return readable


def _evaluate_case(
    model: "TransformerBridge",
    editor: Editor,
    case: EditCase,
    together: bool,
    alone: bool,
    max_prompts: int,
) -> list[Answered]:
    """The answers to every question of a case, after each of its edits."""
    edits: list[tuple[str, Sequence[str]]] = [(ALL, case.languages)] if together else []
    edits += [(language, (language,)) for language in case.languages] if alone else []
    questions = [(_metric(case, role, p), p) for role in ROLES for p in case.prompts(role)]
    prompts = [prompt for _, prompt in questions]
    before = generate(model, prompts, max_prompts=max_prompts)
    stays = [metric in ("locality", "same subject") for metric, _ in questions]
    references = [old.tokens if stay else None for old, stay in zip(before, stays, strict=True)]
    answers = []
    for edited_in, languages in edits:
        with editor.edit(model, case, languages).applied(model):
            after = generate(model, prompts, references=references, max_prompts=max_prompts)
        answers += [
            Answered(
                case=case.id,
                edited_in=edited_in,
                metric=metric,
                language=prompt.language,
                text=prompt.text,
                reference=old.text if stay else prompt.answer,
                aliases=() if stay else prompt.aliases,
                before=old.text,
                after=new.text,
                token_accuracy_before=1.0 if stay else old.token_accuracy,
                token_accuracy=new.token_accuracy,
            )
            for (metric, prompt), stay, old, new in zip(
                questions, stays, before, after, strict=True
            )
        ]
    return answers


def _metric(case: EditCase, role: Role, prompt: Prompt) -> Metric:
    """What a question of a case measures."""
    subject = case.subject.get(prompt.language, "")
    if role == "locality" and subject and same_text(prompt.subject, subject, prompt.language):
        return "same subject"
    return _METRIC_OF_ROLE[role]
