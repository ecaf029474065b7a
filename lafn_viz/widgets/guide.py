"""A first walk through the page: one fact in five clicks."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ipywidgets as w

from lafn_viz.datasets.languages import language_name, script_of
from lafn_viz.widgets.explorer import Explorer, Status
from lafn_viz.widgets.html import row


def _nothing(_: Any) -> None:
    pass


@dataclass(frozen=True)
class Step:
    """A tab to open, what to do there, what to look at, and what that shows."""

    tab: str
    says: str
    shown: Callable[[Any], w.DOMWidget]
    does: Callable[[Any], None] = _nothing


def _choose_two_scripts(explorer: Any) -> None:
    """List the neurons that two languages share, in two scripts where there are two."""
    first, *others = explorer.languages.value or explorer.facts.languages
    apart = [code for code in others if script_of(code) != script_of(first)] or others
    for control, code in zip(explorer.pair, (first, *apart), strict=False):
        control.value = code


def _asked(explorer: Any) -> str:
    """The two languages whose shared neurons are listed."""
    return " and ".join(language_name(control.value) for control in explorer.pair)


STEPS = (
    Step(
        "Overlap",
        "Each cell says how alike the neurons are that this fact uses in two languages: 1 for the "
        "same, 0 for none in common. The right half shows other facts, the control. Only what the "
        "left half has beyond it belongs to this fact.",
        lambda explorer: explorer.figure,
    ),
    Step(
        "Overlap",
        "The table under the figure lists the neurons that this fact uses in both {asked}. A click "
        "on another cell lists those of two other languages.",
        lambda explorer: explorer.panel,
        _choose_two_scripts,
    ),
    Step(
        "Neurons",
        "This is the card of the neuron that adds most to the answer: what it does in each "
        "language, which words it promotes, and what the answers lose without it, beside random "
        "neurons of its layer.",
        lambda explorer: explorer.panel,
    ),
    Step(
        "Layers",
        "Each row is what a layer would write if it were the last one. Look for layers in which "
        "the answer stands in another language than the question.",
        lambda explorer: explorer.strip,
    ),
    Step(
        "Edit",
        "Type a new answer and press Edit: the model then gives it in every language. The table "
        "below tells what changed, and whether anything changed that should not.",
        lambda explorer: explorer.edit_button,
    ),
)


class Guide(w.VBox):
    """A button that begins the walk, and a line for each step with a button to the next.

    Args:
        open_tab: opens a tab by its name, and returns the explorer there.
    """

    def __init__(self, open_tab: Callable[[str], Explorer]) -> None:
        self._open_tab = open_tab
        self._at: int | None = None
        self._marked: w.DOMWidget | None = None
        self.button = w.Button(
            description="Guide me",
            layout={"width": "auto", "flex": "0 0 auto", "align_self": "flex-start"},
        ).add_class("lafn-guide-me")
        self.next = w.Button(description="Next", button_style="primary").add_class("lafn-next")
        self.end = w.Button(description="End").add_class("lafn-end")
        self.status = Status()
        self.line = w.VBox([self.status, row(self.next, self.end)], layout={"display": "none"})
        self.line.add_class("lafn-guide")
        self.button.on_click(lambda _: self._go(0))
        self.next.on_click(lambda _: self._go((self._at or 0) + 1))
        self.end.on_click(lambda _: self.stop())
        super().__init__([self.button, self.line])

    def stop(self) -> None:
        """Put the line and the mark away."""
        self._mark(None)
        self._at, self.line.layout.display = None, "none"

    def _go(self, number: int) -> None:
        if number == len(STEPS):
            self.stop()
            return
        step = STEPS[number]
        explorer: Any = self._open_tab(step.tab)
        explorer.guarded(lambda: step.does(explorer))()
        self._mark(step.shown(explorer))
        self._at, self.line.layout.display = number, ""
        self.next.description = "Next" if number + 1 < len(STEPS) else "Done"
        says = step.says.format(asked=_asked(explorer)) if "{" in step.says else step.says
        self.status.say(f"{number + 1} of {len(STEPS)}. {says}")

    def _mark(self, widget: w.DOMWidget | None) -> None:
        """Draw a frame around what the step is about."""
        if self._marked is not None:
            self._marked.remove_class("lafn-marked")
        self._marked = None if widget is None else widget.add_class("lafn-marked")
