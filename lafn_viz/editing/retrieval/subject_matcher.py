"""Which cached subjects a text names, by which rule, where and how surely.

1. **exact**: a name of the text's language stands there letter by letter, as whole words (the
   paper's retrieval, but "Niger" is not in "Nigeria").
2. **normalised**: the same once both are folded (see `folding`): case, accents, hyphens,
   widths. A leading article may contract or fall (le Caire, du Caire), so may a remark in brackets,
   "Mercury (planet)"; Arabic and Hebrew prepositions may be joined to the name.
3. **alias**: a name of another language, or a further name: a Thai question often has the English
   one.
4. **fuzzy**: a name that is inflected as its language does (в Японии, Deutschlands), spelled in
   another way, or quoted in part. It takes most of the name's weight; rare words weigh more than
   common ones (inverse document frequency over the cached names), capitals more than small letters,
   short words less, and numbers must be the same. A name in a script without spaces is compared
   with windows of the text.

One walk over a trie of all names finds 1 to 3, so that 10,000 names cost little more than one.
Rule 4 looks only at names whose rarest words look like a word of the text.

What fires is held in check by the others: a name inside a longer name of another subject does not
fire ("Guinea" in "Guinea-Bissau"), nor does a fuzzy one where another subject matches better.
A one-word name in small letters does not fire where the text uses capitals ("turkey").
What stays: a subject cannot give way to a longer name that is not cached.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from rapidfuzz import fuzz

from lafn_viz.core.messages import quoted
from lafn_viz.editing.retrieval.folding import Folded, fold, has_case, skip
from lafn_viz.editing.retrieval.fuzzy import (
    FUZZY_REACH,
    Candidate,
    FuzzyIndex,
    Name,
    uses_capitals,
    written_small,
)

if TYPE_CHECKING:
    import pandas as pd

Rule = Literal["exact", "normalised", "alias", "fuzzy"]
MATCH_RULES: tuple[Rule, ...] = get_args(Rule)

# Leading articles that may fall, and what they may become after a preposition.
_ARTICLES: dict[str, dict[str, tuple[str, ...]]] = {
    "en": {"the": ()},
    "de": {"der": ("des", "dem", "den"), "die": ("der", "den"), "das": ("des", "dem")},
    "fr": {"le": ("du", "au"), "les": ("des", "aux"), "la": (), "l": ()},
    "es": {"el": ("del", "al"), "la": (), "los": (), "las": ()},
    "it": {"il": ("del", "al", "nel", "dal"), "la": ("della", "alla", "nella"), "l": ()},
    "pt": {"o": ("do", "ao", "no"), "a": ("da", "na"), "os": ("dos",), "as": ("das",)},
}
# A name without its article fires only when this much of it is left (not "The Who").
_LEFT = 5
# One shorter word needs its accents and signs: "Sắt" is not "sat", nor "C++" the letter C.
_SHORT = 4
# Prepositions and conjunctions that are written as one word with what follows.
_JOINED = re.compile("(?:[وف]?(?:لل|[بكل])|[وف])(?=[\u0620-\u064a]{3})|[ושהבכלמ]{1,3}(?=[א-ת]{3})")
_BRACKETS = re.compile("\\s*[(\uff08\\[][^()\uff08\uff09]*[)\uff09\\]]\\s*$")


@dataclass(frozen=True)
class Match:
    """A cached subject that a text names.

    `span`: (start, end) in characters of the text; `name`: the cached name found there; `score`:
    1.0 for a literal name, else the similarity in [0, 1]. `relation`: the only one of the subject
    that the text asks for; None where that is not known. The rule "activation" is that of
    `ActivationMatcher`, with a cosine as its score.
    """

    key: str
    rule: Rule | Literal["activation"]
    span: tuple[int, int]
    name: str
    score: float
    relation: str | None = None


@dataclass(frozen=True)
class _Occurrence:
    match: Match
    why: str = ""


class SubjectMatcher:
    """Finds cached subjects in texts; immutable once built.

    Args:
        names: key -> language -> the names, the first one as prompts in that language write it,
            further ones as aliases. A single name may be given as a text.
        rules: which rules may fire; see the module.
        min_score: lowest score of a fuzzy match of several words, in [0, 1].
        language: of the texts, when `find` is not told; None takes names of all languages as
            exact.

    Raises:
        ValueError: no names at all, a blank name, an unknown rule, a score outside [0, 1].
    """

    def __init__(
        self,
        names: Mapping[str, Mapping[str, str | Sequence[str]]],
        *,
        rules: Sequence[Rule] = MATCH_RULES,
        min_score: float = 0.7,
        language: str | None = None,
    ) -> None:
        for rule in (rules,) if isinstance(rules, str) else rules:
            if rule not in MATCH_RULES:
                raise ValueError(f"unknown rule {rule!r}; there are {', '.join(MATCH_RULES)}")
        if not 0 <= min_score <= 1:
            raise ValueError(f"min_score is {min_score}; give a similarity from 0 to 1")
        self.rules = tuple(rule for rule in MATCH_RULES if rule in rules)
        self.min_score = min_score
        self.language = language
        self._names = tuple(_read(names))
        self._trie, self._wordless = _trie(self._names)
        self._fuzzy = FuzzyIndex(self._names)

    def __repr__(self) -> str:
        keys = {name.key for name in self._names}
        return f"SubjectMatcher({len(keys)} subjects, {len(self._names)} names, rules={self.rules})"

    def find(self, text: str, *, language: str | None = None) -> list[Match]:
        """At most one match a subject, best rule first, then in the order of the text.

        `language` is that of the text: only its names are exact or normalised, others are aliases.
        """
        fired = [found.match for found in self._all(text, language) if not found.why]
        best: dict[str, Match] = {}
        for match in sorted(fired, key=_order):
            best.setdefault(match.key, match)
        return list(best.values())

    def explain(self, text: str, *, language: str | None = None) -> "pd.DataFrame":
        """The best candidate of every rule and subject, fired or not, and why not.

        Columns: key, rule, name, start, end, text (what stands there), score, fired, why.
        """
        import pandas as pd

        best: dict[tuple[str, str], _Occurrence] = {}
        everything = self._all(text, language)
        for found in sorted(everything, key=lambda x: (bool(x.why), -x.match.score, x.match.span)):
            best.setdefault((found.match.key, found.match.rule), found)
        rows = [
            {
                "key": found.match.key,
                "rule": found.match.rule,
                "name": found.match.name,
                "start": found.match.span[0],
                "end": found.match.span[1],
                "text": text[slice(*found.match.span)],
                "score": found.match.score,
                "fired": not found.why,
                "why": found.why,
            }
            for found in sorted(best.values(), key=lambda x: _order(x.match))
        ]
        columns = ["key", "rule", "name", "start", "end", "text", "score", "fired", "why"]
        return pd.DataFrame(rows, columns=columns)

    def _all(self, text: str, language: str | None) -> list[_Occurrence]:
        language = self.language if language is None else language
        folded = fold(text)
        literal = _longest([*self._literal(text, folded, language)])
        if "fuzzy" not in self.rules:
            return literal
        taken = [found.match for found in literal if not found.why]
        named = {match.key for match in taken}
        refused = {(found.match.key, found.match.span) for found in literal if found.why}
        taken = [match for match in taken if match.span[1] > len(text) - FUZZY_REACH]
        fuzzy = [
            self._judged(candidate, taken)
            for candidate in self._fuzzy.candidates(text, folded)
            if candidate.name.key not in named
            and (candidate.name.key, candidate.span) not in refused
        ]
        return literal + _best_of_a_place(fuzzy)

    def _literal(self, text: str, folded: Folded, language: str | None) -> Iterator[_Occurrence]:
        """Every place where a name stands as whole words, by the best rule for it."""
        capitals = uses_capitals(text)
        for first, word in enumerate(folded.words):
            heads = [(0, word)]
            if joined := _JOINED.match(word):
                heads.append((joined.end(), word[joined.end() :]))
            for dropped, head in heads:
                node = self._trie.get(head)
                last = first
                while node is not None:
                    for name, whole in node.get(None, ()):
                        span = (folded.starts[first], folded.ends[last])
                        if dropped:
                            span = (skip(text, span[0], dropped), span[1])
                        if found := self._ruled(
                            text, name, span, whole and not dropped, language, capitals
                        ):
                            yield found
                    last += 1
                    node = node.get(folded.words[last]) if last < len(folded.words) else None
        for name in self._wordless:
            start = text.find(name.text)
            if start >= 0:
                span = (start, start + len(name.text))
                if found := self._ruled(text, name, span, True, language, capitals):
                    yield found

    def _ruled(
        self,
        text: str,
        name: Name,
        span: tuple[int, int],
        whole: bool,
        language: str | None,
        capitals: bool,
    ) -> _Occurrence | None:
        """What a name that stands at `span` counts as; None where no rule may take it."""
        lead = name.folded.starts[0] if name.folded.words else 0
        start = span[0] - lead
        end = start + len(name.text)
        # Marks that follow the name's last letter would make it another letter.
        literal = whole and start >= 0 and end >= span[1] and text.startswith(name.text, start)
        own = name.first and (language is None or name.language == language)
        for rule in self.rules:
            if (
                rule == "fuzzy"
                or (rule != "alias" and not own)
                or (rule == "exact" and not literal)
            ):
                continue
            span = (start, end) if literal else span
            there = text[slice(*span)]
            if literal:
                return _Occurrence(Match(name.key, rule, span, name.text, 1.0))
            score = fuzz.ratio("".join(name.folded.words), "".join(fold(there).words)) / 100
            one_word = len(name.folded.words) == 1
            small = one_word and written_small(name.text, there, capitals)
            why = "one word written small, in a text with capitals" if small else ""
            short = one_word and has_case(name.text) and len(name.folded.words[0]) < _SHORT
            if short and _plain(there) != _plain(name.text):
                why = "too short to do without its accents and signs"
            return _Occurrence(Match(name.key, rule, span, name.text, score), why)
        return None

    def _judged(self, candidate: Candidate, taken: list[Match]) -> _Occurrence:
        name, (start, end) = candidate.name, candidate.span
        match = Match(name.key, "fuzzy", candidate.span, name.text, candidate.score)
        needed = max(candidate.needed, self.min_score)
        why = candidate.why
        if match.score < needed:
            why = why or f"a score below {needed:.2f}"
        for other in taken:
            if start < other.span[1] and other.span[0] < end:
                why = why or f"{other.key} stands there literally"
        return _Occurrence(match, why)


def _read(names: Mapping[str, Mapping[str, str | Sequence[str]]]) -> Iterator[Name]:
    if not names:
        raise ValueError("no subject is given; a matcher needs names, as {key: {language: [name]}}")
    for key, languages in names.items():
        for language, listed in languages.items():
            for place, name in enumerate([listed] if isinstance(listed, str) else listed):
                folded = fold(name)
                if not name.strip() or not (folded.words or name.isprintable()):
                    raise ValueError(
                        f"a name of {quoted(key)} in {quoted(language)} is blank ({quoted(name)}), "
                        "and would be found everywhere; write the name or leave the language out"
                    )
                yield Name(key, language, name, place == 0, folded)
        if not any(languages.values()):
            raise ValueError(f"{quoted(key)} has no name in any language; give one or leave it out")


def _trie(names: Sequence[Name]) -> tuple[dict[str | None, Any], list[Name]]:
    """Word -> ... -> None -> the (name, whole) that end there; and names that have no word."""
    trie: dict[str | None, Any] = {}
    wordless = []
    for name in names:
        if not name.folded.words:
            wordless.append(name)
            continue
        for words in _variants(name):
            node = trie
            for word in words:
                node = node.setdefault(word, {})
            node.setdefault(None, []).append((name, words == name.folded.words))
    return trie, wordless


def _variants(name: Name) -> list[tuple[str, ...]]:
    """The words of a name, and of what is left of it without article or bracket."""
    variants = [name.folded.words]
    if (bare := fold(_BRACKETS.sub("", name.text)).words) and bare != variants[0]:
        variants.append(bare)
    for first, *rest in tuple(variants):
        if first.startswith("ال") and len(first) >= _LEFT:
            variants.append((first[2:], *rest))
        articles = _ARTICLES.get(name.language, {})
        if first in articles and rest:
            variants += [(contracted, *rest) for contracted in articles[first]]
            # Where articles contract, what follows is often a name of its own (El Salvador).
            if len("".join(rest)) >= _LEFT and (len(rest) > 1 or not articles[first]):
                variants.append(tuple(rest))
    return list(dict.fromkeys(variants))


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def _order(match: Match) -> tuple[int, float, int, int, str]:
    start, end = match.span
    return MATCH_RULES.index(match.rule), -match.score, start, start - end, match.key


def _longest(found: list[_Occurrence]) -> list[_Occurrence]:
    """Sets aside what lies in a longer name of another subject, or by a worse rule in its place."""
    ordered = sorted(found, key=lambda x: (x.match.span[0], -x.match.span[1], _order(x.match)))
    judged: list[_Occurrence] = []
    # The names that reach furthest so far, of two subjects: (end, start, key, rule).
    far: list[tuple[int, int, str, int]] = []
    for one in ordered:
        start, end = one.match.span
        rule = MATCH_RULES.index(one.match.rule)
        if not one.why:
            for other_end, other_start, key, other_rule in far:
                if key == one.match.key or other_end < end:
                    continue
                if (other_start, other_end) != (start, end):
                    one = _Occurrence(one.match, f"inside a longer name, of {key}")
                elif other_rule < rule:
                    one = _Occurrence(one.match, f"a better rule finds {key} there")
                if one.why:
                    break
        if not one.why:
            far = [x for x in far if x[2] != one.match.key or x[0] >= end]
            far = sorted([*far, (end, start, one.match.key, rule)], key=lambda x: (-x[0], x[1]))
            kept: dict[str, tuple[int, int, str, int]] = {}
            for x in far:
                kept.setdefault(x[2], x)
            far = list(kept.values())[:2]
        judged.append(one)
    return judged


def _best_of_a_place(found: list[_Occurrence]) -> list[_Occurrence]:
    """Of fuzzy matches that overlap, the best subject's stays."""
    judged: list[_Occurrence] = []
    winners: list[Match] = []
    for one in sorted(found, key=lambda x: (bool(x.why), _order(x.match))):
        start, end = one.match.span
        for other in winners if not one.why else ():
            overlap = start < other.span[1] and other.span[0] < end
            if overlap and other.key != one.match.key and other.score > one.match.score:
                one = _Occurrence(one.match, f"{other.key} matches better there")
                break
        if not one.why:
            winners.append(one.match)
        judged.append(one)
    return judged
