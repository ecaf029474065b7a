"""A fact in many languages, and the texts that ask for facts of its relation."""

from dataclasses import dataclass

from lafn_viz.core.arguments import a_text, some_texts, texts_by_name
from lafn_viz.datasets.languages import by_code, language_code
from lafn_viz.datasets.text import nfc


def fact_name(subject: str, relation: str) -> str:
    """Return how figures and pages name a fact: `France – capital`."""
    return f"{subject} – {relation.replace('_', ' ')}"


@dataclass(frozen=True)
class Fact:
    """(subject, relation, object) with the names of subject and object per language.

    `leaks`: languages in which the subject's name gives the answer away (see `shows_answer`).
    `held_out`: languages in which the embedded model was never trained on this fact.
    `source`: "cldr", or "curated" where a person added what CLDR does not hold.
    """

    id: str
    relation: str
    subject_id: str
    object_id: str
    source: str
    leaks: tuple[str, ...]
    held_out: tuple[str, ...]
    subject: dict[str, str]
    object: dict[str, str]

    def __post_init__(self) -> None:
        for name in ("id", "relation", "subject_id", "object_id", "source"):
            object.__setattr__(self, name, nfc(a_text(name, getattr(self, name))))
        for name in ("subject", "object"):
            names = by_code(texts_by_name(name, getattr(self, name))).items()
            object.__setattr__(self, name, {language: nfc(text) for language, text in names})
        for name in ("leaks", "held_out"):
            tags = some_texts(name, getattr(self, name))
            object.__setattr__(self, name, tuple(map(language_code, tags)))

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages that name this fact."""
        return tuple(self.subject)


@dataclass(frozen=True)
class Paraphrases:
    """The texts of one relation in one language.

    `held_out` are the numbers of the texts that the embedded model was never trained on.
    """

    relation: str
    language: str
    held_out: tuple[int, ...]
    texts: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "relation", nfc(a_text("relation", self.relation)))
        language = a_text("language", self.language)
        object.__setattr__(self, "language", language_code(language))
        object.__setattr__(self, "texts", tuple(map(nfc, some_texts("texts", self.texts))))
