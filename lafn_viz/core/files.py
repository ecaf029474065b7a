"""Write files whole or not at all, and check what they hold.

A file that is half written never has its final name, so that a process can be killed at any moment.
"""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` make a file, and give it its name when all of it is on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name with a dot is no table to those who read the folder.
    beside = path.with_name(f".{path.name}.tmp")
    write(beside)
    _to_disk(beside)
    beside.replace(path)
    _to_disk(path.parent)


def _to_disk(path: Path) -> None:
    if path.is_dir() and os.name == "nt":
        return  # Windows opens no folders, and keeps their entries in order by itself
    opened = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def write_json(path: Path, value: Any) -> None:
    """One value as a JSON file, whole or not at all."""
    text = json.dumps(value, ensure_ascii=False, indent=1) + "\n"
    write_whole(path, lambda file: file.write_text(text, encoding="utf-8"))


def checksum(file: Path) -> str:
    """SHA-256 of a file."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
