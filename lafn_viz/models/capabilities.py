"""What a model is and what it lets us do, found out by trying and never by its name.

1. **Proof.** `capabilities` proves, once for each model, that `hook_post` through the down
   projection gives the output of the feed-forward network. A model that fails is refused with a
   sentence: its scores would be about something other than neurons.
2. **Trials.** It finds out whether rows may be appended to the batch between layers, whether the
   model computes the last logits alone, whether the un-embedding is a matrix, a bias and a cap, and
   which layers normalise what their neurons write (see `post_norm`).
   Callers take a faster way where a trial succeeds, and a slower one with the same result where it
   fails.

**To add a family of models**: add a tiny random model of it to `tests/families.py` and run the
tests. A family for which TransformerLens has a bridge mostly passes as it is. If one of its hooks
or weights lies elsewhere, `hooks` says where; if it puts masks elsewhere in a text, change
`tokens.encode`; if TransformerLens does not know its name, translate the name in `loading`. `plain`
knows where models of transformers have their down projections. No other module knows families.
"""

import hashlib
import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from lafn_viz.core.provenance import Provenance
from lafn_viz.models.checkpoint import CheckpointError
from lafn_viz.models.hooks import (
    HOOK_UNEMBED,
    Hooks,
    attention_mask,
    down_bias,
    down_weight,
    hook_block,
    hook_post,
    hook_written,
    hooked,
)
from lafn_viz.models.post_norm import post_norm_floors
from lafn_viz.models.remembered import Remembered, numbers_of, structure_of
from lafn_viz.models.trials import context_limit, probe_tokens
from lafn_viz.models.weights import full_weight, is_offloaded, is_packed, like_of

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


_GROWING = 3  # tokens of the probe with which a batch grows by every layer


@dataclass(frozen=True)
class Unembedding:
    """The un-embedding, proven to be the model's own: cap * tanh((h @ weight.T + bias) / cap)."""

    weight: Float[Tensor, "vocab d_model"]
    bias: Float[Tensor, " vocab"] | None
    cap: float | None

    def logits(self, hidden: Float[Tensor, "*row d_model"]) -> Float[Tensor, "*row vocab"]:
        """Logits in float32."""
        logits = hidden @ self.weight.T
        logits = (logits if self.bias is None else logits + self.bias).float()
        return logits if self.cap is None else self.cap * torch.tanh(logits / self.cap)

    def parts(self, size: int) -> Iterator["Unembedding"]:
        """The un-embedding of `size` words of the vocabulary after the other."""
        for start in range(0, len(self.weight), size):
            words = slice(start, start + size)
            bias = None if self.bias is None else self.bias[words]
            yield Unembedding(self.weight[words], bias, self.cap)


@dataclass(frozen=True)
class ModelCapabilities:
    """What a model is and what it lets us do (see `capabilities`).

    Attributes:
        n_layers: number of layers.
        d_mlp: neurons in each layer.
        masked: whether the model fills masks and reads both sides (BERT); else it is causal.
        special_prefix, special_suffix: special tokens that the tokenizer puts before and after a
            text. A causal model reads no suffix: its texts go on.
        mask_token: the mask of a masked model, else None.
        ablation_token: token that takes the place of a removed one: the mask or the end of text;
            None where the tokenizer has neither.
        supports_growing_batch: whether rows may be appended to the batch between layers.
        supports_logits_to_keep: whether the model can compute the logits of the last positions
            alone.
        context_length: number of tokens that the model reads at most; None for no such limit.
        window: number of positions that sliding-window attention sees; None for all.
        unembedding: None where the un-embedding is more than a matrix, a bias and a cap.
        post_norm_floors: for each layer None, or the floor of the norm that stands between its
            neurons and the residual stream (see `post_norm`).
    """

    n_layers: int
    d_mlp: int
    masked: bool
    special_prefix: tuple[int, ...]
    special_suffix: tuple[int, ...]
    mask_token: int | None
    ablation_token: int | None
    supports_growing_batch: bool
    supports_logits_to_keep: bool
    context_length: int | None
    window: int | None
    unembedding: Unembedding | None
    post_norm_floors: tuple[float | None, ...]

    @property
    def scale_invariant(self) -> bool:
        """Whether any layer adds the same when all its neurons are halved (Gemma 2 and 3, OLMo 2).

        There the activation zero is no baseline (see `lafn_viz.attribution.baselines`).
        """
        return any(floor is not None for floor in self.post_norm_floors)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of layers and of neurons in each layer."""
        return self.n_layers, self.d_mlp


_CAPABILITIES: Remembered[ModelCapabilities] = Remembered(
    lambda model: (structure_of(model), _has_bias(model))
)
_WEIGHTS: Remembered[str] = Remembered(numbers_of, in_calls=True)


def capabilities(model: "TransformerBridge") -> ModelCapabilities:
    """Return what a model lets us do; found out on the first call, and anew where it has changed.

    Raises:
        ValueError: if `hook_post` is not the input of the down projection (every score would be
            about something other than a neuron), or if a masked model has no mask token.
    """
    return _CAPABILITIES.get(model, _found_out)


def weights_of(model: "TransformerBridge") -> str:
    """SHA-256 of all weights, as they are now."""
    return _WEIGHTS.get(model, lambda model: _hash(model.original_model))


def _found_out(model: "TransformerBridge") -> ModelCapabilities:
    """Find out what a model lets us do."""
    hf = model.original_model
    _require_usable_weights(hf)
    n_layers = int(model.cfg.n_layers)
    _require_own_layers(model, n_layers)
    masked = any(name.endswith("MaskedLM") for name in hf.config.architectures or [])
    mask, end = (getattr(model.tokenizer, f"{name}_token_id", None) for name in ("mask", "eos"))
    if masked and mask is None:
        raise CheckpointError(
            f"{type(hf).__name__} fills masks, but its tokenizer has no mask token; "
            "save the model's own tokenizer beside it"
        )
    prefix, suffix = special_tokens(model.tokenizer)
    return ModelCapabilities(
        n_layers=n_layers,
        d_mlp=_check_neurons(model, n_layers),
        masked=masked,
        special_prefix=prefix,
        special_suffix=suffix,
        mask_token=mask if masked else None,
        ablation_token=mask if masked else end,
        supports_growing_batch=_supports_growing_batch(model, n_layers, masked),
        supports_logits_to_keep="logits_to_keep" in inspect.signature(hf.forward).parameters,
        context_length=context_limit(hf),
        window=getattr(hf.config, "sliding_window", None) or None,
        unembedding=_unembedding(model),
        post_norm_floors=post_norm_floors(model, n_layers),
    )


def _require_usable_weights(hf: torch.nn.Module) -> None:
    """Refuse weights without numbers, or without gradients through them, with ValueError."""
    weights = list(hf.parameters())
    if any(
        weight.is_meta and not is_offloaded(module)
        for module in hf.modules()
        for weight in module.parameters(recurse=False)
    ):
        raise ValueError(
            "the model's weights are on the device 'meta', which keeps no numbers; load the model "
            "again, on a device that does"
        )
    if any(weight.is_inference() for weight in weights):
        raise ValueError(
            "the model was made inside torch.inference_mode(), so no gradient goes through its "
            "weights; make it outside, or load it by lv.load_model"
        )


def _require_own_layers(model: "TransformerBridge", n_layers: int) -> None:
    """Refuse layers that were put in another one's place: their hooks are those of other layers."""
    kind = type(model.original_model).__name__
    if len(model.blocks) != n_layers:
        raise CheckpointError(
            f"{kind} has {len(model.blocks)} layers, but model.cfg.n_layers is {n_layers}; {_ANEW}"
        )
    for layer, block in enumerate(model.blocks):
        place = model.hook_dict.get(hook_post(layer))
        if place is not None and all(module is not place for module in block.modules()):
            raise _replaced(model, hook_post(layer))


_ANEW = "save the changed transformers model in a folder and load that by lv.load_model"


def _replaced(model: "TransformerBridge", hook: str) -> CheckpointError:
    return CheckpointError(
        f"{hook} is no part of {type(model.original_model).__name__} as it is now: a layer was "
        f"replaced or moved after the model was loaded; {_ANEW}"
    )


def require_causal(model: "TransformerBridge") -> None:
    """Refuse a masked model with ValueError."""
    if capabilities(model).masked:
        raise ValueError(
            f"{type(model.original_model).__name__} fills masks, but edits are read as a "
            "causal model reads, from left to right; give a causal model"
        )


def provenance(
    model: "TransformerBridge", method: str, *, seed: int | None = None, **options: Any
) -> Provenance:
    """Provenance of a result that was computed from this model."""
    return Provenance(
        model=str(getattr(model.cfg, "model_name", "unnamed")),
        weights=weights_of(model),
        method=method,
        options=options,
        seed=seed,
        versions={name: version(name) for name in ("torch", "transformers", "transformer-lens")},
    )


def context_length(model: "TransformerBridge") -> int | None:
    """Number of tokens that the model reads at most; None where it has no such limit (BLOOM)."""
    return capabilities(model).context_length


def special_tokens(tokenizer: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Special tokens that the tokenizer puts before and after a text.

    They are asked for and not looked up: the tokenizer of XGLM has "<s>" but puts "</s>" there,
    others put two tokens or none, and that of many a causal model is BERT's.
    """
    for text in ("a", "A", "1", "."):
        plain = tokenizer(text, add_special_tokens=False)["input_ids"]
        whole = tokenizer(text)["input_ids"]
        for start in range(len(whole) - len(plain), -1, -1):
            stop = start + len(plain)
            if plain and whole[start:stop] == plain:
                return tuple(whole[:start]), tuple(whole[stop:])
    return (), ()


def _hash(module: torch.nn.Module) -> str:
    digest = hashlib.sha256()
    for name, parameter in sorted(module.state_dict().items()):
        if parameter.is_meta:
            place, _, leaf = name.rpartition(".")
            parameter = full_weight(module.get_submodule(place), leaf)
        digest.update(name.encode())
        raw = parameter.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(raw.numpy().tobytes())
    return digest.hexdigest()


def _check_neurons(model: "TransformerBridge", n_layers: int) -> int:
    """Return d_mlp, after proving that neurons times down projection is the FFN's output.

    With all neurons at zero the output must be the bias alone: nothing else may add to it.
    """
    kind = type(model.original_model).__name__
    posts, outputs = map(hook_post, range(n_layers)), map(hook_written, range(n_layers))
    names = list(zip(posts, outputs, strict=True))
    for layer, (post, output) in enumerate(names):
        if post not in model.hook_dict or output not in model.hook_dict:
            raise CheckpointError(
                f"{kind} has no {post} or no {output}: its layer {layer} has no plain "
                "feed-forward network (no mixtures of experts or state-space models)"
            )
    values = _values_at(model, [name for pair in names for name in pair])
    silent_values = _values_at(
        model, [output for _, output in names], silenced=[post for post, _ in names]
    )
    widths = set()
    for layer, (post, output) in enumerate(names):
        neurons, written, silent = values[post], values[output], silent_values[output]
        weight, bias = down_weight(model, layer), down_bias(model, layer)
        # In 8 bits, bitsandbytes also rounds what is multiplied with the weights.
        tolerance = 5e-2 if is_packed(model.blocks[layer].mlp.out) else 1e-2
        scale = written.abs().max().clamp_min(1e-6)
        exact = weight.shape[0] == neurons.shape[-1] and bool(
            (neurons @ weight + (0 if bias is None else bias) - written).abs().max() / scale
            < tolerance
        )
        rest = silent if bias is None else silent - bias
        if not exact or rest.abs().max() / scale > tolerance:
            raise CheckpointError(
                f"self-test failed in layer {layer} of {kind}: {post} through the down projection "
                f"does not give the FFN's output, so it is not the layer's neurons; "
                "this model cannot be attributed"
            )
        widths.add(int(neurons.shape[-1]))
    if len(widths) != 1:
        raise CheckpointError(
            f"{kind} has layers of {sorted(widths)} neurons; one width is supported"
        )
    return widths.pop()


def _values_at(
    model: "TransformerBridge", names: Sequence[str], *, silenced: Sequence[str] = ()
) -> dict[str, Tensor]:
    """Values at some hooks while the model reads the probe, with the `silenced` ones at zero."""
    values: dict[str, Tensor] = {}

    def keep(value: Tensor, hook: Any) -> None:
        values[hook.name] = value

    def silence(value: Tensor, hook: Any) -> Tensor:
        return torch.zeros_like(value)

    hooks: Hooks = [*((name, silence) for name in silenced), *((name, keep) for name in names)]
    with torch.no_grad(), hooked(model, hooks):
        model(probe_tokens(model.original_model))
    # A hook runs under its canonical name, which may be another than the one asked for.
    asked = {name: str(model.hook_dict[name].name) for name in names}
    for name, canonical in asked.items():
        if canonical not in values:
            raise _replaced(model, name)
    return {name: values[canonical] for name, canonical in asked.items()}


def _has_bias(model: "TransformerBridge") -> bool:
    """Whether the un-embedding adds a bias: TransformerLens gives one of zeros where none is."""
    output = model.original_model.get_output_embeddings()
    bias = None if output is None else full_weight(output, "bias")
    return bias is not None and not bias.is_meta and bool(bias.any())


def _unembedding(model: "TransformerBridge") -> Unembedding | None:
    """The un-embedding as a matrix, a bias and a cap, or None if it is more than that."""
    hidden: list[Tensor] = []

    def keep(value: Tensor, hook: Any) -> None:
        hidden.append(value)

    output = model.original_model.get_output_embeddings()
    if output is None or HOOK_UNEMBED not in model.hook_dict:
        return None
    weight = full_weight(output)
    if weight is None:
        return None
    unembedding = Unembedding(
        weight=weight,
        bias=full_weight(output, "bias") if _has_bias(model) else None,
        cap=getattr(model.original_model.config, "final_logit_softcapping", None),
    )
    with torch.no_grad(), hooked(model, [(HOOK_UNEMBED, keep)]):
        logits = model(probe_tokens(model.original_model))
    if len(hidden) != 1 or unembedding.weight.shape[-1] != hidden[0].shape[-1]:
        return None
    ours = unembedding.logits(hidden[0])
    tolerance = 1e-4 if logits.dtype == torch.float32 else 5e-2
    same = ours.shape == logits.shape and torch.allclose(
        ours, logits.float(), rtol=tolerance, atol=tolerance * float(logits.abs().max())
    )
    return unembedding if same else None


def _supports_growing_batch(model: "TransformerBridge", n_layers: int, masked: bool) -> bool:
    """Whether rows appended at the input of every layer come out like those they are copies of."""
    tokens = probe_tokens(model.original_model)[:, :_GROWING]
    weight = like_of(model.original_model)

    def append(value: Tensor, hook: Any) -> Tensor:
        return torch.cat([value, value[:2]])

    # Of many words, the logits take longer than all layers: the last ones are enough.
    last: Hooks = [(HOOK_UNEMBED, lambda value, hook: value[:, -1:])]
    last = last if HOOK_UNEMBED in model.hook_dict else []
    with torch.no_grad(), hooked(model, last):
        plain = model(tokens)
        length = tokens.shape[1]
        mask = attention_mask(length, length, weight, causal=not masked)
        hooks = [(hook_block(layer), append) for layer in range(n_layers)]
        try:
            with hooked(model, hooks):
                grown = model(tokens, attention_mask=mask)
        # Whatever an architecture raises here means the same: its batch cannot grow.
        except Exception:
            return False
    if grown.shape[0] != 2 * (n_layers + 1):
        return False
    tolerance = 1e-4 if weight.dtype == torch.float32 else 5e-2
    difference = (grown.view(-1, *plain.shape) - plain).abs().max()
    return bool(difference <= tolerance * plain.abs().max())
