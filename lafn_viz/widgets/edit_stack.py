"""The edits of one model as a value: each step returns a new stack, which can be undone.

1. `push` puts an edit on top, in place of any edit of the same subject and relation; `remove` takes
   one out, `replace_all` exchanges them all.
2. `scale` multiplies all values of an edit, `set_factor` the value of one neuron. The edit itself
   stays as it was optimised; `StagedEdit.applied` multiplies.
3. Every step keeps the edits before it, and `undo` returns to them; `redo` takes that back, until
   another step is made. A slider that is dragged sends many values: consecutive changes of the same
   number are one step.

No widget is needed here: `LiveEditor` keeps one stack for each model and draws it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import torch

from lafn_viz.datasets.counterfactuals import counterfactual_case
from lafn_viz.datasets.edit_cases import EditCase
from lafn_viz.datasets.facts import FactSet
from lafn_viz.editing.cache import EditCache
from lafn_viz.editing.edit import Edit
from lafn_viz.neurons.neuron_sets import Neuron

EditKey = tuple[str, str]  # subject and relation


@dataclass(frozen=True, eq=False)
class StagedEdit:
    """An edit on the stack: as it was optimised, and what its values are multiplied by.

    `factors` multiply the values of single neurons (1 for those that are not in it), `scale` all
    values; `case` holds the prompts that say what the edit is to change.
    """

    edit: Edit
    case: EditCase
    scale: float = 1.0
    factors: Mapping[Neuron, float] = field(default_factory=dict)

    @classmethod
    def loaded(cls, edit: Edit, facts: FactSet) -> "StagedEdit":
        """Put an edit that was saved back on a stack; its prompts are made from the facts."""
        case = counterfactual_case(
            facts, subject=edit.subject_id, relation=edit.relation, new_object=edit.new,
            languages=list(edit.new),
        )  # fmt: skip
        return cls(edit, case)

    @property
    def key(self) -> EditKey:
        """Subject and relation."""
        return self.edit.key

    def applied(self) -> Edit:
        """Return the edit with its values multiplied."""
        factors = torch.tensor([self.factors.get(neuron, 1.0) for neuron in self.edit.neurons])
        return replace(self.edit, values=self.edit.values * self.scale * factors)


@dataclass(frozen=True)
class EditStack:
    """Edits of one model, the last one on top, with the states that `undo` and `redo` return to.

    Attributes:
        edits: at most one for each subject and relation.
        history: the edits before each step, oldest first.
        undone: the edits before each `undo`, the last one last.
        dragged: the number that the last step changed (an edit and a neuron of it, or None for all
            its values), so that the next change of the same number belongs to that step.
    """

    edits: tuple[StagedEdit, ...] = ()
    history: tuple[tuple[StagedEdit, ...], ...] = ()
    undone: tuple[tuple[StagedEdit, ...], ...] = field(default=(), compare=False)
    dragged: tuple[EditKey, Neuron | None] | None = field(default=None, compare=False)

    def __len__(self) -> int:
        return len(self.edits)

    def __iter__(self) -> Iterator[StagedEdit]:
        return iter(self.edits)

    def __getitem__(self, place: int) -> StagedEdit:
        return self.edits[place]

    def find(self, key: EditKey) -> StagedEdit:
        """Return the edit of a subject and relation. Raises KeyError where there is none."""
        for staged in self.edits:
            if staged.key == key:
                return staged
        raise KeyError(f"no edit of {key[0]!r}, {key[1]!r} is on the stack")

    def before(self, key: EditKey) -> StagedEdit:
        """Return the last edit of the same new object that had other values than the one here.

        Raises:
            KeyError: where there is no edit of this subject and relation.
            ValueError: where there was no other.
        """
        now = self.find(key)
        for staged in (staged for edits in reversed(self.history) for staged in edits):
            if staged.key == key and staged.edit.new == now.edit.new:
                same = (staged.scale, staged.factors) == (now.scale, now.factors)
                if staged.edit is not now.edit or not same:
                    return staged
        raise ValueError(
            "this fact was not edited in another way before; edit it again, with the same new "
            "object and other neurons, or move a slider, to compare the two"
        )

    def new_since(self, other: "EditStack") -> tuple[StagedEdit, ...]:
        """Return the edits that are not, or not with the same values, on another stack."""
        return tuple(staged for staged in self.edits if staged not in other.edits)

    @property
    def cache(self) -> EditCache:
        """The edits as they are applied now."""
        return EditCache([staged.applied() for staged in self.edits])

    def push(self, staged: StagedEdit) -> "EditStack":
        """Put an edit on top; an edit of the same subject and relation gives way to it."""
        others = (other for other in self.edits if other.key != staged.key)
        return self._step((*others, staged))

    def remove(self, key: EditKey) -> "EditStack":
        """Take one edit out; the others stay. Raises KeyError where there is none."""
        removed = self.find(key)
        return self._step(staged for staged in self.edits if staged is not removed)

    def replace_all(self, edits: Iterable[StagedEdit]) -> "EditStack":
        """Put other edits in place of all that are there, as one step."""
        return self._step(edits)

    def scale(self, key: EditKey, scale: float) -> "EditStack":
        """Multiply all values of an edit. Raises KeyError where there is none."""
        return self._drag(key, None, replace(self.find(key), scale=scale))

    def set_factor(self, key: EditKey, neuron: Neuron, factor: float) -> "EditStack":
        """Multiply the value of one neuron of an edit. Raises KeyError where there is none."""
        staged = self.find(key)
        return self._drag(key, neuron, replace(staged, factors={**staged.factors, neuron: factor}))

    @property
    def can_undo(self) -> bool:
        """Whether there is a step to undo."""
        return bool(self.history)

    def undo(self) -> "EditStack":
        """Return to the edits before the last step; the stack itself where there was no step."""
        if not self.history:
            return self
        return EditStack(self.history[-1], self.history[:-1], (*self.undone, self.edits))

    @property
    def can_redo(self) -> bool:
        """Whether there is a step to take again."""
        return bool(self.undone)

    def redo(self) -> "EditStack":
        """Return to the edits before the last `undo`; the stack itself where there was none."""
        if not self.undone:
            return self
        return EditStack(self.undone[-1], (*self.history, self.edits), self.undone[:-1])

    def _step(self, edits: Iterable[StagedEdit]) -> "EditStack":
        return EditStack(tuple(edits), (*self.history, self.edits))

    def _drag(self, key: EditKey, neuron: Neuron | None, changed: StagedEdit) -> "EditStack":
        edits = tuple(changed if staged.key == key else staged for staged in self.edits)
        same = self.dragged == (key, neuron)
        history = self.history if same else (*self.history, self.edits)
        return EditStack(edits, history, dragged=(key, neuron))
