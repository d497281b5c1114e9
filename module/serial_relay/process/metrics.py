"""Prometheus metrics of the module and its ports, at `http://<module>:9600/metrics`, where IoT Edge's metrics collector asks.

Values are read when somebody asks, on the event loop's thread; parsing the request and formatting the answer have
threads of their own. A port that is in use is a warning: metrics are never worth a serial port.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import errno
import io
import logging
import socket
import socketserver
import threading
from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, ProcessCollector, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from serial_relay.status import DISCARD_REASONS, PortStatus, State

log = logging.getLogger(__name__)

Statuses = Callable[[], Mapping[str, PortStatus]]

HubConnected = Callable[[], bool | None]
"""See `Twin.hub_connected`."""

_MAX_REQUESTS = 8
"""Limit of the requests that are answered at the same time; a further one is closed at once."""

_REQUEST_SECONDS = 10.0
"""Seconds that a client may take for its request and for the answer, however it divides them."""

_LOOP_TIMEOUT = 5.0
"""Seconds that the event loop may take to return the values."""

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
    registry = CollectorRegistry()
    registry.register(_OnLoop(ModuleCollector(statuses, hub_connected, version), loop))
    ProcessCollector(registry=registry)
    try:
        server = _Server((str(address), port), _answer_any(make_wsgi_app(registry)))
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
        server.server_port,
    )

    def close() -> None:
        server.stop_listening()
        server.server_close()

    return close


class ModuleCollector(Collector):
    """The module and its ports as metrics; the label `port` is the port's name."""

    def __init__(self, statuses: Statuses, hub_connected: HubConnected, version: str) -> None:
        self._statuses = statuses
        self._hub_connected = hub_connected
        self._version = version

    def collect(self) -> Iterable[Metric]:
        """Return all metrics of this moment."""
        statuses = self._statuses()
        yield InfoMetricFamily("serial_relay", "The program", {"version": self._version})
        if (connected := self._hub_connected()) is not None:
            yield GaugeMetricFamily(
                "serial_relay_hub_connected", "1 while connected to edgeHub", value=float(connected)
            )
        yield _gauge(
            "connected",
            "1 while connected to the serial server",
            statuses,
            lambda status: status.state is State.CONNECTED,
        )
        yield _gauge(
            "application_open",
            "1 while an application has the port open",
            statuses,
            lambda status: status.application_open,
        )
        yield _gauge(
            "config_error",
            "1 while the port's desired properties cannot be used",
            statuses,
            lambda status: status.config_error is not None,
        )
        yield _gauge(
            "state_timestamp_seconds",
            "Unix time of the last change of state",
            statuses,
            lambda status: status.since,
        )
        yield _gauge(
            "round_trip_seconds",
            "Round trip of the last heartbeat",
            statuses,
            lambda status: status.round_trip_seconds,
        )
        yield _counter("connects", "Connections that became usable", statuses, lambda status: status.connects)
        yield _counter(
            "to_device_bytes",
            "Bytes written to the connection",
            statuses,
            lambda status: status.bytes_to_device,
        )
        yield _counter(
            "from_device_bytes",
            "Bytes received from the connection",
            statuses,
            lambda status: status.bytes_from_device,
        )
        yield _states(statuses)
        yield _last_errors(statuses)
        yield _discarded(statuses)
        yield _modem_lines(statuses)


def _gauge(
    name: str, text: str, statuses: Mapping[str, PortStatus], value: Callable[[PortStatus], float | None]
) -> Metric:
    family = GaugeMetricFamily(f"serial_relay_port_{name}", text, labels=["port"])
    for port, status in statuses.items():
        if (number := value(status)) is not None:
            family.add_metric([port], number)
    return family


def _counter(
    name: str, text: str, statuses: Mapping[str, PortStatus], value: Callable[[PortStatus], int]
) -> Metric:
    family = CounterMetricFamily(f"serial_relay_port_{name}", text, labels=["port"])
    for port, status in statuses.items():
        family.add_metric([port], value(status))
    return family


def _states(statuses: Mapping[str, PortStatus]) -> Metric:
    family = GaugeMetricFamily(
        "serial_relay_port_state", "1 for the state that the port is in", labels=["port", "state"]
    )
    for port, status in statuses.items():
        for state in State:
            family.add_metric([port, state.value], status.state is state)
    return family


def _last_errors(statuses: Mapping[str, PortStatus]) -> Metric:
    family = GaugeMetricFamily(
        "serial_relay_port_last_error_timestamp_seconds",
        "Unix time of the last error",
        labels=["port", "code"],
    )
    for port, status in statuses.items():
        if error := status.last_error:
            family.add_metric([port, error.code.value], error.at)
    return family


def _discarded(statuses: Mapping[str, PortStatus]) -> Metric:
    family = CounterMetricFamily(
        "serial_relay_port_discarded_bytes", "Bytes that were not delivered", labels=["port", "reason"]
    )
    for port, status in statuses.items():
        for reason in DISCARD_REASONS:
            family.add_metric([port, reason], getattr(status.discarded, reason))
    return family


def _modem_lines(statuses: Mapping[str, PortStatus]) -> Metric:
    family = GaugeMetricFamily(
        "serial_relay_port_modem_line", "1 while the modem line is on", labels=["port", "line"]
    )
    for port, status in statuses.items():
        for line in ("cts", "dsr", "ri", "cd") if status.modem else ():
            family.add_metric([port, line], getattr(status.modem, line))
    return family


class _OnLoop(Collector):
    """Collects on the event loop's thread, for a caller in another thread."""

    def __init__(self, collector: Collector, loop: asyncio.AbstractEventLoop) -> None:
        self._collector = collector
        self._loop = loop

    def describe(self) -> Iterable[Metric]:
        """Return no names: to collect them here would wait for the loop that registers this collector."""
        return []

    def collect(self) -> Iterable[Metric]:
        collected: concurrent.futures.Future[list[Metric]] = concurrent.futures.Future()

        def collect() -> None:
            try:
                collected.set_result(list(self._collector.collect()))
            except Exception as error:  # noqa: BLE001 - it is the asking thread's to handle
                collected.set_exception(error)

        self._loop.call_soon_threadsafe(collect)
        return collected.result(_LOOP_TIMEOUT)


def _answer_any(app: Any) -> Any:
    """Return the WSGI application for requests of any kind.

    Neither a preference of a client nor a defect causes a traceback.
    """

    def answer(environ: dict[str, Any], start_response: Any) -> Any:
        try:
            choose_encoder(environ.get("HTTP_ACCEPT", ""))
        except Exception:  # noqa: BLE001 - a version that is none, for example
            environ = {**environ, "HTTP_ACCEPT": ""}
        try:
            return app(environ, start_response)
        except Exception as error:  # noqa: BLE001 - whatever it is
            log.warning("the metrics could not be returned: %r", error)
            start_response("500 Internal Server Error", [("Content-Type", "text/plain")])
            return [b"the metrics cannot be given; the log says why\n"]

    return answer


class _Handler(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Do not log requests."""

    def get_stderr(self) -> Any:
        """Return a stream that nobody reads, because a client that takes no answer would cause a traceback."""
        return io.StringIO()


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    """A WSGI server that an event loop drives: call `handle_request` when its socket is readable."""

    daemon_threads = True
    block_on_close = False
    timeout = 0

    def __init__(self, address: tuple[str, int], app: Any) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._slots = threading.BoundedSemaphore(_MAX_REQUESTS)
        self._deadlines: dict[socket.socket, asyncio.TimerHandle] = {}
        """Of each request that is being answered, when its connection is ended."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._rest: asyncio.TimerHandle | None = None
        super().__init__(address, _Handler)
        self.socket.setblocking(False)
        self.set_app(app)

    def server_bind(self) -> None:
        # http.server would look the address up in DNS here, which takes long where there is none.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.socket.getsockname()[:2]
        self.setup_environ()

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
