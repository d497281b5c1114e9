"""The measurements of RFC 2217, ours against raw TCP and against pyserial's client."""

from __future__ import annotations

import json
import statistics
import termios
import time
from array import array
from collections.abc import Callable
from functools import partial

import serial

from tests.benchmarks.comparison import in_turns, megabytes_per_second
from tests.benchmarks.contenders import Bench
from tests.benchmarks.load import REQUEST
from tests.benchmarks.measures import Effort, latency_rows, microseconds
from tests.benchmarks.rows import Row, Section
from tests.system.processes import PATIENCE, free_ports
from tests.system.serial_lines import Device
from tests.system.stack import Relay

PYSERIAL = "pyserial's client"
RAW = "module and host, raw"
RFC2217 = {"protocol": "rfc2217"}
SPEEDS = {9600: termios.B9600, 19200: termios.B19200}
LOOK_EVERY = 50e-6
"""Seconds between two looks at the COM port's speed. To look all the time would take a core away from what is measured."""

ON_OPEN_PORTS = 6
"""Ports that an application can open one after another before the first has been left alone long enough."""


def rfc2217_section(bench: Bench, effort: Effort) -> Section:
    """Latency and throughput against raw, opening and settings against pyserial's client."""
    coded = latency_and_throughput(bench, effort)
    return Section([*opening(bench, effort), *settings(bench, effort), *coded.rows], coded.times)


def latency_and_throughput(bench: Bench, effort: Effort) -> Section:
    """Requests and bulk data through RFC 2217."""
    raw = bench.host("raw-host", bench.load("device").announced)
    coded = bench.host("coded-host", bench.load("device").announced, "--protocol", "rfc2217")
    relay = bench.relay("coded", {"raw": {"tcpPort": raw}, "ours": {"tcpPort": coded, **RFC2217}})
    loads = {
        "ours": bench.application(relay.link("ours")),
        RAW: bench.application(relay.link("raw")),
    }
    with bench.on_one_core():
        single = in_turns(loads, effort.rounds, "requests", effort.requests)
    rows = latency_rows("request and response on one core", single["ours"], RAW, single[RAW], (1.05, None))
    count = effort.megabytes * 1_000_000
    ours = {"ours": loads["ours"]}
    for command, way in (("send", "to the device"), ("receive", "from the device")):
        plain: list[array[int]] = []
        full: list[array[int]] = []
        for _ in range(effort.throughput_rounds):
            plain += in_turns(ours, 1, command, count, ord("x"))["ours"]
            full += in_turns(ours, 1, command, count, 0xFF)["ours"]
        without, with_ = megabytes_per_second(plain, count), megabytes_per_second(full, count)
        rows.append(
            Row(
                f"throughput of 0xFF {way}",
                "MB/s",
                with_,
                "data without 0xFF",
                without,
                with_ / without,
                at_least=0.7,
                of_ratio=True,
            )
        )
    return Section(
        rows, microseconds({"ours": single["ours"]}, "ours, module and host, RFC 2217, on one core")
    )


def opening(bench: Bench, effort: Effort) -> list[Row]:
    """From an application's open to the answer to its first request, the connection being made on open."""
    ports = {f"port{number}": port for number, port in enumerate(free_ports(ON_OPEN_PORTS))}
    configuration = bench.directory / "host.toml"
    configuration.write_text(
        "\n".join(
            f"[[ports]]\ndevice = {json.dumps(bench.load('device').announced)}\ntcp_port = {port}\n"
            'protocol = "rfc2217"'
            for port in ports.values()
        )
    )
    bench.host_of_many("on-open-host", configuration, list(ports.values()))
    relay = bench.relay(
        "on-open", {name: {"tcpPort": port, "connect": "onOpen", **RFC2217} for name, port in ports.items()}
    )
    ours, theirs = [], []
    for _ in range(1 + effort.outages):
        ours += [milliseconds_to_first_answer(partial(serial.Serial, relay.link(name))) for name in ports]
        for name, port in ports.items():
            relay.wait(partial(is_idle, relay, name), f"{name} to let go of the host")
            url = f"rfc2217://127.0.0.1:{port}"
            theirs.append(milliseconds_to_first_answer(partial(serial.serial_for_url, url)))
    mine, peers = statistics.median(ours), statistics.median(theirs)
    return [Row("open to the first answer", "ms", mine, PYSERIAL, peers, mine / peers, at_most=20)]


def is_idle(relay: Relay, name: str) -> bool:
    """Return whether the relay has no connection for the port, at this very moment."""
    return relay.metric("state", port=name, state="idle") == 1


def milliseconds_to_first_answer(open_port: Callable[[], serial.SerialBase]) -> float:
    """Open, send a request, wait for its answer, close."""
    start = time.perf_counter()
    port = open_port()
    try:
        port.timeout = PATIENCE
        port.write(REQUEST)
        assert port.read(len(REQUEST)) == REQUEST
        return (time.perf_counter() - start) * 1e3
    finally:
        port.close()


def settings(bench: Bench, effort: Effort) -> list[Row]:
    """From an application's change of the baud rate until it may go on and the COM port has it."""
    with Device() as device:
        port = bench.host("settings-host", str(device.path), "--protocol", "rfc2217")
        relay = bench.relay("settings", {"ours": {"tcpPort": port, **RFC2217}})
        ours = changes(serial.Serial(relay.link("ours"), 9600), device, effort.rounds)
        relay.stop()  # the host serves one client at a time
        theirs = changes(serial.serial_for_url(f"rfc2217://127.0.0.1:{port}", 9600), device, effort.rounds)
    mine, peers = statistics.median(ours), statistics.median(theirs)
    return [Row("change of the baud rate", "ms", mine, PYSERIAL, peers, mine / peers, at_most=2)]


def changes(application: serial.SerialBase, device: Device, count: int) -> list[float]:
    """Milliseconds of each change."""
    result = []
    wait_for_speed(device, 9600)
    try:
        for _ in range(count):
            for speed in (19200, 9600):
                time.sleep(0.02)
                start = time.perf_counter()
                application.baudrate = speed
                wait_for_speed(device, speed)
                result.append((time.perf_counter() - start) * 1e3)
    finally:
        application.close()
    return result


def wait_for_speed(device: Device, speed: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while device.speed != SPEEDS[speed]:
        assert time.monotonic() < deadline, f"the COM port did not get {speed} baud"
        time.sleep(LOOK_EVERY)
