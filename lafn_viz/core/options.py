"""Check the options of public functions, and keep them for the record."""

import difflib
import json
from collections.abc import Iterable, Sequence
from typing import Any

from lafn_viz.core.messages import described, listed, quoted


def require_one_of(
    what: str, given: str | Iterable[str], allowed: Sequence[str]
) -> tuple[str, ...]:
    """Return the given names if all are allowed, or raise ValueError that lists what there is.

    Args:
        what: what a name is, for the message, as in "language".
    """
    try:
        names: tuple[Any, ...] = (given,) if isinstance(given, str) else tuple(given)
    except TypeError:  # one thing that is no name
        names = (given,)
    for name in names:
        if not isinstance(name, str) or name not in allowed:
            near = nearest(name, allowed)
            raise ValueError(f"unknown {what} {described(name)}; there are {listed(allowed)}{near}")
    return names


def nearest(name: Any, allowed: Iterable[str]) -> str:
    """Return the question for the end of a message, which of some names was meant, or nothing."""
    if not isinstance(name, str):
        return ""
    by_folded = {known.casefold(): known for known in reversed(list(allowed))}
    near = difflib.get_close_matches(name[:100].casefold(), by_folded, n=1, cutoff=0.6)
    return f" (did you mean {quoted(by_folded[near[0]])}?)" if near else ""


def plain(value: Any) -> Any:
    """Return an option as JSON would keep it, or the name of its type."""
    try:
        return json.loads(json.dumps(value))
    except TypeError:
        return type(value).__name__
