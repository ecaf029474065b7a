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

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from torch import Tensor

from lafn_viz.datasets.edit_cases import EditCase
from lafn_viz.editing.baselines.weight_edits import (
    WeightEdit,
)
from lafn_viz.editing.cache import EditCache

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
