"""Tables of what a model writes before and after an edit, question by question."""

from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING

import ipywidgets as w

from lafn_viz.datasets.facts import FactSet
from lafn_viz.datasets.languages import language_name
from lafn_viz.editing.edit import Edit
from lafn_viz.editing.evaluation.before_after import (
    GROUPS,
    Asked,
    Comparison,
    Group,
    Said,
    ask,
    questions_of,
)
from lafn_viz.plots.style import isolated
from lafn_viz.widgets.edit_stack import EditKey, EditStack, StagedEdit
from lafn_viz.widgets.html import Cell, outdated, table

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

TITLES = {
    "the edit": "The edit: one prompt per language, held out from the edit where possible",
    "same subject": "Neighbours: other facts about the subject",
    "other subjects": "Neighbours: the same relation of other subjects",
}


class AnswerTables(w.HTML):
    """A table for each group of questions: the edit, and the facts that should stay as they are.

    Attributes:
        comparison: the answers that are shown, a `Comparison`; None while there are none.
        edit: the edit that they belong to.
        only_failures: whether questions that went well are left out.
    """

    def __init__(self) -> None:
        super().__init__()
        self.comparison: Comparison | None = None
        self.edit: Edit | None = None
        self.only_failures = False
        self._drawn = ""  # the tables without the note over them
        self._note = ""
        # Questions and answers without the edits: these do not change while sliders move.
        self._before: dict[tuple[str, frozenset[EditKey], str], tuple[Asked, Said]] = {}
        self.add_class("lafn-answers")

    def compare(
        self, model: "TransformerBridge", weights: str, stack: EditStack, staged: StagedEdit,
        facts: FactSet,
    ) -> Comparison:  # fmt: skip
        """Ask the model about one edit of the stack, without all edits and with all of them.

        `weights` identify the model, whose answers without edits are kept.
        """
        edited = frozenset(other.key for other in stack)
        key = weights, edited, f"{staged.key} {staged.edit.new}"
        if key not in self._before:
            questions = questions_of(staged.case, facts, edited=edited)
            self._before[key] = questions, ask(model, questions)
        questions, before = self._before[key]
        return Comparison(questions, before, ask(model, questions, stack.cache))

    def show(self, edit: Edit, comparison: Comparison) -> None:
        """Draw the answers that belong to an edit."""
        self.edit, self.comparison, self._note = edit, comparison, ""
        self.draw()

    def draw(self) -> None:
        """Draw the answers that are there, all of them or only the failures."""
        if self.comparison is not None:
            self._drawn = "".join(
                _table(self.comparison, group, only_failures=self.only_failures) for group in GROUPS
            )
            self.value = outdated(self._drawn, self._note)

    def outdate(self, note: str) -> None:
        """Dim the answers under a note, until others are drawn."""
        self._note = note
        self.value = outdated(self._drawn, note)

    def clear(self) -> None:
        """Show no answers."""
        self.edit, self.comparison, self.value, self._drawn = None, None, "", ""

    def counts(self) -> str:
        """Say for each group of questions how many answers are as they should be."""
        assert self.comparison is not None
        counts = {group: self.comparison.counts(group) for group in GROUPS}
        return "; ".join(
            f"{group}: {good} of {total} as they should be"
            for group, (good, total) in counts.items()
            if total
        )


def _table(comparison: Comparison, group: Group, *, only_failures: bool) -> str:
    """One group as an HTML table; empty where it has no questions."""
    asked, is_edit = comparison.asked, group == "the edit"
    good, total = comparison.counts(group)
    if only_failures and total and good == total:
        return (
            f'<p class="lafn-all-well"><strong>{escape(TITLES[group])}</strong><br>'
            f'<span class="lafn-good">✓</span> All {total} are as they should be.</p>'
        )
    rows = []
    for i, prompt in enumerate(asked.prompts):
        if asked.groups[i] != group or (only_failures and comparison.well[i]):
            continue
        code, tone = prompt.language, "good" if comparison.well[i] else "bad"
        cells = [
            Cell(language_name(code)),
            Cell(prompt.text, code),
            Cell(comparison.before.texts[i], code),
            Cell(comparison.after.texts[i], code, tone),
            Cell(_outcome(comparison, i), "", tone),
        ]
        if is_edit:
            cells += [
                likeliest(answers.next_tokens[i])
                for answers in (comparison.before, comparison.after)
            ]
        rows.append(cells)
    if not rows:
        return ""
    head = ["Language", "Asked", "Before", "After", "Outcome"]
    head += ["Likeliest next, before", "and after"] if is_edit else []
    return table(head, rows, caption=TITLES[group], name=f"lafn-{group.replace(' ', '-')}")


def likeliest(tokens: Iterable[tuple[str, float]]) -> Cell:
    """Tokens with their probabilities, in one cell."""
    return Cell(" · ".join(f"{isolated(x.strip())} {p:.0%}" for x, p in tokens), "", "faint")


def _outcome(comparison: Comparison, place: int) -> str:
    """Say of one question how it went."""
    is_well = comparison.well[place]
    if comparison.asked.groups[place] != "the edit":
        return "✓ as before" if is_well else "✗ changed too"
    if is_well:
        return "✓ changed"
    is_same = comparison.before.texts[place] == comparison.after.texts[place]
    return "✗ not changed" if is_same else "✗ another answer"
