"""Neurons of a language, whatever the fact: language activation probability entropy.

LAPE (Tang et al. 2024, "Language-Specific Neurons", arXiv 2402.16438, section 2): a neuron fires in
a language on a share of its tokens. Divide the shares of all languages by their sum and take the
entropy (nats), which is low when the neuron fires in few languages. Consider the neurons that fire
often in at least one language (above the 95th percentile of all shares), and of these the 1% of all
neurons with the lowest entropy. Such a neuron belongs to each language in which it fires often.

A neuron fires when its activation is positive; in a gated layer, when its gate is.

Language-specific *for a fact* is something else (see `overlaps`): a neuron that the set of one
language holds and no other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lafn_viz.core.arguments import real, takes
from lafn_viz.core.provenance import Provenance
from lafn_viz.datasets.arguments import Prompts, as_prompts
from lafn_viz.datasets.prompts import Prompt
from lafn_viz.models.batching import batches
from lafn_viz.models.calls import reads_model
from lafn_viz.models.capabilities import capabilities, provenance
from lafn_viz.models.hooks import hook_gate, hooked
from lafn_viz.neurons.neuron_sets import Neuron, neurons_of

if TYPE_CHECKING:
    import pandas as pd
    from transformer_lens.model_bridge import TransformerBridge


@dataclass(frozen=True)
class Lape:
    """How often each neuron fires in each language, and the neurons that belong to one or few.

    `frequency` is a share of tokens (0 to 1) and `entropy` is in nats (NaN for a neuron that never
    fires). `neurons` are the language-specific neurons of each language.
    """

    languages: tuple[str, ...]
    frequency: Float[np.ndarray, "language layer neuron"]
    entropy: Float[np.ndarray, "layer neuron"]
    neurons: dict[str, frozenset[Neuron]]
    n_tokens: dict[str, int]
    provenance: Provenance

    def __repr__(self) -> str:
        counts = ", ".join(f"{language} {len(held)}" for language, held in self.neurons.items())
        return f"Lape({counts} neurons)"

    def to_frame(self) -> "pd.DataFrame":
        """One row a language and one of its neurons: layer, neuron, frequency, entropy."""
        import pandas as pd

        rows = [
            (language, *neuron, self.frequency[(number, *neuron)], self.entropy[neuron])
            for number, language in enumerate(self.languages)
            for neuron in sorted(self.neurons[language])
        ]
        return pd.DataFrame(rows, columns=["language", "layer", "neuron", "frequency", "entropy"])


@reads_model
@takes(share=real(above=0, below=1), percentile=real(above=0, below=1))
def lape(
    model: "TransformerBridge",
    prompts: Prompts,
    *,
    share: float = 0.01,
    percentile: float = 0.95,
) -> Lape:
    """Find the neurons of each language on a corpus of prompts.

    Args:
        prompts: texts of at least two languages, about the same facts, so that only the language
            differs.
        share: of all neurons, how many are chosen (0 to 1): those of the lowest entropy.
        percentile: of all activation frequencies (0 to 1). A neuron fires often in a language when
            its frequency there is above it.

    Raises:
        ValueError: for a single language, or a share or percentile outside 0 to 1.
    """
    prompts = as_prompts(prompts)
    by_language, n_tokens = _frequencies(model, prompts)
    languages = tuple(by_language)
    if len(languages) < 2:
        raise ValueError(
            f"all prompts are in {', '.join(languages)}; a neuron is specific to a language beside "
            "others, so give prompts in at least two"
        )
    frequency = np.stack(list(by_language.values()))
    entropy = _entropy(frequency)
    often = frequency > np.quantile(frequency, percentile)
    chosen = _lowest(np.where(often.any(0), entropy, np.inf), round(share * entropy.size))
    return Lape(
        languages=languages,
        frequency=frequency,
        entropy=entropy,
        neurons={
            language: neurons_of(torch.from_numpy(chosen & often[number]))
            for number, language in enumerate(languages)
        },
        n_tokens=n_tokens,
        provenance=provenance(model, "lape", share=share, percentile=percentile),
    )


def _entropy(
    frequency: Float[np.ndarray, "language layer neuron"],
) -> Float[np.ndarray, "layer neuron"]:
    """Entropy over languages of each neuron's frequencies (nats); NaN where it never fires."""
    total = frequency.sum(0)
    part = frequency / np.where(total > 0, total, np.nan)
    return -(part * np.log(np.where(part > 0, part, 1))).sum(0)


def _lowest(
    values: Float[np.ndarray, "layer neuron"], count: int
) -> Bool[np.ndarray, "layer neuron"]:
    """Mark the lowest finite values, at most `count` of them."""
    chosen = np.zeros(values.size, dtype=bool)
    count = min(count, int(np.isfinite(values).sum()))
    chosen[np.argsort(values.ravel(), kind="stable")[:count]] = True
    return chosen.reshape(values.shape)


def _frequencies(
    model: "TransformerBridge", prompts: Sequence[Prompt]
) -> tuple[dict[str, Float[np.ndarray, "layer neuron"]], dict[str, int]]:
    """Share of each language's tokens on which each neuron fires; special tokens do not count."""
    n_layers = capabilities(model).n_layers
    fired: dict[str, Tensor] = {}
    n_tokens: dict[str, int] = {}
    for batch in batches(model, prompts):
        seen: list[Tensor] = []
        text = slice(*batch.text)

        def keep(value: Tensor, hook: Any, seen: list[Tensor] = seen, text: slice = text) -> None:
            seen.append((value[:, text] > 0).sum(1).cpu())

        hooks = [(hook_gate(model, layer), keep) for layer in range(n_layers)]
        with torch.no_grad(), hooked(model, hooks):
            model(batch.tokens)
        for row, number in enumerate(batch.index.tolist()):
            language = prompts[number].language
            counts = torch.stack([layer[row] for layer in seen])
            fired[language] = fired[language] + counts if language in fired else counts
            n_tokens[language] = n_tokens.get(language, 0) + text.stop - text.start
    shares = {language: (fired[language] / n_tokens[language]).numpy() for language in fired}
    return shares, n_tokens
