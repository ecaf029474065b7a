"""Lists to choose from: a fact by its relation and subject, a method, an edit on the stack."""

from collections.abc import Callable, Iterable
from typing import get_args

import ipywidgets as w

from lafn_viz.attribution.methods import Method
from lafn_viz.datasets.fact import Fact, fact_name
from lafn_viz.datasets.facts import FactSet
from lafn_viz.editing.edit import Edit
from lafn_viz.plots.style import isolated
from lafn_viz.widgets.edit_stack import EditKey, StagedEdit
from lafn_viz.widgets.names import subject_id


def named(fact: Fact) -> str:
    """Return how a page names a fact: by its subject's name in the first language."""
    return fact_name(next(iter(fact.subject.values())), fact.relation)


class FactChoice(w.HBox):
    """A list of relations and a list of subjects; `changed` is called once for every new fact.

    A subject can be typed, too, in any language and case: the field `find` completes its names.
    `guarded` wraps what runs then, and shows its errors (`Explorer.guarded`).

    Raises:
        ValueError: if there are no facts.
    """

    def __init__(
        self,
        facts: FactSet,
        changed: Callable[..., None],
        *,
        guarded: Callable[[Callable[[], None]], Callable[..., None]],
        first: str = "capital/FR",
    ) -> None:
        self.facts, self._changed = facts, changed
        ids = [fact.id for fact in facts]
        if not ids:
            raise ValueError("there are no facts to choose from; give at least one (load_facts)")
        start = facts[first if first in ids else ids[0]]
        self.relation = w.Dropdown(
            options=[(x.replace("_", " "), x) for x in facts.relations], value=start.relation,
            description="Relation", layout={"width": "230px"},
        ).add_class("lafn-relation")  # fmt: skip
        self.subject = w.Dropdown(
            options=self._subjects(start.relation), value=start.id, description="Subject",
            layout={"width": "280px"},
        ).add_class("lafn-subject")  # fmt: skip
        self.relation.observe(self._on_relation, "value")
        self.subject.observe(self._on_subject, "value")
        self.find = w.Combobox(
            options=self._names(start.relation), description="or type it",
            placeholder="a name in any language", continuous_update=False,
            layout={"width": "280px"},
        ).add_class("lafn-find")  # fmt: skip
        self.find.observe(guarded(self._on_find), "value")
        super().__init__([self.relation, self.subject, self.find])
        self.add_class("lafn-row")

    @property
    def value(self) -> str:
        """The id of the fact that is chosen; to set another raises KeyError if it is not here."""
        return str(self.subject.value)

    @value.setter
    def value(self, fact_id: str) -> None:
        self.relation.value = self.facts[fact_id].relation
        self.subject.value = fact_id

    @property
    def fact(self) -> Fact:
        """The fact that is chosen."""
        return self.facts[self.subject.value]

    def lines(self) -> list[str]:
        """Python that takes the chosen fact from `facts`: `fact`, and its prompts `asked`."""
        return [
            f"fact = facts[{self.fact.id!r}]",
            "of_relation = facts.filter(relation=fact.relation)",
            "asked = of_relation.filter(subjects=fact.subject_id).prompts()",
        ]

    def _subjects(self, relation: str) -> list[tuple[str, str]]:
        """Return the name and the fact's id of each subject of a relation, sorted by name."""
        names: dict[str, str] = {}
        for fact in self.facts.filter(relation=relation):
            name = next(iter(fact.subject.values()))
            # Two subjects may have one name; the id tells them apart.
            names[f"{name} ({fact.id})" if name in names else name] = fact.id
        return sorted(names.items())

    def _names(self, relation: str) -> list[str]:
        """The names of the subjects of a relation, in all languages."""
        facts = self.facts.filter(relation=relation)
        return sorted({name for fact in facts for name in fact.subject.values()})

    def _on_find(self) -> None:
        """Choose the subject whose name was typed."""
        if typed := self.find.value:
            relation = self.relation.value
            chosen = subject_id(self.facts, relation, typed)
            of_subject = self.facts.filter(relation=relation, subjects=chosen)
            self.subject.value = next(iter(of_subject)).id
            self.find.value = ""

    def _on_relation(self, change: dict[str, str]) -> None:
        self.find.options = self._names(change["new"])
        self.subject.options = self._subjects(change["new"])

    def _on_subject(self, change: dict[str, str | None]) -> None:
        # While its options are exchanged, the list has no value for a moment: not a choice.
        if change["new"] is not None:
            self._changed()


class EditChoice(w.Dropdown):
    """The edits of a stack by their titles; `changed` is called when a person selects another.

    `guarded` wraps what runs when the value changes, and holds the lock of the page meanwhile
    (`Explorer.guarded`).
    """

    def __init__(
        self,
        changed: Callable[[], None],
        *,
        guarded: Callable[[Callable[[], None]], Callable[..., None]],
    ) -> None:
        super().__init__(options=[], description="Show", layout={"width": "420px"})
        self._changed, self._updating = changed, False
        self.observe(guarded(self._on_value), "value")
        self.add_class("lafn-selected")

    def show(self, stack: Iterable[StagedEdit], selected: EditKey | None) -> None:
        """List the edits without calling `changed`; select one, or the last if it is not listed.

        The caller holds the lock, so that a person's choice at the same time waits and then counts.
        """
        options = [(_title(staged.edit), staged.key) for staged in stack]
        keys = [key for _, key in options]
        self._updating = True
        self.options = options
        if keys:
            self.value = selected if selected in keys else keys[-1]
        self._updating = False

    def _on_value(self) -> None:
        if not self._updating and self.value is not None:
            self._changed()


def _title(edit: Edit) -> str:
    subject, new = next(iter(edit.names.values()))[0], next(iter(edit.new.values()))
    relation = edit.relation.replace("_", " ")
    return f"{isolated(subject)}: {relation} → {isolated(new)}"


def method_choice(changed: Callable[..., None]) -> w.Dropdown:
    """Return a list of the attribution methods; `changed` is called when another is chosen."""
    choice = w.Dropdown(
        options=[(x.replace("_", " "), x) for x in get_args(Method)],
        description="Method",
        layout={"width": "290px"},
    ).add_class("lafn-method")
    choice.observe(changed, "value")
    return choice
