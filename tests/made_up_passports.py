"""Made-up questions and passports."""

import lafn_viz as lv
from lafn_viz.editing.evaluation.passport.questions import DamageText, Firing, PassportQuestion

FIRES = (Firing("FR", "exact", "France", "France", (15, 21), 1.0),)


def a_question(kind="edited wording", language="en", **given) -> PassportQuestion:
    values = {
        "kind": kind, "control": False, "language": language, "variant": "",
        "fact_id": "capital/FR", "context": "", "text": "The capital of France is",
        "old": ("Paris",), "new": ("Rome",), "before": "Paris", "after": {"A": "Rome"},
        "fires": {"A": FIRES},
    }  # fmt: skip
    return PassportQuestion(**{**values, **given})


def a_passport(questions, damage=(), edits=("A",), **given) -> lv.Passport:
    values = {
        "case": "capital/FR->IT", "relation": "capital", "subject": {"en": "France"},
        "old": {"en": "Paris"}, "new": {"en": "Rome"},
        "edits": {name: f"edit {name}" for name in edits}, "questions": tuple(questions),
        "damage": tuple(damage), "left_out": {},
        "provenance": lv.Provenance("made-up", "0", "passport", {"n": 1}),
    }  # fmt: skip
    return lv.Passport(**{**values, **given})


def a_text(language="en", item="currency/JP", moved=0.0, **given) -> DamageText:
    values = {
        "about": "neutral texts", "language": language, "item": item, "text": "The yen is",
        "tokens": 4, "divergence": {"A": moved}, "changed": {"A": 0.25}, "fires": {"A": ()},
    }  # fmt: skip
    return DamageText(**{**values, **given})


def made_up_passport() -> lv.Passport:
    """A question of each kind, a control, and two texts."""
    neighbour = {"control": True, "fact_id": "capital/JP", "old": ("Tokyo",), "before": "Tokyo"}
    return a_passport(
        [
            a_question(),
            a_question("held-out wording", after={"A": "Paris"}),
            a_question("other subject", fact_id="capital/JP", old=("Tokyo",), before="Tokyo",
                       after={"A": "Tokyo"}, fires={"A": ()}),
            a_question("examples first", context="Peru: Lima\n", after={"A": "Paris"}),
            a_question("examples first", after={"A": "Tokyo"}, fires={"A": ()}, **neighbour),
            a_question("reversed", new=(), old=("France",), before="France",
                       after={"A": "France"}, fires={"A": ()}),
        ],
        [a_text(moved=0.5), a_text(item="script/ab", moved=1.5)],
        left_out={"long context": "the facts hold no other facts"},
    )  # fmt: skip
