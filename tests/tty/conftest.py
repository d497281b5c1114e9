"""The server of devices, with this test at the relay's end of its sockets."""

from __future__ import annotations

import contextlib
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


@contextlib.contextmanager
def served(port: RelayEnd) -> Iterator[RelayEnd]:
    """Take what comes in a thread."""
    over = threading.Event()

    def serve() -> None:
        while not over.is_set():
            port.look()

    thread = threading.Thread(target=serve)
    thread.start()
    yield port
    over.set()
    thread.join()


@pytest.fixture
def serving(port: RelayEnd) -> Iterator[RelayEnd]:
    """A port whose relay end takes what comes in a thread, and sends it back."""
    port.echo = True
    with served(port):
        yield port


@pytest.fixture
def plugged(serving: RelayEnd) -> RelayEnd:
    """The same with a loopback plug: the modem lines come back too."""
    serving.plugged = True
    return serving


@pytest.fixture
def answering(port: RelayEnd) -> Iterator[RelayEnd]:
    """A port whose relay end takes what comes in a thread, and answers what the test's `device` says."""
    with served(port):
        yield port
