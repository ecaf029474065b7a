"""Put values and names into error messages: cut where they are long, escaped where unseen."""

import reprlib
from collections.abc import Iterable
from typing import Any

_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxlong, _SHORT.maxother = 2, 60, 30, 60
_SHORT.maxlist = _SHORT.maxdict = _SHORT.maxtuple = 4
_LONGEST_LIST = 600  # characters of names in one message


def quoted(value: Any) -> str:
    """Return a value as Python writes it, with unseen characters escaped, and cut."""
    return _SHORT.repr(value)


def shown(text: str) -> str:
    """Return a text without quotation marks, with unseen characters escaped, and cut."""
    return quoted(text)[1:-1]


def listed(names: Iterable[str]) -> str:
    """Join names with commas; of a long list the first ones, and how many more there are."""
    first, length, n_more = [], 0, 0
    for name in names:
        if length > _LONGEST_LIST:
            n_more += 1
            continue
        first.append(shown(name))
        length += len(first[-1]) + 2
    return ", ".join(first) + (f" and {n_more} more" if n_more else "")
