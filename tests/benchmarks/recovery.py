"""The time from a server's return to the first byte that comes through."""

from __future__ import annotations

import os
import random
import select
import statistics
import threading
import time
import tty

from tests.benchmarks.contenders import Bench
from tests.benchmarks.measures import SAMPLE, Effort
from tests.benchmarks.rows import Row, Section
from tests.system.processes import wait_for
from tests.system.tcp_servers import Listener

PORTS = 16


def seconds_to_first_byte(listener: Listener, application: int) -> float:
    """Listen again, send a byte on the first connection and give the seconds until the application has it."""
    start = time.perf_counter()
    listener.listen()
    listener.accept().sendall(b"x")
    readable, _, _ = select.select([application], [], [], 60)
    assert readable, "no byte came through within 60 s"
    os.read(application, 1)
    return time.perf_counter() - start


def recovery_section(bench: Bench, effort: Effort) -> Section:
    """Servers stay away and come back, each at its own moment."""
    listeners = [Listener() for _ in range(PORTS)]
    relay = bench.relay(
        "recovery", {f"port{index}": {"tcpPort": listener.port} for index, listener in enumerate(listeners)}
    )
    applications = [os.open(relay.link(f"port{index}"), os.O_RDWR | os.O_NOCTTY) for index in range(PORTS)]
    sample_server = Listener()
    sample, _ = bench.socat("recovery-sample", sample_server.port)
    sample_server.accept()
    for application, listener in zip(applications, listeners, strict=True):
        tty.setraw(application)
        listener.accept()

    times: list[float] = []

    def come_back(listener: Listener, application: int, delay: float) -> None:
        time.sleep(delay)
        times.append(seconds_to_first_byte(listener, application))

    for _ in range(effort.outages):
        for listener in [*listeners, sample_server]:
            listener.go_away()
        time.sleep(effort.outage)
        returning = [
            threading.Thread(target=come_back, args=(listener, application, random.uniform(0, 2)))
            for listener, application in zip(listeners, applications, strict=True)
        ]
        for thread in returning:
            thread.start()
        for thread in returning:
            thread.join()
    wait_for(lambda: sample.returncode is not None, "the sample's socat to end")
    for application, listener in zip(applications, listeners, strict=True):
        os.close(application)
        listener.go_away()
    assert len(times) == PORTS * effort.outages
    outage = f"after an outage of {effort.outage:g} s"
    rows = [
        Row(f"recovery {outage}, median", "s", statistics.median(times), SAMPLE, None, at_most=0.4),
        Row(f"recovery {outage}, longest of {len(times)}", "s", max(times)),
    ]
    return Section(rows)
