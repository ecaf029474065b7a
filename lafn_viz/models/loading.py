"""Load a model as a TransformerBridge, and prove that its neurons are where we think they are.

1. A name is that of a packaged model (see `packaged`), a local folder or GGUF file, or a name on
   the model hub, in this order. A model that is on this machine is read without the network. Only
   safetensors are read; a GGUF file is converted to them first (see `gguf_files`).
2. Its files are checked before and after transformers reads them (see `checkpoint`).
3. Parameters are frozen: every gradient in this package is taken with respect to activations.
4. A self-test proves that the hooks are where they should be (see `capabilities`), and that the
   model reads texts in all the ways that later calls need (see `trials`).

A model that fails a check is refused with one sentence.
"""

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lafn_viz.core.json_records import is_file, is_folder
from lafn_viz.core.messages import in_one_line, quoted, with_article, with_kind
from lafn_viz.models.capabilities import capabilities, special_tokens
from lafn_viz.models.checkpoint import (
    CheckpointError,
    check_config,
    check_files,
    check_weights,
    is_masked,
)
from lafn_viz.models.gguf_files import gguf_folder
from lafn_viz.models.packaged import PACKAGED, packaged_folder
from lafn_viz.models.placement import as_device, as_dtype, placing_options, require_one_place
from lafn_viz.models.quiet import quiet
from lafn_viz.models.torch_modes import plain_modes
from lafn_viz.models.trials import check_reading, read_alone
from lafn_viz.models.vocabulary import check_tokenizer
from lafn_viz.models.weights import device_of, keep_gradients

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

# name or owner/name, as the hub gives them.
_HUB_NAME = re.compile(r"(?=.{1,96}\Z)\w([\w.-]*\w)?(/\w([\w.-]*\w)?)?", re.ASCII)


def load_model(
    name: str | Path = "embedded",
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | str = torch.float32,
    trust_remote_code: bool = False,
    device_map: str | Mapping[str, Any] | None = None,
    max_memory: Mapping[int | str, int | str] | None = None,
    offload_folder: str | Path | None = None,
    quantization_config: Any = None,
) -> "TransformerBridge":
    """Load a causal or masked language model with its tokenizer as a TransformerLens bridge.

    Args:
        name: "embedded" (knows its facts across languages), "embedded-control" (the same without
            transfer), "embedded-masked" (a masked model that knows them), "smollm2" or
            "gemma-3-270m" (public models, with the extras `lafn_viz[smollm2]` and
            `lafn_viz[gemma]`; converted once), a local folder in Hugging Face format, a GGUF file
            (converted once), or a name on the model hub. `~` and `$VARIABLES` in a path are
            expanded.
        device: where the weights go: "cpu", "cuda", "cuda:1", "mps".
        dtype: of weights and activations, itself or its name ("bfloat16").
        trust_remote_code: let a hub model run Python code of its own. Never by default.
        device_map, max_memory, offload_folder: where accelerate puts which weights, as
            `from_pretrained` takes them. What does not fit into memory can stay on the disk; then
            layers are read from there in every pass, and only activations can be edited.
        quantization_config: a `transformers.BitsAndBytesConfig`, which packs the weights into 8 or
            4 bits (with the extra `lafn_viz[quantised]`).

    Raises:
        FileNotFoundError, ValueError: in one sentence, when there is no such model or device, when
            the model's weights are missing, damaged or no safetensors, or when its neurons are not
            where `hook_post` says (see `capabilities`).
        TypeError: for what is no name and no path, such as a model that is loaded already.
    """
    _require_name(name)
    device, dtype = as_device(device), as_dtype(dtype)
    placing = placing_options(
        device,
        device_map=device_map,
        max_memory=max_memory,
        offload_folder=offload_folder,
        quantization_config=quantization_config,
    )
    source, local = resolve(str(name))
    n_tensors = check_files(Path(source)) if local else None
    with quiet(), plain_modes():
        model, tokenizer = _read(source, n_tensors, dtype, trust_remote_code, placing)
        device = device_of(model) if placing else device
        try:
            logits = read_alone(model if placing else model.to(device))
            bridge = _boot(source, model, tokenizer, device, dtype, trust_remote_code)
            check_reading(bridge, logits, masked=capabilities(bridge).masked)
        except CheckpointError:
            raise
        # An architecture may fail in any way that a bridge or a number type leads it to.
        except Exception as error:
            raise ValueError(
                f"self-test failed: {type(model).__name__} cannot be read in {dtype} "
                f"({_reason(error)}); try another dtype, or take a model of another family"
            ) from error
    bridge.cfg.model_name = str(name)
    return bridge


def _require_name(name: object) -> None:
    """Refuse what is no name and no path, with TypeError."""
    if isinstance(name, str | Path):
        return
    kind = type(name).__name__
    if kind == "TransformerBridge":
        instead = "it is loaded already, so pass it on as it is"
    elif hasattr(name, "save_pretrained"):
        instead = "save it and its tokenizer in one folder by save_pretrained(), and give that"
    else:
        instead = f"give {', '.join(PACKAGED)}, a folder, or a name on the model hub"
    what = "None" if name is None else with_article(kind)
    raise TypeError(f"load_model takes a model's name or folder, not {what}; {instead}")


def resolve(name: str) -> tuple[str, bool]:
    """Return where a model's files are: (folder or hub name, whether it is a folder).

    This never asks the network. A name that is a path, or looks like one, is never taken for a hub
    name. A GGUF file is converted first, once.

    Raises:
        FileNotFoundError: for a name that is none of these.
    """
    if name in PACKAGED:
        return str(packaged_folder(name)), True
    given, name = name, os.path.expandvars(os.path.expanduser(name))
    if name and is_folder(Path(name)):
        return name, True
    if name and is_file(Path(name)):
        if name.lower().endswith(".gguf"):
            return str(gguf_folder(Path(name))), True
        raise FileNotFoundError(
            f"{name} is a file, and a model is a folder; give the folder that save_pretrained() "
            "wrote, or a .gguf file"
        )
    near = difflib.get_close_matches(name[:100].lower(), PACKAGED, n=1, cutoff=0.75)
    if near or not _HUB_NAME.fullmatch(name):
        hint = f"; did you mean {near[0]!r}?" if near else "."
        path = "" if name == given else f", which is {quoted(name)}"
        raise FileNotFoundError(
            f"there is no model {quoted(given)}{path}{hint} Allowed are {', '.join(PACKAGED)}, "
            "an existing local folder or GGUF file, or a name on the model hub (owner/name)"
        )
    # With a folder named like the owner, a slip in a path is likelier than a name on the hub.
    if len(Path(name).parts) > 1 and is_folder(Path(name).parent):
        raise FileNotFoundError(
            f"{name} is not in the folder {Path(name).parent}, and a model is a folder; name an "
            "existing one, or, if you mean a model of the hub, fetch it first: "
            f"hf download {name} --local-dir FOLDER"
        )
    return name, False


def _read(
    source: str,
    n_tensors: int | None,
    dtype: torch.dtype,
    trust_remote_code: bool,
    placing: Mapping[str, Any],
) -> tuple[Any, Any]:
    """Model and tokenizer of a folder whose weights hold `n_tensors`, or (None) of a hub name."""
    from transformers import (
        AutoConfig,
        AutoModelForCausalLM,
        AutoModelForMaskedLM,
        AutoTokenizer,
    )

    local = n_tensors is not None
    options = {"local_files_only": local, "trust_remote_code": trust_remote_code}
    part = "config.json"
    try:
        config = AutoConfig.from_pretrained(source, **options)
        check_config(config)
        # Before any layer is built: a damaged number would ask for a billion of them.
        if n_tensors is not None and not 1 <= config.num_hidden_layers <= n_tensors:
            raise ValueError(
                f"{config.num_hidden_layers} layers, but the weights hold {n_tensors} tensors"
            )
        part = "tokenizer"
        tokenizer = AutoTokenizer.from_pretrained(source, **options)
        part = "weights"
        kind = AutoModelForMaskedLM if is_masked(config) else AutoModelForCausalLM
        model, loading_info = kind.from_pretrained(
            source,
            config=config,
            use_safetensors=True,
            dtype=dtype,
            attn_implementation="eager",
            output_loading_info=True,
            **options,
            **placing,
        )
        part = "device_map"
        require_one_place(getattr(model, "hf_device_map", None))
        part = "weights"
        keep_gradients(model)
        check_weights(model, loading_info)
        part = "tokenizer"
        check_tokenizer(model, tokenizer)
    # Damaged and foreign files make transformers and tokenizers raise errors of any kind.
    except Exception as error:
        own = isinstance(error, CheckpointError) or part == "device_map"
        reason = str(error) if own else _reason(error)
        if "ignore_mismatched_sizes" in reason:
            reason = "their shapes are not those that config.json says"
        elif "trust_remote_code" in str(error):
            reason = "it names Python code of its own; if you trust it, pass trust_remote_code=True"
        elif not own:
            reason += (
                "; give a folder or hub name with config.json, safetensors weights and a tokenizer"
            )
        where = f"from the folder {source}" if local else f"{source!r} from the model hub"
        raise ValueError(
            f"could not load a language model {where}, its {part}: {reason}"
        ) from error
    return model, tokenizer


def _boot(
    source: str,
    model: Any,
    tokenizer: Any,
    device: torch.device,
    dtype: torch.dtype,
    trust_remote_code: bool,
) -> "TransformerBridge":
    """Bridge of a model, with its parameters frozen."""
    from transformer_lens.model_bridge import TransformerBridge

    # XLM-R is RoBERTa with another vocabulary; TransformerLens knows it by that name alone.
    name = type(model).__name__
    model.config.architectures = [name.replace("XLMRoberta", "Roberta")]
    # A tokenizer with BOS would be read anew, to put BOS before every text, which many models were
    # not trained with; one without an end of text would get a token that the model has no row for.
    named = {name: getattr(tokenizer, name) for name in ("bos_token", "eos_token", "pad_token")}
    tokenizer.bos_token = None
    tokenizer.eos_token = named["eos_token"] or tokenizer.convert_ids_to_tokens(0)
    try:
        bridge = TransformerBridge.boot_transformers(
            source,
            hf_model=model,
            tokenizer=tokenizer,
            device=device,
            dtype=dtype,
            trust_remote_code=trust_remote_code,
        )
    except Exception as error:
        unknown = "Available architectures" in str(error)  # a list of all that it knows
        reason = "" if unknown else f" ({_reason(error)})"
        raise CheckpointError(
            f"TransformerLens has no bridge for {name}{reason}; "
            "models of the GPT-2, BLOOM, XGLM, Llama, Qwen, Gemma, BERT, RoBERTa and similar "
            "families have one"
        ) from error
    for name, token in named.items():
        setattr(tokenizer, name, token)
    # TransformerLens pads every text that it is given; nothing looks at the padding.
    tokenizer.pad_token = (
        tokenizer.pad_token or tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)
    )
    # Where both agree, TransformerLens neither adds nor removes BOS.
    prepends = bool(special_tokens(tokenizer)[0])
    bridge.cfg.default_prepend_bos = bridge.cfg.tokenizer_prepends_bos = prepends
    bridge.cfg.device = str(device)  # TransformerLens says "meta" of offloaded weights
    bridge.eval()
    for parameter in bridge.original_model.parameters():
        parameter.requires_grad_(False)
    return bridge


def _reason(error: Exception) -> str:
    """An error of another library in one line, with its kind where that says more."""
    explains_itself = isinstance(error, ValueError | OSError) and str(error).strip()
    return in_one_line(error) if explains_itself else with_kind(error)
