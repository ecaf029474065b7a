"""Change a fact in every language at once: LU-LAFNs, language-agnostic factual neurons updated.

After Zhang et al. 2025, "Multilingual Knowledge Editing with Language-Agnostic Factual Neurons"
(COLING 2025):

1. **Locate** neurons that carry the fact in every language.
2. **Optimise** one vector of values to add to them, shared by all languages: the mean of
   -log P(new object) over languages and paraphrases, plus the Kullback-Leibler divergence from
   before on prompts that shall not change, plus decay.
3. **Cache** the vector under the subject's names, and add it where the subject is read (see
   `cache`). Weights never change.

The paper locates by activation or attribution, before it knows where the change will have to go.
`locate="pruned"`, the default here, asks the change itself: optimise on all neurons of the layers,
keep the quarter whose values write most to the residual stream, optimise again, and so on down to
`n_neurons`. All languages share the vector, so what is left acts in all of them.

Caveats: enough random neurons edit too (a vector of a hundred values can be bent to much), so hold
an edit beside one on `random_like` neurons. A model reads the subject where it reads it: if
attention takes it straight from the subject's embedding, values added to neurons at the subject
come too late (`trace_subject` shows it). The new object's names can be one token in many languages:
then "the same token everywhere" is a shortcut; the divergence term keeps the optimiser off it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, TypedDict, Unpack, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lafn_viz.attribution.attribute import Method, attribute
from lafn_viz.core.options import require_one_of
from lafn_viz.datasets.counterfactuals import counterfactual_case
from lafn_viz.datasets.edit_cases import EditCase
from lafn_viz.datasets.facts import FactSet, Prompt
from lafn_viz.editing.edit import Edit
from lafn_viz.editing.forward import EditPosition, acted_on
from lafn_viz.editing.loss import EditLoss, LBFGSSearch, OnStep
from lafn_viz.models.capabilities import capabilities, provenance
from lafn_viz.models.hooks import down_weight
from lafn_viz.neurons.neuron_sets import Neuron, mask_of, validate_neurons

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

Locate = Literal["pruned", "attribution", "activation"]
FIRST, LATER = 24, 10  # evaluations of the loss: from nothing, and after each pruning
FACTOR = 4  # each pruning leaves one neuron in as many


class EditOptions(TypedDict, total=False):
    """What `edit_case` and `lafn_edit` share (see `edit_case`)."""

    n_neurons: int
    locate: Locate
    neurons: Iterable[tuple[int, int]] | None
    layers: Iterable[int] | None
    position: EditPosition
    keep: Sequence[Prompt] | None
    divergence: float
    decay: float
    on_step: OnStep | None


def lafn_edit(
    model: "TransformerBridge",
    facts: FactSet,
    *,
    subject: str,
    relation: str,
    new_object: str | Mapping[str, str],
    languages: str | Iterable[str] | None = None,
    **options: Unpack[EditOptions],
) -> Edit:
    """Find values that make the model give a fact a new object, in all languages at once.

    Paraphrases that the facts mark as held out take no part: they are there to measure with.

    Args:
        subject: its name in any language, or its id.
        new_object: the name of an object of this relation in any language, or its names by
            language for one that the facts do not hold.
        languages: to edit in; all that name the fact unless given. The edit goes by the subject's
            names in all languages.
        options: those of `edit_case`.

    Raises:
        ValueError: for a subject, relation, object, language, layer or neuron that does not exist.
    """
    case = counterfactual_case(
        facts, subject=subject, relation=relation, new_object=new_object, languages=languages
    )
    return edit_case(model, case, **options)


def edit_case(
    model: "TransformerBridge",
    case: EditCase,
    *,
    languages: Iterable[str] | None = None,
    n_neurons: int = 100,
    locate: Locate = "pruned",
    neurons: Iterable[tuple[int, int]] | None = None,
    layers: Iterable[int] | None = None,
    position: EditPosition = "from_subject",
    keep: Sequence[Prompt] | None = None,
    divergence: float = 1.0,
    decay: float = 1e-4,
    on_step: OnStep | None = None,
) -> Edit:
    """Find values that make the model answer a case's questions anew, in all languages at once.

    Only `case.edit` and `case.keep` take part; what is asked afterwards does not. Questions that
    do not name the subject literally are left out where values go to the subject.

    Args:
        languages: to edit in; all of the case unless given.
        n_neurons: how many to change.
        locate: "pruned" (see above); "attribution" or "activation": those that score highest in the
            most languages, as the paper does.
        neurons: change these instead of locating any.
        layers: where to look for neurons; all unless given.
        position: "subject_last", the subject's last token (the paper); "from_subject", it and all
            that follows; "answer", from the prompt's last token on. Where a prompt ends is known
            only if it is read alone, as `generate` does; `score_answers` reads most of an answer of
            several tokens with it, so score "answer" edits through `evaluate` or `EditedForward`.
        keep: prompts that shall stay as they are; those of the case unless given, or if it has
            none, the subject alone.
        divergence: weight of the Kullback-Leibler divergence on these, and on what follows the new
            answers.
        decay: weight of the sum of squares of the values.
        on_step: called with the number of each evaluation and its loss. What it raises ends the
            search and leaves the model as it was.

    Raises:
        ValueError: for a language, layer or neuron that does not exist, or a case that never names
            its subject.
    """
    edited = _edited(case, languages, position)
    chosen = tuple(dict.fromkeys(prompt.language for prompt in edited))
    if keep is None:
        keep = case.prompts("keep", languages=chosen) or _alone(case, chosen)
    n_layers, d_mlp = capabilities(model).n_layers, capabilities(model).d_mlp
    if locate not in get_args(Locate):
        raise ValueError(f"unknown locate={locate!r}; there are {', '.join(get_args(Locate))}")
    allowed = _allowed(layers, neurons, n_neurons, (n_layers, d_mlp))
    edit_loss, search = EditLoss(model, edited, keep, position), LBFGSSearch(on_step)

    def optimised(
        allowed: Bool[Tensor, "layer neuron"], start: Float[Tensor, "layer neuron"], count: int
    ) -> Float[Tensor, "layer neuron"]:
        """Values of least loss, from some to start with; zero where none is allowed."""
        where, used = allowed.nonzero(as_tuple=True), allowed.any(1).nonzero()[:, 0].tolist()

        def loss(chosen: Tensor) -> tuple[Tensor, ...]:
            table = chosen.new_zeros(start.shape).index_put(where, chosen)
            new, kept = edit_loss({layer: table[layer] for layer in used})
            new = new.mean()
            return new + divergence * kept + decay * chosen.square().sum(), new, kept

        best = search.minimise(start[where].to(edit_loss.forward.device), loss, count)
        return torch.zeros(start.shape).index_put(where, best.cpu())

    if neurons is None and locate != "pruned":
        before = [replace(x, answer=case.old.get(x.language, x.answer)) for x in edited]
        allowed = _highest(model, before, locate, allowed, n_neurons)
    size = int(allowed.sum()) if neurons is not None else n_neurons
    values = optimised(allowed, torch.zeros(n_layers, d_mlp), FIRST)
    if int(allowed.sum()) > size:
        norms = [down_weight(model, layer).float().norm(dim=1) for layer in range(n_layers)]
        length = torch.stack(norms).cpu()
    while int(allowed.sum()) > size:
        most = max(size, int(allowed.sum()) // FACTOR)
        allowed = _largest(values.abs() * length, most)
        values = optimised(allowed, values * allowed, LATER)
    found = tuple(Neuron(*pair) for pair in allowed.nonzero().tolist())
    subject_id, relation = case.key
    return Edit(
        subject_id=subject_id,
        relation=relation,
        names={language: (name,) for language, name in case.subject.items()},
        old={language: case.old[language] for language in chosen if language in case.old},
        new={language: case.edit[language][0].answer for language in chosen},
        neurons=found,
        values=values[allowed],
        position=position,
        curve=tuple(search.curve),
        loss=search.parts[0],
        divergence=search.parts[1],
        prompts=tuple(edited),
        provenance=provenance(
            model,
            "lafn_edit",
            case=case.id,
            locate="given" if neurons is not None else locate,
            n_neurons=len(found),
            layers=sorted({layer for layer, _ in found}),
            position=position,
            divergence=divergence,
            decay=decay,
            n_prompts=len(edited),
            n_keep=len(keep),
        ),
    )


def n_evaluations(n_neurons: int, n_allowed: int) -> int:
    """How often the loss is evaluated at most while so many neurons are pruned to `n_neurons`."""
    count = FIRST
    while n_allowed > n_neurons:
        n_allowed = max(n_neurons, n_allowed // FACTOR)
        count += LATER
    return count


def _edited(
    case: EditCase, languages: Iterable[str] | None, position: EditPosition
) -> list[Prompt]:
    """The questions of a case that can be edited at a position."""
    chosen = (
        case.languages
        if languages is None
        else require_one_of("language", languages, case.languages)
    )
    asked = acted_on(case.prompts("edit", languages=chosen), position)
    if not asked or not case.subject:
        raise ValueError(
            f"no question of case {case.id!r} names its subject literally in "
            f"{', '.join(chosen)}; give position='answer' and a case whose subject has a name"
        )
    return asked


def _alone(case: EditCase, languages: Sequence[str]) -> list[Prompt]:
    """The subject by itself: what ROME holds still is what the subject is."""
    return [
        Prompt.of(name, case.old[language], subject=name, language=language)
        for language, name in case.subject.items()
        if language in languages and language in case.old
    ]


def _allowed(
    layers: Iterable[int] | None,
    neurons: Iterable[tuple[int, int]] | None,
    n_neurons: int,
    shape: tuple[int, int],
) -> Bool[Tensor, "layer neuron"]:
    """The neurons that may be changed."""
    n_layers, d_mlp = shape
    if neurons is not None:
        return mask_of(validate_neurons(neurons, shape), shape)
    chosen = range(n_layers) if layers is None else list(layers)
    if not chosen or any(not 0 <= layer < n_layers for layer in chosen):
        raise ValueError(f"layers={chosen}; this model has layers 0 to {n_layers - 1}")
    if not 1 <= n_neurons <= len(set(chosen)) * d_mlp:
        raise ValueError(
            f"n_neurons={n_neurons}; these layers have 1 to {len(set(chosen)) * d_mlp}"
        )
    allowed = torch.zeros(shape, dtype=torch.bool)
    allowed[list(chosen)] = True
    return allowed


def _highest(
    model: "TransformerBridge",
    prompts: Sequence[Prompt],
    locate: Locate,
    allowed: Bool[Tensor, "layer neuron"],
    n_neurons: int,
) -> Bool[Tensor, "layer neuron"]:
    """The neurons that are among the best of the most languages, ties by their mean score there."""
    method: Method = "activation" if locate == "activation" else "integrated_gradients"
    scores = attribute(model, prompts, method=method, position="all")
    found = torch.zeros(allowed.shape)
    for language in dict.fromkeys(prompt.language for prompt in prompts):
        rows = [i for i, prompt in enumerate(prompts) if prompt.language == language]
        mean = torch.where(allowed, scores.values[rows].mean(0), 0).clamp_min(0)
        # A score relative to the best stays below 1, so that it only breaks ties.
        found += _largest(mean, n_neurons) * (mean > 0) + mean / mean.max().clamp_min(1e-30) / 1e3
    return _largest(torch.where(allowed, found, -1), n_neurons)


def _largest(values: Float[Tensor, "layer neuron"], count: int) -> Bool[Tensor, "layer neuron"]:
    """The neurons of the largest values."""
    kept = torch.zeros(values.numel(), dtype=torch.bool)
    return kept.index_fill(0, values.flatten().topk(count).indices, True).view_as(values)
