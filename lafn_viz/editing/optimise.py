"""Change a fact in every language at once: LU-LAFNs, locate and update language-agnostic neurons.

After Zhang et al. 2025, "Multilingual Knowledge Editing with Language-Agnostic Factual Neurons"
(COLING 2025):

1. **Locate** neurons that carry the fact in every language.
2. **Optimise** one vector v of values to add to them, shared by all languages. With x over the
   questions in all languages and paraphrases, it minimises (see `loss`, nats)
   mean -log P(new object | x; v) + `divergence` * KL(before || after) + `decay` * |v|^2,
   where the Kullback-Leibler divergence is taken on what shall not change: what the model writes
   of the subject in other relations (see `kept`).
3. **Cache** the vector under the subject's names, and add it where the subject is read (see
   `cache`). Weights never change.

The paper locates by activation or attribution, before it knows where the change will be needed
(`locate="intersection"`), and searches as ROME does, with Adam (`search="as_published"`).
`locate="pruned"`, the default here, lets the change itself decide: optimise on all neurons of the
layers, keep the quarter whose values write most to the residual stream (|v_n| times the length of
the neuron's output vector), optimise again, and so on down to `n_neurons` (see `search`). All
languages share the vector, so the neurons that remain act in all of them.

Caveats: enough random neurons edit too (a vector of a hundred values can be bent to do much), so
compare an edit with one on `random_like` neurons. An edit at the subject helps only where the model
reads the fact from there: if attention takes it straight from the subject's embedding, values added
to neurons at the subject come too late (`trace_subject` shows it). In many languages the new
object's name may be one and the same token, so that writing this token everywhere is a shortcut;
the divergence keeps the search off it.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lafn_viz.core.arguments import (
    Reader,
    a_flag,
    a_function,
    a_text,
    one_of,
    or_none,
    real,
    some_languages,
    some_wholes,
    takes,
    whole,
)
from lafn_viz.datasets.arguments import Facts, Prompts, as_case, as_prompts
from lafn_viz.datasets.counterfactuals import counterfactual_case
from lafn_viz.datasets.edit_cases import EditCase
from lafn_viz.datasets.edit_sets import EditSet
from lafn_viz.datasets.languages import require_languages
from lafn_viz.datasets.prompts import Prompt
from lafn_viz.editing.edit import Edit, plain_options
from lafn_viz.editing.forward import EditPosition, acted_on
from lafn_viz.editing.kept import kept_prompts
from lafn_viz.editing.locate import (
    LOCATE,
    Locate,
    allowed_neurons,
    highest_scoring,
    most_active_everywhere,
    some_of_each_language,
)
from lafn_viz.editing.loss import EditLoss
from lafn_viz.editing.search import (
    AdamSearch,
    LBFGSSearch,
    Minimiser,
    OnStep,
    Search,
    ValueSearch,
    default_n_neurons,
    n_evaluations,
    reported,
)
from lafn_viz.models.calls import reads_model
from lafn_viz.models.capabilities import capabilities, provenance
from lafn_viz.models.hooks import hook_post
from lafn_viz.models.tokens import Position
from lafn_viz.neurons.neuron_sets import Neuron, Neurons, as_neurons

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


# The token at which an edit begins, in attribution's words.
FIRST: dict[EditPosition, Position] = {
    "subject_last": "subject_last", "from_subject": "subject_last", "answer": "answer",
}  # fmt: skip


def _pairs(name: str, given: Any) -> tuple[Neuron, ...]:
    return tuple(as_neurons(given, name))


# Readers of the options of `edit_case`; whether a model has the neurons is checked later.
EDIT_OPTIONS: dict[str, Reader] = {
    "n_neurons": or_none(whole()), "locate": one_of(LOCATE), "neurons": or_none(_pairs),
    "layers": or_none(some_wholes()), "position": one_of(get_args(EditPosition)),
    "keep": or_none(lambda name, given: as_prompts(given, name)), "divergence": real(least=0),
    "decay": real(least=0), "search": one_of(get_args(Search)), "on_step": or_none(a_function),
}  # fmt: skip


class EditOptions(TypedDict, total=False):
    """The options that `edit_case` and `lafn_edit` share (see `edit_case`)."""

    n_neurons: int | None
    locate: Locate
    neurons: Neurons | None
    layers: int | Iterable[int] | None
    position: EditPosition
    keep: Prompts | None
    divergence: float
    decay: float
    search: Search
    on_step: OnStep | None


@reads_model
@takes(
    **EDIT_OPTIONS, subject=a_text, relation=a_text, languages=or_none(some_languages),
    progress=a_flag,
)  # fmt: skip
def lafn_edit(
    model: "TransformerBridge",
    facts: Facts,
    *,
    subject: str,
    relation: str,
    new_object: str | Mapping[str, str],
    languages: str | Iterable[str] | None = None,
    progress: bool = True,
    **options: Unpack[EditOptions],
) -> Edit:
    """Find values that give a fact a new object, in all languages at once.

    Paraphrases that the facts mark as held out are not used: they are there to measure with.

    Args:
        subject: its name in any language, or its id.
        relation: which fact of the subject.
        new_object: the name of an object of this relation in any language, or, for an object that
            the facts do not hold, its names by language.
        languages: to edit in; all in which the fact is named unless given. The subject is found by
            its names in all languages.
        progress: as in `edit_case`.
        options: those of `edit_case`.

    Raises:
        ValueError: for a subject, relation, object, language, layer or neuron that does not exist.
    """
    case = counterfactual_case(
        facts, subject=subject, relation=relation, new_object=new_object, languages=languages
    )
    return edit_case(model, case, progress=progress, **options)


@reads_model
@takes(**EDIT_OPTIONS, languages=or_none(some_languages), progress=a_flag)
def edit_case(
    model: "TransformerBridge",
    case: EditCase | EditSet | Iterable[EditCase],
    *,
    languages: str | Iterable[str] | None = None,
    n_neurons: int | None = None,
    locate: Locate = "pruned",
    neurons: Neurons | None = None,
    layers: int | Iterable[int] | None = None,
    position: EditPosition = "from_subject",
    keep: Prompts | None = None,
    divergence: float = 1.0,
    decay: float = 1e-4,
    search: Search = "lbfgs",
    on_step: OnStep | None = None,
    progress: bool = True,
) -> Edit:
    """Find values that make the model give a case's new answers, in all languages at once.

    Only `case.edit` and `case.keep` are used, never the questions to evaluate with. Questions that
    do not name the subject are left out, unless `position="answer"`.

    Args:
        languages: to edit in; all of the case unless given.
        n_neurons: how many neurons to change; one in a hundred of the model's, but at least 100,
            unless given.
        locate: "pruned" (see the module); "attribution" or "activation": the neurons that score
            highest in the most languages; "intersection": those that are among the most active ones
            at the edited position in every question, as in the paper.
        neurons: change these instead of locating any.
        layers: where to look for neurons; all unless given.
        position: where values are added: "subject_last", at the subject's last token (the paper);
            "from_subject", at it and every later token; "answer", at the prompt's last token and
            every later one. (In attribution, "answer" is the prompt's last token alone.) Where a
            prompt ends is known in `generate`, `score_answers` and `evaluate`; `model(...)` takes
            the last token of what it reads first.
        keep: prompts whose answers shall stay. Unless given, those of the case, answered by what
            the model writes after them (see `kept`), or, if it has none, the subject's name alone.
        divergence: weight of the Kullback-Leibler divergence on these prompts, and on what follows
            the new answers.
        decay: weight of the sum of squares of the values; with `search="as_published"`, of their
            length, relative to the square of that of the neurons' activations (there 0.5).
        search: "lbfgs", or "as_published": Adam, on neurons that are located before the search or
            given (see `search.AdamSearch`; there `divergence=0.0625`).
        on_step: called with the number and the loss of each evaluation. An exception that it raises
            ends the search and leaves the model as it was.
        progress: show a bar with the time left, if the search takes more than two seconds.

    Raises:
        ValueError: for a language, layer or neuron that does not exist, a case that never names
            its subject, or Adam without neurons.

    Warns:
        NotConvergedWarning: where the new object does not become likely (see `Edit.converged`).
    """
    case = as_case(case)
    edited = _questions(case, languages, position)
    chosen = tuple(dict.fromkeys(prompt.language for prompt in edited))
    if keep is None:
        kept = kept_prompts(model, case, chosen) or _subject_alone(case, chosen)
    else:
        kept = as_prompts(keep, "keep")
    allowed = allowed_neurons(
        layers, neurons, 1 if n_neurons is None else n_neurons, capabilities(model).shape
    )
    if search == "as_published" and neurons is None and locate == "pruned":
        raise ValueError(
            "search='as_published' prunes no neurons; give locate='intersection' (the paper), "
            "'activation' or 'attribution', or the neurons themselves"
        )
    if n_neurons is None:
        n_neurons = min(int(allowed.sum()), default_n_neurons(allowed.numel()))
    if neurons is not None:
        n_neurons = int(allowed.sum())
    elif locate != "pruned":
        before = [replace(x, answer=case.old.get(x.language, x.answer)) for x in edited]
        if locate == "intersection":
            allowed = most_active_everywhere(model, before, FIRST[position], allowed, n_neurons)
        else:
            allowed = highest_scoring(model, before, locate, allowed, n_neurons)
    edit_loss = while_pruning = EditLoss(model, edited, kept, position)
    if int(allowed.sum()) > n_neurons:
        while_pruning = EditLoss(
            model, some_of_each_language(edited), some_of_each_language(kept), position
        )
    n_expected = n_evaluations(n_neurons, int(allowed.sum()))
    with reported(on_step, n_expected, progress=progress) as step:
        minimiser: Minimiser = LBFGSSearch(step)
        if search == "as_published":
            minimiser = AdamSearch(_activation(edit_loss, allowed), step)
        of_values = ValueSearch(edit_loss, while_pruning, minimiser, divergence, decay)
        values, chosen_neurons = of_values.pruned(allowed, n_neurons)
    with torch.no_grad():
        new, diverged = edit_loss(dict(enumerate(values.to(edit_loss.forward.device))))
    located = tuple(Neuron(*pair) for pair in chosen_neurons.nonzero().tolist())
    subject_id, relation = case.key
    edit = Edit(
        subject_id=subject_id,
        relation=relation,
        names={language: (name,) for language, name in case.subject.items()},
        old={language: case.old[language] for language in chosen if language in case.old},
        new={language: case.edit[language][0].answer for language in chosen},
        neurons=located,
        values=values[chosen_neurons],
        position=position,
        curve=tuple(minimiser.curve),
        loss=float(new.mean()),
        divergence=float(diverged),
        prompts=tuple(edited),
        provenance=provenance(
            model,
            "lafn_edit",
            case=case.id,
            locate="given" if neurons is not None else locate,
            n_neurons=len(located),
            layers=sorted({layer for layer, _ in located}),
            position=position,
            search=search,
            divergence=divergence,
            decay=decay,
            n_prompts=len(edited),
            n_keep=len(kept),
            **plain_options(model, edited),
        ),
    )
    edit.warn_where_not_found()
    edit.warn_unless_converged(_mean_by_language(edited, new.tolist()))
    return edit


def _activation(edit_loss: EditLoss, allowed: Bool[Tensor, "layer neuron"]) -> Float[Tensor, ""]:
    """The length of the neurons' mean activation over the questions, where it is edited."""
    layers = allowed.any(1).nonzero()[:, 0].tolist()
    seen = edit_loss.forward.seen([hook_post(layer) for layer in layers])
    means = [seen[hook_post(i)][: edit_loss.n_edited].mean(0)[allowed[i]] for i in layers]
    return torch.cat(means).norm()


def _mean_by_language(prompts: Sequence[Prompt], values: Sequence[float]) -> dict[str, float]:
    """The mean over the prompts of each language."""
    of_language: dict[str, list[float]] = defaultdict(list)
    for prompt, value in zip(prompts, values, strict=True):
        of_language[prompt.language].append(value)
    return {language: sum(of) / len(of) for language, of in of_language.items()}


def _questions(
    case: EditCase, languages: Iterable[str] | None, position: EditPosition
) -> list[Prompt]:
    """The questions of a case that can be edited at a position."""
    chosen = case.languages if languages is None else require_languages(languages, case.languages)
    questions = acted_on(case.prompts("edit", languages=chosen), position)
    if not questions or not case.subject:
        raise ValueError(
            f"no question of case {case.id!r} names its subject in "
            f"{', '.join(chosen)}; give position='answer' and a case whose subject has a name"
        )
    return questions


def _subject_alone(case: EditCase, languages: Sequence[str]) -> list[Prompt]:
    """The subject's name by itself, which ROME too keeps: an edit should not change its essence."""
    return [
        Prompt.of(name, case.old[language], subject=name, language=language)
        for language, name in case.subject.items()
        if language in languages and language in case.old
    ]
