"""Fold a text into words that compare equal however they are written, with their places in it.

1. A text is read in **clusters**, a character with the marks on it, so that no span cuts an accent.
2. Each cluster is **folded**. What makes no difference to a reader goes (see `datasets.text`: case,
   width, digits of other scripts, forms of apostrophes), and so do accents of Latin and Greek
   letters, Arabic vowel signs and hamzas, Hebrew points and the Devanagari nukta. Vowel signs and
   letters that distinguish words stay (Devanagari, Thai, й). Invisible characters (bidirectional
   controls, joiners, tatweel) are dropped and split no word.
3. Clusters make **words**: runs of letters, marks and digits. Scripts without spaces (Han,
   Hiragana, Thai, Lao, Khmer, Burmese, Tibetan) make each cluster a word; Katakana, in which
   borrowed words are written, makes words of runs. All else (punctuation, space, NUL) separates.

A text contains a name when it contains the name's words in a row. So "Niger" is not in "Nigeria",
nor インド in インドネシア, while 日本 is in 日本の.
"""

import unicodedata
from dataclasses import dataclass
from functools import cache, lru_cache

import regex

from lafn_viz.datasets.text import KATAKANA, NO_SPACES, letters_of

# 〆 belongs to no script.
_UNSPACED, _KATAKANA = regex.compile(rf"[{NO_SPACES}〆]"), regex.compile(rf"[{KATAKANA}]")
# Letters that Unicode does not decompose, or that are used for each other.
_LETTERS = str.maketrans(
    {
        "ı": "i", "ø": "o", "ł": "l", "đ": "d", "æ": "ae", "œ": "oe", "ð": "d", "þ": "th",
        "ى": "ي", "ی": "ي", "ة": "ه", "ک": "ك", "ـ": "", "ँ": "ं",
    }
)  # fmt: skip
# A longer pile of marks is no writing, and folding it takes time that grows with its square.
_MAX_MARKS = 12


@dataclass(frozen=True)
class Folded:
    """The words of a text. Word i stands at its characters `starts[i]` to `ends[i]`.

    `unspaced[i]` tells whether the word is a cluster of a script without spaces.
    """

    words: tuple[str, ...]
    starts: tuple[int, ...]
    ends: tuple[int, ...]
    unspaced: tuple[bool, ...]


def fold(text: str) -> Folded:
    """Fold a string into words. Any string will do, also one with lone surrogates and NULs."""
    words: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    kinds: list[str] = []
    joined = False
    for start, end in _clusters(text):
        form, kind = _folded_cluster(text[start:end])
        if kind == "separator":
            joined = False
        elif kind == "unseen":
            continue
        elif joined and kind == kinds[-1] and kind != "unspaced":
            words[-1] += form
            ends[-1] = end
        else:
            words.append(form)
            starts.append(start)
            ends.append(end)
            kinds.append(kind)
            joined = True
    unspaced = tuple(kind == "unspaced" for kind in kinds)
    return Folded(tuple(words), tuple(starts), tuple(ends), unspaced)


def fold_word(word: str) -> str:
    """Fold a word, without the separators in it."""
    return "".join(fold(word).words)


def skip(text: str, start: int, n: int) -> int:
    """The position after those clusters from `start` on that fold to `n` characters."""
    for first, end in _clusters(text[start : start + 64]):
        if n <= 0:
            return start + first
        form, _ = _folded_cluster(text[start + first : start + end])
        n -= len(form)
    return min(start + 64, len(text))


def has_case(text: str) -> bool:
    """Whether the script of a text has capital and small letters."""
    return text.lower() != text.upper()


def _clusters(text: str) -> list[tuple[int, int]]:
    """The start and end of each character with its marks."""
    clusters = []
    start = 0
    for place, character in enumerate(text):
        if place > start and not (_is_mark(character) and place - start <= _MAX_MARKS):
            clusters.append((start, place))
            start = place
    if text:
        clusters.append((start, len(text)))
    return clusters


@cache  # has at most as many entries as there are characters
def _is_mark(character: str) -> bool:
    """Whether a character belongs to the cluster of the one before it."""
    # Like marks: the later parts of Korean syllables, the voicing marks of narrow Katakana, and the
    # joiner that makes another letter of a Malayalam or Bengali consonant.
    return (
        unicodedata.category(character)[0] == "M"
        or "\u1160" <= character <= "\u11ff"
        or character in "\uff9e\uff9f\u200d"
    )


@lru_cache(maxsize=1 << 16)
def _folded_cluster(cluster: str) -> tuple[str, str]:
    """What a cluster folds to, and its kind: word, katakana, unspaced, separator or unseen."""
    plain = unicodedata.normalize("NFKC", letters_of(cluster))
    kept = []
    base = ""
    for character in unicodedata.normalize("NFD", plain):
        category = unicodedata.category(character)
        if category[0] == "M":
            if not _drops(base, character):
                kept.append(character)
        elif category != "Cf":
            base = character
            digit = unicodedata.decimal(character, None)
            kept.append(character if digit is None else str(digit))
    seen = unicodedata.normalize("NFC", "".join(kept))
    form = "".join(c for c in seen if unicodedata.category(c)[0] in "LNM").translate(_LETTERS)
    if not form:
        return "", "separator" if seen.translate(_LETTERS) else "unseen"
    if _UNSPACED.match(form):
        return form, "unspaced"
    return form, "katakana" if _KATAKANA.match(form) else "word"


def _drops(base: str, mark: str) -> bool:
    """Whether a mark does not distinguish words, as on Latin and Greek letters."""
    if not base:  # a mark on nothing
        return True
    if "\ufe00" <= mark <= "\ufe0f" or unicodedata.category(mark) == "Me" or mark == "\u093c":
        return True
    if "\u0400" <= base <= "\u052f":  # Cyrillic: й and ї are letters, stress and ё are optional
        return not (mark == "\u0306" or (mark == "\u0308" and base == "і"))
    arabic = "\u064b" <= mark <= "\u065f" or mark == "\u0670" or "\u06d6" <= mark <= "\u06ed"
    return arabic or "\u0591" <= mark <= "\u05c7" or base < "\u0400"
