"""Values and gradients of the target at any points of any layers, in one pass of the model.

F(w) is the probability (or log-probability) of a prompt's answer with one layer's activations at
the chosen positions set to w. A loop over layers and points repeats the whole network each time.
Instead:

1. Run the positions before the first one that changes once, and keep their keys and values (causal
   models).
2. Let the batch grow while the tokens go up: at the input of each layer append copies of the
   unmodified rows, and at that layer's neurons set them to that layer's points. From there on
   they run with all other rows.
3. Give the un-embedding the rows in small chunks, and keep the log-probability of each row and its
   gradient, never all logits at once (`scoring.ChunkedAnswerLogProb`).
4. One backward pass from the sum of all rows' F gives the gradient at every point of every layer,
   because no row depends on another. The unmodified rows, which run along, give it at the ends of
   all paths.

Where a model fixes its batch at the start (BLOOM, OPT, XGLM: no `supports_growing_batch`), all
rows are there from the first layer on, at about twice the work and with the same result.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lafn_viz.models.batching import Batch, prefix_cache
from lafn_viz.models.capabilities import capabilities
from lafn_viz.models.hooks import (
    HOOK_UNEMBED,
    Hooks,
    attention_mask,
    hook_attended,
    hook_block,
    hook_post,
    hooked,
    no_logits,
)
from lafn_viz.models.read_texts import ReadTexts
from lafn_viz.models.scoring import ChunkedAnswerLogProb, answer_log_prob, is_likeliest
from lafn_viz.models.weights import like_of

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

AnswerTarget = Literal["probability", "log_prob"]
KeysAndValues = list[tuple[Tensor, Tensor]]  # of each layer


@dataclass(frozen=True)
class Paths:
    """Straight paths that end at the unmodified activations of a batch's prompts.

    `owner` is the prompt of each path. `start` holds for each layer where it begins (None: at
    zero). A gradient is multiplied by `factor` (None: by end - start, as integrated gradients do).
    `stretch` says for each layer by how much the beginning of a path is spread out when points are
    laid on it (see `path_integral`; None: not at all).
    """

    owner: Int[Tensor, " path"]
    start: Sequence[Float[Tensor, "path at neuron"]] | None = None
    factor: Sequence[Float[Tensor, "path at neuron"]] | None = None
    stretch: Sequence[Float[Tensor, " path"] | None] | None = None


@dataclass(frozen=True)
class Points:
    """Points of paths in one layer: start + alpha * (end - start)."""

    path: Int[Tensor, " row"]
    alpha: Float[Tensor, " row"]


@dataclass(frozen=True)
class Slopes:
    """F at some points of a layer, and gradient times factor there, summed over positions.

    `end` is gradient times factor at the end of every path, where it was asked for.
    """

    layer: int
    value: Float[Tensor, " row"]
    slope: Float[Tensor, "row neuron"]
    end: Float[Tensor, "path neuron"] | None


class OnePass:
    """One batch, run unmodified, from which paths through any layers can be run.

    `activations` are those of each layer at the positions acted on, `log_prob` the answers'
    log-probability (nats), and `value` the target. `known` says whether greedy decoding writes the
    answers.

    Args:
        site: the hook of a layer that holds its activations.
    """

    def __init__(
        self,
        model: "TransformerBridge",
        batch: Batch,
        target: AnswerTarget,
        *,
        max_rows: int,
        site: Callable[[int], str] = hook_post,
    ) -> None:
        self.site = site
        self.model, self.batch, self.target, self.max_rows = model, batch, target, max_rows
        self.capabilities = capabilities(model)
        length = batch.tokens.shape[1]
        # An attention mask given from outside would forget a sliding window, so longer prompts do
        # without one.
        self.short = self.capabilities.window is None or length < self.capabilities.window
        self.shares = self.short and not self.capabilities.masked
        self.activations: list[Float[Tensor, "prompt at neuron"]] = []

        def keep(value: Tensor, hook: Any) -> None:
            self.activations.append(value[:, batch.at])

        # The unmodified run reads every position, and gives the keys and values of all of them.
        self.first, self.prefix = 0, []
        self.tokens, self.at = batch.tokens, batch.at
        self.everything: KeysAndValues = []
        hooks: Hooks = [(self.site(layer), keep) for layer in range(self.capabilities.n_layers)]
        with torch.no_grad():
            self.log_prob, self.known = self._run(
                self.tokens, self.everyone(), hooks, remember=self.everything
            )
        self.value = self._target(self.log_prob)
        if self.shares:
            self.first = batch.at.start
            self.prefix = self.prefix_of(self.first)
            self.tokens, self.at = batch.tokens[:, self.first :], shifted(batch.at, self.first)

    def everyone(self) -> Int[Tensor, " prompt"]:
        """Number the prompts of the batch."""
        return torch.arange(len(self.tokens), device=self.tokens.device)

    def prefix_of(self, length: int) -> KeysAndValues:
        """Return the keys and values of the first positions, which causal models share."""
        return [(k[..., :length, :], v[..., :length, :]) for k, v in self.everything if length]

    def options(
        self, owner: Tensor, width: int, prefix: KeysAndValues, *, mask: bool
    ) -> dict[str, Any]:
        """Return the model's options for rows of these prompts: a prefix and an attention mask."""
        options: dict[str, Any] = {}
        if prefix:
            texts = ReadTexts.unchanged(self.batch.tokens[:, : prefix[0][0].shape[-2]])
            options["past_key_values"] = prefix_cache(prefix, owner, texts)
        if mask:
            past = prefix[0][0].shape[-2] if prefix else 0
            like = like_of(self.model.original_model)
            causal = not self.capabilities.masked
            options["attention_mask"] = attention_mask(width, past + width, like, causal=causal)
        return options

    def changed(
        self,
        owner: Int[Tensor, " row"],
        changes: Mapping[int, Callable[[Float[Tensor, "row at neuron"]], Tensor]],
    ) -> Float[Tensor, " row"]:
        """Log-probability (nats) of the answers with activations changed (see `answered`)."""
        return self.answered(owner, changes)[0]

    def answered(
        self,
        owner: Int[Tensor, " row"],
        changes: Mapping[int, Callable[[Float[Tensor, "row at neuron"]], Tensor]],
    ) -> tuple[Float[Tensor, " row"], Bool[Tensor, " row"]]:
        """Log-probability (nats) of the answers of some prompts with their activations changed.

        The second result says whether greedy decoding then writes the answer.

        Args:
            owner: the prompt of each row.
            changes: for each layer, new activations from the old at the positions acted on.
        """

        def hook_of(change: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
            def hook(value: Tensor, hook: Any) -> Tensor:
                value = value.clone()
                value[:, self.at] = change(value[:, self.at]).to(value.dtype)
                return value

            return hook

        hooks: Hooks = [(self.site(layer), hook_of(change)) for layer, change in changes.items()]
        with torch.no_grad():
            return self._run(self.tokens[owner], owner, hooks)

    def gradients(self, *, direct: bool = False) -> list[Float[Tensor, "prompt at neuron"]]:
        """dF/dw of every layer at the unmodified activations.

        Args:
            direct: only along the residual stream: later attention and feed-forward layers keep
                what they write, and normalisations are followed.
        """
        layers = range(self.capabilities.n_layers)
        leaves: list[Tensor] = []

        def leaf(value: Tensor, hook: Any) -> Tensor:
            if direct or not leaves:
                value = value.detach().requires_grad_()
            leaves.append(value)
            return value

        def cut(value: Tensor, hook: Any) -> Tensor:
            return value.detach()

        hooks: Hooks = [(self.site(layer), leaf) for layer in layers]
        if direct:
            hooks += [(hook_attended(self.model, layer), cut) for layer in layers]
        with torch.enable_grad():
            log_prob, _ = self._run(self.tokens, self.everyone(), hooks)
            gradients = torch.autograd.grad(self._target(log_prob).sum(), leaves)
        return [gradient[:, self.at] for gradient in gradients]

    def slopes(
        self, paths: Paths, points: Mapping[int, Points], *, ends: bool = False
    ) -> Iterator[Slopes]:
        """F and its gradient along the paths, at some points of some layers, `max_rows` at once.

        A layer whose points do not fit into one pass comes several times, in order.

        Args:
            ends: take the gradient at the ends of all paths, too; this costs no further rows.
        """
        group: dict[int, Points] = {}
        room = most = max(1, self.max_rows - len(self.tokens))
        for layer in sorted(points):
            path, alpha = points[layer].path, points[layer].alpha
            done = 0
            while done < len(path):
                part = slice(done, done + room)
                group[layer] = Points(path[part], alpha[part])
                room -= len(group[layer].path)
                done += len(group[layer].path)
                if not room:
                    yield from self._slopes(paths, group, ends)
                    group, room = {}, most
        if group:
            yield from self._slopes(paths, group, ends)

    def _slopes(self, paths: Paths, points: Mapping[int, Points], ends: bool) -> Iterator[Slopes]:
        """The same for points that fit into one pass."""
        n, grows = len(self.tokens), self.capabilities.supports_growing_batch and self.short
        owners = {layer: paths.owner[part.path] for layer, part in points.items()}
        leaves = {
            layer: self._at_points(paths, layer, part).requires_grad_()
            for layer, part in points.items()
        }
        unmodified: list[Float[Tensor, "prompt pos neuron"]] = []
        hooks: Hooks = []
        kept, n_rows = unmodified if ends else None, n
        for layer, leaf in leaves.items():
            if grows:
                hooks.append((hook_block(layer), _append(owners[layer])))
            hooks.append((self.site(layer), _replace(n_rows, self.at, leaf, n, kept)))
            n_rows += len(leaf)
        owner = torch.cat([self.everyone(), *owners.values()])
        tokens = self.tokens if grows else self.tokens[owner]
        with torch.enable_grad():
            log_prob, _ = self._run(tokens, owner, hooks, mask=grows)
            value = self._target(log_prob)
            gradients = torch.autograd.grad(value.sum(), [*leaves.values(), *unmodified])
        at_ends = gradients[len(leaves) :] if ends else [None] * len(leaves)
        values = value.detach()[n:].split([len(leaf) for leaf in leaves.values()])
        for (layer, part), gradient, value_at, at_end in zip(
            points.items(), gradients, values, at_ends, strict=False
        ):
            end = None
            if at_end is not None:
                factor = self._factor(paths, layer, slice(None))
                end = (at_end[:, self.at][paths.owner].float() * factor.float()).sum(1)
            factor = self._factor(paths, layer, part.path)
            yield Slopes(layer, value_at, (gradient.float() * factor.float()).sum(1), end)

    def _at_points(
        self, paths: Paths, layer: int, points: Points
    ) -> Float[Tensor, "row at neuron"]:
        """A layer's activations at points of the paths."""
        end = self.activations[layer][paths.owner[points.path]]
        alpha = points.alpha[:, None, None].to(end)
        if paths.start is None:
            return alpha * end
        return torch.lerp(paths.start[layer][points.path].to(end), end, alpha)

    def _factor(
        self, paths: Paths, layer: int, path: Int[Tensor, " row"] | slice
    ) -> Float[Tensor, "row at neuron"]:
        """What multiplies a layer's gradient on some of the paths."""
        if paths.factor is not None:
            return paths.factor[layer][path]
        end = self.activations[layer][paths.owner[path]]
        return end if paths.start is None else end - paths.start[layer][path]

    def _run(
        self,
        tokens: Int[Tensor, "row pos"],
        owner: Int[Tensor, " grown"],
        hooks: Hooks,
        *,
        mask: bool = False,
        remember: KeysAndValues | None = None,
    ) -> tuple[Float[Tensor, " grown"], Tensor]:
        """Log-probability of each row's answer, and whether greedy decoding writes it.

        `remember` is filled with the keys and values of every layer, where they can be shared.
        """
        unembedding, kept = self.capabilities.unembedding, []
        answers = self.batch.answers[owner]
        predicted = shifted(self.batch.predicted, self.first)
        options = self.options(owner, tokens.shape[1], self.prefix, mask=mask)
        if remember is not None and self.shares:
            options |= {"return_type": "logits_and_cache", "use_cache": True}

        def take(value: Tensor, hook: Any) -> Tensor:
            kept.append(value[:, predicted])
            return no_logits(value)

        if unembedding is not None:
            hooks = [*hooks, (HOOK_UNEMBED, take)]
        with hooked(self.model, hooks):
            logits = self.model(tokens, **options)
        if remember is not None and self.shares:
            logits, cache = logits
            remember += [(layer.keys, layer.values) for layer in cache.layers]
        if unembedding is not None:
            log_prob, known = ChunkedAnswerLogProb.apply(kept[0], answers, unembedding)
            return log_prob, known
        logits = logits[:, predicted].float()
        return answer_log_prob(logits, answers), is_likeliest(logits, answers).all(-1)

    def _target(self, log_prob: Tensor) -> Tensor:
        return log_prob.exp() if self.target == "probability" else log_prob


def shifted(positions: slice, first: int) -> slice:
    """Return the same positions, counted from `first`."""
    return slice(positions.start - first, positions.stop - first)


def _append(owner: Int[Tensor, " row"]) -> Callable[..., Tensor]:
    """A hook at a layer's input that appends copies of the unmodified rows of some prompts."""

    def hook(value: Tensor, hook: Any) -> Tensor:
        return torch.cat([value, value.detach()[owner]])

    return hook


def _replace(
    start: int,
    at: slice,
    leaf: Float[Tensor, "row at neuron"],
    unmodified: int = 0,
    kept: list[Float[Tensor, "prompt pos neuron"]] | None = None,
) -> Callable[..., Tensor]:
    """A hook that sets the rows from `start` on, at some positions, to the points of a path.

    Where a list `kept` is given, it gets the first `unmodified` rows, to take a gradient of them.
    """

    def hook(value: Tensor, hook: Any) -> Tensor:
        stop = start + len(leaf)
        rows = leaf.to(value.dtype)
        if leaf.shape[1] < value.shape[1]:
            old = value[start:stop]
            rows = torch.cat([old[:, : at.start], rows, old[:, at.stop :]], 1)
        if kept is None:
            return torch.cat([value[:start], rows, value[stop:]])
        first = value[:unmodified]
        if not first.requires_grad:  # below the first layer that is changed
            first = first.detach().requires_grad_()
        kept.append(first)
        return torch.cat([first, value[unmodified:start], rows, value[stop:]])

    return hook
