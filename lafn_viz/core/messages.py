"""Put values and names into messages, cut where long and escaped where unseen; and warn."""

import reprlib
import sys
import warnings
from collections.abc import Iterable, Mapping
from inspect import isroutine
from itertools import islice
from pathlib import Path
from typing import Any

_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxlong, _SHORT.maxother = 2, 60, 30, 60
_SHORT.maxlist = _SHORT.maxdict = _SHORT.maxtuple = 4
_VOWELS = (*"AEIOUaeiou", "nd")  # also an ndarray
_LONGEST_LIST = 600  # characters of names in one message


def quoted(value: Any) -> str:
    """Return a value as Python writes it, with unseen characters escaped, and cut."""
    return _SHORT.repr(value)


def shown(text: str) -> str:
    """Return a text without quotation marks, with unseen characters escaped, and cut."""
    return quoted(text)[1:-1]


def in_one_line(error: BaseException, *, most: int = 150) -> str:
    """Return what another library says, in one line, unseen characters escaped, and cut.

    It may quote a damaged file, whose characters could steer the terminal.
    """
    text = " ".join(str(error).split())
    text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    return text.rstrip(".") if len(text) <= most else f"{text[:most]}…"


def with_kind(error: BaseException, *, most: int = 150) -> str:
    """Return `in_one_line` after the kind of the error, which often says more than its text."""
    return f"{type(error).__name__}: {in_one_line(error, most=most)}"


def told(name: str, value: Any) -> str:
    """Return what was given for an argument: `top=0`, or `top is an Overlap`."""
    return f"{name}{'=' if _is_plain(value) else ' is '}{described(value)}"


def described(value: Any) -> str:
    """Return a plain value as Python writes it, and anything else by its kind: `an Overlap`."""
    if getattr(value, "ndim", None) == 0:  # a number of numpy or torch
        value = value.item()
    if _is_plain(value):
        return quoted(str(value) if isinstance(value, Path) else value)
    if isinstance(value, type):
        return f"the class {value.__name__}"
    kind = "function" if callable(value) and isroutine(value) else type(value).__name__
    of_shape = f" of shape {tuple(value.shape)}" if hasattr(value, "ndim") else ""
    return f"{with_article(kind)}{of_shape}"


def with_article(kind: str) -> str:
    """Return the name of a kind with its article: `an Overlap`, `a function`."""
    return f"{'an' if kind.startswith(_VOWELS) else 'a'} {kind}"


def _is_plain(value: Any, depth: int = 0) -> bool:
    """Whether a value is short and clear as Python writes it."""
    if getattr(value, "ndim", None) == 0:
        value = value.item()
    if value is None or type(value) in (bool, int, float, str, bytes):
        return True
    if depth > 2 or not isinstance(value, tuple | list | set | frozenset | dict):
        return isinstance(value, Path)
    members = [*value, *value.values()] if isinstance(value, Mapping) else value
    return all(_is_plain(member, depth + 1) for member in islice(members, 4))


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun: `1 neuron`, `2,560 neurons`, with a plural `2 studies`."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


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


def warn(message: str | Warning, category: type[Warning] = UserWarning) -> None:
    """Warn at the line that called the package, however many of its functions lie between."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back and _is_inside(frame.f_globals.get("__name__", "")):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


def _is_inside(module: str) -> bool:
    # The end of a `with` block in the package runs by way of contextlib.
    return module.startswith("lafn_viz.") or module == "contextlib"
