"""Facts in many languages, and the prompts that ask for them.

1. A **fact** is (subject, relation, object), with the names of subject and object in each language
   (see `fact`).
2. A **paraphrase** is a text of one relation in one language with `{subject}` in it; the answer
   comes next.
3. A **prompt** is one paraphrase of one fact in one language (see `prompts`), with examples before
   it where they are asked for (see `shots`).

`fact_files` reads facts and paraphrases from files; the embedded ones come from Unicode CLDR (see
data/README.md).
"""

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from lafn_viz.core.arguments import (
    a_flag,
    a_seed,
    in_order,
    or_none,
    some_texts,
    takes,
    whole,
    wrong,
)
from lafn_viz.core.json_records import FactError
from lafn_viz.core.messages import described, listed, quoted
from lafn_viz.core.options import nearest, require_one_of
from lafn_viz.datasets.fact import Fact, Paraphrases
from lafn_viz.datasets.languages import require_languages
from lafn_viz.datasets.names import is_named
from lafn_viz.datasets.prompts import SPLITS, Prompt, Split
from lafn_viz.datasets.seam import separator_at
from lafn_viz.datasets.shots import Shots
from lafn_viz.datasets.text import nfc

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")


@dataclass(frozen=True)
class FactSet:
    """Facts with the paraphrases that ask for them: `filter` chooses, `prompts` fills them in."""

    facts: tuple[Fact, ...]
    paraphrases: dict[tuple[str, str], Paraphrases]

    def __post_init__(self) -> None:
        facts = [self.facts] if isinstance(self.facts, Fact) else in_order(self.facts)
        if facts is None or not all(isinstance(fact, Fact) for fact in facts):
            raise wrong("facts", self.facts, "a tuple of Fact, as load_facts() makes it")
        rows = self.paraphrases.values() if isinstance(self.paraphrases, Mapping) else [None]
        if not all(isinstance(row, Paraphrases) for row in rows):
            raise wrong("paraphrases", self.paraphrases, "those of other facts: facts.paraphrases")
        object.__setattr__(self, "facts", tuple(facts))
        keyed = {(row.relation, row.language): row for row in self.paraphrases.values()}
        if len(keyed) < len(self.paraphrases):
            raise ValueError(
                "two paraphrases are of one relation and language, which are the same in "
                f"{listed(map(str, self.paraphrases))}; give their texts together"
            )
        object.__setattr__(self, "paraphrases", keyed)

    def __len__(self) -> int:
        return len(self.facts)

    def __iter__(self) -> Iterator[Fact]:
        return iter(self.facts)

    def __getitem__(self, fact_id: str) -> Fact:
        for fact in self.facts:
            if fact.id == nfc(fact_id):
                return fact
        first = quoted(self.facts[0].id) if self.facts else "none"
        raise KeyError(f"no fact {described(fact_id)} here; ids look like {first}")

    def __repr__(self) -> str:
        return (
            f"FactSet({len(self)} facts, relations={list(self.relations)}, "
            f"languages={list(self.languages)})"
        )

    @property
    def relations(self) -> tuple[str, ...]:
        """The relations of these facts, in the order of the file."""
        return tuple(dict.fromkeys(fact.relation for fact in self.facts))

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages of these facts, in the order of the file."""
        return tuple(dict.fromkeys(lang for fact in self.facts for lang in fact.languages))

    @takes(
        relation=or_none(some_texts), languages=or_none(some_texts), subjects=or_none(some_texts),
        leaking=a_flag,
    )  # fmt: skip
    def filter(
        self,
        *,
        relation: str | Iterable[str] | None = None,
        languages: str | Iterable[str] | None = None,
        subjects: str | Iterable[str] | None = None,
        leaking: bool = True,
    ) -> "FactSet":
        """Return the facts of these relations, languages and subjects.

        Args:
            languages: in any form of a tag, "zh-CN" as well as "zh".
            subjects: names in any language, or ids. A name that no fact has letter by letter may be
                written in another way (see `same_text`).
            leaking: whether a fact keeps the languages in which its subject gives the answer away.

        Raises:
            ValueError: naming what there is, for anything that does not exist.
        """
        facts = self.facts
        if relation is not None:
            relations = require_one_of("relation", relation, self.relations)
            facts = tuple(fact for fact in facts if fact.relation in relations)
        if subjects is not None:
            facts = _of_subjects(facts, [subjects] if isinstance(subjects, str) else [*subjects])
        if languages is not None:
            chosen = require_languages(languages, self.languages)
            facts = tuple(_only(fact, [x for x in fact.languages if x in chosen]) for fact in facts)
        if not leaking:
            facts = tuple(
                _only(fact, [x for x in fact.languages if x not in fact.leaks]) for fact in facts
            )
        return replace(self, facts=tuple(fact for fact in facts if fact.languages))

    @takes(n=whole(), seed=a_seed)
    def sample(self, n: int, *, seed: int = 0) -> "FactSet":
        """Draw `n` facts without replacement, the same ones for the same seed."""
        return replace(self, facts=tuple(drawn(self.facts, n, seed=seed, name="facts")))

    @takes(n=or_none(whole(1)), shots=whole(0), seed=a_seed)
    def prompts(
        self,
        *,
        splits: Split | Iterable[Split] | None = None,
        n: int | None = None,
        shots: int = 0,
        seed: int = 0,
        examples: "FactSet | None" = None,
    ) -> list[Prompt]:
        """Return every paraphrase of every fact in every language, by fact, then language.

        Args:
            splits: leave out the prompts of other splits.
            n: draw so many of them, without replacement.
            shots: number of other facts that stand answered before each question, in its language
                and wording (see `shots`). Base models answer better after two or three.
            seed: of the draw, and of the choice of these facts; the same facts come first for
                every question.
            examples: the facts that they are chosen from; by default these.

        Raises:
            FactError: for a fact that has no paraphrases, or no object, in one of its languages, or
                for one with too few others to stand before it.
            ValueError: for an unknown split, or for fewer prompts than `n`.
        """
        wanted = SPLITS if splits is None else require_one_of("split", splits, SPLITS)
        if not isinstance(examples, FactSet | None):
            raise wrong("examples", examples, "facts, as load_facts() returns them, or None")
        others = self if examples is None else examples
        before = Shots(others.facts, shots, write=self._answered, seed=seed)
        asked = [
            (fact, language, number, split)
            for fact in self.facts
            for language in fact.languages
            for number, split in self._splits(fact, language)
            if split in wanted
        ]
        if n is not None:
            asked = drawn(asked, n, seed=seed, name="prompts")
        return [
            _fill(
                fact, language, number, self.paraphrases[fact.relation, language].texts[number],
                split=split, examples=before.before(fact, language, number),
            )
            for fact, language, number, split in asked
        ]  # fmt: skip

    def _splits(self, fact: Fact, language: str) -> Iterator[tuple[int, Split]]:
        """The number and the split of each paraphrase of a fact in a language."""
        paraphrases = self.paraphrases.get((fact.relation, language))
        if paraphrases is None:
            raise FactError(
                f"fact {quoted(fact.id)}: no paraphrases of relation {quoted(fact.relation)} in "
                f"language {quoted(language)}; add a line for them to the paraphrases"
            )
        if language not in fact.object:
            raise FactError(
                f"fact {quoted(fact.id)}: its object has no name in language {quoted(language)}, "
                "which its subject has; give both names in the same languages"
            )
        for number in range(len(paraphrases.texts)):
            split: Split = "trained"
            if language in fact.held_out:
                split = "held-out pair"
            elif number in paraphrases.held_out:
                split = "held-out paraphrase"
            yield number, split

    def _answered(self, fact: Fact, language: str, number: int) -> str:
        """A paraphrase of a fact with its answer."""
        text = self.paraphrases[fact.relation, language].texts[number]
        prompt = _fill(fact, language, number, text)
        return prompt.text + prompt.continuation

    def to_frame(self) -> "pd.DataFrame":
        """One row for each fact and language: ids, names, whether it leaks or is held out."""
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


def drawn(items: Sequence[T], n: int, *, seed: int, name: str) -> list[T]:
    """Draw `n` of some items without replacement; they keep their order.

    Raises:
        ValueError: if there are fewer, calling them by `name`.
    """
    if not 0 < n <= len(items):
        raise ValueError(f"cannot draw {n} of {len(items)} {name}; give 1 to {len(items)}")
    chosen = sorted(random.Random(seed).sample(range(len(items)), n))
    return [items[i] for i in chosen]


def _of_subjects(facts: Sequence[Fact], subjects: Sequence[str]) -> tuple[Fact, ...]:
    """The facts of these subjects; ValueError for a name or id that no fact has."""
    chosen: set[str] = set()
    for name in map(nfc, subjects):
        ids = {fact.id for fact in facts if name in (fact.subject_id, *fact.subject.values())}
        ids = ids or {fact.id for fact in facts if is_named(fact.subject, name)}
        chosen |= ids
        if not ids:
            examples = sorted({next(iter(fact.subject.values())) for fact in facts})[:8]
            known = [known for fact in facts for known in fact.subject.values()]
            raise ValueError(
                f"no fact here has the subject {quoted(name)}; subjects are, for example, "
                f"{listed(examples)}{nearest(name, known)}"
            )
    return tuple(fact for fact in facts if fact.id in chosen)


def _only(fact: Fact, languages: Sequence[str]) -> Fact:
    return replace(
        fact,
        subject={lang: fact.subject[lang] for lang in languages},
        object={lang: fact.object[lang] for lang in languages},
    )


def _fill(fact: Fact, language: str, number: int, text: str, **given: Any) -> Prompt:
    subject = fact.subject[language]
    start = text.index("{subject}")
    text, answer = text.replace("{subject}", subject), fact.object[language]
    return Prompt(
        fact_id=fact.id,
        relation=fact.relation,
        language=language,
        paraphrase=number,
        text=text,
        answer=answer,
        subject=subject,
        subject_span=(start, start + len(subject)),
        separator=separator_at(text, answer, language),
        **given,
    )


def held_out_wordings(paraphrases: Paraphrases) -> frozenset[int]:
    """Return the numbers of the held-out texts of one relation and language, never all of them.

    Of a relation without a held-out paraphrase, the last of several counts as held out.
    """
    numbers = frozenset(range(len(paraphrases.texts)))
    held_out = frozenset(paraphrases.held_out or [max(numbers)])
    return held_out - {min(held_out)} if held_out == numbers else held_out


def trained_and_held_out(
    facts: FactSet, fact: Fact
) -> dict[str, tuple[tuple[Prompt, ...], tuple[Prompt, ...]]]:
    """Return the (trained, held-out) prompts of one fact by language (see `held_out_wordings`)."""
    by_language: dict[str, list[Prompt]] = defaultdict(list)
    for prompt in replace(facts, facts=(fact,)).prompts():
        by_language[prompt.language].append(prompt)
    parts = {}
    for language, prompts in by_language.items():
        held_out = held_out_wordings(facts.paraphrases[fact.relation, language])
        parts[language] = (
            tuple(prompt for prompt in prompts if prompt.paraphrase not in held_out),
            tuple(prompt for prompt in prompts if prompt.paraphrase in held_out),
        )
    return parts
