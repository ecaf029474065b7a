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

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lafn_viz.core.options import plain
from lafn_viz.datasets.edit_cases import ROLES, EditCase, EditSet, Role
from lafn_viz.datasets.facts import Prompt
from lafn_viz.editing.baselines.editor import Editor
from lafn_viz.editing.evaluation.answers import ALL, Answered, Evaluation, Metric
from lafn_viz.editing.evaluation.journal import _Done
from lafn_viz.models.capabilities import capabilities, context_length, provenance
from lafn_viz.models.generation import generate
from lafn_viz.models.tokens import encode

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


_OF_ROLE: dict[Role, Metric] = {
    "edit": "reliability",
    "rephrased": "generality",
    "locality": "locality",
    "portability": "portability",
}


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
    if capabilities(model).masked:
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
    before = generate(model, prompts, max_prompts=max_prompts)
    stays = [metric in ("locality", "same subject") for metric, _ in asked]
    references = [old.tokens if stay else None for old, stay in zip(before, stays, strict=True)]
    found = []
    for name, languages in ways:
        with editor.edit(model, case, languages).applied(model):
            after = generate(model, prompts, references=references, max_prompts=max_prompts)
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
