"""Read JSON that people and programs wrote, and say in one sentence what is wrong with it.

1. A file is UTF-8, with or without a byte order mark. JSON lines end at a line feed and nowhere
   else: names may hold what Unicode counts as other line ends (U+2028, U+0085).
2. A name that stands twice in one object must have the same value both times, because only the last
   one would be read.
3. Every error names the file, the line or record, and the field. What it quotes is cut, and unseen
   characters are escaped.

Texts are kept as they are, with marks of direction and joiners (U+200C to U+200F, U+202A to U+202E,
U+2066 to U+2069), because Arabic, Hebrew and Persian names need some of them. Messages escape them,
so that no message is displayed in another order than it is written, and the `lint` of edit cases
counts them. Half of a surrogate pair is no text and is refused.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from lafn_viz.core.messages import listed, quoted, shown

_KINDS: dict[type, str] = {
    str: "a text", int: "a whole number", float: "a number", bool: "true or false", list: "a list",
}  # fmt: skip


# Metadata of a dataclass's field that older files do not have; it is read as its default.
MAY_LACK = {"may_lack": True}


class FactError(ValueError):
    """A record that cannot be used; the message names file, line and field."""


def is_folder(path: Path) -> bool:
    """Whether a folder is there; False where the system refuses to look."""
    try:
        return path.is_dir()
    except OSError:  # a name that is too long, a folder that is locked
        return False


def is_file(path: Path) -> bool:
    """Whether a file is there; False where the system refuses to look."""
    try:
        return path.is_file()
    except OSError:
        return False


def inside_of(folder: Path) -> list[Path]:
    """Return the contents of a folder by name, or raise FactError if it cannot be read."""
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise FactError(
            f"the folder {folder} cannot be read ({error.strerror}); give yourself the right to "
            "read it"
        ) from None


def read_bytes(path: Path, *, give: str = "the path of a file of JSON records") -> bytes:
    """Return what a file holds.

    Args:
        give: what the caller should give instead, for the messages.

    Raises:
        FileNotFoundError: if there is no file, or a folder in its place.
        FactError: for a file that the system does not let us read.
    """
    try:
        if not path.is_file():
            problem = f"{path} is a folder" if path.is_dir() else f"there is no file {path}"
            raise FileNotFoundError(f"{problem}; give {give}")
        return path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise FactError(f"{path} cannot be read ({error.strerror}); give {give}") from None


def decoded(where: str, raw: bytes) -> str:
    """Decode UTF-8, with or without a byte order mark, or raise FactError."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FactError(
            f"{where} is not UTF-8 text (byte {error.start}); save it as UTF-8"
        ) from None


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file; errors as in `read_bytes` and `decoded`."""
    return decoded(str(path), read_bytes(path))


def records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the place and the record of each line that is not empty."""
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if line.strip():
            where = f"{path}, line {number}"
            yield where, as_object(where, parsed(where, line))


def parsed(where: str, text: str) -> Any:
    """Parse JSON; raise FactError for other text, or for what is nested or long beyond measure."""
    try:
        return json.loads(text, object_pairs_hook=_without_contradiction)
    except json.JSONDecodeError as error:
        line = f"line {error.lineno} " if "\n" in text else ""
        problem = f"{error.msg}: {line}column {error.colno}"
    except RecursionError:
        problem = "its lists and objects are nested too deeply"
    except ValueError as error:  # a number of thousands of digits, a name that stands twice
        problem = str(error)
    raise FactError(f"{where}: not JSON that can be used ({problem})")


def _without_contradiction(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON in which no name stands for two values."""
    values = dict(pairs)
    if len(values) < len(pairs):
        for name, value in pairs:
            if values[name] != value:
                raise ValueError(f"{quoted(name)} stands twice in one object, with two values")
    return values


def as_object(where: str, record: Any) -> dict[str, Any]:
    """Return the record if it is a JSON object, or raise FactError."""
    if not isinstance(record, dict):
        raise FactError(f"{where}: a {type(record).__name__}, but a record is a JSON object")
    return record


def only_fields(where: str, record: Mapping[str, Any], allowed: Iterable[str]) -> None:
    """Raise FactError for a record with a field that nobody would read."""
    allowed = list(allowed)
    for name in record:
        if name not in allowed:
            raise FactError(
                f"{where}, field {quoted(name)}: not a field; there are {', '.join(allowed)}"
            )


def value_of(where: str, record: Mapping[str, Any], field: str, kind: Any) -> Any:
    """Return the value of a required field, read as a kind (see `read_as`)."""
    return read_as(f"{where}, field {field!r}", record.get(field), kind)


def read_as(where: str, value: Any, kind: Any, **given: Any) -> Any:
    """Turn what JSON holds back into the Python value that `dataclasses.asdict` wrote.

    Args:
        kind: str, int, float, Literal, a tuple of one kind, a NamedTuple, a Mapping from texts, an
            optional kind, Any, or a dataclass of these.
        given: fields of the dataclass that are not in the JSON.

    Raises:
        FactError: naming the first place that holds another kind, or an unknown field.
    """
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return None if value is None else read_as(where, value, args[0])
    if kind is Any:
        return value
    if isinstance(kind, type) and is_dataclass(kind):
        return _read_dataclass(where, value, kind, given)
    if origin is tuple or hasattr(kind, "_fields"):
        return _read_tuple(where, value, kind)
    if origin is Mapping:
        values = as_object(where, value)
        places = {as_text(where, key): f"{where}, field {quoted(key)}" for key in values}
        return {key: read_as(place, values[key], args[1]) for key, place in places.items()}
    if origin is Literal:
        if value not in args:
            raise FactError(f"{where}: {quoted(value)}, but it must be one of {listed(args)}")
    elif kind is float and type(value) is int and abs(value) < 2**1000:
        return float(value)
    elif type(value) is not kind:
        raise FactError(f"{where}: {quoted(value)}, but it must be {_KINDS[kind]}")
    return as_text(where, value) if isinstance(value, str) else value


def _read_dataclass(where: str, value: Any, kind: Any, given: Mapping[str, Any]) -> Any:
    hints = {name: hint for name, hint in get_type_hints(kind).items() if name not in given}
    only_fields(where, as_object(where, value), hints)
    lacks = {f.name for f in fields(kind) if f.metadata == MAY_LACK and f.name not in value}
    read = {
        name: value_of(where, value, name, hint)
        for name, hint in hints.items()
        if name not in lacks
    }
    try:
        return kind(**read, **given)
    except ValueError as error:
        raise FactError(f"{where}: {error}") from None


def _read_tuple(where: str, value: Any, kind: Any) -> Any:
    """A tuple of any or of a fixed length, or a NamedTuple, from a list."""
    is_plain, args = get_origin(kind) is tuple, get_args(kind)
    kinds = [*args] if is_plain else [*get_type_hints(kind).values()]
    if isinstance(value, list) and Ellipsis in args:
        kinds = kinds[:1] * len(value)
    if not isinstance(value, list) or len(value) != len(kinds):
        length = "" if Ellipsis in args else f" of {len(kinds)}"
        raise FactError(f"{where}: {quoted(value)}, but it must be a list{length}")
    parts = zip(value, kinds, strict=True)
    items = [read_as(f"{where}, item {i}", *part) for i, part in enumerate(parts, 1)]
    return tuple(items) if is_plain else kind(*items)


def record_text(where: str, record: Mapping[str, Any], field: str) -> str:
    """Return a required text, or raise FactError."""
    value = record.get(field)
    if not isinstance(value, str) or not value.strip():
        raise FactError(
            f"{where}, field {field!r}: {quoted(value)}, but it must be a text that is not empty"
        )
    return as_text(f"{where}, field {field!r}", value)


def record_list(where: str, record: Mapping[str, Any], field: str, kind: type) -> tuple[Any, ...]:
    """Return a list of values of one kind, empty if the field is missing, or raise FactError."""
    value = record.get(field, [])
    if not isinstance(value, list) or not all(type(item) is kind for item in value):
        raise FactError(
            f"{where}, field {field!r}: {quoted(value)}, but it must be a list of {kind.__name__}"
        )
    if kind is str:
        for item in value:
            as_text(f"{where}, field {field!r}", item)
    return tuple(value)


def record_names(where: str, record: Mapping[str, Any], field: str) -> dict[str, str]:
    """Return a name by language, or raise FactError."""
    value = record.get(field)
    if not isinstance(value, dict) or not value:
        raise FactError(
            f"{where}, field {field!r}: {quoted(value)}, but it must map languages to names"
        )
    for language, name in value.items():
        place = f"{where}, field '{field}.{shown(language)}'"
        if not as_text(place, language).strip():
            raise FactError(f"{place}: a language without a code; write one as in 'en'")
        if not isinstance(name, str) or not name.strip():
            raise FactError(f"{place}: {quoted(name)}, but it must be a name")
        as_text(place, name)
    return dict(value)


def as_text(where: str, value: str) -> str:
    """Return the text if UTF-8 can write it; raise FactError for half of a surrogate pair."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise FactError(f"{where}: half of a surrogate pair, which is no text") from None
    return value
