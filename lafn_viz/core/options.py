"""Check the options of public functions, and keep them for the record."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from lafn_viz.core.messages import listed, quoted


def require_one_of(
    what: str, given: str | Iterable[str], allowed: Sequence[str]
) -> tuple[str, ...]:
    """Return the given names if all are allowed, or raise ValueError that lists what there is.

    Args:
        what: what a name is, for the message, as in "language".
    """
    names = (given,) if isinstance(given, str) else tuple(given)
    for name in names:
        if name not in allowed:
            raise ValueError(f"unknown {what} {quoted(name)}; there are {listed(allowed)}")
    return names


def plain(value: Any) -> Any:
    """Return an option as JSON would keep it, or the name of its type."""
    try:
        return json.loads(json.dumps(value))
    except TypeError:
        return type(value).__name__
