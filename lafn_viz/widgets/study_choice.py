"""A row in which a reader opens a model and facts of their own."""

from collections.abc import Callable
from pathlib import Path

import ipywidgets as w

from lafn_viz.core.files import inside
from lafn_viz.core.messages import counted, quoted
from lafn_viz.datasets.fact_files import load_facts
from lafn_viz.datasets.facts import FactSet
from lafn_viz.models.loading import resolve
from lafn_viz.models.packaged import installed_models
from lafn_viz.widgets.explorer import Status
from lafn_viz.widgets.html import row

N_OFFERED = 30  # folders and files that a field completes, at most
MODEL_FILE = "config.json"  # which every folder of a model holds


class StudyChoice(w.VBox):
    """Fields for a model and for files of facts and wordings; a button opens what is typed.

    Args:
        opened: takes the model's name or folder, and the facts; None for what shall stay.
        root: the folder in which all files have to lie; anywhere unless given.
    """

    def __init__(
        self, opened: Callable[[str | None, FactSet | None], None], *, root: Path | None = None
    ) -> None:
        self._opened, self.root = opened, root
        self.show = w.ToggleButton(
            value=False,
            description="Open a model or facts of yours",
            layout={"width": "auto", "align_self": "flex-start"},
        ).add_class("lafn-open-yours")
        self.model, self.facts, self.wordings = (
            w.Combobox(
                description=label, placeholder=example,
                layout={"width": "330px"}, style={"description_width": "75px"},
            ).add_class(f"lafn-open-{label.lower()}")
            for label, example in (
                ("Model", "a folder, or a name"),
                ("Facts", "facts.jsonl"),
                ("Wordings", "paraphrases.jsonl"),
            )
        )  # fmt: skip
        self.button = w.Button(description="Open").add_class("lafn-open")
        self.status = Status()
        self.fields = w.VBox(
            [row(self.model, self.facts, self.wordings, self.button), self.status],
            layout={"display": "none"},
        )
        self.show.observe(self._on_show, "value")
        self.button.on_click(self._on_click)
        super().__init__([self.show, self.fields])

    def _on_show(self, _: object) -> None:
        if self.show.value:  # only now: a working folder may be large
            files = _here(f"*/{MODEL_FILE}", f"*/*/{MODEL_FILE}")
            self.model.options = [*installed_models(), *(str(Path(file).parent) for file in files)]
            self.facts.options = self.wordings.options = _here("*.jsonl", "*/*.jsonl")
        self.fields.layout.display = "" if self.show.value else "none"

    def _on_click(self, _: object) -> None:
        try:
            model, facts = self._model(), self._facts()
            if model is None and facts is None:
                raise ValueError("nothing is typed; give a model, or a file of facts")
            self._opened(model, facts)
        except (ValueError, OSError) as error:
            self.status.say(str(error), error=True)
        else:
            opened = [] if model is None else [model]
            if facts is not None:
                opened.append(f"{counted(len(facts), 'fact')} of {self.facts.value.strip()}")
            self.status.say(f"Opened {' with '.join(opened)}.")

    def _model(self) -> str | None:
        """The model that is typed. Raises FileNotFoundError if there is none of that name."""
        name = self.model.value.strip()
        if not name or name in installed_models():
            return name or None
        if self.root is not None:
            name = str(self._inside(name))
        if not name.lower().endswith(".gguf"):  # it is converted where there is a progress bar
            resolve(name)
        return name

    def _facts(self) -> FactSet | None:
        """The facts that are typed. Raises FactError for what cannot be read as facts."""
        facts, wordings = self.facts.value.strip(), self.wordings.value.strip()
        if wordings and not facts:
            raise ValueError("wordings are given without facts; give the facts that they ask for")
        if not facts:
            return None
        return load_facts(
            self._inside(facts), paraphrases=self._inside(wordings) if wordings else None
        )

    def _inside(self, name: str) -> Path:
        """The path that is typed. Raises ValueError unless it lies inside `root`."""
        if self.root is None:
            return Path(name).expanduser()
        path = inside(self.root, name)
        if path is None:
            raise ValueError(
                f"{quoted(name)} is not inside the folder of this page, and others can reach the "
                "page; name a file there, or start lafn-viz app with --model or --file"
            )
        return path


def _here(*patterns: str) -> list[str]:
    """Files of the working folder, by name."""
    here = Path.cwd()
    files = [file for pattern in patterns for file in here.glob(pattern)]
    return sorted(str(file.relative_to(here)) for file in files)[:N_OFFERED]
