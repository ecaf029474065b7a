"""Find which cached facts a text asks about: its names tell the subject, activations the relation.

1. The **features** of a text are what neurons do at its last token, and on average over its tokens.
   The neurons are spread evenly over all layers.
2. For each relation of an edit, **ridge regression** tells the prompts that ask for it (1) from
   those that ask for something else (-1): on standardised features, in its dual form, as there are
   fewer prompts than features.
3. An edit **fires** where a name of its subject stands in the text and the regression is above 0.

The prompts are those of the edits; prompts of other relations with the same subject, made of the
wordings of the embedded facts, so that a subject of any kind will do; and, where the embedded facts
know the relation, prompts of theirs. Held-out wordings are never used.

In Gemma 3 270M (3,584 neurons of layers 4 to 17), with 816 prompts on the capital, currency,
continent and official language of ten countries in en, fr, ru and zh, all of wordings and subjects
that the regression had not seen, it found all that ask for the capital, and none of the others.
With the prompts of an edit and of its subject alone it found all, and 2.5% of the others. The
cosine with a mean (`ActivationMatcher`) found 25 to 35% of the wordings that were held out.

A limit: a text that asks for a relation of which no prompt is known may fire. "The president of
Japan is" fires an edit of the capital.
"""

import random
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from lafn_viz.core.arguments import a_function, a_text, or_none, takes, whole
from lafn_viz.core.messages import quoted
from lafn_viz.datasets.arguments import Prompts, as_prompts
from lafn_viz.datasets.fact_files import load_facts
from lafn_viz.datasets.facts import FactSet
from lafn_viz.datasets.prompts import Prompt
from lafn_viz.editing.activation_reader import ActivationReader, require_usable
from lafn_viz.editing.applied import Find
from lafn_viz.editing.cache import EditCache, Edits, as_edits
from lafn_viz.editing.edit import Edit
from lafn_viz.editing.retrieval.match import Match
from lafn_viz.models.calls import require_model
from lafn_viz.models.capabilities import capabilities
from lafn_viz.neurons.neuron_sets import Neuron

if TYPE_CHECKING:
    import pandas as pd
    from transformer_lens.model_bridge import TransformerBridge

RIDGE = 0.1  # relative to the mean of the squared length of the features
N_OTHERS = 240  # prompts of the embedded facts that are read, for each relation that they know


class RelationMatcher:
    """Finds which edits a text asks for, by names and activations; immutable once built.

    Its `find` is a search for `EditCache(edits, find=...)`: an edit of Japan's capital then leaves
    Japan's currency alone. It reads each text that names a subject once more. `n_prompts` is the
    number of prompts that it learned from.

    Args:
        edits: which may fire; make a new matcher when the edits change.
        others: prompts of any relations to learn from, in place of those of the embedded facts.
        names: a search by names; that of `EditCache(edits)` unless given.
        n_neurons: how many neurons to read at most.

    Raises:
        ValueError: for a masked model, no edits, edits of another model or without prompts, or no
            prompts of another relation in the languages of an edit.
    """

    @takes(n_neurons=whole(1), names=or_none(a_function))
    def __init__(
        self,
        model: "TransformerBridge",
        edits: Edits,
        others: Prompts | None = None,
        *,
        names: Find | None = None,
        n_neurons: int = 4096,
    ) -> None:
        require_model(model)
        self._edits = as_edits(edits)
        require_usable(model, self._edits)
        self._names = EditCache(self._edits).find if names is None else names
        self._reader = ActivationReader(model, _spread(capabilities(model).shape, n_neurons))
        given = None if others is None else as_prompts(others, "others")
        texts, asked = zip(*_to_learn_from(self._edits, given), strict=True)
        features = self._features(texts)
        self.n_prompts = len(texts)
        self._mean, self._scale = features.mean(0), features.std(0) + 1e-4
        self._weights = {
            relation: _ridge(
                (features - self._mean) / self._scale,
                torch.tensor([1.0 if other == relation else -1.0 for other in asked]),
            )
            for relation in dict.fromkeys(edit.relation for edit in self._edits)
        }

    def __repr__(self) -> str:
        return (
            f"RelationMatcher({len(self._edits)} edits of {len(self._weights)} relations, from "
            f"{self.n_prompts} prompts)"
        )

    @takes(text=a_text)
    def find(self, text: str) -> list[Match]:
        """The edits that a text asks for: each match of a name, with the relation of the edit."""
        named = list(self._names(text))
        keys = {match.key for match in named}
        relations = {edit.relation for edit in self._edits if edit.subject_id in keys}
        asked = {name for name, score in self._scores(text, relations).items() if score > 0}
        return [
            replace(match, relation=edit.relation)
            for match in named
            for edit in self._edits
            if edit.subject_id == match.key and edit.relation in asked
        ]

    @takes(text=a_text)
    def explain(self, text: str) -> "pd.DataFrame":
        """The score of every relation, best first: about 1 where a text asks for it, else -1.

        Columns: relation, score.
        """
        import pandas as pd

        scores = self._scores(text, self._weights)
        frame = pd.DataFrame(scores.items(), columns=["relation", "score"])
        return frame.sort_values("score", ascending=False, kind="stable", ignore_index=True)

    def _scores(self, text: str, relations: Collection[str]) -> dict[str, float]:
        """The score of each of some relations."""
        if not relations or not self._reader.spans(text):
            return {}
        feature = (self._features([text])[0] - self._mean) / self._scale
        return {relation: float(feature @ self._weights[relation]) for relation in relations}

    def _features(self, texts: Sequence[str]) -> Float[Tensor, "text feature"]:
        """What the neurons do at the last token of each text, and on average."""
        read = self._reader.activations(texts)
        return torch.stack([torch.cat([of_text[-1], of_text.mean(0)]) for of_text in read])


def _ridge(
    features: Float[Tensor, "prompt feature"], wanted: Float[Tensor, " prompt"]
) -> Float[Tensor, " feature"]:
    """The weights of ridge regression, without an intercept."""
    products = features @ features.T
    ridge = RIDGE * products.diagonal().mean() * torch.eye(len(products))
    return features.T @ torch.linalg.solve(products + ridge, wanted)


def _spread(shape: tuple[int, int], n_neurons: int) -> list[Neuron]:
    """At most so many neurons, spread evenly over all."""
    n_layers, d_mlp = shape
    step = -(-n_layers * d_mlp // n_neurons)
    return [Neuron(*divmod(number, d_mlp)) for number in range(0, n_layers * d_mlp, step)]


def _to_learn_from(edits: Sequence[Edit], others: Sequence[Prompt] | None) -> list[tuple[str, str]]:
    """Texts and the relation that each asks for: of the edits and of others, each text once."""
    facts = load_facts()
    own = [(prompt.full_text, edit.relation) for edit in edits for prompt in edit.prompts]
    beside = [question for edit in edits for question in _of_other_relations(facts, edit)]
    if others is None:
        languages = {prompt.language for edit in edits for prompt in edit.prompts}
        others = _drawn(facts, {edit.relation for edit in edits}, languages)
    asked = dict([*((prompt.full_text, prompt.relation) for prompt in others), *beside, *own])
    for edit in edits:
        if {*asked.values()} == {edit.relation}:
            raise ValueError(
                f"there is no prompt of another relation than {quoted(edit.relation)} in the "
                "languages of its edit, so nothing tells which one a text asks for; give others="
            )
    return list(asked.items())


def _drawn(facts: FactSet, relations: set[str], languages: set[str]) -> list[Prompt]:
    """Some prompts of the facts, if they know any of the relations."""
    known, shared = relations & {*facts.relations}, languages & {*facts.languages}
    if not known or not shared:
        return []
    prompts = facts.filter(languages=sorted(shared)).prompts(splits="trained")
    return random.Random(0).sample(prompts, min(len(prompts), N_OTHERS * len(known)))


def _of_other_relations(facts: FactSet, edit: Edit) -> Iterator[tuple[str, str]]:
    """Questions about an edit's subject in the wordings of the facts' other relations."""
    for (relation, language), wordings in facts.paraphrases.items():
        names = edit.names.get(language)
        if relation == edit.relation or not names or language not in edit.new:
            continue
        for number, text in enumerate(wordings.texts):
            if number not in wordings.held_out:
                yield text.format(subject=names[0]), relation
