"""A virtual serial port that is a character device: the relay's end of the socket to the server of devices.

The server (`tty_server`) answers the applications' system calls in a process of its own; here arrives what they wrote and
set, in its order. What an application wrote or set while the port is not read (`pause_reading`) waits in the server, and
what was on its way then waits here: the bytes that fit into the socket, and the last of each setting.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
import struct
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, Literal, cast

from serial_relay.config import LineSettings, Parity
from serial_relay.status import LineErrors, ModemState
from serial_relay.virtual_port.node_owner import NodeOwner
from serial_relay.virtual_port.termios_map import ApplicationLine, ModemOutputs
from serial_relay.virtual_port.virtual_port import Left, VirtualPortEvents
from tty_server.messages import (
    CD,
    CTS,
    DSR,
    DTR,
    LONGEST,
    MAJOR,
    MINOR,
    NUMBER,
    OPENED,
    PURGE,
    RECEIVED,
    RI,
    RTS,
    TOTAL,
    TRANSMITTED,
    ErrorCounts,
    Kind,
    Line,
    MessageError,
)
from tty_server.relay_link import RelayLink


class TtyError(Exception):
    """There can be no character device; the text says why and what to do."""


class TtyPort:
    """See `VirtualPort`. It can be used once `ready` is done."""

    kind: Final = "tty"

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        connection: socket.socket,
        owner: tuple[int, int, int],
        events: VirtualPortEvents,
        why_ended: Callable[[], str | None] = lambda: None,
    ) -> None:
        """Take over the socket, whose other end the server has; `owner` is user, group and mode.

        `why_ended` is asked for the reason when the server has ended.
        """
        self._loop = loop
        self._events = events
        self._why_ended = why_ended
        self._node_owner = NodeOwner(*owner)
        self.ready: asyncio.Future[None] = loop.create_future()
        """Done when the device is there; with a `TtyError` if there will be none."""
        self.slave = Path()
        """See `VirtualPort`."""
        self.minor = 0
        """The device's minor number."""
        self._link = RelayLink(connection, self._link_wants_to_write)
        self._ended = False
        self._open = False
        self._paused = True
        """The application's bytes are held; so the port begins."""
        self._waiting: deque[tuple[int, bytes]] = deque()
        """Messages that came while the port was paused, in their order."""
        self._forced = Line()
        self._errors = ErrorCounts()
        """Counted, and not told to the server yet."""
        self._unsent = b""
        """Bytes of the device that the server takes no more of."""
        self._granted = self._sent = 0
        """Bytes of the device that the server takes, and that it was sent, in all."""
        self._accounted = 0
        """Of those that were sent, the ones that were told as unread."""
        self._arrived = select.poll()
        self._arrived.register(self._link.fileno(), select.POLLIN)
        loop.add_reader(self._link.fileno(), self._readable)
        self._link.tell(Kind.HOLD, b"\1")

    # What the relay asks for.

    def set_owner(self, uid: int, gid: int, mode: int) -> None:
        """See `VirtualPort`."""
        self._node_owner.change(uid, gid, mode)
        self._node_owner.give(self.slave)

    def write(self, data: bytes) -> None:
        """See `VirtualPort`."""
        if self._unsent:
            self._unsent += data
            return
        sent = self._send(data)
        if sent < len(data):
            self._unsent = data[sent:]
            self._events.virtual_port_full(full=True)

    def look_for_flush(self) -> None:
        """See `VirtualPort`; the server itself discards what comes after a flush and before it was told here."""

    def force_line(self, line: LineSettings) -> None:
        """See `VirtualPort`."""
        forced = Line(
            line.baud_rate or 0,
            line.data_bits or 0,
            line.parity or "",
            _STOP_BITS[line.stop_bits],
            line.flow_control or "",
        )
        if forced != self._forced and not self._ended:
            self._forced = forced
            self._link.tell(Kind.FORCED, forced.pack())

    def set_inputs(self, modem: ModemState | None) -> None:
        """See `VirtualPort`."""
        lines = modem or ModemState()
        raised = ((lines.cts, CTS), (lines.dsr, DSR), (lines.ri, RI), (lines.cd, CD))
        if not self._ended:
            self._link.tell(Kind.INPUTS, bytes([sum(bit for is_raised, bit in raised if is_raised)]))

    def count_errors(self, errors: LineErrors) -> None:
        """See `VirtualPort`."""
        new = (errors.framing, errors.overrun, errors.parity, errors.breaks)
        self._errors = ErrorCounts(*map(sum, zip(self._errors, new, strict=True)))
        self._tell_errors()

    def pause_reading(self) -> None:
        """See `VirtualPort`."""
        if not self._paused:
            self._paused = True
            self._hold(held=True)

    def resume_reading(self) -> None:
        """See `VirtualPort`."""
        if self._paused:
            self._paused = False
            self._hold(held=False)
            self._act_on_waiting()

    @property
    def has_written(self) -> bool:
        """See `VirtualPort`; what has not left the server is not seen."""
        return bool(self._waiting) or bool(not self._ended and self._arrived.poll(0))

    def unread(self) -> int:
        """See `VirtualPort`; what the server has taken is not seen."""
        return len(self._unsent)

    def block_writes(self) -> None:
        """See `VirtualPort`; the server takes what applications write until the port is closed."""

    def close(self) -> Left:
        """See `VirtualPort`; what is in the server, and lost there, is not known here."""
        if not self._ended:
            self._end()
        self._link.close()
        return Left(sum(len(rest) for kind, rest in self._waiting if kind == Kind.DATA), len(self._unsent))

    # From the server.

    def _readable(self) -> None:
        try:
            messages = self._link.messages()
            if messages is None:
                self._lose(self._why_ended() or "the server of devices has ended")
                return
            for kind, rest in messages:
                self._take(kind, rest)
                if self._ended:
                    return
        except (MessageError, struct.error, IndexError) as error:
            self._lose(f"the server of devices sends what cannot be understood: {error}")

    def _take(self, kind: int, rest: bytes) -> None:
        """Act on a message, or let it wait if the application's bytes have to wait before it."""
        match kind:
            case Kind.READY:
                self._made(MINOR.unpack_from(rest)[0], rest[MINOR.size :].decode())
            case Kind.FAILED:
                self._lose(rest.decode("utf-8", "replace"))
            case Kind.GRANT:
                (self._granted,) = TOTAL.unpack(rest)
                self._send_unsent()
            case Kind.PURGE:
                self._purge(*PURGE.unpack(rest))
            case _ if self._paused or self._waiting:
                self._let_wait(kind, rest)
            case _:
                self._act_on(kind, rest)

    def _let_wait(self, kind: int, rest: bytes) -> None:
        if kind != Kind.DATA:
            for index in range(len(self._waiting) - 1, -1, -1):
                if self._waiting[index][0] == Kind.DATA:
                    break
                if self._waiting[index][0] == kind:
                    del self._waiting[index]
                    break
        self._waiting.append((kind, rest))

    def _act_on_waiting(self) -> None:
        while self._waiting and not self._paused and not self._ended:
            self._act_on(*self._waiting.popleft())

    def _act_on(self, kind: int, rest: bytes) -> None:
        match kind:
            case Kind.DATA:
                self._events.application_data(rest)
            case Kind.OPEN:
                self._opened_or_closed(*OPENED.unpack(rest))
            case Kind.LINE:
                self._events.application_set_line(_application_line(Line.unpack(rest)))
            case Kind.OUTPUTS:
                self._events.application_set_outputs(ModemOutputs(bool(rest[0] & DTR), bool(rest[0] & RTS)))
            case Kind.BREAK:
                self._events.application_set_break(on=bool(rest[0]))
            case Kind.DRAIN:
                NUMBER.unpack(rest)
                self._events.application_drains(partial(self._drained, rest))

    def _made(self, minor: int, name: str) -> None:
        node = Path("/dev") / name
        try:
            check_node(node, minor)
        except TtyError as error:
            self._lose(str(error))
            return
        self.slave, self.minor = node, minor
        self._node_owner.give(node)
        if not self.ready.done():
            self.ready.set_result(None)
        self._events.nothing_to_read(nothing=False)

    def _opened_or_closed(self, is_open: int, read: int) -> None:
        if bool(is_open) is self._open:
            return
        self._open = bool(is_open)
        if self._open:
            self._events.application_opened()
            return
        unread = max(0, self._sent - self._accounted - read)
        self._accounted += unread
        unread += len(self._unsent)
        self._drop_unsent()
        self._events.application_closed(unread)

    def _purge(self, what: int, number: int) -> None:
        """Discard what is here, and tell the server which of the device's bytes were on their way."""
        if what & TRANSMITTED:
            kept = [message for message in self._waiting if message[0] != Kind.DATA]
            self._waiting = deque(kept)
        if what & RECEIVED:
            self._drop_unsent()
        self._events.application_flushed(received=bool(what & RECEIVED), transmitted=bool(what & TRANSMITTED))
        if what & RECEIVED and not self._ended:
            self._link.tell(Kind.PURGED, NUMBER.pack(number))

    def _drained(self, number: bytes) -> None:
        if not self._ended:
            self._link.tell(Kind.DRAINED, number)

    # To the server.

    def _hold(self, *, held: bool) -> None:
        if not self._ended:
            self._link.tell(Kind.HOLD, bytes([held]))

    def _send(self, data: bytes) -> int:
        """Send what the server takes now, and return how many bytes that is."""
        sent = 0
        while sent < len(data) and self._sent < self._granted and not self._ended:
            piece = data[sent : sent + min(LONGEST, self._granted - self._sent)]
            taken = self._link.send(piece)
            sent += taken
            self._sent += taken
            if taken < len(piece):
                break
        return sent

    def _send_unsent(self) -> None:
        if self._unsent:
            self._unsent = self._unsent[self._send(self._unsent) :]
            if not self._unsent:
                self._events.virtual_port_full(full=False)

    def _drop_unsent(self) -> None:
        if self._unsent:
            self._unsent = b""
            self._events.virtual_port_full(full=False)

    def _tell_errors(self) -> None:
        if any(self._errors) and not self._link.writing and not self._ended:
            self._link.tell(Kind.ERRORS, self._errors.pack())
            self._errors = ErrorCounts()

    def _link_wants_to_write(self, link: RelayLink) -> None:
        if link.writing:
            self._loop.add_writer(link.fileno(), self._writable)
        else:
            self._loop.remove_writer(link.fileno())

    def _writable(self) -> None:
        self._link.writable()
        if not self._link.writing:
            self._tell_errors()
            self._send_unsent()

    # The end.

    def _lose(self, reason: str) -> None:
        self._end()
        if not self.ready.done():
            self.ready.set_exception(TtyError(reason))
        elif not self.ready.cancelled():
            self._events.virtual_port_lost(reason)

    def _end(self) -> None:
        self._ended = True
        self._loop.remove_reader(self._link.fileno())
        self._loop.remove_writer(self._link.fileno())


_STOP_BITS: dict[float | None, int] = {None: 0, 1: 1, 1.5: 2, 2: 2}
"""As an application reads them back: CSTOPB stands for 2, and with 5 data bits for 1.5 as well."""


def _application_line(line: Line) -> ApplicationLine:
    return ApplicationLine(
        baud_rate=line.baud_rate or None,
        stop_bits=cast("Literal[1, 2]", line.stop_bits),
        flow_control=cast("Literal['none', 'rtsCts', 'xonXoff']", line.flow_control),
        data_bits=cast("Literal[5, 6, 7, 8]", line.data_bits),
        parity=cast("Parity", line.parity),
    )


def check_node(node: Path, minor: int) -> None:
    """Look whether the device's node is where applications can open it.

    Raises:
        TtyError: it is not; the text says what to do.
    """
    try:
        number = node.stat().st_rdev
    except OSError as error:
        raise TtyError(
            f"the device {node} was made and is not to be seen here: {error.strerror};"
            " in a container the bind /dev:/dev is needed"
        ) from error
    if number != os.makedev(MAJOR, minor):
        raise TtyError(f"{node} is in the way of the device that was made: remove it")
