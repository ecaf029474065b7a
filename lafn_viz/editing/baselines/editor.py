"""Editors to compare, behind one interface.

An `Editor` takes a case and some of its languages, and returns what can be `applied` to the model.
All of them see the same: the questions to edit with their new answers, and the prompts to keep.

- `language_agnostic`: LU-LAFNs, one vector of values shared by all languages (see `editing`).
- `random_neurons`: the same optimisation on as many random neurons of the same layers. The control:
  what it can do too says nothing of the neurons.
- `per_language`: each language edited on neurons and with values of its own, all applied at once.
- `knowledge_neurons`: the old answer out of the neurons' weights and the new one in (Dai et al.
  2022, arXiv 2104.08696, section 5.2).
- `scaled`: the fact's neurons suppressed or enhanced (AMIG, Chen et al. 2024, arXiv 2308.13198).
  It cannot bring a new answer, only weaken or strengthen the old one.
- `fine_tuning`: Adam on the down projections of some layers, no weight further than `limit` from
  where it was (Zhu et al. 2020, arXiv 2012.00363).
- `rome`, `memit`: rank-one and least-squares edits of weights (see `weights`).

The first three find the subject in the text and act there alone; `gate=False` takes that away. The
others change weights, for every text.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, Unpack, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from lafn_viz.attribution.attribute import attribute
from lafn_viz.datasets.edit_cases import EditCase
from lafn_viz.datasets.facts import Prompt
from lafn_viz.editing.baselines.weight_edits import (
    WeightEdit,
    least_squares,
    rank_one,
    second_moments,
    wanted_writes,
)
from lafn_viz.editing.cache import EditCache
from lafn_viz.editing.forward import EditPosition, Reading, acted_on
from lafn_viz.editing.loss import Objective
from lafn_viz.editing.optimise import Edit, EditOptions, edit_case
from lafn_viz.editing.retrieval.subject_matcher import Match
from lafn_viz.models.loading import down_weight, hook_block_out, hook_post, traits
from lafn_viz.models.scoring import encode
from lafn_viz.neurons.neuron_sets import Neuron, random_like, select_neurons

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


@runtime_checkable
class Applicable(Protocol):
    """What an editor makes: an `EditCache`, a `WeightEdit`, or your own."""

    def applied(self, model: "TransformerBridge") -> AbstractContextManager[Any]:
        """The model with the edit, as a context."""
        ...


@dataclass(frozen=True)
class Editor:
    """A way to edit: from a model, a case and some of its languages to what can be applied.

    `edit_all` edits many cases in one go, where that is more than one after the other.
    """

    name: str
    edit: Callable[["TransformerBridge", EditCase, Sequence[str]], Applicable]
    options: Mapping[str, Any] = field(default_factory=dict)
    edit_all: Callable[["TransformerBridge", Sequence[EditCase]], Applicable] | None = None

    def __repr__(self) -> str:
        told = ", ".join(f"{name}={value!r}" for name, value in self.options.items())
        return f"Editor({self.name!r}{', ' if told else ''}{told})"

    def together(self, model: "TransformerBridge", cases: Sequence[EditCase]) -> Applicable:
        """All cases edited at once, each in all its languages.

        Without `edit_all`: edits in one cache, or changes of weights added up, each made on the
        model without the others.
        """
        if self.edit_all is not None:
            return self.edit_all(model, cases)
        made = [self.edit(model, case, case.languages) for case in cases]
        caches = [one for one in made if isinstance(one, EditCache)]
        if len(caches) == len(made):
            return EditCache(edit for cache in caches for edit in cache)
        changes: dict[int, Tensor] = {}
        for one in made:
            if not isinstance(one, WeightEdit):
                raise ValueError(
                    f"{self!r} makes {type(one).__name__}, and how several of them act together is "
                    "not known; give the editor an edit_all"
                )
            for layer, change in one.changes.items():
                changes[layer] = changes[layer] + change if layer in changes else change
        return WeightEdit(changes)


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
        shape = traits(model).n_layers, traits(model).d_mlp
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


def knowledge_neurons(
    *, old: float = 0.1, new: float = 0.8, threshold: float = 0.2, share: float = 0.5
) -> Editor:
    """Knowledge neurons: w -= `old` * e(old answer), w += `new` * e(new answer).

    w is what a neuron writes, e the mean of the un-embedding vectors of an answer's tokens, and the
    mean over the languages whose fact the neuron carries. (The paper has 1 and 8 for BERT.) A fact
    that the model does not know has no such neurons: nothing is changed.

    Args:
        threshold, share: which neurons carry the fact in a language (see `select_neurons`), by
            integrated gradients at the answer.
    """

    def edit(model: "TransformerBridge", case: EditCase, languages: Sequence[str]) -> WeightEdit:
        prompts = [p for p in _before(case, languages) if p.language in case.old]
        scores = attribute(model, prompts, position="answer")
        embedding = model.original_model.get_output_embeddings().weight.detach().float().cpu()

        def meaning(prompt: Prompt) -> Float[Tensor, " d_model"]:
            return embedding[list(encode(model, prompt).answer)].mean(0)

        added: dict[Neuron, list[Tensor]] = defaultdict(list)
        for found in select_neurons(scores, threshold=threshold, share=share):
            told = case.edit[found.language][0]
            was = replace(told, answer=case.old[found.language])
            for neuron in found.neurons:
                added[neuron].append(new * meaning(told) - old * meaning(was))
        return _rows(model, {neuron: torch.stack(some).mean(0) for neuron, some in added.items()})

    options = {"old": old, "new": new, "threshold": threshold, "share": share}
    return Editor("knowledge neurons", edit, options)


def scaled(
    factor: float, *, threshold: float = 0.2, share: float = 0.5, min_languages: int = 2
) -> Editor:
    """The neurons of the fact in several languages times a factor: 0 suppresses, 2 enhances.

    Args:
        threshold, share: which neurons carry the fact in a language (see `select_neurons`), by
            integrated gradients at the answer.
        min_languages: in how many of them (one is enough where one is edited).
    """

    def edit(model: "TransformerBridge", case: EditCase, languages: Sequence[str]) -> WeightEdit:
        scores = attribute(model, _before(case, languages), position="answer")
        counts: dict[Neuron, int] = defaultdict(int)
        for found in select_neurons(scores, threshold=threshold, share=share):
            for neuron in found.neurons:
                counts[neuron] += 1
        least = min(min_languages, len(languages))
        return _rows(
            model,
            {
                neuron: (factor - 1) * down_weight(model, neuron.layer)[neuron.neuron].float().cpu()
                for neuron, count in counts.items()
                if count >= least
            },
        )

    name = "suppressed" if factor < 1 else "enhanced"
    options = {
        "factor": factor, "threshold": threshold, "share": share, "min_languages": min_languages,
    }  # fmt: skip
    return Editor(name, edit, options)


def fine_tuning(
    *,
    layers: Sequence[int] | None = None,
    limit: float = 0.2,
    steps: int = 30,
    rate: float = 0.07,
    divergence: float = 1.0,
) -> Editor:
    """Constrained fine-tuning of the down projections.

    Args:
        layers: which; all unless given.
        limit: how far any weight may go (L-infinity norm), in units of its layer's root mean
            square weight.
        rate: of Adam, in the same units.
        divergence: weight of the Kullback-Leibler divergence on the prompts to keep.
    """

    def edit(model: "TransformerBridge", case: EditCase, languages: Sequence[str]) -> WeightEdit:
        tuned = range(traits(model).n_layers) if layers is None else layers
        objective = Objective(
            model,
            case.prompts("edit", languages=languages),
            case.prompts("keep", languages=languages),
            "answer",
            whole=True,
        )
        weights = {layer: down_weight(model, layer).detach().float() for layer in tuned}
        scale = {layer: float(weight.square().mean().sqrt()) for layer, weight in weights.items()}
        moved = {
            layer: torch.zeros(weight.shape, device=weight.device, requires_grad=True)
            for layer, weight in weights.items()
        }
        optimiser = torch.optim.Adam(moved.values(), lr=rate)
        for _ in range(steps):
            optimiser.zero_grad()
            new, kept = objective({}, changed={i: moved[i] * scale[i] for i in moved})
            (new.mean() + divergence * kept).backward()
            optimiser.step()
            with torch.no_grad():
                for change in moved.values():
                    change.clamp_(-limit, limit)
        return WeightEdit({i: (moved[i] * scale[i]).detach().cpu() for i in moved})

    options = {
        "layers": layers, "limit": limit, "steps": steps, "rate": rate, "divergence": divergence,
    }  # fmt: skip
    return Editor("fine-tuning", edit, options)


def rome(
    *,
    layer: int = 0,
    position: EditPosition = "subject_last",
    divergence: float = 0.0625,
    decay: float = 1e-3,
    evaluations: int = 24,
    corpus: Sequence[Prompt] | None = None,
) -> Editor:
    """ROME: one key and one wish for each language, written one after the other.

    Args:
        layer: whose down projection changes.
        position: where key and wish are: the subject's last token (the paper), or the answer's.
        divergence, decay, evaluations: of the search for what is to be written.
        corpus: prompts of the keys to keep; the embedded facts' unless given.
    """

    def edit(model: "TransformerBridge", case: EditCase, languages: Sequence[str]) -> WeightEdit:
        wish = _Wish(model, case, languages, position)
        writes = wish.writes(layer, divergence, decay, evaluations)
        keys = wish.mean(hook_post(layer))
        moment = second_moments(model, corpus)[layer]
        return WeightEdit({layer: rank_one(moment, keys, writes)})

    options = {
        "layer": layer, "position": position, "divergence": divergence, "decay": decay,
        "evaluations": evaluations,
    }  # fmt: skip
    return Editor("ROME", edit, options)


def memit(
    *,
    layers: Sequence[int] = (0,),
    position: EditPosition = "subject_last",
    weight: float = 10.0,
    divergence: float = 0.0625,
    decay: float = 1e-3,
    evaluations: int = 24,
    corpus: Sequence[Prompt] | None = None,
) -> Editor:
    """MEMIT: all languages at once, and all cases where they are edited together.

    Args:
        layers: whose down projections share the change; what is wished for is read after the last.
        position: where keys and wishes are: the subject's last token (the paper), or the answer's.
        weight: of the corpus against the edit (lambda).
        divergence, decay, evaluations: of the search for what is to be written.
        corpus: prompts of the keys to keep; the embedded facts' unless given.
    """
    last = max(layers)

    def solve(model: "TransformerBridge", wishes: Sequence[_Wish]) -> WeightEdit:
        moments = second_moments(model, corpus)
        goal = torch.cat(
            [
                wish.mean(hook_block_out(last)) + wish.writes(last, divergence, decay, evaluations)
                for wish in wishes
            ]
        )
        changes: dict[int, Tensor] = {}
        for layer in sorted(layers):
            with WeightEdit(changes).applied(model):
                now = torch.cat([wish.mean(hook_block_out(last)) for wish in wishes])
                keys = torch.cat([wish.mean(hook_post(layer)) for wish in wishes])
            rest = (goal - now) / (last - layer + 1)
            changes[layer] = least_squares(moments[layer], keys, rest, weight=weight)
        return WeightEdit(changes)

    def edit(model: "TransformerBridge", case: EditCase, languages: Sequence[str]) -> WeightEdit:
        return solve(model, [_Wish(model, case, languages, position)])

    def edit_all(model: "TransformerBridge", cases: Sequence[EditCase]) -> WeightEdit:
        return solve(model, [_Wish(model, case, case.languages, position) for case in cases])

    options = {
        "layers": tuple(layers), "position": position, "weight": weight, "divergence": divergence,
        "decay": decay, "evaluations": evaluations,
    }  # fmt: skip
    return Editor("MEMIT", edit, options, edit_all)


class _Wish:
    """What a case's languages shall write, and the keys they have; a row for each language."""

    def __init__(
        self,
        model: "TransformerBridge",
        case: EditCase,
        languages: Sequence[str],
        position: EditPosition,
    ) -> None:
        edited, keep = (
            acted_on(case.prompts(role, languages=languages), position) for role in ("edit", "keep")
        )
        there = {prompt.language for prompt in edited}
        self.prompts = edited, [prompt for prompt in keep if prompt.language in there]
        # What weights change before the edited position counts too.
        self.reading = Reading(model, edited, position, once=True, whole=True)

    def writes(
        self, layer: int, divergence: float, decay: float, evaluations: int
    ) -> Float[Tensor, "group d_model"]:
        reading = self.reading
        objective = Objective(reading.model, *self.prompts, reading.position, once=True)
        groups = [prompt.language for some in self.prompts for prompt in some]
        return wanted_writes(
            objective, groups, layer,
            divergence=divergence, decay=decay, evaluations=evaluations,
        )  # fmt: skip

    def mean(self, name: str) -> Float[Tensor, "group width"]:
        """What a hook sees at the edited position, the mean of each language's questions."""
        seen = self.reading.seen([name])[name].cpu()
        languages = [prompt.language for prompt in self.reading.prompts]
        rows = [
            [i for i, of in enumerate(languages) if of == name] for name in dict.fromkeys(languages)
        ]
        return torch.stack([seen[some].mean(0) for some in rows])


def cached(edit: Edit, gate: bool) -> EditCache:
    """A cache of one edit, which acts where its subject is found or, ungated, in every text."""
    if gate:
        return EditCache([edit])

    def every(text: str) -> list[Match]:
        return [Match(edit.subject_id, "exact", (0, len(text)), "", 1.0)]

    return EditCache([edit], find=every)


def _before(case: EditCase, languages: Iterable[str]) -> list[Prompt]:
    """The questions to edit, with their old answers."""
    asked = case.prompts("edit", languages=languages)
    return [
        replace(prompt, answer=case.old.get(prompt.language, prompt.answer)) for prompt in asked
    ]


def _rows(
    model: "TransformerBridge", added: Mapping[Neuron, Float[Tensor, " d_model"]]
) -> WeightEdit:
    """What is added to the rows of some neurons."""
    changes: dict[int, Tensor] = {}
    for (layer, neuron), row in added.items():
        if layer not in changes:
            changes[layer] = torch.zeros(down_weight(model, layer).shape)
        changes[layer][neuron] += row
    return WeightEdit(changes)
