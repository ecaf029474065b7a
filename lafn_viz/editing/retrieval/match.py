"""Subjects found in a text, and which of them win where several stand in one place."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from lafn_viz.core.options import require_one_of

Rule = Literal["exact", "normalised", "alias", "fuzzy"]
MATCH_RULES: tuple[Rule, ...] = get_args(Rule)


def some_rules(name: str, given: Any) -> tuple[Rule, ...]:
    """Read one rule or several; ValueError for a rule that does not exist."""
    chosen = require_one_of("rule", given, MATCH_RULES)
    return tuple(rule for rule in MATCH_RULES if rule in chosen)


@dataclass(frozen=True)
class Match:
    """A cached subject that a text names.

    `key` is the subject and `rule` the rule that found it. `span` is (start, end) in characters of
    the text, `name` the cached name found there, and `score` 1.0 for a literal name, otherwise the
    similarity in [0, 1]. `relation` is the only relation of the subject that the text asks for, or
    None where that is not known. The rule "activation" is that of `ActivationMatcher`; its score is
    a cosine.
    """

    key: str
    rule: Rule | Literal["activation"]
    span: tuple[int, int]
    name: str
    score: float
    relation: str | None = None

    def asks_for(self, key: tuple[str, str]) -> bool:
        """Whether a text with this match may ask for a fact, given by its subject and relation."""
        subject, relation = key
        return self.key == subject and self.relation in (None, relation)


@dataclass(frozen=True)
class Occurrence:
    """A place where a name may be meant; `why` it does not fire, or nothing if it does."""

    match: Match
    why: str = ""


def order(match: Match) -> tuple[int, float, int, int, str]:
    """The key to sort matches by: better rule, higher score, earlier, longer."""
    start, end = match.span
    return _rank(match), -match.score, start, start - end, match.key


def longest_win(occurrences: Iterable[Occurrence]) -> list[Occurrence]:
    """Set aside names inside a longer name of another subject, or found there by a worse rule."""
    judged: list[Occurrence] = []
    # The matches that reach furthest so far, of two subjects at most.
    furthest: list[Match] = []
    by_place = sorted(
        occurrences, key=lambda x: (x.match.span[0], -x.match.span[1], order(x.match))
    )
    for occurrence in by_place:
        match = occurrence.match
        if not occurrence.why:
            occurrence = replace(occurrence, why=_why_beaten(match, furthest))
        if not occurrence.why:
            furthest = _further(furthest, match)
        judged.append(occurrence)
    return judged


def _why_beaten(match: Match, furthest: Iterable[Match]) -> str:
    """Why a match gives way to one of another subject that covers it; empty if it does not."""
    for other in furthest:
        if other.key == match.key or other.span[1] < match.span[1]:
            continue
        if other.span != match.span:
            return f"inside a longer name, of {other.key}"
        if _rank(other) < _rank(match):
            return f"a better rule finds {other.key} there"
    return ""


def _further(furthest: Iterable[Match], match: Match) -> list[Match]:
    """The matches that reach furthest, of two subjects, with another one taken in."""
    others = [x for x in furthest if x.key != match.key or x.span[1] >= match.span[1]]
    first_by_key: dict[str, Match] = {}
    for x in sorted([*others, match], key=lambda x: (-x.span[1], x.span[0])):
        first_by_key.setdefault(x.key, x)
    return list(first_by_key.values())[:2]


def best_win(occurrences: Iterable[Occurrence]) -> list[Occurrence]:
    """Of fuzzy matches that overlap, keep those of the best subject."""
    judged: list[Occurrence] = []
    winners: list[Match] = []
    for occurrence in sorted(occurrences, key=lambda x: (bool(x.why), order(x.match))):
        match = occurrence.match
        for other in winners if not occurrence.why else ():
            if overlaps(match, other) and other.key != match.key and other.score > match.score:
                occurrence = replace(occurrence, why=f"{other.key} matches better there")
                break
        if not occurrence.why:
            winners.append(match)
        judged.append(occurrence)
    return judged


def overlaps(match: Match, other: Match) -> bool:
    """Whether two matches share a character of the text."""
    return match.span[0] < other.span[1] and other.span[0] < match.span[1]


def _rank(match: Match) -> int:
    """The place of a match's rule among the rules, best first."""
    return MATCH_RULES.index(match.rule)
