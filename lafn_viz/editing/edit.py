"""An edit as a value: which neurons it changes, what it adds to them, and where it comes from."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from lafn_viz.core.arguments import takes, whole
from lafn_viz.core.json_records import MAY_LACK
from lafn_viz.core.messages import listed, quoted, shown, warn
from lafn_viz.core.provenance import Provenance
from lafn_viz.datasets.languages import by_code
from lafn_viz.datasets.prompts import Prompt
from lafn_viz.datasets.text import nfc
from lafn_viz.editing.forward import EditPosition
from lafn_viz.editing.gate import RelationGate
from lafn_viz.editing.retrieval.subject_matcher import SubjectMatcher
from lafn_viz.models.calls import reads_model
from lafn_viz.models.capabilities import capabilities, weights_of
from lafn_viz.models.plain import PlainModel
from lafn_viz.models.plain_weights import plain_weights, plain_weights_of, tokens_digest
from lafn_viz.neurons.neuron_sets import Neuron, validate_neurons

if TYPE_CHECKING:
    import pandas as pd
    from transformer_lens.model_bridge import TransformerBridge


# An edit has converged where -log P(new object) is less than this on average (nats): the new object
# is then likelier than everything else together.
CONVERGED = math.log(2)

# Under these options an edit's provenance says what it can tell a model of transformers by.
PLAIN_WEIGHTS, PLAIN_TOKENS = "plain_weights", "plain_tokens"


def plain_options(model: "TransformerBridge", prompts: Sequence[Prompt]) -> dict[str, Any]:
    """What an edit notes of the model and the tokenizer in a bridge."""
    texts = [prompt.text for prompt in prompts]
    return {
        PLAIN_WEIGHTS: plain_weights_of(model),
        PLAIN_TOKENS: tokens_digest(model.tokenizer, texts),
    }


class EditError(ValueError):
    """An edit does not fit the model or the cache, or a cache on disk cannot be used."""


class NotConvergedWarning(UserWarning):
    """An edit was found in which the new object is not likely; the message says what to try."""


@dataclass(frozen=True)
class Edit:
    """The change of one fact: values to add to some neurons where the fact is read.

    `values` holds one value for each of `neurons`, in units of their activation. `position` says at
    which tokens they are added: "subject_last", "from_subject" or "answer" (from the prompt's last
    token on). `names` are the subject's, by language; `old` and `new` are the object's names in the
    languages edited (`old` where it is known). `curve` is the loss at each evaluation (nats),
    on some of `prompts` until the neurons are found, then on all (see `search`). `loss` and
    `divergence` are its two parts at the end: the mean -log P(new object) of `prompts`, and the
    Kullback-Leibler divergence from before on what shall stay. `gate` tells the texts that ask for
    the relation; without one, the edit acts in every text that names the subject.
    """

    subject_id: str
    relation: str
    names: Mapping[str, tuple[str, ...]]
    old: Mapping[str, str]
    new: Mapping[str, str]
    neurons: tuple[Neuron, ...]
    values: Float[Tensor, " neuron"]
    position: EditPosition
    curve: tuple[float, ...]
    loss: float
    divergence: float
    prompts: tuple[Prompt, ...]
    provenance: Provenance
    gate: RelationGate | None = field(default=None, metadata=MAY_LACK)

    def __post_init__(self) -> None:
        names = {key: tuple(map(nfc, given)) for key, given in by_code(self.names).items()}
        object.__setattr__(self, "names", names)
        for name in ("old", "new"):
            answers = by_code(getattr(self, name)).items()
            object.__setattr__(self, name, {language: nfc(text) for language, text in answers})

    def __repr__(self) -> str:
        name, new = next(iter(self.names.values())), next(iter(self.new.values()))
        return (
            f"Edit({quoted(name[0])}, {shown(self.relation)}: "
            f"{quoted(next(iter(self.old.values()), '?'))} -> {quoted(new)} "
            f"in {len(self.new)} languages, "
            f"{len(self.neurons)} neurons, loss {self.curve[0]:.2f} -> {self.loss:.2f}"
            f"{'' if self.gate is None else ', gated by relation'}"
            f"{'' if self.converged else ', not converged'})"
        )

    @property
    def converged(self) -> bool:
        """Whether the mean -log P of the new object is less than log 2, so that it is likely."""
        return self.loss < CONVERGED

    @property
    def key(self) -> tuple[str, str]:
        """Subject and relation; a cache holds at most one edit of each pair."""
        return self.subject_id, self.relation

    @reads_model
    def require(self, model: "TransformerBridge") -> None:
        """Raise EditError for any other model than the one that the edit was made for."""
        weights, source = weights_of(model), self.provenance
        if source.weights != weights:
            raise EditError(
                f"{self!r} was made for the model {quoted(source.model)} "
                f"({shown(source.weights[:8])}), not for "
                f"this one ({weights[:8]}); edit the fact anew on this model"
            )
        self._require_neurons(capabilities(model).shape)

    def require_plain(self, plain: PlainModel) -> None:
        """Raise EditError for any other model of transformers, or another tokenizer."""
        noted, model = self.provenance.options, plain.original_model
        if not {PLAIN_WEIGHTS, PLAIN_TOKENS} <= noted.keys():
            raise EditError(
                f"{self!r} was made by a version of lafn_viz that did not note the model's weights "
                "without TransformerLens; edit the fact anew, or apply the edit to the model of "
                "lv.load_model, by cache.applied(model)"
            )
        if (weights := plain_weights(model)) != noted[PLAIN_WEIGHTS]:
            raise EditError(
                f"{self!r} was made for the model {quoted(self.provenance.model)} "
                f"({shown(noted[PLAIN_WEIGHTS][:8])}), and the weights of this "
                f"{type(model).__name__} in {model.dtype} differ ({weights[:8]}); load the same "
                "model in the number type of its files or a wider one, or edit the fact anew"
            )
        texts = [prompt.text for prompt in self.prompts]
        if tokens_digest(plain.tokenizer, texts) != noted[PLAIN_TOKENS]:
            raise EditError(
                f"this tokenizer reads the prompts of {self!r} in other tokens than the one that "
                "it was made with; load the model's own tokenizer, from the folder of the model"
            )
        self._require_neurons(plain.shape)

    def _require_neurons(self, shape: tuple[int, int]) -> None:
        try:
            validate_neurons(self.neurons, shape)
        except ValueError as error:
            raise EditError(f"{self!r} is damaged: {error}") from None
        if self.gate is not None and not self.gate.fits(shape):
            raise EditError(
                f"{self!r} is damaged: its gate reads {len(self.gate.weights)} features, and this "
                f"model has {shape[0]} layers of {shape[1]} neurons"
            )

    def warn_unless_converged(self, losses: Mapping[str, float]) -> None:
        """Warn of an edit that has not converged.

        Args:
            losses: the mean -log P(new object) by language (nats).
        """
        if self.converged:
            return
        worst = sorted(losses, key=lambda language: -losses[language])
        warn(
            f"{self!r} has not converged: the mean -log P(new object) is {self.loss:.2f} nats, not "
            f"less than {CONVERGED:.2f}; by language "
            f"{listed(f'{language} {losses[language]:.2f}' for language in worst)}; give more "
            "neurons (n_neurons=), another position=, or the languages in which the model knows "
            "the fact",
            NotConvergedWarning,
        )

    def warn_where_not_found(self) -> None:
        """Warn of own prompts in which no name of the subject is found, so that it does not act."""
        matcher = SubjectMatcher({self.subject_id: self.names})
        named = [prompt for prompt in self.prompts if prompt.subject_span is not None]
        missed = [prompt.text for prompt in named if not matcher.find(prompt.text)]
        if missed:
            warn(
                f"{self!r} will not act in {len(missed)} of the {len(self.prompts)} prompts that "
                f"it was made from, such as {quoted(missed[0])}: no name of its subject stands "
                "there as whole words or with a known ending; name the subject in the case as the "
                "prompt does",
            )

    @takes(d_mlp=whole(1))
    def added(self, d_mlp: int) -> dict[int, Float[Tensor, " neuron"]]:
        """By layer: what is added to each of its neurons, zero to those that stay."""
        table = {layer: torch.zeros(d_mlp) for layer, _ in self.neurons}
        for (layer, neuron), value in zip(self.neurons, self.values, strict=True):
            table[layer][neuron] = value
        return table

    def to_frame(self) -> "pd.DataFrame":
        """One row for each neuron: subject, relation, layer, neuron, value."""
        import pandas as pd

        return pd.DataFrame(
            {
                "subject_id": self.subject_id,
                "relation": self.relation,
                "layer": [layer for layer, _ in self.neurons],
                "neuron": [neuron for _, neuron in self.neurons],
                "value": self.values.numpy(),
            }
        )
