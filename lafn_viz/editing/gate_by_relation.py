"""Let edits act only where a text asks for their relation: fit a gate for each.

1. The **features** of a text are what neurons do at its last token, and on average over its tokens.
   The neurons are spread evenly over all layers.
2. For each relation of the edits, **ridge regression** tells the prompts that ask for it (1) from
   those that ask for something else (-1): on standardised features, in its dual form, as there are
   fewer prompts than features.
3. An edit **fires** where a name of its subject stands in the text and the regression is above 0.

The prompts are those of the edits; prompts of other relations with the same subject, made of the
wordings of the embedded facts, so that a subject of any kind will do; and, where the embedded facts
know the relation, prompts of theirs. Held-out wordings are never used.

In a trial on Gemma 3 270M (3,584 neurons of layers 4 to 17), with 816 prompts on the capital,
currency, continent and official language of ten countries in en, fr, ru and zh, all of wordings and
subjects that the regression had not seen, it found all that ask for the capital, and none of the
others. With the prompts of an edit and of its subject alone it found all, and 2.5% of the others.
The cosine with a mean (`ActivationMatcher`) found 25 to 35% of the wordings that were held out.

A limit: a text that asks for a relation of which no prompt is known may fire. "The president of
Japan is" fires an edit of the capital.
"""

import math
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from lafn_viz.core.arguments import takes, whole
from lafn_viz.core.messages import quoted
from lafn_viz.datasets.arguments import Prompts, as_prompts
from lafn_viz.datasets.fact_files import load_facts
from lafn_viz.datasets.facts import FactSet
from lafn_viz.datasets.prompts import Prompt
from lafn_viz.editing.activation_reader import require_usable
from lafn_viz.editing.cache import EditCache, Edits, as_edits
from lafn_viz.editing.edit import Edit
from lafn_viz.editing.gate import RelationGate
from lafn_viz.editing.gated_find import features, reader_of
from lafn_viz.models.calls import reads_model
from lafn_viz.models.capabilities import capabilities

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

RIDGE = 0.1  # relative to the mean of the squared length of the features
N_OTHERS = 240  # prompts of the embedded facts that are read, for each relation that they know
N_TEXTS = 3000  # that are learned from, at most


def has_wordings(languages: Iterable[str]) -> bool:
    """Whether the embedded facts ask other questions in one of these languages."""
    return not {*languages}.isdisjoint(load_facts().languages)


def require_wordings(languages: Iterable[str]) -> None:
    """Refuse languages in which a gate cannot learn from the embedded facts.

    Raises:
        ValueError: saying what to do.
    """
    if not has_wordings(languages):
        raise ValueError(
            f"in {', '.join(languages)} the package has no wordings of other relations, so a gate "
            "cannot learn which texts ask for this one; let the edit act wherever its subject is "
            "named, or fit the gate with prompts of yours, by lv.gate_by_relation(..., others=)"
        )


@reads_model
@takes(n_neurons=whole(1))
def gate_by_relation(
    model: "TransformerBridge",
    edits: Edits,
    others: Prompts | None = None,
    *,
    n_neurons: int = 4096,
) -> EditCache:
    """A cache of the same edits with a gate: each acts only where a text asks for its relation.

    An edit of Japan's capital then leaves Japan's currency alone. Wherever the edits are applied,
    each text that names a subject is read once more, as the model is without any edit. The gate
    judges the prompt as a whole, and not what the model writes after it: outside `generate`, a
    single token behind a key/value cache opens no gate.

    Args:
        edits: to fit the gates of; edits of one relation share what they learn from, 3,000 texts at
            most. A cache keeps its search for subjects.
        others: prompts of any relations to learn from, in place of those of the embedded facts.
        n_neurons: how many neurons to read at most.

    Raises:
        ValueError: for a masked model, no edits, edits of another model or without prompts, or no
            prompts of another relation in the languages of an edit.
    """
    before = edits if isinstance(edits, EditCache) else EditCache()
    edits = as_edits(edits)
    require_usable(model, edits)
    given = None if others is None else as_prompts(others, "others")
    texts, asked = zip(*_to_learn_from(edits, given), strict=True)
    step = -(-math.prod(capabilities(model).shape) // n_neurons)
    read = features(reader_of(model, step), texts)
    mean, scale = read.mean(0), read.std(0) + 1e-4
    relations = list(dict.fromkeys(edit.relation for edit in edits))
    wanted = torch.tensor(
        [[1.0 if x == relation else -1.0 for relation in relations] for x in asked]
    )
    weights = ridge_regression((read - mean) / scale, wanted).T / scale
    gates = {
        relation: RelationGate(of_relation, -float(mean @ of_relation), step, len(texts))
        for relation, of_relation in zip(relations, weights, strict=True)
    }
    return before.with_edits(replace(edit, gate=gates[edit.relation]) for edit in edits)


def ridge_regression(
    features: Float[Tensor, "prompt feature"], wanted: Float[Tensor, "prompt relation"]
) -> Float[Tensor, "feature relation"]:
    """The weights of ridge regression, without an intercept."""
    products = features @ features.T
    ridge = RIDGE * products.diagonal().mean() * torch.eye(len(products))
    return features.T @ torch.linalg.solve(products + ridge, wanted)


def _to_learn_from(edits: Sequence[Edit], others: Sequence[Prompt] | None) -> list[tuple[str, str]]:
    """Texts and the relation that each asks for: of the edits and of others, each text once."""
    facts = load_facts()
    own = [(prompt.full_text, edit.relation) for edit in edits for prompt in edit.prompts]
    beside = [question for edit in edits for question in _of_other_relations(facts, edit)]
    # Cases may call a relation otherwise than the facts: their wordings show that it is the same.
    own_of = dict(own)
    the_same = {relation for text, relation in beside if own_of.get(text, relation) != relation}
    beside = [(text, relation) for text, relation in beside if relation not in the_same]
    if others is None:
        languages = {prompt.language for edit in edits for prompt in edit.prompts}
        others = _drawn(facts, {edit.relation for edit in edits}, languages)
    drawn = [(x.full_text, x.relation) for x in others if x.relation not in the_same]
    asked = dict([*drawn, *beside, *own])
    for edit in edits:
        if {*asked.values()} == {edit.relation}:
            raise ValueError(
                f"there is no prompt of another relation than {quoted(edit.relation)} in the "
                "languages of its edit, so nothing tells which one a text asks for; give others="
            )
    return random.Random(0).sample(list(asked.items()), min(len(asked), N_TEXTS))


def _drawn(facts: FactSet, relations: set[str], languages: set[str]) -> list[Prompt]:
    """Some prompts of the facts, if they know any of the relations."""
    known, shared = relations & {*facts.relations}, languages & {*facts.languages}
    if not known or not shared:
        return []
    return facts.filter(languages=sorted(shared)).prompts(splits="trained", n=N_OTHERS * len(known))


def _of_other_relations(facts: FactSet, edit: Edit) -> Iterator[tuple[str, str]]:
    """Questions about an edit's subject in the wordings of the facts' other relations."""
    for (relation, language), wordings in facts.paraphrases.items():
        names = edit.names.get(language)
        if relation == edit.relation or not names or language not in edit.new:
            continue
        for number, text in enumerate(wordings.texts):
            if number not in wordings.held_out:
                yield text.format(subject=names[0]), relation
