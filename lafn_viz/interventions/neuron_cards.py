"""What one neuron does: a card of it, a table of all neurons, and those that promote a word.

A card shows:

1. **Attribution** and **activation** in every prompt, and so by language and paraphrase.
2. The **tokens** that the neuron promotes and demotes: what one unit of its activation, at the last
   token of the prompt, adds to the logits through the residual stream alone. This is the logit lens
   of a neuron's output row (Geva et al. 2022, "Transformer Feed-Forward Layers Build Predictions by
   Promoting Concepts in the Vocabulary Space", eq. 4), in units. On its way to the un-embedding the
   row passes every normalisation as it is in these prompts (its derivative, mean over the prompts).
   So the scale is that of these prompts, and where a norm subtracts the mean, only what the row
   holds beside its mean counts. What later attention and feed-forward layers do with the row is
   left out (see `neuron_lens`).
3. The **prompts** in which it is strongest, for each language.
4. Its **effect**: the answers with the neuron at zero, beside as many random neurons of its layer.

Caveat: one neuron rarely changes a fact's answer alone. An effect that is small beside its control
shows nothing, and other neurons may stand in for this one (see `degenerate`).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lafn_viz.attribution.attribute import attribute
from lafn_viz.attribution.scores import NeuronScores
from lafn_viz.core.arguments import (
    a_flag,
    a_result,
    a_seed,
    a_text,
    one_of,
    or_none,
    real,
    takes,
    whole,
)
from lafn_viz.core.provenance import Provenance
from lafn_viz.datasets.arguments import Prompts, as_prompts
from lafn_viz.datasets.prompts import Prompt
from lafn_viz.interventions.intervene import Effect
from lafn_viz.interventions.neuron_lens import promotion, read_neuron
from lafn_viz.models.calls import reads_model
from lafn_viz.models.capabilities import capabilities, provenance, weights_of
from lafn_viz.models.tokenizing import token_text
from lafn_viz.models.tokens import first_tokens
from lafn_viz.models.torch_modes import plain_modes
from lafn_viz.neurons.controls import random_like
from lafn_viz.neurons.neuron_sets import (
    Neuron,
    Neurons,
    as_neuron,
    mask_of,
    validate_neurons,
    with_finite_scores,
)
from lafn_viz.neurons.overlap_result import Overlap

if TYPE_CHECKING:
    import pandas as pd
    from transformer_lens.model_bridge import TransformerBridge

Tokens = tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class NeuronCard:
    """One neuron in some prompts.

    `attribution` is in units of the scores' target, `activation` is at the answer position (the
    prompt's last token, or the first mask), `known` says whether the model answers the prompt.
    `promoted` and `demoted` are tokens, strongest first, each with what one unit of activation adds
    to its logit (before a cap); they are empty where the un-embedding is more than a matrix, a bias
    and a cap. `strongest` holds the numbers of each language's prompts with the highest activation.
    `effect` is that of zeroing the neuron at all positions of the prompt.
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
        """The languages of the prompts, in the order of the prompts."""
        return tuple(dict.fromkeys(prompt.language for prompt in self.prompts))

    @takes(of=one_of(("attribution", "activation")))
    def table(self, of: Literal["attribution", "activation"] = "attribution") -> "pd.DataFrame":
        """One row per language, one column per paraphrase: the mean over facts."""
        frame = self.to_frame()
        means = frame.pivot_table(index="language", columns="paraphrase", values=of, sort=False)
        return means.sort_index(axis=1)

    def by_language(self) -> "pd.DataFrame":
        """One row per language: means over its prompts.

        `change_p` and `change_log_p` (nats) are those of the answers with the neuron at zero,
        `control_p` and `control_log_p` those with a random neuron of its layer at zero (mean over
        draws; NaN without controls).
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
        """One row per prompt: attribution, activation, known, and the answer before and after."""
        frame = self.effect.to_frame()
        frame.insert(7, "known", self.known.numpy())
        frame.insert(7, "activation", self.activation.numpy())
        frame.insert(7, "attribution", self.attribution.numpy())
        return frame


@reads_model
@takes(
    neuron=as_neuron, scores=or_none(a_result(NeuronScores)), n_tokens=whole(1),
    n_prompts=whole(1), controls=whole(0), seed=a_seed, max_rows=whole(1),
)  # fmt: skip
def neuron_card(
    model: "TransformerBridge",
    prompts: Prompts,
    neuron: tuple[int, int],
    *,
    scores: NeuronScores | None = None,
    n_tokens: int = 10,
    n_prompts: int = 3,
    controls: int = 3,
    seed: int = 0,
    max_rows: int = 256,
) -> NeuronCard:
    """Make the card of one neuron in some prompts, such as those of a fact.

    Args:
        neuron: (layer, neuron).
        scores: attribution of these prompts; computed by `attribute` if not given.
        n_tokens: number of promoted and of demoted tokens.
        n_prompts: number of strongest prompts for each language.
        controls: number of random neurons of the layer to zero instead, one at a time.
        seed: of the random neurons.
        max_rows: rows in memory at once.

    Raises:
        ValueError: for a neuron that the model does not have, no prompts, or scores of other
            prompts or another model.
    """
    caps = capabilities(model)
    (own,) = validate_neurons([neuron], caps.shape)
    prompts = as_prompts(prompts)
    if controls >= caps.d_mlp:
        raise ValueError(f"controls={controls}; give 0 to {caps.d_mlp - 1}")
    if scores is None:
        scores = attribute(model, prompts)
    _check_scores(scores, prompts, weights_of(model))
    drawn = [random_like([own], caps.shape, seed=seed + draw) for draw in range(controls)]
    others = [random.neuron for neurons in drawn for random in neurons]
    readout = read_neuron(model, prompts, own, others, max_rows)
    effect = Effect(
        before=readout.before,
        after=readout.after[0],
        control=readout.after[1:],
        neurons=frozenset([own]),
        prompts=tuple(prompts),
        provenance=provenance(model, "neuron_card", seed=seed, controls=controls),
    )
    return NeuronCard(
        neuron=own,
        attribution=scores.values[:, own.layer, own.neuron].float(),
        activation=readout.activation,
        known=scores.known,
        promoted=strongest_tokens(model, readout.logits, n_tokens),
        demoted=strongest_tokens(model, -readout.logits, n_tokens, sign=-1),
        strongest=_strongest_prompts(prompts, readout.activation, n_prompts),
        effect=effect,
        prompts=tuple(prompts),
        provenance=provenance(
            model, "neuron_card", seed=seed, n_tokens=n_tokens, n_prompts=n_prompts,
            controls=controls, attribution=scores.provenance.method, **scores.provenance.options,
        ),
    )  # fmt: skip


def _check_scores(scores: NeuronScores, prompts: Sequence[Prompt], weights: str) -> None:
    """Refuse scores of another model or of other prompts."""
    if scores.provenance.weights != weights:
        raise ValueError(
            f"the scores are of another model, {scores.provenance.model!r} "
            f"({scores.provenance.weights[:8]}, not {weights[:8]}); attribute the prompts with "
            "this one, or leave scores out"
        )
    asked, scored = (
        [(prompt.full_text, prompt.language, prompt.answer) for prompt in listed]
        for listed in (prompts, scores.prompts)
    )
    if asked != scored:
        raise ValueError(
            f"the scores are of {len(scored)} prompts, and these {len(asked)} are not the same in "
            "the same order; give scores.prompts, scores.select(...) of them, or no scores"
        )


def strongest_tokens(
    model: "TransformerBridge", change: Float[Tensor, " vocab"], n: int, *, sign: int = 1
) -> Tokens:
    """The n tokens of the largest change; `sign` turns a negated change back."""
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
    """The numbers of the n prompts of each language with the highest activation."""
    ranked: dict[str, list[int]] = {}
    for number in activation.argsort(descending=True, stable=True).tolist():
        ranked.setdefault(prompts[number].language, []).append(number)
    languages = dict.fromkeys(prompt.language for prompt in prompts)
    return {language: tuple(ranked[language][:n]) for language in languages}


@takes(
    scores=a_result(NeuronScores), overlap=or_none(a_result(Overlap)), top=whole(1),
    share=real(above=0, below=1), known_only=a_flag,
)  # fmt: skip
@plain_modes()
def neuron_table(
    scores: NeuronScores,
    *,
    overlap: Overlap | None = None,
    among: Neurons | None = None,
    top: int = 500,
    share: float = 0.02,
    known_only: bool = True,
) -> "pd.DataFrame":
    """List the neurons with the largest mean attribution, one row each, largest first.

    Ranks the neurons in `among`, or all. Only prompts that the model answers count, unless
    `known_only` is false. Columns: `layer`, `neuron`, `attribution` (mean over prompts), `in_top`
    (in how many languages the neuron is among the top `share` of all neurons), with an overlap
    `agnostic` (for how many facts of the scores) and `specific` (to which languages, "en, zh"), and
    the mean attribution in each language, under its code.

    Raises:
        ValueError: if the model answers none of the prompts, for scores of which no prompt's are
            all numbers, or for an option out of its range.

    Warns:
        SkippedWarning: naming the prompts with a score that is not a number, which are left out.
    """
    import pandas as pd

    scores = with_finite_scores(scores)
    rows = _rows_by_language(scores, known_only)
    _, n_layers, d_mlp = scores.values.shape
    if overlap is not None and overlap.shape != (n_layers, d_mlp):
        raise ValueError(
            f"an overlap of {overlap.shape[0]} layers of {overlap.shape[1]} neurons for scores of "
            f"{n_layers} layers of {d_mlp}; give that of the same model"
        )
    flat = scores.values.flatten(1).float()
    means = torch.stack([flat[numbers].mean(0) for numbers in rows.values()])
    count = max(1, round(share * flat.shape[1]))
    in_top = torch.zeros_like(means).scatter_(1, means.topk(count, dim=1).indices, 1.0).sum(0)
    mean = flat[[number for numbers in rows.values() for number in numbers]].mean(0)
    order = mean.argsort(descending=True, stable=True)
    if among is not None:
        chosen = validate_neurons(among, (n_layers, d_mlp), allow_empty=True)
        order = order[mask_of(chosen, (n_layers, d_mlp)).flatten()[order]]
    order = order[:top]
    columns: dict[str, Any] = {
        "layer": (order // d_mlp).numpy(),
        "neuron": (order % d_mlp).numpy(),
        "attribution": mean[order].numpy(),
        "in_top": in_top[order].numpy().astype(int),
    }
    if overlap is not None:
        neurons = [Neuron(*divmod(place, d_mlp)) for place in order.tolist()]
        facts = {prompt.fact_id for prompt in scores.prompts}
        columns |= _overlap_columns(overlap, neurons, facts)
    return pd.DataFrame(columns | dict(zip(rows, means[:, order].numpy(), strict=True)))


@reads_model
@takes(text=a_text, top=whole(1))
def neurons_promoting(
    model: "TransformerBridge", prompts: Prompts, text: str, *, top: int = 500
) -> "pd.DataFrame":
    """List the neurons that raise the logit of a word most, one row each, largest first.

    The word's first token counts, as it would continue the first prompt. Columns: `layer`,
    `neuron`, and `logit`: what one unit of the neuron's activation, at the last token of a prompt,
    adds to the token's logit through the residual stream alone, mean over the prompts (before a
    cap). It is the number that a `NeuronCard` holds for the token. `attrs["token"]` is the token.

    Raises:
        ValueError: for no prompts, a word that the model has no token for, or an un-embedding that
            is more than a matrix, a bias and a cap.
    """
    import pandas as pd

    prompts = as_prompts(prompts)
    found = first_tokens(model, prompts[0], [prompts[0].separator + text]) if text.strip() else []
    token = found[0] if found else None
    if token is None:
        raise ValueError(f"the model has no token for {text!r}; give another word")
    pushes = promotion(model, prompts, token)
    best = pushes.flatten().topk(min(top, pushes.numel()))
    frame = pd.DataFrame(
        {
            "layer": (best.indices // pushes.shape[1]).numpy(),
            "neuron": (best.indices % pushes.shape[1]).numpy(),
            "logit": best.values.numpy(),
        }
    )
    frame.attrs["token"] = token_text(model, token)
    return frame


def _rows_by_language(scores: NeuronScores, known_only: bool) -> dict[str, list[int]]:
    """The numbers of each language's prompts; ValueError if the model answers none of them."""
    rows: dict[str, list[int]] = {}
    for number, prompt in enumerate(scores.prompts):
        if scores.known[number] or not known_only:
            rows.setdefault(prompt.language, []).append(number)
    if not rows:
        raise ValueError(
            f"the model answers none of these {len(scores.prompts)} prompts, so their scores say "
            "nothing about where it keeps the answers; give prompts that it knows"
        )
    return rows


def _overlap_columns(
    overlap: Overlap, neurons: Sequence[Neuron], facts: Collection[str]
) -> dict[str, Any]:
    """What an overlap of some facts calls each neuron: `agnostic` and `specific`."""
    agnostic = [shared for fact, shared in overlap.agnostic.items() if fact in facts]
    languages: dict[Neuron, list[str]] = {}
    for (fact, language), of_language in overlap.specific.items():
        for neuron in of_language if fact in facts else ():
            if language not in languages.setdefault(neuron, []):
                languages[neuron].append(language)
    return {
        "agnostic": np.array([sum(n in shared for shared in agnostic) for n in neurons]),
        "specific": [", ".join(languages.get(neuron, ())) for neuron in neurons],
    }
