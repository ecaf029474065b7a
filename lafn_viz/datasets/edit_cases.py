"""An edit, and the questions that are asked after it, in many languages.

An **edit case** is one fact with a new answer. After the edit one asks

- **reliability**: the questions that were edited, with the new answer;
- **generality**: the same questions in other words, with the new answer;
- **locality**: other questions, whose answers must stay the same;
- **portability**: questions about what follows from the new answer.

All questions are `Prompt` objects, also those of public sets, so that the same code scores them. A
public question that does not name its subject (in MzsRE up to four of five, by language) has no
`subject_span`: its answer can be scored, but nothing can be read at the subject. A locality
question has neither subject nor span.

`edit_readers` reads cases from public sets, `counterfactuals` makes them from facts, `edit_sets`
holds many of them. Locality, generality and portability as in Yao et al. 2023, "Editing Large
Language Models" (arXiv 2305.13172), across languages as in Wang et al. 2023, "Cross-Lingual
Knowledge Editing in Large Language Models" (arXiv 2309.08952).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from lafn_viz.core.arguments import (
    a_mapping,
    a_text,
    in_order,
    one_of,
    or_none,
    some_texts,
    takes,
    texts_by_name,
    wrong,
)
from lafn_viz.datasets.languages import by_code, language_code
from lafn_viz.datasets.prompts import Prompt
from lafn_viz.datasets.text import nfc

Role = Literal["edit", "rephrased", "locality", "portability"]
ROLES: tuple[Role, ...] = get_args(Role)
Questions = dict[str, tuple[Prompt, ...]]


def _questions(name: str, given: Any) -> Questions:
    """Read the prompts of each language."""
    by_language = a_mapping(name, given)
    for language, prompts in by_language.items():
        listed = [prompts] if isinstance(prompts, Prompt) else in_order(prompts)
        if listed is None or not all(isinstance(prompt, Prompt) for prompt in listed):
            raise wrong(f"{name}[{language!r}]", prompts, "a tuple of prompts")
        by_language[language] = tuple(listed)
    return by_language


@dataclass(frozen=True)
class EditCase:
    """One edit and the questions asked after it, each by language.

    `edit` holds the questions that are edited, with the new answer, and `rephrased` the same
    questions in other words. `locality` holds the answers that the data give, `portability` those
    that follow from the edit. `subject` and `old`, the answer before the edit, lack the languages
    for which the data do not give them. `keep` is never asked: an editor may hold what
    the model writes after these prompts, whatever their answers. `source` names the data set;
    `subject_id` and `relation` name the edited fact, where the set does.

    Languages may be given in any form of a tag; the case keeps their codes.

    Raises:
        ValueError: for a case without a question to edit, or an unknown language.
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
        for name in ("id", "source", "subject_id", "relation"):
            a_text(name, getattr(self, name))
        for name in ("subject", "old"):
            names = by_code(texts_by_name(name, getattr(self, name))).items()
            object.__setattr__(self, name, {language: nfc(text) for language, text in names})
        for name in (*ROLES, "keep"):
            object.__setattr__(self, name, by_code(_questions(name, getattr(self, name))))
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
        """Subject and relation; where the set has no ids, the subject's name and the case's id."""
        subject = self.subject_id or next(iter(self.subject.values()), self.id)
        return subject, self.relation or self.id

    @property
    def new(self) -> dict[str, str]:
        """The name of the new object in each language."""
        return {language: prompts[0].answer for language, prompts in self.edit.items()}

    @takes(role=one_of((*ROLES, "keep")), languages=or_none(some_texts))
    def prompts(
        self, role: Role | Literal["keep"], *, languages: str | Iterable[str] | None = None
    ) -> list[Prompt]:
        """Return the prompts of one role, by language."""
        questions: Questions = getattr(self, role)
        chosen = self.languages if languages is None else map(language_code, languages)
        return [prompt for language in chosen for prompt in questions.get(language, ())]

    @takes(languages=some_texts)
    def only(self, languages: str | Iterable[str]) -> "EditCase":
        """Return the case in these languages alone."""
        wanted = set(map(language_code, languages))

        def cut(by_language: Mapping[str, Any]) -> dict[str, Any]:
            return {lang: value for lang, value in by_language.items() if lang in wanted}

        return replace(
            self,
            subject=cut(self.subject),
            edit=cut(self.edit),
            old=cut(self.old),
            rephrased=cut(self.rephrased),
            locality=cut(self.locality),
            portability=cut(self.portability),
            keep=cut(self.keep),
        )
