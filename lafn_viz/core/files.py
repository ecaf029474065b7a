"""Write files and folders whole or not at all, and tell by a checksum whether they changed.

What is written goes under another name first, to the disk, and gets its final name last. So nothing
half-written ever has its final name, and a process can be killed at any moment.
"""

import ctypes
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

LOCK = "writing.lock"  # held by the process that writes a folder


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` write a file, and give the file its name once all of it is on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Whoever lists the folder's tables skips a name that starts with a dot.
    beside = path.with_name(f".{path.name}.tmp")
    write(beside)
    _to_disk(beside)
    beside.replace(path)
    _to_disk(path.parent)


def inside(root: Path, name: str) -> Path | None:
    """The path of a name that a person typed, or None if it leads out of the folder `root`."""
    try:
        path = (root / Path(name).expanduser()).resolve()
    except RuntimeError:  # the home of nobody
        return None
    return path if path.is_relative_to(root.resolve()) else None


def write_utf8(path: Path, text: str) -> None:
    """Write a text for people as UTF-8; half a character, which no file can hold, by its number."""
    path.write_bytes(text.encode(errors="backslashreplace"))


def write_json(path: Path, value: Any) -> None:
    """Write one value as a JSON file, whole or not at all."""
    text = json.dumps(value, ensure_ascii=False, indent=1) + "\n"
    write_whole(path, lambda file: file.write_text(text, encoding="utf-8"))


@contextmanager
def whole_folder(folder: Path, *, replace: bool = True) -> Iterator[Path]:
    """Yield an empty folder to write into, and give it its name at the end.

    If the block raises or the process is killed, nothing has changed. What a killed process wrote
    is removed when the folder is written again. Only where the system cannot exchange two names
    (others than Linux), a kill between two renamings leaves the folder before as `old` in a hidden
    folder beside it.

    Args:
        replace: whether the new folder takes the place of one that already has the name (True), or
            is dropped, because another process may be reading the other (False).
    """
    from filelock import FileLock

    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(folder)
    with (
        tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}") as place,
        FileLock(Path(place) / LOCK),
    ):
        new, old = Path(place) / "new", Path(place) / "old"
        new.mkdir()
        yield new
        for path in new.rglob("*"):
            _to_disk(path)
        if not (replace and folder.exists() and _exchange(new, folder)):
            _rename(new, folder, old, replace=replace)
        _to_disk(folder.parent)


def _rename(new: Path, folder: Path, old: Path, *, replace: bool) -> None:
    """Give a new folder its name; one that has the name already becomes `old`, or stays."""
    if replace and folder.exists():
        folder.rename(old)
    try:
        new.rename(folder)
    except OSError:
        if old.exists():
            old.rename(folder)
        if replace or not folder.is_dir():
            raise


def _exchange(one: Path, other: Path) -> bool:
    """Let two folders swap their names in one step. Returns whether the system can."""
    try:
        rename = ctypes.CDLL(None).renameat2  # of Linux's C library
    except (AttributeError, OSError, TypeError):
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return bool(rename(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0)


def _remove_leftovers(folder: Path) -> None:
    """Remove what processes that were killed had begun to write under this name."""
    from filelock import FileLock, Timeout

    name = re.compile(rf"\.{re.escape(folder.name)}\w{{8}}")  # as TemporaryDirectory makes it
    for path in folder.parent.iterdir():
        if not name.fullmatch(path.name):
            continue
        try:
            if not (path / LOCK).is_file():
                continue
            with FileLock(path / LOCK, timeout=0):
                pass  # its process has died
        except (Timeout, OSError):  # it is being written, or is another user's
            continue
        shutil.rmtree(path, ignore_errors=True)


def _to_disk(path: Path) -> None:
    if path.is_dir() and os.name == "nt":
        return  # Windows cannot open folders; it writes their entries in order by itself
    opened = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def checksum(file: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def checksum_of(content: str | bytes) -> str:
    """Return the SHA-256 of a text (as UTF-8) or of bytes, in hexadecimal."""
    # Half a character, which no file can hold, still tells two texts apart.
    raw = content.encode(errors="surrogatepass") if isinstance(content, str) else content
    return hashlib.sha256(raw).hexdigest()
