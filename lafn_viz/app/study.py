"""What the page of all explorers is about, handed from the command to the page's own process.

Voilà starts a process for each reader, which inherits only the environment.
"""

import json
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lafn_viz.datasets.fact_files import load_facts
from lafn_viz.models.loading import PACKAGED, resolve

if TYPE_CHECKING:
    import ipywidgets as w

VARIABLE = "LAFN_VIZ_STUDY"


@dataclass(frozen=True)
class Study:
    """A model by its name or folder, and files of facts and paraphrases: none for embedded ones.

    `shared` says that readers other than the person at this computer may reach the page. They open
    no files from outside the working folder.
    """

    model: str = "embedded"
    files: tuple[str, ...] = ()
    shared: bool = False

    @classmethod
    def of(cls, model: str, files: Sequence[Path] | None, *, shared: bool = False) -> "Study":
        """Return a study after a look at its files, with paths that hold in every folder.

        Raises:
            FileNotFoundError: for a model or a file that is not there.
            FactError: for a record that cannot be used.
        """
        if files:
            facts, paraphrases = files
            load_facts(facts, paraphrases=paraphrases)
        source, is_folder = resolve(model)
        if is_folder and model not in PACKAGED:
            model = str(Path(source).resolve())
        return cls(model, tuple(str(Path(file).resolve()) for file in files or ()), shared)

    def hand_over(self, environment: MutableMapping[str, str]) -> None:
        """Put the study where `taken_from` finds it."""
        environment[VARIABLE] = json.dumps(asdict(self))

    @classmethod
    def taken_from(cls, environment: Mapping[str, str]) -> "Study":
        """Return the study of an environment; the usual one where there is none."""
        given = json.loads(environment.get(VARIABLE, "{}"))
        return cls(**given | {"files": tuple(given.get("files", ()))})

    def notebook(self) -> str:
        """Return a notebook, as its file's text, that shows all explorers on this study."""
        import nbformat
        from nbformat.v4 import new_code_cell, new_notebook

        facts = ""
        if self.files:
            given, paraphrases = self.files
            facts = f",\n    lv.load_facts({given!r}, paraphrases={paraphrases!r}),\n"
        code = (
            "import lafn_viz as lv\nfrom lafn_viz.widgets import page\n\n"
            f"page({self.model!r}{facts})"
        )
        kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
        # The same study gives the same text: a cell would get a random name.
        book = new_notebook(
            cells=[new_code_cell(code, id="explore")], metadata={"kernelspec": kernel}
        )
        return str(nbformat.writes(book)) + "\n"

    def page(self) -> "w.VBox":
        """Return the page of all explorers, with its state, which keeps the address."""
        import ipywidgets as w

        from lafn_viz.widgets import page

        facts = None
        if self.files:
            facts = load_facts(self.files[0], paraphrases=self.files[1])
        tabs = page(self.model, facts, root=Path.cwd() if self.shared else None)
        return w.VBox([tabs.state, tabs])
