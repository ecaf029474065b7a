"""The page of all explorers, as Voilà serves it.

Voilà runs `app.ipynb` for each reader and passes only widget messages to its kernel. It is
configured here alone: the user's own settings are ignored, since another template would load fonts
from a CDN.
"""

import logging
import os
import signal
from collections.abc import Callable
from functools import partial
from html import escape
from pathlib import Path
from typing import Any, Literal

from lafn_viz.app.addresses import Address
from lafn_viz.app.study import Study
from lafn_viz.models.packaged import EMBEDDED

Theme = Literal["auto", "light", "dark"]

APP = Path(__file__).resolve().parent  # app.ipynb and its template are beside this file
# The JupyterLab extensions that the page needs. Others in the user's environment are left out: they
# take time to load, and some break outside JupyterLab.
EXTENSIONS = [
    "@jupyter-widgets/jupyterlab-manager",
    "@voila-dashboards/widgets-manager8",
    "anywidget",
]
# Seconds after a page was opened until the process of the next one is started: it would take the
# processor from the page that is being drawn.
FILL_AFTER = 60
# Seconds after which the process of a page ends that was lost without being closed.
CULL_AFTER = 1800


def run_page(
    address: Address, secret: str, theme: Theme, ready: Callable[[], None], study: Study
) -> None:
    """Serve the page until it is stopped, and call `ready` once it answers requests.

    The secret is on no command line, since others can read those.
    """
    from jupyter_server.auth import PasswordIdentityProvider
    from tornado.ioloop import IOLoop
    from voila.app import Voila
    from voila.request_info_handler import RequestInfoSocketHandler

    class Identity(PasswordIdentityProvider):
        def get_token(self, handler: Any) -> str | None:
            # A proxy sends the token in this header; that in the address may be its own.
            sent = self.auth_header_pat.match(handler.request.headers.get("Authorization", ""))
            return str(sent[2]) if sent else super().get_token(handler)

    class Server(Voila):
        def init_settings(self) -> dict[str, Any]:
            settings: dict[str, Any] = super().init_settings()
            # Files that the reader saves go to the current folder, not to the package.
            self.kernel_manager.root_dir = os.getcwd()
            if preheat:  # Voilà's own delay would keep the next reader waiting for it
                fill = self.kernel_manager.fill_if_needed
                self.kernel_manager.fill_if_needed = lambda **options: IOLoop.current().call_later(
                    FILL_AFTER, partial(fill, **options)
                )
            return settings

        def init_handlers(self) -> list[Any]:
            # Voilà leaves the login where it is without a prefix.
            login = [path for path, *_ in self.identity_provider.get_handlers()]
            return [
                (self.base_url.rstrip("/") + path if path in login else path, *rest)
                for path, *rest in super().init_handlers()
                # It tells the address of a page, with the token, to who knows its process.
                if RequestInfoSocketHandler not in rest
            ]

        def listen(self) -> None:
            refuse_other_hosts(self.app, address)
            if address.allowed_hosts:  # a proxy says for whom it asks, and whether by HTTPS
                listen = self.app.listen
                self.app.listen = lambda port, ip: listen(port, ip, xheaders=True)
            super().listen()

        def stop(self) -> None:
            if preheat:
                IOLoop.current().run_sync(self.end_unopened)
            super().stop()

        async def end_unopened(self) -> None:
            """End the processes that no page has, of which some may only be starting.

            Voilà would interrupt these, and they would say so at length.
            """
            pools = self.kernel_manager._pools.values()
            for starting in [task for pool in pools for task in pool]:
                process = (await starting)["kernel_id"]
                await self.kernel_manager.shutdown_kernel(process, now=True)

    # Voilà looks for templates in these folders; the package's own come first.
    paths = [str(APP), *filter(None, os.environ.get("JUPYTER_PATH", "").split(os.pathsep))]
    study.hand_over(os.environ)
    # A page is computed before anybody asks for it, since imports alone take several seconds. A
    # larger model would take minutes and gigabytes for a reader who may never come.
    preheat = study.model in EMBEDDED
    config = configuration(address, secret, theme, preheat=preheat)
    os.environ["JUPYTER_PATH"] = os.pathsep.join(dict.fromkeys(paths))
    app = Server(config=config, identity_provider_class=Identity)
    app.initialize([])
    for name in ("tornado.access", "tornado.application", "tornado.general", app.log.name):
        logging.getLogger(name).addFilter(partial(_fit_to_print, secret=secret))
    # Voilà first listens and then runs the loop, which calls these. On SIGTERM it ends in order, as
    # it is to do on Ctrl-C: an exception while a page's process starts would not.
    loop = IOLoop.current()
    loop.add_callback(lambda: signal.signal(signal.SIGINT, signal.getsignal(signal.SIGTERM)))
    loop.add_callback(ready)
    app.start()


def _fit_to_print(record: logging.LogRecord, *, secret: str) -> bool:
    """Take the secret out of a line of the log; return whether the line helps a reader."""
    text = record.getMessage()
    if secret and secret in text:
        record.msg, record.args = text.replace(secret, "[secret]"), ()
    # Tornado and Jupyter disagree on the longest ping timeout.
    return "websocket_ping_timeout" not in text


def refuse_other_hosts(application: Any, address: Address) -> None:
    """Answer requests for other host names with status 403 and a sentence."""
    from tornado.routing import Matcher, Rule
    from tornado.web import RequestHandler

    class OtherHost(Matcher):
        def match(self, request: Any) -> dict[str, Any] | None:
            return None if address.answers(request.host) else {}

    class Refused(RequestHandler):
        def prepare(self) -> None:
            name = self.request.host.rsplit(":", 1)[0]
            self.set_status(403)
            self.finish(
                f"<!doctype html><title>lafn_viz</title><p>This page does not answer as "
                f"{escape(name)}. If that is your proxy, start it with <code>lafn-viz app "
                f"--allow-host {escape(name)}</code>.</p>\n"
            )

    router = application.default_router
    router.rules.insert(0, router.process_rule(Rule(OtherHost(), Refused)))


def configuration(address: Address, secret: str, theme: Theme, *, preheat: bool) -> Any:
    """Return the whole configuration of Voilà."""
    import zmq
    from jupyter_server.log import log_request
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
        "preheat_kernel": preheat,
    }
    tornado: dict[str, Any] = {
        # Error pages need these, and Voilà does not set them.
        "static_path": STATIC_ROOT,
        "static_url_prefix": f"{address.base_url}voila/static/",
        # Tornado's own writes the whole address of a request that fails, with the token.
        "log_function": log_request,
    }
    if address.allowed_hosts:
        tornado["allow_origin_pat"] = address.origins
    server = {
        "ip": address.host,
        "port": address.port,
        "base_url": address.base_url,
        "port_retries": 0,
        "token": secret,
        "notebook_path": str(APP / "app.ipynb"),
        "open_browser": False,
        "config_file_paths": [],
        "log_level": "ERROR",
        "tornado_settings": tornado,
    }
    kernels = {
        "cull_idle_timeout": CULL_AFTER,
        "cull_interval": 60,
    }
    return Config(
        VoilaConfiguration=page,
        Voila=server,
        MappingKernelManager=kernels,
        VoilaKernelManager={"fill_delay": 0.0},
        KernelManager={"transport_encryption": "auto"} if zmq.has("curve") else {},
    )
