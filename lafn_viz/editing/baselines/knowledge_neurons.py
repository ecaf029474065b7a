"""Editors that change the weights of located neurons: knowledge neurons, and AMIG's scaling."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from lafn_viz.attribution.attribute import attribute
from lafn_viz.datasets.edit_cases import EditCase
from lafn_viz.datasets.facts import Prompt
from lafn_viz.editing.baselines.editor import Editor
from lafn_viz.editing.baselines.weight_edits import (
    WeightEdit,
)
from lafn_viz.models.hooks import down_weight
from lafn_viz.models.tokens import encode
from lafn_viz.neurons.neuron_sets import Neuron, select_neurons

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


def knowledge_neurons(
    *, old: float = 0.1, new: float = 0.8, threshold: float = 0.2, share: float = 0.5
) -> Editor:
    """Knowledge neurons: w -= `old` * e(old answer), w += `new` * e(new answer).

    w is what a neuron writes, e the mean of the un-embedding vectors of an answer's tokens, and the
    mean over the languages whose fact the neuron carries. (The paper has 1 and 8 for BERT.) A fact
    that the model does not know has no such neurons: nothing is changed.

    Args:
        threshold, share: which neurons carry the fact in a language (see `select_neurons`), by
            integrated gradients at the answer.
    """

    def edit(model: "TransformerBridge", case: EditCase, languages: Sequence[str]) -> WeightEdit:
        prompts = [p for p in _before(case, languages) if p.language in case.old]
        scores = attribute(model, prompts, position="answer")
        embedding = model.original_model.get_output_embeddings().weight.detach().float().cpu()

        def meaning(prompt: Prompt) -> Float[Tensor, " d_model"]:
            return embedding[list(encode(model, prompt).answer)].mean(0)

        added: dict[Neuron, list[Tensor]] = defaultdict(list)
        for found in select_neurons(scores, threshold=threshold, share=share):
            told = case.edit[found.language][0]
            was = replace(told, answer=case.old[found.language])
            for neuron in found.neurons:
                added[neuron].append(new * meaning(told) - old * meaning(was))
        return _rows(model, {neuron: torch.stack(some).mean(0) for neuron, some in added.items()})

    options = {"old": old, "new": new, "threshold": threshold, "share": share}
    return Editor("knowledge neurons", edit, options)


def scaled(
    factor: float, *, threshold: float = 0.2, share: float = 0.5, min_languages: int = 2
) -> Editor:
    """The neurons of the fact in several languages times a factor: 0 suppresses, 2 enhances.

    Args:
        threshold, share: which neurons carry the fact in a language (see `select_neurons`), by
            integrated gradients at the answer.
        min_languages: in how many of them (one is enough where one is edited).
    """

    def edit(model: "TransformerBridge", case: EditCase, languages: Sequence[str]) -> WeightEdit:
        scores = attribute(model, _before(case, languages), position="answer")
        counts: dict[Neuron, int] = defaultdict(int)
        for found in select_neurons(scores, threshold=threshold, share=share):
            for neuron in found.neurons:
                counts[neuron] += 1
        least = min(min_languages, len(languages))
        return _rows(
            model,
            {
                neuron: (factor - 1) * down_weight(model, neuron.layer)[neuron.neuron].float().cpu()
                for neuron, count in counts.items()
                if count >= least
            },
        )

    name = "suppressed" if factor < 1 else "enhanced"
    options = {
        "factor": factor, "threshold": threshold, "share": share, "min_languages": min_languages,
    }  # fmt: skip
    return Editor(name, edit, options)


def _before(case: EditCase, languages: Iterable[str]) -> list[Prompt]:
    """The questions to edit, with their old answers."""
    asked = case.prompts("edit", languages=languages)
    return [
        replace(prompt, answer=case.old.get(prompt.language, prompt.answer)) for prompt in asked
    ]


def _rows(
    model: "TransformerBridge", added: Mapping[Neuron, Float[Tensor, " d_model"]]
) -> WeightEdit:
    """What is added to the rows of some neurons."""
    changes: dict[int, Tensor] = {}
    for (layer, neuron), row in added.items():
        if layer not in changes:
            changes[layer] = torch.zeros(down_weight(model, layer).shape)
        changes[layer][neuron] += row
    return WeightEdit(changes)
