"""Facts in many languages, and the prompts that ask for them.

1. A **fact** is (subject, relation, object) with the names of both in every language.
2. A **paraphrase** is a text with `{subject}` in it, per relation and language; the answer is
   what comes next.
3. A **prompt** is one paraphrase of one fact in one language.

Both are read from JSON lines, one record a line, so that a person can read and mend them. The
embedded ones come from Unicode CLDR (see data/README.md). A bad record is named by file, line
and field, and nothing is read by halves (see `records`).
"""

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lafn_viz.core.json_records import (
    FactError,
    only_fields,
    record_list,
    record_names,
    record_text,
    records,
)
from lafn_viz.core.messages import listed, quoted
from lafn_viz.core.options import require_one_of
from lafn_viz.core.paths import data_folder
from lafn_viz.datasets.languages import separator_of

if TYPE_CHECKING:
    import pandas as pd

Split = Literal["trained", "held-out paraphrase", "held-out pair"]


@dataclass(frozen=True)
class Prompt:
    """One paraphrase of one fact in one language.

    `subject_span` is (start, end) in characters of `text`, or None where the text does not name the
    subject literally: its answer can be scored, but nothing can be read at the subject. `separator`
    stands between text and answer (a space, or nothing where the language has none). `split` says
    what the embedded model saw of it: "trained", or a held-out paraphrase or (fact, language) pair.
    `aliases` are other names of the answer.
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

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise ValueError(f"a prompt with the answer {self.answer!r} has an empty text")
        if self.subject_span is not None:
            start, end = self.subject_span
            if not self.subject or self.text[start:end] != self.subject:
                raise ValueError(
                    f"prompt {self.text!r} does not hold its subject {self.subject!r} at "
                    f"characters {start}:{end}; give the span where it stands, or use Prompt.of()"
                )
        if not self.answer.strip():
            raise ValueError(f"prompt {self.text!r} has an empty answer; an answer needs a token")

    @classmethod
    def of(
        cls, text: str, answer: str, *, subject: str, language: str = "en", relation: str = "own"
    ) -> "Prompt":
        """A prompt of your own: finds the subject in the text and fills in the rest."""
        start = text.find(subject) if subject else -1
        if start < 0:
            raise ValueError(
                f"subject {subject!r} is not in the prompt {text!r}; "
                "write it exactly as the prompt does"
            )
        return cls(
            fact_id=f"{relation}/{subject}",
            relation=relation,
            language=language,
            paraphrase=0,
            text=text,
            answer=answer,
            subject=subject,
            subject_span=(start, start + len(subject)),
            separator=separator_of(language),
        )

    @property
    def continuation(self) -> str:
        """What the model has to write after `text`."""
        return self.separator + self.answer


@dataclass(frozen=True)
class Fact:
    """(subject, relation, object) with the names of subject and object per language.

    `leaks`: languages in which the answer can be read off the subject's name.
    `held_out`: languages in which the embedded model never saw this fact.
    `source`: "cldr", or "curated" where a person chose what CLDR does not hold.
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

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages that name this fact."""
        return tuple(self.subject)


@dataclass(frozen=True)
class Paraphrases:
    """The texts of one relation in one language; `held_out` are those training never shows."""

    relation: str
    language: str
    held_out: tuple[int, ...]
    texts: tuple[str, ...]


@dataclass(frozen=True)
class FactSet:
    """Facts with the paraphrases that ask for them. `filter` narrows it, `prompts` fills it in."""

    facts: tuple[Fact, ...]
    paraphrases: dict[tuple[str, str], Paraphrases]

    def __len__(self) -> int:
        return len(self.facts)

    def __iter__(self) -> Iterator[Fact]:
        return iter(self.facts)

    def __getitem__(self, fact_id: str) -> Fact:
        for fact in self.facts:
            if fact.id == fact_id:
                return fact
        raise KeyError(f"no fact {quoted(fact_id)} here; ids look like {quoted(self.facts[0].id)}")

    def __repr__(self) -> str:
        return (
            f"FactSet({len(self)} facts, relations={list(self.relations)}, "
            f"languages={list(self.languages)})"
        )

    @property
    def relations(self) -> tuple[str, ...]:
        """The relations here, in the order of the file."""
        return tuple(dict.fromkeys(fact.relation for fact in self.facts))

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages here, in the order of the file."""
        return tuple(dict.fromkeys(lang for fact in self.facts for lang in fact.languages))

    def filter(
        self,
        *,
        relation: str | Iterable[str] | None = None,
        languages: str | Iterable[str] | None = None,
        subjects: str | Iterable[str] | None = None,
        leaking: bool = True,
    ) -> "FactSet":
        """The facts of some relations, languages and subjects (a name in any language, or an id).

        With `leaking=False` a fact keeps only the languages in which its answer cannot be read off
        its subject. Raises ValueError, naming what there is, for anything that does not exist.
        """
        facts = self.facts
        if relation is not None:
            wanted = require_one_of("relation", relation, self.relations)
            facts = tuple(fact for fact in facts if fact.relation in wanted)
        if subjects is not None:
            wanted = tuple([subjects] if isinstance(subjects, str) else subjects)
            named = [{fact.subject_id, *fact.subject.values()} for fact in facts]
            for name in wanted:
                if not any(name in names for names in named):
                    some = listed(sorted({next(iter(f.subject.values())) for f in facts})[:8])
                    raise ValueError(
                        f"no fact here has the subject {quoted(name)}; subjects are, for example, "
                        f"{some}"
                    )
            facts = tuple(
                fact for fact, names in zip(facts, named, strict=True) if names & set(wanted)
            )
        if languages is not None:
            chosen = require_one_of("language", languages, self.languages)
            facts = tuple(_only(fact, [x for x in fact.languages if x in chosen]) for fact in facts)
        if not leaking:
            facts = tuple(
                _only(fact, [x for x in fact.languages if x not in fact.leaks]) for fact in facts
            )
        return replace(self, facts=tuple(fact for fact in facts if fact.languages))

    def sample(self, n: int, *, seed: int = 0) -> "FactSet":
        """`n` facts drawn without replacement, the same for the same seed."""

        if not 0 < n <= len(self):
            raise ValueError(f"cannot draw {n} of {len(self)} facts; give 1 to {len(self)}")
        chosen = set(random.Random(seed).sample(range(len(self)), n))
        return replace(self, facts=tuple(f for i, f in enumerate(self.facts) if i in chosen))

    def prompts(self, *, splits: Iterable[Split] | None = None) -> list[Prompt]:
        """Every paraphrase of every fact in every language, by fact, then language."""
        allowed = ("trained", "held-out paraphrase", "held-out pair")
        wanted = (
            set(require_one_of("split", splits, allowed)) if splits is not None else set(allowed)
        )
        prompts = []
        for fact in self.facts:
            for language in fact.languages:
                asked = self.paraphrases.get((fact.relation, language))
                if asked is None:
                    raise FactError(
                        f"fact {quoted(fact.id)}: no paraphrases of relation "
                        f"{quoted(fact.relation)} in language {quoted(language)}; "
                        "add a line for them to the paraphrases"
                    )
                for number, text in enumerate(asked.texts):
                    split: Split = "trained"
                    if language in fact.held_out:
                        split = "held-out pair"
                    elif number in asked.held_out:
                        split = "held-out paraphrase"
                    if split in wanted:
                        prompts.append(_fill(fact, language, number, text, split))
        return prompts

    def to_frame(self) -> "pd.DataFrame":
        """One row a fact and language: ids, names, whether it leaks, whether it is held out."""
        import pandas as pd

        return pd.DataFrame(
            {
                "fact_id": fact.id,
                "relation": fact.relation,
                "language": language,
                "subject": fact.subject[language],
                "object": fact.object[language],
                "leaks": language in fact.leaks,
                "held_out": language in fact.held_out,
                "source": fact.source,
            }
            for fact in self.facts
            for language in fact.languages
        )


def _only(fact: Fact, languages: Sequence[str]) -> Fact:
    return replace(
        fact,
        subject={lang: fact.subject[lang] for lang in languages},
        object={lang: fact.object[lang] for lang in languages},
    )


def _fill(fact: Fact, language: str, number: int, text: str, split: Split) -> Prompt:
    subject = fact.subject[language]
    start = text.index("{subject}")
    return Prompt(
        fact_id=fact.id,
        relation=fact.relation,
        language=language,
        paraphrase=number,
        text=text.replace("{subject}", subject),
        answer=fact.object[language],
        subject=subject,
        subject_span=(start, start + len(subject)),
        separator=separator_of(language),
        split=split,
    )


def load_facts(
    facts: str | Path | None = None, *, paraphrases: str | Path | None = None
) -> FactSet:
    """Read and check a fact set; without arguments the embedded one.

    Args:
        facts: JSON lines with the fields of `Fact`; `source`, `leaks` and `held_out` may be left
            out.
        paraphrases: JSON lines with `relation`, `language`, `texts` (each with one `{subject}`)
            and optionally `held_out`. Without it the embedded paraphrases are used.

    Raises:
        FactError: naming file, line and field of the first record that cannot be used.
        FileNotFoundError: naming the missing file.
    """
    facts = Path(facts) if facts is not None else data_folder() / "facts.jsonl"
    asked = Path(paraphrases) if paraphrases is not None else data_folder() / "paraphrases.jsonl"
    texts: dict[tuple[str, str], Paraphrases] = {}
    for where, record in records(asked):
        row = _paraphrases(where, record)
        if (row.relation, row.language) in texts:
            raise FactError(
                f"{where}, field 'relation': a second line for this relation and language"
            )
        texts[row.relation, row.language] = row
    known: dict[str, Fact] = {}
    for where, record in records(facts):
        fact = _fact(where, record)
        if fact.id in known:
            raise FactError(f"{where}, field 'id': {quoted(fact.id)} stands on an earlier line too")
        known[fact.id] = fact
    if not known:
        raise FactError(f"{facts} holds no fact; it needs one JSON object a line")
    return FactSet(facts=tuple(known.values()), paraphrases=texts)


def _fact(where: str, record: dict[str, Any]) -> Fact:
    only_fields(where, record, (field.name for field in fields(Fact)))
    subject = record_names(where, record, "subject")
    answer = record_names(where, record, "object")
    if odd := sorted(set(subject) ^ set(answer)):
        raise FactError(
            f"{where}, field 'object': its languages differ from the subject's ({listed(odd)}); "
            "give both names in the same languages"
        )
    marks = {name: record_list(where, record, name, str) for name in ("leaks", "held_out")}
    for name, languages in marks.items():
        for language in languages:
            if language not in subject:
                raise FactError(
                    f"{where}, field {name!r}: {quoted(language)} is no language of this fact"
                )
    return Fact(
        id=record_text(where, record, "id"),
        relation=record_text(where, record, "relation"),
        subject_id=record_text(where, record, "subject_id"),
        object_id=record_text(where, record, "object_id"),
        source=record_text(where, record, "source") if "source" in record else "own",
        subject=subject,
        object=answer,
        **marks,
    )


def _paraphrases(where: str, record: dict[str, Any]) -> Paraphrases:
    only_fields(where, record, (field.name for field in fields(Paraphrases)))
    texts = record_list(where, record, "texts", str)
    if not texts:
        raise FactError(
            f"{where}, field 'texts': empty, but a relation needs a paraphrase to be asked"
        )
    for text in texts:
        if text.count("{subject}") != 1:
            raise FactError(
                f"{where}, field 'texts': {quoted(text)} must hold '{{subject}}' exactly once"
            )
    held_out = record_list(where, record, "held_out", int)
    if any(not 0 <= number < len(texts) for number in held_out):
        raise FactError(
            f"{where}, field 'held_out': {quoted(held_out)}, but numbers go from 0 to "
            f"{len(texts) - 1}"
        )
    return Paraphrases(
        relation=record_text(where, record, "relation"),
        language=record_text(where, record, "language"),
        held_out=held_out,
        texts=texts,
    )


def trained_and_held_out(
    facts: FactSet, fact: Fact
) -> dict[str, tuple[tuple[Prompt, ...], tuple[Prompt, ...]]]:
    """The (trained, held-out) prompts of one fact by language; at least one is trained."""
    by_language: dict[str, list[Prompt]] = defaultdict(list)
    for prompt in replace(facts, facts=(fact,)).prompts():
        by_language[prompt.language].append(prompt)
    found = {}
    for lang, prompts in by_language.items():
        held_out = set(facts.paraphrases[fact.relation, lang].held_out) or {len(prompts) - 1}
        if len(held_out) == len(prompts):
            held_out.remove(min(held_out))
        found[lang] = (
            tuple(p for p in prompts if p.paraphrase not in held_out),
            tuple(p for p in prompts if p.paraphrase in held_out),
        )
    return found


def prompt_columns(prompts: Sequence[Prompt]) -> dict[str, list[Any]]:
    """The columns that name a prompt in every tidy frame."""
    names = ("fact_id", "relation", "language", "paraphrase", "split", "text", "answer")
    return {name: [getattr(prompt, name) for prompt in prompts] for name in names}
