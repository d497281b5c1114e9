"""The server of devices, with this test at the relay's end of its sockets."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tests.tty.relay_end import RelayEnd, ServerProcess


@pytest.fixture
def server() -> Iterator[ServerProcess]:
    process = ServerProcess()
    yield process
    process.close()


@pytest.fixture
def port(server: ServerProcess) -> RelayEnd:
    return server.add_port()


@pytest.fixture
def serving(port: RelayEnd) -> Iterator[RelayEnd]:
    """A port whose relay end takes what comes in a thread, and sends it back."""
    port.echo = True
    over = threading.Event()

    def serve() -> None:
        while not over.is_set():
            port.look()

    thread = threading.Thread(target=serve)
    thread.start()
    yield port
    over.set()
    thread.join()
