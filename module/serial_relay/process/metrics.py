"""Prometheus metrics of the module and its ports, at `http://<module>:9600/metrics`, where IoT Edge's metrics collector asks.

Values are read when somebody asks, on the event loop's thread; parsing the request and formatting the answer have
threads of their own. A port that is in use is a warning: metrics are never worth a serial port.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import socketserver
import threading
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from serial_relay.process.exposition import HubConnected, Statuses

log = logging.getLogger(__name__)

_MAX_REQUESTS = 8
"""Limit of the requests that are answered at the same time; a further one is closed at once."""

_REQUEST_SECONDS = 10.0
"""Seconds that a client may take for its request and for the answer, however it divides them."""

_NOTHING_LEFT = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_REST = 1.0
"""Seconds without taking connections when the process or the system has no descriptor or memory for another one."""


def serve(
    address: IPv4Address | IPv6Address,
    port: int,
    statuses: Statuses,
    hub_connected: HubConnected = lambda: None,
    *,
    version: str,
) -> Callable[[], None]:
    """Serve metrics from the running event loop; return a function that ends that.

    `statuses` and `hub_connected` are called on the event loop's thread. Never raises: without a free port there are no
    metrics.
    """
    loop = asyncio.get_running_loop()

    def answer(request: socket.socket, client_address: Any) -> None:
        from serial_relay.process import exposition  # noqa: PLC0415 - until the first request it takes no memory

        collector = exposition.ModuleCollector(statuses, hub_connected, version)
        exposition.answer(request, client_address, collector, loop)

    try:
        server = _Server((str(address), port), answer)
    except OSError as error:
        log.warning(
            "metrics are not available: cannot listen at %s port %d: %s; METRICS_PORT names another port, or 0 for no metrics",
            address,
            port,
            error.strerror or error,
        )
        return lambda: None
    server.listen(loop)
    log.info(
        "metrics at http://%s:%d/metrics",
        f"[{address}]" if address.version == 6 else address,
        server.server_address[1],
    )

    def close() -> None:
        server.stop_listening()
        server.server_close()

    return close


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """A server that an event loop drives: call `handle_request` when its socket is readable."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    timeout = 0

    def __init__(self, address: tuple[str, int], answer: Callable[[socket.socket, Any], None]) -> None:
        """`answer` is called with each connection and the client's address, in a thread of its own."""
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._answer = answer
        self._slots = threading.BoundedSemaphore(_MAX_REQUESTS)
        self._deadlines: dict[socket.socket, asyncio.TimerHandle] = {}
        """Of each request that is being answered, when its connection is ended."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._rest: asyncio.TimerHandle | None = None
        super().__init__(address, socketserver.BaseRequestHandler)
        self.socket.setblocking(False)

    def finish_request(self, request: Any, client_address: Any) -> None:
        self._answer(request, client_address)

    def listen(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take connections while the loop runs, until `stop_listening`."""
        self._loop, self._rest = loop, None
        loop.add_reader(self.fileno(), self.handle_request)

    def stop_listening(self) -> None:
        """Take no more connections."""
        if self._rest is not None:
            self._rest.cancel()
        if self._loop is not None:
            self._loop.remove_reader(self.fileno())

    def get_request(self) -> Any:
        """Accept a connection.

        After an error of the system none is accepted for a moment, as the next one would be asked for at once.
        """
        try:
            return super().get_request()
        except BlockingIOError:
            raise
        except OSError as error:
            if error.errno in _NOTHING_LEFT and self._loop is not None:
                log.warning("metrics are not available for a moment: %s", error.strerror)
                self._loop.remove_reader(self.fileno())
                self._rest = self._loop.call_later(_REST, self.listen, self._loop)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._slots.acquire(blocking=False):
            self.shutdown_request(request)
            return
        assert self._loop is not None  # noqa: S101 - it calls this
        # The timeout of a socket begins anew with each byte: a few slow clients would keep all others out for ever.
        self._deadlines[request] = self._loop.call_later(_REQUEST_SECONDS, _end, request)
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread to be had
            self._answered(request)
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._answered(request)

    def _answered(self, request: socket.socket) -> None:
        deadline = self._deadlines.pop(request)
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(deadline.cancel)
        self._slots.release()

    def handle_error(self, _request: Any, client_address: Any) -> None:
        log.debug("metrics request of %s failed", client_address)


def _end(request: socket.socket) -> None:
    """Wake the thread that waits for the client of this connection, which finds the connection ended."""
    with contextlib.suppress(OSError):  # it is closed already
        request.shutdown(socket.SHUT_RDWR)
