"""Tell a model of transformers by its weights, inside a bridge or without one, and save it.

`plain_weights` and `tokens_digest` are equal for a bridge and for the model that it was made from.
An edit notes both, and is refused by a model or a tokenizer that differs.
"""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lafn_viz.core.files import checksum_of
from lafn_viz.models.plain import WRAPPED
from lafn_viz.models.remembered import Remembered, numbers_of
from lafn_viz.models.weights import full_weight, is_packed

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

_DIGITS = 16  # of a digest, in hexadecimal; it is to tell models apart, not to seal them
_PLAIN_WEIGHTS: Remembered[str] = Remembered(numbers_of, in_calls=True)


def plain_weights_of(model: "TransformerBridge") -> str:
    """`plain_weights` of the model in a bridge, found out once for as long as it stays the same."""
    return _PLAIN_WEIGHTS.get(model, lambda bridge: plain_weights(bridge.original_model))


def plain_weights(model: nn.Module) -> str:
    """A digest of all parameters in float32, by name; the same with and without a bridge.

    So a checkpoint in float16 is the same model when it is loaded in float32. Parameters that are
    all zero are left out, because TransformerLens adds biases of zeros.
    """
    digest, known = hashlib.sha256(), dict[int, bytes]()
    for name, module, parameter in sorted(_parameters(model), key=lambda one: one[0]):
        if id(parameter) not in known:  # tied weights have several names
            known[id(parameter)] = _numbers(module, name.rpartition(".")[2], parameter)
        if known[id(parameter)]:
            digest.update(name.encode() + known[id(parameter)])
    return digest.hexdigest()[:_DIGITS]


def _parameters(module: nn.Module, name: str = "") -> Iterator[tuple[str, nn.Module, nn.Parameter]]:
    """The parameters of transformers' own modules, with their names, inside a bridge too."""
    while WRAPPED in module._modules:
        module = module._modules[WRAPPED]  # type: ignore[assignment]
    for leaf, parameter in module._parameters.items():
        if parameter is not None:
            yield name + leaf, module, parameter
    for child, inner in module._modules.items():
        if inner is not None:
            yield from _parameters(inner, f"{name}{child}.")


def _numbers(module: nn.Module, leaf: str, parameter: Tensor) -> bytes:
    """A digest of a parameter's numbers; empty if all are zero."""
    weight = parameter.detach()
    if weight.is_meta and not is_packed(module):
        weight = full_weight(module, leaf)  # type: ignore[assignment]
    numbers = weight.cpu().to(torch.float32).contiguous()
    return hashlib.sha256(numbers.numpy().data).digest() if numbers.any() else b""


def save_plain(model: "TransformerBridge", folder: Path) -> None:
    """Write the model in a bridge, as it is now, and its tokenizer as transformers keeps them."""
    inside: Any = model.original_model
    with torch.device("meta"):  # layers without numbers, which are put in next
        plain = type(inside)(inside.config)
    weights = {name: parameter for name, _, parameter in _parameters(inside)}
    buffers = {
        name: buffer for name, buffer in inside.named_buffers() if name in plain.state_dict()
    }
    names = plain.state_dict().keys()
    # Detached: `assign` would make the very parameters of the bridge want gradients.
    state = {n: tensor.detach() for n, tensor in (weights | buffers).items() if n in names}
    plain.load_state_dict(state, assign=True)
    plain.tie_weights()
    if plain.can_generate():
        plain.generation_config = inside.generation_config
    plain.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)


def tokens_digest(tokenizer: Any, texts: Sequence[str]) -> str:
    """A digest of the tokens of texts, without special tokens around them."""
    tokens = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    return checksum_of(repr(tokens))[:_DIGITS]
