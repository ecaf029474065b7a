"""Edits, and what is asked after them, in many languages.

An **edit case** is one fact with a new answer. After the edit one asks

- **reliability**: the questions that were edited, with the new answer;
- **generality**: the same in other words, with the new answer;
- **locality**: something else, whose answer must stay as it is;
- **portability**: what follows from the new answer.

All of them are `Prompt` objects, those of the public sets too, so that one code scores them. A
public question that does not name its subject literally (in MzsRE up to four of five, by language)
has no `subject_span`: its answer can be scored, only nothing can be read at the subject. A locality
question has neither subject nor span.

`benchmarks` reads cases from public sets, `counterfactuals` makes them from facts. `lint` counts
what would distort a result. Locality, generality and portability as in Yao et al. 2023,
"Editing Large Language Models" (arXiv 2305.13172), across languages as in Wang et al. 2023,
"Cross-Lingual Knowledge Editing in Large Language Models" (arXiv 2309.08952).
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import regex

from lafn_viz.core.options import require_one_of
from lafn_viz.datasets.facts import Prompt
from lafn_viz.datasets.languages import outside_latin, separator_of
from lafn_viz.datasets.text import holds_words, is_latin, normal

if TYPE_CHECKING:
    import pandas as pd

Role = Literal["edit", "rephrased", "locality", "portability"]
ROLES: tuple[Role, ...] = get_args(Role)
Questions = dict[str, tuple[Prompt, ...]]


@dataclass(frozen=True)
class EditCase:
    """One edit and what is asked after it, each by language.

    `edit` are the questions edited, with the new answer, and `rephrased` the same in other words.
    `locality` has the answers of the data, `portability` those that follow from the edit.
    `subject` and `old`, the answer before, lack the languages for which the data do not give them.
    `keep` is not asked: an editor may hold its prompts still while it edits. `source` names the
    set. `subject_id` and `relation` say what is edited, where a set has them.

    Raises ValueError for a case without a question to edit.
    """

    id: str
    source: str
    subject: dict[str, str]
    edit: Questions
    old: dict[str, str] = field(default_factory=dict)
    rephrased: Questions = field(default_factory=dict)
    locality: Questions = field(default_factory=dict)
    portability: Questions = field(default_factory=dict)
    keep: Questions = field(default_factory=dict)
    subject_id: str = ""
    relation: str = ""

    def __post_init__(self) -> None:
        if not self.edit or not all(self.edit.values()):
            raise ValueError(f"case {self.id!r} edits no question; give one in each language")

    def __repr__(self) -> str:
        language = self.languages[0]
        first = self.edit[language][0]
        return (
            f"EditCase({self.id!r}, {first.text!r} -> {first.answer!r}, "
            f"languages={list(self.languages)})"
        )

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages in which the fact is edited."""
        return tuple(self.edit)

    @property
    def key(self) -> tuple[str, str]:
        """Subject and relation; the name of the subject and the case where the set has no ids."""
        named = self.subject_id or next(iter(self.subject.values()), self.id)
        return named, self.relation or self.id

    def prompts(
        self, role: Role | Literal["keep"], *, languages: Iterable[str] | None = None
    ) -> list[Prompt]:
        """The prompts of one role, by language."""
        asked: Questions = getattr(self, role)
        chosen = self.languages if languages is None else tuple(languages)
        return [prompt for language in chosen for prompt in asked.get(language, ())]


@dataclass(frozen=True)
class EditSet:
    """Edit cases, by number or id. `filter` narrows them, `lint` says what is odd about them."""

    cases: tuple[EditCase, ...]

    def __len__(self) -> int:
        return len(self.cases)

    def __iter__(self) -> Iterator[EditCase]:
        return iter(self.cases)

    def __getitem__(self, key: int | str) -> EditCase:
        if isinstance(key, int):
            return self.cases[key]
        for case in self.cases:
            if case.id == key:
                return case
        raise KeyError(f"no case {key!r} here; ids look like {self.cases[0].id!r}")

    def __repr__(self) -> str:
        return f"EditSet({len(self)} cases, languages={list(self.languages)})"

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages of any case, in the order they come."""
        return tuple(dict.fromkeys(lang for case in self.cases for lang in case.languages))

    def filter(
        self, *, languages: str | Iterable[str] | None = None, n: int | None = None
    ) -> "EditSet":
        """The first `n` cases that have any of these languages, in them alone.

        Raises ValueError, naming what there is, for a language that no case has or a bad `n`.
        """
        cases = self.cases
        if languages is not None:
            chosen = require_one_of("language", languages, self.languages)
            cases = tuple(
                _only(case, chosen) for case in cases if any(x in chosen for x in case.languages)
            )
        if n is not None:
            if not 0 < n <= len(cases):
                raise ValueError(f"n={n} of {len(cases)} cases; give 1 to {len(cases)}")
            cases = cases[:n]
        return EditSet(cases)

    def to_frame(self) -> "pd.DataFrame":
        """One row a prompt: its case, role, language, texts, whether it names its subject."""
        import pandas as pd

        return pd.DataFrame(
            {
                "case": case.id,
                "source": case.source,
                "role": role,
                "language": prompt.language,
                "text": prompt.text,
                "answer": prompt.answer,
                "subject": prompt.subject,
                "names_subject": prompt.subject_span is not None,
            }
            for case in self.cases
            for role in ROLES
            for prompt in case.prompts(role)
        )

    def lint(self) -> "pd.DataFrame":
        """What would distort a result (see `lint`)."""
        return lint(self)

    def summary(self) -> str:
        """A sentence: the five most frequent findings of `lint`, each with the language worst off.

        Shares are of the cases in the languages that have the finding at all.
        """
        found = self.lint().query("count > 0")
        worst = found.sort_values("share", ascending=False).drop_duplicates("check")
        said = []
        for check, language, share in zip(
            worst["check"], worst["language"], worst["share"], strict=True
        ):
            rows = found[found["check"] == check]
            part = rows["count"].sum() / rows["of"].sum()
            said.append((part, f"{check} {part:.0%} (most in {language}: {share:.0%})"))
        odd = "; ".join(text for _, text in sorted(said, reverse=True)[:5]) or "nothing odd"
        return f"{len(self)} edits in {len(self.languages)} languages: {odd}."


def _only(case: EditCase, languages: Iterable[str]) -> EditCase:
    def cut(given: dict[str, Any]) -> dict[str, Any]:
        return {language: given[language] for language in given if language in languages}

    return replace(
        case,
        subject=cut(case.subject),
        edit=cut(case.edit),
        old=cut(case.old),
        rephrased=cut(case.rephrased),
        locality=cut(case.locality),
        portability=cut(case.portability),
        keep=cut(case.keep),
    )


class _Seen:
    """What the checks of one case need to know of the others."""

    def __init__(self, cases: Iterable[EditCase]) -> None:
        self.questions: Counter[tuple[str, str]] = Counter()
        # Subjects by language and their first two letters, so that a text is searched in one go.
        self.subjects: dict[tuple[str, str], set[str]] = defaultdict(set)
        for case in cases:
            for language, subject in case.subject.items():
                self.subjects[language, subject[:2]].add(subject)
            for language in case.languages:
                self.questions.update({(language, text) for text in _texts(case, language)})

    def named(self, prompt: Prompt) -> set[str]:
        """The subjects of any case that stand in a text literally."""
        text, language = prompt.text, prompt.language
        return {
            subject
            for start in range(len(text))
            for subject in self.subjects.get((language, text[start : start + 2]), ())
            if text.startswith(subject, start)
        }


def _texts(case: EditCase, language: str) -> set[str]:
    return {normal(prompt.text) for prompt in case.edit[language]}


def _holds(text: str, answer: str, language: str) -> bool:
    """Whether an answer stands in a text, as whole words where words are spaced."""
    text, answer = normal(text), normal(answer)
    return holds_words(text, answer) if separator_of(language) else answer in text


# Control characters but for tab and line feed, marks of direction, and the space without a width.
_HIDDEN = regex.compile(r"[[\p{Cc}--[\t\n]]\p{Bidi_Control}\u200b]", regex.V1)

# Each says whether a case has the fault in a language; None where it cannot be said.
_Check = Callable[[EditCase, str, _Seen], bool | None]
CHECKS: dict[str, _Check] = {
    "no subject": lambda case, lang, _: lang not in case.subject,
    "no old answer": lambda case, lang, _: lang not in case.old,
    "no rephrasing": lambda case, lang, _: not case.rephrased.get(lang),
    "no locality question": lambda case, lang, _: not case.locality.get(lang),
    "no portability question": lambda case, lang, _: not case.portability.get(lang),
    "subject not in question": lambda case, lang, _: _unnamed(case, lang, "edit"),
    "subject not in rephrasing": lambda case, lang, _: _unnamed(case, lang, "rephrased"),
    "rephrasing equals question": lambda case, lang, _: (
        any(normal(p.text) in _texts(case, lang) for p in case.rephrased[lang])
        if case.rephrased.get(lang)
        else None
    ),
    "new answer equals old": lambda case, lang, _: (
        normal(case.edit[lang][0].answer) == normal(case.old[lang]) if lang in case.old else None
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
        any(case.subject[lang] in p.text for p in case.locality[lang])
        if lang in case.subject and case.locality.get(lang)
        else None
    ),
    "locality names another edit's subject": lambda case, lang, seen: (
        any(seen.named(p) - {case.subject.get(lang)} for p in case.locality[lang])
        if case.locality.get(lang)
        else None
    ),
    "question of another edit too": lambda case, lang, seen: any(
        seen.questions[lang, text] > 1 for text in _texts(case, lang)
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


def lint(cases: EditSet) -> "pd.DataFrame":
    """Count what would distort a result of these cases, by language.

    One row a check and language: `count` cases, `of` those to which the check applies, their
    `share`, and up to three ids as `examples`. Texts are compared without case and spacing. The
    checks, beside "language missing":

    - **no** subject, old answer, rephrasing, locality or portability question;
    - **subject not in question**, or in the rephrasing: not literally, as an exact matcher looks;
    - **rephrasing equals question**: generality is then reliability once more;
    - **new answer equals old**, or stands **in the question** or **in the portability question**;
    - **new answer in Latin script** though the language is written in another;
    - **locality names the subject**, or **another edit's subject**: an editor that looks for
      subjects acts there too (which cases made of facts ask for on purpose: other facts of it);
    - **question of another edit too**, in the same language;
    - **hidden characters**: control and text-direction marks.
    """
    import pandas as pd

    seen = _Seen(cases)
    rows = []
    for language in cases.languages:
        missing = [case.id for case in cases if language not in case.languages]
        rows.append(("language missing", language, len(missing), len(cases), missing[:3]))
        within = [case for case in cases if language in case.languages]
        for name, check in CHECKS.items():
            said = [(case.id, check(case, language, seen)) for case in within]
            found = [case for case, odd in said if odd]
            of = sum(odd is not None for _, odd in said)
            rows.append((name, language, len(found), of, found[:3]))
    frame = pd.DataFrame(rows, columns=["check", "language", "count", "of", "examples"])
    frame.insert(4, "share", frame["count"] / frame["of"].where(frame["of"] > 0))
    order = {name: number for number, name in enumerate(["language missing", *CHECKS])}
    return frame.sort_values("check", key=lambda x: x.map(order), kind="stable", ignore_index=True)
