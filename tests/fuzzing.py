"""Damage for files, and what must hold of whoever reads them.

`EXAMPLES=20 pytest tests/test_fuzz.py` draws twenty times as many examples.
"""

import copy
import json
import os
import re
from collections.abc import Callable
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings, strategies as st

import lafn_viz as lv
from lafn_viz.models.checkpoint import CheckpointError

T = TypeVar("T")
TIMES = int(os.environ.get("EXAMPLES", "1"))
LONG = "ü" * 1_000_000
HOSTILE: list[Any] = [
    None, True, 0, -1, 2**63, 10**400, 0.5, -1e308, float("nan"), float("inf"), "", " ", "x", "en",
    "\x00", "\ud800", "a\u2028b\u0085c", "\u202eabc\u202c", "\u2067ab", "م\u200c\u200fن", "🧪é",
    LONG, [], {}, [[]], [1, "a"], {"": 1}, {"en": "x"}, {"\u202een": "x"}, {"e\nn": ["x"]},
]  # fmt: skip
DEEP = json.loads("[" * 60 + "]" * 60)

FUZZ = settings(
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def examples(number: int) -> settings:
    """Settings for a number of examples, or several times as many where that is asked for."""
    return settings(FUZZ, max_examples=number * TIMES)


@st.composite
def changed(draw: st.DrawFn, record: Any) -> Any:
    """A JSON value with one thing changed at any depth: another value, gone, added or renamed."""
    whole = copy.deepcopy(record)
    places: list[tuple[Any, Any]] = []

    def walk(value: Any) -> None:
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in list(pairs):
            places.append((value, key))
            if isinstance(inner, dict | list):
                walk(inner)

    walk([whole] if not isinstance(whole, dict | list) or not whole else whole)
    inside, key = draw(st.sampled_from(places))
    how = draw(st.sampled_from(["another", "another", "another", "gone", "added", "renamed"]))
    value = draw(st.sampled_from([*HOSTILE, DEEP]) | st.text(max_size=8) | st.integers())
    if how == "gone":
        del inside[key]
    elif how == "another" or isinstance(inside, list):
        inside[key] = value
    else:
        name = draw(st.sampled_from(["extra", "", "\ud800", "id", "x" * 100_000, "\u202e", "a\nb"]))
        inside[name] = value if how == "added" else inside.pop(key)
    return whole


@st.composite
def damaged(draw: st.DrawFn, raw: bytes) -> bytes:
    """Bytes cut short, overwritten, in another encoding, or something else altogether."""
    at = draw(st.integers(0, max(0, len(raw) - 1)))
    piece = draw(
        st.binary(max_size=4)
        | st.sampled_from(
            [
                b"", b"\x00", b"\xff", b"\xed\xa0\x80", b"\r", b"\r\n", b"\n", b"\n\n", b'"', b"{",
                b"}", b"[", b",", b"NaN", b"-Infinity", b"1e999", b"9" * 5000, b"[" * 100_000,
                b"\\ud800", "\u2028".encode(), "\u0085".encode(), "\ufeff".encode(), b"\\u0000",
            ]
        )
    )  # fmt: skip
    text = raw.decode("utf-8", "replace")
    return draw(
        st.sampled_from(
            [
                raw[:at], raw[:at] + piece + raw[at:], raw[:at] + piece + raw[at + 1 :], raw[at:],
                raw + raw, raw + piece, piece, b"", b"\xef\xbb\xbf" + raw, text.encode("utf-16"),
                text.encode("utf-16-le"), text.encode("latin-1", "replace"), text.encode("utf-7"),
                raw.replace(b"\n", b"\r\n"), raw.replace(b"\n", b"\r"), raw.replace(b"\n", b""),
                raw.replace(b" ", "\u2028".encode()), re.sub(rb'"(\w+)":', rb'"\1": 0, "\1":', raw),
            ]
        )
    )  # fmt: skip


def answered_in_a_sentence(error: Exception) -> bool:
    """Whether an error is of a kind that a caller's mistake gets, in one sentence that is short."""
    if type(error).__module__ == "builtins" and not isinstance(
        error, ValueError | TypeError | KeyError | FileNotFoundError
    ):
        return False
    said = str(error.args[0]) if error.args else ""
    # What Python, numpy or torch would say of a value inside of a function.
    foreign = (
        "object is not",
        "has no attribute",
        "unhashable",
        "ambiguous",
        "0-d array",
        "null b",
    )
    return 12 < len(said) <= 300 and said.isprintable() and not any(x in said for x in foreign)


def read_or_refused(read: Callable[[], T], *told: object) -> T | None:
    """What was read, or None where that was refused as it should be: in one sentence that can be
    read, is short and says where, with an error of this package's own.
    """
    try:
        return read()
    except (ValueError, FileNotFoundError) as caught:
        error = caught
    kinds = lv.FactError, lv.EditError, lv.StoreError, CheckpointError
    kinds += ValueError, FileNotFoundError
    assert type(error) in kinds, repr(error)
    said = str(error)
    assert len(said) < 1000
    assert said.isprintable(), ascii(said)
    for name in told:
        assert str(name) in said, said
    return None
