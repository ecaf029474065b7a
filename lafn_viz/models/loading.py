"""Load a model as a TransformerBridge, and prove that its neurons are where we think they are.

1. A name is an embedded model, "smollm2" (from a package, converted once), a local folder, or a
   name on the model hub, in this order. What lies here is read from here: nothing asks the network.
   Only safetensors are read.
2. Parameters are frozen: every gradient in this package is taken with respect to activations.
3. A self-test proves that the hooks are where they should be (see `capabilities`). A model that
   fails is refused with a sentence.
"""

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lafn_viz.core.json_records import as_object, is_folder, parsed, quoted, read_text, record_list
from lafn_viz.core.paths import data_folder
from lafn_viz.models.capabilities import capabilities
from lafn_viz.models.packaged import EMBEDDED, quiet, smollm2_folder

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

# name or owner/name, as the hub gives them.
_HUB_NAME = re.compile(r"(?=.{1,96}\Z)\w([\w.-]*\w)?(/\w([\w.-]*\w)?)?", re.ASCII)


def load_model(
    name: str | Path = "embedded",
    *,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    trust_remote_code: bool = False,
) -> "TransformerBridge":
    """Load a causal or masked language model with its tokenizer as a TransformerLens bridge.

    Args:
        name: "embedded" (knows its facts across languages), "embedded-control" (the same without
            transfer), "embedded-masked" (a masked model that knows them), "smollm2" (a public
            model, with the extra `lafn_viz[smollm2]`), a local folder in Hugging Face format, or
            a name on the model hub.
        device: where the weights go; "cpu" unless told otherwise.
        dtype: of weights and activations.
        trust_remote_code: let a hub model run Python code of its own. Never by default.

    Raises:
        FileNotFoundError, ValueError: in one sentence, when there is no such model, when its
            weights are missing, damaged or no safetensors, or when its neurons are not where
            `hook_post` says (see `capabilities`).
    """
    source, local = resolve(str(name))
    tensors = _check_files(Path(source)) if local else None
    with quiet():
        bridge = _boot(source, tensors, device, dtype, trust_remote_code)
    bridge.cfg.model_name = str(name)
    capabilities(bridge)
    return bridge


def resolve(name: str) -> tuple[str, bool]:
    """Where a model's files are: (folder or hub name, whether it is a folder).

    Nothing is asked of the network here; a name that is a path, or reads like one, never gets that
    far.

    Raises:
        FileNotFoundError: when the name is neither and looks like no name on the hub.
    """
    if name in EMBEDDED:
        return str(data_folder() / "models" / name), True
    if name == "smollm2":
        return str(smollm2_folder()), True
    if is_folder(Path(name)):
        return name, True
    near = difflib.get_close_matches(name[:100], [*EMBEDDED, "smollm2"], n=1, cutoff=0.75)
    if near or not _HUB_NAME.fullmatch(name):
        meant = f"; did you mean {near[0]!r}?" if near else "."
        raise FileNotFoundError(
            f"there is no model {quoted(name)}{meant} Allowed are {', '.join(EMBEDDED)}, smollm2, "
            "an existing local folder, or a name on the model hub (owner/name)"
        )
    # A folder named like the owner: rather a slip in a path than a stranger's name.
    if Path(name).exists() or (len(Path(name).parts) > 1 and is_folder(Path(name).parent)):
        what = "is a file" if Path(name).exists() else f"is not in the folder {Path(name).parent}"
        raise FileNotFoundError(
            f"{name} {what}, and a model is a folder; name an existing one, or, if you mean a "
            f"model of the hub, fetch it first: hf download {name} --local-dir FOLDER"
        )
    return name, False


def _check_files(folder: Path) -> int:
    """How many tensors a folder's weights hold. Refuses a folder without what a model needs."""
    from safetensors import SafetensorError, safe_open

    if not (folder / "config.json").is_file():
        raise FileNotFoundError(
            f"{folder} holds no config.json; give a folder that save_pretrained() wrote"
        )
    for name in ("config.json", "tokenizer_config.json", "generation_config.json"):
        if (folder / name).exists():
            where = str(folder / name)
            record = as_object(where, parsed(where, read_text(folder / name)))
            if record.get("architectures") is not None:
                record_list(where, record, "architectures", str)
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        other = [path.name for path in folder.glob("*.bin")]
        found = f" (only {', '.join(other)}, which may run code when read)" if other else ""
        raise FileNotFoundError(
            f"{folder} holds no *.safetensors weights{found}; "
            "save the model again with save_pretrained()"
        )
    count = 0
    for path in weights:
        try:
            with safe_open(path, framework="pt") as tensors:
                count += len(tensors.keys())
        except (SafetensorError, OSError) as error:
            raise ValueError(
                f"{path} is damaged or cut short ({error}); copy it again, or train or save it anew"
            ) from None
    return count


def _boot(
    source: str, tensors: int | None, device: str, dtype: torch.dtype, trust_remote_code: bool
) -> "TransformerBridge":
    """The bridge of a folder whose weights hold so many tensors, or (None) of a hub name."""
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import AutoConfig, AutoTokenizer

    local = tensors is not None
    options = {"local_files_only": local, "trust_remote_code": trust_remote_code}
    part = "config.json"
    try:
        config = AutoConfig.from_pretrained(source, **options)
        # Before any layer is built: a damaged number would ask for a billion of them.
        if tensors is not None and not 1 <= config.num_hidden_layers <= tensors:
            raise ValueError(
                f"{config.num_hidden_layers} layers, but the weights hold {tensors} tensors"
            )
        part = "tokenizer"
        tokenizer = AutoTokenizer.from_pretrained(source, **options)
        part = "weights"
        model, found = _model_class(config).from_pretrained(
            source,
            config=config,
            use_safetensors=True,
            dtype=dtype,
            attn_implementation="eager",
            output_loading_info=True,
            **options,
        )
        _check_weights(model, found)
        part = "tokenizer"
        first, rows = tokenizer("a")["input_ids"][:1], model.get_input_embeddings().num_embeddings
        if not first or tokenizer.vocab_size > rows:
            raise ValueError(
                f"it has {tokenizer.vocab_size} tokens, the model {rows}, so it is another model's"
            )
    # Whatever a damaged or foreign file makes transformers and tokenizers raise, it means the same.
    except Exception as error:
        reason = _cut(error)
        if "ignore_mismatched_sizes" in reason:
            reason = "their shapes are not those that config.json says"
        where = f"from the folder {source}" if local else f"{source!r} from the model hub"
        raise ValueError(
            f"could not load a language model {where}, its {part}: {reason} (give "
            f"{', '.join(EMBEDDED)}, or a folder or hub name with config.json, safetensors weights "
            "and a tokenizer)"
        ) from error
    # A text begins with BOS where the model's own tokenizer puts one; TransformerLens would put one
    # before every text, which many of these models were not trained with.
    special = set(tokenizer.all_special_ids)
    prepends = first[0] in special
    # XLM-R is RoBERTa with another vocabulary; TransformerLens knows it by that name alone.
    names = model.config.architectures or [type(model).__name__]
    model.config.architectures = [name.replace("XLMRoberta", "Roberta") for name in names]
    try:
        bridge = TransformerBridge.boot_transformers(
            source,
            hf_model=model.to(device),
            tokenizer=tokenizer,
            device=device,
            dtype=dtype,
            trust_remote_code=trust_remote_code,
        )
    except Exception as error:
        kind = names[0]
        raise ValueError(
            f"TransformerLens has no bridge for {kind} ({_cut(error)}); "
            "models of the GPT-2, BLOOM, XGLM, Llama, Qwen, Gemma, BERT, RoBERTa and similar "
            "families have one"
        ) from error
    bridge.cfg.default_prepend_bos = prepends
    bridge.eval()
    for parameter in bridge.original_model.parameters():
        parameter.requires_grad_(False)
    return bridge


def _check_weights(model: Any, found: Mapping[str, Any]) -> None:
    """Refuse a model of which a part would be random, is left out, or is no number."""
    if missing := sorted(found["missing_keys"]):
        raise ValueError(
            f"they lack {len(missing)} tensors that config.json asks for, such as {missing[0]}"
        )
    # What a model has no use for is fine (a pooler); more layers than it builds are not.
    names = set(model.state_dict())
    for name in sorted(found["unexpected_keys"]):
        if re.sub(r"\.\d+\.", ".0.", name, count=1) in names:
            raise ValueError(f"they hold {name}, a layer more than config.json says")
    for name, weight in model.named_parameters():
        if not torch.isfinite(weight).all():
            raise ValueError(f"{name} holds numbers that are not finite")


def _cut(error: Exception) -> str:
    """What a library says of an error, in one line that is no longer than a sentence."""
    told = " ".join(str(error).split())
    if not isinstance(error, ValueError | OSError) or not told:
        told = f"{type(error).__name__}: {told}"
    return told.rstrip(".") if len(told) <= 300 else f"{told[:300]}…"


def _model_class(config: Any) -> Any:
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

    names = config.architectures or []
    masked = any(name.endswith("ForMaskedLM") for name in names)
    return AutoModelForMaskedLM if masked else AutoModelForCausalLM
