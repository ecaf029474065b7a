"""Editors that add values to neurons where the subject is read: a += v, weights unchanged.

- `language_agnostic`: LU-LAFNs (Zhang et al. 2025, COLING 2025), one v for all languages, found by
  `edit_case` (see `optimise` for the loss).
- `random_neurons`: its control, the same optimisation on random neurons of the same layers.
- `per_language`: one v_l and one set of neurons for each language l, applied as their sum.

All three return an `EditCache`. Its gate is the search for the subject's names, and for the
relation with `gate="relation"`; with `gate="none"` the edit acts on every text.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, Unpack, get_args

import torch

from lafn_viz.core.arguments import a_result, a_seed, one_of, takes
from lafn_viz.datasets.edit_cases import EditCase
from lafn_viz.editing.baselines.editor import Editor
from lafn_viz.editing.cache import EditCache
from lafn_viz.editing.edit import Edit
from lafn_viz.editing.gate_by_relation import gate_by_relation, require_wordings
from lafn_viz.editing.optimise import EDIT_OPTIONS, EditOptions, edit_case
from lafn_viz.editing.retrieval.match import Match
from lafn_viz.models.calls import reads_model
from lafn_viz.models.capabilities import capabilities
from lafn_viz.neurons.controls import random_like
from lafn_viz.neurons.neuron_sets import Neuron

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


# Where an edit acts: where a text names its subject, where it also asks for its relation, anywhere.
Gate = Literal["subject", "relation", "none"]


@takes(gate=one_of(get_args(Gate)), **EDIT_OPTIONS)
def language_agnostic(*, gate: Gate = "subject", **options: Unpack[EditOptions]) -> Editor:
    """LU-LAFNs: one vector of values for all languages.

    Args:
        gate: act only where the text names the subject; with "relation", only where it also asks
            for the relation (see `gate_by_relation`); with "none", from the last token of every
            text on.
        options: those of `edit_case`.
    """

    @reads_model
    def edit(model: "TransformerBridge", case: EditCase, languages: Sequence[str]) -> EditCache:
        if gate == "relation":
            require_wordings(languages)
        edit = edit_case(model, case, languages=languages, progress=False, **options)
        return cache_of(model, edit, gate)

    return Editor("language-agnostic", edit, {"gate": gate, **options})


@takes(like=a_result(Editor), seed=a_seed)
def random_neurons(like: Editor, *, seed: int = 0) -> Editor:
    """The same optimisation on random neurons, as many in each layer as another editor changes.

    Args:
        like: `language_agnostic(...)`; its options are used here too.
        seed: of the random choice.
    """
    options = {name: value for name, value in like.options.items() if name != "gate"}

    @reads_model
    def edit(model: "TransformerBridge", case: EditCase, languages: Sequence[str]) -> EditCache:
        located = like.edit(model, case, languages)
        if not isinstance(located, EditCache):
            raise ValueError(f"{like!r} changes no neurons; give language_agnostic()")
        drawn = random_like(next(iter(located)).neurons, capabilities(model).shape, seed=seed)
        control = edit_case(
            model, case, languages=languages, progress=False, **{**options, "neurons": drawn}
        )
        return cache_of(model, control, like.options.get("gate", "subject"))

    return Editor("random neurons", edit, {**like.options, "seed": seed})


@takes(gate=one_of(get_args(Gate)), **EDIT_OPTIONS)
def per_language(*, gate: Gate = "subject", **options: Unpack[EditOptions]) -> Editor:
    """Edit each language by itself, on its own neurons, and add all their values together.

    Args:
        gate: as in `language_agnostic`.
        options: those of `edit_case`.
    """

    @reads_model
    def edit(model: "TransformerBridge", case: EditCase, languages: Sequence[str]) -> EditCache:
        edits = [
            edit_case(model, case, languages=[x], progress=False, **options) for x in languages
        ]
        total: dict[Neuron, float] = defaultdict(float)
        for alone in edits:
            for neuron, value in zip(alone.neurons, alone.values.tolist(), strict=True):
                total[neuron] += value
        together = replace(
            edits[0],
            neurons=tuple(total),
            values=torch.tensor(list(total.values())),
            old={language: name for alone in edits for language, name in alone.old.items()},
            new={language: name for alone in edits for language, name in alone.new.items()},
            prompts=tuple(prompt for alone in edits for prompt in alone.prompts),
            loss=sum(alone.loss for alone in edits) / len(edits),
            divergence=sum(alone.divergence for alone in edits) / len(edits),
        )
        return cache_of(model, together, gate)

    return Editor("per language", edit, {"gate": gate, **options})


def cache_of(model: "TransformerBridge", edit: Edit, gate: Gate) -> EditCache:
    """A cache of one edit with a gate (see `language_agnostic`)."""
    if gate == "relation":
        return gate_by_relation(model, edit)
    if gate == "subject":
        return EditCache([edit])

    def every_text(text: str) -> list[Match]:
        return [Match(edit.subject_id, "exact", (0, len(text)), "", 1.0)]

    return EditCache([edit], find=every_text)
