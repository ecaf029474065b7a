"""What a model writes before and after edits, question by question: what an edit did, to look at.

`evaluate` measures editors over many cases; this shows one edit and its neighbours. A question of
the edit went well if the new object is written, any other if what is written stayed the same.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, get_args

from lafn_viz.datasets.edit_cases import EditCase
from lafn_viz.datasets.facts import FactSet, Prompt
from lafn_viz.editing.cache import EditCache
from lafn_viz.editing.evaluation.metrics import ANSWER_METRICS
from lafn_viz.models.generation import generate, next_tokens

if TYPE_CHECKING:
    import pandas as pd
    from transformer_lens.model_bridge import TransformerBridge

Group = Literal["the edit", "same subject", "other subjects"]
GROUPS: tuple[Group, ...] = get_args(Group)


@dataclass(frozen=True)
class Asked:
    """What is asked about one edit: prompts with the answer that is right after it, by group."""

    prompts: tuple[Prompt, ...]
    groups: tuple[Group, ...]


@dataclass(frozen=True)
class Said:
    """What a model writes for each question, and its likeliest next tokens with probabilities."""

    texts: tuple[str, ...]
    next_tokens: tuple[tuple[tuple[str, float], ...], ...]


@dataclass(frozen=True)
class Comparison:
    """What was said before and after, question by question."""

    asked: Asked
    before: Said
    after: Said

    @cached_property
    def well(self) -> tuple[bool, ...]:
        """Whether each question went as an edit should."""
        judge = ANSWER_METRICS["exact_match"]
        found = []
        for prompt, group, old, new in zip(
            self.asked.prompts, self.asked.groups, self.before.texts, self.after.texts,
            strict=True,
        ):  # fmt: skip
            names = (prompt.answer, *prompt.aliases)
            right = max(judge(new, name, prompt.language) for name in names) == 1
            found.append(right if group == "the edit" else old == new)
        return tuple(found)

    def counts(self, group: Group) -> tuple[int, int]:
        """How many questions of a group went well, of how many."""
        its = [x for x, of in zip(self.well, self.asked.groups, strict=True) if of == group]
        return sum(its), len(its)

    def __repr__(self) -> str:
        counts = []
        for group in GROUPS:
            good, of = self.counts(group)
            if of:
                counts.append(f"{group} {good} of {of}")
        return f"Comparison(went well: {', '.join(counts)})"

    def to_frame(self) -> "pd.DataFrame":
        """One row a question: group, language, text, texts and likeliest tokens, how it went."""
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
    """One wording a language of the edit, of each other relation, and of other subjects.

    Held out, where there is such a one.

    Args:
        facts: where other subjects of the relation come from, first the one whose object is the
            new one: an edit that is too strong shows there, or not at all.
        edited: subject and relation of facts that are edited too, and so are no neighbours.
    """
    languages, (subject, relation) = case.languages, case.key
    asked: list[tuple[Prompt, Group]] = [
        (prompt, "the edit")
        for prompt in _one_each(case.prompts("rephrased") + case.prompts("edit"))
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
    new = {prompt.answer for prompt in case.prompts("edit")}
    others.sort(key=lambda fact: not new & set(fact.object.values()))
    for fact in others[:n_others]:
        some = facts.filter(relation=relation, subjects=fact.subject_id)
        asked += [(prompt, "other subjects") for prompt in _one_each(some.prompts()[::-1])[::-1]]
    kept = [(prompt, group) for prompt, group in asked if prompt.language in languages]
    return Asked(tuple(prompt for prompt, _ in kept), tuple(group for _, group in kept))


def _one_each(prompts: Sequence[Prompt]) -> list[Prompt]:
    """The first prompt of each language."""
    found: dict[str, Prompt] = {}
    for prompt in prompts:
        found.setdefault(prompt.language, prompt)
    return list(found.values())


def ask(
    model: "TransformerBridge",
    asked: Asked,
    cache: EditCache | None = None,
    *,
    n_tokens: int = 3,
) -> Said:
    """What the model writes for each question, with the edits of a cache if one is given."""
    with (cache or EditCache()).applied(model):
        texts = [written.text for written in generate(model, asked.prompts)]
        tokens = next_tokens(model, asked.prompts, k=n_tokens)
    return Said(tuple(texts), tuple(tuple(row) for row in tokens))
