"""Whether a model reads texts in all the ways of this package, found out by trying.

`check_reading` refuses a model that would fail, or give wrong numbers, in a later call. A probe is
read as transformers reads it alone, in finite numbers, also where it is padded at its end; and
gradients reach the neurons of every layer. A causal model must read no later tokens, read on after
the keys and values of earlier tokens, and generate after texts that are padded at their start.

`context_limit` finds out how many tokens a model reads.
"""

from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lafn_viz.core.messages import with_kind
from lafn_viz.models.checkpoint import CheckpointError
from lafn_viz.models.hooks import Hooks, hook_attended, hook_post, hooked
from lafn_viz.models.weights import device_of

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

Tokens = Int[Tensor, "row pos"]
Logits = Float[Tensor, "row pos vocab"]
# Logits as a model gives them, and as they should be.
FoundAndRight = tuple[Tensor, Tensor]

_SEEN_FIRST = 3  # of the probe's tokens, those that are read before the rest


def probe_tokens(model: Any) -> Tokens:
    """Random tokens of a transformers model, always the same."""
    generator = torch.Generator().manual_seed(0)
    vocabulary = int(model.config.get_text_config().vocab_size)
    tokens = torch.randint(0, vocabulary, (2, 5), generator=generator)
    return tokens.to(device_of(model))


def read_alone(model: Any) -> Logits:
    """Logits of the probe as a transformers model gives them, before it has a bridge."""
    with torch.no_grad():
        logits: Tensor = model(probe_tokens(model)).logits
    return logits


def check_reading(model: "TransformerBridge", expected: Logits, *, masked: bool) -> None:
    """Refuse a model that reads a probe otherwise than it should, with CheckpointError.

    Args:
        expected: what `read_alone` gave.
    """
    kind, dtype = type(model.original_model).__name__, expected.dtype
    if not (expected.isfinite().all() and _reads_a_text(model, dtype)):
        raise CheckpointError(
            f"{kind} gives numbers that are not finite in {dtype}; load it with "
            'dtype="float32" or "bfloat16"'
        )
    _require_attention(model, kind)
    tolerance = (1e-2 if dtype == torch.float32 else 0.1) * expected.abs().max()
    tokens = probe_tokens(model.original_model)
    trials = {"read a text that is padded at its end as one without padding": _padded_at_its_end}
    if not masked:
        trials |= {
            "read the beginning of a text and then its rest as the whole": _read_in_two_parts,
            "generate after a text that is padded at its start as after the text alone": _generated,
        }
    for what, trial in trials.items():
        reason = "its logits differ"
        try:
            found, right = trial(model, tokens, expected)
            if (found - right).abs().max() <= tolerance:
                continue
            if not found.isfinite().all():
                reason = "its logits are not finite"
        # Whatever an architecture raises here, it would raise in the middle of a call.
        except Exception as error:
            reason = with_kind(error, most=100)
        # Llama masks whole rows where a text is padded; in float64, these are no numbers.
        instead = "" if dtype == torch.float32 else 'load it with dtype="float32", or '
        raise CheckpointError(
            f"self-test failed: {kind} does not {what} ({reason}), so its numbers would be "
            f"wrong; {instead}take a model of another family"
        )


def _reads_a_text(model: "TransformerBridge", dtype: torch.dtype) -> bool:
    """Whether a text has finite logits in float16, whose numbers end at 65,504.

    Special tokens at the start of a text may have far larger activations than all others (Sun et
    al. 2024, "Massive activations in large language models"), and the probe has none of them.
    """
    if dtype != torch.float16 or model.tokenizer is None:
        return True
    tokens = model.tokenizer("Paris", return_tensors="pt").input_ids
    with torch.no_grad():
        logits = model.original_model(tokens.to(device_of(model.original_model))).logits
    return bool(logits.isfinite().all())


def _require_attention(model: "TransformerBridge", kind: str) -> None:
    for layer in range(int(model.cfg.n_layers)):
        if hook_attended(model, layer) not in model.hook_dict:
            raise CheckpointError(
                f"layer {layer} of {kind} has no attention that can be hooked (state-space and "
                "linear attention are not supported); take a model of another family"
            )


def _padded_at_its_end(
    model: "TransformerBridge", tokens: Tokens, expected: Logits
) -> FoundAndRight:
    """The probe with padding; its gradients must reach the neurons of all layers."""
    neurons: list[Tensor] = []

    def keep(value: Tensor, hook: Any) -> Tensor:
        if not neurons:
            value = value.detach().requires_grad_()
        neurons.append(value)
        return value

    hooks: Hooks = [(hook_post(layer), keep) for layer in range(int(model.cfg.n_layers))]
    padding = torch.zeros_like(tokens[:, :2])
    mask = torch.cat([torch.ones_like(tokens), padding], 1)
    with torch.enable_grad(), hooked(model, hooks):
        logits = model(torch.cat([tokens, padding], 1), attention_mask=mask)
        logits = logits[:, : tokens.shape[1]]
        gradients = torch.autograd.grad(logits[:, -1].float().logsumexp(-1).sum(), neurons)
    if not all(gradient.isfinite().all() for gradient in gradients):
        raise ValueError("a gradient is not finite")
    return logits.detach(), expected


def _read_in_two_parts(
    model: "TransformerBridge", tokens: Tokens, expected: Logits
) -> FoundAndRight:
    with torch.no_grad():
        start, cache = model(
            tokens[:, :_SEEN_FIRST], return_type="logits_and_cache", use_cache=True
        )
        if cache is None:
            raise ValueError("it keeps no keys and values")
        if any(layer.keys.shape[-2] != _SEEN_FIRST for layer in cache.layers):
            raise ValueError("it keeps no keys of each token")
        rest = model(tokens[:, _SEEN_FIRST:], past_key_values=cache)
    return torch.cat([start, rest], 1), expected


def _generated(model: "TransformerBridge", tokens: Tokens, expected: Logits) -> FoundAndRight:
    """What comes after the first text, and after the beginning of the second, side by side."""
    left, mask = tokens.clone(), torch.ones_like(tokens)
    n_padding = tokens.shape[1] - _SEEN_FIRST
    left[1], mask[1, :n_padding] = tokens[1].roll(n_padding), 0
    with torch.no_grad():
        output = model.original_model.generate(
            left, attention_mask=mask, max_new_tokens=1, do_sample=False, num_beams=1,
            pad_token_id=0, return_dict_in_generate=True, output_logits=True,
        )  # fmt: skip
    return output.logits[0], torch.stack([expected[0, -1], expected[1, _SEEN_FIRST - 1]])


def context_limit(model: Any) -> int | None:
    """Number of tokens that a transformers model reads at most; None where it has no such limit."""
    config = model.config.get_text_config()
    # MPT counts in max_seq_len.
    limits = (getattr(config, name, None) for name in ("max_position_embeddings", "max_seq_len"))
    limit = next((limit for limit in limits if isinstance(limit, int)), None)
    if limit is None:
        return None
    for name, module in model.named_modules():
        # RoBERTa numbers its positions from the one after the padding's on.
        if "position_embeddings" in name and getattr(module, "padding_idx", None) is not None:
            limit = min(limit, module.num_embeddings - module.padding_idx - 1)
    return limit
