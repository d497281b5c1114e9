"""What it costs that somebody may look: a ring that keeps the last seconds, and a watcher, against the same module without.

It is one module and one application all the time. Two processes of the same program differ by several per cent, which is
more than a ring costs; so the ring and the watcher come and go instead, in turns.
"""

from __future__ import annotations

from array import array
from contextlib import ExitStack

from tests.benchmarks.comparison import median_ratio, p50, pooled, spread
from tests.benchmarks.contenders import Bench
from tests.benchmarks.measures import Effort
from tests.benchmarks.rows import Row, Section
from tests.system.stack import Relay

NOBODY = "nobody watches"
RING = "request and response with a ring of 60 s, p50"
WATCHER = "request and response with a watcher, p50"
_LIMITS = {RING: 1.03, WATCHER: 1.15}
_MOST_ROUNDS = 16
"""Each starts a command, which takes a second."""
_PORT = "port"


def watching_section(bench: Bench, effort: Effort) -> Section:
    """A module before a TCP server: as it is, with `captureSeconds`, and with the command `monitor` attached."""
    entry = {"tcpPort": int(bench.load("server").announced)}
    relay = bench.relay("watching", {_PORT: entry})
    application = bench.application(relay.link(_PORT))
    results: dict[str, list[array[int]]] = {NOBODY: [], RING: [], WATCHER: []}
    names = list(results)
    for number in range(min(effort.rounds, _MOST_ROUNDS)):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            with ExitStack() as stack:
                _capture(relay, entry, 60 if name == RING else 0)
                if name == WATCHER:
                    monitor = bench.command(f"watching-{number}", relay, "monitor", "--json")
                    stack.callback(monitor.stop)
                    monitor.wait_for_log('"event": "state"')
                application.command("requests", effort.requests // 10)
                results[name].append(application.command("requests", effort.requests))
    nobody = results[NOBODY]
    rows = [
        Row(
            name,
            "µs",
            p50(pooled(results[name])),
            NOBODY,
            p50(pooled(nobody)),
            median_ratio(results[name], nobody, p50),
            at_most=limit,
            of_ratio=True,
            spread=spread(results[name], nobody, p50),
        )
        for name, limit in _LIMITS.items()
    ]
    return Section(rows)


def _capture(relay: Relay, entry: dict[str, int], seconds: int) -> None:
    """Let the module keep so many seconds, and wait until it does."""
    relay.configure({_PORT: {**entry, "captureSeconds": seconds}})
    status = 200 if seconds else 409  # nothing is kept
    relay.wait(lambda: relay.call("capture", {"port": _PORT})[0] == status, "the capture to be set")
