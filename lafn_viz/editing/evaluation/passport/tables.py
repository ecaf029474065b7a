"""The tables of a passport: counts by kind and language, and the damage.

All questions of a passport are about one fact. They are no independent items, so their shares are
given as counts, without an interval. Neighbours and neutral texts are of different facts: there a
95% interval over these facts is given (`core.stats`).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lafn_viz.core.provenance import Provenance
from lafn_viz.core.stats import bootstrap
from lafn_viz.editing.evaluation.passport.questions import (
    ABOUT,
    CHANGE,
    EVERYWHERE,
    KINDS,
    OUTCOMES,
    STAY,
    About,
    DamageText,
    Kind,
    PassportQuestion,
)

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class PassportTables:
    """What a passport holds (see `Passport`).

    `edits` names them and says what they are. `left_out` says by kind why questions are missing.
    """

    case: str
    relation: str
    subject: Mapping[str, str]
    old: Mapping[str, str]
    new: Mapping[str, str]
    edits: Mapping[str, str]
    questions: tuple[PassportQuestion, ...]
    damage: tuple[DamageText, ...]
    left_out: Mapping[str, str]
    provenance: Provenance

    def __repr__(self) -> str:
        parts = []
        for edit in self.edits:
            rows = [row for row in self._rows() if row["edit"] == edit]
            counts = [
                f"{name} {sum(row['well'] for row in of_kind)} of "
                f"{sum(row['questions'] for row in of_kind)}"
                for name, kinds in (("changed", CHANGE), ("stayed", STAY))
                if (of_kind := [row for row in rows if row["kind"] in kinds])
            ]
            parts.append(f"{edit}: {', '.join(counts)}")
        return f"{type(self).__name__}({self.case}; {'; '.join(parts)})"

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages of the questions, in order."""
        return tuple(dict.fromkeys(question.language for question in self.questions))

    def to_frame(self) -> "pd.DataFrame":
        """One row for each edit and question: the texts, what they count as, and where it fires."""
        import pandas as pd

        names = ("kind", "control", "language", "variant", "fact_id", "context", "text", "before")
        return pd.DataFrame(
            {
                "edit": edit,
                **{name: getattr(question, name) for name in names},
                "after": question.after[edit],
                "right_before": question.right_before,
                "outcome": question.outcome(edit),
                "well": question.went_well(edit),
                "fires": bool(question.fires[edit]) if edit in question.fires else None,
            }
            for edit in self.edits
            for question in self.questions
        )

    def summary(self) -> "pd.DataFrame":
        """One row for each edit and kind of question, controls apart.

        Columns: `questions`, how many of them `well` (see `PassportQuestion.went_well`), how many
        had the right answer before the edit (`right_before`), how many now have the answer `new`,
        `old`, `same`, `other`; `recovered` of those right before that give the old answer after the
        edit; `fires`, in how many the edit acts (missing for edits that act on every text).
        `low` and `high` are the 95% interval of the share `well` over facts, for other subjects
        alone: all other questions are about one fact.
        """
        import pandas as pd

        return pd.DataFrame(self._rows())

    def by_language(self) -> "pd.DataFrame":
        """The same as `summary`, one row for each language, too."""
        import pandas as pd

        return pd.DataFrame(self._rows(self.languages))

    def damage_summary(self) -> "pd.DataFrame":
        """One row for each edit, kind of text and language ("all" first): mean and 95% interval.

        `divergence` is in nats per token (see `DamageText`). The interval is over texts of
        different facts. Texts about the subject are no such items and have none.
        """
        import pandas as pd

        rows = []
        for edit in self.edits:
            for about in ABOUT:
                for language in (EVERYWHERE, *dict.fromkeys(x.language for x in self.damage)):
                    texts = [
                        x for x in self.damage
                        if x.about == about and language in (EVERYWHERE, x.language)
                    ]  # fmt: skip
                    if texts:
                        rows.append(_damage_row(edit, about, language, texts))
        return pd.DataFrame(rows)

    def _rows(self, languages: Iterable[str] = ()) -> list[dict[str, Any]]:
        rows = []
        for edit in self.edits:
            for kind in KINDS:
                for control in (False, True):
                    of_kind = [x for x in self.questions if (x.kind, x.control) == (kind, control)]
                    for language in (*languages,) or (EVERYWHERE,):
                        asked = [x for x in of_kind if language in (EVERYWHERE, x.language)]
                        if asked:
                            rows.append(_row(edit, kind, control, language, asked))
        return rows


def _row(
    edit: str, kind: Kind, control: bool, language: str, asked: list[PassportQuestion]
) -> dict[str, Any]:
    """The counts of some questions after one edit."""
    outcomes = [question.outcome(edit) for question in asked]
    known = [x for x, question in zip(outcomes, asked, strict=True) if question.right_before]
    low, high = float("nan"), float("nan")
    if kind == "other subject":
        by_fact = _means_by(asked, lambda x: x.fact_id, lambda x: float(x.went_well(edit)))
        low, high = bootstrap(by_fact, limits=(0.0, 1.0))
    fires = [bool(question.fires[edit]) for question in asked if edit in question.fires]
    return {
        "edit": edit, "kind": kind, "control": control, "language": language,
        "questions": len(asked), "well": sum(question.went_well(edit) for question in asked),
        "low": low, "high": high, "right_before": len(known),
        **{name: outcomes.count(name) for name in OUTCOMES},
        "recovered": known.count("old"), "fires": sum(fires) if fires else None,
    }  # fmt: skip


def _damage_row(edit: str, about: About, language: str, texts: list[DamageText]) -> dict[str, Any]:
    """The mean damage of some texts by one edit."""
    values = _means_by(texts, lambda x: x.item, lambda x: x.divergence[edit])
    independent = about == "neutral texts"
    low, high = bootstrap(values, limits=(0.0, np.inf)) if independent else (np.nan, np.nan)
    fires = [bool(text.fires[edit]) for text in texts if edit in text.fires]
    return {
        "edit": edit, "about": about, "language": language, "texts": len(texts),
        "divergence": float(values.mean()), "low": low, "high": high,
        "changed": float(_means_by(texts, lambda x: x.item, lambda x: x.changed[edit]).mean()),
        "fires": sum(fires) if fires else None,
    }  # fmt: skip


def _means_by(items: Iterable[Any], key: Callable[[Any], str], of: Callable[[Any], float]) -> Any:
    """The mean of each group, as an array [group]."""
    groups: dict[str, list[float]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(of(item))
    return np.array([np.mean(values) for values in groups.values()])
