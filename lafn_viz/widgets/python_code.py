"""The Python that shows what an explorer shows, to go on with in a script or a notebook."""

from collections.abc import Iterable
from typing import Any

import anywidget
import traitlets

from lafn_viz.widgets.html import STATIC

OTHER_FACTS = "from lafn_viz.experiments.stages import corpus_of_others"
OWN = "...  # the {} that the explorer was given"


class PythonCode(anywidget.AnyWidget):
    """A button that copies code. The page counts `asked` up, and `answer` gives the code."""

    _esm = STATIC / "python_code.js"
    _css = STATIC / "explorer.css"

    code = traitlets.Unicode("").tag(sync=True)
    asked = traitlets.Int(0).tag(sync=True)
    answered = traitlets.Int(0).tag(sync=True)

    def answer(self, code: str) -> None:
        """Give the code that was asked for, which may be the same as before."""
        with self.hold_sync():
            self.code = code
            self.answered += 1


def beginning(model: Any, *, facts_are_given: bool) -> list[str]:
    """The first lines of every code: the model, if it has a name, and the facts."""
    loaded = f"lv.load_model({model!r})" if isinstance(model, str) else OWN.format("model")
    facts = OWN.format("facts") if facts_are_given else "lv.load_facts().filter(leaking=False)"
    return ["import lafn_viz as lv", "", f"model = {loaded}", f"facts = {facts}"]


def call(function: str, *arguments: str, **options: Any) -> str:
    """A call as code: arguments are code already, options are values. Unset ones are left out."""
    given = [f"{name}={value!r}" for name, value in options.items() if value is not None]
    return f"{function}({', '.join([*arguments, *given])})"


def joined(lines: Iterable[str], *, imports: Iterable[str] = ()) -> str:
    """Code of these lines, with further imports before the others."""
    before = list(imports)
    return "\n".join([*before, *([""] if before else []), *lines]) + "\n"
