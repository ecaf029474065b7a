"""One record of many that cannot be used takes no other's result with it.

A call over many records (edits, facts, figures) runs each inside `Skipped.unless_it_fails`. What
fails is left out and named in one warning at the end, with its reason; the others' results are
those of a call without it. Where nothing is left, the first error is raised as it is.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from lafn_viz.core.messages import quoted, warn

N_NAMED = 5  # records that a warning names


class SkippedWarning(UserWarning):
    """Some records of a call could not be used and were left out; the message says which and why.

    `reasons` holds the reason for each of them.
    """

    def __init__(self, message: str, reasons: dict[str, str]) -> None:
        super().__init__(message)
        self.reasons = reasons


class Skipped:
    """The records of one call that are left out.

    Args:
        kind: what a record is called in the warning, such as "case".

    Attributes:
        reasons: the reason for each record that is left out, by its name.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.reasons: dict[str, str] = {}
        self._first: Exception | None = None
        self._count = 0  # two records may have one name

    @contextmanager
    def unless_it_fails(self, name: str) -> Iterator[None]:
        """Run what one record needs; an error leaves the record out."""
        try:
            yield
        except Exception as error:
            self._first, self._count = self._first or error, self._count + 1
            self.reasons[name] = " ".join(str(error).split()) or type(error).__name__

    def report(self, n_records: int) -> None:
        """Warn of what is left out of so many records.

        Raises:
            Exception: the first error, if every record failed.
        """
        if self._first is None:
            return
        if self._count >= n_records:
            raise self._first
        named = [f"{quoted(name)} ({why})" for name, why in list(self.reasons.items())[:N_NAMED]]
        more = len(self.reasons) - len(named)
        message = (
            f"{self._count} of {n_records} {self.kind}s left out: {'; '.join(named)}"
            f"{f'; and {more} more' if more else ''}"
        )
        warn(SkippedWarning(message, self.reasons))
