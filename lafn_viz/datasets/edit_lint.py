"""Faults of edit cases that would distort a result.

Texts are compared as people read them (see `text`). The checks, beside "language
missing":

- **no** subject, old answer, rephrasing, locality or portability question;
- **subject not in question**, or in the rephrasing (see `find_name`);
- **rephrasing equals question**: generality is then reliability once more;
- **new answer equals old**, or stands **in the question** or **in the portability question**;
- **new answer in Latin script** though the language is written in another;
- **locality names the subject**, or **another edit's subject**: an editor that looks for subjects
  acts there too (cases made of facts do this on purpose: they ask for other facts of the subject);
- **question of another edit too**, in the same language;
- **hidden characters**: control characters and marks of text direction.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import regex

from lafn_viz.datasets.edit_cases import ROLES, EditCase, Role
from lafn_viz.datasets.languages import outside_latin
from lafn_viz.datasets.prompts import Prompt
from lafn_viz.datasets.text import holds_words, is_latin, is_whole, normal, same_text

if TYPE_CHECKING:
    import pandas as pd


class _AllCases:
    """The questions and subjects of all cases, for the checks that compare one with the others."""

    def __init__(self, cases: Iterable[EditCase]) -> None:
        self.questions: Counter[tuple[str, str]] = Counter()
        # By language and the first two letters, so that one pass over a text finds all of them.
        self.subjects: dict[tuple[str, str], set[str]] = defaultdict(set)
        for case in cases:
            for language, subject in case.subject.items():
                subject = normal(subject, language)
                self.subjects[language, subject[:2]].add(subject)
            for language in case.languages:
                self.questions.update({(language, text) for text in _texts(case, language)})

    def named(self, prompt: Prompt) -> set[str]:
        """Return the subjects of any case that stand in a prompt, in the form of `normal`."""
        text, language = normal(prompt.text, prompt.language), prompt.language
        return {
            subject
            for start in range(len(text))
            for subject in self.subjects.get((language, text[start : start + 2]), ())
            if text.startswith(subject, start) and is_whole(text, start, start + len(subject))
        }


def _texts(case: EditCase, language: str) -> set[str]:
    return {normal(prompt.text, language) for prompt in case.edit[language]}


def _holds(text: str, part: str, language: str) -> bool:
    """Whether a name or an answer stands in a text, as whole words where words have spaces."""
    return holds_words(normal(text, language), normal(part, language))


# Control characters but for tab and line feed, marks of direction, and the space without a width.
_HIDDEN = regex.compile(r"[[\p{Cc}--[\t\n]]\p{Bidi_Control}\u200b]", regex.V1)

# Each tells whether a case has a fault in a language; None where the check does not apply.
_Check = Callable[[EditCase, str, _AllCases], bool | None]
CHECKS: dict[str, _Check] = {
    "no subject": lambda case, lang, _: lang not in case.subject,
    "no old answer": lambda case, lang, _: lang not in case.old,
    "no rephrasing": lambda case, lang, _: not case.rephrased.get(lang),
    "no locality question": lambda case, lang, _: not case.locality.get(lang),
    "no portability question": lambda case, lang, _: not case.portability.get(lang),
    "subject not in question": lambda case, lang, _: _unnamed(case, lang, "edit"),
    "subject not in rephrasing": lambda case, lang, _: _unnamed(case, lang, "rephrased"),
    "rephrasing equals question": lambda case, lang, _: (
        any(normal(p.text, lang) in _texts(case, lang) for p in case.rephrased[lang])
        if case.rephrased.get(lang)
        else None
    ),
    "new answer equals old": lambda case, lang, _: (
        same_text(case.edit[lang][0].answer, case.old[lang], lang) if lang in case.old else None
    ),
    "new answer in question": lambda case, lang, _: any(
        _holds(p.text, p.answer, lang) for p in case.edit[lang]
    ),
    "new answer in portability question": lambda case, lang, _: (
        any(_holds(p.text, case.edit[lang][0].answer, lang) for p in case.portability[lang])
        if case.portability.get(lang)
        else None
    ),
    "new answer in Latin script": lambda case, lang, _: (
        is_latin(case.edit[lang][0].answer) if outside_latin(lang) else None
    ),
    "locality names the subject": lambda case, lang, _: (
        any(_holds(p.text, case.subject[lang], lang) for p in case.locality[lang])
        if lang in case.subject and case.locality.get(lang)
        else None
    ),
    "locality names another edit's subject": lambda case, lang, all_cases: (
        any(
            all_cases.named(p) - {normal(case.subject.get(lang, ""), lang)}
            for p in case.locality[lang]
        )
        if case.locality.get(lang)
        else None
    ),
    "question of another edit too": lambda case, lang, all_cases: any(
        all_cases.questions[lang, text] > 1 for text in _texts(case, lang)
    ),
    "hidden characters": lambda case, lang, _: any(
        _HIDDEN.search(p.text + p.answer)
        for role in ROLES
        for p in case.prompts(role, languages=[lang])
    ),
}


def _unnamed(case: EditCase, language: str, role: Role) -> bool | None:
    asked = case.prompts(role, languages=[language])
    if language not in case.subject or not asked:
        return None
    return any(prompt.subject_span is None for prompt in asked)


def lint(cases: Iterable[EditCase]) -> "pd.DataFrame":
    """Count the faults of cases, by language.

    One row for each check and language: `count` cases with the fault, `of` those to which the check
    applies, their `share`, and up to three ids as `examples`.
    """
    import pandas as pd

    cases = list(cases)
    all_cases = _AllCases(cases)
    rows = []
    for language in dict.fromkeys(lang for case in cases for lang in case.languages):
        missing = [case.id for case in cases if language not in case.languages]
        rows.append(("language missing", language, len(missing), len(cases), missing[:3]))
        within = [case for case in cases if language in case.languages]
        for name, check in CHECKS.items():
            verdicts = [(case.id, check(case, language, all_cases)) for case in within]
            faulty = [id for id, is_faulty in verdicts if is_faulty]
            n_checked = sum(is_faulty is not None for _, is_faulty in verdicts)
            rows.append((name, language, len(faulty), n_checked, faulty[:3]))
    frame = pd.DataFrame(rows, columns=["check", "language", "count", "of", "examples"])
    frame.insert(4, "share", frame["count"] / frame["of"].where(frame["of"] > 0))
    order = {name: number for number, name in enumerate(["language missing", *CHECKS])}
    return frame.sort_values("check", key=lambda x: x.map(order), kind="stable", ignore_index=True)
