"""Edits of a page as files: in a folder of this computer, or one file that the browser keeps."""

import io
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ipywidgets as w

from lafn_viz.core.files import inside
from lafn_viz.core.messages import counted, quoted
from lafn_viz.editing.cache import EditCache
from lafn_viz.editing.cache_files import EDITS, VALUES
from lafn_viz.editing.edit import EditError
from lafn_viz.widgets.download import Download
from lafn_viz.widgets.explorer import Status
from lafn_viz.widgets.html import row

LARGEST = 256 * 2**20  # bytes of an uploaded file, unpacked


class EditFiles(w.VBox):
    """A field for a folder with its buttons, two for a file, and a line that says what was done.

    Args:
        root: the folder in which all folders have to lie; anywhere unless given.
        edits: gives the edits of the page.
        guarded: wraps what runs at a click (`Explorer.guarded`).
    """

    def __init__(
        self,
        root: Path | None,
        *,
        edits: Callable[[], EditCache],
        guarded: Callable[..., Callable[..., None]],
    ) -> None:
        self.root, self._edits = root, edits
        self._own: Path | None = None  # the folder that holds the edits of this page
        self.path = w.Text(value="my_edits", description="Folder").add_class("lafn-path")
        self.save_button = w.Button(description="Save").add_class("lafn-save")
        self.load_button = w.Button(description="Load").add_class("lafn-load")
        self.status = Status().add_class("lafn-files-status")
        self.status.say("Nothing is saved or loaded yet.")
        self.download = Download(
            "Download", self._packed, guarded=lambda handler: guarded(handler, at=self.status)
        ).add_class("lafn-download-edits")
        self.upload = w.FileUpload(
            accept=".zip", description="Upload", layout={"width": "110px"}
        ).add_class("lafn-upload-edits")
        super().__init__(
            [
                row(self.path, self.save_button, self.load_button),
                row(w.HTML("or as a file"), self.download, self.upload, self.status),
            ]
        )

    def save(self, cache: EditCache) -> None:
        """Save edits in the folder that is typed.

        Raises:
            ValueError: without edits, or for a folder that is not allowed or holds others.
        """
        _require_edits(cache)
        folder = self._folder()
        if (folder / EDITS).exists() and folder != self._own:
            raise ValueError(f"{folder} holds other edits; load them first, or name another folder")
        cache.save(folder)
        self._own = folder
        self.status.say(f"Saved {cache!r} in {self.path.value.strip()}.")

    def load(self) -> EditCache:
        """Return the edits of the folder that is typed."""
        return EditCache.load(self._folder())

    def loaded(self, n_edits: int, name: str | None = None) -> None:
        """Say where the edits of the page are from: the folder that is typed, or a file.

        The folder now holds the edits of the page, which may be saved there again.
        """
        if name is None:
            self._own, name = self._folder(), self.path.value.strip()
        self.status.say(f"Loaded {counted(n_edits, 'edit')} from {name}.")

    def uploaded(self) -> tuple[str, EditCache] | None:
        """Return the name and the edits of a file that was uploaded; None if there is none.

        Raises:
            ValueError: for a file that holds no edits.
        """
        if not self.upload.value:
            return None
        (file,) = self.upload.value
        self.upload.value = ()  # the same file may come again
        return file["name"], unpacked(file["name"], bytes(file["content"]))

    def _packed(self) -> tuple[str, bytes]:
        cache = self._edits()
        content = packed(cache)
        self.status.say(f"Gave {cache!r} to the browser.")
        return "edits.zip", content

    def _folder(self) -> Path:
        """Return the folder that is typed. Raises ValueError unless it lies inside `root`."""
        name = self.path.value.strip()
        if not name:
            raise ValueError("no folder is given; type the name of one")
        if self.root is None:
            return Path(name).expanduser()
        folder = inside(self.root, name)
        if folder in (None, self.root.resolve()):
            raise ValueError(f"{name!r} is not inside the folder of this page; give a plain name")
        return folder


def packed(cache: EditCache) -> bytes:
    """Return edits as one zip file, which holds the files of `EditCache.save`.

    Raises:
        ValueError: without edits.
    """
    _require_edits(cache)
    content = io.BytesIO()
    with TemporaryDirectory() as folder, zipfile.ZipFile(content, "w") as archive:
        saved = Path(folder) / "edits"
        cache.save(saved)
        for name in (EDITS, VALUES):
            archive.write(saved / name, name, zipfile.ZIP_DEFLATED)
    return content.getvalue()


def unpacked(name: str, content: bytes) -> EditCache:
    """Return the edits of a zip file that `packed` made; `name` is said in errors.

    Raises:
        ValueError: for any other file.
    """
    wanted = f"{quoted(name)} holds no edits ({{}}); upload a file that “Download” gave"
    unreadable: Any = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)
    with TemporaryDirectory() as folder:
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                files = {info.filename: info.file_size for info in archive.infolist()}
                if set(files) != {EDITS, VALUES}:
                    raise ValueError(wanted.format(f"a zip file without {EDITS} and {VALUES}"))
                if sum(files.values()) > LARGEST:
                    raise ValueError(wanted.format(f"more than {LARGEST >> 20} MB"))
                for part in files:
                    (Path(folder) / part).write_bytes(archive.read(part))
        except unreadable:
            raise ValueError(wanted.format("no zip file, or a damaged one")) from None
        try:
            return EditCache.load(folder)
        except EditError as error:  # it names the files where they were unpacked
            raise ValueError(str(error).replace(folder, name)) from None


def _require_edits(cache: EditCache) -> None:
    if not len(cache):
        raise ValueError("there is no edit to save; make one first")
