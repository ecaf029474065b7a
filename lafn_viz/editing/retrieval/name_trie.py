"""Find cached names in a text as whole words, all of them in one walk over the text.

A name is also found without its leading article or a remark in brackets ("Mercury (planet)"), with
an article that contracts (le Caire, du Caire), and behind an Arabic or Hebrew preposition that is
written as one word with it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lafn_viz.core.arguments import some_texts, wrong
from lafn_viz.core.messages import quoted
from lafn_viz.datasets.languages import code_or_tag
from lafn_viz.editing.retrieval.folding import Folded, fold, skip
from lafn_viz.editing.retrieval.fuzzy import Name

# Leading articles that may be left out, and what they become after a preposition.
_ARTICLES: dict[str, dict[str, tuple[str, ...]]] = {
    "en": {"the": ()},
    "de": {"der": ("des", "dem", "den"), "die": ("der", "den"), "das": ("des", "dem")},
    "fr": {"le": ("du", "au"), "les": ("des", "aux"), "la": (), "l": ()},
    "es": {"el": ("del", "al"), "la": (), "los": (), "las": ()},
    "it": {"il": ("del", "al", "nel", "dal"), "la": ("della", "alla", "nella"), "l": ()},
    "pt": {"o": ("do", "ao", "no"), "a": ("da", "na"), "os": ("dos",), "as": ("das",)},
}
# A name is found without its article only if this many letters are left (not "The Who").
_MIN_LENGTH = 5
# Prepositions and conjunctions that are written as one word with what follows.
_JOINED = re.compile("(?:[وف]?(?:لل|[بكل])|[وف])(?=[\u0620-\u064a]{3})|[ושהבכלמ]{1,3}(?=[א-ת]{3})")
_BRACKETS = re.compile("\\s*[(\uff08\\[][^()\uff08\uff09]*[)\uff09\\]]\\s*$")


@dataclass(frozen=True)
class Place:
    """Characters `span` of a text where a name stands; `whole` if it has all of its words there."""

    name: Name
    span: tuple[int, int]
    whole: bool


class NameTrie:
    """Names as paths of folded words; immutable once built."""

    def __init__(self, names: Sequence[Name]) -> None:
        # Word -> ... -> None -> the names that end there, each with whether it is whole.
        self._root: dict[str | None, Any] = {}
        self._wordless = [name for name in names if not name.folded.words]
        for name in names:
            for words in _variants(name) if name.folded.words else ():
                node = self._root
                for word in words:
                    node = node.setdefault(word, {})
                node.setdefault(None, []).append((name, words == name.folded.words))

    def places(self, text: str, folded: Folded) -> Iterator[Place]:
        """Every place of the text where a name stands as whole words."""
        for first, word in enumerate(folded.words):
            heads = [(0, word)]
            if joined := _JOINED.match(word):
                heads.append((joined.end(), word[joined.end() :]))
            for n_skipped, head in heads:
                for last, name, whole in self._ends(folded.words, first, head):
                    start, end = folded.starts[first], folded.ends[last]
                    if n_skipped:
                        start = skip(text, start, n_skipped)
                    yield Place(name, (start, end), whole and not n_skipped)
        for name in self._wordless:
            start = text.find(name.text)
            if start >= 0:
                yield Place(name, (start, start + len(name.text)), True)

    def _ends(
        self, words: Sequence[str], first: int, head: str
    ) -> Iterator[tuple[int, Name, bool]]:
        """Names from word `first` on, which is read as `head`: last word, name, whether whole."""
        node, last = self._root.get(head), first
        while node is not None:
            for name, whole in node.get(None, ()):
                yield last, name, whole
            last += 1
            node = node.get(words[last]) if last < len(words) else None


def read_names(names: Mapping[str, Mapping[str, str | Sequence[str]]]) -> Iterator[Name]:
    """The names of {key: {language: names}}. Raises ValueError for a blank name, or none at all."""
    if not isinstance(names, Mapping):
        raise wrong("names", names, "names by key and language, as in {'FR': {'en': 'France'}}")
    if not names:
        raise ValueError("no subject is given; a matcher needs names, as {key: {language: [name]}}")
    for key, languages in names.items():
        if not isinstance(languages, Mapping):
            raise wrong(
                f"names[{quoted(key)}]", languages, "names by language, as in {'en': 'France'}"
            )
        for language, given in languages.items():
            of_language = some_texts(f"names[{quoted(key)}][{quoted(language)}]", given)
            for number, name in enumerate(of_language):
                folded = fold(name)
                if not name.strip() or not (folded.words or name.isprintable()):
                    raise ValueError(
                        f"a name of {quoted(key)} in {quoted(language)} is blank ({quoted(name)}), "
                        "and would be found everywhere; write the name or leave the language out"
                    )
                yield Name(key, code_or_tag(language), name, number == 0, folded)
        if not any(languages.values()):
            raise ValueError(f"{quoted(key)} has no name in any language; give one or leave it out")


def _variants(name: Name) -> list[tuple[str, ...]]:
    """The words of a name, and those that are left without its article or bracket."""
    variants = [name.folded.words]
    if (bare := fold(_BRACKETS.sub("", name.text)).words) and bare != variants[0]:
        variants.append(bare)
    for first, *rest in tuple(variants):
        if first.startswith("ال") and len(first) >= _MIN_LENGTH:
            variants.append((first[2:], *rest))
        articles = _ARTICLES.get(name.language, {})
        if first in articles and rest:
            variants += [(contracted, *rest) for contracted in articles[first]]
            # Where articles contract, what follows is often another name (El Salvador).
            if len("".join(rest)) >= _MIN_LENGTH and (len(rest) > 1 or not articles[first]):
                variants.append(tuple(rest))
    return list(dict.fromkeys(variants))
