"""Checks of unit 1: read neurons with a hook, silence one, and see what one writes."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from lafn_viz.course.grading import TOLERANCE, Wrong, check, number, numbers, run
from lafn_viz.models.calls import reads_model
from lafn_viz.models.hooks import down_weight, hook_post

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


@check
@reads_model
def check_layer_activations(
    answer: Callable, model: "TransformerBridge", tokens: torch.Tensor
) -> str:
    """`answer(model, tokens, layer)`: activations of a layer's neurons at the last token."""
    n_layers, d_mlp, d_model = model.cfg.n_layers, model.cfg.d_mlp, model.cfg.d_model
    _, cache = model.run_with_cache(tokens)
    for layer in range(n_layers):
        got = run(answer, model, tokens, layer)
        right = cache[hook_post(layer)]
        shape = tuple(getattr(got, "shape", ()))
        if shape[-1:] == (d_model,) != (d_mlp,):
            raise Wrong(
                f"You return {d_model} numbers, the width of the residual stream: this is what the "
                f"layer writes. Its {d_mlp} neurons are inside the layer; read `hook_post`."
            )
        if shape == tuple(right.shape):
            raise Wrong(
                f"Your result has the shape {shape}, with every position. Keep only row 0 and the "
                "last position."
            )
        activations = numbers(got, (d_mlp,))
        if _same(activations, right[0, -1]):
            continue
        if _same(activations, cache[f"blocks.{layer}.mlp.hook_pre"][0, -1]):
            raise Wrong(
                "These are the values before the activation function. Read `hook_post` instead."
            )
        for position in range(tokens.shape[1] - 1):
            if _same(activations, right[0, position]):
                raise Wrong(
                    f"These are the neurons at position {position}. The model predicts the answer "
                    "at the last token, position -1."
                )
        raise Wrong(f"The shape is right, but the values of layer {layer} are not.")
    share = float((cache[hook_post(0)][0, -1] > 0).float().mean())
    return (
        f"You read {d_mlp} neurons in each layer. In layer 0, {share:.0%} of them are active here."
    )


@check
@reads_model
def check_without_neuron(
    answer: Callable, model: "TransformerBridge", tokens: torch.Tensor, token: int
) -> str:
    """`answer(model, tokens, token, layer, neuron)`: P(token) with one neuron at zero."""

    def probability(layer: int, index: tuple) -> float:
        def silence(value: torch.Tensor, hook: object) -> torch.Tensor:
            value = value.clone()
            value[index] = 0
            return value

        with model.hooks(fwd_hooks=[(hook_post(layer), silence)]):
            return float(model(tokens)[0, -1].softmax(-1)[token])

    _, cache = model.run_with_cache(tokens)
    before = float(model(tokens)[0, -1].softmax(-1)[token])
    last = model.cfg.n_layers - 1
    # Ask for neurons that matter, so that doing nothing shows: those that write most at the end of
    # the last layer, and those of the first layer that are active only at earlier positions.
    writes = cache[hook_post(last)][0, -1] * (down_weight(model, last) @ model.W_U[:, token])
    first = cache[hook_post(0)][0]
    early = first[:-1].sum(0) * (first[-1] <= 0)
    asked = [(0, n) for n in early.topk(6).indices.tolist()]
    asked += [(last, n) for n in writes.topk(3).indices.tolist()]
    everywhere = slice(None)
    for layer, neuron in asked:
        got = number(run(answer, model, tokens, token, layer, neuron))
        right = probability(layer, (..., neuron))
        if abs(got - right) < TOLERANCE:
            continue
        if abs(got - before) < TOLERANCE:
            raise Wrong(
                f"Without neuron {neuron} of layer {layer} the probability goes from {before:.3f} "
                f"to {right:.3f}, but yours does not change. Does your hook return the tensor that "
                "it changed, and does it act at every position of the given layer?"
            )
        if abs(got - probability(layer, (everywhere,))) < TOLERANCE:
            raise Wrong(
                "This is the probability without the whole layer. The last axis numbers the "
                "neurons: index it."
            )
        if abs(got - probability(layer, (everywhere, -1, neuron))) < TOLERANCE:
            raise Wrong(
                "You silence the neuron only at the last position. It also works at earlier ones: "
                "zero it at every position."
            )
        raise Wrong(
            f"Without neuron {neuron} of layer {layer} the probability is {right:.4f}; "
            f"yours is {got:.4f}."
        )
    return (
        f"Neuron {neuron} alone takes P from {before:.3f} to {right:.3f}. A hook is all you need."
    )


@check
@reads_model
def check_direct_effect(
    answer: Callable, model: "TransformerBridge", tokens: torch.Tensor, token: int
) -> str:
    """`answer(model, activations, layer, token)`: what each neuron adds to a token's logit."""
    _, cache = model.run_with_cache(tokens)
    for layer in range(model.cfg.n_layers):
        activations = cache[hook_post(layer)][0, -1]
        unembed = model.W_U[:, token]
        values = down_weight(model, layer) @ unembed
        keys = model.blocks[layer].mlp.W_in.T @ unembed
        got = numbers(run(answer, model, activations.clone(), layer, token), activations.shape)
        if _same(got, activations * values):
            continue
        if _same(got, values):
            raise Wrong(
                "This is what each neuron would write with an activation of 1. Multiply it by how "
                "active the neuron is."
            )
        if _same(got, activations * keys):
            raise Wrong(
                "You use the neurons' keys (`W_in`), which decide when they fire. What they write "
                "are their values (`W_out`)."
            )
        raise Wrong(f"In layer {layer} your numbers differ from activation x (value . token).")
    strongest = int(got.argmax())
    return (
        f"In the last layer neuron {strongest} adds most to this token: {float(got.max()):.2f} "
        "logits, before the last layer norm. (It may add as much to every other token.)"
    )


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return torch.allclose(one, other, atol=TOLERANCE, rtol=TOLERANCE)
