"""What TLS costs: the same chain with and without it in the same run, and ports that come back together."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Sequence

from serial_host.security.kept import Kept
from serial_tls.identity import own_identity
from tests.benchmarks.comparison import in_turns
from tests.benchmarks.contenders import Bench
from tests.benchmarks.measures import Effort, latency_rows, resident_megabytes, throughput_rows
from tests.benchmarks.rows import Row, Section
from tests.system.processes import PATIENCE, free_ports, wait_for
from tests.system.stack import Host, Relay

PLAIN = "without TLS"
RECONNECTS = 8
"""How often a single port is cut for each outage of many: it waits for up to a second, so the median of a few says little."""

TOGETHER = 64
"""Ports that come back at the same moment."""


def tls_section(bench: Bench, effort: Effort) -> Section:
    """Two ports of one module and one host, one of them secured; then many secured ports after an outage."""
    host, relay, _ = _chain(bench, "pair", [bench.load("device").announced for _ in range(2)], [True, False])
    loads = {
        "ours": bench.application(relay.link("port0")),
        PLAIN: bench.application(relay.link("port1")),
    }
    with bench.on_one_core():
        turns = in_turns(loads, effort.rounds, "requests", effort.requests)
    rows = latency_rows(
        "module and host on one core, request and response by TLS",
        turns["ours"],
        PLAIN,
        turns[PLAIN],
        (1.6, None),
    )
    rows += throughput_rows(loads, PLAIN, effort)
    rows.append(Row("memory of the module with TLS", "MB", resident_megabytes(relay.program.pid)))
    rows.append(Row("memory of the host with TLS", "MB", resident_megabytes(host.program.pid)))

    single = _chain(bench, "single", [bench.load("device").announced], [True])
    single_times = [_outage(*single, effort.outage / 4)[0] for _ in range(RECONNECTS * effort.outages)]
    rows.append(Row("connected again by TLS, median", "s", statistics.median(single_times), at_most=0.5))
    count = min(TOGETHER, effort.ports)
    many = _chain(bench, "many", bench.load("devices", str(count)).announced.split(), [True] * count)
    last = [max(_outage(*many, effort.outage)) for _ in range(effort.outages)]
    what = f"all {count} ports connected by TLS after an outage of {effort.outage:g} s"
    rows.append(Row(what, "s", statistics.median(last), at_most=3))
    return Section(rows)


def _outage(host: Host, relay: Relay, ports: Sequence[int], seconds: float) -> list[float]:
    """Let the host be away; return for each of its secured ports when it is connected after the host listens."""
    host.stop()
    wait_for(lambda: _connected(relay) == 0, "all ports to be cut")
    time.sleep(seconds)
    return _come_back(host, relay, ports)


def _chain(
    bench: Bench, name: str, devices: Sequence[str], secured: list[bool]
) -> tuple[Host, Relay, Sequence[int]]:
    """Start a host and a module that trust each other, with a port for each device; return also the TCP ports."""
    ports = free_ports(len(devices))
    folder = bench.directory / f"{name}-configuration"
    folder.mkdir()
    tables = [
        f"[[ports]]\ndevice = {json.dumps(device)}\ntcp_port = {port}\ntls = {str(tls).lower()}"
        for device, port, tls in zip(devices, ports, secured, strict=True)
    ]
    state = bench.directory / f"{name}-chain" / "state"
    module = own_identity(state / "identity.pem", "module").fingerprint
    tables.append(f'[tls]\nclient_fingerprints = ["{module}"]')
    (folder / "serial-host.toml").write_text("\n".join(tables))
    settings = {"hostFingerprints": [Kept(folder / "tls").identity().fingerprint]}
    host = bench.host_of_many(f"{name}-host", folder / "serial-host.toml", ports)
    relay = bench.relay(
        f"{name}-chain",
        {
            f"port{n}": {"tcpPort": port, "tls": settings if tls else False}
            for n, (port, tls) in enumerate(zip(ports, secured, strict=True))
        },
    )
    return host, relay, ports


def _connected(relay: Relay) -> int:
    return sum(
        sample.name == "serial_relay_port_connected" and sample.value == 1 for sample in relay.samples()
    )


def _come_back(host: Host, relay: Relay, ports: Sequence[int]) -> list[float]:
    """Start the host; return for each port the seconds from the moment at which it listens to the connection."""
    host.start()
    host.wait_until_listening(ports[0])  # its log may still say that of the time before
    began = time.monotonic()
    times: list[float] = []
    while len(times) < len(ports):
        assert time.monotonic() < began + PATIENCE, f"only {len(times)} of {len(ports)} ports came back"
        times += [time.monotonic() - began] * (_connected(relay) - len(times))
        time.sleep(0.005)
    return times
