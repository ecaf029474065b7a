"""What all explorers share: the choice of a model, background work, the status line, languages."""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import ipywidgets as w
import traitlets

from lafn_viz.core.arguments import real, takes
from lafn_viz.core.messages import listed, quoted
from lafn_viz.datasets.arguments import Facts, as_facts
from lafn_viz.datasets.fact_files import load_facts
from lafn_viz.datasets.guessed_language import LanguageGuess
from lafn_viz.datasets.languages import language_name
from lafn_viz.models.calls import holds_a_model, require_model
from lafn_viz.models.capabilities import capabilities, weights_of
from lafn_viz.models.loading import load_model, resolve
from lafn_viz.models.packaged import installed_models, is_to_convert
from lafn_viz.models.remembered import structure_of
from lafn_viz.plots.style import language_colour
from lafn_viz.widgets.background import Task, Worker, release_threads
from lafn_viz.widgets.exported import COPIES, Kept
from lafn_viz.widgets.figure import FigureView
from lafn_viz.widgets.help import HELP, glossary
from lafn_viz.widgets.html import STATIC, class_name, row
from lafn_viz.widgets.python_code import PythonCode, beginning, joined

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

WORKER = Worker()  # shared by all explorers of a page


# By name: the model, and what it and its files were when it was loaded.
_LOADED: dict[str, tuple["TransformerBridge", Any]] = {}


def loaded(name: str) -> "TransformerBridge":
    """Load a model by its name, once for all explorers.

    It is loaded anew where its files have changed since, or the model itself: a user may reach it
    through an explorer.
    """
    if name not in _LOADED or _LOADED[name][1] != _state(name, _LOADED[name][0]):
        model = load_model(name)
        _LOADED[name] = model, _state(name, model)
    return _LOADED[name][0]


def _state(name: str, model: "TransformerBridge") -> tuple[Any, ...]:
    """What a model and its files are, to be compared with `==`."""
    source, is_local = resolve(name)
    files = sorted(Path(source).iterdir()) if is_local else []
    dates = [(file.name, file.stat().st_mtime_ns, file.stat().st_size) for file in files]
    return dates, structure_of(model), weights_of(model)


class Status(anywidget.AnyWidget):
    """One line of plain text that screen readers read out."""

    _esm = STATIC / "status.js"
    _css = STATIC / "explorer.css"

    text = traitlets.Unicode("").tag(sync=True)
    is_error = traitlets.Bool(False).tag(sync=True)
    help = traitlets.Dict(dict(HELP)).tag(sync=True)  # of the controls around it, by CSS class

    def say(self, text: str, *, error: bool = False) -> None:
        """Show a sentence in place of the last one."""
        with self.hold_sync():
            self.text, self.is_error = text, error
        COPIES.changed()

    def kept_html(self) -> str:
        """Return the line as HTML for an exported page."""
        return f"<p>{escape(self.text)}</p>"


class Explorer(Kept, w.VBox):
    """A column of controls and figures about one model and its facts.

    A subclass builds its controls, then calls `start`; `begin` runs when the model is loaded, and
    again when another is chosen. Work runs in the background by `submit`.

    Args:
        model: a loaded model, or the name of one (see `load_model`), which is loaded in the
            background.
        facts: the facts to choose from; the embedded ones unless given.
        title: the heading.
        about: what the explorer shows and how to use it, in a sentence or two.
        causal: offer no masked models.
    """

    def __init__(
        self,
        model: "TransformerBridge | str | Path",
        facts: Facts | None,
        *,
        title: str,
        about: str,
        causal: bool = False,
    ) -> None:
        require_model(model, or_name=True)
        chosen = load_facts().filter(leaking=False) if facts is None else as_facts(facts)
        super().__init__()
        model = str(model) if isinstance(model, Path) else model
        self.facts, self._facts_are_given = chosen, facts is not None
        self.model: TransformerBridge | None = None
        self.lock = threading.RLock()
        self.tasks: dict[str, Task] = {}
        self.views: tuple[FigureView, ...] = ()  # what is drawn of the model and the choices
        self.listeners: list[Callable[[], None]] = []  # called after each change of a control
        self._choosing: int | None = None  # the thread that sets controls, to act once at the end
        models: list[tuple[str, Any]] = [
            (name, name)
            for name in installed_models()
            if not (causal and name == "embedded-masked")
        ]
        if not isinstance(model, str):
            models = [("the model given", model), *models]
        elif model not in [name for name, _ in models]:
            models = [(model, model), *models]
        self.model_choice = w.Dropdown(
            options=models, value=model, description="Model", layout={"width": "260px"}
        )
        self.status = Status()
        self.bar = w.FloatProgress(min=0, max=1, layout={"width": "260px", "display": "none"})
        self.cancel = w.Button(description="Cancel", layout={"width": "90px", "display": "none"})
        self.progress = row(self.status, self.bar, self.cancel)
        self.python_code = PythonCode().add_class("lafn-python")
        self.python_code.observe(self.guarded(self._give_python), "asked")
        self.cancel.on_click(self.guarded(self.stop))
        self.heading = w.HTML(f"<h2>{escape(title)}</h2><p>{escape(about)}</p>{glossary()}")
        self.add_class("lafn-explorer")
        for name in ("model_choice", "bar", "cancel"):
            getattr(self, name).add_class(f"lafn-{name.replace('_', '-')}")

    def start(self) -> None:
        """Load the model that is chosen, then call `begin`."""
        self.model_choice.observe(self.guarded(self._load_model), "value")
        self._load_model()

    def begin(self) -> None:
        """Show the first result; called whenever a model has been loaded."""
        raise NotImplementedError

    def common(self) -> dict[str, Any]:
        """The controls, by name, that other tabs of a page have too; each has a `value`."""
        return {"model": self.model_choice}

    @property
    def chosen(self) -> dict[str, Any]:
        """The values of the common controls, but for those that are empty."""
        values = {name: control.value for name, control in self.common().items()}
        return {name: value for name, value in values.items() if value}

    def choose(self, wanted: Mapping[str, Any]) -> str:
        """Set the common controls, and show what they ask for.

        Names of other controls are ignored. A value that a control does not offer leaves it as it
        is.

        Returns:
            A sentence about values that are not offered; empty if all are.
        """
        refused, before = [], {}
        with self.lock:
            self._choosing = threading.get_ident()
            try:
                for name, control in self.common().items():
                    if name in wanted and control.value != wanted[name]:
                        before[name] = control.value
                        try:
                            control.value = wanted[name]
                        except (traitlets.TraitError, ValueError, KeyError):
                            refused.append(f"{name} {quoted(str(wanted[name]))}")
            finally:
                self._choosing = None
            changed = {name for name, was in before.items() if self.common()[name].value != was}
            if "model" in changed:
                self._load_model()
            elif changed and self.model is not None:
                self.guarded(self.follow)()
        return f"This tab does not offer {listed(refused)}." if refused else ""

    def follow(self) -> None:
        """Show what common controls ask for that were set from outside."""
        self.begin()

    def python(self) -> str:
        """Return Python that shows what the explorer shows.

        Raises:
            ValueError: if it shows nothing yet.
        """
        self.ready()
        lines = self._lines()
        if not lines:
            raise ValueError("nothing is shown yet; wait a moment, or choose something")
        begun = beginning(self.model_choice.value, facts_are_given=self._facts_are_given)
        return joined([*begun, "", *lines], imports=self._imports())

    def guessed_language(self, text: str) -> str:
        """The likeliest language of a typed text, among those of the facts."""
        return self._guess(text) or self.facts.languages[0]

    @cached_property
    def _guess(self) -> LanguageGuess:
        return LanguageGuess(self.facts)

    def _lines(self) -> list[str]:
        """The lines of `python` after model and facts; none if nothing is shown."""
        raise NotImplementedError

    def _imports(self) -> list[str]:
        """What `_lines` need besides lafn_viz."""
        return []

    def _corpus(self, code: str) -> list[str]:
        """The option `corpus` of an attribution as code, for models that need it."""
        return [code] if capabilities(self.ready()).scale_invariant else []

    def _give_python(self) -> None:
        self.python_code.answer(self.python())

    def _load_model(self) -> None:
        chosen = self.model_choice.value

        def compute(task: Task) -> "TransformerBridge":
            first = isinstance(chosen, str) and is_to_convert(chosen)
            task.step(0.0, f"{'Converting' if first else 'Loading'} the model")
            model = loaded(chosen) if isinstance(chosen, str) else chosen
            # `begin` asks for it under the explorer's lock, where it should not wait for others.
            weights_of(model)
            return model

        def show(model: "TransformerBridge") -> None:
            self.model = model
            self.begin()

        # Until the chosen model is there, nothing may be computed with the last one.
        self.model = None
        self.outdate()
        self.stop()
        self.submit("model", compute, show)

    def outdate(self) -> None:
        """Mark what is drawn as not of what is chosen now, until it is drawn anew."""
        for view in self.views:
            view.outdate()

    def ready(self) -> "TransformerBridge":
        """Return the model that is chosen. Raises ValueError until it is loaded."""
        if self.model is None:
            if not self.waiting("model"):  # loading was cancelled or failed: try again
                self._load_model()
            raise ValueError("the model is not loaded yet; wait a moment, or choose another")
        return self.model

    def submit(
        self, lane: str, compute: Callable[[Task], Any], show: Callable[[Any], None]
    ) -> None:
        """Run `compute` in the background, then `show` its result, under the lock.

        Cancels what was submitted before on this lane. Where `compute` is a generator that yields,
        other tasks go first (see `Worker.submit`).
        """
        self.drop(lane)

        def show_unless_cancelled(result: Any, task: Task) -> None:
            # A new submission cancels the old one under the same lock: an old result can never be
            # drawn after a new one.
            with self.lock:
                if not task.cancelled:
                    self._hide_progress()
                    show(result)
                    self._tell()

        if WORKER.busy:
            self._show_progress(0.0, "Waiting")
        self.tasks[lane] = WORKER.submit(
            compute,
            show=show_unless_cancelled,
            progress=self._show_progress,
            failed=self.show_error,
        )

    def _tell(self) -> None:
        for listener in self.listeners:
            listener()

    def drop(self, lane: str) -> None:
        """Cancel what was submitted on a lane."""
        if lane in self.tasks:
            self.tasks[lane].cancel()

    def waiting(self, lane: str) -> bool:
        """Whether the result of what was submitted on a lane is still to come."""
        task = self.tasks.get(lane)
        return task is not None and not task.cancelled and not task.finished.done()

    def stop(self) -> None:
        """Cancel the work on all lanes."""
        busy = [task for task in list(self.tasks.values()) if not task.finished.done()]
        for task in busy:
            task.cancel()
        if busy:
            self._hide_progress()
            self.status.say("Cancelled.")

    @takes(seconds=real(above=0))
    def wait(self, seconds: float = 120) -> None:
        """Block until all work is done (for scripts and tests).

        Raises:
            RuntimeError: in a block in which this thread keeps the model for itself: there the work
                waits for the end of the block, and so would the block for the work.
        """
        if holds_a_model() and any(not task.finished.done() for task in list(self.tasks.values())):
            raise RuntimeError(
                "the explorer waits for the end of this block, in which the weights of a model are "
                "changed; call wait() after the block"
            )
        while busy := [task for task in list(self.tasks.values()) if not task.finished.done()]:
            busy[0].finished.result(seconds)

    def _show_progress(self, share: float, message: str) -> None:
        self.bar.layout.display = self.cancel.layout.display = ""
        self.bar.value = share
        if message:
            self.status.say(f"{message} …")

    def _hide_progress(self) -> None:
        self.bar.layout.display = self.cancel.layout.display = "none"

    def show_error(self, error: Exception, *, at: Status | None = None) -> None:
        """Show what went wrong in the status line, or in another line."""
        if at is None:
            self._hide_progress()
        is_explained = isinstance(error, (ValueError, KeyError, OSError))
        text = str(error.args[0]) if isinstance(error, KeyError) else str(error)
        line = self.status if at is None else at
        line.say(text if is_explained else f"{type(error).__name__}: {text}", error=True)

    def guarded(
        self, handler: Callable[[], None], *, at: Status | None = None
    ) -> Callable[..., None]:
        """Return a callback for a control: it runs `handler` under the lock, and shows errors.

        Args:
            at: the line beside the control, where errors are shown; the status line by default.
        """

        def run(*_: Any) -> None:
            if self._choosing == threading.get_ident():
                return
            try:
                with self.lock:
                    handler()
            except Exception as error:
                self.show_error(error, at=at)
            release_threads()
            COPIES.changed()
            self._tell()

        return run


class Languages(w.HBox):
    """A check box for each language, in the language's colour."""

    def __init__(self, languages: Sequence[str], changed: Callable[..., None]) -> None:
        self.boxes = {
            code: w.Checkbox(
                value=True, description=language_name(code), indent=False, layout={"width": "auto"}
            )
            for code in languages
        }
        rules = []
        for code, box in self.boxes.items():
            name = f"lafn-language-{class_name(code)}"
            box.add_class("lafn-language").add_class(name)
            box.observe(changed, "value")
            rules.append(f".{name} {{ --lafn-colour: {language_colour(code)}; }}")
        super().__init__([*self.boxes.values(), w.HTML(f"<style>{' '.join(rules)}</style>")])
        self.add_class("lafn-row").add_class("lafn-languages")

    @property
    def value(self) -> tuple[str, ...]:
        """The codes of the languages that are checked.

        Setting it checks those that are offered. Raises ValueError if none of them is.
        """
        return tuple(code for code, box in self.boxes.items() if box.value)

    @value.setter
    def value(self, codes: Iterable[str]) -> None:
        checked = set(codes) & self.boxes.keys()
        if not checked:
            raise ValueError("no language is checked; check at least one")
        for code, box in self.boxes.items():
            box.value = code in checked
