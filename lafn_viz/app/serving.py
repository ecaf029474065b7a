"""Serve the notebooks in JupyterLab, and the explorers as one page.

1. The **notebooks** are in `notebooks/` of a checkout. An installed package contains copies, which
   are written to a folder of the user before they are opened; existing files are kept.
2. The **page** is the short notebook `app/app.ipynb`, served by Voilà with the package's own
   template: the page loads nothing from other machines, and a reader cannot run code (Voilà passes
   only widget messages to the kernel).
3. By default the page answers on this computer only, and only to a random token. Without a token,
   it still refuses host names that are not this computer's, so that a web page cannot reach it
   under a host name of its own (DNS rebinding).

Each open page has its own Python process, which ends when the page is closed.
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
APP = Path(__file__).resolve().parent  # app.ipynb and its template are beside this file
APP_PORT = 8866
LAB_PORT = 8888
LOCAL = "127.0.0.1"
# The JupyterLab extensions that the page needs. Others in the user's environment are left out: they
# take time to load, and some break outside JupyterLab.
EXTENSIONS = [
    "@jupyter-widgets/jupyterlab-manager",
    "@voila-dashboards/widgets-manager8",
    "anywidget",
]
# Seconds after which the process of a page ends that was lost without being closed.
CULL_AFTER = 1800


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


def serve_lab(folder: Path | None = None, *, port: int | None = None, browser: bool = True) -> None:
    """Open the notebooks in JupyterLab, and return when it is stopped (Ctrl-C).

    Args:
        folder: the folder for copies of the notebooks; see `notebooks_to_open`.
        port: the port to listen on; by default 8888, or a free one if that is taken.
        browser: whether to open a browser. The address is printed either way.

    Raises:
        ValueError: for a port that is taken or invalid, for a folder that cannot be written to, or
            if JupyterLab is not installed.
    """
    _require_installed("jupyterlab", "ipywidgets", "anywidget")
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
    """Serve the explorers as one page, and return when it is stopped (Ctrl-C).

    Args:
        host: the address to listen on; "0.0.0.0" is every network this computer is in.
        port: the port to listen on; by default 8866, or a free one if that is taken.
        browser: whether to open a browser.
        token: whether the page asks for a random token, which is part of the address.
        theme: the colours; "auto" follows the reader's system.
        say: called with each line for the person who started it: once the page answers, its
            address.

    Raises:
        ValueError: for a port or host that cannot be used, or if Voilà is not installed.
    """
    _require_installed("voila", "ipywidgets", "anywidget", "itables")
    port = _port(host, port, APP_PORT)
    secret = secrets.token_urlsafe(32) if token else ""
    address = f"http://{_host_in_address(host)}:{port}/" + (f"?token={secret}" if secret else "")

    def ready() -> None:
        if not secret and not _is_this_computer(host):
            say(f"Anyone who can reach {host} can use this page: it asks for no token.")
        say(f"lafn_viz is at {address}")
        say("Stop it with Ctrl-C.")
        if browser:
            webbrowser.open(redirect.as_uri())

    with tempfile.TemporaryDirectory(prefix="lafn_viz") as private:
        # A browser gets its address on the command line, where others could read the token. A
        # private file leads it to the page instead.
        redirect = Path(private) / "open.html"
        redirect.write_text(
            f'<!doctype html><meta http-equiv="refresh" content="0;url={html.escape(address)}">'
            f'<a href="{html.escape(address)}">lafn_viz</a>',
            encoding="utf-8",
        )
        _run_voila(host, port, secret, theme, ready)


def _run_voila(host: str, port: int, secret: str, theme: Theme, ready: Callable[[], None]) -> None:
    """Run Voilà on the page until it is stopped, and call `ready` once it answers requests.

    The secret is on no command line, since others can read those.
    """
    from tornado.ioloop import IOLoop
    from voila.app import Voila

    # Voilà looks for templates in these folders; the package's own come first.
    paths = [str(APP), *filter(None, os.environ.get("JUPYTER_PATH", "").split(os.pathsep))]
    os.environ["JUPYTER_PATH"] = os.pathsep.join(dict.fromkeys(paths))
    app = Voila(config=_voila_config(host, port, secret, theme))
    app.initialize([])
    # Tornado and Jupyter disagree on the longest ping timeout; the warning helps no reader.
    logging.getLogger("tornado.general").addFilter(
        lambda record: "websocket_ping_timeout" not in record.getMessage()
    )
    # Voilà first listens and then runs the loop, which calls this.
    IOLoop.current().add_callback(ready)
    app.start()


def _voila_config(host: str, port: int, secret: str, theme: Theme) -> Any:
    """Return the whole configuration of Voilà.

    The user's own settings are ignored: another template would load fonts from a CDN.
    """
    import zmq
    from traitlets.config import Config
    from voila.paths import STATIC_ROOT

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
    # Error pages need these, and Voilà does not set them.
    tornado: dict[str, Any] = {
        "static_path": STATIC_ROOT,
        "static_url_prefix": "/voila/static/",
    }
    if _is_this_computer(host):
        tornado["allow_remote_access"] = False
    server = {
        "ip": host,
        "port": port,
        "port_retries": 0,
        "token": secret,
        "notebook_path": str(APP / "app.ipynb"),
        "open_browser": False,
        "config_file_paths": [],
        "log_level": "ERROR",
        "tornado_settings": tornado,
    }
    kernels = {
        # Files that the reader saves go to the current folder, not to the package.
        "root_dir": os.getcwd(),
        "cull_idle_timeout": CULL_AFTER,
        "cull_interval": 60,
    }
    return Config(
        VoilaConfiguration=page,
        Voila=server,
        MappingKernelManager=kernels,
        KernelManager={"transport_encryption": "auto"} if zmq.has("curve") else {},
    )


def _require_installed(*modules: str) -> None:
    """Raise ValueError if a module of the extra `notebook` is not installed."""
    for name in modules:
        if importlib.util.find_spec(name) is None:
            raise ValueError(
                f"this needs {name}, which is not installed; "
                "install it with: pip install 'lafn_viz[notebook]'"
            )


def _host_in_address(host: str) -> str:
    """Return the host as it is written in an address."""
    if host in ("0.0.0.0", "::", ""):
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host


def _is_this_computer(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


def _port(host: str, port: int | None, usual: int) -> int:
    """Return the port to listen on: `port` if given, else the usual one, else any free one.

    Raises:
        ValueError: if the port given is invalid or cannot be used, or if the host is no address of
            this computer.
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
    """Bind a port for a moment and return it; 0 gives a free one. Raises OSError."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    with socket.socket(family, kind, protocol) as held:
        if os.name == "posix":
            # As the servers do: a port that was released a moment ago counts as free.
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(address)
        return int(held.getsockname()[1])
