"""Compare texts of any script: normal forms, words, and whether a subject gives its answer away.

A **letter keeps its marks**: vowel signs and tone marks spell other words (Bengali কালি is ink, কিলো
is a kilogram), so `\\w` here is that of `regex`, to which marks and joiners belong, and not that of
`re`, which cuts a word at each of them. Punctuation is Unicode's too: the ends of sentences and of
their parts in every script (. ? 。 । ؟ ។ ።) are those with the property Terminal_Punctuation.
"""

import unicodedata

import regex

# Also the middle dot, which NFKC makes of the Greek upper point, the point after a Tibetan syllable
# and the Sinhala full stop.
_ENDS = r"\s\p{Terminal_Punctuation}·\u0f0b\u0df4"
_FIRST_LETTER = regex.compile(rf"[^{_ENDS}]")
_LAST_LETTER = regex.compile(rf"(?r)[^{_ENDS}]")
# Characters that are not seen, but for the joiners, which tell words of Persian and Sinhala apart.
_UNSEEN = regex.compile(r"[\p{Default_Ignorable_Code_Point}--[\u200c\u200d]]", regex.V1)

# Two characters of these tell a name; others are spelled with more.
_HAN_OR_KANA = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}]")
# Scripts with nothing between words.
_UNSPACED = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]")
# Marks that a name is written with or without: accents, Arabic and Hebrew points, nuktas. The
# voicing marks of kana are none of them.
_OPTIONAL_MARKS = regex.compile(
    r"[[\p{M}&&[\p{Inherited}\p{Latin}\p{Greek}\p{Cyrillic}\p{Arabic}\p{Hebrew}\p{Syriac}]]"
    r"\p{ccc=7}--[\u3099\u309a]]",
    regex.V1,
)


def normal(text: str) -> str:
    """Return the form in which two answers or questions are compared.

    Case, width (NFKC), spacing, unseen characters, and the punctuation that ends a sentence make no
    difference; every letter and every mark on it does.
    """
    folded = _UNSEEN.sub("", unicodedata.normalize("NFKC", text)).casefold()
    return without_ends(" ".join(folded.split()))


def without_ends(text: str) -> str:
    """Return a text without spaces and sentence punctuation, of any script, at both its ends."""
    first, last = _FIRST_LETTER.search(text), _LAST_LETTER.search(text)
    return text[first.start() : last.end()] if first and last else ""


def words(text: str) -> list[str]:
    """Return the words of a text: runs of letters, with their marks, and digits."""
    return regex.findall(r"\w+", text)


def characters(text: str) -> list[str]:
    """Return the letters, each with its marks, and the digits of a text."""
    return regex.findall(r"\w\p{M}*", text)


def holds_words(text: str, part: str) -> bool:
    """Whether a part stands in a text as whole words."""
    return regex.search(rf"(?<!\w){regex.escape(part)}(?!\w)", text) is not None


def is_latin(text: str) -> bool:
    """Whether a text has letters and all of them are Latin."""
    letters = regex.findall(r"[\p{L}--\p{Common}]", text, regex.V1)
    return bool(letters) and all(regex.match(r"\p{Latin}", letter) for letter in letters)


def shows_answer(subject: str, answer: str) -> bool:
    """Whether a subject gives its answer away, as "Japan" does "Japanese".

    It does if a word of each starts with the same four letters, without their accents. Scripts
    without spaces share two characters (Han, kana) or four anywhere (Thai, Lao, Khmer, Burmese).
    """
    subject, answer = _letters(subject), _letters(answer)
    length = 2 if _HAN_OR_KANA.search(subject) else 4
    if _UNSPACED.search(subject):
        return not _pieces(subject, length).isdisjoint(_pieces(answer, length))
    starts = {word[:length] for word in words(subject) if len(word) >= length}
    return any(word[:length] in starts for word in words(answer))


def _pieces(text: str, length: int) -> set[str]:
    return {word[i : i + length] for word in words(text) for i in range(len(word) - length + 1)}


def _letters(text: str) -> str:
    """The text without case and optional marks; Hangul and accented letters are taken apart."""
    letters = _OPTIONAL_MARKS.sub("", unicodedata.normalize("NFKD", text.casefold()))
    return unicodedata.normalize("NFC", letters) if _HAN_OR_KANA.search(letters) else letters
