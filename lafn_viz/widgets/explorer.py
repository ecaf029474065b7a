"""What all explorers share: models, background work, the status line, tables that escape."""

import functools
import threading
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import ipywidgets as w
import traitlets

from lafn_viz.datasets.facts import FactSet, load_facts
from lafn_viz.datasets.languages import language_name
from lafn_viz.plots.style import language_colour
from lafn_viz.widgets.background import Task, Worker
from lafn_viz.widgets.figure import STATIC
from lafn_viz.widgets.html import _plain, row

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

MODELS = ("embedded", "embedded-control", "embedded-masked")
WORKER = Worker()  # one for all explorers of a page


@functools.cache
def loaded(name: str) -> "TransformerBridge":
    """A model by its name, loaded once for all explorers."""
    from lafn_viz.models.loading import load_model

    return load_model(name)


class Status(anywidget.AnyWidget):
    """One line of plain text that screen readers read out."""

    _esm = STATIC / "status.js"
    _css = STATIC / "explorer.css"

    text = traitlets.Unicode("").tag(sync=True)
    is_error = traitlets.Bool(False).tag(sync=True)

    def say(self, text: str, *, error: bool = False) -> None:
        """Put a sentence in place of the last."""
        with self.hold_sync():
            self.text, self.is_error = text, error


class Explorer(w.VBox):
    """A column of controls and figures about one model and its facts.

    Args:
        model: one that is loaded, or a name (see `load_model`); it is loaded in the background.
        facts: to choose from; the embedded ones unless given.
        title: what it is, in a few words, and `about`: what to do with it.
    """

    def __init__(
        self,
        model: "TransformerBridge | str | Path",
        facts: FactSet | None,
        *,
        title: str,
        about: str,
        causal: bool = False,
    ) -> None:
        super().__init__()
        model = str(model) if isinstance(model, Path) else model
        self.facts = load_facts().filter(leaking=False) if facts is None else facts
        self.model: TransformerBridge | None = None
        self.lock = threading.RLock()
        self.tasks: dict[str, Task] = {}
        names: list[tuple[str, Any]] = [
            (x, x) for x in MODELS if not (causal and x == "embedded-masked")
        ]
        if not isinstance(model, str):
            names = [("the model given", model), *names]
        elif model not in [name for name, _ in names]:
            names = [(model, model), *names]
        self.model_choice = w.Dropdown(
            options=names, value=model, description="Model", layout={"width": "260px"}
        )
        self.status = Status()
        self.bar = w.FloatProgress(min=0, max=1, layout={"width": "260px", "display": "none"})
        self.cancel = w.Button(description="Cancel", layout={"width": "90px", "display": "none"})
        self.progress = row(self.status, self.bar, self.cancel)
        self.cancel.on_click(self.guarded(self.stop))
        self.heading = w.HTML(f"<h2>{escape(title)}</h2><p>{escape(about)}</p>")
        self.add_class("lafn-explorer")
        for name in ("model_choice", "bar", "cancel"):
            getattr(self, name).add_class(f"lafn-{name.replace('_', '-')}")

    def start(self) -> None:
        """Load the model that is chosen, then `begin`."""
        self.model_choice.observe(self.guarded(self._load_model), "value")
        self._load_model()

    def begin(self) -> None:
        """What to do once a model is there."""
        raise NotImplementedError

    def _load_model(self) -> None:
        chosen = self.model_choice.value

        def compute(task: Task) -> "TransformerBridge":
            task.step(0.0, "Loading the model")
            return loaded(chosen) if isinstance(chosen, str) else chosen

        def then(model: "TransformerBridge") -> None:
            self.model = model
            self.begin()

        self.model = None  # nothing is computed by another than the list names
        self.stop()
        self.ask("model", compute, then)

    def ready(self) -> "TransformerBridge":
        """The model that the list names. Raises ValueError until it is loaded."""
        if self.model is None:
            if not self.waiting("model"):  # cancelled, or failed: this is another try
                self._load_model()
            raise ValueError("the model is not loaded yet; wait a moment, or choose another")
        return self.model

    def ask(self, lane: str, compute: Callable[[Task], Any], then: Callable[[Any], None]) -> None:
        """Compute in the background, then show; what was asked before on this lane is dropped."""
        self.drop(lane)

        def shown(found: Any, task: Task) -> None:
            # Whoever cancels holds the lock too: nothing old comes after something new.
            with self.lock:
                if not task.cancelled:
                    self._idle()
                    then(found)

        if WORKER.busy:
            self._progress(0.0, "Waiting")
        self.tasks[lane] = WORKER.submit(
            compute, then=shown, progress=self._progress, failed=self.tell
        )

    def drop(self, lane: str) -> None:
        """Nobody waits any more for what was asked on a lane."""
        if lane in self.tasks:
            self.tasks[lane].cancel()

    def waiting(self, lane: str) -> bool:
        """Whether something that was asked for on a lane is still to come."""
        task = self.tasks.get(lane)
        return task is not None and not task.cancelled and not task.finished.done()

    def stop(self) -> None:
        """Drop all work that was asked for."""
        busy = [task for task in list(self.tasks.values()) if not task.finished.done()]
        for task in busy:
            task.cancel()
        if busy:
            self._idle()
            self.status.say("Cancelled.")

    def wait(self, seconds: float = 120) -> None:
        """Until all work is done (for scripts and tests)."""
        while busy := [task for task in list(self.tasks.values()) if not task.finished.done()]:
            busy[0].finished.result(seconds)

    def _progress(self, share: float, told: str) -> None:
        self.bar.layout.display = self.cancel.layout.display = ""
        self.bar.value = share
        self.status.say(f"{told} …")

    def _idle(self) -> None:
        self.bar.layout.display = self.cancel.layout.display = "none"

    def tell(self, error: Exception) -> None:
        """Say in place what went wrong."""
        self._idle()
        known = isinstance(error, (ValueError, KeyError, OSError))
        text = str(error.args[0]) if isinstance(error, KeyError) else str(error)
        self.status.say(text if known else f"{type(error).__name__}: {text}", error=True)

    def guarded(self, handler: Callable[[], None]) -> Callable[..., None]:
        """A callback of a control that says its errors in place."""

        def run(*_: Any) -> None:
            try:
                with self.lock:
                    handler()
            except Exception as error:
                self.tell(error)

        return run


class Languages(w.HBox):
    """A check box a language, in the language's colour."""

    def __init__(self, languages: Sequence[str], changed: Callable[..., None]) -> None:
        self.boxes = {
            code: w.Checkbox(
                value=True, description=language_name(code), indent=False, layout={"width": "auto"}
            )
            for code in languages
        }
        rules = []
        for code, box in self.boxes.items():
            box.add_class("lafn-language").add_class(f"lafn-language-{_plain(code)}")
            box.observe(changed, "value")
            colour = language_colour(code)
            rules.append(f".lafn-language-{_plain(code)} {{ --lafn-colour: {colour}; }}")
        super().__init__([w.HTML(f"<style>{' '.join(rules)}</style>"), *self.boxes.values()])
        self.add_class("lafn-row").add_class("lafn-languages")

    @property
    def chosen(self) -> tuple[str, ...]:
        """The codes that are checked."""
        return tuple(code for code, box in self.boxes.items() if box.value)
