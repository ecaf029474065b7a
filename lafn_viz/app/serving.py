"""Serve the notebooks in JupyterLab, and the explorers as one page.

1. The **notebooks** are in `notebooks/` of a checkout. An installed package contains copies, which
   are written to a folder of the user before they are opened; existing files are kept.
2. The **page** is the short notebook `app/app.ipynb`, served by Voilà with the package's own
   template (`voila_page`): the page loads nothing from other machines, and a reader cannot run code
   (Voilà passes only widget messages to the kernel).
3. By default the page answers on this computer only, and only to a random token. Without a token,
   it still refuses host names that are not this computer's, so that a web page cannot reach it
   under a host name of its own (DNS rebinding). Behind a proxy it answers the names given.
4. The token is told to the person who starts the server, and to nobody else: no log that others
   may read holds it.

Each open page has its own Python process, which ends when the page is closed.
"""

import html
import importlib.util
import logging
import os
import secrets
import shutil
import socket
import tempfile
import webbrowser
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from urllib.parse import quote

from lafn_viz.app.addresses import LOCAL, Address, choose_address, write_private
from lafn_viz.app.study import Study
from lafn_viz.app.voila_page import Theme, run_page
from lafn_viz.core.paths import is_installed, notebooks_folder

LOG = logging.getLogger(__name__)
APP_PORT = 8866
LAB_PORT = 8888
TOKEN = "LAFN_VIZ_TOKEN"  # the environment variable


def shipped_notebooks() -> list[Path]:
    """Return the notebooks that come with the package: those for students, then the solutions."""
    paths = notebooks_folder().rglob("*.ipynb")
    return sorted(path for path in paths if ".ipynb_checkpoints" not in path.parts)


def copy_notebooks(folder: Path) -> list[Path]:
    """Copy the notebooks into a folder and return the copies written; existing files are kept.

    Raises:
        ValueError: if the folder cannot be made or written to.
    """
    written, source = [], notebooks_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for notebook in shipped_notebooks():
            copy = folder / notebook.relative_to(source)
            copy.parent.mkdir(exist_ok=True)
            if not copy.exists():
                shutil.copyfile(notebook, copy)
                written.append(copy)
    except OSError as error:
        raise ValueError(
            f"the notebooks cannot be copied to {str(folder)!r} ({error.strerror}); "
            "name a folder that you may write to"
        ) from None
    return written


def notebooks_to_open(folder: Path | None = None) -> Path:
    """Return the folder to work in: `folder` with copies, else the checkout's, else a new one.

    Raises:
        ValueError: if copies cannot be written.
    """
    if folder is None and not is_installed():
        return notebooks_folder()
    folder = Path("lafn_viz_notebooks") if folder is None else folder
    copy_notebooks(folder)
    return folder


def first_notebook(folder: Path, study: Study | None = None) -> str:
    """Return the name of the notebook to open first.

    It is the course's first one, or for a study a notebook that shows all explorers on its model
    and facts, which is written here. A file that is there already is kept.
    """
    if study is None:
        names = sorted(path.name for path in folder.glob("*.ipynb"))
        return names[0] if names else ""
    text = study.notebook().encode()
    path = next(
        path
        for number in count(1)
        if not (path := folder / f"my_study{f'_{number}' if number > 1 else ''}.ipynb").exists()
        or path.read_bytes() == text
    )
    path.write_bytes(text)
    return path.name


def serve_lab(
    folder: Path | None = None,
    *,
    model: str | None = None,
    files: Sequence[Path] | None = None,
    host: str = LOCAL,
    port: int | None = None,
    base_url: str = "/",
    allow_hosts: Sequence[str] = (),
    allow_root: bool = False,
    browser: bool = True,
    show_token: bool = True,
    say: Callable[[str], object] = LOG.info,
) -> None:
    """Open the notebooks in JupyterLab, and return when it is stopped (Ctrl-C).

    Args:
        folder: the folder for copies of the notebooks; see `notebooks_to_open`.
        model, files: what to explore first, as for `serve_app`, in a notebook of its own; the
            course's first notebook opens unless one of them is given.
        host: the address to listen on; "0.0.0.0" is every network this computer is in.
        port: the port to listen on; by default 8888, or a free one if that is taken; 0 for a free
            one.
        base_url: the path of the first page, for a proxy that keeps a prefix.
        allow_hosts: names that a proxy asks for, besides this computer's own.
        allow_root: whether JupyterLab may run as root.
        browser: whether to open a browser. The address is printed either way.
        show_token: whether JupyterLab may print its token; otherwise a private file holds it.
        say: called with a line that names that file.

    Raises:
        ValueError: for a port, host, path or name that cannot be used, for a folder that cannot be
            written to, as root unless that is allowed, or if JupyterLab is not installed.
        FileNotFoundError: for a model or a file that is not there.
        FactError: for a record of the files that cannot be used.
    """
    _require_installed("jupyterlab", "ipywidgets", "anywidget")
    if _is_root() and not allow_root:
        raise ValueError(
            "JupyterLab does not run as root; run it as another user, or add --allow-root if "
            "nobody else can reach it"
        )
    study = Study.of(model or "embedded", files) if model or files else None
    address = choose_address(host, port, LAB_PORT, base_url, allow_hosts)
    opened = notebooks_to_open(folder).resolve()
    first = first_notebook(opened, study)
    page = f"lab/tree/{quote(first)}" if first else "lab"

    from jupyterlab.labapp import LabApp

    arguments = [f"--ServerApp.root_dir={opened}", *_lab_options(address)]
    arguments.append(f"--LabApp.default_url=/{page}")
    if allow_root:
        arguments.append("--ServerApp.allow_root=True")
    if not browser:
        arguments.append("--no-browser")
    with tempfile.TemporaryDirectory(prefix="lafn_viz") as private:
        if not show_token:
            secret = os.environ.get("JUPYTER_TOKEN") or secrets.token_urlsafe(32)
            # Not on the command line of a process: only in this list.
            arguments.append(f"--IdentityProvider.token={secret}")
            _say_where_token_is(say, f"{address.url}{page}?token={secret}", Path(private))
        LabApp.launch_instance(arguments)


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


def _lab_options(address: Address) -> list[str]:
    """Return JupyterLab's options for an address."""
    options = [f"--port={address.port}", "--ServerApp.port_retries=0"]
    if address.host != LOCAL:
        options.append(f"--ServerApp.ip={address.host}")
    if address.base_url != "/":
        options.append(f"--ServerApp.base_url={address.base_url}")
    if address.allowed_hosts:
        names = ("localhost", socket.gethostname(), *address.allowed_hosts)
        options += ["--ServerApp.allow_remote_access=False", "--ServerApp.trust_xheaders=True"]
        options += [f"--ServerApp.local_hostnames={name}" for name in names]
        options.append(f"--ServerApp.allow_origin_pat={address.origins}")
    return options


def serve_app(
    *,
    model: str = "embedded",
    files: Sequence[Path] | None = None,
    host: str = LOCAL,
    port: int | None = None,
    base_url: str = "/",
    allow_hosts: Sequence[str] = (),
    browser: bool = True,
    token: bool = True,
    show_token: bool = False,
    theme: Theme = "auto",
    say: Callable[[str], object] = LOG.info,
) -> None:
    """Serve the explorers as one page, and return when it is stopped (Ctrl-C).

    Args:
        model: the model that is chosen at first: the name of one, or its folder (see `load_model`).
        files: facts and paraphrases (see `load_facts`); the embedded ones unless given.
        host: the address to listen on; "0.0.0.0" is every network this computer is in.
        port: the port to listen on; by default 8866, or a free one if that is taken; 0 for a free
            one.
        base_url: the path of the page, for a proxy that keeps a prefix.
        allow_hosts: names that a proxy asks for, besides this computer's own. With them, a server
            on a network answers no other names.
        browser: whether to open a browser.
        token: whether the page asks for a token, which is part of the address: the one in the
            environment variable `LAFN_VIZ_TOKEN`, or a random one.
        show_token: whether `say` may be told a random token; otherwise a private file holds it.
        theme: the colours; "auto" follows the reader's system.
        say: called with each line for the person who started it: once the page answers, its
            address.

    Raises:
        ValueError: for a port, host, path, name or token that cannot be used, or if Voilà is not
            installed.
        FileNotFoundError: for a model or a file that is not there.
        FactError: for a record of the files that cannot be used.
    """
    _require_installed("voila", "ipywidgets", "anywidget", "itables")
    address = choose_address(host, port, APP_PORT, base_url, allow_hosts)
    # What cannot be read is said here, before any reader opens the page.
    shared = bool(address.allowed_hosts) or not address.is_local
    study = Study.of(model, files, shared=shared)
    given = _given_token() if token else ""
    secret = (given or secrets.token_urlsafe(32)) if token else ""
    full = address.url + (f"?token={secret}" if secret else "")

    def ready() -> None:
        if not secret and not address.is_local:
            say(f"Anyone who can reach {host} can use this page: it asks for no token.")
        say(f"lafn_viz is at {full if show_token and not given else address.url}")
        if given:
            say(f"It asks for the token in {TOKEN}.")
        elif secret and not show_token:
            _say_where_token_is(say, full, Path(private))
        say("Stop it with Ctrl-C.")
        if browser:
            webbrowser.open(redirect.as_uri())

    with tempfile.TemporaryDirectory(prefix="lafn_viz") as private:
        # A browser gets its address on the command line, where others could read the token. A
        # private file leads it to the page instead.
        redirect = write_private(
            Path(private) / "open.html",
            f'<!doctype html><meta http-equiv="refresh" content="0;url={html.escape(full)}">'
            f'<a href="{html.escape(full)}">lafn_viz</a>',
        )
        run_page(address, secret, theme, ready, study)


def _given_token() -> str:
    """Return the token in the environment, which the pages' own processes do not inherit.

    Raises:
        ValueError: if it is too short to keep others out.
    """
    given = os.environ.pop(TOKEN, "")
    if given and len(given) < 16:
        raise ValueError(
            f"the token in {TOKEN} has {len(given)} characters; give 16 or more, or unset it for a "
            "random one"
        )
    return given


def _say_where_token_is(say: Callable[[str], object], address: str, folder: Path) -> None:
    """Write the address with its token to a file in a private folder, and say where."""
    path = write_private(folder / "address", address + "\n")
    say(f"The address with its token is in {path}: only you can read that file.")


def _require_installed(*modules: str) -> None:
    """Raise ValueError if a module of the extra `notebook` is not installed."""
    for name in modules:
        if importlib.util.find_spec(name) is None:
            raise ValueError(
                f"this needs {name}, which is not installed; "
                "install it with: pip install 'lafn_viz[notebook]'"
            )
