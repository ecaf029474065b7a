"""Cached names that parts of a text resemble: inflected, spelled otherwise, or quoted in part.

A word of the text is a word of a name when it is the same, when it only ends otherwise, as the
name's language inflects it, or when at most one letter in four differs and not only the end (so
Niger is not Nigeria, nor Austria Australia). A name scores the share of its words' weight that
lies close together in the text. A rare word weighs more than a common one (inverse document
frequency over the cached subjects), a capital more than a small letter, a short word less.
A name in a script without spaces is compared with windows of the text, letter by letter.

Guards: one word alone must be inflected, or long and nearly equal; of several words two must be
there, one of them long enough to tell; numbers must be the same; and no other capitalised word may
stand where one is missing (American Museum of Natural History).

To be quick, only names are scored whose two heaviest words look like a word of the text; those are
looked up by their first letters and by groups of three.
"""

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from rapidfuzz import fuzz
from rapidfuzz.distance import OSA

from lafn_viz.datasets.languages import code_or_tag
from lafn_viz.editing.retrieval.folding import Folded, fold_word, has_case

# Fuzzy matching reads this many characters from the end of a text: a question comes last.
FUZZY_REACH = 4000
# Two words count as one spelled in two ways from this similarity on (1 - edits / length)...
_ALIKE = 0.75
_SPELLED_LENGTH = 5
# A name of several words needs one of this length; one letter less where all its words are there.
_TELLING = 5
# ...but on their own, without other words of the name, only from this one, and from this length.
_ALONE, _ALONE_LENGTH = 0.87, 8
# Names of several words in a script without capitals, which would tell another name, need this.
_CASELESS = 0.8
# A script without spaces: similarity of a window by the length of the name.
_WINDOWS = ((12, 0.75), (8, 0.8), (5, 0.85))
_INFLECTED = 0.95

# What a language writes at the end of a name: (as cached, as inflected), nouns, then adjectives.
# "-" is no ending: where only that is cached, endings are added and none is taken off.
_CYRILLIC = (
    (
        "- а я о е ё ы и ь й",
        "- а я у ю е и ы о ь й ой ей ом ем ам ям ами ями ах ях ов ев",
    ),
    (
        "ый ий ой ая яя ое ее ые ие",
        "ый ий ой ая яя ое ее ые ие ого его ому ему ым им ом ем ую юю ей ых их ыми ими",
    ),
)
_ENDINGS: dict[str, tuple[tuple[str, str], ...]] = {
    "ru": _CYRILLIC,
    "uk": _CYRILLIC,
    "bg": _CYRILLIC,
    "sr": _CYRILLIC,
    "cs": (
        ("- a e o i y", "- a e i y u ů ou em ovi ům ech ách ích ami emi o é ové"),
        ("ý á é í", "ý á é ého ému ém ým ých ými ou í ího ímu ím ích ími"),
    ),
    "pl": (
        ("- a e o i y", "- a ą e ę i y o u ów om ami ach em owi ie iem ią"),
        ("y i a e", "y i a e ego emu ym im ej ą ych ich ymi imi"),
    ),
    "de": (("-", "s es"), ("e er es", "e en er em es")),
    "tr": (
        (
            "-",
            "a e ı i u ü ya ye yı yi yu yü da de ta te dan den tan ten ın in un ün nın nin nun nün "
            "na ne nda nde ndan nden la le yla yle lar ler sı si ları leri",
        ),
    ),
    "hi": (("ा", "े ों"), ("-", "ों")),
    "ko": (("-", "은 는 이 가 을 를 의 에 에서 로 으로 와 과 도 만"),),
}
_OTHER_ENDINGS = (("-", "s es"),)
_Endings = tuple[tuple[frozenset[str], frozenset[str]], ...]


@lru_cache(maxsize=256)
def _endings(language: str) -> _Endings:
    def folded(listed: str) -> frozenset[str]:
        return frozenset(fold_word(ending) for ending in listed.split())

    rows = _ENDINGS.get(code_or_tag(language), _OTHER_ENDINGS)
    return tuple((folded(cached), folded(inflected)) for cached, inflected in rows)


@dataclass(frozen=True)
class Name:
    """A name of the subject `key`; `first`: the one that prompts in its language use."""

    key: str
    language: str
    text: str
    first: bool
    folded: Folded


@dataclass(frozen=True)
class Candidate:
    """A name that characters `span` of a text resemble; `why` it does not count, if not.

    `score`: similarity in [0, 1]. It counts from `needed` on.
    """

    name: Name
    span: tuple[int, int]
    score: float
    needed: float
    why: str


class FuzzyIndex:
    """Names by their rarest words (scripts with spaces) or pairs of characters (without)."""

    def __init__(self, names: Sequence[Name]) -> None:
        self.spaced = [n for n in names if n.folded.words and not any(n.folded.unspaced)]
        self.unspaced = [n for n in names if any(n.folded.unspaced)]
        keys: dict[str, set[str]] = defaultdict(set)
        self.endings: dict[str, set[_Endings]] = defaultdict(set)
        for name in self.spaced:
            for word in name.folded.words:
                keys[word].add(name.key)
                self.endings[word].add(_endings(name.language))
        n = len({name.key for name in names})
        self.rarity = {
            word: math.log(1 + n / len(having)) / math.log(1 + n) for word, having in keys.items()
        }
        self.weights = [_weights(name, self.rarity) for name in self.spaced]
        self.anchored: dict[str, list[int]] = defaultdict(list)
        for place, (name, weights) in enumerate(zip(self.spaced, self.weights, strict=True)):
            heaviest = sorted(zip(weights, name.folded.words, strict=True), reverse=True)
            for word in {word for _, word in heaviest[:2]}:
                self.anchored[word].append(place)
        self.heads: dict[str, list[str]] = defaultdict(list)
        self.pieces: dict[str, list[str]] = defaultdict(list)
        for word in keys:
            self.heads[word[: _head(word)]].append(word)
            for piece in _pieces(word):
                self.pieces[piece].append(word)
        self.pairs: dict[str, list[int]] = defaultdict(list)
        for place, name in enumerate(self.unspaced):
            joined = "".join(name.folded.words)
            for pair in {joined[i : i + 2] for i in range(len(joined) - 1)}:
                self.pairs[pair].append(place)

    def candidates(self, text: str, folded: Folded) -> Iterator[Candidate]:
        """Names that a part of the last `FUZZY_REACH` characters resembles, for good or not."""
        reach = bisect_left(folded.starts, len(text) - FUZZY_REACH)
        yield from self._by_words(text, folded, reach)
        yield from self._by_windows(folded, reach)

    def _by_words(self, text: str, folded: Folded, reach: int) -> Iterator[Candidate]:
        places: dict[str, dict[int, float]] = defaultdict(dict)
        for place in range(reach, len(folded.words)):
            if not folded.unspaced[place]:
                for word, credit in self._alike(folded.words[place]).items():
                    places[word][place] = credit
        capitals = uses_capitals(text)
        for number in sorted({x for word in places for x in self.anchored.get(word, ())}):
            name, weights = self.spaced[number], self.weights[number]
            words = name.folded.words
            there = sum(x for x, word in zip(weights, words, strict=True) if word in places)
            if there < sum(weights) / 2:
                continue
            score, used = _best_window(words, weights, places)
            span = (folded.starts[min(used.values())], folded.ends[max(used.values())])
            long = (span[1] - span[0]) >= _ALONE_LENGTH <= len(words[0])
            needed = 0.0 if has_case(name.text) else _CASELESS
            if len(words) == 1:
                needed = _ALONE if long else _INFLECTED
            written = {
                place: text[folded.starts[at] : folded.ends[at]] for place, at in used.items()
            }
            why = _why_not(name, written, capitals)
            if not why and _another_name(name, text, folded, used):
                why = "another name in place of a missing word"
            yield Candidate(name, span, min(score, 1.0), needed, why)

    def _alike(self, word: str) -> dict[str, float]:
        """Word of a name -> similarity, of those that may be `word`."""
        alike = {}
        if _has_digit(word):
            return {word: 1.0} if word in self.endings else {}
        for head in {word[:2], word[:3]}:
            for other in self.heads.get(head, ()):
                if _inflected(word, other, self.endings[other]):
                    alike[other] = _INFLECTED
        shared: dict[str, int] = defaultdict(int)
        for piece in _pieces(word):
            for other in self.pieces.get(piece, ()):
                shared[other] += 1
        for other, n in shared.items():
            # An edit breaks up to three pieces, so that two are left of any that is close enough.
            if n >= 2 and other not in alike and _spelled_otherwise(word, other):
                alike[other] = OSA.normalized_similarity(word, other)
        if word in self.endings:
            alike[word] = 1.0
        return alike

    def _by_windows(self, folded: Folded, reach: int) -> Iterator[Candidate]:
        words = folded.words[reach:]
        joined = "".join(words)
        owner = [place for place, word in enumerate(words, reach) for _ in word]
        counts: dict[int, int] = defaultdict(int)
        for pair in {joined[i : i + 2] for i in range(len(joined) - 1)}:
            for number in self.pairs.get(pair, ()):
                counts[number] += 1
        for number, shared in counts.items():
            name = self.unspaced[number]
            letters = "".join(name.folded.words)
            needed = next((score for n, score in _WINDOWS if len(letters) >= n), 1.0)
            if len(letters) > len(joined) or shared < (len(letters) - 1) * 0.4:
                continue
            found = fuzz.partial_ratio_alignment(letters, joined, score_cutoff=50)
            if found is None:
                continue
            first, last = owner[found.dest_start], owner[found.dest_end - 1]
            window = folded.words[first : last + 1]
            same = _numbers(window) == _numbers(name.folded.words)
            span = (folded.starts[first], folded.ends[last])
            score = found.score / 100
            yield Candidate(name, span, score, needed, "" if same else "other numbers")


def _weights(name: Name, rarity: Mapping[str, float]) -> list[float]:
    """What each word of a name tells: rare ones, long ones, numbers and capitals the most."""
    words = name.folded.words
    written = [
        name.text[start:end]
        for start, end in zip(name.folded.starts, name.folded.ends, strict=True)
    ]
    # Beside such a word, the capital of the first one only says that a name begins.
    title = any(word.islower() and len(word) >= 4 for word in written)
    weights = []
    for place, (word, seen) in enumerate(zip(words, written, strict=True)):
        telling = seen.isupper() or _has_digit(word) or not has_case(seen)
        weight = rarity[word] * (1.0 if telling else min(1.0, len(word) / 5))
        plain = seen.islower() or (title and place == 0 and not telling)
        weights.append(weight * (0.5 if plain else 1.0))
    return weights


def _head(word: str) -> int:
    """How many first letters of a name's word no inflection changes."""
    return 3 if len(word) > 4 else 2


def _pieces(word: str) -> set[str]:
    """Three letters each, of words long enough to be told when spelled otherwise."""
    if len(word) < _SPELLED_LENGTH:
        return set()
    padded = f"^{word}$"
    return {padded[i : i + 3] for i in range(len(padded) - 2)}


def _inflected(word: str, other: str, endings: Iterable[_Endings]) -> bool:
    """Whether `word` is `other`, a name's word, with another ending of its language."""
    cut = min(len(word), len(other))
    shared = next((i for i in range(cut) if word[i] != other[i]), cut)
    for cut in range(shared, max(_head(other), len(other) - 3) - 1, -1):
        for language in endings:
            for cached, inflected in language:
                if other[cut:] in cached and word[cut:] in inflected:
                    return True
    return False


def _spelled_otherwise(word: str, other: str) -> bool:
    """Whether one edit in four letters makes the words equal, and none only adds an ending."""
    short = min(len(word), len(other))
    if abs(len(word) - len(other)) > short / 3 or word[:short] == other[:short]:
        return False
    return OSA.normalized_similarity(word, other, score_cutoff=_ALIKE) > 0


def _best_window(
    words: Sequence[str], weights: Sequence[float], places: Mapping[str, Mapping[int, float]]
) -> tuple[float, dict[int, int]]:
    """Most weight of a name that lies close together, as a share; word of the name -> of the text.

    Close: no wider than the name and one word.
    """
    size = len(words) + 1
    heaviest = sorted(range(len(words)), key=lambda i: -weights[i])
    best, best_used = -1.0, {0: 0}
    for start in {place for word in words for place in places.get(word, ())}:
        score = 0.0
        used: dict[int, int] = {}
        for number in heaviest:
            near = [
                (credit, -place)
                for place, credit in places.get(words[number], {}).items()
                if start <= place < start + size and place not in used.values()
            ]
            if near:
                credit, place = max(near)
                score += weights[number] * credit
                used[number] = -place
        if score > best:
            best, best_used = score, used
    return best / sum(weights), best_used


def _why_not(name: Name, written: Mapping[int, str], capitals: bool) -> str:
    """Why these words of a name (number -> as the text has it) do not make it; empty if they do."""
    words = name.folded.words
    if any(_has_digit(word) and place not in written for place, word in enumerate(words)):
        return "a number of the name is missing"
    if len(words) > 1 and len(written) == 1:
        return "one word of the name alone"
    starts, ends = name.folded.starts, name.folded.ends
    for place, there in written.items():
        cached = name.text[starts[place] : ends[place]]
        long = len(words[place]) >= (_TELLING - 1 if len(written) == len(words) else _TELLING)
        telling = long or len(words) == 1 or cached.isupper() or not has_case(cached)
        if telling and not written_small(cached, there, capitals):
            return ""
    return "no telling word of the name, or written small"


def _another_name(name: Name, text: str, folded: Folded, used: Mapping[int, int]) -> bool:
    """Whether a capital word is missing, and another stands in or beside the span."""
    starts, ends = name.folded.starts, name.folded.ends
    missing = [i for i in range(len(starts)) if i not in used]
    if all(name.text[starts[i] : ends[i]].islower() for i in missing):
        return False
    taken = set(used.values())
    # The first word of a text is a capital anyway.
    around = range(max(min(taken) - 1, 1), min(max(taken) + 2, len(folded.words)))
    return any(i not in taken and text[folded.starts[i]].isupper() for i in around)


def uses_capitals(text: str) -> bool:
    """Whether a text has capitals beyond its first letter, which any sentence may have."""
    return any(character.isupper() for character in text.lstrip()[1:])


def written_small(cached: str, there: str, capitals: bool) -> bool:
    """Whether a capitalised name is written small in a text that uses capitals."""
    return capitals and there.islower() and has_case(cached) and not cached.islower()


def _has_digit(word: str) -> bool:
    return any(character.isdigit() for character in word)


def _numbers(words: Iterable[str]) -> list[str]:
    return sorted(word for word in words if _has_digit(word))
