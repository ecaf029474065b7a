"""Editors that rewrite or scale the weights of located neurons.

With w_n the row of the down projection that neuron n writes, e(a) the mean of the un-embedding
vectors of an answer's tokens, and L_n the languages whose fact the neuron carries:

- **knowledge neurons** (Dai et al. 2022, "Knowledge Neurons in Pretrained Transformers", arXiv
  2104.08696, section 5.2): w_n += mean over L_n of (`new` * e(new answer) - `old` * e(old answer));
- **scaled** (AMIG, Chen et al. 2024, "Journey to the Center of the Knowledge Neurons", arXiv
  2308.13198): w_n *= `factor`, for neurons that carry the fact in several languages.

Neurons are located by integrated gradients at the answer (see `select_neurons`).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from lafn_viz.attribution.attribute import attribute
from lafn_viz.core.arguments import real, takes, whole
from lafn_viz.datasets.edit_cases import EditCase
from lafn_viz.datasets.prompts import Prompt
from lafn_viz.editing.baselines.editor import Editor
from lafn_viz.editing.baselines.weight_edits import WeightEdit
from lafn_viz.models.calls import reads_model
from lafn_viz.models.hooks import down_weight
from lafn_viz.models.tokens import encode
from lafn_viz.models.weights import full_weight
from lafn_viz.neurons.neuron_sets import Neuron, select_neurons

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


_SHARE = real(least=0, below=1)


@takes(old=real(), new=real(), threshold=_SHARE, share=_SHARE)
def knowledge_neurons(
    *, old: float = 0.1, new: float = 0.8, threshold: float = 0.2, share: float = 0.5
) -> Editor:
    """Knowledge neurons: w -= `old` * e(old answer), w += `new` * e(new answer).

    w is what a neuron writes, e the mean of the un-embedding vectors of an answer's tokens; a
    neuron of several languages gets their mean. (The paper has 1 and 8 for BERT.) A fact that the
    model does not know has no such neurons, and nothing is changed.

    Args:
        threshold, share: which neurons carry the fact in a language (see `select_neurons`), by
            integrated gradients at the answer.
    """

    @reads_model
    def edit(model: "TransformerBridge", case: EditCase, languages: Sequence[str]) -> WeightEdit:
        prompts = [p for p in _with_old_answers(case, languages) if p.language in case.old]
        scores = attribute(model, prompts, position="answer")
        unembedding = full_weight(model.original_model.get_output_embeddings())
        assert unembedding is not None
        unembedding = unembedding.detach().float().cpu()

        def answer_vector(prompt: Prompt) -> Float[Tensor, " d_model"]:
            return unembedding[list(encode(model, prompt).answer)].mean(0)

        additions: dict[Neuron, list[Tensor]] = defaultdict(list)
        for neurons in select_neurons(scores, threshold=threshold, share=share):
            after = case.edit[neurons.language][0]
            before = replace(after, answer=case.old[neurons.language])
            for neuron in neurons.neurons:
                additions[neuron].append(new * answer_vector(after) - old * answer_vector(before))
        return _rows_added(
            model, {neuron: torch.stack(rows).mean(0) for neuron, rows in additions.items()}
        )

    options = {"old": old, "new": new, "threshold": threshold, "share": share}
    return Editor("knowledge neurons", edit, options)


@takes(factor=real(), threshold=_SHARE, share=_SHARE, min_languages=whole(1))
def scaled(
    factor: float, *, threshold: float = 0.2, share: float = 0.5, min_languages: int = 2
) -> Editor:
    """Multiply the neurons of the fact in several languages: 0 suppresses, 2 enhances them.

    Args:
        threshold, share: which neurons carry the fact in a language (see `select_neurons`), by
            integrated gradients at the answer.
        min_languages: in how many languages a neuron must carry it (one is enough where one
            language is edited).
    """

    @reads_model
    def edit(model: "TransformerBridge", case: EditCase, languages: Sequence[str]) -> WeightEdit:
        scores = attribute(model, _with_old_answers(case, languages), position="answer")
        n_languages: dict[Neuron, int] = defaultdict(int)
        for neurons in select_neurons(scores, threshold=threshold, share=share):
            for neuron in neurons.neurons:
                n_languages[neuron] += 1
        least = min(min_languages, len(languages))
        return _rows_added(
            model,
            {
                neuron: (factor - 1) * down_weight(model, neuron.layer)[neuron.neuron].float().cpu()
                for neuron, count in n_languages.items()
                if count >= least
            },
        )

    name = "suppressed" if factor < 1 else "enhanced"
    options = {
        "factor": factor, "threshold": threshold, "share": share, "min_languages": min_languages,
    }  # fmt: skip
    return Editor(name, edit, options)


def _with_old_answers(case: EditCase, languages: Iterable[str]) -> list[Prompt]:
    """The questions to edit, each with its answer before the edit."""
    return [
        replace(prompt, answer=case.old.get(prompt.language, prompt.answer))
        for prompt in case.prompts("edit", languages=languages)
    ]


def _rows_added(
    model: "TransformerBridge", rows: Mapping[Neuron, Float[Tensor, " d_model"]]
) -> WeightEdit:
    """A change of weights that adds a vector to what each of these neurons writes."""
    changes: dict[int, Tensor] = {}
    for (layer, neuron), row in rows.items():
        if layer not in changes:
            changes[layer] = torch.zeros(down_weight(model, layer).shape)
        changes[layer][neuron] += row
    return WeightEdit(changes)
