"""The page of `monitor --web`: the same view for people who do not like consoles, served to this computer alone.

One self-contained file without external requests. It listens on loopback, its address holds a token, requests that
name another host are refused (a name of the internet could be made to point here), and it ends with the command.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import queue
import secrets
import sys
import threading
import time
import webbrowser
from collections import deque
from dataclasses import asdict
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from types import TracebackType
from typing import Any, Self

from serial_monitor.blocks import Block
from serial_monitor.lines import as_object
from serial_monitor.records import Record
from serial_monitor.views import Snapshot

MOST_PAGES = 8
"""Open pages; each has a thread."""
_WAITING = 2000
"""Messages that may wait for a page; a slower one is disconnected, and connects again by itself."""
_EARLIER = 500
"""Limit of the earlier messages that a new page gets."""
_ALIVE_SECONDS = 5.0
"""Seconds after which a page without new messages is sent a comment, which alone shows that its window was closed."""


class Page:
    """The page, from `with` to its end."""

    def __init__(self, program: str) -> None:
        """`program` is the name and version of what is watched."""
        self._token = secrets.token_urlsafe(16)
        self._server = _Server(program, self._token)
        self._thread = threading.Thread(target=self._server.serve_forever, name="page", daemon=True)

    @property
    def address(self) -> str:
        """What a browser opens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/{self._token}/"

    def announce(self, *, open_browser: bool) -> None:
        """Print the address of the page, and open it if a browser can be found."""
        print(f"the page is at {self.address}; it ends with this command (Ctrl+C)", flush=True)  # noqa: T201
        if open_browser and not webbrowser.open(self.address):
            print("no browser was found; open the address in a browser of this computer", file=sys.stderr)  # noqa: T201

    def show(self, item: Block | Record) -> None:
        """Show a block or an event on all open pages."""
        self._server.publish("item", as_object(item), keep=True)

    def status(self, snapshot: Snapshot) -> None:
        """Show the state of the ports on all open pages."""
        self._server.publish("status", {"at": time.time(), **asdict(snapshot)}, keep=False)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        reason = "the command has ended" if error is None else str(error)
        self._server.publish("end", {"reason": reason}, keep=True)
        self._server.end()
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, program: str, token: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.program = program
        self.token = token
        self.hosts = {f"{name}:{self.server_address[1]}" for name in ("127.0.0.1", "localhost")}
        self._lock = threading.Lock()
        self._pages: dict[queue.Queue[bytes | None], None] = {}
        self._earlier: deque[bytes] = deque(maxlen=_EARLIER)
        self._status: bytes | None = None

    def publish(self, event: str, content: dict[str, Any], *, keep: bool) -> None:
        """Send a message to all pages; one that cannot take it gets nothing more, and its connection ends."""
        message = f"event: {event}\ndata: {json.dumps(content)}\n\n".encode()
        with self._lock:
            if keep:
                self._earlier.append(message)
            else:
                self._status = message
            for page in list(self._pages):
                try:
                    page.put_nowait(message)
                except queue.Full:
                    del self._pages[page]

    def join(self) -> queue.Queue[bytes | None] | None:
        """Return the queue of a new page, which begins with earlier messages.

        It is None if there are `MOST_PAGES` already.
        """
        page: queue.Queue[bytes | None] = queue.Queue(_WAITING)
        with self._lock:
            if len(self._pages) >= MOST_PAGES:
                return None
            for message in (self._status, *self._earlier):
                if message is not None:
                    page.put_nowait(message)
            self._pages[page] = None
        return page

    def leave(self, page: queue.Queue[bytes | None]) -> None:
        """Stop sending to this page."""
        with self._lock:
            self._pages.pop(page, None)

    def is_served(self, page: queue.Queue[bytes | None]) -> bool:
        """Return whether the page still gets messages."""
        with self._lock:
            return page in self._pages

    def end(self) -> None:
        """Let all pages end after their last message."""
        with self._lock:
            for page in self._pages:
                with contextlib.suppress(queue.Full):
                    page.put_nowait(None)

    def handle_error(self, request: object, client_address: object) -> None:
        """Do not report a browser that went away."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version = "serial_monitor"
    sys_version = ""
    timeout = 30

    def do_GET(self) -> None:
        """Serve the page, or its stream of messages."""
        token, _, rest = self.path.lstrip("/").partition("/")
        if self.headers.get("Host") not in self.server.hosts or not hmac.compare_digest(
            token.encode("utf-8", "replace"), self.server.token.encode()
        ):
            self.send_error(HTTPStatus.NOT_FOUND)
        elif rest == "":
            self._send_page()
        elif rest == "events":
            self._send_events()
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def _send_page(self) -> None:
        nonce = secrets.token_urlsafe(16)
        source = resources.files("serial_monitor").joinpath("page.html").read_text("utf-8")
        content = source.replace("@NONCE@", nonce).encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header(
            "Content-Security-Policy",
            f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self';"
            " img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        )
        self._send_common_headers()
        self.wfile.write(content)

    def _send_events(self) -> None:
        page = self.server.join()
        if page is None:
            self.send_error(HTTPStatus.SERVICE_UNAVAILABLE, f"{MOST_PAGES} pages are open already")
            return
        try:
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", "text/event-stream")
            self._send_common_headers()
            while self.server.is_served(page):
                try:
                    message = page.get(timeout=_ALIVE_SECONDS)
                except queue.Empty:
                    message = b":\n\n"
                if message is None:
                    return
                self.wfile.write(message)
        finally:
            self.server.leave(page)

    def _send_common_headers(self) -> None:
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Log nothing, because the address contains the token."""
