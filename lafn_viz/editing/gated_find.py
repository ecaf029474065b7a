"""A search for subjects in which edits with a gate fire only where it is open.

The gate reads the text once more, with the model as it is: what every so many neurons do at its
last token and on average (see `gate`).
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from lafn_viz.editing.activation_reader import ActivationReader
from lafn_viz.editing.applied import Find
from lafn_viz.editing.edit import Edit
from lafn_viz.editing.retrieval.match import Match
from lafn_viz.models.capabilities import capabilities
from lafn_viz.models.plain import PlainModel
from lafn_viz.neurons.neuron_sets import Neuron

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


AT_ONCE = 256  # texts


def reader_of(model: "TransformerBridge | PlainModel", step: int) -> ActivationReader:
    """What reads every `step`-th neuron of a model."""
    n_layers, d_mlp = _shape(model)
    neurons = [Neuron(*divmod(number, d_mlp)) for number in range(0, n_layers * d_mlp, step)]
    return ActivationReader(model, neurons)


def features(reader: ActivationReader, texts: Sequence[str]) -> Float[Tensor, "text feature"]:
    """What the neurons do at the last token of each text, and on average over its tokens."""
    rows = []
    for start in range(0, len(texts), AT_ONCE):  # what all tokens do is not kept
        read = reader.activations(texts[start : start + AT_ONCE])
        rows += [torch.cat([of_text[-1], of_text.mean(0)]) for of_text in read]
    return torch.stack(rows)


class GatedFind:
    """A search for subjects in which edits with a gate fire only where it is open.

    Args:
        names: the search for subjects.
    """

    def __init__(
        self, model: "TransformerBridge | PlainModel", edits: Iterable[Edit], names: Find
    ) -> None:
        self._names = names
        edits_of: dict[str, list[Edit]] = defaultdict(list)
        for edit in edits:
            edits_of[edit.subject_id].append(edit)
        self._edits_of = dict(edits_of)
        steps = {e.gate.step for of in self._edits_of.values() for e in of if e.gate is not None}
        self._readers = {step: reader_of(model, step) for step in steps}

    def __call__(self, text: str) -> list[Match]:
        """The subjects that a text names; with the relation where only some edits fire."""
        named = list(self._names(text))
        asked = {edit.key: edit for match in named for edit in self._of(match)}
        scores = self.scores(text, asked.values())
        found = []
        for match in named:
            keys = [e.key for e in self._of(match) if match.asks_for(e.key)]
            fires = [key for key in keys if scores.get(key, 1.0) > 0]
            if fires == keys:
                found.append(match)
            else:
                found += [replace(match, relation=relation) for _, relation in fires]
        return found

    def _of(self, match: Match) -> list[Edit]:
        return self._edits_of.get(match.key, [])

    def scores(self, text: str, edits: Collection[Edit]) -> dict[tuple[str, str], float]:
        """By key, the score of the gates of some edits; -1 for a text without a token."""
        read: dict[int, Tensor] = {}
        scores = {}
        for edit in edits:
            if (gate := edit.gate) is None:
                continue
            reader = self._readers[gate.step]
            if gate.step not in read and reader.spans(text):
                read[gate.step] = features(reader, [text])[0]
            scores[edit.key] = gate.score(read[gate.step]) if gate.step in read else -1.0
        return scores


def _shape(model: "TransformerBridge | PlainModel") -> tuple[int, int]:
    return model.shape if isinstance(model, PlainModel) else capabilities(model).shape
