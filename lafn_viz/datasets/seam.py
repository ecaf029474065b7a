"""The seam of a prompt: what stands between its text and its answer.

1. **Blanks** at the seam are one with the separator: "... is " before "Tokyo" and "... is" before
   " Tokyo" both mean "... is Tokyo". Any kind of blank counts (no-break, ideographic), and so do
   characters that are not seen. A line break or a tab is no blank: it separates by itself.
2. The **separator** is a space, or nothing in a language without spaces. It is nothing, too, where
   the text itself is of a script without spaces (Han, kana, Thai), whatever language is stated,
   and after an opening bracket or quote, a sign that joins (a hyphen, a slash, $) or an elided
   article (l'), or before the punctuation that closes a sentence.
3. A text that **ends in its answer** leaves nothing to ask.
"""

import regex

from lafn_viz.core.messages import warn
from lafn_viz.datasets.languages import separator_of
from lafn_viz.datasets.names import find_name
from lafn_viz.datasets.text import KATAKANA, NO_SPACES, is_whole

# Soft hyphen, spaces of no width, marks of direction, byte order mark. Others that are not seen
# spell (joiners) or come in pairs (embeddings).
_UNSEEN = r"\u00ad\u061c\u180e\u200b\u200e\u200f\u2060\ufeff"
_BLANK = rf"[\p{{Zs}}{_UNSEEN}]"
_BLANKS_AT_END = regex.compile(rf"(?r){_BLANK}+\Z")
_UNSEEN_AT_START = regex.compile(rf"\A[{_UNSEEN}]+")
_SPACE_AT_START = regex.compile(rf"\A[\s{_UNSEEN}]+")
_SPACE_AT_END = regex.compile(rf"(?r)[\s{_UNSEEN}]+\Z")
_BREAKS_AT_START = regex.compile(rf"\A[\s{_UNSEEN}]*[^\S\p{{Zs}}][\s{_UNSEEN}]*")

# With the scripts that put no spaces between words, those that put none before an answer.
_UNSPACED = rf"{NO_SPACES}{KATAKANA}\p{{Bopomofo}}\p{{New_Tai_Lue}}\p{{Tai_Tham}}\p{{Tai_Viet}}"
_UNSPACED_LETTER = regex.compile(rf"[{_UNSPACED}]")
_SPACED_LETTER = regex.compile(rf"[\p{{L}}--[{_UNSPACED}]]", regex.V1)
_LAST_LETTER = regex.compile(r"(?r)\p{L}")
# A bracket or a quote that opens, a sign before a word or a number ($, but not that of 100 €), a
# hyphen, a dash or a slash after a letter, an article before a vowel (French, Italian).
_OPEN = regex.compile(
    r"(?r)(?:[\p{Ps}\p{Pi}¿¡]|(?<=\A|[\s\p{Ps}])[\"'#@]|(?<!\d\s?)\p{Sc}|(?<=\w)[-‐‑–—/]"
    r"|(?<!\w)(?:\w|qu|\w{1,3}ll)['’])\Z"
)
_CLOSING = regex.compile(r"\A[\p{Pe}\p{Pf}\p{Terminal_Punctuation}…]+(?:\s|\Z)")


def text_before(text: str) -> str:
    """Return a prompt's text without the blanks at its end."""
    return _BLANKS_AT_END.sub("", text)


def unseen_before(text: str) -> int:
    """Return the number of characters at the start of a text that are not seen."""
    match = _UNSEEN_AT_START.match(text)
    return match.end() if match else 0


def answer_alone(answer: str) -> str:
    """Return an answer without the blanks and line breaks around it."""
    return _SPACE_AT_END.sub("", _SPACE_AT_START.sub("", answer))


def separator_at(text: str, answer: str, language: str) -> str:
    """Return what stands between a text and its answer, with or without blanks at the seam."""
    last, first = text[-1:], answer[:1]
    if not (last.isalpha() and first.isalpha()):
        if breaks := _BREAKS_AT_START.match(answer):
            return "".join(c for c in breaks.group() if regex.match(r"[^\S\p{Zs}]", c))
        end, answer = text_before(text), answer_alone(answer)
        if not end or end[-1].isspace() or (end == text and _OPEN.search(end)):
            return ""
        if _CLOSING.match(answer):
            return ""
        letter = _LAST_LETTER.search(end)
        last, first = letter.group() if letter else "", answer[:1]
    if not _UNSPACED_LETTER.match(last):
        return separator_of(language)
    unspaced = _UNSPACED_LETTER.match(first) or not _SPACED_LETTER.search(text)
    return "" if unspaced else separator_of(language)


def ends_in_answer(text: str, answer: str, language: str = "") -> bool:
    """Whether the last words of a text are the answer."""
    place = _last_place(text, answer_alone(answer), language)
    return place is not None and not regex.search(r"\w", text[place[1] :])


def require_open(text: str, span: tuple[int, int], answer: str, language: str) -> None:
    """Refuse a text that ends in its answer, after the subject; warn of one that names it there."""
    rest = text[span[1] :]
    if ends_in_answer(rest, answer, language):
        raise ValueError(
            f"the prompt {text!r} already ends in its answer {answer!r}; leave it out there"
        )
    if _last_place(rest, answer_alone(answer), language) is not None:
        warn(
            f"the prompt {text!r} names its answer {answer!r} after the subject, so a model can "
            "copy it",
        )


def _last_place(text: str, answer: str, language: str) -> tuple[int, int] | None:
    """Where a text names the answer last, as whole words."""
    found, start = None, 0
    while answer and (place := find_name(text[start:], answer, language)) is not None:
        place = start + place[0], start + place[1]
        if is_whole(text, *place):
            found = place
        start = place[1]
    return found
