"""What the pages show to be typed: their blocks in order, and the commands inside sentences."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Blocks that nobody types: data that a page describes, and directives of the site.
SHOWN = ("", "json", "nginx", "dockerfile")
SHELLS = ("sh", "bash", "shell", "console")
# A sentence that names one of these with an argument names a command.
PROGRAMS = (
    "lafn-viz", "make", "python", "pip", "conda", "ray", "jupyter", "quarto", "docker", "git",
    ".venv/bin/python", ".venv/bin/ruff",
)  # fmt: skip
_BLOCK = re.compile(r"^( *)```([^\n]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def pages() -> list[Path]:
    """The pages that people read: not the changelog, whose commands may be of the past."""
    found = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    for folder in ("docs", "data"):
        found += sorted((ROOT / folder).rglob("*.md"))
    # What is built from notebooks and figures is no page that someone wrote.
    built = re.compile(r"docs/(course/([0-9]|exercises)|gallery/figures)")
    return [page for page in found if not built.match(page.relative_to(ROOT).as_posix())]


def blocks(page: Path) -> list[tuple[str, str]]:
    """The language and text of each block of a page that is no directive."""
    found = _BLOCK.findall(page.read_text("utf-8"))
    return [(kind.strip(), text) for _, kind, text in found if not kind.startswith("{")]


def shell_lines(text: str) -> Iterator[str]:
    """The commands of a shell block, one a line, without comments."""
    for line in text.replace("\\\n", " ").splitlines():
        if shlex.split(line, comments=True):
            yield re.sub(r"\s+#.*", "", line).strip()


def commands(page: Path) -> list[str]:
    """Every command that a page names, in a block or in a sentence."""
    text = page.read_text("utf-8")
    named = [line for kind, block in blocks(page) if kind in SHELLS for line in shell_lines(block)]
    for code in re.findall(r"`([^`]+)`", _BLOCK.sub("", text)):
        code = " ".join(code.split())
        if code.split()[0] in PROGRAMS and " " in code:
            for part in re.split(r" && ", code):
                named += shell_lines(part)
    return named
