"""Find parts of a text that resemble cached names: inflected, spelled otherwise, or quoted in part.

1. A word of the text counts as a word of a name when it is the same, when it only ends otherwise,
   as the name's language inflects it (see `inflection`), or when at most one letter in four differs
   and not only at the end (so Niger is not Nigeria, nor Austria Australia).
2. A name scores the share of its words' weight that stands close together in the text. A rare word
   weighs more than a common one (inverse document frequency over the cached subjects), a capital
   more than a small letter, a short word less.
3. A name in a script without spaces is compared with windows of the text, letter by letter. What
   differs at one end alone is another name: 保加利亚语 is not 保加利亚.

Guards: one word alone must be inflected, or long and nearly equal; of several words two must be
found, one of them long enough to tell; numbers must be the same; and no other capitalised word may
stand in place of a missing one (American Museum of Natural History).

To be quick, only names are scored whose two heaviest words resemble a word of the text; these are
looked up by their first letters and by groups of three letters.
"""

import math
import unicodedata
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rapidfuzz import fuzz
from rapidfuzz.distance import OSA, Postfix, Prefix

from lafn_viz.datasets.names import uses_capitals, written_small
from lafn_viz.datasets.text import is_east_asian
from lafn_viz.editing.retrieval.folding import Folded, has_case
from lafn_viz.editing.retrieval.inflection import Endings, endings_of, is_inflected, stem_length

# Fuzzy matching reads this many characters from the end of a text: a question comes last.
FUZZY_REACH = 4000
# Two words are one word in two spellings from this similarity (1 - edits / length) and length on...
_SAME_WORD, _SAME_WORD_LENGTH = 0.75, 5
# ...but where the name has no other word, only from these.
_ALONE, _ALONE_LENGTH = 0.87, 8
_INFLECTED = 0.95  # the similarity of an inflected word
# A name of several words needs one of this length, or one letter less where all words are found.
_TELLING_LENGTH = 5
# The score that a name of several words needs in a script without capitals, which would tell names
# apart.
_CASELESS = 0.8
# Scripts without spaces: from this length of the name on, the similarity that a window needs.
_WINDOWS = ((12, 0.75), (8, 0.8), (5, 0.85))


@dataclass(frozen=True)
class Name:
    """A name of the subject `key`; `first` if it is the one that prompts in its language use."""

    key: str
    language: str
    text: str
    first: bool
    folded: Folded


@dataclass(frozen=True)
class Candidate:
    """A name that the characters `span` of a text resemble.

    `score` is the similarity in [0, 1]; it must reach `needed`. `why` says why the name does not
    count, and is empty if it does.
    """

    name: Name
    span: tuple[int, int]
    score: float
    needed: float
    why: str


class FuzzyIndex:
    """An index of names to find what resembles them; immutable once built."""

    def __init__(self, names: Sequence[Name]) -> None:
        spaced = [n for n in names if n.folded.words and not any(n.folded.unspaced)]
        self._words = _WordIndex(spaced, n_subjects=len({name.key for name in names}))
        self._windows = _WindowIndex([n for n in names if any(n.folded.unspaced)])

    def candidates(self, text: str, folded: Folded) -> Iterator[Candidate]:
        """Names that a part of the last `FUZZY_REACH` characters resembles, whether they count."""
        reach = bisect_left(folded.starts, len(text) - FUZZY_REACH)
        yield from self._words.candidates(text, folded, reach)
        yield from self._windows.candidates(folded, reach)


class _WordIndex:
    """Names in scripts with spaces, by their heaviest words."""

    def __init__(self, names: Sequence[Name], *, n_subjects: int) -> None:
        keys: dict[str, set[str]] = defaultdict(set)  # by word, the subjects that have it
        self._names = names
        self._endings: dict[str, set[Endings]] = defaultdict(set)
        for name in names:
            for word in name.folded.words:
                keys[word].add(name.key)
                self._endings[word].add(endings_of(name.language))
        rarity = {
            word: math.log(1 + n_subjects / len(subjects)) / math.log(1 + n_subjects)
            for word, subjects in keys.items()
        }
        self._weights = [_weights(name, rarity) for name in names]
        self._anchored: dict[str, list[int]] = defaultdict(list)
        for number, (name, weights) in enumerate(zip(names, self._weights, strict=True)):
            heaviest = sorted(zip(weights, name.folded.words, strict=True), reverse=True)
            for word in {word for _, word in heaviest[:2]}:
                self._anchored[word].append(number)
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        self._by_piece: dict[str, list[str]] = defaultdict(list)
        for word in keys:
            self._by_stem[word[: stem_length(word)]].append(word)
            for piece in _pieces(word):
                self._by_piece[piece].append(word)

    def candidates(self, text: str, folded: Folded, reach: int) -> Iterator[Candidate]:
        """Names that words from number `reach` on resemble."""
        # By word of a name: the words of the text that may be it, with their similarity.
        places: dict[str, dict[int, float]] = defaultdict(dict)
        for place in range(reach, len(folded.words)):
            if not folded.unspaced[place]:
                for word, similarity in self._similar(folded.words[place]).items():
                    places[word][place] = similarity
        capitals = uses_capitals(text)
        for number in sorted({n for word in places for n in self._anchored.get(word, ())}):
            name, weights = self._names[number], self._weights[number]
            pairs = zip(weights, name.folded.words, strict=True)
            if sum(weight for weight, word in pairs if word in places) < sum(weights) / 2:
                continue
            score, used = _best_window(name.folded.words, weights, places)
            span = (folded.starts[min(used.values())], folded.ends[max(used.values())])
            written = {
                word: text[folded.starts[place] : folded.ends[place]]
                for word, place in used.items()
            }
            why = _why_not(name, written, capitals)
            if not why and _another_name(name, text, folded, used):
                why = "another name in place of a missing word"
            yield Candidate(name, span, min(score, 1.0), _needed(name, span), why)

    def _similar(self, word: str) -> dict[str, float]:
        """The words of names that `word` may be, with their similarity."""
        similar = {}
        if _has_digit(word):
            return {word: 1.0} if word in self._endings else {}
        for stem in {word[:2], word[:3]}:
            for name_word in self._by_stem.get(stem, ()):
                if is_inflected(word, name_word, self._endings[name_word]):
                    similar[name_word] = _INFLECTED
        n_shared: dict[str, int] = defaultdict(int)
        for piece in _pieces(word):
            for name_word in self._by_piece.get(piece, ()):
                n_shared[name_word] += 1
        for name_word, n in n_shared.items():
            # An edit breaks up to three pieces, so any word that is close enough shares two.
            if n >= 2 and name_word not in similar and _spelled_otherwise(word, name_word):
                similar[name_word] = OSA.normalized_similarity(word, name_word)
        if word in self._endings:
            similar[word] = 1.0
        return similar


class _WindowIndex:
    """Names in scripts without spaces, by their pairs of characters."""

    def __init__(self, names: Sequence[Name]) -> None:
        self._names = names
        self._by_pair: dict[str, list[int]] = defaultdict(list)
        for number, name in enumerate(names):
            for pair in _pairs("".join(name.folded.words)):
                self._by_pair[pair].append(number)

    def candidates(self, folded: Folded, reach: int) -> Iterator[Candidate]:
        """Names that a window from word number `reach` on resembles."""
        words = folded.words[reach:]
        letters = "".join(words)
        word_of = [number for number, word in enumerate(words, reach) for _ in word]
        n_shared: dict[int, int] = defaultdict(int)
        for pair in _pairs(letters):
            for number in self._by_pair.get(pair, ()):
                n_shared[number] += 1
        for number, n in n_shared.items():
            name = self._names[number]
            name_letters = "".join(name.folded.words)
            if len(name_letters) > len(letters) or n < (len(name_letters) - 1) * 0.4:
                continue
            alignment = fuzz.partial_ratio_alignment(name_letters, letters, score_cutoff=50)
            if alignment is None:
                continue
            first, last = word_of[alignment.dest_start], word_of[alignment.dest_end - 1]
            same_numbers = _numbers(folded.words[first : last + 1]) == _numbers(name.folded.words)
            needed = next((score for n, score in _WINDOWS if len(name_letters) >= n), 1.0)
            span = (folded.starts[first], folded.ends[last])
            window = letters[alignment.dest_start : alignment.dest_end]
            why = "" if same_numbers else "other numbers"
            if not why and _differ_at_one_end(window, name_letters):
                why = "another beginning or end"
            yield Candidate(name, span, alignment.score / 100, needed, why)


def _weights(name: Name, rarity: Mapping[str, float]) -> list[float]:
    """How much each word of a name tells: rare and long words, numbers and capitals the most."""
    words = name.folded.words
    written = [
        name.text[start:end]
        for start, end in zip(name.folded.starts, name.folded.ends, strict=True)
    ]
    # Beside such a word, the capital of the first one only says that a name begins.
    has_long_small_word = any(word.islower() and len(word) >= 4 for word in written)
    weights = []
    for number, (word, as_written) in enumerate(zip(words, written, strict=True)):
        telling = as_written.isupper() or _has_digit(word) or not has_case(as_written)
        weight = rarity[word] * (1.0 if telling else min(1.0, len(word) / 5))
        plain = as_written.islower() or (has_long_small_word and number == 0 and not telling)
        weights.append(weight * (0.5 if plain else 1.0))
    return weights


def _needed(name: Name, span: tuple[int, int]) -> float:
    """The score from which on a name counts that a span resembles."""
    words = name.folded.words
    if len(words) > 1:
        return 0.0 if has_case(name.text) else _CASELESS
    long = (span[1] - span[0]) >= _ALONE_LENGTH <= len(words[0])
    return _ALONE if long else _INFLECTED


def _pairs(letters: str) -> set[str]:
    """All pairs of neighbouring characters."""
    return {letters[i : i + 2] for i in range(len(letters) - 1)}


def _pieces(word: str) -> set[str]:
    """All groups of three letters, of words long enough to be known when spelled otherwise."""
    if len(word) < _SAME_WORD_LENGTH:
        return set()
    padded = f"^{word}$"
    return {padded[i : i + 3] for i in range(len(padded) - 2)}


def _spelled_otherwise(word: str, name_word: str) -> bool:
    """Whether at most one letter in four differs, and not only by an ending that is added."""
    shorter = min(len(word), len(name_word))
    difference = abs(len(word) - len(name_word))
    if difference > shorter / 3 or word[:shorter] == name_word[:shorter]:
        return False
    return OSA.normalized_similarity(word, name_word, score_cutoff=_SAME_WORD) > 0


def _best_window(
    words: Sequence[str], weights: Sequence[float], places: Mapping[str, Mapping[int, float]]
) -> tuple[float, dict[int, int]]:
    """The largest share of a name's weight in a window of the text, one word wider than the name.

    Args:
        places: by word of a name, the words of the text that may be it, with their similarity.

    Returns:
        The share, and which word of the text is which word of the name, by number.
    """
    size = len(words) + 1
    heaviest = sorted(range(len(words)), key=lambda i: -weights[i])
    best, best_used = -1.0, {0: 0}
    for start in {place for word in words for place in places.get(word, ())}:
        score = 0.0
        used: dict[int, int] = {}
        for number in heaviest:
            near = [
                (similarity, -place)
                for place, similarity in places.get(words[number], {}).items()
                if start <= place < start + size and place not in used.values()
            ]
            if near:
                similarity, place = max(near)
                score += weights[number] * similarity
                used[number] = -place
        if score > best:
            best, best_used = score, used
    return best / sum(weights), best_used


def _why_not(name: Name, written: Mapping[int, str], capitals: bool) -> str:
    """Why the words found do not make the name; empty if they do.

    Args:
        written: the words found, by their number in the name, as the text has them.
        capitals: whether the text uses capitals.
    """
    words = name.folded.words
    if any(_has_digit(word) and number not in written for number, word in enumerate(words)):
        return "a number of the name is missing"
    if len(words) > 1 and len(written) == 1:
        return "one word of the name alone"
    needed = _TELLING_LENGTH - 1 if len(written) == len(words) else _TELLING_LENGTH
    starts, ends = name.folded.starts, name.folded.ends
    for number, as_written in written.items():
        cached = name.text[starts[number] : ends[number]]
        long = len(words[number]) >= needed
        telling = long or len(words) == 1 or cached.isupper() or not has_case(cached)
        if telling and not written_small(cached, as_written, capitals):
            return ""
    return "no telling word of the name, or written small"


def _another_name(name: Name, text: str, folded: Folded, used: Mapping[int, int]) -> bool:
    """Whether a capitalised word is missing, and another one stands in or beside the span."""
    starts, ends = name.folded.starts, name.folded.ends
    missing = [i for i in range(len(starts)) if i not in used]
    if all(name.text[starts[i] : ends[i]].islower() for i in missing):
        return False
    taken = set(used.values())
    # The first word of a text is capitalised anyway.
    around = range(max(min(taken) - 1, 1), min(max(taken) + 2, len(folded.words)))
    return any(i not in taken and text[folded.starts[i]].isupper() for i in around)


def _differ_at_one_end(window: str, name: str) -> bool:
    """Whether two strings differ in what begins them alone, or in what ends them alone.

    Marks do not count, nor does one letter of an alphabet: Thai silences letters at the end.
    """
    one, other = (
        "".join(letter for letter in x if unicodedata.category(letter)[0] != "M")
        for x in (window, name)
    )
    shorter, longer = sorted((len(one), len(other)))
    same = (Prefix.similarity(one, other), Postfix.similarity(one, other))
    at_one_end = one != other and any(length in (0, shorter) for length in same)
    return at_one_end and longer - max(same) > (0 if is_east_asian(name) else 1)


def _has_digit(word: str) -> bool:
    return any(character.isdigit() for character in word)


def _numbers(words: Iterable[str]) -> list[str]:
    return sorted(word for word in words if _has_digit(word))
