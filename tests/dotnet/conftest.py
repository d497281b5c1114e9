"""The chain that the .NET applications of these tests use: the module without capabilities, and the host."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.system.processes import free_port
from tests.system.serial_lines import Device
from tests.system.stack import Host, Relay

WITHOUT_CAPABILITIES = (
    ("setpriv", "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs", "--") if os.geteuid() == 0 else ()
)

Chain = Callable[..., Relay]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """What is entered here ends with the test, last come first."""
    with ExitStack() as entered:
        yield entered


@pytest.fixture
def device(stack: ExitStack) -> Device:
    """A serial device that takes no more than is read from it."""
    return stack.enter_context(Device())


@pytest.fixture
def chain(stack: ExitStack) -> Chain:
    """Start host and module with the arguments of the host's command line; its port is `COM`, open to every user."""

    def start(protocol: str, command: str, device: str | Path) -> Relay:
        # Every user can reach it, unlike pytest's own directories.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dotnet-")))
        port = free_port()
        for directory in (folder, folder / "host", folder / "relay", folder / "relay" / "dev"):
            directory.mkdir(exist_ok=True)
            directory.chmod(0o755)
        host = Host(folder / "host", command, device, str(port), "--protocol", protocol)
        stack.callback(host.close)
        entry = {"tcpPort": port, "protocol": protocol, "mode": "0666"}
        relay = Relay(folder / "relay", {"COM": entry}, WITHOUT_CAPABILITIES)
        stack.callback(relay.close)
        relay.start()
        relay.wait_for_link("COM")
        relay.wait_for_status("COM", state="connected")
        return relay

    return start
