"""The facts around an edit: its own, other subjects of the relation, and unrelated ones."""

import random
from dataclasses import dataclass, field

from lafn_viz.datasets.edit_cases import EditCase
from lafn_viz.datasets.fact import Fact
from lafn_viz.datasets.facts import FactSet, trained_and_held_out
from lafn_viz.datasets.prompts import Prompt


@dataclass
class FactsAround:
    """What the facts say around a case: its own fact, other subjects, and unrelated ones.

    `left_out` gets the reason for each kind of question that cannot be asked.
    """

    all: FactSet
    case: EditCase
    seed: int
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def own(self) -> Fact | None:
        """The fact that is edited, if the facts hold it."""
        subject, relation = self.case.key
        same = (x for x in self.all if (x.subject_id, x.relation) == (subject, relation))
        return next(same, None)

    @property
    def new_names(self) -> set[str]:
        """The names of the new object in the edited wordings."""
        return {prompt.answer for prompt in self.case.prompts("edit")}

    def neighbours(self, n: int) -> list[Fact]:
        """Other subjects of the relation, first one that has the new object already."""
        subject, relation = self.case.key
        named = self.new_names
        others = [x for x in self.all if x.relation == relation and x.subject_id != subject]
        random.Random(self.seed).shuffle(others)
        others.sort(key=lambda fact: not named & set(fact.object.values()))
        owner, rest = others[:1], others[1:]
        # An edit that writes the new object everywhere cannot be told from a right answer there.
        rest = [fact for fact in rest if not named & set(fact.object.values())]
        return [*owner, *rest][:n]

    def unrelated(self, n: int) -> list[Fact]:
        """Facts that name neither subject nor object of the edit, of other relations if there are.

        They have the languages of the case, and no two are of one subject.
        """
        case = self.case
        words = {*case.subject.values(), *case.old.values(), *self.new_names}
        told = {word.casefold() for word in words}
        pool = [
            fact
            for fact in self.all
            if set(case.languages) <= set(fact.languages)
            and fact.subject_id != case.key[0]
            and not told & {x.casefold() for x in (*fact.subject.values(), *fact.object.values())}
        ]
        random.Random(self.seed + 1).shuffle(pool)
        pool.sort(key=lambda fact: fact.relation == case.key[1])
        first: dict[str, Fact] = {}
        for fact in pool:
            first.setdefault(fact.subject_id, fact)
        return list(first.values())[:n]

    def wordings(self, fact: Fact) -> dict[str, tuple[Prompt, ...]]:
        """The prompts of a fact by language of the case, held-out wordings first."""
        parts = trained_and_held_out(self.all, fact)
        return {
            lang: parts[lang][1] + parts[lang][0] for lang in self.case.languages if lang in parts
        }
