"""Checks of unit 5, judging an edit: its scores, and which texts speak of its subject."""

import random
from collections.abc import Callable, Iterable
from typing import Any

from lafn_viz.course.grading import TOLERANCE, UNFILLED, Wrong, check, number, recognise, run
from lafn_viz.editing.retrieval.subject_matcher import SubjectMatcher

Row = dict[str, Any]


@check
def check_edit_scores(answer: Callable) -> str:
    """`answer(rows)`: reliability, generality and locality of a table of answers."""
    rng = random.Random(97)  # with this seed all measures, and all mistakes, give other numbers
    right: dict[str, float] = {}
    for size in (24, 60):
        rows = _answers(rng, size)
        got = run(answer, rows)
        right = _scores(rows)
        if not isinstance(got, dict) or set(got) != set(right):
            raise Wrong(f"Return a dict of {', '.join(right)}; leave the last line as it is.")
        general, local = number(got["generality"]), number(got["locality"])
        if max(abs(general - right["locality"]), abs(local - right["generality"])) < TOLERANCE:
            raise Wrong("You have swapped generality and locality.")
        for name, value in right.items():
            given = number(got[name])
            if abs(given - value) < TOLERANCE:
                continue
            recognise(given, _slips(name, rows))
            raise Wrong(f"For a table of {size} rows {name} is {value:.3f}; yours is {given:.3f}.")
    scores = ", ".join(f"{name} {value:.2f}" for name, value in right.items())
    return f"The last table of this check has {scores}: three questions, three answers."


def _answers(rng: random.Random, size: int) -> list[Row]:
    """A table of made-up answers, with some of every kind."""
    rows = []
    for i in range(size):
        kind = ("optimised", "new wording", "other question")[i % 3]
        fact, optimised = kind != "other question", kind == "optimised"
        before = rng.choice(["Tokyo", "Tokyo", "Rome"] if fact else ["Lima", "Cairo", "Oslo"])
        # After an edit: the new object, the old one, or something else.
        hits = {"optimised": 0.95, "new wording": 0.7, "other question": 0.8}[kind]
        other = rng.choice(["Paris", "Berlin"] if fact else ["Rome", "Paris"])
        after = ("Rome" if fact else before) if rng.random() < hits else other
        rows.append(
            {"fact": fact, "optimised": optimised, "before": before, "after": after, "new": "Rome"}
        )
    rng.shuffle(rows)
    return rows


def _share(passed: Iterable[bool]) -> float:
    listed = list(passed)
    return sum(listed) / len(listed)


def _scores(rows: list[Row]) -> dict[str, float]:
    fact, rest = [r for r in rows if r["fact"]], [r for r in rows if not r["fact"]]
    return {
        "reliability": _share(r["after"] == r["new"] for r in fact if r["optimised"]),
        "generality": _share(r["after"] == r["new"] for r in fact if not r["optimised"]),
        "locality": _share(r["after"] == r["before"] for r in rest),
    }


def _slips(name: str, rows: list[Row]) -> dict[float, str]:
    fact, rest = [r for r in rows if r["fact"]], [r for r in rows if not r["fact"]]
    if name == "locality":
        return {
            _share(r["after"] == r["new"] for r in rest): (
                "You compare locality with the new object. The answer to another question should "
                "not change at all: compare it with the answer before."
            ),
            _share(r["after"] != r["new"] for r in rest): (
                "Your locality only asks that the new object does not appear. A third answer would "
                "be damage, too: compare with the answer before."
            ),
            _share(r["after"] == r["before"] for r in rows): (
                "Your locality also counts the edited fact, which is meant to change."
            ),
        }
    return {
        _share(r["after"] == r["new"] for r in fact): (
            f"Your {name} counts all wordings of the fact. The optimised ones measure reliability, "
            "the others generality: the optimiser has seen only the first."
        ),
        _share(r["after"] == r["new"] for r in fact if r["optimised"] == (name != "reliability")): (
            "You swap reliability and generality, or count both alike. Generality is about the "
            "wordings that were not optimised."
        ),
        _share(r["after"] == r["new"] for r in rows if not r["optimised"]): (
            f"Your {name} also counts other questions. Use only the rows that ask for the fact."
        ),
        _share(r["after"] != r["before"] for r in fact if not r["optimised"]): (
            "It is not enough that the answer changed: it has to be the new object."
        ),
    }


# A text, a name in it, and names that are not in it or only as a part of a word.
TEXTS = (
    ("The capital of Niger is", "Niger", ()),
    ("Peru, a country in South America, has the capital", "Peru", ()),
    ("The capital of Costa Rica is", "Costa Rica", ("Puerto Rico",)),
    ("Столица Перу —", "Перу", ()),
    ("the capital of niger is", "Niger", ()),
    ("WHAT IS SPOKEN IN COSTA RICA?", "Costa Rica", ()),
    ("The capital of Nigeria is", "Nigeria", ("Niger",)),
    ("The capital of Romania is", "Romania", ("Oman",)),
    ("Somalia's capital is", "Somalia", ("Mali",)),
    ("Перуанская кухня", "кухня", ("Перу",)),
    ("What is spoken in Costa Mesa?", "Costa Mesa", ("Costa Rica",)),
    ("Somali is spoken in Somalia", "Somalia", ("Mali",)),
    ("A Roman in Italy", "Italy", ("Oman",)),
    ("Rica lives on the Costa Brava", "Rica", ("Costa Rica",)),
)


@check
def check_speaks_of(answer: Callable) -> str:
    """`answer(text, name)`: whether a text has a name in it, as whole words, in any case."""
    pairs = [(text, name) for text, name, _ in TEXTS]
    pairs += [(text, name) for text, _, absent in TEXTS for name in absent]
    for text, name in pairs:
        finds = _finds(answer, text, name)
        # The reference: what the library's rules 1 and 2 find, which need spaces between words.
        matcher = SubjectMatcher({"it": {"en": name}}, rules=("exact", "normalised"))
        right = bool(matcher.find(text))
        if finds == right:
            continue
        if finds and name in text:
            raise Wrong(f"You find {name!r} in {text!r}, inside a longer word.")
        if finds and name.casefold() in text.casefold():
            raise Wrong(
                f"You find {name!r} in {text!r}, inside a longer word once the case is folded."
            )
        if finds:
            raise Wrong(f"You find {name!r} in {text!r}, which does not contain it.")
        if name not in text:
            raise Wrong(f"You do not find {name!r} in {text!r}: fold the case of both.")
        raise Wrong(
            f"You do not find {name!r} in {text!r}. Words also end at commas and apostrophes, and "
            "a name can have several words. (In a pattern without `r` before its quotes, `\\b` is "
            "a backspace.)"
        )
    text, name = "日本的首都是", "日本"
    verb = "finds" if _finds(answer, text, name) else "does not find"
    found_by = SubjectMatcher({"it": {"zh": name}}).find(text)[0].rule
    return (
        f"Your function is right for all {len(pairs)} texts. It {verb} {name} in {text}, where no "
        f"spaces separate the words; the edit cache finds it by its rule {found_by!r}."
    )


def _finds(answer: Callable, text: str, name: str) -> bool:
    """Whether the answer finds the name; None, which `re.search` returns, counts as no."""
    if not callable(answer):
        run(answer)
    (got,) = run(lambda: (answer(text, name),))
    if got is ...:
        raise Wrong(UNFILLED)
    return bool(got)
