"""Read JSON that people and programs wrote, and say in one sentence what is wrong with it.

1. A file is UTF-8, with or without a byte order mark. JSON lines end at a line feed and nowhere
   else: names may hold what Unicode counts as other line ends (U+2028, U+0085).
2. A name that stands twice in one object must say the same both times: the first would be lost.
3. Whatever is wrong is told with file, line or record, and field. What is quoted is cut, and what
   cannot be seen is escaped.

Texts are kept as they are, marks of direction and joiners too (U+200C to U+200F, U+202A to U+202E,
U+2066 to U+2069): Arabic, Hebrew and Persian names need some of them. They are escaped in messages,
so that no message is written in another order than it is read, and the `lint` of edit cases counts
them. Half of a surrogate pair is no text and is refused.
"""

import json
import reprlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

_KINDS: dict[type, str] = {
    str: "a text", int: "a whole number", float: "a number", list: "a list",
}  # fmt: skip

_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxlong, _SHORT.maxother = 2, 60, 30, 60
_SHORT.maxlist = _SHORT.maxdict = _SHORT.maxtuple = 4
_LONGEST_LIST = 600  # characters of names told one after the other


class FactError(ValueError):
    """A record that cannot be used; the message names file, line and field."""


def quoted(value: Any) -> str:
    """A value for a message: as Python writes it, what cannot be seen escaped, and cut."""
    return _SHORT.repr(value)


def shown(text: str) -> str:
    """A text for a message without quotation marks: what cannot be seen escaped, and cut."""
    return quoted(text)[1:-1]


def listed(names: Iterable[str]) -> str:
    """Names for a message, with commas; of very many the first, and how many more there are."""
    told, length, rest = [], 0, 0
    for name in names:
        if length > _LONGEST_LIST:
            rest += 1
            continue
        told.append(shown(name))
        length += len(told[-1]) + 2
    return ", ".join(told) + (f" and {rest} more" if rest else "")


def is_folder(path: Path) -> bool:
    """Whether there is a folder; what the system refuses to look for is none."""
    try:
        return path.is_dir()
    except OSError:  # a name that is too long, a folder that is locked
        return False


def inside_of(folder: Path) -> list[Path]:
    """What a folder holds, by name. Raises FactError where it may not be looked into."""
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise FactError(
            f"the folder {folder} cannot be read ({error.strerror}); let yourself read it"
        ) from None


def read_bytes(path: Path, *, give: str = "the path of a file of JSON records") -> bytes:
    """What a file holds.

    Args:
        give: what to do instead, for the messages.

    Raises:
        FileNotFoundError: where there is no file, or a folder in its place.
        FactError: for a file that the system does not let us read.
    """
    try:
        if not path.is_file():
            told = f"{path} is a folder" if path.is_dir() else f"there is no file {path}"
            raise FileNotFoundError(f"{told}; give {give}")
        return path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise FactError(f"{path} cannot be read ({error.strerror}); give {give}") from None


def decoded(where: str, raw: bytes) -> str:
    """The text of bytes in UTF-8, with or without a byte order mark, or FactError."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FactError(
            f"{where} is not UTF-8 text (byte {error.start}); save it as UTF-8"
        ) from None


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, with or without a byte order mark; errors as in `read_bytes`."""
    return decoded(str(path), read_bytes(path))


def records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(where it stands, record) of each line that is not empty."""
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if line.strip():
            where = f"{path}, line {number}"
            yield where, as_object(where, parsed(where, line))


def parsed(where: str, text: str) -> Any:
    """What a JSON text says; FactError if it is none, or deeper or longer than Python reads."""
    try:
        return json.loads(text, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        line = f"line {error.lineno} " if "\n" in text else ""
        told = f"{error.msg}: {line}column {error.colno}"
    except RecursionError:
        told = "its lists and objects are nested too deeply"
    except ValueError as error:  # a number of thousands of digits, a name that stands twice
        told = str(error)
    raise FactError(f"{where}: not JSON that can be used ({told})")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, if no name in it stands for two values."""
    found = dict(pairs)
    if len(found) < len(pairs):
        for name, value in pairs:
            if found[name] != value:
                raise ValueError(f"{quoted(name)} stands twice in one object and says two things")
    return found


def as_object(where: str, record: Any) -> dict[str, Any]:
    """The record, if it is a JSON object; FactError if it is none."""
    if not isinstance(record, dict):
        raise FactError(f"{where}: a {type(record).__name__}, but a record is a JSON object")
    return record


def only_fields(where: str, record: Mapping[str, Any], allowed: Iterable[str]) -> None:
    """Refuse a record with a field that nobody would read, with FactError."""
    allowed = list(allowed)
    for name in record:
        if name not in allowed:
            raise FactError(
                f"{where}, field {quoted(name)}: not a field; there are {', '.join(allowed)}"
            )


def value_of(where: str, record: Mapping[str, Any], field: str, kind: Any) -> Any:
    """The value of a field that must be there, read as a kind (see `read_as`)."""
    return read_as(f"{where}, field {field!r}", record.get(field), kind)


def read_as(where: str, value: Any, kind: Any, **given: Any) -> Any:
    """What JSON holds of a Python value that was written with `dataclasses.asdict`.

    Args:
        kind: str, int, float, Literal, a tuple of one kind, a NamedTuple, a Mapping from texts, an
            optional kind, Any, or a dataclass of these.
        given: fields of the dataclass that are not read.

    Raises:
        FactError: naming the first place that holds another kind, or a field too many.
    """
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return None if value is None else read_as(where, value, args[0])
    if kind is Any:
        return value
    if isinstance(kind, type) and is_dataclass(kind):
        hints = {name: hint for name, hint in get_type_hints(kind).items() if name not in given}
        only_fields(where, as_object(where, value), hints)
        read = {name: value_of(where, value, name, hint) for name, hint in hints.items()}
        try:
            return kind(**read, **given)
        except ValueError as error:
            raise FactError(f"{where}: {error}") from None
    if origin is tuple or hasattr(kind, "_fields"):
        kinds = [*args] if origin is tuple else [*get_type_hints(kind).values()]
        if isinstance(value, list) and Ellipsis in args:
            kinds = kinds[:1] * len(value)
        if isinstance(value, list) and len(value) == len(kinds):
            parts = zip(value, kinds, strict=True)
            items = [read_as(f"{where}, item {i}", *part) for i, part in enumerate(parts, 1)]
            return tuple(items) if origin is tuple else kind(*items)
        many = "" if Ellipsis in args else f" of {len(kinds)}"
        raise FactError(f"{where}: {quoted(value)}, but it must be a list{many}")
    if origin is Mapping:
        found = as_object(where, value)
        places = {as_text(where, key): f"{where}, field {quoted(key)}" for key in found}
        return {key: read_as(place, found[key], args[1]) for key, place in places.items()}
    if origin is Literal:
        if value not in args:
            raise FactError(f"{where}: {quoted(value)}, but there are {listed(args)}")
    elif kind is float and type(value) is int and abs(value) < 2**1000:
        return float(value)
    elif type(value) is not kind:
        raise FactError(f"{where}: {quoted(value)}, but it must be {_KINDS[kind]}")
    return as_text(where, value) if isinstance(value, str) else value


def record_text(where: str, record: Mapping[str, Any], field: str) -> str:
    """A text that must be there, or FactError."""
    value = record.get(field)
    if not isinstance(value, str) or not value.strip():
        raise FactError(
            f"{where}, field {field!r}: {quoted(value)}, but it must be a text that is not empty"
        )
    return as_text(f"{where}, field {field!r}", value)


def record_list(where: str, record: Mapping[str, Any], field: str, kind: type) -> tuple[Any, ...]:
    """A list of values of one kind, empty if the field is missing, or FactError."""
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
    """A name in each of some languages, or FactError."""
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
    """The text, if it can be written; FactError for half of a surrogate pair."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise FactError(f"{where}: half of a surrogate pair, which is no text") from None
    return value
