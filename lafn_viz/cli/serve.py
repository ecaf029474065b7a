"""`lafn-viz lab` and `app`: the notebooks and the explorers, served on this computer."""

import argparse
import sys
from pathlib import Path
from typing import Any

from lafn_viz.app.addresses import others_can_read
from lafn_viz.app.serving import APP_PORT, LAB_PORT
from lafn_viz.cli.arguments import add_files


def add_lab(commands: Any) -> None:
    """Add `lafn-viz lab`."""
    lab = commands.add_parser("lab", help="open the notebooks in JupyterLab")
    lab.add_argument(
        "folder", type=Path, nargs="?",
        help="copy the notebooks to this folder and open them there; existing files are kept "
        "(default: the notebooks of this checkout, or copies in ./lafn_viz_notebooks)",
    )  # fmt: skip
    lab.add_argument("--model", help="name or folder of a model to explore, in a new notebook")
    add_files(lab.add_argument, dest="files")
    _add_server_options(lab, usual_port=LAB_PORT)
    lab.add_argument("--allow-root", action="store_true", help="let JupyterLab run as root")
    lab.set_defaults(run=_lab)


def _lab(**options: Any) -> int:
    from lafn_viz.app.serving import serve_lab

    # JupyterLab prints its address with the token to this stream.
    serve_lab(**options, show_token=not others_can_read(sys.stderr), say=_say)
    return 0


def add_app(commands: Any) -> None:
    """Add `lafn-viz app`."""
    app = commands.add_parser("app", help="serve the explorers as one page")
    _add_server_options(app, usual_port=APP_PORT)
    add = app.add_argument
    add("--model", default="embedded", help="name or folder of the first model (default: embedded)")
    add_files(add, dest="files")
    add(
        "--no-token", dest="token", action="store_false",
        help="let in anyone who can reach the page, also other users of this computer",
    )  # fmt: skip
    add(
        "--theme", choices=("auto", "light", "dark"), default="auto",
        help="colours (default: as the system has them)",
    )  # fmt: skip
    app.set_defaults(run=_app)


def _app(**options: Any) -> int:
    from lafn_viz.app.serving import serve_app

    serve_app(**options, show_token=not others_can_read(sys.stdout), say=_say)
    return 0


def _add_server_options(command: argparse.ArgumentParser, *, usual_port: int) -> None:
    add = command.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default: this computer alone)")
    add(
        "--port", type=int,
        help=f"port to listen on; 0 takes a free one (default: {usual_port}, or a free one)",
    )  # fmt: skip
    add(
        "--base-url", default="/", metavar="PATH",
        help="path of the first page, for a proxy that passes it on unchanged (default: /)",
    )  # fmt: skip
    add(
        "--allow-host", action="append", dest="allow_hosts", default=[], metavar="NAME",
        help="also answer requests for this host name, such as that of a proxy; repeat it for "
        "several names",
    )  # fmt: skip
    add(
        "--no-browser", dest="browser", action="store_false",
        help="print the address without opening a browser",
    )  # fmt: skip


def _say(line: str) -> None:
    print(line, flush=True)
