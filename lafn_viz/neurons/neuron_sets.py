"""From scores to sets: the neurons of a fact in one language.

1. For each prompt keep the neurons whose score exceeds a share t of the prompt's largest score
   ("adaptive threshold": t = 0.3 in Dai et al. 2022 section 3.3, 0.2 to 0.3 in Chen et al. 2024),
   or the k best, or the best fraction. Neurons whose score is not above zero are never kept.
2. **Refine** over paraphrases: keep the neurons that more than a share p of them keep, so that what
   belongs to one wording falls away (Dai et al. 2022 section 3.3).

Prompts whose answer the model does not know say nothing about where it keeps the fact; they are
left out and counted. The same settings serve every language.
"""

from collections import defaultdict
from collections.abc import Iterable, Set
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import torch
from jaxtyping import Bool
from torch import Tensor

from lafn_viz.attribution.scores import NeuronScores
from lafn_viz.core.arguments import (
    Reader,
    a_result,
    in_order,
    or_none,
    real,
    scalar,
    some_results,
    takes,
    whole,
    wrong,
)
from lafn_viz.core.messages import quoted
from lafn_viz.core.provenance import Provenance
from lafn_viz.core.skipped import Skipped
from lafn_viz.datasets.languages import code_or_tag
from lafn_viz.models.torch_modes import plain_modes

if TYPE_CHECKING:
    import pandas as pd


THRESHOLD = 0.2  # the papers' share of the prompt's largest score
# The share of all neurons that `examine`, sweeps and explorers keep for each prompt. On half of the
# capitals that a model knows, `lv.evidence` chose 2% in Gemma 3 270M and in the embedded control
# model, 1% in the embedded one. A share of all neurons keeps as many in every model and prompt, a
# share of the largest score hundreds or one.
FRACTION = 0.02


class Neuron(NamedTuple):
    """One unit of a feed-forward layer after its non-linearity."""

    layer: int
    neuron: int


@dataclass(frozen=True)
class NeuronSet:
    """The neurons of one fact in one language.

    The model answers `n_known` of `n_prompts` paraphrases; the others were not used. `shape` is the
    model's (layers, neurons a layer), `subject` the subject's name in this language. The options of
    `provenance` also say how the neurons were selected.
    """

    fact_id: str
    relation: str
    language: str
    neurons: frozenset[Neuron]
    n_prompts: int
    n_known: int
    shape: tuple[int, int]
    provenance: Provenance
    subject: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "language", code_or_tag(self.language))

    def __repr__(self) -> str:
        return (
            f"NeuronSet({self.fact_id!r} in {self.language!r}: {len(self.neurons)} neurons, "
            f"{self.n_known} of {self.n_prompts} paraphrases known)"
        )

    @property
    def known(self) -> bool:
        """Whether the model answers more than half of the paraphrases."""
        return self.n_known * 2 > self.n_prompts

    def mask(self) -> Bool[Tensor, "layer neuron"]:
        """Return the set as a table of booleans."""
        return mask_of(self.neurons, self.shape)

    def to_frame(self) -> "pd.DataFrame":
        """One row a neuron: fact_id, relation, language, layer, neuron."""
        import pandas as pd

        keys = (self.fact_id, self.relation, self.language)
        return pd.DataFrame(
            [(*keys, *neuron) for neuron in sorted(self.neurons)],
            columns=["fact_id", "relation", "language", "layer", "neuron"],
        )


# What `as_neurons` reads.
Neurons: TypeAlias = NeuronSet | Iterable[tuple[int, int]] | Tensor
_WANTED = "(layer, neuron) pairs, such as those of one set that select_neurons() returns"


def as_neurons(given: Any, name: str = "neurons") -> list[Neuron]:
    """Read neurons: pairs, one `Neuron`, a `NeuronSet`, a mask [layer, neuron], or a table.

    Raises:
        ValueError: for anything else; whether a model has them says `validate_neurons`.
    """
    if isinstance(given, NeuronSet):
        return sorted(given.neurons)
    if isinstance(given, Neuron):
        return [given]
    if isinstance(given, Tensor) and given.dtype == torch.bool and given.ndim == 2:
        return sorted(neurons_of(given))
    if {"layer", "neuron"} <= set(getattr(given, "columns", ())):
        given = list(zip(given["layer"], given["neuron"], strict=True))
    pairs = list(given) if isinstance(given, Set) else in_order(_rows(given))
    if pairs is None:
        raise wrong(name, given, _WANTED)
    return [_pair(f"{name}[{place}]", pair) for place, pair in enumerate(pairs)]


def as_neuron_sets(given: Any, name: str = "sets") -> tuple[NeuronSet, ...]:
    """Read the neuron sets of several facts or languages; ValueError for anything else."""
    sets: tuple[NeuronSet, ...] = some_results(NeuronSet)(name, given)
    return sets


def _rows(given: Any) -> Any:
    """The rows of a table of numbers [neuron, 2]; anything else as it is."""
    is_table = getattr(given, "ndim", 0) == 2 and not hasattr(given, "columns")
    return given.tolist() if is_table else given


def _pair(name: str, given: Any) -> Neuron:
    members = [scalar(member) for member in in_order(given) or ()]
    if len(members) != 2 or not all(isinstance(member, int) for member in members):
        raise wrong(name, given, _WANTED)
    return Neuron(*members)  # type: ignore[arg-type]


def as_neuron(name: str, given: Any) -> Neuron:
    """Read one neuron: a (layer, neuron) pair, or a set of one."""
    try:
        return _pair(name, given)
    except ValueError:
        neurons = as_neurons(given, name)
    if len(neurons) != 1:
        raise ValueError(f"{name} holds {len(neurons)} neurons; give one, as in (0, 123)")
    return neurons[0]


def validate_neurons(
    neurons: Neurons, shape: tuple[int, int], *, allow_empty: bool = False
) -> list[Neuron]:
    """Return the neurons (see `as_neurons`) if the model has them all.

    Raises:
        ValueError: for a neuron that the model does not have, and for no neurons at all unless
            `allow_empty` is true.
    """
    n_layers, d_mlp = shape
    listed = as_neurons(neurons)
    missing = [tuple(n) for n in listed if not (0 <= n[0] < n_layers and 0 <= n[1] < d_mlp)]
    if missing or not (listed or allow_empty):
        raise ValueError(
            f"neurons={quoted(missing)}; give {'' if allow_empty else 'at least one '}(layer, "
            f"neuron), layers from 0 to {n_layers - 1}, neurons from 0 to {d_mlp - 1}"
        )
    return listed


def mask_of(
    neurons: Iterable[tuple[int, int]], shape: tuple[int, int]
) -> Bool[Tensor, "layer neuron"]:
    """Return a set of neurons as a table of booleans."""
    table = torch.zeros(shape, dtype=torch.bool)
    listed = list(neurons)
    if listed:
        table[tuple(torch.tensor(listed).T)] = True
    return table


def masks_of(
    sets: Iterable[Iterable[tuple[int, int]]], shape: tuple[int, int]
) -> Bool[Tensor, "set layer neuron"]:
    """Return several sets of neurons, at least one, as tables of booleans."""
    return torch.stack([mask_of(neurons, shape) for neurons in sets])


def neurons_of(mask: Bool[Tensor, "layer neuron"]) -> frozenset[Neuron]:
    """Return a table of booleans as a set of neurons."""
    return frozenset(Neuron(*pair) for pair in mask.nonzero().tolist())


_SHARE = real(least=0, below=1)
SELECTION: dict[str, Reader] = {  # the options of `select_neurons`
    "threshold": or_none(_SHARE), "top": or_none(whole(1)), "fraction": or_none(_SHARE),
    "share": _SHARE,
}  # fmt: skip


@plain_modes()
@takes(scores=a_result(NeuronScores), **SELECTION)
def select_neurons(
    scores: NeuronScores,
    *,
    threshold: float | None = None,
    top: int | None = None,
    fraction: float | None = None,
    share: float = 0.5,
) -> list[NeuronSet]:
    """Select the neurons of each fact in each language, in the order of the scores' prompts.

    Give at most one of `threshold`, `top` and `fraction`; with none of them `threshold` is 0.2.

    Args:
        threshold: keep scores above this share of the prompt's largest (0 to 1).
        top: keep this many neurons a prompt, or all whose score is above zero if they are fewer.
        fraction: keep this share of all neurons a prompt (0 to 1), with the same restriction.
        share: keep the neurons that more than this share of the known paraphrases keep (0 to 1).

    Raises:
        ValueError: for an option out of its range, two ways of choosing at once, or a score that
            is not finite.
    """
    kept = keep_best(scores, threshold=threshold, top=top, fraction=fraction)
    groups: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for row, prompt in enumerate(scores.prompts):
        groups[prompt.fact_id, prompt.relation, prompt.language].append(row)
    shape = (scores.values.shape[1], scores.values.shape[2])
    options = {"threshold": threshold, "top": top, "fraction": fraction}
    given = {name: value for name, value in options.items() if value is not None}
    selected = replace(
        scores.provenance,
        options={
            **scores.provenance.options, **(given or {"threshold": THRESHOLD}), "share": share,
        },
    )  # fmt: skip
    sets = []
    for (fact_id, relation, language), rows in groups.items():
        usable = [row for row in rows if bool(scores.known[row])]
        mask = torch.zeros(shape, dtype=torch.bool)
        if usable:
            mask = kept[usable].float().mean(0) > share
        sets.append(
            NeuronSet(
                fact_id=fact_id,
                relation=relation,
                language=language,
                neurons=neurons_of(mask),
                n_prompts=len(rows),
                n_known=len(usable),
                shape=shape,
                provenance=selected,
                subject=scores.prompts[rows[0]].subject,
            )
        )
    return sets


def keep_best(
    scores: NeuronScores,
    *,
    threshold: float | None = None,
    top: int | None = None,
    fraction: float | None = None,
) -> Bool[Tensor, "prompt layer neuron"]:
    """Mark the neurons that each prompt keeps (see `select_neurons` for the options)."""
    if sum(option is not None for option in (threshold, top, fraction)) > 1:
        raise ValueError(
            f"threshold={threshold}, top={top}, fraction={fraction}; give one of the three"
        )
    if threshold is None and top is None and fraction is None:
        threshold = THRESHOLD
    require_finite(scores)
    values = scores.values.flatten(1)
    if threshold is not None:
        limit = threshold * values.max(-1, keepdim=True).values
        kept = values > limit
    else:
        count = top if top is not None else round((fraction or 0) * values.shape[1])
        if not 1 <= count <= values.shape[1]:
            raise ValueError(f"{count} neurons a prompt; give 1 to {values.shape[1]}")
        kept = torch.zeros_like(values, dtype=torch.bool)
        kept.scatter_(1, values.topk(count).indices, True)
    # A neuron that is silent or speaks against the answer does not carry it. Without this condition
    # the best of many zeros would be whichever come first, the same in every language.
    return (kept & (values > 0)).view_as(scores.values)


def require_finite(scores: NeuronScores) -> None:
    """Raise ValueError for scores that are not all finite, naming the first such prompt."""
    if not torch.isfinite(scores.values).all():
        bad = int((~torch.isfinite(scores.values)).flatten(1).any(1).nonzero()[0])
        raise ValueError(
            f"the scores of prompt {scores.prompts[bad].text!r} are not all numbers; "
            "attribute it again in float32"
        )


def with_finite_scores(scores: NeuronScores) -> NeuronScores:
    """Return the scores of the prompts whose scores are all finite; warn of the others.

    Raises:
        ValueError: if no prompt is left.
    """
    finite = torch.isfinite(scores.values).flatten(1).all(1).tolist()
    if all(finite):
        return scores
    skipped = Skipped("prompt")
    for number, prompt in enumerate(scores.prompts):
        with skipped.unless_it_fails(
            f"{prompt.fact_id}, {prompt.language}, paraphrase {prompt.paraphrase}"
        ):
            require_finite(scores.at([number]))
    skipped.report(len(scores.prompts))
    return scores.at([number for number, is_finite in enumerate(finite) if is_finite])
