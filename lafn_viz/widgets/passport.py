"""The passport of an edit in the live editor: made on a click, shown in a frame, and saved."""

from base64 import b64encode
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING

import ipywidgets as w

from lafn_viz.datasets.facts import FactSet
from lafn_viz.editing.baselines.editor import Editor
from lafn_viz.editing.baselines.rome_memit import memit, rome
from lafn_viz.editing.evaluation.passport.make import AnEdit, passport
from lafn_viz.editing.evaluation.passport.result import Passport
from lafn_viz.widgets.background import Task
from lafn_viz.widgets.edit_stack import EditKey, EditStack, StagedEdit
from lafn_viz.widgets.explorer import Explorer
from lafn_viz.widgets.html import row

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

THIS, BEFORE = "this edit", "the edit before it"
EDITORS: dict[str, Callable[..., Editor]] = {"MEMIT": memit, "ROME": rome}


class PassportPanel(w.VBox):
    """Makes the passport of the edit that is selected, beside another edit of the same fact.

    Args:
        explorer: which lends its model, facts and background.
        selected: gives the stack of edits, and which of them is selected.

    Attributes:
        passport: the one that is shown, a `Passport`; None while there is none.
    """

    def __init__(
        self, explorer: Explorer, selected: Callable[[], tuple[EditStack, EditKey]]
    ) -> None:
        self.passport: Passport | None = None
        self._explorer, self._selected = explorer, selected
        self.beside = w.Dropdown(
            options=[("no other edit", ""), *((name, name) for name in (BEFORE, *EDITORS))],
            description="Beside",
        ).add_class("lafn-beside-edit")
        self.button = w.Button(
            description="Passport", tooltip="Ask everything about this edit, and show it as a page"
        ).add_class("lafn-passport")
        self.button.on_click(explorer.guarded(self._make))
        self.page = w.HTML().add_class("lafn-passport-page")
        super().__init__([row(self.button, self.beside), self.page])

    def _make(self) -> None:
        model, facts = self._explorer.ready(), self._explorer.facts
        stack, key = self._selected()
        staged, name = stack.find(key), self.beside.value
        others: dict[str, StagedEdit | Editor] = {}
        if name == BEFORE:
            others[name] = stack.before(key)
        elif name:
            others[name] = EDITORS[name](position=staged.edit.position)

        def compute(task: Task) -> Passport:
            return make_passport(task, model, staged, others, facts)

        def show(made: Passport) -> None:
            self.show(made)
            self._explorer.status.say("The passport is below; it is of this edit alone.")

        self._explorer.submit("passport", compute, show)

    def show(self, made: Passport) -> None:
        """Show the page of a passport in a frame, in which nothing runs."""
        self.passport = made
        page = made.to_html()
        address = f"data:text/html;charset=utf-8;base64,{b64encode(page.encode()).decode()}"
        self.page.value = (
            f'<p><a download="passport.html" href="{address}">Save this page</a></p>'
            '<iframe sandbox title="Passport of the edit" style="width: 100%; height: 75vh; '
            f'border: 1px solid #8884" srcdoc="{escape(page)}"></iframe>'
        )

    def drop(self) -> None:
        """Show no passport, and make none."""
        self._explorer.drop("passport")
        self.passport, self.page.value = None, ""


def make_passport(
    task: Task,
    model: "TransformerBridge",
    staged: StagedEdit,
    others: dict[str, StagedEdit | Editor],
    facts: FactSet,
) -> Passport:
    """Make the passport of a staged edit, and first the edits that stand beside it."""
    edits: dict[str, AnEdit] = {THIS: staged.applied()}
    with task.ends_in_passes_of(model):
        for name, other in others.items():
            task.step(0.0, f"Editing with {name}")
            edits[name] = (
                other.applied()
                if isinstance(other, StagedEdit)
                else other.edit(model, staged.case, staged.case.languages)
            )
        return passport(
            model, edits, staged.case, facts=facts, progress=False,
            on_step=lambda read, n: task.step(read / n, f"Asking: {read} of {n} texts"),
        )  # fmt: skip
