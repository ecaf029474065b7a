"""What a model is and what it lets us do, found out by trying and not by its name.

1. `capabilities` proves, once per model, that `hook_post` through the down projection gives the
   output of the feed-forward network. A model that fails is refused with a sentence: every score
   would be about something other than a neuron.
2. It finds out whether rows may be appended to the batch between layers, whether the last logits
   alone can be asked for, and whether the un-embedding is a matrix, a bias and a cap.
"""

import hashlib
import inspect
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor

from lafn_viz.core.provenance import Provenance
from lafn_viz.models.hooks import (
    HOOK_UNEMBED,
    attention_mask,
    down_weight,
    hook_block,
    hook_post,
    hook_written,
)

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


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


@dataclass(frozen=True)
class ModelCapabilities:
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
    special_prefix: tuple[int, ...]
    special_suffix: tuple[int, ...]
    mask_token: int | None
    ablation_token: int | None
    supports_growing_batch: bool
    supports_logits_to_keep: bool
    window: int | None
    unembedding: Unembedding | None

    @property
    def shape(self) -> tuple[int, int]:
        """Number of layers and of neurons in each layer."""
        return self.n_layers, self.d_mlp


_CAPABILITIES: "WeakKeyDictionary[TransformerBridge, ModelCapabilities]" = WeakKeyDictionary()


def capabilities(model: "TransformerBridge") -> ModelCapabilities:
    """What was found out about this model; computed on first use, then remembered.

    Raises:
        ValueError: if `hook_post` is not the input of the down projection: then every score would
            be about something else than a neuron.
    """
    if model not in _CAPABILITIES:
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
        _CAPABILITIES[model] = ModelCapabilities(
            n_layers=n_layers,
            d_mlp=_check_neurons(model, n_layers),
            weights=_hash(hf),
            masked=masked,
            special_prefix=before,
            special_suffix=after,
            mask_token=mask if masked else None,
            ablation_token=mask if masked else end,
            supports_growing_batch=_supports_growing_batch(model, n_layers, masked),
            supports_logits_to_keep="logits_to_keep" in inspect.signature(hf.forward).parameters,
            window=getattr(hf.config, "sliding_window", None) or None,
            unembedding=_unembedding(model),
        )
    return _CAPABILITIES[model]


def provenance(
    model: "TransformerBridge", method: str, *, seed: int | None = None, **options: Any
) -> Provenance:
    """Provenance of a result computed from this model."""
    return Provenance(
        model=str(getattr(model.cfg, "model_name", "unnamed")),
        weights=capabilities(model).weights,
        method=method,
        options=options,
        seed=seed,
        versions={name: version(name) for name in ("torch", "transformers", "transformer-lens")},
    )


def context_length(model: "TransformerBridge") -> int | None:
    """How many tokens the model reads at most; None where it has no such limit (BLOOM)."""
    limit = getattr(model.original_model.config, "max_position_embeddings", None)
    return limit if isinstance(limit, int) else None


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


def _unembedding(model: "TransformerBridge") -> Unembedding | None:
    """The un-embedding as a matrix, a bias and a cap, if that is all it is."""
    seen: list[Tensor] = []

    def keep(value: Tensor, hook: Any) -> None:
        seen.append(value)

    output = model.original_model.get_output_embeddings()
    if output is None or HOOK_UNEMBED not in model.hook_dict:
        return None
    bias = getattr(output, "bias", None)
    head = Unembedding(
        weight=output.weight,
        # TransformerLens gives zeros to a model that has none.
        bias=bias if bias is not None and bias.any() else None,
        cap=getattr(model.original_model.config, "final_logit_softcapping", None),
    )
    with torch.no_grad(), model.hooks(fwd_hooks=[(HOOK_UNEMBED, keep)]):
        logits = model(_probe_tokens(model))
    if len(seen) != 1 or head.weight.shape[-1] != seen[0].shape[-1]:
        return None
    mine = head.logits(seen[0])
    tolerance = 1e-4 if logits.dtype == torch.float32 else 5e-2
    same = mine.shape == logits.shape and torch.allclose(
        mine, logits.float(), rtol=tolerance, atol=tolerance * float(logits.abs().max())
    )
    return head if same else None


def _supports_growing_batch(model: "TransformerBridge", n_layers: int, masked: bool) -> bool:
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


def require_causal(model: "TransformerBridge") -> None:
    """Refuse a masked model, with ValueError."""
    if capabilities(model).masked:
        raise ValueError(
            f"{type(model.original_model).__name__} fills masks, but edits are read as a "
            "causal model reads, from left to right; give a causal model"
        )
