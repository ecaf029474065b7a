"""JupyterLab and the app as separate processes, in fresh folders.

Playwright is not imported, so that `why_no_browser` works without it.
"""

import contextlib
import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
# JupyterLab fetches no news, saves nothing by itself and draws all cells, visible or not.
SETTINGS = {
    "@jupyterlab/apputils-extension/notification.jupyterlab-settings": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    },
    "@jupyterlab/notebook-extension/tracker.jupyterlab-settings": {"windowingMode": "none"},
    "@jupyterlab/docmanager-extension/plugin.jupyterlab-settings": {"autosave": False},
}


@dataclass(frozen=True)
class Server:
    """A running server: its `address` as it was printed, its `folder`, and its output."""

    address: str
    folder: Path
    log: Path
    process: subprocess.Popen

    @property
    def bare(self) -> str:
        """The address without its token; it ends with a slash."""
        return self.address.split("?")[0]


def find_chromium() -> str | None:
    """Return the browser named by CHROMIUM, or else the first that is installed."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


def why_no_browser() -> str | None:
    """Return what is missing for tests with a browser; None if nothing is."""
    if importlib.util.find_spec("playwright") is None:
        return "Playwright is not installed: pip install 'lafn_viz[dev]'"
    if find_chromium() is None:
        return "no Chromium found: install one, or name it in CHROMIUM"
    return None


def browser_required() -> bool:
    """Return whether a missing browser is a failure, as in the CI, and not a reason to skip."""
    return os.environ.get("LAFN_VIZ_BROWSER") == "required"


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]


def fresh_environment(folder: Path) -> dict[str, str]:
    """Return the environment of this process with Jupyter's folders moved into `folder`."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("JUPYTER", "PYTEST"))}
    for name in ("config", "data", "runtime"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        environment[f"JUPYTER_{name.upper()}_DIR"] = str(folder / name)
    # A server in another folder imports the same package as the tests.
    paths = [str(ROOT), *filter(None, [environment.get("PYTHONPATH")])]
    return environment | {
        "IPYTHONDIR": str(folder / "ipython"),
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": "1",
    }


@contextlib.contextmanager
def running(
    command: list[str], folder: Path, *, readable: bool = False
) -> Iterator[tuple[subprocess.Popen, Path]]:
    """Run a command in `folder`; at the end it is asked to stop, and killed if it does not.

    Its output goes to a file that only this user can read, unless it is to be `readable`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "server.log"
    log.touch(mode=0o644 if readable else 0o600)
    with log.open("w") as out:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=fresh_environment(folder / "jupyter"),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process, log
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_until_it_says(pattern: str, process: subprocess.Popen, log: Path, *, seconds=60) -> str:
    """Return the first match of a pattern in the output; raises with the output if none comes."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if match := re.search(pattern, log.read_text("utf-8")):
            return match.group()
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise AssertionError(f"no {pattern!r} in the output of the server:\n{log.read_text('utf-8')}")


def status(address: str, **headers: str) -> int:
    """Return the status of a request without following redirects."""

    class NoRedirect(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *args):
            return None

    request = urllib.request.Request(address, headers=headers)
    try:
        with urllib.request.build_opener(NoRedirect).open(request, timeout=60) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code


@dataclass(frozen=True)
class Answer:
    """What a server answers to a request."""

    status: int
    text: str


def body(address: str, **headers: str) -> Answer:
    """Return the status and the text of a page."""
    request = urllib.request.Request(address, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return Answer(response.status, response.read().decode())
    except urllib.error.HTTPError as error:
        return Answer(error.code, error.read().decode())


@contextlib.contextmanager
def app_server(folder: Path, *options: str, readable: bool = False) -> Iterator[Server]:
    """Run the app by its command, on a free port."""
    command = [sys.executable, "-m", "lafn_viz.cli.main", "app", "--no-browser"]
    command += [f"--port={free_port()}", *options]
    with running(command, folder, readable=readable) as (process, log):
        wait_until_it_says("Stop it with Ctrl-C", process, log)
        address = wait_until_it_says(r"http://\S+", process, log)
        yield Server(address, folder, log, process)


@contextlib.contextmanager
def lab_server(folder: Path) -> Iterator[Server]:
    """Run JupyterLab in `folder / "work"`, on a free port; without a token, for tests only."""
    work, settings, port = folder / "work", folder / "settings", free_port()
    work.mkdir(parents=True)
    for name, content in SETTINGS.items():
        path = settings / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content), "utf-8")
    options = {
        "ServerApp.ip": "127.0.0.1",
        "ServerApp.port": port,
        "ServerApp.port_retries": 0,
        "ServerApp.root_dir": work,
        "ServerApp.allow_root": True,
        "ServerApp.disable_check_xsrf": True,
        "IdentityProvider.token": "",
        "LabApp.expose_app_in_browser": True,
        "LabApp.extension_manager": "readonly",
        "LabApp.user_settings_dir": settings,
        "LabApp.workspaces_dir": folder / "workspaces",
        "LabApp.news_url": "",
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser"]
    command += [f"--{name}={value}" for name, value in options.items()]
    with running(command, folder) as (process, log):
        address = wait_until_it_says(r"http://127\.0\.0\.1:\d+/", process, log)
        end = time.monotonic() + 60
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                if status(f"{address}api/status") == 200:
                    break
            time.sleep(0.1)
        yield Server(address, work, log, process)
