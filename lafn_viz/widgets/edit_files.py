"""The folder in which the edits of a page are saved, and from which edits are loaded."""

from pathlib import Path

import ipywidgets as w

from lafn_viz.core.messages import counted
from lafn_viz.editing.cache import EditCache
from lafn_viz.widgets.explorer import Status


class EditFiles(w.HBox):
    """A field for a folder, two buttons, and beside them a line that says what was done.

    Args:
        root: the folder in which all folders have to lie; anywhere unless given.
    """

    def __init__(self, root: Path | None) -> None:
        self.root = root
        self._own: Path | None = None  # the folder that holds the edits of this page
        self.path = w.Text(value="my_edits", description="Folder").add_class("lafn-path")
        self.save_button = w.Button(description="Save").add_class("lafn-save")
        self.load_button = w.Button(description="Load").add_class("lafn-load")
        self.status = Status().add_class("lafn-files-status")
        self.status.say("Nothing is saved or loaded yet.")
        super().__init__([self.path, self.save_button, self.load_button, self.status])
        self.add_class("lafn-row")

    def save(self, cache: EditCache) -> None:
        """Save edits in the folder that is typed.

        Raises:
            ValueError: without edits, or for a folder that is not allowed or holds others.
        """
        if not len(cache):
            raise ValueError("there is no edit to save; make one first")
        folder = self._folder()
        if (folder / "edits.json").exists() and folder != self._own:
            raise ValueError(f"{folder} holds other edits; load them first, or name another folder")
        cache.save(folder)
        self._own = folder
        self.status.say(f"Saved {cache!r} in {self.path.value.strip()}.")

    def load(self) -> EditCache:
        """Return the edits of the folder that is typed."""
        return EditCache.load(self._folder())

    def loaded(self, n_edits: int) -> None:
        """Take over the folder that is typed: its edits are now those of the page."""
        self._own = self._folder()
        self.status.say(f"Loaded {counted(n_edits, 'edit')} from {self.path.value.strip()}.")

    def _folder(self) -> Path:
        """Return the folder that is typed. Raises ValueError unless it lies inside `root`."""
        name = self.path.value.strip()
        if not name:
            raise ValueError("no folder is given; type the name of one")
        if self.root is None:
            return Path(name)
        folder = (self.root / name).resolve()
        if not folder.is_relative_to(self.root.resolve()) or folder == self.root.resolve():
            raise ValueError(f"{name!r} is not inside the folder of this page; give a plain name")
        return folder
