"""Find which cached facts a text asks about, by what the neurons of their edits do.

1. The **key** of an edit is the mean activation at the last token of its prompts, less the mean
   over prompts that ask for other facts; an edit has one key for each language. The neurons are
   those that the edits change, of all edits together.
2. The **score** of a text is the cosine between a token's activations (less the same mean) and the
   nearest key of the edit, at the token where it is highest.
3. An edit **fires** above a threshold, set so that at most a share `false_fires` of the other
   prompts passes it; where names are used too, of those that name a subject with an edit.

Names tell which subject a text is about, but not what it asks. With `names`, activations choose
among the edits of the subjects that the names find, so "the currency of Japan" does not fire an
edit of Japan's capital. Without, activations have to tell the subject as well.

The model reads each text once more, without any edit. Keys come from the prompts that an edit
carries, so nothing more has to be saved with it.

Caveats: an edit hardly fires in a language in which it has no prompts. Facts with the same object
(the franc of Mali, the franc of Togo) have the nearest keys, so the other prompts should include
such neighbours. Enough random neurons make as good a key as located ones; a hundred do not.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from lafn_viz.core.arguments import a_function, a_text, or_none, real, takes, whole
from lafn_viz.datasets.arguments import Prompts, as_prompts
from lafn_viz.datasets.prompts import Prompt
from lafn_viz.datasets.text import normal
from lafn_viz.editing.activation_reader import ActivationReader, require_usable
from lafn_viz.editing.applied import Find
from lafn_viz.editing.cache import Edits, as_edits
from lafn_viz.editing.edit import Edit
from lafn_viz.editing.retrieval.match import Match
from lafn_viz.models.calls import require_model
from lafn_viz.models.capabilities import capabilities
from lafn_viz.neurons.neuron_sets import Neuron, Neurons, validate_neurons

if TYPE_CHECKING:
    import pandas as pd
    from transformer_lens.model_bridge import TransformerBridge


class ActivationMatcher:
    """Find what texts ask for by the activations of the edits' neurons; immutable once built.

    Its `find` is a search for `EditCache(edits, find=...)`. `threshold` is the cosine above which
    an edit fires, `n_others` the number of prompts that it rests on, and `false_fires` the share of
    them that passes it. `neurons` are those that the keys are made of.

    Args:
        edits: which may fire; make a new matcher when the edits change.
        others: prompts of other facts, on which no edit shall fire (`facts.prompts()`); some
            thousand are enough. Prompts of the edited facts themselves are left out, and with
            `names` also those that name no subject with an edit.
        names: a search by names, such as `EditCache(edits).find`, whose matches the activations
            narrow down; with None, activations alone find the subject.
        neurons: to make the keys of; unless given, the `n_neurons` that most edits change.
        false_fires: the share of `others` on which an edit may fire.

    Raises:
        ValueError: for a masked model, no edits, edits of another model or without prompts,
            neurons that do not exist, or no prompts to set the threshold by.
    """

    @takes(n_neurons=whole(1), false_fires=real(least=0, below=1), names=or_none(a_function))
    def __init__(
        self,
        model: "TransformerBridge",
        edits: Edits,
        others: Prompts,
        *,
        names: Find | None = None,
        neurons: Neurons | None = None,
        n_neurons: int = 1000,
        false_fires: float = 0.01,
    ) -> None:
        require_model(model)
        self._names, self._edits = names, as_edits(edits)
        require_usable(model, self._edits)
        others = as_prompts(others, "others")
        self.neurons = _key_neurons(model, self._edits, neurons, n_neurons)
        self._reader = ActivationReader(model, self.neurons)
        candidates = self._candidates_by_text(others)
        activations = self._reader.activations([text for text, _ in candidates])
        mean = torch.stack([of_text[-1] for of_text in activations]).mean(0)
        self._keys = _keys_of(self._edits, self._reader, mean)
        highest = [
            float(self._keys.scores(of_text)[:, numbers].max())
            for (_, numbers), of_text in zip(candidates, activations, strict=True)
        ]
        highest.sort(reverse=True)
        self.threshold = highest[int(false_fires * len(highest))]
        self.n_others = len(highest)
        self.false_fires = sum(score > self.threshold for score in highest) / len(highest)

    def __repr__(self) -> str:
        by = "activations" if self._names is None else "names and activations"
        return (
            f"ActivationMatcher({len(self._edits)} edits by {by}, above {self.threshold:.2f}: "
            f"{self.false_fires:.1%} false fires on {self.n_others} prompts)"
        )

    @takes(text=a_text)
    def find(self, text: str) -> list[Match]:
        """The edits that a text asks for, each as a subject and a relation.

        With `names`: their matches, each with the relation of an edit that fires. Without: at most
        the best edit, by the rule "activation", with the token where the cosine is highest and that
        cosine as its score.
        """
        named = self._named(text)
        fired = [scored for scored in self._scored(text, named) if scored.score > self.threshold]
        if named is not None:
            return [
                replace(match, relation=scored.edit.relation)
                for match in named
                for scored in fired
                if scored.edit.subject_id == match.key
            ]
        if not fired:
            return []
        best = max(fired, key=lambda scored: scored.score)
        key, relation = best.edit.key
        token = text[slice(*best.span)]
        return [Match(key, "activation", best.span, token, best.score, relation=relation)]

    @takes(text=a_text)
    def explain(self, text: str) -> "pd.DataFrame":
        """The score of every edit, best first, whether it fires or not.

        Columns: key, relation, score (cosine), threshold, start, end, text (the token of that
        score), named (by which rule; None where names are not used or do not find it), fired.
        """
        import pandas as pd

        named = {match.key: match.rule for match in self._named(text) or ()}
        fired = {(match.key, match.relation) for match in self.find(text)}
        rows = [
            {
                "key": scored.edit.subject_id,
                "relation": scored.edit.relation,
                "score": scored.score,
                "threshold": self.threshold,
                "start": scored.span[0],
                "end": scored.span[1],
                "text": text[slice(*scored.span)],
                "named": named.get(scored.edit.subject_id),
                "fired": scored.edit.key in fired,
            }
            for scored in self._scored(text, None)
        ]
        columns = ["key", "relation", "score", "threshold", "start", "end", "text", "named"]
        frame = pd.DataFrame(rows, columns=[*columns, "fired"])
        return frame.sort_values("score", ascending=False, kind="stable", ignore_index=True)

    def _candidates_by_text(self, others: Iterable[Prompt]) -> list[tuple[str, list[int]]]:
        """The texts that set the threshold, with the numbers of the edits they may ask for."""
        edited = {
            (edit.relation, normal(name, language))
            for edit in self._edits
            for language, names in edit.names.items()
            for name in names
        }
        texts = [
            p.full_text for p in others if (p.relation, normal(p.subject, p.language)) not in edited
        ]
        if not texts:
            raise ValueError(
                "there are no prompts of other facts to set the threshold by; give some that the "
                "edits do not ask for (facts.prompts())"
            )
        numbers_of = {text: self._candidates(self._named(text)) for text in texts}
        candidates = [(text, numbers_of[text]) for text in texts if numbers_of[text]]
        if not candidates:
            raise ValueError(
                f"none of the {len(texts)} other prompts names the subject of an edit, so nothing "
                "says which of its relations they ask for; give prompts of other relations"
            )
        return candidates

    def _named(self, text: str) -> list[Match] | None:
        """The subjects that a text names; None where names are not used."""
        return None if self._names is None else list(self._names(text))

    def _candidates(self, named: list[Match] | None) -> list[int]:
        """The numbers of the edits that a text may ask for, by the subjects that it names."""
        keys = {match.key for match in named or ()}
        return [i for i, edit in enumerate(self._edits) if named is None or edit.subject_id in keys]

    def _scored(self, text: str, named: list[Match] | None) -> "list[_Scored]":
        """The score of each edit that a text may ask for."""
        candidates = self._candidates(named)
        spans = self._reader.spans(text)
        if not candidates or not spans:
            return []
        scores, tokens = self._keys.scores(self._reader.activations([text])[0]).max(0)
        return [
            _Scored(self._edits[i], float(scores[i]), spans[int(tokens[i])]) for i in candidates
        ]


@dataclass(frozen=True)
class _Scored:
    """An edit with its highest cosine in a text, and the characters of the token that has it."""

    edit: Edit
    score: float
    span: tuple[int, int]


@dataclass(frozen=True)
class _Keys:
    """The keys of all edits: unit vectors, the number of the edit of each, and the mean."""

    keys: Float[Tensor, "key neuron"]
    edit_of: Int[Tensor, " key"]
    mean: Float[Tensor, " neuron"]
    n_edits: int

    def scores(self, activations: Float[Tensor, "pos neuron"]) -> Float[Tensor, "pos edit"]:
        """The cosine of each token with the nearest key of each edit."""
        cosine = normalize(activations - self.mean, dim=-1) @ self.keys.T
        lowest = cosine.new_full((len(activations), self.n_edits), -1)
        edit_of = self.edit_of.expand(len(activations), -1)
        return lowest.scatter_reduce(1, edit_of, cosine, "amax")


def _keys_of(
    edits: Sequence[Edit], reader: "ActivationReader", mean: Float[Tensor, " neuron"]
) -> _Keys:
    """The keys of some edits: one for each language of each edit's prompts."""
    prompts = [(i, prompt) for i, edit in enumerate(edits) for prompt in edit.prompts]
    last_tokens: dict[tuple[int, str], list[Tensor]] = defaultdict(list)
    activations = reader.activations([prompt.full_text for _, prompt in prompts])
    for (i, prompt), of_text in zip(prompts, activations, strict=True):
        last_tokens[i, prompt.language].append(of_text[-1])
    means = torch.stack([torch.stack(rows).mean(0) for rows in last_tokens.values()])
    edit_of = torch.tensor([i for i, _ in last_tokens])
    return _Keys(normalize(means - mean, dim=-1), edit_of, mean, len(edits))


def _key_neurons(
    model: "TransformerBridge",
    edits: Sequence[Edit],
    neurons: Neurons | None,
    n_neurons: int,
) -> tuple[Neuron, ...]:
    """The neurons of the keys, in order: those given, or those that most edits change."""
    if neurons is None:
        counts = Counter(neuron for edit in edits for neuron in sorted(edit.neurons))
        neurons = [neuron for neuron, _ in counts.most_common(n_neurons)]
    return tuple(sorted(set(validate_neurons(neurons, capabilities(model).shape))))
