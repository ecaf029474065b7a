"""A model of transformers as it is, with what edits need of it, and no TransformerLens.

1. **Neurons.** The activations of a layer's neurons are what its down projection is given.
   `PlainModel` finds the down projections by the names that families give them. It offers them as
   hook points named as those of a bridge, so that edits act on both in the same way.
2. **The same model.** `plain_weights` and `tokens_digest` are equal for a bridge and for the model
   that it was made from. An edit notes both, and is refused by a model or tokenizer that differs.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lafn_viz.core.files import checksum_of
from lafn_viz.core.messages import described
from lafn_viz.models.hooks import hook_post
from lafn_viz.models.remembered import Remembered, numbers_of
from lafn_viz.models.weights import full_weight, is_packed

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

# The down projection inside a layer: Llama, Qwen, Gemma, OLMo 2, StableLM, Cohere; GPT-2, GPT-Neo,
# GPT-BigCode; BLOOM, GPT-NeoX, Falcon; GPT-J, CodeGen; Phi; XGLM, OPT; MPT.
_DOWN = (
    "mlp.down_proj", "mlp.c_proj", "mlp.dense_4h_to_h", "mlp.fc_out", "mlp.fc2", "fc2",
    "ffn.down_proj",
)  # fmt: skip
_DIGITS = 16  # of a digest, in hexadecimal; it is to tell models apart, not to seal them
_WRAPPED = "_original_component"  # under this name a bridge keeps each module that it wraps


class PlainModel:
    """A transformers model and its tokenizer, with those parts of a bridge that edits use.

    Raises:
        TypeError: for what is no causal model of transformers, or no fast tokenizer of it.
        ValueError: for a family whose down projections are not known.
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        _require_plain(model, tokenizer)
        self.original_model, self.tokenizer = model, tokenizer
        downs = _down_projections(model)
        self.hook_dict = {hook_post(layer): _Neurons(down) for layer, down in enumerate(downs)}
        # GPT-2's Conv1D has no such number, and stores its weight as [in, out].
        d_mlp = getattr(downs[0], "in_features", None) or downs[0].weight.shape[0]
        self.shape = len(downs), int(d_mlp)


@dataclass(frozen=True)
class _Added:
    """A hook that was added: `user_hook` as it was given, `hook` to remove it by."""

    user_hook: Callable[..., Any]
    hook: Any


class _Neurons:
    """The neurons of a layer, as a hook point: a hook may return what takes their place."""

    def __init__(self, down: nn.Module) -> None:
        self._down = down
        self._added: list[_Added] = []

    def add_hook(
        self, hook: Callable[[Tensor, "_Neurons"], Tensor | None], *, is_permanent: bool
    ) -> _Added:
        def before(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
            changed = hook(args[0], self)
            return None if changed is None else (changed, *args[1:])

        added = _Added(hook, self._down.register_forward_pre_hook(before))
        self._added.append(added)
        return added

    @property
    def fwd_hooks(self) -> list[_Added]:
        """The hooks that are there still."""
        return [one for one in self._added if one.hook.id in self._down._forward_pre_hooks]


def _require_plain(model: Any, tokenizer: Any) -> None:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    load = "AutoModelForCausalLM.from_pretrained(FOLDER)"
    if not isinstance(model, PreTrainedModel):
        bridged = hasattr(model, "original_model")
        instead = "use cache.applied(model)" if bridged else f"give what {load} returns"
        raise TypeError(f"model is {described(model)}, not a model of transformers; {instead}")
    if any(_WRAPPED in module._modules for module in model.modules()):
        raise TypeError(
            "model is the one inside a TransformerBridge; apply the edits by "
            f"cache.applied(bridge), or give what {load} returns"
        )
    if not isinstance(tokenizer, PreTrainedTokenizerBase) or not tokenizer.is_fast:
        raise TypeError(
            f"tokenizer is {described(tokenizer)}, not a fast tokenizer of transformers, which "
            "says which characters a token stands for; give what "
            "AutoTokenizer.from_pretrained(FOLDER) returns"
        )


def _down_projections(model: Any) -> list[Any]:
    """The down projection of each layer."""
    n_layers = int(model.config.get_text_config().num_hidden_layers)
    found = [
        [layer.get_submodule(name) for layer in layers]
        for layers in model.modules()
        if isinstance(layers, nn.ModuleList) and len(layers) == n_layers
        for name in _DOWN
        if all(name in dict(layer.named_modules()) for layer in layers)
    ]
    if len(found) != 1 or not all(hasattr(down, "weight") for down in found[0]):
        raise ValueError(
            f"the feed-forward layers of {type(model).__name__} have no down projection of a known "
            f"name ({', '.join(_DOWN)}), so its neurons are not found; if lv.load_model can load "
            "it, apply the edits to that model by cache.applied(model)"
        )
    return found[0]


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
    while _WRAPPED in module._modules:
        module = module._modules[_WRAPPED]  # type: ignore[assignment]
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
    state = {name: tensor for name, tensor in (weights | buffers).items() if name in names}
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
