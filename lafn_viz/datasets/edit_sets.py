"""Many edit cases: choose among them, show them as a table, and find their faults."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, overload

from lafn_viz.core.arguments import in_order, or_none, scalar, some_texts, takes, whole, wrong
from lafn_viz.core.messages import described, quoted
from lafn_viz.datasets.edit_cases import ROLES, EditCase
from lafn_viz.datasets.edit_lint import lint
from lafn_viz.datasets.languages import require_languages

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class EditSet:
    """Edit cases, by number or id: `filter` chooses among them, `lint` finds their faults."""

    cases: tuple[EditCase, ...]

    def __post_init__(self) -> None:
        cases = [self.cases] if isinstance(self.cases, EditCase) else in_order(self.cases)
        if cases is None or not all(isinstance(case, EditCase) for case in cases):
            raise wrong("cases", self.cases, "EditCases, as counterfactual_case() makes")
        object.__setattr__(self, "cases", tuple(cases))

    def __len__(self) -> int:
        return len(self.cases)

    def __iter__(self) -> Iterator[EditCase]:
        return iter(self.cases)

    @overload
    def __getitem__(self, key: int | str) -> EditCase: ...

    @overload
    def __getitem__(self, key: slice) -> "EditSet": ...

    def __getitem__(self, key: int | str | slice) -> "EditCase | EditSet":
        if isinstance(key, slice):
            return EditSet(self.cases[key])
        place = scalar(key)
        if isinstance(place, int) and -len(self) <= place < len(self):
            return self.cases[place]
        for case in self.cases:
            if isinstance(key, str) and case.id == key:
                return case
        first = quoted(self.cases[0].id) if self.cases else "none"
        raise KeyError(f"no case {described(key)} here; ids look like {first}")

    def __repr__(self) -> str:
        return f"EditSet({len(self)} cases, languages={list(self.languages)})"

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages of all cases, in the order in which they come."""
        return tuple(dict.fromkeys(lang for case in self.cases for lang in case.languages))

    @takes(languages=or_none(some_texts), n=or_none(whole()))
    def filter(
        self, *, languages: str | Iterable[str] | None = None, n: int | None = None
    ) -> "EditSet":
        """Return the first `n` cases that have any of these languages, in these languages alone.

        Raises:
            ValueError: naming what there is, for a language that no case has or a bad `n`.
        """
        cases = self.cases
        if languages is not None:
            chosen = require_languages(languages, self.languages)
            cases = tuple(
                case.only(chosen) for case in cases if not set(chosen).isdisjoint(case.languages)
            )
        if n is not None:
            if not 0 < n <= len(cases):
                raise ValueError(f"n={n} of {len(cases)} cases; give 1 to {len(cases)}")
            cases = cases[:n]
        return EditSet(cases)

    def to_frame(self) -> "pd.DataFrame":
        """One row for each prompt: case, role, language, texts, whether it names its subject."""
        import pandas as pd

        return pd.DataFrame(
            {
                "case": case.id,
                "source": case.source,
                "role": role,
                "language": prompt.language,
                "text": prompt.text,
                "answer": prompt.answer,
                "subject": prompt.subject,
                "names_subject": prompt.subject_span is not None,
            }
            for case in self.cases
            for role in ROLES
            for prompt in case.prompts(role)
        )

    def lint(self) -> "pd.DataFrame":
        """Count the faults that would distort a result (see `edit_lint`)."""
        return lint(self)

    def summary(self) -> str:
        """Name the five most frequent faults in a sentence, each with its worst language.

        Shares are of the cases in the languages that have the fault at all.
        """
        faults = self.lint().query("count > 0")
        worst = faults.sort_values("share", ascending=False).drop_duplicates("check")
        parts = []
        for check, language, share in zip(
            worst["check"], worst["language"], worst["share"], strict=True
        ):
            rows = faults[faults["check"] == check]
            mean = rows["count"].sum() / rows["of"].sum()
            parts.append((mean, f"{check} {mean:.0%} (most in {language}: {share:.0%})"))
        listed = "; ".join(text for _, text in sorted(parts, reverse=True)[:5]) or "nothing odd"
        return f"{len(self)} edits in {len(self.languages)} languages: {listed}."
