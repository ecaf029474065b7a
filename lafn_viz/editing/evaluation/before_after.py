"""Compare what a model writes before and after edits, question by question.

`evaluate` measures editors over many cases; this shows one edit and its neighbours. A question of
the edit went well if the model writes the new object, any other if it writes the same as before.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, get_args

from lafn_viz.datasets.edit_cases import EditCase
from lafn_viz.datasets.facts import FactSet
from lafn_viz.datasets.prompts import Prompt
from lafn_viz.editing.cache import EditCache
from lafn_viz.editing.evaluation.metrics import starts_with
from lafn_viz.models.calls import reads_model
from lafn_viz.models.generation import generate, next_tokens

if TYPE_CHECKING:
    import pandas as pd
    from transformer_lens.model_bridge import TransformerBridge

Group = Literal["the edit", "same subject", "other subjects"]
GROUPS: tuple[Group, ...] = get_args(Group)


@dataclass(frozen=True)
class Asked:
    """The questions about one edit: prompts with the answer expected after it, and their groups."""

    prompts: tuple[Prompt, ...]
    groups: tuple[Group, ...]


@dataclass(frozen=True)
class Said:
    """What a model writes for each question, and its likeliest next tokens with probabilities."""

    texts: tuple[str, ...]
    next_tokens: tuple[tuple[tuple[str, float], ...], ...]


@dataclass(frozen=True)
class Comparison:
    """The model's answers before and after, question by question."""

    asked: Asked
    before: Said
    after: Said

    @cached_property
    def well(self) -> tuple[bool, ...]:
        """Whether each question went as an edit should.

        In those of the edit the text must begin with the new object: many models write on.
        """
        went_well = []
        for prompt, group, old, new in zip(
            self.asked.prompts, self.asked.groups, self.before.texts, self.after.texts,
            strict=True,
        ):  # fmt: skip
            names = (prompt.answer, *prompt.aliases)
            right = any(starts_with(new, name, prompt.language) == 1 for name in names)
            went_well.append(right if group == "the edit" else old == new)
        return tuple(went_well)

    def counts(self, group: Group) -> tuple[int, int]:
        """The number of questions of a group that went well, and the number of all."""
        well = [x for x, name in zip(self.well, self.asked.groups, strict=True) if name == group]
        return sum(well), len(well)

    def __repr__(self) -> str:
        counts = []
        for group in GROUPS:
            n_well, n = self.counts(group)
            if n:
                counts.append(f"{group} {n_well} of {n}")
        return f"Comparison(went well: {', '.join(counts)})"

    def to_frame(self) -> "pd.DataFrame":
        """One row for each question: its group, texts and likeliest tokens, and how it went."""
        import pandas as pd

        return pd.DataFrame(
            {
                "group": self.asked.groups,
                "language": [prompt.language for prompt in self.asked.prompts],
                "text": [prompt.text for prompt in self.asked.prompts],
                "answer": [prompt.answer for prompt in self.asked.prompts],
                "before": self.before.texts,
                "after": self.after.texts,
                "next_before": self.before.next_tokens,
                "next_after": self.after.next_tokens,
                "well": self.well,
            }
        )


def questions_of(
    case: EditCase,
    facts: FactSet,
    *,
    edited: Collection[tuple[str, str]] = (),
    n_others: int = 2,
) -> Asked:
    """The questions about an edit in each language: of the fact, its subject and other subjects.

    One wording for each language of the edit, of the subject's other relations, and of other
    subjects; a held-out wording where there is one.

    Args:
        facts: where other subjects of the relation come from. The first is one that has the new
            object already: an edit that writes it everywhere cannot be told there.
        edited: subject and relation of facts that are edited too and so are left out here.
        n_others: how many other subjects.
    """
    languages, (subject, relation) = case.languages, case.key
    asked: list[tuple[Prompt, Group]] = [
        (prompt, "the edit")
        for prompt in _first_by_language(case.prompts("rephrased") + case.prompts("edit"))
    ]
    asked += [
        (prompt, "same subject")
        for prompt in case.prompts("locality")
        if (subject, prompt.relation) not in edited
    ]
    others = [
        fact
        for fact in facts
        if fact.relation == relation
        and fact.subject_id != subject
        and (fact.subject_id, relation) not in edited
    ]
    new_objects = {prompt.answer for prompt in case.prompts("edit")}
    others.sort(key=lambda fact: not new_objects & set(fact.object.values()))
    for fact in others[:n_others]:
        # Reversed: the last wordings are the held-out ones.
        prompts = facts.filter(relation=relation, subjects=fact.subject_id).prompts()[::-1]
        asked += [(prompt, "other subjects") for prompt in _first_by_language(prompts)[::-1]]
    kept = [(prompt, group) for prompt, group in asked if prompt.language in languages]
    return Asked(tuple(prompt for prompt, _ in kept), tuple(group for _, group in kept))


def _first_by_language(prompts: Sequence[Prompt]) -> list[Prompt]:
    """The first prompt of each language."""
    first: dict[str, Prompt] = {}
    for prompt in prompts:
        first.setdefault(prompt.language, prompt)
    return list(first.values())


@reads_model
def ask(
    model: "TransformerBridge",
    asked: Asked,
    cache: EditCache | None = None,
    *,
    n_tokens: int = 3,
) -> Said:
    """Ask the model all questions, with the edits of a cache applied if one is given."""
    with (cache or EditCache()).applied(model):
        texts = [generation.text for generation in generate(model, asked.prompts)]
        tokens_of_each = next_tokens(model, asked.prompts, k=n_tokens)
    return Said(tuple(texts), tuple(tuple(tokens) for tokens in tokens_of_each))
