"""The folders of the files that come with the package.

In a checkout, data/ and notebooks/ lie beside the package; in an installed package they lie inside
it. No other module asks where it is on the disk.
"""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


def is_installed() -> bool:
    """Whether the package runs from an installed wheel rather than a checkout."""
    return (PACKAGE / "data").is_dir()


def data_folder() -> Path:
    """Return the folder of the embedded facts and models."""
    return _home() / "data"


def notebooks_folder() -> Path:
    """Return the folder of the notebooks."""
    return _home() / "notebooks"


def _home() -> Path:
    return PACKAGE if is_installed() else PACKAGE.parent
