"""Endings that inflect names, by language, and whether a word is another with such an ending."""

from collections.abc import Iterable
from functools import lru_cache

from lafn_viz.datasets.languages import code_or_tag
from lafn_viz.editing.retrieval.folding import fold_word

# Pairs of endings, (as in the cached name, as inflected), first of nouns, then of adjectives. "-"
# is no ending: where the cached name has no other, endings are added and none is taken off.
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

# Of one language: pairs of folded endings, as cached and as inflected.
Endings = tuple[tuple[frozenset[str], frozenset[str]], ...]


@lru_cache(maxsize=256)
def endings_of(language: str) -> Endings:
    """The endings of a language; those of English where a language has none here."""

    def folded(endings: str) -> frozenset[str]:
        return frozenset(fold_word(ending) for ending in endings.split())

    pairs = _ENDINGS.get(code_or_tag(language), _OTHER_ENDINGS)
    return tuple((folded(cached), folded(inflected)) for cached, inflected in pairs)


def stem_length(word: str) -> int:
    """How many first letters of a name's word no inflection changes, at least."""
    return 3 if len(word) > 4 else 2


def is_inflected(word: str, name_word: str, endings: Iterable[Endings]) -> bool:
    """Whether `word` is the word of a name with another ending of one of these languages."""
    shorter = min(len(word), len(name_word))
    shared = next((i for i in range(shorter) if word[i] != name_word[i]), shorter)
    for stem in range(shared, max(stem_length(name_word), len(name_word) - 3) - 1, -1):
        for of_language in endings:
            for cached, inflected in of_language:
                if name_word[stem:] in cached and word[stem:] in inflected:
                    return True
    return False
