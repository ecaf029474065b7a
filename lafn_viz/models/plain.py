"""A model of transformers as it is, with what edits need of it, and no TransformerLens.

The activations of a layer's neurons are what its down projection is given. `PlainModel` finds the
down projections by the names that families give them. It offers them as hook points named as those
of a bridge, so that edits act on both in the same way.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from lafn_viz.core.messages import described
from lafn_viz.models.hooks import hook_post

# The down projection inside a layer: Llama, Qwen, Gemma, OLMo 2, StableLM, Cohere; GPT-2, GPT-Neo,
# GPT-BigCode; BLOOM, GPT-NeoX, Falcon; GPT-J, CodeGen; Phi; XGLM, OPT; MPT.
_DOWN = (
    "mlp.down_proj", "mlp.c_proj", "mlp.dense_4h_to_h", "mlp.fc_out", "mlp.fc2", "fc2",
    "ffn.down_proj",
)  # fmt: skip
WRAPPED = "_original_component"  # under this name a bridge keeps each module that it wraps


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
        self._added = [*self.fwd_hooks, added]  # those that were removed hold what they have read
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
    if any(WRAPPED in module._modules for module in model.modules()):
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
