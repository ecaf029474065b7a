"""The values that ablated neurons get instead of their own, and the corpus they come from.

A corpus is read once and serves many ablations (`read_corpus`). With `without_own` a fact gets
nothing from prompts of its own: what takes the place of its activations then knows nothing of the
fact, and is otherwise as usual for the language, and for the relation where the corpus has one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lafn_viz.attribution.baselines import without_other_facts
from lafn_viz.attribution.mean_activations import (
    ActivationSum,
    require_languages,
    summed_activations,
)
from lafn_viz.attribution.one_pass import OnePass
from lafn_viz.datasets.prompts import Prompt
from lafn_viz.models.batching import batches
from lafn_viz.models.calls import reads_model
from lafn_viz.models.tokens import Position

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

Ablation = Literal["zero", "scale", "mean", "resample"]
FROM_CORPUS = ("mean", "resample")
# New activations [row, position, neuron] of a layer from (layer, prompt of each row, old ones).
Replacement = Callable[[int, Tensor, Tensor], Tensor]
BANK_ROWS = 64  # prompts in one pass of a corpus whose positions are all kept
DRAWN_TOGETHER = 4096  # positions of a prompt; another number changes what a seed draws


@dataclass
class CorpusActivations:
    """What neurons do on a corpus: sums over positions (for "mean") or all positions ("resample").

    It serves ablations of one kind at one position. `of_facts` are the sums of each fact in a
    language, `of_languages` those of all its facts. `bank` holds a language's positions one after
    another, `owners` the fact of each.
    """

    corpus: tuple[Prompt, ...]
    how: Ablation
    position: Position
    without_own: bool
    of_facts: dict[tuple[str, str], ActivationSum] = field(default_factory=dict)
    of_languages: dict[str, ActivationSum] = field(default_factory=dict)
    bank: dict[str, Float[Tensor, "layer position neuron"]] = field(default_factory=dict)
    owners: dict[str, list[str]] = field(default_factory=dict)

    def mean_for(self, prompt: Prompt) -> Float[Tensor, "layer neuron"]:
        """The mean activations that a prompt gets."""
        every = self.of_languages[prompt.language]
        if not self.without_own:
            return every.mean
        return (every - self.of_facts.get(fact_in_language(prompt), ActivationSum())).mean

    def positions_for(self, prompt: Prompt) -> Int[Tensor, " allowed"]:
        """The numbers of the positions whose activations a prompt may get."""
        owners = enumerate(self.owners[prompt.language])
        own = prompt.fact_id if self.without_own else None
        return torch.tensor([number for number, fact in owners if fact != own])


@reads_model
def read_corpus(
    model: "TransformerBridge",
    corpus: Sequence[Prompt],
    *,
    how: Ablation,
    position: Position = "all",
    without_own: bool = False,
) -> CorpusActivations:
    """Read a corpus once for many ablations of this kind at these positions."""
    read = CorpusActivations(tuple(corpus), how, position, without_own)
    if how == "mean":
        read.of_facts = summed_activations(
            model, corpus, by=fact_in_language, position=position, special_tokens=False
        )
        for (_, language), part in read.of_facts.items():
            read.of_languages[language] = read.of_languages.get(language, ActivationSum()) + part
    else:
        _fill_bank(read, model, position)
    return read


def fact_in_language(prompt: Prompt) -> tuple[str, str]:
    """The fact and the language of a prompt."""
    return prompt.fact_id, prompt.language


def _fill_bank(read: CorpusActivations, model: "TransformerBridge", position: Position) -> None:
    """Keep the activations at all chosen positions of the corpus, by language."""
    parts: dict[str, list[Tensor]] = {}
    for batch in batches(model, read.corpus, position=position, max_prompts=BANK_ROWS):
        run = OnePass(model, batch, "log_prob", max_rows=BANK_ROWS)
        first = batch.kept_at_start(masked=run.capabilities.masked)
        of_batch = torch.stack([layer[:, first:] for layer in run.activations], 1).cpu()
        for number, activations in zip(batch.index.tolist(), of_batch, strict=True):
            prompt = read.corpus[number]
            parts.setdefault(prompt.language, []).append(activations)
            owners = read.owners.setdefault(prompt.language, [])
            owners.extend([prompt.fact_id] * activations.shape[1])
    read.bank.update({language: torch.cat(of, 1) for language, of in parts.items()})


def replacement_of(
    model: "TransformerBridge",
    prompts: Sequence[Prompt],
    corpus: Sequence[Prompt] | CorpusActivations | None,
    *,
    how: Ablation,
    factor: float,
    position: Position,
    seed: int,
    n_positions: int,
) -> Replacement:
    """The function that gives neurons of these prompts their new activations."""
    if how in ("zero", "scale"):
        multiple = 0.0 if how == "zero" else factor
        return lambda layer, prompt, value: value * multiple
    if not corpus:
        raise ValueError(
            f"how={how!r} needs a corpus: prompts whose activations take the place of these, "
            "such as corpus=facts.prompts()"
        )
    if not isinstance(corpus, CorpusActivations):
        require_languages(prompts, corpus, f"how={how!r}")
        corpus = read_corpus(model, corpus, how=how, position=position)
    if (corpus.how, corpus.position) != (how, position):
        raise ValueError(
            f"how={how!r}, position={position!r}, but the corpus was read for "
            f"how={corpus.how!r}, position={corpus.position!r}; read it for these"
        )
    if how == "mean":
        means = torch.stack([corpus.mean_for(prompt) for prompt in prompts])
        return lambda layer, prompt, value: means[prompt, layer][:, None].to(value)
    banks = [corpus.bank[prompt.language] for prompt in prompts]
    allowed = [corpus.positions_for(prompt) for prompt in prompts]
    # One draw for each prompt and position, the same in every layer and variant.
    draws = _uniform_draws(len(prompts), n_positions, seed)

    def resample(layer: int, prompt: Tensor, value: Tensor) -> Tensor:
        new = torch.empty_like(value)
        for row, number in enumerate(prompt.tolist()):
            drawn = (draws[number, : value.shape[1]] * len(allowed[number])).long()
            new[row] = banks[number][layer][allowed[number][drawn]].to(value)
        return new

    return resample


def require_other_facts(prompts: Sequence[Prompt], corpus: Sequence[Prompt], what: str) -> None:
    """Raise ValueError for a prompt in whose language the corpus has no other fact."""
    alone = without_other_facts(prompts, corpus, by=lambda prompt: prompt.language)
    if alone:
        raise ValueError(
            f"the corpus has no prompt of another fact than {alone[0].fact_id!r} in "
            f"{alone[0].language}; {what} needs some in every language of the prompts"
        )


def _uniform_draws(n_prompts: int, n_positions: int, seed: int) -> Float[Tensor, "prompt position"]:
    """Draw from [0, 1); longer prompts leave the draws of the first positions as they are."""
    generator = torch.Generator().manual_seed(seed)
    blocks = [
        torch.rand(n_prompts, DRAWN_TOGETHER, generator=generator)
        for _ in range(0, n_positions, DRAWN_TOGETHER)
    ]
    return torch.cat(blocks, 1)[:, :n_positions].clone()
