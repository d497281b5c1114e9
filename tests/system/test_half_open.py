"""A host that is suddenly gone: no FIN, no RST, nothing (needs root, for a network that can be cut).

The host lives in a network namespace of its own behind a pair of virtual Ethernet interfaces; the cut is an nftables
rule there that drops every packet both ways, as a crashed machine or a pulled cable would.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.system.conftest import OpenPort, StartProgram, StartRelay
from tests.system.far_host import FarHost
from tests.system.lateness import Lateness
from tests.system.processes import wait_for
from tests.system.stack import Relay

NOTICED_WITHIN = 10.0
"""Seconds, as promised to users."""


@pytest.fixture
def far_host() -> Iterator[FarHost]:
    if os.geteuid() != 0:
        pytest.skip("a network namespace needs root")
    try:
        host = FarHost()
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no network namespace here: {error} {getattr(error, 'stderr', '')}")
    yield host
    host.remove()


@pytest.fixture
def relay(start_relay: StartRelay, start_program: StartProgram, far_host: FarHost) -> Relay:
    """A relay connected to an echo on the far host."""
    start_program(*far_host.inside.split(), "socat", "TCP-LISTEN:5002,fork,reuseaddr", "PIPE")
    relay = start_relay({"ttyVirtS0": {"tcpPort": 5002, "host": far_host.address}})
    relay.wait_for_status("ttyVirtS0", state="connected")
    return relay


def seconds_until_noticed(relay: Relay, since: float) -> float:
    relay.wait_for_status("ttyVirtS0", state="retrying")
    error = relay.status("ttyVirtS0")["lastError"]
    assert error["code"] == "timedOut", error
    return time.monotonic() - since


def test_dead_host_is_noticed_while_idle(relay: Relay, far_host: FarHost, open_port: OpenPort) -> None:
    application = open_port(relay.link("ttyVirtS0"))
    application.write(b"ping")
    assert application.read(4) == b"ping"

    far_host.cut()
    with Lateness() as lateness:
        took = seconds_until_noticed(relay, time.monotonic())
    assert took < NOTICED_WITHIN + lateness.seconds

    far_host.mend()
    relay.wait_for_status("ttyVirtS0", state="connected")
    application.write(b"pong")
    assert application.read(4) == b"pong"


def test_dead_host_is_noticed_while_streaming(relay: Relay, far_host: FarHost, open_port: OpenPort) -> None:
    application = open_port(relay.link("ttyVirtS0"), write_timeout=0)

    def still_connected() -> object:
        application.write(b"measurement\r\n")
        return relay.status("ttyVirtS0").get("state") == "connected"

    for _ in range(20):
        assert still_connected()
    far_host.cut()
    start = time.monotonic()
    with Lateness() as lateness:
        wait_for(lambda: not still_connected(), "the cut to be noticed")
        took = seconds_until_noticed(relay, start)
    assert took < NOTICED_WITHIN + lateness.seconds

    far_host.mend()
    relay.wait_for_status("ttyVirtS0", state="connected")
    application.reset_input_buffer()
    application.write(b"pong")
    assert application.read_until(b"pong").endswith(b"pong")
