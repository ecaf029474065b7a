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

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lafn_viz.attribution import Method, attribute
from lafn_viz.facts import Fact, FactSet, Prompt
from lafn_viz.models import Provenance, provenance, traits
from lafn_viz.neurons import Neuron, mask_of
from lafn_viz.reading import EditPosition, Reading

if TYPE_CHECKING:
    import pandas as pd
    from transformer_lens.model_bridge import TransformerBridge

Locate = Literal["pruned", "attribution", "activation"]
OnStep = Callable[[int, float], None]
FIRST, LATER = 24, 10  # evaluations of the loss: from nothing, and after each pruning
FACTOR = 4  # each pruning leaves one neuron in as many
KEEP_FRAMES = 2  # paraphrases of each other relation and language that shall not change


@dataclass(frozen=True)
class Edit:
    """One fact changed: values to add to some neurons where its subject is read.

    `values` belong to `neurons`, in units of their activation. `names` of the subject by language;
    `old` and `new` names of the object. `curve` is the loss at each evaluation (nats), `loss` and
    `divergence` its two parts at the end: mean -log P(new object) of `prompts`, and the divergence
    on the prompts to keep.
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

    def __repr__(self) -> str:
        name, old, new = (next(iter(of.values())) for of in (self.names, self.old, self.new))
        return (
            f"Edit({name[0]!r}, {self.relation}: {old!r} -> {new!r} in {len(self.new)} languages, "
            f"{len(self.neurons)} neurons, loss {self.curve[0]:.2f} -> {self.loss:.2f})"
        )

    @property
    def key(self) -> tuple[str, str]:
        """Subject and relation: a cache holds one edit of each."""
        return self.subject_id, self.relation

    def added(self, d_mlp: int) -> dict[int, Float[Tensor, " neuron"]]:
        """What is added to all neurons of each layer that it touches."""
        table = {layer: torch.zeros(d_mlp) for layer, _ in self.neurons}
        for (layer, neuron), value in zip(self.neurons, self.values, strict=True):
            table[layer][neuron] = value
        return table

    def to_frame(self) -> "pd.DataFrame":
        """One row a neuron: subject, relation, layer, neuron, value."""
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


def lafn_edit(
    model: "TransformerBridge",
    facts: FactSet,
    *,
    subject: str,
    relation: str,
    new_object: str | Mapping[str, str],
    languages: str | Iterable[str] | None = None,
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
    """Find values that make the model give a fact a new object, in all languages at once.

    Paraphrases that the facts mark as held out take no part: they are there to measure with.

    Args:
        subject: its name in any language, or its id.
        new_object: the name of an object of this relation in any language, or its names by
            language for one that the facts do not hold.
        languages: to edit in; all that name the fact unless given.
        n_neurons: how many to change.
        locate: "pruned" (see above); "attribution" or "activation": those that score highest in the
            most languages, as the paper does.
        neurons: change these instead of locating any.
        layers: where to look for neurons; all unless given.
        position: "subject_last", the subject's last token (the paper); "from_subject", it and all
            that follows; "answer", from the prompt's last token on. Where a prompt ends is known
            only if it is read alone, as `generate` does; `score_answers` reads most of an answer of
            several tokens with it, so score "answer" edits through `Reading`, or generate.
        keep: prompts that shall stay as they are; unless given, those of other relations of the
            same subject, or if the facts hold none, the subject alone.
        divergence: weight of the Kullback-Leibler divergence on these.
        decay: weight of the sum of squares of the values.
        on_step: called with the number of each evaluation and its loss. What it raises ends the
            search and leaves the model as it was.

    Raises:
        ValueError: for a subject, relation, object, language, layer or neuron that does not exist.
    """
    fact, prompts = _asked(facts, subject, relation, languages)
    new = _new_names(facts, fact, relation, new_object, prompts)
    edited = [replace(prompt, answer=new[prompt.language]) for prompt in prompts]
    if keep is None:
        keep = _to_keep(facts, fact, prompts)
    n_layers, d_mlp = traits(model).n_layers, traits(model).d_mlp
    if locate not in get_args(Locate):
        raise ValueError(f"unknown locate={locate!r}; there are {', '.join(get_args(Locate))}")
    allowed = _allowed(layers, neurons, n_neurons, (n_layers, d_mlp))
    fit = _Fit(model, edited, keep, position, divergence, decay, on_step)
    if neurons is None and locate != "pruned":
        allowed = _highest(model, prompts, locate, allowed, n_neurons)
    size = int(allowed.sum()) if neurons is not None else n_neurons
    values = fit.values(allowed, torch.zeros(n_layers, d_mlp), FIRST)
    length = _written(model, allowed) if int(allowed.sum()) > size else 0
    while int(allowed.sum()) > size:
        written = values.abs() * length
        most = max(size, int(allowed.sum()) // FACTOR)
        allowed = _largest(written, most)
        values = fit.values(allowed, values * allowed, LATER)
    chosen = tuple(Neuron(*found) for found in allowed.nonzero().tolist())
    return Edit(
        subject_id=fact.subject_id,
        relation=relation,
        names={language: (name,) for language, name in fact.subject.items()},
        old={language: fact.object[language] for language in new},
        new=new,
        neurons=chosen,
        values=values[allowed],
        position=position,
        curve=tuple(fit.curve),
        loss=fit.parts[0],
        divergence=fit.parts[1],
        prompts=tuple(edited),
        provenance=provenance(
            model,
            "lafn_edit",
            locate="given" if neurons is not None else locate,
            n_neurons=len(chosen),
            layers=sorted({layer for layer, _ in chosen}),
            position=position,
            divergence=divergence,
            decay=decay,
            n_prompts=len(edited),
            n_keep=len(keep),
        ),
    )


def _asked(
    facts: FactSet, subject: str, relation: str, languages: str | Iterable[str] | None
) -> tuple[Fact, list[Prompt]]:
    """The fact, and the prompts of all paraphrases that are not held out."""
    found = facts.filter(relation=relation).filter(subjects=subject)
    ids = {fact.subject_id for fact in found}
    if len(ids) > 1:
        raise ValueError(
            f"the name {subject!r} stands for {len(ids)} subjects of {relation!r}: "
            f"{', '.join(sorted(ids))}; give one of these ids"
        )
    found = found.filter(languages=languages)
    return next(iter(found)), _not_held_out(found)


def _not_held_out(facts: FactSet) -> list[Prompt]:
    held_out = {key: asked.held_out for key, asked in facts.paraphrases.items()}
    return [
        prompt
        for prompt in facts.prompts()
        if prompt.paraphrase not in held_out[prompt.relation, prompt.language]
    ]


def _new_names(
    facts: FactSet,
    fact: Fact,
    relation: str,
    new_object: str | Mapping[str, str],
    prompts: Sequence[Prompt],
) -> dict[str, str]:
    """The new object's name in each language that is edited."""
    wanted = list(dict.fromkeys(prompt.language for prompt in prompts))
    if isinstance(new_object, str):
        objects = {other.object_id: other.object for other in facts.filter(relation=relation)}
        named = [names for names in objects.values() if new_object in names.values()]
        if not named:
            some = sorted(next(iter(names.values())) for names in objects.values())[:8]
            raise ValueError(
                f"no fact of {relation!r} has the object {new_object!r}; there are, for example, "
                f"{', '.join(some)}; for another give its names by language"
            )
        new_object = named[0]
    missing = [language for language in wanted if not new_object.get(language, "").strip()]
    if missing:
        raise ValueError(
            f"the new object has no name in {', '.join(missing)}; name it there, or leave these "
            "languages out"
        )
    same = [x for x in wanted if new_object[x] == fact.object[x]]
    if len(same) == len(wanted):
        raise ValueError(
            f"{fact.id!r} has the object {fact.object[same[0]]!r} already; give another one"
        )
    return {language: new_object[language] for language in wanted}


def _to_keep(facts: FactSet, fact: Fact, prompts: Sequence[Prompt]) -> list[Prompt]:
    """Other relations of the subject, some paraphrases of each; or the subject alone."""
    languages = list(dict.fromkeys(prompt.language for prompt in prompts))
    same = [f for f in facts if f.subject_id == fact.subject_id and f.relation != fact.relation]
    kept: dict[tuple[str, str], list[Prompt]] = defaultdict(list)
    for prompt in _not_held_out(replace(facts, facts=tuple(same))):
        if prompt.language in languages:
            kept[prompt.relation, prompt.language].append(prompt)
    found = [prompt for some in kept.values() for prompt in some[:KEEP_FRAMES]]
    if found:
        return found
    return [
        Prompt.of(name, fact.object[language], subject=name, language=language)
        for language, name in fact.subject.items()
        if language in languages
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
        listed = list(neurons)
        wrong = [n for n in listed if not (0 <= n[0] < n_layers and 0 <= n[1] < d_mlp)]
        if wrong or not listed:
            raise ValueError(
                f"neurons={wrong or listed}; give at least one (layer, neuron), layers from 0 to "
                f"{n_layers - 1}, neurons from 0 to {d_mlp - 1}"
            )
        return mask_of(listed, shape)
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


def _written(
    model: "TransformerBridge", allowed: Bool[Tensor, "layer neuron"]
) -> Float[Tensor, "layer neuron"]:
    """Length of what each neuron writes to the residual stream, at an activation of 1."""
    found = torch.zeros(allowed.shape)
    weight = next(model.original_model.parameters())
    with torch.no_grad():
        for layer in allowed.any(1).nonzero()[:, 0].tolist():
            down = model.blocks[layer].mlp.out
            one = torch.eye(allowed.shape[1], dtype=weight.dtype, device=weight.device)
            rows = down(one[None]) - down(torch.zeros_like(one[None, :1]))
            found[layer] = rows[0].float().norm(dim=-1).cpu()
    return found


class _Fit:
    """The loss of one edit, and its minimum over the values of some neurons."""

    def __init__(
        self,
        model: "TransformerBridge",
        edited: Sequence[Prompt],
        keep: Sequence[Prompt],
        position: EditPosition,
        divergence: float,
        decay: float,
        on_step: OnStep | None,
    ) -> None:
        self.n_edited = len(edited)
        self.divergence, self.decay, self.on_step = divergence, decay, on_step
        self.reading = Reading(model, [*edited, *keep], position)
        self.kept = self.reading.row >= len(edited)
        with torch.no_grad():
            log_p = self.reading.logits({})[self.kept].log_softmax(-1)
            self.before = log_p.exp()
            self.entropy = -(self.before * log_p).sum(-1).mean() if len(keep) else 0.0
        self.curve: list[float] = []
        self.parts = (float("nan"), float("nan"))

    def values(
        self,
        allowed: Bool[Tensor, "layer neuron"],
        start: Float[Tensor, "layer neuron"],
        evaluations: int,
    ) -> Float[Tensor, "layer neuron"]:
        """Values of least loss, from some to start with; zero where none is allowed."""
        device = self.reading.device
        where = allowed.nonzero(as_tuple=True)
        layers = where[0].unique().tolist()
        chosen = start[where].to(device).requires_grad_()
        optimiser = torch.optim.LBFGS(
            [chosen], max_iter=evaluations, max_eval=evaluations, history_size=evaluations,
            tolerance_change=1e-5, line_search_fn="strong_wolfe",
        )  # fmt: skip
        least, best = float("inf"), chosen.detach().clone()

        def closure() -> Tensor:
            nonlocal least, best
            optimiser.zero_grad()
            table = torch.zeros(start.shape, device=device).index_put(where, chosen)
            new, kept = self.loss({layer: table[layer] for layer in layers})
            loss = new + self.divergence * kept + self.decay * chosen.square().sum()
            loss.backward()
            self.curve.append(float(loss.detach()))
            if self.curve[-1] < least:
                least, best = self.curve[-1], chosen.detach().clone()
                self.parts = float(new.detach()), float(kept.detach())
            if self.on_step is not None:
                self.on_step(len(self.curve), self.curve[-1])
            return loss

        optimiser.step(closure)
        return torch.zeros(start.shape).index_put(where, best.cpu())

    def loss(self, added: Mapping[int, Float[Tensor, " neuron"]]) -> tuple[Tensor, Tensor]:
        """Mean -log P of the new answers, and mean divergence from before on what is kept."""
        logits = self.reading.logits(added)
        new = -self.reading.log_prob(logits)[: self.n_edited].mean()
        if not self.kept.any():
            return new, new.new_zeros(())
        kept = logits[self.kept]
        # The same divergence from fewer passes over the vocabulary: cross entropy less entropy.
        crossed = kept.logsumexp(-1) - torch.einsum("tv,tv->t", self.before, kept)
        return new, crossed.mean() - self.entropy
