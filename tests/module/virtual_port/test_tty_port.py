"""The relay's end of the socket to the server of devices, with this test at the server's end and no kernel behind it."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from serial_relay.config import LineSettings
from serial_relay.status import LineErrors, ModemState
from serial_relay.virtual_port import tty_port
from serial_relay.virtual_port.node_owner import NodeOwner
from serial_relay.virtual_port.termios_map import ApplicationLine, ModemOutputs
from serial_relay.virtual_port.tty_port import TtyError, TtyPort, check_node
from tests.module.conditions import until
from tty_server.messages import (
    CTS,
    DSR,
    DTR,
    MINOR,
    NUMBER,
    OPENED,
    PURGE,
    RECEIVED,
    TOTAL,
    TRANSMITTED,
    Decoder,
    ErrorCounts,
    Kind,
    Line,
    data_messages,
    message,
)


class Events:
    """Keeps what the port reports, as a list of names and values, and the application's bytes."""

    def __init__(self) -> None:
        self.seen: list[tuple[object, ...]] = []
        self.data = b""
        self.drains: list[Callable[[], None]] = []
        self.lost: list[str] = []
        self.full = False

    def application_opened(self) -> None:
        self.seen.append(("opened",))

    def application_closed(self, unread: int) -> None:
        self.seen.append(("closed", unread))

    def application_data(self, data: bytes) -> None:
        self.data += data
        self.seen.append(("data", data))

    def application_set_line(self, line: ApplicationLine) -> None:
        self.seen.append(("line", line))

    def application_flushed(self, *, received: bool, transmitted: bool) -> None:
        self.seen.append(("flushed", received, transmitted))

    def application_set_outputs(self, outputs: ModemOutputs) -> None:
        self.seen.append(("outputs", outputs))

    def application_set_break(self, *, on: bool) -> None:
        self.seen.append(("break", on))

    def application_drains(self, drained: Callable[[], None]) -> None:
        self.drains.append(drained)

    def virtual_port_lost(self, reason: str) -> None:
        self.lost.append(reason)

    def nothing_to_read(self, *, nothing: bool) -> None:
        self.seen.append(("nothing to read", nothing))

    def virtual_port_full(self, *, full: bool) -> None:
        self.full = full


class ServerEnd:
    """What the server of devices sends and is sent."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._socket.setblocking(False)
        self._decoder = Decoder()
        self._taken: list[tuple[int, bytes]] = []

    def send(self, kind: Kind, rest: bytes = b"") -> None:
        self._socket.sendall(message(kind, rest))

    def send_data(self, data: bytes) -> None:
        self._socket.sendall(data_messages(data))

    def send_nonsense(self) -> None:
        self._socket.sendall(b"\xff" * 100)

    @property
    def taken(self) -> list[tuple[int, bytes]]:
        """All messages that have come."""
        try:
            while data := self._socket.recv(65536):
                self._taken += self._decoder.messages(data)
        except BlockingIOError:
            pass
        return self._taken

    def of(self, kind: Kind) -> list[bytes]:
        return [rest for one, rest in self.taken if one == kind]

    @property
    def data(self) -> bytes:
        return b"".join(self.of(Kind.DATA))

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
async def ends(events: Events) -> AsyncIterator[tuple[TtyPort, ServerEnd]]:
    ours, theirs = socket.socketpair()
    port = TtyPort(asyncio.get_running_loop(), ours, (os.geteuid(), os.getegid(), 0o660), events)
    server = ServerEnd(theirs)
    yield port, server
    port.close()
    server.close()


@pytest.fixture
async def ready(
    ends: tuple[TtyPort, ServerEnd], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> tuple[TtyPort, ServerEnd]:
    """A port whose device was made, and whose application is read."""
    monkeypatch.setattr(tty_port, "check_node", lambda _node, _minor: None)
    monkeypatch.setattr(NodeOwner, "give", lambda _self, _node: None)
    port, server = ends
    server.send(Kind.READY, MINOR.pack(7) + b"serialrelay7")
    await port.ready
    port.resume_reading()
    return port, server


async def test_it_is_ready_when_the_device_is_there(ready: tuple[TtyPort, ServerEnd], events: Events) -> None:
    port, server = ready
    assert (port.slave, port.minor, port.kind) == (Path("/dev/serialrelay7"), 7, "tty")
    assert ("nothing to read", False) in events.seen
    await until(lambda: server.of(Kind.HOLD) == [b"\1", b"\0"])


async def test_a_device_that_cannot_be_made_is_an_error(
    ends: tuple[TtyPort, ServerEnd], events: Events
) -> None:
    port, server = ends
    server.send(Kind.FAILED, b"there is no /dev/cuse")
    with pytest.raises(TtyError, match="there is no /dev/cuse"):
        await port.ready
    assert not events.lost


async def test_a_node_that_is_not_to_be_seen_is_an_error(ends: tuple[TtyPort, ServerEnd]) -> None:
    port, server = ends
    server.send(Kind.READY, MINOR.pack(7) + b"no-such-device")
    with pytest.raises(TtyError, match="in a container the bind /dev:/dev is needed"):
        await port.ready


def test_another_file_in_the_place_of_the_node_is_told() -> None:
    with pytest.raises(TtyError, match="/dev/null is in the way of the device that was made: remove it"):
        check_node(Path("/dev/null"), 7)


async def test_what_the_application_does_arrives_in_its_order(
    ready: tuple[TtyPort, ServerEnd], events: Events
) -> None:
    _, server = ready
    del events.seen[:]
    server.send(Kind.OPEN, OPENED.pack(1, 0))
    server.send(Kind.OUTPUTS, bytes([DTR]))
    server.send(Kind.LINE, Line(19200, 7, "even", 2, "rtsCts").pack())
    server.send_data(b"before the break")
    server.send(Kind.BREAK, b"\1")
    server.send(Kind.BREAK, b"\0")
    server.send_data(b"after")
    server.send(Kind.OPEN, OPENED.pack(0, 0))
    await until(lambda: ("closed", 0) in events.seen)
    assert events.seen == [
        ("opened",),
        ("outputs", ModemOutputs(dtr=True, rts=False)),
        (
            "line",
            ApplicationLine(baud_rate=19200, stop_bits=2, flow_control="rtsCts", data_bits=7, parity="even"),
        ),
        ("data", b"before the break"),
        ("break", True),
        ("break", False),
        ("data", b"after"),
        ("closed", 0),
    ]


async def test_while_it_is_not_read_bytes_wait_and_the_last_of_each_setting(
    ready: tuple[TtyPort, ServerEnd], events: Events
) -> None:
    port, server = ready
    port.pause_reading()
    del events.seen[:]
    for speed in (300, 600, 1200):
        server.send(Kind.LINE, Line(baud_rate=speed, data_bits=8, parity="none", stop_bits=1).pack())
    server.send_data(b"slow")
    server.send(Kind.LINE, Line(baud_rate=9600, data_bits=8, parity="none", stop_bits=1).pack())
    await until(lambda: len(port._waiting) == 3)
    assert events.seen == []
    port.resume_reading()
    kinds = [name for name, *_ in events.seen]
    assert kinds == ["line", "data", "line"]
    speeds = [line.baud_rate for name, line in events.seen if name == "line"]  # type: ignore[attr-defined]
    assert speeds == [1200, 9600]


async def test_the_devices_bytes_flow_as_far_as_the_server_grants(
    ready: tuple[TtyPort, ServerEnd], events: Events
) -> None:
    port, server = ready
    server.send(Kind.GRANT, TOTAL.pack(1000))
    await until(lambda: port._granted == 1000)
    sent = bytes(range(250)) * 8
    port.write(sent)
    assert events.full
    await until(lambda: server.data == sent[:1000])
    server.send(Kind.GRANT, TOTAL.pack(5000))
    await until(lambda: server.data == sent)
    assert not events.full


async def test_bytes_that_the_application_left_unread_are_counted(
    ready: tuple[TtyPort, ServerEnd], events: Events
) -> None:
    port, server = ready
    server.send(Kind.OPEN, OPENED.pack(1, 0))
    server.send(Kind.GRANT, TOTAL.pack(100))
    await until(lambda: port._granted == 100)
    port.write(bytes(150))
    server.send(Kind.OPEN, OPENED.pack(0, 40))
    await until(lambda: ("closed", 110) in events.seen)
    assert not events.full, "what was not sent is dropped"


async def test_a_purge_drops_what_is_here_and_is_answered(
    ready: tuple[TtyPort, ServerEnd], events: Events
) -> None:
    port, server = ready
    port.write(bytes(50))
    assert events.full
    server.send(Kind.PURGE, PURGE.pack(RECEIVED, 3))
    await until(lambda: ("flushed", True, False) in events.seen)
    assert not events.full
    await until(lambda: server.of(Kind.PURGED) == [NUMBER.pack(3)])
    port.pause_reading()
    server.send_data(b"never sent on")
    server.send(Kind.PURGE, PURGE.pack(TRANSMITTED, 4))
    await until(lambda: ("flushed", False, True) in events.seen)
    port.resume_reading()
    assert events.data == b""


async def test_a_drain_is_answered_when_the_relay_says_so(
    ready: tuple[TtyPort, ServerEnd], events: Events
) -> None:
    _, server = ready
    server.send(Kind.DRAIN, NUMBER.pack(5))
    await until(lambda: events.drains)
    assert server.of(Kind.DRAINED) == []
    events.drains[0]()
    await until(lambda: server.of(Kind.DRAINED) == [NUMBER.pack(5)])


async def test_what_the_device_says_beside_its_bytes_is_told(ready: tuple[TtyPort, ServerEnd]) -> None:
    port, server = ready
    port.set_inputs(ModemState(cts=True, dsr=True))
    port.count_errors(LineErrors(framing=1, breaks=2))
    port.force_line(LineSettings(baud_rate=4800, parity="odd"))
    await until(lambda: server.of(Kind.FORCED) == [Line(4800, 0, "odd", 0, "").pack()])
    assert server.of(Kind.INPUTS) == [bytes([CTS | DSR])]
    assert server.of(Kind.ERRORS) == [ErrorCounts(framing=1, breaks=2).pack()]
    port.force_line(LineSettings(baud_rate=4800, parity="odd"))
    port.set_inputs(None)
    await until(lambda: server.of(Kind.INPUTS)[-1] == b"\0")
    assert len(server.of(Kind.FORCED)) == 1


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (ServerEnd.close, "the server of devices has ended"),
        (ServerEnd.send_nonsense, "the server of devices sends what cannot be understood"),
    ],
)
async def test_a_lost_server_is_reported_once(
    ready: tuple[TtyPort, ServerEnd], events: Events, end: Callable[[ServerEnd], None], reason: str
) -> None:
    port, server = ready
    end(server)
    await until(lambda: events.lost)
    port.write(b"nobody gets this")
    port.set_inputs(ModemState(cts=True))
    port.pause_reading()
    port.resume_reading()
    [told] = events.lost
    assert told.startswith(reason)


@pytest.mark.parametrize("rest", [b"", b"\1", bytes(100)])
@pytest.mark.parametrize("kind", [kind for kind in Kind if kind < Kind.HOLD and kind is not Kind.FAILED])
async def test_no_message_of_a_wrong_length_does_harm(
    ready: tuple[TtyPort, ServerEnd], events: Events, kind: Kind, rest: bytes
) -> None:
    _, server = ready
    server.send(kind, rest)
    server.send_data(b"next")
    await until(lambda: events.lost or events.data == b"next")
