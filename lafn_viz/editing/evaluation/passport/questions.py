"""A question of a passport with its answers, a text with its damage, and where edits act in them.

An answer counts as an object if it begins with its name (`metrics.starts_with`), since many models
go on writing. Where nothing should change, it has to be what the model wrote before the edit.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from lafn_viz.editing.evaluation.metrics import exact_match, starts_with

Kind = Literal[
    "edited wording", "held-out wording", "what follows", "other relation", "other subject",
    "name in another language", "name in Latin letters", "examples first", "long context",
    "reversed",
]  # fmt: skip
KINDS: tuple[Kind, ...] = get_args(Kind)
CHANGE, STAY, WAYS_ROUND = KINDS[:3], KINDS[3:5], KINDS[5:]
Outcome = Literal["new", "old", "same", "other"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
About = Literal["neutral texts", "texts about the subject"]
ABOUT: tuple[About, ...] = get_args(About)
EVERYWHERE = "all"  # in place of a language


def begins_with(written: str, names: Iterable[str], language: str) -> bool:
    """Whether a text begins with one of these names, as whole words."""
    return any(starts_with(written, name, language) == 1 for name in names)


@dataclass(frozen=True)
class Firing:
    """Where an edit found a subject in a text: `span` is (start, end) in characters.

    The text is the question with its context, as the model's tokens give it back; `written` is what
    stands there, `name` the name of the subject that was meant, `rule` and `score` say how it was
    found (see `SubjectMatcher`).
    """

    subject: str
    rule: str
    name: str
    written: str
    span: tuple[int, int]
    score: float


@dataclass(frozen=True)
class PassportQuestion:
    """One question, with what the model writes before the edits and after each of them.

    `control`: it asks about an unedited neighbour. `variant` says which form it has: the language
    of the name, or the name in Latin letters. `context` stands before `text`. `old` are the names
    of the right answer without the edit, `new` those of the edit's object. `fires` says by edit
    where it found its subject; edits that act on every text are not in it.
    """

    kind: Kind
    control: bool
    language: str
    variant: str
    fact_id: str
    context: str
    text: str
    old: tuple[str, ...]
    new: tuple[str, ...]
    before: str
    after: Mapping[str, str]
    fires: Mapping[str, tuple[Firing, ...]]

    @property
    def stays(self) -> bool:
        """Whether the answer should be the same as before the edit."""
        return self.control or self.kind in STAY

    @property
    def right_before(self) -> bool:
        """Whether the model gives the right answer before the edit."""
        return begins_with(self.before, self.old, self.language)

    def outcome(self, edit: str) -> Outcome:
        """What comes after an edit; "same" only where the answer should stay."""
        written = self.after[edit]
        if self.stays and exact_match(written, self.before, self.language) == 1:
            return "same"
        named: list[tuple[Outcome, str]] = [("new", name) for name in self.new]
        named += [] if self.stays else [("old", name) for name in self.old]
        begun = [x for x in named if begins_with(written, x[1:], self.language)]
        # "New York City" begins with "New York", which is not meant then.
        return max(begun, key=lambda x: len(x[1]))[0] if begun else "other"

    def went_well(self, edit: str) -> bool:
        """Whether the answer is as it should be: the new one, the same, or no longer the old."""
        outcome = self.outcome(edit)
        return (
            outcome != "old"
            if self.kind == "reversed" and not self.control
            else outcome in ("same" if self.stays else "new",)
        )


@dataclass(frozen=True)
class DamageText:
    """How far edits change what a model expects to read in one text.

    `divergence` is the Kullback-Leibler divergence of the next token's distribution from that
    before the edit, KL(before, after), as the mean over the tokens (nats per token); `changed` is
    the share of tokens after which another token is the likeliest. `item` is the fact that the text
    tells.
    """

    about: About
    language: str
    item: str
    text: str
    tokens: int
    divergence: Mapping[str, float]
    changed: Mapping[str, float]
    fires: Mapping[str, tuple[Firing, ...]]
