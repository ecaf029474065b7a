"""Find where a text names its subject.

A name may stand in a text several times, or inside another word. The place that counts is, in this
order,

1. where the name is a whole word or several ("Niger", not "Nigeria"); scripts without spaces have
   it anywhere;
2. the same beside a hyphen ("Guinea" in "Guinea-Bissau");
3. inside a longer word, best at its start, because an inflected name is written as one word with
   its ending (Japonya'da, Japans, 일본의) or with an article or preposition (باليابان).

Of equal places, one where the name stands letter by letter comes before one where it is the same to
a reader (see `text`), and then the first counts.
"""

from collections.abc import Iterator, Mapping

import regex

from lafn_viz.datasets.text import (
    POINTS,
    UNSEEN,
    cased_letters_of,
    is_edge,
    is_whole,
    letters_of,
    occurrences,
    same_text,
    words,
)

_AFTER_HYPHEN, _BEFORE_HYPHEN = regex.compile(r"(?<=\w[-‐‑־])"), regex.compile(r"[-‐‑־]\w")
# A character that is not seen, to hold the place of a point.
_NOTHING = "\u2060"
# See `_rank`.
_BEST = (False, False, False, False)


def find_name(text: str, name: str, language: str = "") -> tuple[int, int] | None:
    """Return where a name stands in a text, as (start, end) in characters; None if it does not.

    See the module. Another case counts for whole words alone, and not for one word in small letters
    in a text with capitals: "Will" is not in "What will Ann say?".

    Args:
        language: code of the text's language, for letters that depend on it.
    """
    if not name.strip():
        return None
    start = text.find(name)
    if start >= 0 and _rank(text, (start, start + len(name)), name) == _BEST:
        return start, start + len(name)
    spans = [span for span in _name_spans(text, name, language) if _may_be(text, span, name)]
    return min(spans, key=lambda span: (_rank(text, span, name), span), default=None)


def is_named(names: Mapping[str, str], name: str) -> bool:
    """Whether one of the names by language is this name, in any way of writing it."""
    return any(same_text(name, given, language) for language, given in names.items())


def uses_capitals(text: str) -> bool:
    """Whether a text has capitals beyond its first letter, which any sentence may have."""
    return any(character.isupper() for character in text.lstrip()[1:])


def written_small(name: str, as_written: str, capitals: bool) -> bool:
    """Whether a capitalised name is in small letters in a text that uses capitals."""
    has_case = name.lower() != name.upper()
    return capitals and as_written.islower() and has_case and not name.islower()


def _rank(text: str, span: tuple[int, int], name: str) -> tuple[bool, bool, bool, bool]:
    start, end = span
    hyphen = _AFTER_HYPHEN.match(text, start) or _BEFORE_HYPHEN.match(text, end)
    return (
        not is_whole(text, start, end), hyphen is not None, text[start:end] != name,
        not is_edge(text, start),
    )  # fmt: skip


def _may_be(text: str, span: tuple[int, int], name: str) -> bool:
    """Whether a place that may differ in case from a name is meant as the name."""
    written = text[slice(*span)]
    if cased_letters_of(written) == cased_letters_of(name):
        return True
    one_word = len(words(name)) == 1
    small = one_word and written_small(name, written, uses_capitals(text))
    return is_whole(text, *span) and not small


def _name_spans(text: str, name: str, language: str) -> Iterator[tuple[int, int]]:
    """Places of a text with the letters of a name."""

    def read(text: str) -> str:
        return " ".join(letters_of(text, language).split())

    if (POINTS.search(text) is None) != (POINTS.search(name) is None):
        # Where only one of the two writes points, they do not count.
        text, name = POINTS.sub(_NOTHING, text), POINTS.sub("", name)
    wanted = read(name)
    if wanted not in read(text):  # most texts, and quickly seen
        return
    letters, places = _places(text, language)
    for start, end in occurrences(letters, wanted):
        span = (places[start][0], places[end - 1][1])
        if read(text[slice(*span)]) == wanted:
            yield span[0], _after_nothing(text, span[1])


def _after_nothing(text: str, place: int) -> int:
    while text.startswith(_NOTHING, place):
        place += 1
    return place


def _places(text: str, language: str) -> tuple[str, list[tuple[int, int]]]:
    """The letters of a text, with one space between words, and where each stands in the text."""
    unseen = {place for match in UNSEEN.finditer(text) for place in range(*match.span())}
    letters = ""
    places: list[tuple[int, int]] = []
    for cluster in regex.finditer(r"\X", text):
        start, end = cluster.span()
        seen = [place for place in range(start, end) if place not in unseen]
        form = letters_of("".join(text[place] for place in seen), language)
        if form.isspace():
            form = "" if letters.endswith(" ") else " "
        letters += form
        # A name may end between a letter and its vowel sign (ভারত in ভারতের).
        by_letter = len(form) == len(seen)
        places += [(x, x + 1) for x in seen] if by_letter else [(start, end)] * len(form)
    return letters, places
