"""What one neuron does: a card of it, and a table of all.

1. **Attribution** and **activation** in every prompt, so by language and paraphrase.
2. **Tokens** that it promotes and demotes: what one unit of its activation, at the last token of
   the prompt, adds to the logits through the residual stream alone. This is the logit lens of a
   neuron's output row (Geva et al. 2022, "Transformer Feed-Forward Layers Build Predictions by
   Promoting Concepts in the Vocabulary Space", eq. 4), in units. The row goes to the un-embedding
   through every normalisation on its way, each as it is there (its derivative, mean over the
   prompts): so only what is free of the mean counts where a norm takes the mean away, and the scale
   is that of these prompts. What later attention and neurons make of the row is left out.
3. The **prompts** where it is strongest, in each language.
4. Its **effect**: the answers with it at zero, beside as many random neurons of its layer.

Caveat: one neuron of a fact rarely changes an answer alone; what is small beside its control shows
nothing, and neurons may stand in for it (see `degenerate`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
import torch.autograd.forward_ad as forward
from jaxtyping import Bool, Float
from torch import Tensor

from lafn_viz.attribution.attribute import attribute
from lafn_viz.attribution.scores import NeuronScores
from lafn_viz.core.provenance import Provenance
from lafn_viz.datasets.facts import Prompt
from lafn_viz.interventions.intervene import Effect
from lafn_viz.models.batching import Padded, padded
from lafn_viz.models.capabilities import capabilities, provenance
from lafn_viz.models.hooks import HOOK_UNEMBED, Hooks, hook_attended, hook_post
from lafn_viz.models.scoring import log_prob_of
from lafn_viz.models.tokens import token_text
from lafn_viz.neurons.controls import random_like
from lafn_viz.neurons.neuron_sets import Neuron, mask_of, require_finite, validate_neurons
from lafn_viz.neurons.overlaps import Overlap

if TYPE_CHECKING:
    import pandas as pd
    from transformer_lens.model_bridge import TransformerBridge

Tokens = tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class NeuronCard:
    """One neuron in some prompts.

    `attribution` in units of the scores' target, `activation` at the answer position (the prompt's
    last token, or the first mask), `known` whether the model answers the prompt. `promoted` and
    `demoted` are tokens with what one unit of activation adds to their logits, strongest first;
    empty where the un-embedding is more than a matrix, a bias and a cap. (Before the cap.)
    `strongest` are numbers of prompts of each language, by activation. `effect` is that of zeroing
    the neuron at all positions of the prompt.
    """

    neuron: Neuron
    attribution: Float[Tensor, " prompt"]
    activation: Float[Tensor, " prompt"]
    known: Bool[Tensor, " prompt"]
    promoted: Tokens
    demoted: Tokens
    strongest: dict[str, tuple[int, ...]]
    effect: Effect
    prompts: tuple[Prompt, ...]
    provenance: Provenance

    def __repr__(self) -> str:
        tokens = ", ".join(repr(text) for text, _ in self.promoted[:3]) or "no tokens known"
        return (
            f"NeuronCard(layer {self.neuron.layer}, neuron {self.neuron.neuron}: attribution "
            f"{float(self.attribution.mean()):+.3g}, promotes {tokens}, zeroed {self.effect!r})"
        )

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages of the prompts, in their order."""
        return tuple(dict.fromkeys(prompt.language for prompt in self.prompts))

    def table(self, of: Literal["attribution", "activation"] = "attribution") -> "pd.DataFrame":
        """A row a language, a column a paraphrase; the mean where there are several facts."""
        frame = self.to_frame()
        found = frame.pivot_table(index="language", columns="paraphrase", values=of, sort=False)
        return found.sort_index(axis=1)

    def by_language(self) -> "pd.DataFrame":
        """One row a language: means over its prompts.

        `change_p` and `change_log_p` (nats) of the answers with the neuron at zero, `control_p` and
        `control_log_p` with a random one of its layer (mean over draws; NaN without controls).
        """
        frame = self.to_frame()
        frame["change_p"] = frame["p_after"] - frame["p_before"]
        frame["control_p"] = frame["p_control"] - frame["p_before"]
        frame["change_log_p"] = frame["log_prob_after"] - frame["log_prob_before"]
        frame["control_log_p"] = frame["log_prob_control"] - frame["log_prob_before"]
        columns = [
            "attribution", "activation", "known", "p_before",
            "change_p", "control_p", "change_log_p", "control_log_p",
        ]  # fmt: skip
        return frame.groupby("language", sort=False)[columns].mean()

    def to_frame(self) -> "pd.DataFrame":
        """One row a prompt: attribution, activation, known, and the answer before and after."""
        frame = self.effect.to_frame()
        frame.insert(7, "known", self.known.numpy())
        frame.insert(7, "activation", self.activation.numpy())
        frame.insert(7, "attribution", self.attribution.numpy())
        return frame


def neuron_card(
    model: "TransformerBridge",
    prompts: Sequence[Prompt],
    neuron: tuple[int, int],
    *,
    scores: NeuronScores | None = None,
    n_tokens: int = 10,
    n_prompts: int = 3,
    controls: int = 3,
    seed: int = 0,
    max_rows: int = 256,
) -> NeuronCard:
    """Everything about one neuron in some prompts, such as those of a fact.

    Args:
        neuron: (layer, neuron).
        scores: attribution of these prompts; computed by `attribute` unless given.
        n_tokens: how many promoted and how many demoted tokens.
        n_prompts: how many of the strongest prompts of each language.
        controls: random neurons of the layer to zero in its place.
        seed: which ones.
        max_rows: rows alive at once; bounds the memory.

    Raises:
        ValueError: for a neuron that the model does not have, no prompts, or scores of other
            prompts or another model.
    """
    found = capabilities(model)
    shape = found.n_layers, found.d_mlp
    (own,) = validate_neurons([neuron], shape)
    for name, given in (("n_tokens", n_tokens), ("n_prompts", n_prompts), ("max_rows", max_rows)):
        if given < 1:
            raise ValueError(f"{name}={given}; give 1 or more")
    if not 0 <= controls < shape[1]:
        raise ValueError(f"controls={controls}; give 0 to {shape[1] - 1}")
    if scores is None:
        scores = attribute(model, prompts)
    _check_scores(scores, prompts, found.weights)
    drawn = [random_like([own], shape, seed=seed + draw) for draw in range(controls)]
    others = [number for some in drawn for _, number in some]
    before, after, activation, change = _read(model, prompts, own, others, max_rows)
    effect = Effect(
        before=before,
        after=after[0],
        control=after[1:],
        neurons=frozenset([own]),
        prompts=tuple(prompts),
        provenance=provenance(model, "intervene", seed=seed, how="zero", position="all"),
    )
    options = scores.provenance.options
    return NeuronCard(
        neuron=own,
        attribution=scores.values[:, own.layer, own.neuron].float(),
        activation=activation,
        known=scores.known,
        promoted=_strongest_tokens(model, change, n_tokens),
        demoted=_strongest_tokens(model, -change, n_tokens, sign=-1),
        strongest=_strongest_prompts(prompts, activation, n_prompts),
        effect=effect,
        prompts=tuple(prompts),
        provenance=provenance(
            model, "neuron_card", seed=seed, attribution=scores.provenance.method,
            controls=controls, **{k: options[k] for k in ("position", "target") if k in options},
        ),
    )  # fmt: skip


def _check_scores(scores: NeuronScores, prompts: Sequence[Prompt], weights: str) -> None:
    if scores.provenance.weights != weights:
        raise ValueError(
            f"the scores are of another model, {scores.provenance.model!r} "
            f"({scores.provenance.weights[:8]}, not {weights[:8]}); attribute the prompts with "
            "this one, or leave scores out"
        )
    asked, scored = (
        [(prompt.text, prompt.language, prompt.answer) for prompt in some]
        for some in (prompts, scores.prompts)
    )
    if asked != scored:
        raise ValueError(
            f"the scores are of {len(scored)} prompts, and these {len(asked)} are not the same in "
            "the same order; give scores.prompts, scores.select(...) of them, or no scores"
        )


def _read(
    model: "TransformerBridge",
    prompts: Sequence[Prompt],
    own: Neuron,
    others: Sequence[int],
    max_rows: int,
) -> tuple[
    Float[Tensor, " prompt"],
    Float[Tensor, "variant prompt"],
    Float[Tensor, " prompt"],
    Float[Tensor, " vocab"],
]:
    """Log-probabilities before and with each neuron at zero; activation; what it adds to logits."""
    variants = [own.neuron, *others]
    head = capabilities(model).unembedding
    before, activation = torch.empty(2, len(prompts))
    after = torch.empty(len(variants), len(prompts))
    moved: Tensor | None = None
    for batch in padded(model, prompts, max_prompts=min(32, max(1, max_rows // len(variants)))):
        lens = _Lens(model, batch, own)
        with forward.dual_level():
            before[batch.index] = log_prob_of(model, batch, lens.hooks).cpu()
        activation[batch.index] = lens.activation.float().cpu()
        if head is not None:
            total = lens.moved.sum(0)
            moved = total if moved is None else moved + total
        many = batch.repeated(len(variants))
        hooks: Hooks = [(hook_post(own.layer), _silence(batch, variants))]
        silenced = log_prob_of(model, many, hooks).cpu()
        after[:, batch.index] = silenced.unflatten(0, (len(variants), -1))
    if head is None or moved is None:
        return before, after, activation, torch.empty(0)
    change = (moved / len(prompts)).to(head.weight) @ head.weight.T
    return before, after, activation, change.float().cpu()


class _Lens:
    """Hooks that read a neuron and follow one unit more of it to the un-embedding.

    In forward mode: a tangent of one begins at the neuron; later attention and neurons pass none
    on, so that only the residual stream and its normalisations do.
    """

    def __init__(self, model: "TransformerBridge", batch: Padded, own: Neuron) -> None:
        self.rows, self.at, self.number = torch.arange(len(batch.tokens)), batch.predicts, own[1]
        self.activation = self.moved = torch.empty(0)
        later = range(own.layer + 1, capabilities(model).n_layers)
        self.hooks: Hooks = [(hook_post(own.layer), self._begin)]
        for layer in later:
            self.hooks += [(hook_attended(model, layer), _still), (hook_post(layer), _still)]
            # BLOOM's activation function has no derivative in forward mode: stop before it.
            if (read := f"blocks.{layer}.mlp.in.hook_out") in model.hook_dict:
                self.hooks.append((read, _still))
        if capabilities(model).unembedding is not None:
            self.hooks.append((HOOK_UNEMBED, self._end))

    def _begin(self, value: Tensor, hook: Any) -> Tensor:
        self.activation = value[self.rows, self.at, self.number]
        tangent = torch.zeros_like(value)
        tangent[self.rows, self.at, self.number] = 1
        return forward.make_dual(value, tangent)

    def _end(self, value: Tensor, hook: Any) -> Tensor:
        plain, tangent = forward.unpack_dual(value)
        self.moved = tangent[self.rows, self.at].float()
        return plain


def _still(value: Tensor, hook: Any) -> Tensor:
    return forward.unpack_dual(value).primal


def _silence(batch: Padded, variants: Sequence[int]) -> Any:
    """Sets one neuron to zero in each block of rows, at the prompt's positions."""

    def silence(value: Tensor, hook: Any) -> Tensor:
        value = value.clone()
        for block, number in zip(value.unflatten(0, (len(variants), -1)), variants, strict=True):
            block[..., number].masked_fill_(batch.prompt, 0)
        return value

    return silence


def _strongest_tokens(
    model: "TransformerBridge", change: Float[Tensor, " vocab"], n: int, *, sign: int = 1
) -> Tokens:
    # Weights may have rows beyond the last token that has a name.
    change = change[: len(model.tokenizer)]
    best = change.topk(min(n, len(change)))
    return tuple(
        (token_text(model, token), sign * value)
        for token, value in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    )


def _strongest_prompts(
    prompts: Sequence[Prompt], activation: Float[Tensor, " prompt"], n: int
) -> dict[str, tuple[int, ...]]:
    found: dict[str, list[int]] = {}
    for number in activation.argsort(descending=True, stable=True).tolist():
        found.setdefault(prompts[number].language, []).append(number)
    order = dict.fromkeys(prompt.language for prompt in prompts)
    return {language: tuple(found[language][:n]) for language in order}


def neuron_table(
    scores: NeuronScores,
    *,
    overlap: Overlap | None = None,
    among: Iterable[tuple[int, int]] | None = None,
    top: int = 500,
    share: float = 0.02,
    known_only: bool = True,
) -> "pd.DataFrame":
    """The neurons with the largest mean attribution, one row each, largest first.

    Of the neurons `among` some, or of all. Only prompts that the model answers count, unless
    `known_only` is false. Columns: `layer`, `neuron`, `attribution` (mean over prompts), `in_top`
    (in how many languages the neuron is among the top `share` of all neurons), with an overlap
    `agnostic` (for how many facts of the scores) and `specific` (to which languages, "en, zh"), and
    the mean attribution in each language, by its code.

    Raises:
        ValueError: when the model answers none of the prompts, for a score that is not a number, or
            an option out of its range.
    """
    import pandas as pd

    require_finite(scores)
    if top < 1 or not 0 < share < 1:
        raise ValueError(f"top={top}, share={share}; give at least 1, and a share between 0 and 1")
    rows: dict[str, list[int]] = {}
    for number, prompt in enumerate(scores.prompts):
        if scores.known[number] or not known_only:
            rows.setdefault(prompt.language, []).append(number)
    if not rows:
        raise ValueError(
            f"the model answers none of these {len(scores.prompts)} prompts, so their scores say "
            "nothing about where it keeps the answers; give prompts that it knows"
        )
    _, n_layers, width = scores.values.shape
    if overlap is not None and overlap.shape != (n_layers, width):
        raise ValueError(
            f"an overlap of {overlap.shape[0]} layers of {overlap.shape[1]} neurons for scores of "
            f"{n_layers} layers of {width}; give that of the same model"
        )
    flat = scores.values.flatten(1).float()
    means = torch.stack([flat[some].mean(0) for some in rows.values()])
    count = max(1, round(share * flat.shape[1]))
    held = torch.zeros_like(means).scatter_(1, means.topk(count, dim=1).indices, 1.0).sum(0)
    mean = flat[[number for some in rows.values() for number in some]].mean(0)
    order = mean.argsort(descending=True, stable=True)
    if among is not None:
        order = order[mask_of(among, (n_layers, width)).flatten()[order]]
    order = order[:top]
    columns: dict[str, Any] = {
        "layer": (order // width).numpy(),
        "neuron": (order % width).numpy(),
        "attribution": mean[order].numpy(),
        "in_top": held[order].numpy().astype(int),
    }
    if overlap is not None:
        facts = {prompt.fact_id for prompt in scores.prompts}
        agnostic = [some for fact, some in overlap.agnostic.items() if fact in facts]
        specific: dict[Neuron, list[str]] = {}
        for (fact, language), some in overlap.specific.items():
            for neuron in some if fact in facts else ():
                if language not in specific.setdefault(neuron, []):
                    specific[neuron].append(language)
        named = [Neuron(i // width, i % width) for i in order.tolist()]
        columns["agnostic"] = np.array([sum(n in some for some in agnostic) for n in named])
        columns["specific"] = [", ".join(specific.get(n, ())) for n in named]
    return pd.DataFrame(columns | dict(zip(rows, means[:, order].numpy(), strict=True)))
