"""Where a transformers model keeps the weights of its neurons, plain or gated.

A **plain** network (GPT-2 with ReLU) has one row of input weights and a bias for each neuron. A
**gated** one (Gemma, Llama, Qwen, SmolLM2, OLMo 2) has two rows and mostly no bias: the activation
is act(gate · x) · (up · x). A detector becomes a gated neuron so:

1. **No bias.** What these layers read has a mean that is far from zero. A direction in which every
   input measures about one (`one_direction`) is the bias: the threshold of a detector is a multiple
   of it.
2. **The gate decides.** GELU and SiLU are nearly linear above and nearly zero below a few units, so
   the gate is scaled to `SHARP` on positives. A silent neuron is not quite at zero: it has a few
   thousandths of its strength.
3. **The up row is constant**: the same direction of ones, times the wanted activation.

Gemma and OLMo 2 also normalise what the whole network writes, so that a planted direction shares
one length with the layer's own output. `norm_scale` is what that norm does to each coordinate; the
length is left to whoever learns the direction through the model.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SHARP = 16.0  # mean gate on positives
RIDGE_OF_ONES = 1e-4
SUPPORTED = "GPT-2 with relu, or gated neurons as in Gemma, Llama, Qwen, SmolLM2 and OLMo 2"


@dataclass(frozen=True)
class FeedForward:
    """The feed-forward networks of a model, as transformers names them.

    `width_key` is the entry of the config that holds the number of neurons, `blocks` the name of
    the list of layers.
    """

    model: "PreTrainedModel"
    gated: bool
    width_key: str
    blocks: str

    @classmethod
    def of(cls, model: "PreTrainedModel") -> "FeedForward":
        """Find the networks of a model; ValueError if they are of another kind."""
        config: Any = model.config
        if config.model_type == "gpt2" and config.activation_function == "relu":
            return cls(model, False, "n_inner", "transformer.h")
        found = cls(model, True, "intermediate_size", "model.layers")
        if not (isinstance(getattr(config, "intermediate_size", None), int) and found._is_gated()):
            act = getattr(config, "activation_function", getattr(config, "hidden_act", "other"))
            raise ValueError(
                f"the model is a {config.model_type} with {act} neurons; planting needs {SUPPORTED}"
            )
        return found

    def _is_gated(self) -> bool:
        """Whether every layer has the three projections and a gate that is silent below zero."""
        try:
            networks = [layer.mlp for layer in self.model.get_submodule(self.blocks)]
            parts = [(n.gate_proj, n.up_proj, n.down_proj) for n in networks]
            gates = torch.stack([n.act_fn(torch.tensor([-30.0, 30.0])) for n in networks])
        except AttributeError:
            return False
        linear = all(isinstance(part, torch.nn.Linear) for of in parts for part in of)
        return linear and torch.allclose(gates, torch.tensor([0.0, 30.0]), atol=1e-3)

    def block(self, layer: int) -> Any:
        """A layer."""
        return self.model.get_submodule(f"{self.blocks}.{layer}")

    def down_name(self, layer: int) -> str:
        """Name of the parameter that holds what neurons write."""
        return f"{self.blocks}.{layer}.mlp.{'down_proj' if self.gated else 'c_proj'}.weight"

    @property
    def neuron_axis(self) -> int:
        """Axis of the neurons in that parameter: GPT-2's Conv1D stores it transposed."""
        return 1 if self.gated else 0

    def write(self, layer: int, number: int, direction: Float[Tensor, " d_model"]) -> None:
        """Set what a neuron writes per unit of activation."""
        self.model.get_parameter(self.down_name(layer)).select(self.neuron_axis, number).copy_(
            direction
        )

    def read(self, layer: int, number: int, weight: Float[Tensor, " d_model"], bias: float) -> None:
        """Set when a plain neuron fires."""
        c_fc = self.block(layer).mlp.c_fc
        c_fc.weight[:, number] = weight.float()
        c_fc.bias[number] = bias

    def read_gated(
        self,
        layer: int,
        number: int,
        gate: Float[Tensor, " d_model"],
        up: Float[Tensor, " d_model"],
    ) -> None:
        """Set when a gated neuron fires, and how loudly."""
        network = self.block(layer).mlp
        for part, row in ((network.gate_proj, gate), (network.up_proj, up)):
            part.weight[number] = row.float()
            if part.bias is not None:
                part.bias[number] = 0

    def written(
        self, layer: int, x: Float[Tensor, "prompt d_model"]
    ) -> Float[Tensor, "prompt d_model"]:
        """What the network of a layer writes for some inputs, before any norm of its output."""
        with torch.no_grad():
            out: Tensor = self.block(layer).mlp(x)
        return out

    def norm_scale(self, layer: int) -> Float[Tensor, " d_model"]:
        """What each coordinate that a layer writes is multiplied by before the un-embedding.

        The factors of the norm of its output, if it has one, and those of the last norm. The
        common factor by which a norm fixes the length is left out.
        """
        if not self.gated:
            scale: Tensor = self.model.transformer.ln_f.weight.detach()
            return scale
        final = _factors(self.model.model.norm)
        after = getattr(self.block(layer), "post_feedforward_layernorm", None)
        return final if after is None else final * _factors(after)


def _factors(norm: torch.nn.Module) -> Float[Tensor, " d_model"]:
    """The factors of an RMS norm: Gemma keeps them as differences from one, so it is asked."""
    weight: Tensor = next(norm.parameters())
    with torch.no_grad():
        factors: Tensor = norm(torch.ones_like(weight))
    return factors


def one_direction(x: Float[Tensor, "prompt d_model"]) -> Float[Tensor, " d_model"]:
    """The direction in which every input measures about one (ridge regression)."""
    ridge = RIDGE_OF_ONES * len(x) * torch.eye(x.shape[1], dtype=x.dtype)
    return torch.linalg.solve(x.T @ x + ridge, x.sum(0))
