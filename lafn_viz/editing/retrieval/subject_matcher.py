"""Find which cached subjects a text names: by which rule, where, and how surely.

1. **exact**: a name in the text's language stands there letter by letter, in any normal form, as
   whole words (the paper's retrieval, but "Niger" is not in "Nigeria").
2. **normalised**: the same once both are folded (see `folding`): case, accents, hyphens, widths. A
   leading article may contract or be left out (le Caire, du Caire), and so may a remark in
   brackets, "Mercury (planet)"; Arabic and Hebrew prepositions may be joined to the name.
3. **alias**: a name in another language, or a further name: a Thai question often has the English
   one.
4. **fuzzy**: a name that is inflected as in its language (в Японии, Deutschlands), spelled in
   another way, or quoted in part (see `fuzzy`).

One walk over a trie of all names finds rules 1 to 3, so that 10,000 names cost little more than one
(see `name_trie`). Rule 4 looks only at names whose heaviest words resemble a word of the text.

Subjects compete: a name inside a longer name of another subject does not fire ("Guinea" in
"Guinea-Bissau"), nor does a fuzzy one where another subject matches better. A one-word name in
small letters does not fire where the text uses capitals ("turkey"). Names inside longer ones that
are not cached ("South Sudan"), and titles of ordinary words, are told by tables of words (see
`longer_names`). A limit: a subject cannot give way to any other longer name that is not cached.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rapidfuzz import fuzz

from lafn_viz.core.arguments import a_text, or_none, real, takes
from lafn_viz.datasets.languages import code_or_tag
from lafn_viz.datasets.names import uses_capitals, written_small
from lafn_viz.datasets.text import letters_of, nfc
from lafn_viz.editing.retrieval.folding import Folded, fold, has_case
from lafn_viz.editing.retrieval.fuzzy import (
    FUZZY_REACH,
    Candidate,
    FuzzyIndex,
    Name,
)
from lafn_viz.editing.retrieval.longer_names import why_no_name
from lafn_viz.editing.retrieval.match import (
    MATCH_RULES,
    Match,
    Occurrence,
    Rule,
    best_win,
    longest_win,
    order,
    overlaps,
    some_rules,
)
from lafn_viz.editing.retrieval.name_trie import NameTrie, Place, read_names

if TYPE_CHECKING:
    import pandas as pd

# A name of one shorter word needs its accents and signs ("Sắt" is not "sat", nor "C++" a C).
_MIN_BARE_LENGTH = 4


class SubjectMatcher:
    """Finds cached subjects in texts; immutable once built.

    Args:
        names: key -> language -> names. The first name is the one that prompts in this language
            use, further ones are aliases. A single name may be given as a text.
        rules: which rules may fire; see the module.
        min_score: the lowest score of a fuzzy match of several words, in [0, 1].
        language: of the texts, unless `find` is given one. With None, names in all languages can
            match exactly.

    Raises:
        ValueError: for no names at all, a blank name, an unknown rule, or a score outside [0, 1].
    """

    @takes(rules=some_rules, min_score=real(least=0, most=1), language=or_none(a_text))
    def __init__(
        self,
        names: Mapping[str, Mapping[str, str | Sequence[str]]],
        *,
        rules: Rule | Sequence[Rule] = MATCH_RULES,
        min_score: float = 0.7,
        language: str | None = None,
    ) -> None:
        self.rules: tuple[Rule, ...] = tuple(rules)  # type: ignore[arg-type]
        self.min_score = min_score
        self.language = None if language is None else code_or_tag(language)
        self._names = tuple(read_names(names))
        self._trie = NameTrie(self._names)
        self._fuzzy = FuzzyIndex(self._names)

    def __repr__(self) -> str:
        keys = {name.key for name in self._names}
        return f"SubjectMatcher({len(keys)} subjects, {len(self._names)} names, rules={self.rules})"

    @takes(text=a_text, language=or_none(a_text))
    def find(self, text: str, *, language: str | None = None) -> list[Match]:
        """At most one match for each subject, best rule first, then in the order of the text.

        Args:
            language: of the text. Only names in this language are exact or normalised; all others
                are aliases.
        """
        fired = [x.match for x in self._occurrences(text, language) if not x.why]
        best: dict[str, Match] = {}
        for match in sorted(fired, key=order):
            best.setdefault(match.key, match)
        return list(best.values())

    @takes(text=a_text, language=or_none(a_text))
    def explain(self, text: str, *, language: str | None = None) -> "pd.DataFrame":
        """The best candidate of every rule and subject, whether it fires, and why not.

        Columns: key, rule, name, start, end, text (what stands there), score, fired, why.
        """
        import pandas as pd

        occurrences = self._occurrences(text, language)
        best: dict[tuple[str, str], Occurrence] = {}
        for x in sorted(occurrences, key=lambda x: (bool(x.why), -x.match.score, x.match.span)):
            best.setdefault((x.match.key, x.match.rule), x)
        rows = [
            {
                "key": x.match.key,
                "rule": x.match.rule,
                "name": x.match.name,
                "start": x.match.span[0],
                "end": x.match.span[1],
                "text": text[slice(*x.match.span)],
                "score": x.match.score,
                "fired": not x.why,
                "why": x.why,
            }
            for x in sorted(best.values(), key=lambda x: order(x.match))
        ]
        columns = ["key", "rule", "name", "start", "end", "text", "score", "fired", "why"]
        return pd.DataFrame(rows, columns=columns)

    def _occurrences(self, text: str, language: str | None) -> list[Occurrence]:
        """Every place where a name may be meant."""
        language = self.language if language is None else code_or_tag(language)
        folded, capitals = fold(text), uses_capitals(text)
        literal = longest_win(
            occurrence
            for place in self._trie.places(text, folded)
            if (occurrence := self._literal(text, place, language, capitals)) is not None
        )
        if "fuzzy" not in self.rules:
            return literal
        return literal + self._fuzzy_occurrences(text, folded, language, literal)

    def _literal(
        self, text: str, place: Place, language: str | None, capitals: bool
    ) -> Occurrence | None:
        """What a name that stands in a place counts as; None where no rule applies to it."""
        name, span = place.name, _literal_span(text, place)
        languages = {name.language, language or name.language}
        in_language = name.first and (language is None or name.language == language)
        allowed: dict[Rule, bool] = {
            "exact": in_language and span is not None, "normalised": in_language, "alias": True,
        }  # fmt: skip
        rule = next((rule for rule in self.rules if allowed.get(rule)), None)
        if rule is None:
            return None
        if span is not None:
            why = why_no_name(text, span, name.text, languages)
            return Occurrence(Match(name.key, rule, span, name.text, 1.0), why)
        span = _span_with_signs(text, place)
        written = text[slice(*span)]
        score = fuzz.ratio("".join(name.folded.words), "".join(fold(written).words)) / 100
        match = Match(name.key, rule, span, name.text, score)
        why = _why_not_one_word(name, written, capitals)
        return Occurrence(match, why or why_no_name(text, span, name.text, languages))

    def _fuzzy_occurrences(
        self, text: str, folded: Folded, language: str | None, literal: Sequence[Occurrence]
    ) -> list[Occurrence]:
        """Places that resemble the name of a subject that is not found literally."""
        fired = [x.match for x in literal if not x.why]
        keys = {match.key for match in fired}
        refused = {(x.match.key, x.match.span) for x in literal if x.why}
        within_reach = [match for match in fired if match.span[1] > len(text) - FUZZY_REACH]
        return best_win(
            self._fuzzy_occurrence(text, candidate, language, within_reach)
            for candidate in self._fuzzy.candidates(text, folded)
            if candidate.name.key not in keys
            and (candidate.name.key, candidate.span) not in refused
        )

    def _fuzzy_occurrence(
        self, text: str, candidate: Candidate, language: str | None, literal: Sequence[Match]
    ) -> Occurrence:
        """A candidate as an occurrence; it does not fire where a literal match stands."""
        match = Match(
            candidate.name.key, "fuzzy", candidate.span, candidate.name.text, candidate.score
        )
        needed = max(candidate.needed, self.min_score)
        why = candidate.why
        if match.score < needed:
            why = why or f"a score below {needed:.2f}"
        for other in literal:
            if overlaps(match, other):
                why = why or f"{other.key} stands there literally"
        name = candidate.name
        languages = {name.language, language or name.language}
        return Occurrence(match, why or why_no_name(text, match.span, name.text, languages))


def _literal_span(text: str, place: Place) -> tuple[int, int] | None:
    """Where the name stands letter by letter, signs at its ends included; None if it does not."""
    name = place.name
    start = place.span[0] - (name.folded.starts[0] if name.folded.words else 0)
    end = start + len(name.text)
    # Marks that follow the name's last letter would make it another letter.
    covered = place.whole and start >= 0 and end >= place.span[1]
    if covered and text.startswith(name.text, start):
        return start, end
    # The same letters may be encoded otherwise (NFD).
    same = place.whole and nfc(text[slice(*place.span)]) == nfc(name.text)
    return place.span if same else None


def _span_with_signs(text: str, place: Place) -> tuple[int, int]:
    """Where a name stands in another case, with the signs at its ends if they are there (c++)."""
    name = place.name
    start = place.span[0] - (name.folded.starts[0] if name.folded.words else 0)
    end = start + len(name.text)
    if start < 0 or end <= place.span[1] or not place.whole:
        return place.span
    letters = letters_of(text[start:end], name.language)
    return (start, end) if letters == letters_of(name.text, name.language) else place.span


def _why_not_one_word(name: Name, written: str, capitals: bool) -> str:
    """Why a name of one word does not fire that is written otherwise; empty if it does."""
    if len(name.folded.words) != 1:
        return ""
    short = has_case(name.text) and len(name.folded.words[0]) < _MIN_BARE_LENGTH
    if short and letters_of(written, name.language) != letters_of(name.text, name.language):
        return "too short to do without its accents and signs"
    if written_small(name.text, written, capitals):
        return "one word written small, in a text with capitals"
    return ""
