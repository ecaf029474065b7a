"""Check the options of public functions."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from lafn_viz.core.json_records import (
    listed,
    quoted,
)


def require_one_of(
    what: str, given: str | Iterable[str], allowed: Sequence[str]
) -> tuple[str, ...]:
    """The names given, if all are allowed. Raises ValueError, naming what there is."""
    wanted = (given,) if isinstance(given, str) else tuple(given)
    for name in wanted:
        if name not in allowed:
            raise ValueError(f"unknown {what} {quoted(name)}; there are {listed(allowed)}")
    return wanted


def plain(value: Any) -> Any:
    """An option as JSON would keep it, or the name of its type."""
    try:
        return json.loads(json.dumps(value))
    except TypeError:
        return type(value).__name__
