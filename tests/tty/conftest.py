"""The server of devices, with this test at the relay's end of its sockets."""

from __future__ import annotations

import contextlib
import select
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
def served(*ports: RelayEnd) -> Iterator[None]:
    """Take what comes in a thread."""
    over = threading.Event()

    def serve() -> None:
        while not over.is_set():
            ready = [port for port in ports if port.has_come]
            for port in ready:
                port.look()
            if not ready:
                select.select([port for port in ports if not port.ended], (), (), 0.1)

    thread = threading.Thread(target=serve)
    thread.start()
    yield
    over.set()
    thread.join()


@pytest.fixture
def serving(port: RelayEnd) -> Iterator[RelayEnd]:
    """A port whose relay end takes what comes in a thread, and sends it back."""
    port.echo = True
    with served(port):
        yield port


@pytest.fixture
def joined(server: ServerProcess) -> Iterator[tuple[RelayEnd, RelayEnd]]:
    """Two ports with a null-modem cable between them."""
    one, other = server.add_port(), server.add_port()
    one.join(other)
    with served(one, other):
        yield one, other


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
