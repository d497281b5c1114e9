"""The answer to a request for metrics, in the formats of Prometheus.

Only requests load this file: the library of Prometheus and the HTTP server take 3 MB of memory.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import io
import logging
import socket
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler

from prometheus_client import CollectorRegistry, ProcessCollector, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from serial_relay.status import DISCARD_REASONS, PortStatus, State

log = logging.getLogger(__name__)

Statuses = Callable[[], Mapping[str, PortStatus]]

HubConnected = Callable[[], bool | None]
"""See `Twin.hub_connected`."""

_LOOP_TIMEOUT = 5.0
"""Seconds that the event loop may take to return the values."""


def answer(
    request: socket.socket, client_address: Any, collector: Collector, loop: asyncio.AbstractEventLoop
) -> None:
    """Read the request of a connection and answer it with the metrics of this moment, in a thread that may block.

    `collector` is asked on the thread of the event loop.
    """
    registry = CollectorRegistry()
    registry.register(_OnLoop(collector, loop))
    ProcessCollector(registry=registry)
    server: Any = _Application(_answer_any(make_wsgi_app(registry)))
    _Handler(request, client_address, server)


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


class _Application:
    """What the handler asks its server for."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self.base_environ: dict[str, str] = {}
        """Nothing of the server's own, since the application looks at none of it."""

    def get_app(self) -> Any:
        """Return the WSGI application."""
        return self._app


class _Handler(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Do not log requests."""

    def get_stderr(self) -> Any:
        """Return a stream that nobody reads, because a client that takes no answer would cause a traceback."""
        return io.StringIO()
