"""JupyterLab and the app as processes of their own, with folders that nobody else has used.

Imports no Playwright: what is missing can be told without it.
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
# JupyterLab asks nobody for news, saves nothing by itself and draws every cell, seen or not.
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
    """A server that answers: its `address` as it was printed, its `folder`, and its output."""

    address: str
    folder: Path
    log: Path
    process: subprocess.Popen

    @property
    def bare(self) -> str:
        """The address without its token; ends with a slash."""
        return self.address.split("?")[0]


def find_chromium() -> str | None:
    """The browser: the one named by CHROMIUM, else the first that is installed."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


def why_no_browser() -> str | None:
    """What is missing for tests with a browser; None where nothing is."""
    if importlib.util.find_spec("playwright") is None:
        return "Playwright is not installed: pip install 'lafn_viz[dev]'"
    if find_chromium() is None:
        return "no Chromium found: install one, or name it in CHROMIUM"
    return None


def browser_required() -> bool:
    """Whether a missing browser is a failure, as in the CI, and not a reason to skip."""
    return os.environ.get("LAFN_VIZ_BROWSER") == "required"


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


def fresh_environment(folder: Path) -> dict[str, str]:
    """The environment of this process with Jupyter's folders moved into `folder`."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("JUPYTER", "PYTEST"))}
    for name in ("config", "data", "runtime"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        environment[f"JUPYTER_{name.upper()}_DIR"] = str(folder / name)
    # A server in another folder imports the package from here, as the tests do.
    paths = [str(ROOT), *filter(None, [environment.get("PYTHONPATH")])]
    return environment | {
        "IPYTHONDIR": str(folder / "ipython"),
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": "1",
    }


@contextlib.contextmanager
def running(command: list[str], folder: Path) -> Iterator[tuple[subprocess.Popen, Path]]:
    """The command in `folder`; it is asked to stop at the end, then made to."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "server.log"
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
    """The first match of the pattern in the output; raises with the output where none comes."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := re.search(pattern, log.read_text("utf-8")):
            return found.group()
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise AssertionError(f"no {pattern!r} in the output of the server:\n{log.read_text('utf-8')}")


def status(address: str, **headers: str) -> int:
    """The status of a request that is not sent on to another page."""

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *args):
            return None

    request = urllib.request.Request(address, headers=headers)
    try:
        with urllib.request.build_opener(Stay).open(request, timeout=60) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


@contextlib.contextmanager
def app_server(folder: Path, *options: str) -> Iterator[Server]:
    """The app as its command starts it, on a free port."""
    command = [sys.executable, "-m", "lafn_viz.cli", "app", "--no-browser"]
    with running([*command, f"--port={free_port()}", *options], folder) as (process, log):
        address = wait_until_it_says(r"http://\S+", process, log)
        yield Server(address, folder, log, process)


@contextlib.contextmanager
def lab_server(folder: Path) -> Iterator[Server]:
    """JupyterLab over `folder / "work"`, on a free port, without a token: tests only."""
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
