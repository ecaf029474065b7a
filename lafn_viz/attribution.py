"""Attribute the probability of an answer to the feed-forward neurons, all layers in one pass.

**Integrated gradients** of one layer (Sundararajan et al. 2017; for neurons: Dai et al. 2022,
"Knowledge Neurons", eq. 2): with w the activations of the layer at the chosen positions, b a
baseline (zero) and F(w) the probability of the answer with that layer's activations set to w,

    score = (w - b) * integral over a in [0, 1] of dF(b + a (w - b)) / dw

All chosen positions and neurons of a layer move together, each layer on a path of its own, and
scores are summed over positions. **Completeness**: the scores of a layer sum to F(w) - F(b); the
difference is kept for every prompt and layer as `completeness_error`.

**One pass.** A loop over layers and path points repeats the whole network each time. Instead:

1. Positions before the first one that changes are run once; their keys and values are kept.
2. Let the batch grow while the tokens go up: at the input of each layer append copies of the
   unmodified rows, and at that layer's `hook_post` set them to the points of its path. From there
   on they run with all other rows.
3. One backward pass from the sum of all rows' F gives the gradient at every point of every layer,
   because no row depends on another.

Where a model fixes its batch at the start (BLOOM, OPT: `traits(model).grows` is false), all rows
are there from the first layer on; about twice the work, the same result.

**Activation** is w itself, summed over the chosen positions: what LU-LAFNs locates neurons by.

Caveats: near a saturated probability the gradient vanishes, and only the path shows what matters;
a layer whose completeness error is large needs more steps; a score says what moves F along this
path, not what happens when a neuron is silenced (see `intervene`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from tqdm.auto import tqdm

from lafn_viz.facts import Prompt
from lafn_viz.models import Provenance, causal_mask, hook_block, hook_post, provenance, traits
from lafn_viz.target import (
    Batch,
    Hooks,
    Position,
    answer_log_prob,
    batches,
    prompt_columns,
)

if TYPE_CHECKING:
    import pandas as pd
    from transformer_lens.model_bridge import TransformerBridge

Method = Literal["integrated_gradients", "activation"]
Target = Literal["probability", "log_prob"]


@dataclass(frozen=True)
class NeuronScores:
    """Attribution of every neuron for every prompt.

    `values` in units of the target (probability, or nats for log_prob; the activation's own unit
    for the activation method). `target_prob` is the answer's probability with nothing changed,
    `known` whether greedy decoding writes the answer. `completeness_error` is the sum of a layer's
    scores minus (F(w) - F(b)), in the target's unit; NaN for a method without that property.
    """

    values: Float[Tensor, "prompt layer neuron"]
    target_prob: Float[Tensor, " prompt"]
    known: Bool[Tensor, " prompt"]
    completeness_error: Float[Tensor, "prompt layer"]
    prompts: tuple[Prompt, ...]
    provenance: Provenance

    def __repr__(self) -> str:
        n, layers, width = self.values.shape
        return f"NeuronScores({n} prompts, {layers} layers of {width} neurons, {self.provenance!r})"

    def select(self, keep: Callable[[Prompt], bool]) -> "NeuronScores":
        """The scores of the prompts for which `keep` is true."""
        chosen = [i for i, prompt in enumerate(self.prompts) if keep(prompt)]
        if not chosen:
            raise ValueError("no prompt of these scores fits; nothing would be left")
        return NeuronScores(
            values=self.values[chosen],
            target_prob=self.target_prob[chosen],
            known=self.known[chosen],
            completeness_error=self.completeness_error[chosen],
            prompts=tuple(self.prompts[i] for i in chosen),
            provenance=self.provenance,
        )

    def to_frame(self, *, top: int = 20) -> "pd.DataFrame":
        """The `top` neurons of each prompt by score: one row a prompt and neuron."""
        import pandas as pd

        n, _, width = self.values.shape
        best = self.values.flatten(1).topk(min(top, self.values[0].numel()))
        keys = {
            name: np.repeat(np.array(column, dtype=object), best.indices.shape[1])
            for name, column in prompt_columns(self.prompts).items()
        }
        return pd.DataFrame(
            {
                **keys,
                "place": list(range(best.indices.shape[1])) * n,
                "layer": (best.indices // width).flatten().numpy(),
                "neuron": (best.indices % width).flatten().numpy(),
                "score": best.values.flatten().numpy(),
            }
        )


def attribute(
    model: "TransformerBridge",
    prompts: Sequence[Prompt],
    *,
    method: Method = "integrated_gradients",
    position: Position = "all",
    target: Target = "probability",
    n_steps: int = 8,
    max_rows: int = 1024,
    progress: bool = False,
) -> NeuronScores:
    """Attribute each prompt's answer to the feed-forward neurons of all layers.

    Args:
        method: "integrated_gradients" (zero baseline) or "activation".
        position: where neurons are looked at: "all" positions of the prompt together (separates
            facts best), "answer" (the last prompt token, as in the papers), or "subject_last".
        target: the answer's probability or its log-probability (nats).
        n_steps: points of the path, at the nodes of a Gauss-Legendre quadrature.
        max_rows: rows alive at once; bounds the memory whatever the number of prompts.
        progress: show a bar over the prompts.

    Returns:
        NeuronScores in the order of the prompts; the same model and prompts give the same scores.

    Raises:
        ValueError: for an unknown option, no prompts, or an answer or subject without tokens.
    """
    for what, given, kind in (("method", method, Method), ("target", target, Target)):
        if given not in get_args(kind):
            raise ValueError(f"unknown {what} {given!r}; there are {', '.join(get_args(kind))}")
    if n_steps < 1 or max_rows < 1:
        raise ValueError(f"n_steps={n_steps}, max_rows={max_rows}; both must be 1 or more")
    found = traits(model)
    shape = (len(prompts), found.n_layers)
    values = torch.zeros(*shape, found.d_mlp)
    target_prob, known = torch.zeros(shape[0]), torch.zeros(shape[0], dtype=torch.bool)
    error = torch.full(shape, torch.nan)
    # One prompt takes a row for itself and one a point of every layer that runs with it.
    points = n_steps + 1 if method == "integrated_gradients" else 1
    together = max(1, max_rows // (1 + points * found.n_layers))
    bar = tqdm(total=len(prompts), disable=not progress, desc=method, unit="prompt")
    for batch in batches(model, prompts, position=position, max_prompts=together):
        run = _Pass(model, batch, target)
        target_prob[batch.index] = run.log_prob.exp().cpu()
        known[batch.index] = run.known.cpu()
        if method == "activation":
            values[batch.index] = torch.stack(run.activations, 1).sum(2).float().cpu()
        else:
            layers = list(range(found.n_layers))
            size = max(1, (max_rows // len(batch.index) - 1) // points)
            for start in range(0, len(layers), size):
                part = layers[start : start + size]
                scores, part_error = run.integrate(part, n_steps)
                for number, layer in enumerate(part):
                    values[batch.index, layer] = scores[number].cpu()
                    error[batch.index, layer] = part_error[number].cpu()
        bar.update(len(batch.index))
    bar.close()
    return NeuronScores(
        values=values,
        target_prob=target_prob,
        known=known,
        completeness_error=error,
        prompts=tuple(prompts),
        provenance=provenance(
            model, method, position=position, target=target, baseline="zero", n_steps=n_steps
        ),
    )


class _Pass:
    """One batch: its prefix and its unmodified run, from which paths of any layers are run."""

    def __init__(self, model: "TransformerBridge", batch: Batch, target: Target) -> None:
        self.model, self.target, self.answers = model, target, batch.answers
        self.traits = traits(model)
        length = batch.tokens.shape[1]
        # A mask of our own would forget a sliding window, so longer prompts do without one.
        self.short = self.traits.window is None or length < self.traits.window
        first = int(batch.where[0].int().argmax()) if self.short else 0
        self.tokens, self.where = batch.tokens[:, first:], batch.where[:, first:]
        # The positions acted on are one run of equal length in every prompt of a batch.
        self.at = self.where[0].nonzero()[:, 0]
        self.prefix: list[tuple[Tensor, Tensor]] = []
        with torch.no_grad():
            if first:
                _, cache = model(
                    batch.tokens[:, :first], return_type="logits_and_cache", use_cache=True
                )
                self.prefix = [(layer.keys, layer.values) for layer in cache.layers]
            self.activations: list[Float[Tensor, "prompt at neuron"]] = []

            def keep(value: Tensor, hook: Any) -> None:
                self.activations.append(value[:, self.at])

            hooks: Hooks = [(hook_post(layer), keep) for layer in range(self.traits.n_layers)]
            logits = self._run(self.tokens, hooks)
            self.log_prob = answer_log_prob(logits, self.answers)
            best = logits[:, -self.answers.shape[1] :].argmax(-1)
            self.known = (best == self.answers).all(-1)

    def _run(
        self, tokens: Int[Tensor, "row pos"], hooks: Hooks, *, mask: bool = False
    ) -> Float[Tensor, "grown kept vocab"]:
        options: dict[str, Any] = {}
        if self.traits.keeps:
            options["logits_to_keep"] = self.answers.shape[1]
        if self.prefix:
            options["past_key_values"] = _prefix_cache(self.prefix)
        if mask:
            past = self.prefix[0][0].shape[-2] if self.prefix else 0
            width = tokens.shape[1]
            options["attention_mask"] = causal_mask(width, past + width, self.activations[0])
        with self.model.hooks(fwd_hooks=hooks):
            logits: Tensor = self.model(tokens, **options)
        return logits

    def _value(self, log_prob: Tensor) -> Tensor:
        return log_prob.exp() if self.target == "probability" else log_prob

    def integrate(
        self, layers: Sequence[int], n_steps: int
    ) -> tuple[Float[Tensor, "layer prompt neuron"], Float[Tensor, "layer prompt"]]:
        """Integrated gradients and completeness error of some layers, in one pass."""
        nodes, weights = np.polynomial.legendre.leggauss(n_steps)
        like = self.activations[0]
        # Points from 0 to 1; the first is the baseline itself, which completeness needs.
        steps = torch.tensor([0.0, *((nodes + 1) / 2)], dtype=like.dtype, device=like.device)
        weight = torch.tensor([0.0, *(weights / 2)], dtype=torch.float32, device=like.device)
        n, copies = len(self.tokens), len(steps)
        grows = self.traits.grows and self.short
        leaves: list[Float[Tensor, "step*prompt at neuron"]] = []
        hooks: Hooks = []
        for number, layer in enumerate(layers):
            path = steps[:, None, None, None] * self.activations[layer]
            leaf = path.flatten(0, 1).requires_grad_()
            leaves.append(leaf)
            if grows:
                hooks.append((hook_block(layer), _append(n, copies)))
            hooks.append((hook_post(layer), _replace(n + number * n * copies, self.at, leaf)))
        tokens = self.tokens if grows else self.tokens.repeat(1 + len(layers) * copies, 1)
        with torch.enable_grad():
            logits = self._run(tokens, hooks, mask=grows)
            answers = self.answers.repeat(1 + len(layers) * copies, 1)
            value = self._value(answer_log_prob(logits, answers))
            gradients = torch.autograd.grad(value.sum(), leaves)
        reached = value.detach()[n:].view(len(layers), copies, n)
        scores = torch.stack(
            [
                (
                    gradient.view(copies, n, *gradient.shape[1:]).float()
                    * weight[:, None, None, None]
                )
                .sum(0)
                .mul(self.activations[layer])
                .sum(1)
                for layer, gradient in zip(layers, gradients, strict=True)
            ]
        )
        whole = self._value(self.log_prob)
        return scores, scores.sum(-1) - (whole - reached[:, 0])


def _append(n: int, copies: int) -> Callable[..., Tensor]:
    """Append copies of the `n` unmodified rows at a layer's input."""

    def hook(value: Tensor, hook: Any) -> Tensor:
        return torch.cat([value, value[:n].repeat(copies, 1, 1)])

    return hook


def _replace(start: int, at: Tensor, leaf: Tensor) -> Callable[..., Tensor]:
    """Set the rows from `start` on, at some positions, to the points of a path."""

    def hook(value: Tensor, hook: Any) -> Tensor:
        rows = value[start : start + len(leaf)].index_copy(1, at, leaf.to(value.dtype))
        return torch.cat([value[:start], rows, value[start + len(leaf) :]])

    return hook


def _prefix_cache(prefix: list[tuple[Tensor, Tensor]]) -> Any:
    """Keys and values of the prefix, broadcast to whatever batch asks for them."""
    from transformers.cache_utils import Cache, DynamicLayer

    class PrefixLayer(DynamicLayer):
        def __init__(self, keys: Tensor, values: Tensor) -> None:
            super().__init__()
            self.lazy_initialization(keys, values)
            self.keys, self.values = keys, values

        def update(
            self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
        ) -> tuple[Tensor, Tensor]:
            times = key_states.shape[0] // self.keys.shape[0]
            return (
                torch.cat([self.keys.repeat(times, 1, 1, 1), key_states], dim=-2),
                torch.cat([self.values.repeat(times, 1, 1, 1), value_states], dim=-2),
            )

    return Cache(layers=[PrefixLayer(keys, values) for keys, values in prefix])
