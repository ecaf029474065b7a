"""A prompt: one paraphrase of one fact in one language, which a model continues with the answer."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from lafn_viz.core.arguments import a_text, one_of, some_texts, some_wholes, takes, whole, wrong
from lafn_viz.core.json_records import MAY_LACK
from lafn_viz.core.messages import quoted
from lafn_viz.datasets.languages import language_code
from lafn_viz.datasets.names import find_name
from lafn_viz.datasets.seam import (
    answer_alone,
    require_open,
    separator_at,
    text_before,
    unseen_before,
)
from lafn_viz.datasets.text import nfc, same_text

Split = Literal["trained", "held-out paraphrase", "held-out pair"]
SPLITS: tuple[Split, ...] = get_args(Split)


# Readers, made once and not for each prompt.
_a_number, _wholes, _a_split = whole(0), some_wholes(0), one_of(SPLITS)


def _a_span(name: str, given: Any) -> tuple[int, ...]:
    """Read (start, end) in characters."""
    ends = _wholes(name, given)
    if len(ends) != 2:
        raise wrong(name, given, "(start, end) in characters of the text, or None")
    return ends


@dataclass(frozen=True)
class Prompt:
    """One paraphrase of one fact in one language.

    `subject_span` is (start, end) in characters of `text`, or None where the text does not name the
    subject: then its answer can be scored, but nothing can be read at the subject.
    `separator` stands between text and answer: a space, or nothing in languages without spaces.
    `split` says what the embedded model was trained on: this prompt ("trained"), not this
    paraphrase, or not this fact in this language. `aliases` are other names of the answer.

    `examples` are lines that the model reads before the text, such as other facts with their
    answers (`FactSet.prompts(shots=3)`). The prompt asks what `text` asks: spans, positions, blanks
    and edits are about the text alone.

    Blanks where text and answer meet are no part of either: they are one with the separator (see
    `lafn_viz.datasets.seam`). A text may end in a line break, which needs no separator.

    All texts are kept in normal form C (NFC), because models read hardly any other: a name in NFD,
    as file systems and some tools write it, has other tokens and gets another probability.
    """

    fact_id: str
    relation: str
    language: str
    paraphrase: int
    text: str
    answer: str
    subject: str
    subject_span: tuple[int, int] | None
    separator: str = " "
    split: Split = "trained"
    aliases: tuple[str, ...] = ()
    examples: tuple[str, ...] = field(default=(), metadata=MAY_LACK)

    def __post_init__(self) -> None:
        for name in ("fact_id", "relation", "language", "text", "answer", "subject", "separator"):
            if not _is_unicode(a_text(name, getattr(self, name))):
                raise ValueError(
                    f"{name}={quoted(getattr(self, name))} holds half of a surrogate pair, which "
                    "is no text; read its file as UTF-8"
                )
        object.__setattr__(self, "aliases", some_texts("aliases", self.aliases))
        if not isinstance(self.examples, tuple) or self.examples:
            object.__setattr__(self, "examples", _examples(self.examples))
        object.__setattr__(self, "paraphrase", _a_number("paraphrase", self.paraphrase))
        _a_split("split", self.split)
        object.__setattr__(self, "language", language_code(self.language))
        if self.subject_span is not None:
            object.__setattr__(self, "subject_span", _a_span("subject_span", self.subject_span))
        self._compose()
        self._join()
        if not self.text.strip():
            raise ValueError(f"a prompt with the answer {self.answer!r} has an empty text")
        if self.subject_span is not None:
            start, end = self.subject_span
            if not self.subject.strip() or not same_text(
                self.text[start:end], self.subject, self.language
            ):
                raise ValueError(
                    f"prompt {self.text!r} does not hold its subject {self.subject!r} at "
                    f"characters {start}:{end}; give the span where it stands, or use Prompt.of()"
                )
        if not self.answer:
            raise ValueError(f"prompt {self.text!r} has an empty answer; give at least one letter")

    def _compose(self) -> None:
        """Bring all texts to NFC, and the span with them."""
        texts = (self.text, self.answer, self.subject, *self.aliases)
        if all(unicodedata.is_normalized("NFC", text) for text in texts):
            return
        if self.subject_span is not None:
            start, end = (len(nfc(self.text[:place])) for place in self.subject_span)
            object.__setattr__(self, "subject_span", (start, end))
        for name in ("text", "answer", "subject"):
            object.__setattr__(self, name, nfc(getattr(self, name)))
        object.__setattr__(self, "aliases", tuple(map(nfc, self.aliases)))

    def _join(self) -> None:
        """Leave out the blanks between text and answer, which belong to the separator."""
        ends = self.text[:1], self.text[-1:], self.answer[:1], self.answer[-1:]
        if all(map(str.isalnum, ends)):  # as most are
            return
        unseen = unseen_before(self.text)
        text, answer = text_before(self.text)[unseen:], answer_alone(self.answer)
        blanks = not (self.text.endswith(text) and self.answer.startswith(answer))
        if self.separator in ("", " ") and (blanks or text[-1:].isspace()):
            separator = separator_at(self.text, self.answer, self.language)
            object.__setattr__(self, "separator", separator)
        if self.subject_span is not None:
            # A subject may itself begin or end in what is left out.
            start, end = (min(max(0, place - unseen), len(text)) for place in self.subject_span)
            object.__setattr__(self, "subject_span", (start, end))
        object.__setattr__(self, "text", text)
        object.__setattr__(self, "answer", answer)

    @classmethod
    @takes(text=a_text, answer=a_text, subject=a_text, language=a_text, relation=a_text)
    def of(
        cls,
        text: str,
        answer: str,
        *,
        subject: str,
        language: str = "en",
        relation: str = "own",
        examples: Sequence[str] = (),
    ) -> "Prompt":
        """Make a prompt of your own, with the span of the subject in the text.

        `find_name` says which place counts if the subject stands in the text several times, inside
        another word, or written in another way.

        The separator is seen from the text's end and the answer's beginning (see `seam`), also
        where the language is left out. A text that names its answer after the subject gets a
        warning.

        Raises:
            ValueError: if the text does not hold the subject or already ends in the answer, if text
                or answer are empty, or for an unknown language.
        """
        text, subject, language = nfc(text), nfc(subject).strip(), language_code(language)
        span = find_name(text, subject, language)
        if span is None:
            raise ValueError(
                f"subject {subject!r} is not in the prompt {text!r}; write it as the prompt does"
            )
        prompt = cls(
            fact_id=f"{relation}/{subject}",
            relation=relation,
            language=language,
            paraphrase=0,
            text=text,
            answer=answer,
            subject=subject,
            subject_span=span,
            separator=separator_at(text, answer, language),
            examples=tuple(some_texts("examples", examples)),
        )
        require_open(text, span, prompt.answer, language)
        return prompt

    @property
    def continuation(self) -> str:
        """The answer with its separator, which the model has to write after `text`."""
        return self.separator + self.answer

    @property
    def shots(self) -> int:
        """Number of examples before the text."""
        return len(self.examples)

    @property
    def context(self) -> str:
        """The examples, each on a line of its own, which the model reads before the text."""
        return "".join(f"{example}\n" for example in self.examples)

    @property
    def full_text(self) -> str:
        """The examples and the text, all that the model reads before the answer."""
        return self.context + self.text


def prompt_columns(prompts: Sequence[Prompt]) -> dict[str, list[Any]]:
    """Return the columns that name a prompt in every tidy frame."""
    names = ("fact_id", "relation", "language", "paraphrase", "shots", "split", "text", "answer")
    return {name: [getattr(prompt, name) for prompt in prompts] for name in names}


def _examples(given: Any) -> tuple[str, ...]:
    """Read the lines that stand before a text."""
    examples = some_texts("examples", given)
    for example in examples:
        if not example.strip() or not _is_unicode(example):
            raise wrong("examples", given, "texts that are not empty, one for each line")
    return tuple(map(nfc, examples))


def _is_unicode(text: str) -> bool:
    """Whether UTF-8, and so a tokenizer, can write a text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
