"""Serve the notebooks in JupyterLab, and the explorers as one page.

1. The **notebooks** lie in `notebooks/` of a checkout. An installed package carries copies, which
   are written to a folder of yours before they are opened; a file that is there stays as it is.
2. The **page** is `app/app.ipynb`, a few lines, served by Voilà with a template of our own: nothing
   is asked for off this machine, and a reader cannot run code (Voilà lets widget messages through
   to the kernel, and nothing else).
3. The page answers on this computer only, and only to a random token, unless told otherwise. Where
   it answers without one, it still refuses names that are not this computer's, so that a web page
   cannot reach it by a name of its own (DNS rebinding).

Each open page has a Python process of its own, which ends when the page is closed.
"""

import errno
import html
import importlib.util
import logging
import os
import secrets
import shutil
import socket
import tempfile
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from lafn_viz.core.paths import is_installed, notebooks_folder

Theme = Literal["auto", "light", "dark"]

LOG = logging.getLogger(__name__)
APP = Path(__file__).resolve().parent  # app.ipynb and its template lie beside this file
APP_PORT = 8866
LAB_PORT = 8888
LOCAL = "127.0.0.1"
# What of JupyterLab's extensions the page needs. Others of the reader's own environment are left
# out: they cost time, and some break outside of JupyterLab.
EXTENSIONS = [
    "@jupyter-widgets/jupyterlab-manager",
    "@voila-dashboards/widgets-manager8",
    "anywidget",
]
# A page that was lost without a goodbye gives its process back after this many seconds.
FORGOTTEN_AFTER = 1800


def shipped_notebooks() -> list[Path]:
    """The notebooks that come with the package: those for students, then the solutions."""
    found = notebooks_folder().rglob("*.ipynb")
    return sorted(path for path in found if ".ipynb_checkpoints" not in path.parts)


def copy_notebooks(folder: Path) -> list[Path]:
    """Copy the notebooks into a folder and return those written; what is there stays as it is.

    Raises ValueError where the folder cannot be made or written to.
    """
    written, home = [], notebooks_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for notebook in shipped_notebooks():
            copy = folder / notebook.relative_to(home)
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
    """The folder to work in: `folder` with copies, else the checkout's, else a new one with copies.

    Raises ValueError where copies cannot be written.
    """
    if folder is None and not is_installed():
        return notebooks_folder()
    folder = Path("lafn_viz_notebooks") if folder is None else folder
    copy_notebooks(folder)
    return folder


def serve_lab(folder: Path | None = None, *, port: int | None = None, browser: bool = True) -> None:
    """Open the notebooks in JupyterLab; returns when it is stopped (Ctrl-C).

    Args:
        folder: where copies of the notebooks are put and opened; see `notebooks_to_open`.
        port: where it answers; None takes the first free one from 8888 on.
        browser: whether to open a browser. The address is printed either way.

    Raises:
        ValueError: for a port that is taken or none, a folder that cannot be written, and where
            JupyterLab is not installed.
    """
    _need("jupyterlab", "ipywidgets", "anywidget")
    port = _port(LOCAL, port, LAB_PORT)
    opened = notebooks_to_open(folder).resolve()

    from jupyterlab.labapp import LabApp

    arguments = [f"--ServerApp.root_dir={opened}", f"--port={port}", "--ServerApp.port_retries=0"]
    LabApp.launch_instance(arguments if browser else [*arguments, "--no-browser"])


def serve_app(
    *,
    host: str = LOCAL,
    port: int | None = None,
    browser: bool = True,
    token: bool = True,
    theme: Theme = "auto",
    say: Callable[[str], object] = LOG.info,
) -> None:
    """Serve the explorers as one page; returns when it is stopped (Ctrl-C).

    The address, with the token, is said once the page answers.

    Args:
        host: the address to listen on; "0.0.0.0" is every network this computer is in.
        port: where it answers; None takes 8866, or a free one where that is taken.
        browser: whether to open a browser.
        token: whether a random token has to be given with the address.
        theme: colours; "auto" follows the reader's system.
        say: what is called with each line for the person who started it.

    Raises:
        ValueError: for a port or host that cannot be used, and where Voilà is not installed.
    """
    _need("voila", "ipywidgets", "anywidget", "itables")
    port = _port(host, port, APP_PORT)
    secret = secrets.token_urlsafe(32) if token else ""
    address = f"http://{_shown(host)}:{port}/" + (f"?token={secret}" if secret else "")

    def ready() -> None:
        if not secret and not _is_this_computer(host):
            say(f"Anyone who can reach {host} can use this page: it asks for no token.")
        say(f"lafn_viz is at {address}")
        say("Stop it with Ctrl-C.")
        if browser:
            webbrowser.open(leads.as_uri())

    with tempfile.TemporaryDirectory(prefix="lafn_viz") as private:
        # A browser is started with the address on its command line, where others could read it.
        leads = Path(private) / "open.html"
        leads.write_text(
            f'<!doctype html><meta http-equiv="refresh" content="0;url={html.escape(address)}">'
            f'<a href="{html.escape(address)}">lafn_viz</a>',
            encoding="utf-8",
        )
        _run_voila(host, port, secret, theme, ready)


def _run_voila(host: str, port: int, secret: str, theme: Theme, ready: Callable[[], None]) -> None:
    """Run Voilà on the page until it is stopped; calls `ready` once requests are answered.

    The secret is on no command line, since others can read those. The reader's own settings of
    Voilà are left alone: another template would ask a CDN for fonts.
    """
    import zmq
    from tornado.ioloop import IOLoop
    from traitlets.config import Config
    from voila.app import Voila
    from voila.paths import STATIC_ROOT

    # Voilà looks for templates under here; the package's own come first.
    paths = [str(APP), *filter(None, os.environ.get("JUPYTER_PATH", "").split(os.pathsep))]
    os.environ["JUPYTER_PATH"] = os.pathsep.join(dict.fromkeys(paths))
    page = {
        "template": "lafn_viz",
        "theme": "dark" if theme == "dark" else "light",
        "resources": {"lafn_viz_theme": theme},
        "allow_template_override": "NO",
        "allow_theme_override": "NO",
        "extension_allowlist": EXTENSIONS,
        "file_allowlist": [],
        "show_tracebacks": True,
    }
    server = {
        "ip": host,
        "port": port,
        "port_retries": 0,
        "token": secret,
        "notebook_path": str(APP / "app.ipynb"),
        "open_browser": False,
        "config_file_paths": [],
        "log_level": "ERROR",
    }
    # Error pages ask for these, and Voilà does not set them.
    settings: dict[str, Any] = {
        "static_path": STATIC_ROOT,
        "static_url_prefix": "/voila/static/",
    }
    if _is_this_computer(host):
        settings["allow_remote_access"] = False
    kernels = {
        # What the reader saves goes to the folder the command was given in, not to the package.
        "root_dir": os.getcwd(),
        "cull_idle_timeout": FORGOTTEN_AFTER,
        "cull_interval": 60,
    }
    app = Voila(
        config=Config(
            VoilaConfiguration=page,
            Voila=server | {"tornado_settings": settings},
            MappingKernelManager=kernels,
            KernelManager={"transport_encryption": "auto"} if zmq.has("curve") else {},
        )
    )
    app.initialize([])
    # Tornado and Jupyter disagree on what the longest wait for a page is; it concerns no reader.
    logging.getLogger("tornado.general").addFilter(
        lambda record: "websocket_ping_timeout" not in record.getMessage()
    )
    # Voilà listens first and then runs the loop, which calls this.
    IOLoop.current().add_callback(ready)
    app.start()


def _need(*modules: str) -> None:
    for name in modules:
        if importlib.util.find_spec(name) is None:
            raise ValueError(
                f"this needs {name}, which is not installed; "
                "install it with: pip install 'lafn_viz[notebook]'"
            )


def _shown(host: str) -> str:
    """The host as it stands in an address."""
    if host in ("0.0.0.0", "::", ""):
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host


def _is_this_computer(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


def _port(host: str, port: int | None, usual: int) -> int:
    """The port to listen on: the one wanted if it is free, else the usual one, else any.

    Raises ValueError where the port wanted is no port or cannot be had, or the host is not ours.
    """
    if port is not None and not 0 < port < 65536:
        raise ValueError(f"{port} is no port; give one from 1 to 65535, or none for a free one")
    for candidate in (usual, 0) if port is None else (port,):
        try:
            return _bind(host, candidate)
        except socket.gaierror:
            break
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                break
            if port is None:
                continue
            why = "is taken" if error.errno == errno.EADDRINUSE else "may not be used"
            raise ValueError(
                f"port {port} {why} ({error.strerror}); "
                "give another with --port, or none for a free one"
            ) from None
    raise ValueError(
        f"{host!r} is no address of this computer; "
        f"give {LOCAL} for this computer alone, or 0.0.0.0 for all its networks"
    )


def _bind(host: str, port: int) -> int:
    """The port, after it was had for a moment; 0 gives a free one. Raises OSError."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    with socket.socket(family, kind, protocol) as held:
        if os.name == "posix":
            # As the servers do: a port that was let go a moment ago counts as free.
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(address)
        return int(held.getsockname()[1])
