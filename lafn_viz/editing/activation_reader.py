"""What neurons do at each token of a text, read with the model as it is, without any edit."""

import inspect
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from lafn_viz.editing.applied import edits_paused
from lafn_viz.editing.edit import Edit
from lafn_viz.models.capabilities import require_causal, special_tokens
from lafn_viz.models.hooks import Hooks, hook_post, hooked
from lafn_viz.models.plain import PlainModel
from lafn_viz.models.tokenizing import tokenize
from lafn_viz.models.weights import device_of
from lafn_viz.neurons.neuron_sets import Neuron

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

MAX_ROWS = 64  # texts of equal length that are read together


class ActivationReader:
    """Reads texts with the model as it is, and returns what some neurons do at each token."""

    def __init__(self, model: "TransformerBridge | PlainModel", neurons: Sequence[Neuron]) -> None:
        self._model = model
        self._n_special = len(special_tokens(model.tokenizer)[0])
        self._neurons: dict[int, list[int]] = defaultdict(list)
        for layer, neuron in sorted(neurons):
            self._neurons[layer].append(neuron)

    def spans(self, text: str) -> tuple[tuple[int, int], ...]:
        """The characters that each own token of a text stands for."""
        read = tokenize(self._model, text)
        return read.spans[read.start :]

    def activations(self, texts: Sequence[str]) -> list[Float[Tensor, "pos neuron"]]:
        """What the neurons do at each own token of each text, in float32 on the CPU."""
        rows = [tokenize(self._model, text).tokens for text in texts]
        by_length: dict[int, list[int]] = defaultdict(list)
        for i, ids in enumerate(rows):
            by_length[len(ids)].append(i)
        seen: dict[int, Tensor] = {}

        def keep_of(layer: int, neurons: list[int]) -> Any:
            def keep(value: Tensor, hook: Any) -> None:
                seen[layer] = value[..., neurons].float().cpu()

            return keep

        hooks: Hooks = [(hook_post(layer), keep_of(layer, n)) for layer, n in self._neurons.items()]
        whole = self._model.original_model
        read = whole if isinstance(self._model, PlainModel) else self._model
        keeps = "logits_to_keep" in inspect.signature(whole.forward).parameters
        options = {"logits_to_keep": 1} if keeps else {}
        device = device_of(whole)
        activations: list[Tensor] = [torch.empty(0)] * len(texts)
        with torch.no_grad(), edits_paused(), hooked(self._model, hooks):
            for numbers in by_length.values():
                for start in range(0, len(numbers), MAX_ROWS):
                    batch = numbers[start : start + MAX_ROWS]
                    read(torch.tensor([rows[i] for i in batch], device=device), **options)
                    values = torch.cat([seen[layer] for layer in self._neurons], -1)
                    # Some families lay all rows end to end.
                    rows_of = values.view(len(batch), -1, values.shape[-1])
                    for i, of_text in zip(batch, rows_of, strict=True):
                        activations[i] = of_text[self._n_special :]
        return activations


def require_usable(model: "TransformerBridge", edits: Sequence[Edit]) -> None:
    """Refuse a masked model, and edits that no key can be made of."""
    require_causal(model)
    if not edits:
        raise ValueError("there are no edits; give at least one (lafn_edit)")
    for edit in edits:
        edit.require(model)
        if not edit.prompts:
            raise ValueError(f"{edit!r} has no prompts, and its key is read on them; edit anew")
