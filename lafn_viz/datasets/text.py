"""Compare texts of any script as people read them: what makes two texts the same is said here.

1. Two texts are **the same** (`normal`, `same_text`) whatever their normal form, width, case,
   spacing, characters that are not seen, digits (٣ is 3), form of apostrophe, hyphen and quotation
   mark, and whatever quotes, brackets and sentence ends stand around them.
2. A **letter keeps its marks**: vowel signs and tone marks spell other words (Bengali কালি is ink,
   কিলো is a kilogram), so `\\w` here is that of `regex`, to which marks and joiners belong, and
   not that of `re`, which cuts a word at each of them. Points that readers do without (Arabic and
   Hebrew vowel points, Cyrillic stress) count only where both texts write some.
3. A **joiner** (ZWJ, ZWNJ) spells where it stands in a word of a script that joins its letters, as
   in Persian or after a virama; elsewhere it is not seen.
4. Some letters depend on the **language**: I is the capital of ı in Turkish; Persian and Romanian
   letters are also typed with those of another keyboard.

Punctuation is Unicode's: the ends of sentences and of their parts in every script (. ? 。 । ؟ ।)
are those with the property Terminal_Punctuation.
"""

import re
import unicodedata
from collections.abc import Iterator
from typing import Any

import regex

from lafn_viz.core.arguments import a_text, takes

# A middle dot is also what NFKC makes of the Greek upper point. Further the point after a Tibetan
# syllable, the Sinhala full stop, and the marks of Armenian and Spanish questions and exclamations.
_ENDS = (
    r"\s\p{Terminal_Punctuation}[\p{Default_Ignorable_Code_Point}--[\u200c\u200d]]"
    r"\p{Ps}\p{Pe}\p{Pi}\p{Pf}\p{Quotation_Mark}´`❛❜❝❞·…‥⋯჻॰\u0f0b\u0df4\u055b\u055c\u055e¿¡—―"
)
_FIRST_LETTER = regex.compile(rf"[^{_ENDS}]", regex.V1)
_LAST_LETTER = regex.compile(rf"(?r)[^{_ENDS}]", regex.V1)
# Letters that older texts write as a consonant, a virama and a joiner (Malayalam, Bengali).
_WITH_JOINER = {
    "ണ്\u200d": "ൺ", "ന്\u200d": "ൻ", "ര്\u200d": "ർ", "ല്\u200d": "ൽ", "ള്\u200d": "ൾ", "ക്\u200d": "ൿ",
    "ত্\u200d": "ৎ",
}  # fmt: skip
_HAS_JOINER = re.compile("|".join(_WITH_JOINER))
# Scripts in which a joiner changes the form of a letter, and so spells.
_JOINING = r"[[\p{Arabic}\p{Syriac}\p{Mongolian}\p{Nko}\p{Mandaic}]&&\p{L}]"
UNSEEN = regex.compile(
    r"[\p{Default_Ignorable_Code_Point}--[\u200c\u200d]]"
    rf"|[\u200c\u200d](?<!(?:{_JOINING}\p{{M}}{{0,12}}|\p{{ccc=9}}).)"
    rf"|[\u200c\u200d](?!\p{{L}})(?<!{'|'.join(_WITH_JOINER)})",
    regex.V1,
)
_OTHER_DIGIT = re.compile(r"[^\D0-9]")
# One way to write each sign; tatweel only stretches a word; İ is the capital of i alone.
_SIGNS = (
    dict.fromkeys("’‘‚‛`´ʹʻʼʽˈ′‵׳ꞌ＇", "'")
    | dict.fromkeys("“”„‟″〝〞〟״", '"')
    | dict.fromkeys("‐‑‒–—―−֊־﹘﹣", "-")
    | dict.fromkeys("‧∙•・･", "·")
    | {"ـ": "", "İ": "i"}
)
# The dot of İ stays when other programs make it small.
_DOTTED_I = re.compile("i\u0307+")
_SIGN = re.compile(f"[{''.join(_SIGNS)}]")
_TURKISH = str.maketrans({"I": "ı"})
_PERSIAN = str.maketrans({"ي": "ی", "ك": "ک"})
# Letters of one language, by its code without a script.
_LETTERS_OF: dict[str, dict[int, Any]] = {
    "tr": _TURKISH, "az": _TURKISH, "crh": _TURKISH, "fa": _PERSIAN, "ur": _PERSIAN,
    "ro": str.maketrans("şţŞŢ", "șțȘȚ"),
}  # fmt: skip
_OUTER_LETTER = re.compile("^'+|'+$")
POINTS = regex.compile(
    r"[\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u064b-\u0652\u0656-\u065f\u0670"
    r"\u06d6-\u06dc\u06df-\u06e8\u06ea-\u06ed\u0730-\u074a]|(?<=\p{Cyrillic})[\u0300\u0301]"
)

_SYMBOL = r"[\p{Sc}\p{Sm}\p{So}%‰#]"
_WORD_OR_SYMBOL = regex.compile(rf"\w+|{_SYMBOL}")
_LETTER_OR_SYMBOL = regex.compile(rf"\w\p{{M}}*|{_SYMBOL}")

# Two characters of these tell a name; others are spelled with more.
_HAN_OR_KANA = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}]")
# Scripts with nothing between words.
NO_SPACES = r"\p{Han}\p{Hiragana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}"
# Borrowed words are written in runs of Katakana.
KATAKANA = r"\p{Katakana}ー"
_UNSPACED = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]")
# A space that separates no words.
_NO_SPACE = regex.compile(rf"(?<=[{NO_SPACES}]\p{{M}}{{0,12}}) (?=[{NO_SPACES}])")
# Where a word may begin or end.
_EDGE = regex.compile(
    rf"(?!\p{{M}})(?:(?<!\w)|(?!\w)|(?<=[{NO_SPACES}]\p{{M}}{{0,12}})|(?=[{NO_SPACES}])"
    rf"|(?<=[{KATAKANA}]\p{{M}}{{0,12}})(?![{KATAKANA}])"
    rf"|(?<![{KATAKANA}]\p{{M}}{{0,12}})(?=[{KATAKANA}]))"
)
# Marks that a name is written with or without: accents, Arabic and Hebrew points, nuktas. The
# voicing marks of kana are none of them.
_OPTIONAL_MARKS = regex.compile(
    r"[[\p{M}&&[\p{Inherited}\p{Latin}\p{Greek}\p{Cyrillic}\p{Arabic}\p{Hebrew}\p{Syriac}]]"
    r"\p{ccc=7}--[\u3099\u309a]]",
    regex.V1,
)


def is_east_asian(text: str) -> bool:
    """Whether a text has Chinese or Japanese letters."""
    return _HAN_OR_KANA.search(text) is not None


def nfc(text: str) -> str:
    """Return a text in normal form C, in which nearly all texts that models learn from are."""
    return unicodedata.normalize("NFC", text)


def normal(text: str, language: str = "") -> str:
    """Return the form in which two answers or questions are compared (see the module).

    Args:
        language: code of the text's language, for letters that depend on it.
    """
    letters = letters_of(without_ends(text), language)
    # An apostrophe that is left at an end is a letter (ʻokina); NFKC makes brackets, as of ⑴.
    spaced = " ".join(_OUTER_LETTER.sub("ʼ", letters).split())
    return without_ends(_NO_SPACE.sub("", spaced))


def comparable(one: str, other: str, language: str = "") -> tuple[str, str]:
    """Return the forms of two texts that are equal if the texts are the same.

    They are without points (Arabic, Hebrew, Cyrillic stress) if one of the texts writes none.
    """
    pair = normal(one, language), normal(other, language)
    bare = POINTS.sub("", pair[0]), POINTS.sub("", pair[1])
    return bare if pair[0] == bare[0] or pair[1] == bare[1] else pair


def same_text(one: str, other: str, language: str = "") -> bool:
    """Whether two texts are the same to a reader (see the module)."""
    if one == other:
        return True
    first, second = comparable(one, other, language)
    return first == second


def letters_of(text: str, language: str = "") -> str:
    """Return the letters, marks and signs of a text without case, each written in one way."""
    return nfc(cased_letters_of(text, language).casefold())


def cased_letters_of(text: str, language: str = "") -> str:
    """Return the letters, marks and signs of a text, each written in one way."""
    own = _LETTERS_OF.get(language.split("-")[0])
    if not text.isascii():
        text = _HAS_JOINER.sub(lambda match: _WITH_JOINER[match.group()], nfc(text))
        text = _one_sign(nfc(UNSEEN.sub("", text)))
        text = UNSEEN.sub("", _one_sign(unicodedata.normalize("NFKC", text)))
        text = _DOTTED_I.sub("i", text)
        text = _OTHER_DIGIT.sub(lambda match: str(unicodedata.decimal(match.group())), text)
    return text if own is None else text.translate(own)


def _one_sign(text: str) -> str:
    return _SIGN.sub(lambda match: _SIGNS[match.group()], text)


def without_ends(text: str) -> str:
    """Return a text without the spaces, sentence punctuation, quotes and brackets at its ends."""
    first, last = _FIRST_LETTER.search(text), _LAST_LETTER.search(text)
    return text[first.start() : last.end()] if first and last else ""


def words(text: str) -> list[str]:
    """Return the words of a text: runs of letters, with their marks, and digits."""
    return regex.findall(r"\w+", text)


def units(text: str, *, spaced: bool) -> list[str]:
    """Return what metrics of answers count in a text: its words, and its symbols one by one.

    Signs of currencies and of mathematics say something, as letters do (C++ is not C). Without
    spaces between words, each letter with its marks and each digit counts.
    """
    return (_WORD_OR_SYMBOL if spaced else _LETTER_OR_SYMBOL).findall(text)


def holds_words(text: str, part: str) -> bool:
    """Whether a part stands in a text as whole words; in scripts without spaces, anywhere."""
    return any(is_whole(text, *span) for span in occurrences(text, part))


def occurrences(text: str, part: str) -> Iterator[tuple[int, int]]:
    """Yield each place of a text, as (start, end), where a part stands letter by letter."""
    start = text.find(part) if part else -1
    while start >= 0:
        yield start, start + len(part)
        start = text.find(part, start + 1)


def is_edge(text: str, place: int) -> bool:
    """Whether a word may begin or end before a character of a text."""
    return _EDGE.match(text, place) is not None


def is_whole(text: str, start: int, end: int) -> bool:
    """Whether a part of a text is whole words."""
    return is_edge(text, start) and is_edge(text, end)


def is_latin(text: str) -> bool:
    """Whether a text has letters and all of them are Latin."""
    letters = regex.findall(r"[\p{L}--\p{Common}]", text, regex.V1)
    return bool(letters) and all(regex.match(r"\p{Latin}", letter) for letter in letters)


@takes(subject=a_text, answer=a_text)
def shows_answer(subject: str, answer: str) -> bool:
    """Whether a subject gives its answer away, as "Japan" does "Japanese".

    It does if a word of each starts with the same four letters, without their accents. Scripts
    without spaces share two characters (Han, kana) or four anywhere (Thai, Lao, Khmer, Burmese), or
    the whole of a shorter subject. So does an answer that is the subject itself.
    """
    subject, answer = _letters(subject), _letters(answer)
    if subject and subject == answer:
        return True
    length = 2 if _HAN_OR_KANA.search(subject) else 4
    if _UNSPACED.search(subject):
        shared = not _pieces(subject, length).isdisjoint(_pieces(answer, length))
        return shared or subject in answer
    starts = {word[:length] for word in words(subject) if len(word) >= length}
    return any(word[:length] in starts for word in words(answer))


def _pieces(text: str, length: int) -> set[str]:
    return {word[i : i + length] for word in words(text) for i in range(len(word) - length + 1)}


def _letters(text: str) -> str:
    """The text without case and optional marks; Hangul and accented letters are taken apart."""
    letters = _OPTIONAL_MARKS.sub("", unicodedata.normalize("NFKD", normal(text)))
    return unicodedata.normalize("NFC", letters) if _HAN_OR_KANA.search(letters) else letters
