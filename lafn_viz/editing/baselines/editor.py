"""The interface that all compared editors share.

An `Editor` takes a model, an edit case and some of its languages, and returns an edit that can be
`applied` to the model. All editors get the same material: the questions to edit with their new
answers, and the prompts whose answers shall stay.

- `language_agnostic`: LU-LAFNs, one vector of values shared by all languages (see `optimise`).
- `random_neurons`: the control. The same optimisation on as many random neurons of the same layers;
  what it achieves too is no evidence for the located neurons.
- `per_language`: each language is edited on its own neurons with its own values; all are applied
  together.
- `knowledge_neurons`: takes the old answer out of the neurons' weights and puts the new one in (Dai
  et al. 2022, arXiv 2104.08696, section 5.2).
- `scaled`: suppresses or enhances the fact's neurons (AMIG, Chen et al. 2024, arXiv 2308.13198). It
  cannot write a new answer, only weaken or strengthen the old one.
- `fine_tuning`: Adam on the down projections of some layers; no weight moves further than `limit`
  (Zhu et al. 2020, arXiv 2012.00363).
- `rome`, `memit`: rank-one and least-squares edits of weights (see `weight_edits`).

The first three find the subject in the text and act there alone, unless `gate="none"`. The others
change weights and act on every text.

**To add an editor**, write a function that returns an `Editor`:

1. Its `edit(model, case, languages)` computes the edit, leaves the model as it was, and returns an
   `EditCache`, a `WeightEdit`, or an object of your own whose `applied(model)` is a context manager
   that edits the model and restores it (see `Applicable`).
2. Its `options` name everything that the edit depends on; `evaluate` records them.
3. Its `edit_all(model, cases)` is needed only where many cases are solved jointly, or where the
   edits are objects of your own and shall be applied together.

`evaluate` and `sweep` take any `Editor`. To ship one, give it a module here and hand it on in
`baselines/__init__.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from torch import Tensor

from lafn_viz.core.arguments import a_function, a_mapping, a_text, or_none
from lafn_viz.datasets.arguments import Cases, as_cases
from lafn_viz.datasets.edit_cases import EditCase
from lafn_viz.editing.baselines.weight_edits import WeightEdit
from lafn_viz.editing.cache import EditCache
from lafn_viz.models.calls import reads_model

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


@runtime_checkable
class Applicable(Protocol):
    """The result of an editor: an `EditCache`, a `WeightEdit`, or an object of your own."""

    def applied(self, model: "TransformerBridge") -> AbstractContextManager[Any]:
        """Edit the model within a `with` block and restore it afterwards."""
        ...


@dataclass(frozen=True)
class Editor:
    """A method of editing: it turns a model, a case and languages into an edit to apply.

    `edit_all` edits many cases jointly; without it, `together` combines their single edits.
    """

    name: str
    edit: Callable[["TransformerBridge", EditCase, Sequence[str]], Applicable]
    options: Mapping[str, Any] = field(default_factory=dict)
    edit_all: Callable[["TransformerBridge", Sequence[EditCase]], Applicable] | None = None

    def __post_init__(self) -> None:
        a_text("name", self.name)
        a_function("edit", self.edit)
        or_none(a_function)("edit_all", self.edit_all)
        a_mapping("options", self.options)

    def __repr__(self) -> str:
        options = "".join(f", {name}={value!r}" for name, value in self.options.items())
        return f"Editor({self.name!r}{options})"

    @reads_model
    def together(self, model: "TransformerBridge", cases: Cases) -> Applicable:
        """Edit many cases, each in all its languages, so that all are applied at once.

        Without `edit_all`, each case is edited on the model without the others; then the edits go
        into one cache, or the changes of weights are added up.

        Raises:
            ValueError: for edits of another kind, where the editor has no `edit_all`.
        """
        cases = as_cases(cases).cases
        if self.edit_all is not None:
            return self.edit_all(model, cases)
        edits = [self.edit(model, case, case.languages) for case in cases]
        caches = [x for x in edits if isinstance(x, EditCache) and not x.searches_otherwise]
        if len(caches) == len(edits):
            return EditCache(edit for cache in caches for edit in cache)
        changes: dict[int, Tensor] = {}
        for edit in edits:
            if not isinstance(edit, WeightEdit):
                kind = type(edit).__name__
                searches = isinstance(edit, EditCache) and edit.searches_otherwise
                kind += " with a search of its own" * searches
                raise ValueError(
                    f"{self!r} makes {kind}, and how several of them act together "
                    "is not known; give the editor an edit_all"
                )
            for layer, change in edit.changes.items():
                changes[layer] = changes[layer] + change if layer in changes else change
        return WeightEdit(changes)
