"""Editors that add values to neurons: LU-LAFNs, its random control, and one set a language."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Unpack

import torch

from lafn_viz.datasets.edit_cases import EditCase
from lafn_viz.editing.baselines.editor import Editor
from lafn_viz.editing.cache import EditCache
from lafn_viz.editing.edit import Edit
from lafn_viz.editing.optimise import EditOptions, edit_case
from lafn_viz.editing.retrieval.subject_matcher import Match
from lafn_viz.models.capabilities import capabilities
from lafn_viz.neurons.controls import random_like
from lafn_viz.neurons.neuron_sets import Neuron

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


def language_agnostic(*, gate: bool = True, **options: Unpack[EditOptions]) -> Editor:
    """LU-LAFNs: one vector for all languages.

    Args:
        gate: act where the subject is found; else from the last token of every prompt on.
        options: those of `edit_case`.
    """

    def edit(model: "TransformerBridge", case: EditCase, languages: Sequence[str]) -> EditCache:
        return cached(edit_case(model, case, languages=languages, **options), gate)

    return Editor("language-agnostic", edit, {"gate": gate, **options})


def random_neurons(like: Editor, *, seed: int = 0) -> Editor:
    """As many random neurons of the same layers as another editor's edit has, values of their own.

    Args:
        like: `language_agnostic(...)`; what it was given holds for these neurons too.
    """
    options = {name: value for name, value in like.options.items() if name != "gate"}

    def edit(model: "TransformerBridge", case: EditCase, languages: Sequence[str]) -> EditCache:
        found = like.edit(model, case, languages)
        if not isinstance(found, EditCache):
            raise ValueError(f"{like!r} changes no neurons; give language_agnostic()")
        shape = capabilities(model).n_layers, capabilities(model).d_mlp
        drawn = random_like(next(iter(found)).neurons, shape, seed=seed)
        made = edit_case(model, case, languages=languages, **{**options, "neurons": drawn})
        return cached(made, bool(like.options.get("gate", True)))

    return Editor("random neurons", edit, {**like.options, "seed": seed})


def per_language(*, gate: bool = True, **options: Unpack[EditOptions]) -> Editor:
    """Each language by itself, on its own neurons; all their values are added together."""

    def edit(model: "TransformerBridge", case: EditCase, languages: Sequence[str]) -> EditCache:
        alone = [edit_case(model, case, languages=[x], **options) for x in languages]
        total: dict[Neuron, float] = defaultdict(float)
        for one in alone:
            for neuron, value in zip(one.neurons, one.values.tolist(), strict=True):
                total[neuron] += value
        together = replace(
            alone[0],
            neurons=tuple(total),
            values=torch.tensor(list(total.values())),
            old={language: name for one in alone for language, name in one.old.items()},
            new={language: name for one in alone for language, name in one.new.items()},
            prompts=tuple(prompt for one in alone for prompt in one.prompts),
            loss=sum(one.loss for one in alone) / len(alone),
            divergence=sum(one.divergence for one in alone) / len(alone),
        )
        return cached(together, gate)

    return Editor("per language", edit, {"gate": gate, **options})


def cached(edit: Edit, gate: bool) -> EditCache:
    """A cache of one edit, which acts where its subject is found or, ungated, in every text."""
    if gate:
        return EditCache([edit])

    def every(text: str) -> list[Match]:
        return [Match(edit.subject_id, "exact", (0, len(text)), "", 1.0)]

    return EditCache([edit], find=every)
