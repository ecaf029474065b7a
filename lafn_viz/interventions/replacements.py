"""The values that ablated neurons get instead of their own, and the corpus they come from.

A corpus is read once and serves many ablations (`read_corpus`). With `without_own` a fact gets
nothing from prompts of its own: what takes the place of its activations then knows nothing of the
fact, and is otherwise as usual for the language, and for the relation where the corpus has one.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lafn_viz.attribution.mean_activations import require_languages
from lafn_viz.attribution.one_pass import OnePass
from lafn_viz.datasets.prompts import Prompt
from lafn_viz.models.batching import Batch, batches
from lafn_viz.models.calls import reads_model
from lafn_viz.models.capabilities import capabilities
from lafn_viz.models.tokens import Position

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

Ablation = Literal["zero", "scale", "mean", "resample"]
FROM_CORPUS = ("mean", "resample")
# New activations [row, position, neuron] of a layer from (layer, prompt of each row, old ones).
Replacement = Callable[[int, Tensor, Tensor], Tensor]
DRAWN_TOGETHER = 4096  # positions of a prompt; another number changes what a seed draws


@dataclass
class CorpusActivations:
    """What neurons do on a corpus: sums over positions (for "mean") or all positions ("resample").

    Sums and counts are by language and fact, and by language and None for all of its facts. `bank`
    holds a language's positions one after another, `owners` the fact of each.
    """

    corpus: tuple[Prompt, ...]
    without_own: bool
    sums: dict[tuple[str, str | None], Float[Tensor, "layer neuron"]] = field(default_factory=dict)
    counts: dict[tuple[str, str | None], int] = field(default_factory=dict)
    bank: dict[str, Float[Tensor, "layer position neuron"]] = field(default_factory=dict)
    owners: dict[str, list[str]] = field(default_factory=dict)

    def mean_for(self, prompt: Prompt) -> Float[Tensor, "layer neuron"]:
        """The mean activations that a prompt gets."""
        every, own = (prompt.language, None), (prompt.language, prompt.fact_id)
        total, count = self.sums[every], self.counts[every]
        if self.without_own and own in self.sums:
            total, count = total - self.sums[own], count - self.counts[own]
        return (total / count).float()

    def means(self) -> dict[tuple[str, str], Float[Tensor, "layer neuron"]]:
        """The mean activations on a fact's prompts in a language, by (fact, language)."""
        return {
            (fact, language): (total / self.counts[language, fact]).float()
            for (language, fact), total in self.sums.items()
            if fact is not None
        }

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
    read = CorpusActivations(tuple(corpus), without_own)
    parts: dict[str, list[Tensor]] = {}
    max_rows = 256 if how == "mean" else 64
    for prompt, activations in _activations(model, corpus, position, max_rows):
        n_positions = activations.shape[1]
        if how == "mean":
            total = activations.double().sum(1).cpu()
            for key in ((prompt.language, None), (prompt.language, prompt.fact_id)):
                read.sums[key] = read.sums.get(key, 0) + total
                read.counts[key] = read.counts.get(key, 0) + n_positions
        else:
            parts.setdefault(prompt.language, []).append(activations.cpu())
            read.owners.setdefault(prompt.language, []).extend([prompt.fact_id] * n_positions)
    read.bank.update({language: torch.cat(of, 1) for language, of in parts.items()})
    return read


def _activations(
    model: "TransformerBridge", corpus: Sequence[Prompt], position: Position, max_rows: int
) -> Iterator[tuple[Prompt, Float[Tensor, "layer position neuron"]]]:
    """Yield each prompt of the corpus with its activations at the chosen positions."""
    for batch in batches(model, corpus, position=position, max_prompts=max_rows):
        run = OnePass(model, batch, "log_prob", max_rows=max_rows)
        of_batch = torch.stack(run.activations, 1)
        first = kept_at_start(model, batch)
        for number, activations in zip(batch.index.tolist(), of_batch, strict=True):
            yield corpus[number], activations[:, first:]


def kept_at_start(model: "TransformerBridge", batch: Batch) -> int:
    """How many positions of a batch are special tokens at the start of a causal model's texts."""
    return 0 if capabilities(model).masked else max(0, batch.text[0] - batch.at.start)


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
    others: dict[str, set[str]] = {}
    for prompt in corpus:
        others.setdefault(prompt.language, set()).add(prompt.fact_id)
    for prompt in prompts:
        if not others.get(prompt.language, set()) - {prompt.fact_id}:
            raise ValueError(
                f"the corpus has no prompt of another fact than {prompt.fact_id!r} in "
                f"{prompt.language}; {what} needs some in every language of the prompts"
            )


def _uniform_draws(n_prompts: int, n_positions: int, seed: int) -> Float[Tensor, "prompt position"]:
    """Draw from [0, 1); longer prompts leave the draws of the first positions as they are."""
    generator = torch.Generator().manual_seed(seed)
    blocks = [
        torch.rand(n_prompts, DRAWN_TOGETHER, generator=generator)
        for _ in range(0, n_positions, DRAWN_TOGETHER)
    ]
    return torch.cat(blocks, 1)[:, :n_positions].clone()
