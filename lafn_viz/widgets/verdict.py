"""What is wrong with an edit, in red, with what to try, and the question whether to keep it."""

from collections.abc import Callable, Iterator
from html import escape

import ipywidgets as w

from lafn_viz.editing.edit import CONVERGED, Edit
from lafn_viz.editing.evaluation.before_after import Comparison
from lafn_viz.widgets.edit_stack import StagedEdit
from lafn_viz.widgets.html import row

BY_HAND = "Its values are multiplied by hand: move the sliders back, or undo."
SPARE = "To spare other facts, multiply all values by less than 1, or try other neurons."


def shortcomings(staged: StagedEdit, comparison: Comparison) -> Iterator[str]:
    """Yield a sentence for each way in which an edit is not what it should be."""
    good, total = comparison.counts("the edit")
    if good < total:
        yield f"The new object is the answer in {good} of {total} languages."
    if not staged.edit.converged:
        yield (
            f"The loss stayed high: the mean −log P(new object) is {staged.edit.loss:.2f} nats, "
            f"not less than {CONVERGED:.2f}."
        )
    kept = [comparison.counts(group) for group in ("same subject", "other subjects")]
    same, neighbours = (sum(counts) for counts in zip(*kept, strict=True))
    if same < neighbours:
        yield f"{neighbours - same} of {neighbours} answers about other facts changed with it."


def _advice(staged: StagedEdit, comparison: Comparison) -> Iterator[str]:
    """Yield what to try."""
    edit, (good, total) = staged.edit, comparison.counts("the edit")
    is_by_hand = staged.scale != 1 or any(factor != 1 for factor in staged.factors.values())
    if good < total and is_by_hand:
        yield BY_HAND
    elif good < total or not edit.converged:
        yield (
            f"Try more neurons (now {len(edit.neurons)}), another position (now "
            f"{edit.position.replace('_', ' ')}), or only the languages in which the model knows "
            "the fact."
        )
    if not all(
        well
        for well, group in zip(comparison.well, comparison.asked.groups, strict=True)
        if group != "the edit"
    ):
        yield SPARE


class Verdict(w.VBox):
    """Says what is wrong with the edit that is shown; a new edit can be kept or discarded.

    It is hidden while nothing is wrong. `discard` takes the edit back.

    Attributes:
        undecided: the edit that was made last, until a person keeps or discards it.
    """

    def __init__(self, discard: Callable[..., None]) -> None:
        self.undecided: Edit | None = None
        self.text = w.HTML()
        self.keep_button = w.Button(description="Keep").add_class("lafn-keep")
        self.discard_button = w.Button(description="Discard").add_class("lafn-discard")
        self.keep_button.on_click(self._keep)
        self.discard_button.on_click(discard)
        self.question = row(
            w.HTML("<strong>Keep or discard this edit?</strong>"),
            self.keep_button,
            self.discard_button,
        )
        super().__init__([self.text, self.question], layout={"display": "none"})
        self.add_class("lafn-verdict")

    def show(self, staged: StagedEdit, comparison: Comparison) -> bool:
        """Say what is wrong, and return whether anything is."""
        wrong = list(shortcomings(staged, comparison))
        self.layout.display = "" if wrong else "none"
        failed = comparison.counts("the edit")[0] == 0
        title = f"✗ The edit {'failed' if failed else 'falls short'}."
        items = "".join(f"<li>{escape(sentence)}</li>" for sentence in wrong)
        advice = escape(" ".join(_advice(staged, comparison)))
        self.text.value = f"<strong>{title}</strong><ul>{items}</ul><p>{advice}</p>"
        self.question.layout.display = "" if staged.edit is self.undecided else "none"
        return bool(wrong)

    def clear(self) -> None:
        """Say nothing."""
        self.layout.display = "none"

    def _keep(self, _: w.Button) -> None:
        self.undecided = None
        self.question.layout.display = "none"
