"""What a page of explorers shows, in its address: a reload or a sent link shows the same."""

import anywidget
import traitlets

from lafn_viz.widgets.html import STATIC


class PageState(anywidget.AnyWidget):
    """Keeps the address of the page, and tells of unsaved edits and of a lost kernel.

    `chosen` is what the address says, and `asked` what it said when it was opened or changed by
    hand, with a number that grows, as does `answered` when that is shown. `note` is a sentence
    about what cannot be shown of it, and `unsaved` whether the page holds edits that are saved
    nowhere.
    """

    _esm = STATIC / "page_state.js"
    _css = STATIC / "explorer.css"

    chosen = traitlets.Dict(value_trait=traitlets.Unicode()).tag(sync=True)
    asked = traitlets.Dict().tag(sync=True)
    answered = traitlets.Int(0).tag(sync=True)
    note = traitlets.Unicode("").tag(sync=True)
    unsaved = traitlets.Bool(False).tag(sync=True)
