"""What many ports cost: memory, CPU time, latency, and the attempts to reach a host that refuses them. And the start."""

from __future__ import annotations

import json
import os
import statistics
import time
import tty

from tests.benchmarks.comparison import in_turns
from tests.benchmarks.contenders import Bench, Load
from tests.benchmarks.load import REQUEST
from tests.benchmarks.measures import Effort, cpu_seconds, latency_rows, resident_megabytes
from tests.benchmarks.rows import Row, Section
from tests.system.processes import free_port, free_ports, wait_for
from tests.system.stack import Relay

POLLS_A_SECOND = 10
REFUSED_PORTS = 64


def scale_section(bench: Bench, effort: Effort) -> Section:
    """One chain of module and host with many ports, beside one with a single port."""
    single_host, single = _chain(bench, "single", 1)
    many_host, many = _chain(bench, "many", effort.ports)
    rows = [
        Row("memory of the module, 1 port", "MB", resident_megabytes(single.program.pid), at_most=35),
        Row(
            f"memory of the module, {effort.ports} ports",
            "MB",
            resident_megabytes(many.program.pid),
            at_most=60,
        ),
        Row("memory of the host, 1 port", "MB", resident_megabytes(single_host), at_most=40),
        Row(f"memory of the host, {effort.ports} ports", "MB", resident_megabytes(many_host), at_most=80),
    ]
    loads = {
        "many": bench.application(many.link(f"port{effort.ports // 2}")),
        "one": bench.application(single.link("port0")),
    }
    with bench.on_one_core():
        results = in_turns(loads, effort.rounds, "requests", effort.requests)
    rows += latency_rows(
        f"module and host on one core, one of {effort.ports} ports",
        results["many"],
        "a single port",
        results["one"],
        (1.05, None),
    )
    return Section([*rows, *_polled(bench, effort)])


def _chain(bench: Bench, name: str, count: int) -> tuple[int, Relay]:
    """Start a host and a module with so many ports; return the host's process id, and the module."""
    devices = bench.load("devices", str(count)).announced.split()
    ports = free_ports(count)
    configuration = bench.directory / f"{name}.toml"
    configuration.write_text(
        "\n".join(
            f"[[ports]]\ndevice = {json.dumps(device)}\ntcp_port = {port}"
            for device, port in zip(devices, ports, strict=True)
        )
    )
    host = bench.host_of_many(f"{name}-host", configuration, ports)
    relay = bench.relay(f"{name}-chain", {f"port{n}": {"tcpPort": port} for n, port in enumerate(ports)})
    return host.program.pid, relay


def _polled(bench: Bench, effort: Effort) -> list[Row]:
    """CPU time while each of many ports is polled: the module's, and that of as many socats."""
    server = int(bench.load("server").announced)
    relay = bench.relay(
        "polled",
        {
            f"port{n}": {"tcpPort": server, "host": f"127.0.{n // 200}.{n % 200 + 1}"}
            for n in range(effort.ports)
        },
    )
    socats = [bench.socat(f"polled-{n}", server, ",nodelay") for n in range(effort.ports)]
    ours = bench.load("poller", *(relay.link(f"port{n}") for n in range(effort.ports)))
    theirs = bench.load("poller", *(path for _, path in socats))
    shares: dict[str, list[float]] = {"ours": [], "theirs": []}
    for _ in range(effort.outages):
        shares["ours"].append(_share(ours, [relay.program.pid], effort))
        shares["theirs"].append(_share(theirs, [program.pid for program, _ in socats], effort))
    for program, _ in socats:
        program.stop()
    mine, peers = statistics.median(shares["ours"]), statistics.median(shares["theirs"])
    return [
        Row(
            f"CPU of one core, {effort.ports} ports polled {POLLS_A_SECOND} times a second",
            "%",
            mine,
            f"{effort.ports} socats",
            peers,
            mine / peers,
            at_most=0.8,
            of_ratio=True,
        )
    ]


def _share(poller: Load, pids: list[int], effort: Effort) -> float:
    rounds = max(1, round(effort.idle / 3 * POLLS_A_SECOND))
    before, start = sum(map(cpu_seconds, pids)), time.monotonic()
    poller.command("poll", rounds, 1_000_000 // POLLS_A_SECOND)
    return (sum(map(cpu_seconds, pids)) - before) / (time.monotonic() - start) * 100


def start_and_outage_section(bench: Bench, effort: Effort) -> Section:
    """The time from the start to the first answer, and what ports cost whose host refuses all of them."""
    return Section([_start(bench, effort), _refused(bench, effort)])


def _start(bench: Bench, effort: Effort) -> Row:
    server = int(bench.load("server").announced)
    directory = bench.directory / "starting"
    directory.mkdir()
    relay = Relay(directory, {"ours": {"tcpPort": server}})
    times = []
    for _ in range(2 + effort.outages):
        began = time.monotonic()
        relay.start()
        link = relay.link("ours")
        wait_for(lambda: os.path.exists(link), "the link")  # noqa: B023, PTH110
        application = os.open(link, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(application)
        os.write(application, REQUEST)
        assert os.read(application, len(REQUEST))
        times.append(time.monotonic() - began)
        os.close(application)
        relay.stop()
    relay.close()
    return Row("start of the module to the first answer", "s", statistics.median(times), at_most=0.5)


def _refused(bench: Bench, effort: Effort) -> Row:
    nobody = free_port()
    directory = bench.directory / "refused"
    directory.mkdir()
    relay = Relay(directory, {f"port{n}": {"tcpPort": nobody + n} for n in range(REFUSED_PORTS)})
    relay.start()
    try:
        time.sleep(5)  # until the waits between two attempts have grown to their full length
        before, start = cpu_seconds(relay.program.pid), time.monotonic()
        time.sleep(effort.idle)
        share = (cpu_seconds(relay.program.pid) - before) / (time.monotonic() - start)
    finally:
        relay.close()
    return Row(f"CPU of one core with {REFUSED_PORTS} ports refused", "%", share * 100, at_most=2)
