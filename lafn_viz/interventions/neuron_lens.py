"""Read one neuron in many prompts: its activation, its tokens, and the answers without it.

One unit of the neuron's activation, at the last token of the prompt, adds something to the logits
through the residual stream alone. `_Lens` follows it with forward-mode derivatives:

1. a tangent of one begins at the neuron;
2. later attention and feed-forward layers pass no tangent on, so that only the residual stream and
   its normalisations do;
3. the tangent that arrives at the un-embedding gives, through its matrix, the change of the logits
   (before a cap).

The same batches also give the answers with the neuron at zero, and with others of its layer.

`promotion` asks the other way round, for one token and all neurons: the gradient of the token's
logit, which passes the same way back.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.autograd.forward_ad as forward
from jaxtyping import Float
from torch import Tensor

from lafn_viz.datasets.prompts import Prompt
from lafn_viz.models.batching import Padded, padded
from lafn_viz.models.calls import reads_model
from lafn_viz.models.capabilities import ModelCapabilities, capabilities
from lafn_viz.models.hooks import (
    HOOK_UNEMBED,
    Hooks,
    hook_attended,
    hook_post,
    hooked,
    no_logits,
)
from lafn_viz.models.scoring import log_prob_of
from lafn_viz.neurons.neuron_sets import Neuron

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


class NeuronReadout(NamedTuple):
    """One neuron in some prompts, and others of its layer.

    `before` and `after` are log-probabilities (nats) of the answers: unchanged, and with each
    variant at zero (the neuron first, then the others). `logits` is what one unit of activation
    adds to each logit, mean over the prompts; empty where the un-embedding is more than a matrix, a
    bias and a cap.
    """

    before: Float[Tensor, " prompt"]
    after: Float[Tensor, "variant prompt"]
    activation: Float[Tensor, " prompt"]
    logits: Float[Tensor, " vocab"]


@reads_model
def read_neuron(
    model: "TransformerBridge",
    prompts: Sequence[Prompt],
    neuron: Neuron,
    others: Sequence[int],
    max_rows: int,
) -> NeuronReadout:
    """Read the neuron in the prompts; zero it, and each of the others of its layer, alone."""
    caps = capabilities(model)
    variants = [neuron.neuron, *others]
    head = caps.unembedding
    before, activation = torch.empty(2, len(prompts))
    after = torch.empty(len(variants), len(prompts))
    total: Tensor | None = None
    for batch in padded(model, prompts, max_prompts=min(32, max(1, max_rows // len(variants)))):
        lens = _Lens(model, caps, batch, neuron)
        with forward.dual_level():
            before[batch.index] = log_prob_of(model, batch, lens.hooks).cpu()
        activation[batch.index] = lens.activation.float().cpu()
        if head is not None:
            of_batch = lens.tangent.sum(0)
            total = of_batch if total is None else total + of_batch
        repeated = batch.repeated(len(variants))
        hooks: Hooks = [(hook_post(neuron.layer), _silence(batch, variants))]
        silenced = log_prob_of(model, repeated, hooks).cpu()
        after[:, batch.index] = silenced.unflatten(0, (len(variants), -1))
    if head is None or total is None:
        return NeuronReadout(before, after, activation, torch.empty(0))
    logits = (total / len(prompts)).to(head.weight) @ head.weight.T
    return NeuronReadout(before, after, activation, logits.float().cpu())


@reads_model
def promotion(
    model: "TransformerBridge", prompts: Sequence[Prompt], token: int
) -> Float[Tensor, "layer neuron"]:
    """What one unit of each neuron adds to the logit of a token, mean over the prompts.

    Raises:
        ValueError: where the un-embedding is more than a matrix, a bias and a cap.
    """
    caps = capabilities(model)
    if caps.unembedding is None:
        raise ValueError(
            "this model's un-embedding is more than a matrix, a bias and a cap, so that no neuron "
            "has a share in a token's logit; choose another model"
        )
    column = caps.unembedding.weight[token].detach().float()
    total = torch.zeros(caps.shape)
    for batch in padded(model, prompts):
        rows = torch.arange(len(batch.tokens))
        leaves: list[Tensor] = []
        hidden: list[Tensor] = []

        def begin(value: Tensor, hook: Any, leaves: list[Tensor] = leaves) -> Tensor:
            leaves.append(value.detach().requires_grad_())
            return leaves[-1]

        def end(value: Tensor, hook: Any, hidden: list[Tensor] = hidden) -> Tensor:
            hidden.append(value)
            return no_logits(value)

        hooks: Hooks = [(HOOK_UNEMBED, end)]
        for layer in range(caps.n_layers):
            hooks += [(hook_attended(model, layer), _detach), (hook_post(layer), begin)]
        with torch.enable_grad(), hooked(model, hooks):
            model(batch.tokens, attention_mask=batch.mask)
            logits = hidden[0][rows, batch.predicts].float() @ column
        gradients = torch.autograd.grad(logits.sum(), leaves)
        at = [gradient[rows, batch.predicts].float().sum(0) for gradient in gradients]
        total += torch.stack(at).cpu()
    return total / len(prompts)


def _detach(value: Tensor, hook: Any) -> Tensor:
    return value.detach()


class _Lens:
    """Hooks that read a neuron and follow one unit more of it to the un-embedding."""

    def __init__(
        self, model: "TransformerBridge", caps: ModelCapabilities, batch: Padded, neuron: Neuron
    ) -> None:
        self.rows, self.position = torch.arange(len(batch.tokens)), batch.predicts
        self.number = neuron.neuron
        self.activation = self.tangent = torch.empty(0)
        self.hooks: Hooks = [(hook_post(neuron.layer), self._begin)]
        for layer in range(neuron.layer + 1, caps.n_layers):
            self.hooks += [(hook_attended(model, layer), _stop), (hook_post(layer), _stop)]
            # BLOOM's activation function has no derivative in forward mode: stop before it.
            if (read := f"blocks.{layer}.mlp.in.hook_out") in model.hook_dict:
                self.hooks.append((read, _stop))
        if caps.unembedding is not None:
            self.hooks.append((HOOK_UNEMBED, self._end))

    def _begin(self, value: Tensor, hook: Any) -> Tensor:
        self.activation = value[self.rows, self.position, self.number]
        tangent = torch.zeros_like(value)
        tangent[self.rows, self.position, self.number] = 1
        return forward.make_dual(value, tangent)

    def _end(self, value: Tensor, hook: Any) -> Tensor:
        plain, tangent = forward.unpack_dual(value)
        self.tangent = tangent[self.rows, self.position].float()
        return plain


def _stop(value: Tensor, hook: Any) -> Tensor:
    """Pass the value on without its tangent."""
    return forward.unpack_dual(value).primal


def _silence(batch: Padded, variants: Sequence[int]) -> Any:
    """Set one neuron to zero in each block of rows, at the prompt's positions."""

    def silence(value: Tensor, hook: Any) -> Tensor:
        value = value.clone()
        for block, number in zip(value.unflatten(0, (len(variants), -1)), variants, strict=True):
            block[..., number].masked_fill_(batch.prompt, 0)
        return value

    return silence
