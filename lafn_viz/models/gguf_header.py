"""What a GGUF file says of itself, read without its weights.

The format is that of `gguf.md` in ggml's documentation: fields of names and values, then a table of
tensors, then their numbers.
"""

import mmap
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import Any

import torch

# Numbers of a header, by the code of their type (ggml's gguf.h).
_NUMBERS = dict(zip((0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12), "BbHhIif?Qqd", strict=True))
_TEXT, _ARRAY = 8, 9
_FLOAT32, _BFLOAT16 = 0, 30  # types of tensors


@dataclass(frozen=True)
class GGUFHeader:
    """What a GGUF file says of itself.

    Attributes:
        architecture: as llama.cpp names it ("llama", "gemma3").
        n_numbers: how many numbers all tensors hold.
        dtype: the smallest type that holds the matrices: a scale of float16 makes the numbers of a
            quantised one.
    """

    architecture: str
    n_numbers: int
    dtype: torch.dtype


def read_header(files: Sequence[Path]) -> GGUFHeader:
    """Read what a GGUF file says of itself, from the file or from its parts.

    Raises:
        FileNotFoundError: if the package gguf is not installed.
        ValueError: for a file that is no GGUF, or is damaged, cut short, or one of several.
    """
    name, size = files[0].name, sum(file.stat().st_size for file in files)
    if find_spec("gguf") is None:
        raise FileNotFoundError(
            f"{name} is a GGUF file, and the package that reads those is not installed; install it "
            "with: pip install gguf"
        )
    with files[0].open("rb") as opened:
        if opened.read(4) != b"GGUF":
            raise ValueError(
                f"{files[0]} is no GGUF file: it does not begin with 'GGUF'; fetch it again, or "
                "give the folder of a model"
            )
        with mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
            try:
                said, tensors, end = _parsed(content)
            except (struct.error, UnicodeDecodeError, KeyError, OverflowError):
                raise ValueError(
                    f"{name} is damaged, cut short, or of a version of GGUF other than 2 and 3; "
                    "fetch it again"
                ) from None
    if said.get("split.count", 0) > 1:
        raise ValueError(
            f"{name} is one of {said['split.count']} parts of a model; join them with "
            "llama-gguf-split --merge, and give the file that it writes"
        )
    alignment = said.get("general.alignment", 32)
    start = -(-end // alignment) * alignment
    needed = start + max((offset + n_bytes for *_, offset, n_bytes in tensors), default=0)
    if size < needed:
        raise ValueError(
            f"{name} is cut short: it has {size:,} bytes, and its tensors end at {needed:,}; "
            "fetch it again"
        )
    matrices = {kind for shape, kind, *_ in tensors if len(shape) > 1}
    dtype = torch.float32 if _FLOAT32 in matrices else torch.float16
    dtype = torch.bfloat16 if matrices == {_BFLOAT16} else dtype
    n_numbers = sum(prod(shape) for shape, *_ in tensors)
    return GGUFHeader(str(said.get("general.architecture")), n_numbers, dtype)


def _parsed(content: mmap.mmap) -> tuple[dict[str, Any], list[Any], int]:
    """Fields of a header, its tensors as (shape, type, offset, size), and where it ends."""
    at = 4

    def take(form: str) -> tuple[Any, ...]:
        nonlocal at
        values = struct.unpack_from(f"<{form}", content, at)
        at += struct.calcsize(f"<{form}")
        return values

    def text() -> str:
        nonlocal at
        (length,) = take("Q")
        at += length
        if at > len(content):
            raise struct.error
        return content[at - length : at].decode()

    def value(kind: int) -> Any:
        nonlocal at
        if kind == _TEXT:
            return text()
        if kind != _ARRAY:
            return take(_NUMBERS[kind])[0]
        inner, length = take("IQ")
        if inner in _NUMBERS:  # of no use here
            at += length * struct.calcsize(_NUMBERS[inner])
        else:
            for _ in range(length):
                value(inner)
        return None

    version, n_tensors, n_fields = take("IQQ")
    if version not in (2, 3):
        raise struct.error
    said = {text(): value(take("I")[0]) for _ in range(n_fields)}
    tensors = []
    for _ in range(n_tensors):
        text()
        shape = take(f"{take('I')[0]}Q")
        kind, offset = take("IQ")
        tensors.append((shape, kind, offset, _size(prod(shape), kind)))
    return said, tensors, at


def _size(n_numbers: int, kind: int) -> int:
    """Bytes of a tensor of a type: its numbers lie in blocks."""
    from gguf import GGML_QUANT_SIZES

    # Keys are of an enumeration whose members equal their numbers.
    numbers, n_bytes = {int(key): sizes for key, sizes in GGML_QUANT_SIZES.items()}[kind]
    return n_numbers // numbers * n_bytes
