"""A name server that does not answer: every lookup takes as long as the resolver's patience (needs root).

The relay runs in a mount namespace in which /etc/resolv.conf names a socket that nobody reads.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.system.conftest import StartRelay
from tests.system.lateness import Lateness

PORTS = 16
STOPPED_WITHIN = 8.0
"""Seconds; the container runtime kills after 10."""


@pytest.fixture
def silent_name_server(running: ExitStack) -> str:
    """The address of a name server that takes questions and keeps them."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("a mount namespace needs root and unshare")
    address = f"127.{os.getpid() >> 16 & 255}.{os.getpid() >> 8 & 255}.{os.getpid() & 255 | 2}"
    server = running.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    try:
        server.bind((address, 53))
    except OSError as error:
        pytest.skip(f"no name server at {address}: {error}")
    return address


def test_lookups_do_not_pile_up_nor_hold_up_the_end(
    silent_name_server: str, start_relay: StartRelay, tmp_path: Path
) -> None:
    configuration = tmp_path / "resolv.conf"
    configuration.write_text(f"nameserver {silent_name_server}\n")
    mount = f'mount --bind {configuration} /etc/resolv.conf && exec "$@"'
    relay = start_relay(
        {f"port{number}": {"tcpPort": 5002 + number, "host": "host.example"} for number in range(PORTS)},
        within=("unshare", "--mount", "sh", "-c", mount, "sh"),
    )
    for number in range(PORTS):
        status = relay.wait_for_status(f"port{number}", state="retrying")
        assert status["lastError"]["code"] == "nameResolution"
    threads = {
        thread.read_text().strip() for thread in Path(f"/proc/{relay.program.pid}/task").glob("*/comm")
    }
    assert len(list(Path(f"/proc/{relay.program.pid}/task").iterdir())) <= PORTS / 2, threads

    start = time.monotonic()
    with Lateness() as lateness:
        relay.program.send_signal(signal.SIGTERM)
        assert relay.program.wait() == 0
    assert time.monotonic() - start < STOPPED_WITHIN + lateness.seconds
    assert not [path for path in relay.links.rglob("*") if path.is_symlink()]
