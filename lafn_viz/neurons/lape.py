"""Neurons of a language, whatever the fact: language activation probability entropy.

LAPE (Tang et al. 2024, "Language-Specific Neurons", arXiv 2402.16438, section 2): a neuron fires in
a language on a share of its tokens. Divide the shares of all languages by their sum and take the
entropy (nats): low when the neuron fires in few languages. Of the neurons that fire often in at
least one language (above the 95th percentile of all shares), the lowest 1% belong to a language
each time they pass that percentile in it.

A neuron fires when its activation is positive; in a gated layer, when its gate is.

Language-specific *for a fact* is something else (see `overlaps`): a neuron in the set of one
language alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lafn_viz.core.provenance import Provenance
from lafn_viz.datasets.facts import Prompt
from lafn_viz.models.batching import batches
from lafn_viz.models.capabilities import capabilities, provenance
from lafn_viz.models.hooks import hook_gate
from lafn_viz.neurons.neuron_sets import Neuron, neurons_of

if TYPE_CHECKING:
    import pandas as pd
    from transformer_lens.model_bridge import TransformerBridge


@dataclass(frozen=True)
class Lape:
    """How often each neuron fires in each language, and the neurons that belong to one or few.

    `frequency` is a share of tokens (0 to 1), `entropy` in nats (NaN: never fires), `neurons` the
    language-specific ones of each language.
    """

    languages: tuple[str, ...]
    frequency: Float[np.ndarray, "language layer neuron"]
    entropy: Float[np.ndarray, "layer neuron"]
    neurons: dict[str, frozenset[Neuron]]
    n_tokens: dict[str, int]
    provenance: Provenance

    def __repr__(self) -> str:
        counts = ", ".join(f"{lang} {len(some)}" for lang, some in self.neurons.items())
        return f"Lape({counts} neurons)"

    def to_frame(self) -> "pd.DataFrame":
        """One row a language and neuron of it: layer, neuron, frequency, entropy."""
        import pandas as pd

        rows = [
            (lang, *neuron, self.frequency[(number, *neuron)], self.entropy[neuron])
            for number, lang in enumerate(self.languages)
            for neuron in sorted(self.neurons[lang])
        ]
        return pd.DataFrame(rows, columns=["language", "layer", "neuron", "frequency", "entropy"])


def lape(
    model: "TransformerBridge",
    prompts: Sequence[Prompt],
    *,
    share: float = 0.01,
    percentile: float = 0.95,
) -> Lape:
    """Find the neurons of each language on a corpus of prompts.

    Args:
        prompts: texts of at least two languages; of the same facts, so that only the language
            differs.
        share: of all neurons, those of the lowest entropy.
        percentile: of all activation frequencies (0 to 1); passed in a language, a neuron counts as
            often active there.

    Raises:
        ValueError: for one language only, or a share or percentile outside 0 to 1.
    """
    for name, value in (("share", share), ("percentile", percentile)):
        if not 0 < value < 1:
            raise ValueError(f"{name}={value}; it must be above 0 and below 1")
    frequency, n_tokens = _frequencies(model, prompts)
    languages = tuple(frequency)
    if len(languages) < 2:
        raise ValueError(
            f"prompts in {', '.join(languages)} only; a neuron is specific to a language beside "
            "others, so give at least two"
        )
    table = np.stack([frequency[language] for language in languages])
    total = table.sum(0)
    part = table / np.where(total > 0, total, np.nan)
    entropy = -(part * np.log(np.where(part > 0, part, 1))).sum(0)
    limit = np.quantile(table, percentile)
    often = (table > limit).any(0)
    candidates = np.where(often, entropy, np.inf)
    count = min(round(share * entropy.size), int(np.isfinite(candidates).sum()))
    chosen = np.zeros(entropy.size, dtype=bool)
    chosen[np.argsort(candidates.ravel(), kind="stable")[:count]] = True
    chosen = chosen.reshape(entropy.shape)
    return Lape(
        languages=languages,
        frequency=table,
        entropy=entropy,
        neurons={
            language: neurons_of(torch.from_numpy(chosen & (table[number] > limit)))
            for number, language in enumerate(languages)
        },
        n_tokens=n_tokens,
        provenance=provenance(model, "lape", share=share, percentile=percentile),
    )


def _frequencies(
    model: "TransformerBridge", prompts: Sequence[Prompt]
) -> tuple[dict[str, Float[np.ndarray, "layer neuron"]], dict[str, int]]:
    """Share of each language's tokens on which each neuron fires; special tokens do not count."""
    found = capabilities(model)
    fired: dict[str, Tensor] = {}
    n_tokens: dict[str, int] = {}
    for batch in batches(model, prompts):
        seen: list[Tensor] = []
        text = slice(*batch.text)

        def keep(value: Tensor, hook: Any, seen: list[Tensor] = seen, text: slice = text) -> None:
            seen.append((value[:, text] > 0).sum(1).cpu())

        hooks = [(hook_gate(model, layer), keep) for layer in range(found.n_layers)]
        with torch.no_grad(), model.hooks(fwd_hooks=hooks):
            model(batch.tokens)
        for row, number in enumerate(batch.index.tolist()):
            language = prompts[number].language
            counted = torch.stack([layer[row] for layer in seen])
            fired[language] = fired[language] + counted if language in fired else counted
            n_tokens[language] = n_tokens.get(language, 0) + text.stop - text.start
    return {lang: (fired[lang] / n_tokens[lang]).numpy() for lang in fired}, n_tokens
