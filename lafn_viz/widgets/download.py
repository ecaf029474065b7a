"""Files that a reader of a page takes along: each is made when its button is clicked."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

from lafn_viz.widgets.html import script

if TYPE_CHECKING:
    import pandas as pd


class Download(anywidget.AnyWidget):
    """A button for a file. The page counts `asked` up, and `answer` gives the file.

    Args:
        label: what the button says.
        make: returns the file's name and content, or raises what is shown instead.
        guarded: wraps what runs at a click (`Explorer.guarded`).
    """

    _esm = script("saving.js", "download.js")

    label = traitlets.Unicode("").tag(sync=True)
    name = traitlets.Unicode("").tag(sync=True)
    content = traitlets.Bytes(b"").tag(sync=True)
    asked = traitlets.Int(0).tag(sync=True)
    answered = traitlets.Int(0).tag(sync=True)

    def __init__(
        self,
        label: str,
        make: Callable[[], tuple[str, bytes]],
        *,
        guarded: Callable[[Callable[[], None]], Callable[..., None]],
    ) -> None:
        super().__init__(label=label)
        self._make = make
        self.observe(guarded(self._answer), "asked")

    def _answer(self, *_: Any) -> None:
        with self.hold_sync():
            self.name, self.content = self._make()
            self.answered += 1


def csv_of(frame: "pd.DataFrame") -> bytes:
    """Return a table as a CSV file that spreadsheets read in any script."""
    return frame.to_csv(index=False).encode("utf-8-sig")
