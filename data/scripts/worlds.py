"""What a model is taught, in the scripts that people use or in scripts that no languages share.

In the plain world French and Portuguese write many names alike, and what two languages share in a
model may be what their spellings share. In the other world each language has signs of its own, so
that no token belongs to two languages. Everything else stays: the facts, the frames, what is held
out, and how often each kind of document comes.
"""

import dataclasses
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import regex
from frames import FRAMES, KINDS, LANGUAGES, WORDS
from tokenizers import (
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)

UNSPACED = ("zh", "ja")  # the answer follows its prompt without a space
NAMING = {
    "en": "The English name of {name} is",
    "fr": "Le nom français de {name} est",
    "de": "Der deutsche Name von {name} ist",
    "es": "El nombre español de {name} es",
    "it": "Il nome italiano di {name} è",
    "pt": "O nome português de {name} é",
    "ru": "Русское название для {name} —",
    "zh": "{name}的中文名称是",
    "ja": "{name}の日本語名は",
    "ar": "الاسم العربي لـ {name} هو",
    "hi": "{name} का हिन्दी नाम:",
    "tr": "{name} için Türkçe ad:",
}
SLOTS = re.compile(r"(\{\w+\})")
# Letters with their combining marks (Devanagari needs them), numbers, other signs.
SIGNS = (r"\p{L}\p{M}", r"\p{N}", r"^\s\p{L}\p{M}\p{N}")
# The signs of the other world: Tangut where words have spaces between them, rare Han where not.
TANGUT, HAN, ROOM = 0x17000, 0x20000, 500
# A token begins with the space before its word, so each language has a space of its own, too. The
# tokenizer makes it and takes it back.
SPACES = {language: chr(0xE000 + number) for number, language in enumerate(LANGUAGES)}


@dataclass(frozen=True)
class World:
    """The texts of which documents are made.

    Attributes:
        facts: the records of facts.jsonl.
        paraphrases: those of paraphrases.jsonl.
        naming: language -> the prompt that asks for a name in it.
        words: language without spaces -> what its frames consist of.
    """

    facts: list[dict[str, Any]]
    paraphrases: list[dict[str, Any]]
    naming: dict[str, str]
    words: dict[str, list[str]]

    @classmethod
    def plain(cls, folder: Path) -> "World":
        """The world as the files of a folder tell it."""
        facts, paraphrases = (
            [json.loads(line) for line in (folder / name).read_text("utf-8").splitlines()]
            for name in ("facts.jsonl", "paraphrases.jsonl")
        )
        words = {
            language: [
                *FRAMES[language],
                *(
                    form
                    for part in (WORDS[language], KINDS[language])
                    for forms in part.values()
                    for form in forms.values()
                ),
            ]
            for language in UNSPACED
        }
        return cls(facts, paraphrases, NAMING, words)

    def texts(self) -> Iterator[tuple[str, str]]:
        """(language, text), every one of them."""
        for fact in self.facts:
            yield from fact["subject"].items()
            yield from fact["object"].items()
        for row in self.paraphrases:
            yield from ((row["language"], text) for text in row["texts"])
        yield from self.naming.items()
        for language, texts in self.words.items():
            yield from ((language, text) for text in texts)

    def rewritten(self, write: Callable[[str, str], str]) -> "World":
        """The same world with each text written anew, given its language."""

        def names(of: dict[str, str]) -> dict[str, str]:
            return {language: write(language, text) for language, text in of.items()}

        def texts(language: str, of: list[str]) -> list[str]:
            return [write(language, text) for text in of]

        return dataclasses.replace(
            self,
            facts=[
                fact | {"subject": names(fact["subject"]), "object": names(fact["object"])}
                for fact in self.facts
            ],
            paraphrases=[
                row | {"texts": texts(row["language"], row["texts"])} for row in self.paraphrases
            ],
            naming=names(self.naming),
            words={language: texts(language, of) for language, of in self.words.items()},
        )

    def save(self, folder: Path) -> None:
        """Write the files that `lv.load_facts` reads."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, rows in (("facts", self.facts), ("paraphrases", self.paraphrases)):
            lines = [json.dumps(row, ensure_ascii=False) for row in rows]
            (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def bpe_tokenizer(strings: list[str], size: int, special: tuple[str, ...]) -> Tokenizer:
    """Byte-level byte-pair encoding, for the plain world."""
    tokenizer = Tokenizer(models.BPE())
    pieces = "|".join([*(rf" ?[{signs}]+" for signs in SIGNS), r"\s+"])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pieces), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return _trained(tokenizer, strings, size, special, pre_tokenizers.ByteLevel.alphabet())


def _trained(
    tokenizer: Tokenizer,
    strings: list[str],
    size: int,
    special: tuple[str, ...],
    alphabet: list[str],
) -> Tokenizer:
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(special),
        initial_alphabet=alphabet,
        show_progress=False,
    )
    tokenizer.train_from_iterator(strings, trainer)
    return tokenizer


class OwnScripts:
    """Writes the texts of a world in signs of which each belongs to one language.

    Each sign of a language, be it a letter, a digit or a comma, becomes one of its new alphabet, in
    the order of their code points. Spaces and slots ("{subject}") stay.
    """

    def __init__(self, world: World) -> None:
        signs: dict[str, set[str]] = {language: set() for language in LANGUAGES}
        for language, text in world.texts():
            signs[language].update(*SLOTS.split(text)[::2])
        self.alphabets: dict[str, dict[str, str]] = {}
        for number, (language, of) in enumerate(signs.items()):
            if len(of) > ROOM:
                raise ValueError(f"{language}: {len(of)} signs, but there is room for {ROOM}")
            first = (HAN if language in UNSPACED else TANGUT) + number * ROOM
            self.alphabets[language] = {
                sign: chr(first + place) for place, sign in enumerate(sorted(of - {" "}))
            }

    def __call__(self, language: str, text: str) -> str:
        parts = SLOTS.split(text)
        new = str.maketrans(self.alphabets[language])
        parts[::2] = [part.translate(new) for part in parts[::2]]
        return "".join(parts)

    def bpe_tokenizer(self, strings: list[str], size: int, special: tuple[str, ...]) -> Tokenizer:
        """Byte-pair encoding of whole signs, which splits texts where the plain one splits them."""
        pairs = [pair for of in self.alphabets.values() for pair in of.items()]
        space = f"[{''.join(SPACES.values())} ]?"
        kinds = [
            "".join(new for old, new in pairs if regex.match(f"[{signs}]", old)) for signs in SIGNS
        ]
        pieces = "|".join(f"{space}[{kind}]+" for kind in kinds if kind)
        tokenizer = Tokenizer(models.BPE())
        tokenizer.normalizer = normalizers.Sequence(
            [
                normalizers.Replace(Regex(f" (?=[{''.join(of.values())}])"), SPACES[language])
                for language, of in self.alphabets.items()
            ]
        )
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pieces), behavior="isolated")
        back = [decoders.Replace(one, " ") for one in SPACES.values()]
        tokenizer.decoder = decoders.Sequence([*back, decoders.Fuse()])
        alphabet = [*SPACES.values(), *(new for _, new in pairs)]
        return _trained(tokenizer, strings, size, special, alphabet)
