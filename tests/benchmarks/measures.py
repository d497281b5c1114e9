"""The measurements of the raw relay and of the whole chain, one function a section of the result."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.benchmarks.comparison import (
    Rounds,
    in_turns,
    median_ratio,
    megabytes_per_second,
    p50,
    p99,
    pooled,
    spread,
)
from tests.benchmarks.contenders import Bench, Load
from tests.benchmarks.rows import Row, Section

NODELAY = "socat nodelay"
SAMPLE = "socat as in the sample"
SER2NET = "socat + ser2net"

PAUSE_IN_REQUEST = 200
"""Microseconds between the two parts of a request."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured."""

    rounds: int
    requests: int
    """In each round."""
    requests_in_two_parts: int
    megabytes: int
    """Moved in each throughput round."""
    throughput_rounds: int
    outage: float
    """Seconds that servers stay away."""
    outages: int
    idle: float
    """Seconds over which the CPU time of an idle relay is taken."""
    ports: int
    """Of one module and one host, where it is about many."""
    windows: bool = True
    """Whether the host is measured in Windows Python too, where wine is."""


FULL = Effort(30, 1000, 30, 16, 5, 10.0, 3, 30.0, 256)
QUICK = Effort(6, 500, 8, 4, 3, 2.0, 1, 5.0, 32)
SMOKE = Effort(1, 20, 2, 1, 1, 0.5, 1, 0.5, 4, windows=False)


def latency_rows(
    prefix: str, ours: Rounds, peer: str, theirs: Rounds, limits: tuple[float, float | None]
) -> list[Row]:
    """p50 and p99 of ours against a peer's, with the limits of their ratios."""
    return [
        Row(
            f"{prefix}, {name}",
            "µs",
            percentile(pooled(ours)),
            peer,
            percentile(pooled(theirs)),
            median_ratio(ours, theirs, percentile),
            at_most=limit,
            of_ratio=True,
            spread=spread(ours, theirs, percentile),
        )
        for name, percentile, limit in (("p50", p50, limits[0]), ("p99", p99, limits[1]))
    ]


def microseconds(results: Mapping[str, Rounds], our_name: str) -> dict[str, list[float]]:
    """The single times of each way, ours under the name it has in the picture."""
    return {
        our_name if name == "ours" else name: [time / 1e3 for time in pooled(rounds)]
        for name, rounds in results.items()
    }


def throughput_rows(loads: Mapping[str, Load], peer: str, effort: Effort) -> list[Row]:
    """Bytes a second each way, ours (the first load) against the peer's."""
    count = effort.megabytes * 1_000_000
    ours = next(iter(loads))
    rows = []
    for command, way in (("send", "to the device"), ("receive", "from the device")):
        results = in_turns(loads, effort.throughput_rounds, command, count, ord("x"))
        mine, theirs = (megabytes_per_second(results[name], count) for name in (ours, peer))
        rows.append(Row(f"throughput {way}", "MB/s", mine, peer, theirs, mine / theirs, at_least=5))
    return rows


def relay_section(bench: Bench, effort: Effort) -> Section:
    """The module alone before a TCP server, against socat in its place; with the single times for the picture."""
    server = int(bench.load("server").announced)
    relay = bench.relay("relay", {"ours": {"tcpPort": server}})
    loads = {
        "ours": bench.application(relay.link("ours")),
        NODELAY: bench.application(bench.socat("nodelay", server, ",nodelay")[1]),
        SAMPLE: bench.application(bench.socat("sample", server)[1]),
    }
    single = in_turns(loads, effort.rounds, "requests", effort.requests)
    rows = latency_rows("request and response", single["ours"], NODELAY, single[NODELAY], (1.05, 1.0))
    parts = in_turns(loads, 5, "requests_in_two_parts", effort.requests_in_two_parts, PAUSE_IN_REQUEST)
    ours, nodelay, sample = (p50(pooled(parts[name])) for name in ("ours", NODELAY, SAMPLE))
    rows += [
        Row("request in two parts, p50", "µs", ours, NODELAY, nodelay, ours / nodelay),
        Row(
            "request in two parts, p50",
            "µs",
            ours,
            SAMPLE,
            sample,
            ours / sample,
            at_most=1 / 20,
            of_ratio=True,
        ),
    ]
    rows += throughput_rows({name: loads[name] for name in ("ours", NODELAY)}, NODELAY, effort)
    return Section(rows, microseconds(single, "ours"))


def chain_section(bench: Bench, effort: Effort) -> Section:
    """Module and host before a serial device, against socat and ser2net in their places."""
    port = bench.host("host", bench.load("device").announced)
    relay = bench.relay("chain", {"ours": {"tcpPort": port}})
    peer_port = bench.ser2net("ser2net", bench.load("device").announced)
    loads = {
        "ours": bench.application(relay.link("ours")),
        SER2NET: bench.application(bench.socat("chain-peer", peer_port, ",nodelay")[1]),
    }
    single = in_turns(loads, effort.rounds, "requests", effort.requests)
    rows = latency_rows("request and response", single["ours"], SER2NET, single[SER2NET], (1.0, 1.0))
    rows += throughput_rows(loads, SER2NET, effort)
    return Section(rows, microseconds(single, "ours, module and host"))


def resident_megabytes(pid: int) -> float:
    """Resident set size, all shared libraries included (of the 64 socats each page is counted once)."""
    return float(psutil.Process(pid).memory_info().rss) / 1e6


def host_section(bench: Bench, effort: Effort) -> Section:
    """The host alone before a serial device, against ser2net in its place; the clients are plain sockets."""
    loads = {
        "ours": bench.application(str(bench.host("alone", bench.load("device").announced))),
        "ser2net": bench.application(str(bench.ser2net("alone-ser2net", bench.load("device").announced))),
    }
    single = in_turns(loads, effort.rounds, "requests", effort.requests)
    return Section(
        latency_rows("request and response", single["ours"], "ser2net", single["ser2net"], (1.0, None))
    )


def cpu_seconds(pid: int) -> float:
    """CPU time of all threads (first field of /proc/PID/task/TID/schedstat, nanoseconds)."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def idle_section(bench: Bench, effort: Effort) -> Section:
    """What a relay costs that has nothing to do: 16 ports connected, each held open by nobody."""
    server = int(bench.load("server").announced)
    relay = bench.relay(
        "idle", {f"port{index}": {"tcpPort": server, "host": f"127.0.0.{index + 1}"} for index in range(16)}
    )
    time.sleep(2)  # what the start left to do is not idling
    before, start = cpu_seconds(relay.program.pid), time.monotonic()
    time.sleep(effort.idle)
    share = (cpu_seconds(relay.program.pid) - before) / (time.monotonic() - start)
    return Section([Row("CPU of one core with 16 idle ports", "%", share * 100, at_most=0.2)])
