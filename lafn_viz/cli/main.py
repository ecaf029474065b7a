"""`lafn-viz`: read the command line and run one command."""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any

from lafn_viz.cli.edit import add_edit
from lafn_viz.cli.pages import add_atlas, add_report
from lafn_viz.cli.serve import add_app, add_lab
from lafn_viz.cli.studies import add_demo, add_evidence, add_gallery
from lafn_viz.cli.sweep import add_sweep
from lafn_viz.core.provenance import PACKAGE_VERSION

# Each adds a parser, whose default `run` is the function that the command calls.
COMMANDS: tuple[Callable[[Any], None], ...] = (
    add_demo,
    add_edit,
    add_evidence,
    add_gallery,
    add_sweep,
    add_report,
    add_atlas,
    add_lab,
    add_app,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; input that cannot be used is answered with one sentence and exit code 2."""
    parser = argparse.ArgumentParser(
        prog="lafn-viz",
        description="Find, show and edit the neurons in which a language model keeps its facts.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {PACKAGE_VERSION}")
    commands = parser.add_subparsers(dest="command", required=True)
    for add in COMMANDS:
        add(commands)
    options = vars(parser.parse_args(arguments))
    del options["command"]
    run: Callable[..., int] = options.pop("run")
    try:
        return run(**options)
    except (ValueError, FileNotFoundError, FileExistsError, ImportError) as error:
        print(f"lafn-viz: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    raise SystemExit(main())
