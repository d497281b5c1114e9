"""The loop: every descriptor of every port in one poll, in one thread, and nothing in it that blocks.

One process serves all ports: Python itself is most of its memory, and a request is short beside the time that a byte takes
on a serial line, so that ports do not get into each other's way.
"""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import struct
import time
from collections.abc import Callable

from tty_server.cuse_device import CuseDevice, Make
from tty_server.device_errors import DeviceError, NumberTakenError
from tty_server.messages import (
    MINOR,
    MOST_MINORS,
    NO_MINOR,
    NUMBER,
    ErrorCounts,
    Kind,
    Line,
    MessageError,
)
from tty_server.relay_link import RelayLink, receive

log = logging.getLogger(__name__)

_LAST_WORDS = 0.2
"""Seconds that a device goes on as one that was hung up after its relay is gone.

So applications that wait in a call see what they see when a USB adapter is pulled, and not an error of CUSE.
"""


class _Port:
    """A device and its link to the relay."""

    def __init__(self, server: Server, link: RelayLink, device: CuseDevice) -> None:
        self.link = link
        self.device = device
        self._server = server
        self.ends_at: float | None = None

    def from_relay(self) -> None:
        try:
            messages = self.link.messages()
            for kind, rest in messages or ():
                self._act_on(kind, rest)
        except (MessageError, struct.error, IndexError) as error:
            log.warning("%s: the relay sends %s, so the port is hung up", self.device.name, error)
            messages = None
        if messages is None:
            self._server.hang_up(self)

    def _act_on(self, kind: int, rest: bytes) -> None:
        terminal = self.device.terminal
        match kind:
            case Kind.DATA:
                terminal.device_data(rest)
            case Kind.HOLD:
                terminal.hold(held=bool(rest[0]))
            case Kind.INPUTS:
                terminal.set_inputs(rest[0])
            case Kind.ERRORS:
                terminal.count(ErrorCounts.unpack(rest))
            case Kind.DRAINED:
                terminal.drained(NUMBER.unpack(rest)[0])
            case Kind.PURGED:
                terminal.purged(NUMBER.unpack(rest)[0])
            case Kind.FORCED:
                terminal.force(Line.unpack(rest))
            case _:
                raise MessageError(f"a message of the unknown kind {kind}")

    def to_relay(self) -> None:
        self.link.writable()
        if not self.link.writing:
            self.device.terminal.progress()


class Server:
    """All ports of one relay."""

    def __init__(self, control: socket.socket, make: Make = CuseDevice) -> None:
        """Take new ports from `control`, a sequenced-packet socket; its end ends the server."""
        control.setblocking(False)
        self._control = control
        self._make = make
        self._poll = select.epoll()
        self._calls: dict[int, Callable[[], None]] = {}
        """By descriptor what is to be done when it is readable."""
        self._writers: dict[int, Callable[[], None]] = {}
        self._ports: list[_Port] = []
        self._owners: dict[int, _Port] = {}
        """By descriptor the port that it belongs to."""
        self._due: dict[_Port, float] = {}
        """When something is to be done at a port without any event; most ports wait for nothing, and cost nothing here."""
        self._ended = False
        self._register(control.fileno(), self._from_control)

    def run(self) -> None:
        """Serve until the relay is gone."""
        while not self._ended or self._ports:
            for descriptor, events in self._poll.poll(self._time_left()):
                if events & select.EPOLLOUT and (write := self._writers.get(descriptor)):
                    write()
                if events & ~select.EPOLLOUT and (call := self._calls.get(descriptor)):
                    call()
                if port := self._owners.get(descriptor):
                    self._look_at(port)
            if self._due:
                self._time_passed()
        self._poll.close()

    def _look_at(self, port: _Port) -> None:
        """Note when a port is due next, after something has happened at it."""
        deadline = port.device.terminal.deadline
        if port.device.ended:
            self._end(port)
        elif port.ends_at is not None:
            self._due[port] = port.ends_at if deadline is None else min(port.ends_at, deadline)
        elif deadline is not None:
            self._due[port] = deadline
        elif self._due:
            self._due.pop(port, None)

    def _time_left(self) -> float | None:
        return max(0.0, min(self._due.values()) - time.monotonic()) if self._due else None

    def _time_passed(self) -> None:
        now = time.monotonic()
        for port in [port for port, moment in self._due.items() if moment <= now]:
            port.device.terminal.time_passed()
            if port.ends_at is not None and port.ends_at <= now:
                self._end(port)
            else:
                self._look_at(port)

    # Ports come and go.

    def _from_control(self) -> None:
        try:
            data, connection = receive(self._control)
        except (BlockingIOError, InterruptedError):
            return
        if not data:
            self._ended = True
            self._unregister(self._control.fileno())
            for port in list(self._ports):
                self.hang_up(port)
        elif connection is not None:
            self._new_port(connection, MINOR.unpack(data)[0])
        else:
            with contextlib.suppress(OSError):  # a relay that does not read has not asked again
                self._control.send(data)

    def _new_port(self, connection: socket.socket, minor: int) -> None:
        link = RelayLink(connection, self._link_wants_to_write)
        try:
            device = self._make_device(minor, link)
        except DeviceError as error:
            link.tell(Kind.FAILED, str(error).encode())
            link.close()
            return
        port = _Port(self, link, device)
        self._ports.append(port)
        self._register(device.fileno(), device.readable)
        self._writers[link.fileno()] = port.to_relay
        self._register(link.fileno(), port.from_relay)
        self._owners[device.fileno()] = self._owners[link.fileno()] = port
        if link.writing:
            self._link_wants_to_write(link)
        link.tell(Kind.READY, MINOR.pack(device.minor) + device.name.encode())

    def _make_device(self, wanted: int, link: RelayLink) -> CuseDevice:
        """Make a device with the wanted minor number, or with the first one that nothing has."""
        used = {port.device.minor for port in self._ports}
        minors = [minor for minor in range(MOST_MINORS) if minor not in used and minor != wanted]
        if wanted != NO_MINOR and wanted not in used:
            minors.insert(0, wanted)
        error: DeviceError = DeviceError(f"all {MOST_MINORS} numbers are used")
        for minor in minors:
            try:
                return self._make(minor, link)
            except NumberTakenError as taken:
                error = taken
        raise error

    def hang_up(self, port: _Port) -> None:
        """End a port whose relay is gone: its applications see a hang-up, and a little later the device goes."""
        if port.ends_at is None:
            port.ends_at = time.monotonic() + (_LAST_WORDS if port.device.terminal.users else 0)
            self._unregister(port.link.fileno())
            self._owners.pop(port.link.fileno(), None)
            self._writers.pop(port.link.fileno(), None)
            port.device.terminal.hang_up()
            port.link.close()
            self._due[port] = port.ends_at

    def _end(self, port: _Port) -> None:
        self.hang_up(port)
        self._ports.remove(port)
        self._due.pop(port, None)
        self._owners.pop(port.device.fileno(), None)
        self._unregister(port.device.fileno())
        port.device.close()

    # The poll.

    def _register(self, descriptor: int, call: Callable[[], None]) -> None:
        self._calls[descriptor] = call
        self._poll.register(descriptor, select.EPOLLIN)

    def _unregister(self, descriptor: int) -> None:
        self._calls.pop(descriptor, None)
        self._poll.unregister(descriptor)

    def _link_wants_to_write(self, link: RelayLink) -> None:
        if link.fileno() in self._calls:
            self._poll.modify(link.fileno(), select.EPOLLIN | (select.EPOLLOUT if link.writing else 0))
