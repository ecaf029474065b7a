"""All explorers on one page, which is about one model and one fact in all its tabs."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipywidgets as w

from lafn_viz.datasets.facts import FactSet
from lafn_viz.widgets.editor import LiveEditor
from lafn_viz.widgets.explorer import Explorer
from lafn_viz.widgets.exported import Kept
from lafn_viz.widgets.guide import Guide
from lafn_viz.widgets.lens import LensExplorer
from lafn_viz.widgets.neuron import NeuronExplorer
from lafn_viz.widgets.overlap import OverlapExplorer
from lafn_viz.widgets.page_state import PageState
from lafn_viz.widgets.prompt import PromptExplorer
from lafn_viz.widgets.study_choice import StudyChoice

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

EXPLORERS: dict[str, Callable[..., Explorer]] = {
    "Overlap": OverlapExplorer,
    "Neurons": NeuronExplorer,
    "Layers": LensExplorer,
    "Edit": LiveEditor,
    "Type and see": PromptExplorer,
}


class Page(Kept, w.Tab):
    """A tab for each explorer, built when it is first opened.

    A tab takes over what was chosen in the tab before: model, fact, method and languages.

    Args:
        root: the folder in which models and facts that a reader opens have to lie; anywhere unless
            given.

    Attributes:
        state: what is chosen, for the address of a page of its own.
        guide: leads a newcomer through one fact.
        study: opens another model or other facts.
        beside: whether each tab has a second explorer, for another fact or another model.
    """

    def __init__(
        self,
        model: "TransformerBridge | str",
        facts: FactSet | None,
        *,
        root: Path | None = None,
    ) -> None:
        self._model, self._facts = model, facts
        self.study = StudyChoice(self.show_study, root=root)
        self.beside = w.ToggleButton(
            value=False, description="Side by side", layout={"width": "auto"}
        ).add_class("lafn-side-by-side")
        self.beside.observe(self._on_beside, "value")
        self._columns = [w.HBox().add_class("lafn-columns") for _ in EXPLORERS]
        # Of each tab, the first of two explorers, and the second once it has been asked for.
        self._built: list[list[Explorer]] = [[] for _ in EXPLORERS]
        self._open = 0
        self._wanted: dict[str, Any] = {}  # what was chosen last, in any tab
        self._entered: dict[str, Any] = {}  # what the open tab had when it was opened
        self._entering = False  # what a tab changes by itself is not a reader's choice
        self.state = PageState()
        self.guide = Guide(self._open_tab)
        tools = w.VBox([self.guide, self.beside, self.study]).add_class("lafn-tools")
        places = [w.VBox([tools, columns]) for columns in self._columns]
        super().__init__(places, titles=list(EXPLORERS), selected_index=0)
        self.add_class("lafn-page")
        self._begin()
        self.observe(self._on_tab, "selected_index")
        self.state.observe(self._on_address, "asked")

    @property
    def explorers(self) -> list[Explorer]:
        """The explorers that have been built, those not shown now too, in the order of the tabs."""
        return [explorer for of_tab in self._built for explorer in of_tab]

    def show_study(self, model: "TransformerBridge | str | None", facts: FactSet | None) -> None:
        """Show another model, other facts, or both in all tabs; None for what shall stay.

        Raises:
            ValueError: while there are edits that are saved nowhere, or for facts that the open tab
                cannot show. The page is as before then.
        """
        if self.state.unsaved:
            raise ValueError(
                "the tab Edit holds edits that are saved nowhere; save them or take them back first"
            )
        before, last = (self._model, self._facts, self._built), self.explorers
        self.guide.stop()
        self._model = self._model if model is None else model
        self._facts = self._facts if facts is None else facts
        self._built = [[] for _ in EXPLORERS]
        try:
            self._begin()
        except ValueError:
            self._model, self._facts, self._built = before
            raise
        for explorer in last:
            explorer.listeners.clear()
            explorer.stop()

    def _begin(self) -> None:
        """Build the open tab, whose choices the others take over."""
        self._wanted = self._explorer(self._open).chosen
        self._enter(self._wanted)

    def _explorer(self, number: int) -> Explorer:
        """Return the first explorer of a tab, which is built if it is not there yet."""
        if not self._built[number]:
            self._build(number)
        return self._built[number][0]

    def _build(self, number: int) -> Explorer:
        """Build an explorer of a tab, on what the page is about."""
        kind = list(EXPLORERS.values())[number]
        options = {"root": Path.cwd()} if kind is LiveEditor else {}
        explorer = kind(self._model, self._facts, **options)
        explorer.listeners.append(self._tell)
        self._built[number].append(explorer)
        return explorer

    def _show(self) -> None:
        """Show the explorer of the open tab, or two; a second one begins as the first one is."""
        of_tab = self._built[self._open]
        if self.beside.value and len(of_tab) == 1:
            self._build(self._open).choose(of_tab[0].chosen)
        columns, shown = self._columns[self._open], tuple(of_tab[: 1 + self.beside.value])
        if columns.children != shown:  # what is there already need not be drawn again
            columns.children = shown

    def _on_beside(self, _: object) -> None:
        self._show()
        self._tell()

    def _open_tab(self, name: str) -> Explorer:
        """Open a tab, and return its first explorer."""
        self.selected_index = list(EXPLORERS).index(name)
        return self._explorer(self._open)

    def _on_tab(self, _: object) -> None:
        self._take()
        self._open = self.selected_index or 0
        self._enter(self._wanted)

    def _enter(self, wanted: Mapping[str, Any]) -> None:
        """Let the open tab take over what was chosen."""
        self._entering = True
        try:
            explorer = self._explorer(self._open)
            self.state.note = explorer.choose(wanted)
            self._entered = explorer.chosen
            self._show()
        finally:
            self._entering = False
        self._tell()

    def _take(self) -> None:
        """Note what a reader has changed in the open tab.

        What the tab does not offer, and so did not take over, is still wanted in others.
        """
        chosen = self._explorer(self._open).chosen
        self._wanted |= {k: v for k, v in chosen.items() if v != self._entered.get(k)}
        self._entered = chosen

    def _on_address(self, _: object) -> None:
        """Show what the address asks for."""
        asked = {name: str(value) for name, value in self.state.asked.items()}
        names = [_short(name) for name in EXPLORERS]
        if asked.get("tab") in names:
            self.selected_index = names.index(asked["tab"])
        chosen: dict[str, Any] = {k: v for k, v in asked.items() if k not in ("tab", "number")}
        if "languages" in chosen:
            chosen["languages"] = tuple(filter(None, chosen["languages"].split(",")))
        explorer = self._explorer(self._open)
        self._enter({**self._wanted, **chosen})
        has, offered = explorer.chosen, explorer.common()
        self._wanted |= {k: v for k, v in chosen.items() if k not in offered or has.get(k) == v}
        self._tell()
        self.state.answered += 1

    def _tell(self) -> None:
        """Put what is chosen into the state of the page."""
        if self._entering:
            return
        self._take()
        chosen = {**self._entered, **self._wanted}
        self.state.chosen = {"tab": _short(list(EXPLORERS)[self._open]), **_as_text(chosen)}
        editors = [explorer for explorer in self.explorers if isinstance(explorer, LiveEditor)]
        self.state.unsaved = any(editor.unsaved for editor in editors)


def _short(title: str) -> str:
    return title.lower().replace(" ", "-")


def _as_text(chosen: Mapping[str, Any]) -> dict[str, str]:
    """What an address can say: no model that has no name."""
    texts = {
        name: ",".join(value) if isinstance(value, tuple) else value
        for name, value in chosen.items()
    }
    return {name: text for name, text in texts.items() if isinstance(text, str)}


def page(
    model: "TransformerBridge | str" = "embedded",
    facts: FactSet | None = None,
    *,
    root: Path | None = None,
) -> Page:
    """Return a tab for each explorer; an explorer is built when its tab is first opened.

    Edits are saved in folders inside the working folder. Models and files of facts may be opened
    from anywhere, or from inside `root`.
    """
    return Page(model, facts, root=root)
