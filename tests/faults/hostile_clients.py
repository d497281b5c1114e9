"""Clients that treat the host badly. Each connects, does its worst and has gone when the function returns."""

from __future__ import annotations

import random
import socket
import time
from contextlib import suppress

from rfc2217 import Control, FlowControlSuspend, SetBaudRate, SetControl
from tests.faults.hostile_servers import command
from tests.system.tcp_servers import reset

Address = tuple[str, int]

AGREE = b"\xff\xfb\x2c\xff\xfd\x2c\xff\xfb\x00\xff\xfd\x00\xff\xfb\x03\xff\xfd\x03"
"""A client's whole negotiation: the com port option, binary and suppressed go-ahead, both ways."""

SENDING_SECONDS = 2.0
"""That a client goes on sending to a host that takes nothing more."""


def connect(host: Address, source: str | None) -> socket.socket:
    """Connect from the address `source`, None for the one that the module has too."""
    return socket.create_connection(host, 10, None if source is None else (source, 0))


def send_without_reading(connection: socket.socket, data: bytes, times: int) -> None:
    """Send as much of this as the host takes, within some seconds."""
    connection.settimeout(SENDING_SECONDS)
    deadline = time.monotonic() + SENDING_SECONDS
    with suppress(OSError):
        for _ in range(times):
            if time.monotonic() > deadline:
                break
            connection.sendall(data)


def flood_of_requests(host: Address, source: str | None) -> None:
    """Ask for an option that no telnet knows, 100,000 times, and read no answer."""
    with connect(host, source) as connection:
        send_without_reading(connection, b"\xff\xfd\x63" * 1000, 100)


def flapping(host: Address, source: str | None) -> None:
    """Agree on the com port option and take it back, 300 times."""
    with connect(host, source) as connection:
        send_without_reading(connection, AGREE + b"\xff\xfc\x2c\xff\xfb\x2c" * 300, 1)


def ask_for_ever(host: Address, source: str | None) -> None:
    """Suspend the host, then ask for its baud rate again and again and read no answer."""
    with connect(host, source) as connection:
        send_without_reading(connection, AGREE + command(FlowControlSuspend(), 0), 1)
        send_without_reading(connection, command(SetBaudRate(0), 0) * 200, 2000)


def control_storm(host: Address, source: str | None) -> None:
    """Set modem lines and breaks faster than any device can follow."""
    storm = b"".join(command(SetControl(Control(value)), 0) for value in (5, 6, 8, 9, 11, 12))
    with connect(host, source) as connection:
        send_without_reading(connection, AGREE, 1)
        send_without_reading(connection, storm * 50, 20)


def telnet_garbage(host: Address, source: str | None) -> None:
    """Send what is no protocol, with an unfinished subnegotiation at the end, and reset the connection."""
    generator = random.Random(2)
    connection = connect(host, source)
    data = bytes(generator.choice((255, 250, 240, 44, generator.randrange(256))) for _ in range(20_000))
    send_without_reading(connection, data + b"\xff\xfa\x2c" + b"x" * 5000, 5)
    reset(connection)


def probe(host: Address, source: str | None) -> None:
    """Connect and close, as a port scan or a health probe does."""
    with suppress(OSError):
        connect(host, source).close()
