"""Choosing a fact, by its relation, then its subject; and a method."""

from collections.abc import Callable
from typing import get_args

import ipywidgets as w

from lafn_viz.attribution.attribute import Method
from lafn_viz.datasets.facts import Fact, FactSet


class FactChoice(w.HBox):
    """Two lists. `changed` is called once for every new fact."""

    def __init__(
        self, facts: FactSet, changed: Callable[..., None], *, first: str = "capital/FR"
    ) -> None:
        self.facts, self._changed = facts, changed
        there = [fact.id for fact in facts]
        if not there:
            raise ValueError("there are no facts to choose from; give at least one (load_facts)")
        start = facts[first if first in there else there[0]]
        self.relation = w.Dropdown(
            options=[(x.replace("_", " "), x) for x in facts.relations], value=start.relation,
            description="Relation", layout={"width": "230px"},
        ).add_class("lafn-relation")  # fmt: skip
        self.subject = w.Dropdown(
            options=self._subjects(start.relation), value=start.id, description="Subject",
            layout={"width": "280px"},
        ).add_class("lafn-subject")  # fmt: skip
        self.relation.observe(self._another_relation, "value")
        self.subject.observe(self._another_subject, "value")
        super().__init__([self.relation, self.subject])
        self.add_class("lafn-row")

    @property
    def fact(self) -> Fact:
        """The one that is chosen."""
        return self.facts[self.subject.value]

    def _subjects(self, relation: str) -> list[tuple[str, str]]:
        names: dict[str, str] = {}
        for fact in self.facts.filter(relation=relation):
            name = next(iter(fact.subject.values()))
            # Two facts of one name: the list needs to tell them apart.
            names[f"{name} ({fact.id})" if name in names else name] = fact.id
        return sorted(names.items())

    def _another_relation(self, change: dict[str, str]) -> None:
        # An empty list on the way, which is no choice, is not told.
        self.subject.options = self._subjects(change["new"])

    def _another_subject(self, change: dict[str, str | None]) -> None:
        if change["new"] is not None:
            self._changed()


def method_choice(changed: Callable[..., None]) -> w.Dropdown:
    """A list of the methods of attribution; `changed` is called for a new one."""
    found = w.Dropdown(
        options=[(x.replace("_", " "), x) for x in get_args(Method)],
        description="Method",
        layout={"width": "290px"},
    ).add_class("lafn-method")
    found.observe(changed, "value")
    return found
