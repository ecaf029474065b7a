"""A reverse proxy, as an institute puts before its servers: another name, the same path."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator

from servers import free_port
from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.httpserver import HTTPServer
from tornado.web import Application
from tornado.websocket import WebSocketClosedError, WebSocketHandler, websocket_connect

HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "content-encoding", "upgrade"}


class Forward(WebSocketHandler):
    """Passes requests and web sockets on to the same path of `target`, a host and port."""

    def initialize(self, target: str, keep_host: bool) -> None:
        self.target, self.keep_host = target, keep_host

    def check_origin(self, origin):
        return True

    def passed_on(self) -> dict[str, str]:
        headers = {k: v for k, v in self.request.headers.get_all() if k.lower() not in HOP_BY_HOP}
        headers = {k: v for k, v in headers.items() if not k.lower().startswith("sec-websocket")}
        headers["X-Forwarded-For"] = self.request.remote_ip
        headers["X-Forwarded-Proto"] = "http"
        return headers if self.keep_host else headers | {"Host": self.target}

    async def get(self, *_):
        if self.request.headers.get("Upgrade", "").lower() == "websocket":
            await super().get()
        else:
            await self.forward()

    async def forward(self) -> None:
        answer = await AsyncHTTPClient().fetch(
            HTTPRequest(
                f"http://{self.target}{self.request.uri}",
                method=self.request.method,
                headers=self.passed_on(),
                body=self.request.body or None,
                allow_nonstandard_methods=True,
                follow_redirects=False,
                request_timeout=120,
            ),
            raise_error=False,
        )
        self.set_status(answer.code)
        self._headers.clear()
        for name, value in answer.headers.get_all():
            if name.lower() not in HOP_BY_HOP:
                self.add_header(name, value)
        self.finish(answer.body)

    post = delete = forward

    def select_subprotocol(self, subprotocols):
        return subprotocols[0] if subprotocols else None

    async def open(self, *_):
        self.upstream = await websocket_connect(
            HTTPRequest(f"ws://{self.target}{self.request.uri}", headers=self.passed_on()),
            subprotocols=[self.selected_subprotocol] if self.selected_subprotocol else None,
            max_message_size=2**30,
        )
        self.returning = asyncio.ensure_future(self.back())

    async def back(self) -> None:
        with contextlib.suppress(WebSocketClosedError):
            while (message := await self.upstream.read_message()) is not None:
                await self.write_message(message, binary=isinstance(message, bytes))
            self.close()

    async def on_message(self, message):
        await self.upstream.write_message(message, binary=isinstance(message, bytes))

    def on_close(self):
        if hasattr(self, "upstream"):
            self.upstream.close()


@contextlib.contextmanager
def proxy(target: str, *, keep_host: bool) -> Iterator[int]:
    """Run a proxy before `target` in a thread, and yield its port.

    Either it passes the `Host` of a request on, or it asks under the name of its target, as nginx
    does unless told otherwise.
    """
    port, loop, ready = free_port(), asyncio.new_event_loop(), threading.Event()

    def run() -> None:
        asyncio.set_event_loop(loop)
        routes = [(r"(/.*)", Forward, {"target": target, "keep_host": keep_host})]
        HTTPServer(Application(routes)).listen(port, "127.0.0.1")
        ready.set()
        loop.run_forever()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(10)
    yield port
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
