"""Languages: short codes, scripts, spacing and names, for any common form of a language tag.

1. A tag (`zh-Hans-CN`, `zh_CN`, `zho`, `cmn`, `pt-BR`) is taken apart as BCP 47 says (RFC 5646).
   Deprecated and three-letter codes become the ones in use, by CLDR's aliases.
2. Its script, where the tag does not name one, is the most likely one of its language and region
   (CLDR's likely subtags): Han for `zh`, Cyrillic for `sr`, Arabic for `pa-PK`.
3. The package's **code** is the language, with the script only where that is not the likely one:
   `zh` and `zh-Hant`, `sr` and `sr-Latn`. So two ways to write one language stay apart, and two
   tags of one way to write it agree.
4. Facts, prompts and edit cases keep **codes alone**: tags become codes where they come in. A tag
   of no known language is refused, but for those that BCP 47 leaves to private use (`qaa`,
   `x-klingon`), which stand for languages without a known script.

A locale of a system (`en_US.UTF-8`, `sr_RS@latin`) is read as a tag.

The data come from Unicode CLDR by way of `babel`, not of `langcodes` with `language_data`. Both
know the right script of every tag tried, but babel is one package in pure Python that the facts are
built with anyway, gives `cmn` and `arb` as `zh` and `ar`, does not take unknown languages for Latin
ones, and is ready in 0.15 s (0.6 s). It is imported when the first tag is looked up.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import NamedTuple, TypeVar

from lafn_viz.core.arguments import some_texts
from lafn_viz.core.messages import quoted
from lafn_viz.core.options import require_one_of

T = TypeVar("T")

UNKNOWN_SCRIPT = "Unknown"

# Language, extended languages (zh-yue, zh-min-nan: the last one counts), script, region, and the
# variants and extensions, which change none of them.
_TAG = re.compile(
    r"([a-z]{2,3})(?:-([a-z]{3})){0,3}(?:-([a-z]{4}))?(?:-([a-z]{2}|[0-9]{3}))?(?:-[a-z0-9]{1,8})*",
    re.ASCII | re.IGNORECASE,
)
# The end of a locale: an encoding, and a script or something else that is no part of a tag.
_LOCALE = re.compile(r"(.*?)(?:\.[a-z0-9-]+)?(?:@([a-z]+))?", re.ASCII | re.IGNORECASE)
_SCRIPT_OF_LOCALE = {"latin": "Latn", "cyrillic": "Cyrl", "devanagari": "Deva", "arabic": "Arab"}
_PRIVATE = re.compile(r"q[a-t][a-z]|x(-[a-z0-9]{1,8})+")
# What public sets write in place of a language's code: in MzsRE "cz" is Czech and "du" is Dutch.
_CODES_OF_SETS = {"cz": "cs", "du": "nl", "ua": "uk"}
# Scripts that put no space between words.
_UNSPACED = frozenset(
    "Hans Hant Hani Hanb Bopo Jpan Hira Kana Hrkt Thai Laoo Khmr Mymr Tibt Talu Lana Tavt".split()
)
# A style or a part of another script.
_SCRIPT_OF_STYLE = {"Aran": "Arab", "Hang": "Kore"}
# English names of scripts that differ from CLDR's.
_SCRIPT_NAMES = {"Hans": "Han", "Hant": "Han", "Beng": "Bengali"}


class _Parts(NamedTuple):
    language: str
    script: str
    likely_script: str


@cache
def _parts(tag: str) -> _Parts | None:
    """The language and script of a tag; None if it is no tag or its language is unknown."""
    from babel.core import get_global

    locale = _LOCALE.fullmatch(tag.strip())
    match = _TAG.fullmatch(locale[1].replace("_", "-")) if locale else None
    if locale is None or match is None:
        return None
    language, extended, script, region = (part or "" for part in match.groups())
    script = script or _SCRIPT_OF_LOCALE.get((locale[2] or "").lower(), "")
    language = (extended or language).lower()
    language = _CODES_OF_SETS.get(language, language)
    # An alias may hold a script, as in "sr_Latn" for "sh", or a region, as in "sr_ME" for "cnr".
    language, *more = get_global("language_aliases").get(language, language).split("_")
    script = script.title() or next((part for part in more if len(part) == 4), "")
    region = region.upper() or next((part for part in more if len(part) < 4), "")
    likely = get_global("likely_subtags")
    if language not in likely or language == "und":
        return None
    likely_script = likely[language].split("_")[1]
    if not script:
        script = likely.get(f"{language}_{region}", likely[language]).split("_")[1]
    return _Parts(
        language,
        _SCRIPT_OF_STYLE.get(script, script),
        _SCRIPT_OF_STYLE.get(likely_script, likely_script),
    )


@cache
def language_code(tag: str) -> str:
    """Return the package's short code of a language tag: "zh" for "zh-Hans-CN" or "cmn".

    Raises:
        ValueError: for what is no language tag, or a language that CLDR does not know.
    """
    if not isinstance(tag, str):
        raise ValueError(f"a language is {quoted(tag)}; give a tag of BCP 47, as in 'en'")
    parts = _parts(tag)
    if parts is None and _PRIVATE.fullmatch(private := tag.strip().lower().replace("_", "-")):
        return private
    if parts is None:
        named = _named(tag)
        example = f"{named!r} for {tag.strip()}" if named else "'en', 'pt-BR' or 'sr-Latn'"
        raise ValueError(
            f"unknown language {quoted(tag)}; give a code of ISO 639 or a tag of BCP 47, as in "
            f"{example}"
        )
    if parts.script == parts.likely_script:
        return parts.language
    return f"{parts.language}-{parts.script}"


def _named(name: str) -> str | None:
    """The code of the language with this English name; None if there is none."""
    from babel import Locale

    wanted = name.strip().casefold()
    tags = (tag for tag, known in Locale("en").languages.items() if known.casefold() == wanted)
    return next((language_code(tag) for tag in tags if _parts(tag) is not None), None)


@cache
def code_or_tag(tag: str) -> str:
    """Return the package's short code of a language tag, or the tag itself if it is unknown."""
    try:
        return language_code(tag)
    except ValueError:
        return tag


def require_languages(given: str | Iterable[str], allowed: Sequence[str]) -> tuple[str, ...]:
    """Return the codes of the given language tags, each once, if all are among the allowed codes.

    Raises:
        ValueError: for another language, listing the allowed ones.
    """
    codes = dict.fromkeys(map(code_or_tag, some_texts("languages", given)))
    for code in codes:
        if code not in allowed and (named := _named(code)) in allowed:
            raise ValueError(f"unknown language {quoted(code)}; give its code, {named!r}")
    return require_one_of("language", codes, allowed)


def by_code(by_language: Mapping[str, T]) -> dict[str, T]:
    """Return what a mapping holds of each language, with the package's codes as its keys.

    Raises:
        ValueError: for an unknown language, or for two tags of one language.
    """
    tags: dict[str, str] = {}
    for tag in by_language:
        if (first := tags.setdefault(language_code(tag), tag)) != tag:
            raise ValueError(
                f"{quoted(first)} and {quoted(tag)} are one language, {language_code(tag)!r}; "
                "keep one of them"
            )
    return {code: by_language[tag] for code, tag in tags.items()}


@cache
def script_of(tag: str) -> str:
    """Return the English name of the script that a language is written in, as in "Cyrillic".

    Simplified and traditional characters are both "Han"; the script of an unknown language is
    `UNKNOWN_SCRIPT`.
    """
    from babel import Locale

    parts = _parts(tag)
    if parts is None:
        return UNKNOWN_SCRIPT
    return _SCRIPT_NAMES.get(parts.script) or Locale("en").scripts.get(parts.script, parts.script)


def outside_latin(tag: str) -> bool:
    """Whether a language is known to be written in another script than Latin."""
    return script_of(tag) not in ("Latin", UNKNOWN_SCRIPT)


@cache
def separator_of(tag: str) -> str:
    """Return what stands between a prompt and its answer: nothing where words have no spaces."""
    parts = _parts(tag)
    return "" if parts is not None and parts.script in _UNSPACED else " "


@cache
def language_name(tag: str) -> str:
    """Return the English name of a language, or the tag itself if it is unknown."""
    from babel import Locale

    code = code_or_tag(tag)
    names = Locale("en").languages
    language = code.split("-")[0]
    if _parts(tag) is None or language not in names:
        return code
    if code == language:
        return names[language]
    return names.get(code.replace("-", "_"), f"{names[language]} ({script_of(tag)})")
