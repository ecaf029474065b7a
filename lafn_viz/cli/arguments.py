"""What several commands take: files of facts, and a folder for results."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import lafn_viz as lv


def add_files(add: Callable[..., Any], *, dest: str = "file") -> None:
    """Add the option of one's own facts."""
    add(
        "--file", type=Path, nargs=2, metavar=("FACTS", "PARAPHRASES"), dest=dest,
        help="use your own facts, in two files of JSON lines (default: the embedded facts)",
    )  # fmt: skip


def facts_in(files: Sequence[Path] | None) -> "lv.FactSet":
    """The facts of two files, or else the embedded ones."""
    import lafn_viz as lv

    return lv.load_facts() if files is None else lv.load_facts(files[0], paraphrases=files[1])


def make_folder(out: Path) -> None:
    """Make the folder for results before minutes of work, and not after them."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"{out} cannot be a folder for results ({error.strerror}); give another with --out"
        ) from None
