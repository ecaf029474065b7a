"""Languages: codes, names, scripts, and whether they put spaces between words."""

# Generation without spaces: an answer follows its prompt directly.
UNSPACED_LANGUAGES = frozenset({"zh", "ja", "th", "lo", "km", "my", "bo", "yue"})


# The script a language is written in; one that is not here counts as Latin.
SCRIPTS = {
    "ru": "Cyrillic",
    "uk": "Cyrillic",
    "bg": "Cyrillic",
    "be": "Cyrillic",
    "zh": "Han",
    "ja": "Japanese",
    "ko": "Korean",
    "ar": "Arabic",
    "fa": "Arabic",
    "ur": "Arabic",
    "he": "Hebrew",
    "hi": "Devanagari",
    "bn": "Bengali",
    "ta": "Tamil",
    "th": "Thai",
    "el": "Greek",
    "hy": "Armenian",
    "ka": "Georgian",
}


# Codes of the sets that are not those of ISO 639-1. In MzsRE "du" is Dutch, beside German as "de".
LANGUAGE_CODES = {"cz": "cs", "du": "nl", "zh-cn": "zh", "zh-hans": "zh", "zh_cn": "zh"}


def language_code(code: str) -> str:
    """The usual code of a language that a set writes in its own way."""
    return LANGUAGE_CODES.get(code.lower(), code)


def separator_of(language: str) -> str:
    """What stands between a prompt and its answer."""
    return "" if language.split("-")[0] in UNSPACED_LANGUAGES else " "


LANGUAGE_NAMES = {
    "en": "English", "fr": "French", "de": "German", "es": "Spanish", "it": "Italian",
    "pt": "Portuguese", "ru": "Russian", "zh": "Chinese", "ja": "Japanese", "ar": "Arabic",
    "hi": "Hindi", "tr": "Turkish",
}  # fmt: skip


def language_name(code: str) -> str:
    """A language in English, or its code where that is not known."""
    return LANGUAGE_NAMES.get(code, code)
