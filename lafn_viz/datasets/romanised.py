"""Names in Latin letters: how a person without the keyboard of a script might write them.

Cyrillic, Greek, Arabic, Devanagari, kana and Hangul are written letter by letter, near BGN/PCGN and
Hepburn and without accents. Names in Latin letters lose their accents. What a reader has to know
(the vowels of Arabic, the readings of Chinese characters) is not guessed: Arabic names have their
consonants alone, and a text with a Chinese character has no romanisation here.
"""

import re
import unicodedata

from lafn_viz.core.arguments import a_text, takes
from lafn_viz.datasets.text import nfc

# A letter each, then those that are written with several letters or with none.
_CYRILLIC = {
    **dict(zip("абвгдезийклмнопрстуфыэіўґ", "abvgdeziyklmnoprstufyeiug", strict=True)),
    "ё": "yo", "ж": "zh", "х": "kh", "ц": "ts", "ч": "ch", "ш": "sh", "щ": "shch", "ъ": "",
    "ь": "", "ю": "yu", "я": "ya", "ї": "yi", "є": "ye",
}  # fmt: skip
_GREEK = {
    **dict(zip("αβγδεζηικλμνξοπρσςτυφω", "avgdeziiklmnxoprsstyfo", strict=True)),
    "θ": "th", "χ": "ch", "ψ": "ps",
}  # fmt: skip
_ARABIC = {
    **dict(zip("ابتجحدرزسصضطظعفقكلمنهويىةأإآ", "abtjhdrzssdtzafqklmnhwyaaaia", strict=True)),
    "ث": "th", "خ": "kh", "ذ": "dh", "ش": "sh", "غ": "gh", "ء": "", "ؤ": "u", "ئ": "i",
}  # fmt: skip
_LETTERS = _CYRILLIC | _GREEK | _ARABIC | {"ー": "", "・": " ", "ı": "i", "ø": "o", "ł": "l"}
_LETTERS |= {"đ": "d", "ß": "ss", "æ": "ae", "œ": "oe", "ð": "d", "þ": "th"}
# What the names of Unicode spell in another way than Hepburn.
_KANA = {
    "si": "shi", "ti": "chi", "tu": "tsu", "hu": "fu", "zi": "ji", "di": "ji", "du": "zu",
    "sy": "sh", "ty": "ch", "zy": "j",
}  # fmt: skip
_SOUND = re.compile(r"(?:HIRAGANA|KATAKANA) LETTER (SMALL )?(\w+)")
_SYLLABLE = re.compile(r"HANGUL SYLLABLE (\w+)")
_DEVANAGARI = re.compile(r"DEVANAGARI (LETTER|VOWEL SIGN|SIGN) (?:VOCALIC |CANDRA |SHORT )?(\w+)")
_SIGNS = {"ANUSVARA": "n", "CANDRABINDU": "n", "VISARGA": "h"}


@takes(text=a_text)
def romanised(text: str) -> str | None:
    """Return a text in Latin letters; None where one of its letters has no romanisation here."""
    # NFC keeps й and kana with their marks whole; what is left of accents goes with NFKD below.
    written = _kana(_devanagari(nfc(text)))
    parts: list[str] = []
    for char in written:
        latin = _latin(char)
        if latin is None:
            return None
        parts.append(latin)
    return re.sub(" +", " ", "".join(parts)).strip()


def _latin(char: str) -> str | None:
    """One character in Latin letters, with its case."""
    if char.isascii():
        return char
    low = char.lower()
    found = _LETTERS.get(low)
    if found is None and (syllable := _SYLLABLE.match(unicodedata.name(char, ""))):
        return syllable[1].lower()
    if found is None:
        bare = "".join(
            x for x in unicodedata.normalize("NFKD", low) if not unicodedata.combining(x)
        )
        found = bare if bare.isascii() else _LETTERS.get(bare)
    if found is None and not char.isalnum():
        return "'" if char in "’ʼ‘" else "-" if unicodedata.category(char) == "Pd" else char
    return None if found is None else found if char == low else found.capitalize()


def _kana(text: str) -> str:
    """A text with its kana in Latin letters, by the names that Unicode gives them."""
    written, doubled = "", False
    for char in text:
        sound = _SOUND.match(unicodedata.name(char, ""))
        if sound is None:
            written += char
            continue
        small, name = bool(sound[1]), sound[2].lower()
        if small and name == "tu":
            doubled = True
            continue
        if small and written:  # キャ is "kya", フィ is "fi"
            kept = written[:-1]
            name = name if name[0] == "y" and kept[-1:] not in ("f", "v") else name[-1]
            written = kept + name
            written = re.sub("(sh|ch|j)y([aou])$", r"\1\2", written)
            continue
        name = _KANA.get(name, name)
        written += (name[0] if doubled else "") + name
        doubled = False
    return written.replace("ー", "")


def _devanagari(text: str) -> str:
    """A text with its Devanagari in Latin letters; a word's last short a is not spoken in Hindi."""
    written, open_syllable = "", False  # open: a consonant whose vowel is still to come
    for char in text + " ":
        match = _DEVANAGARI.match(unicodedata.name(char, ""))
        kind, name = (match[1], match[2]) if match else ("", "")
        if kind == "SIGN" and name == "NUKTA":
            continue
        if open_syllable and kind != "VOWEL SIGN" and name != "VIRAMA" and match:
            written += "a"
        open_syllable = False
        if kind == "LETTER":
            consonant = len(name) > 1 and name.endswith("A") and name != "AA"
            written += _spelled(name[:-1] if consonant else name)
            open_syllable = consonant
        elif kind == "VOWEL SIGN":
            written += _spelled(name)
        elif kind == "SIGN":
            written += _SIGNS.get(name, "")
        else:
            written += char
    return written[:-1]


def _spelled(name: str) -> str:
    """A letter's name in Unicode (TT, SS, AA) as it is usually spelled (t, sh, a)."""
    spelled = {"SS": "sh", "C": "ch", "CH": "chh", "R": "r", "NG": "n", "NY": "n"}
    return spelled.get(name, re.sub(r"(.)\1", r"\1", name).lower())
