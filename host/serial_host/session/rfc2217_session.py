"""A client that controls the port as well as using it: RFC 2217's access server, one session of it.

What arrives is acted on strictly in order, so that what follows a setting reaches the device with that setting. What takes
time (a driver that is asked to change the line, a break) holds the rest up and leaves further bytes with the client.
While the device is absent the connection stands, the client is told, and what it sets is kept for the device's return.
"""

# ruff: noqa: D102  # the methods are documented where their types are: `session.Session`, `command_handler.CommandSession`

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass

import serial_host
from rfc2217 import (
    AccessServerSignature,
    ComPortAgreed,
    ComPortCommand,
    ComPortRefused,
    Connection,
    Data,
    DeviceState,
    Event,
    FlowControlResume,
    FlowControlSuspend,
    LocalProtocolError,
    NotifyModemState,
    PeerFailed,
    Role,
    Signature,
    TelnetCommand,
    encode_data,
)
from serial_host.com_port.port import DEVICE_BOUND, ComPort
from serial_host.config import Address, PortConfig
from serial_host.line import ModemLines
from serial_host.session.command_handler import CommandHandler
from serial_host.session.controlled_port import ControlledPort, DriverHangsError
from serial_host.session.line_watch import LineWatch
from serial_host.session.reading import Hold
from serial_host.session.session import LOOK_AHEAD, Session, SessionOwner

STALL_SECONDS = 0.5
"""Seconds after which a device that takes nothing counts as stopped, by its flow control or because it is switched
off."""

EVENTS_A_TURN = 64
"""Limit of one client's commands that are carried out in one turn of the event loop, during which every port waits."""

ANSWERS_BOUND = 4 * DEVICE_BOUND
"""While more bytes than this wait for the client, its commands wait. The device's bytes alone are fewer."""

UNREAD_LIMIT = 8 * DEVICE_BOUND
"""A client for whom more bytes than this wait is disconnected: it asked for silence and goes on asking questions."""

REFUSAL_SECONDS = 1.0
"""Seconds that a refused client has to agree to the com port option, without which it cannot be told the reason."""

REFUSAL_BYTES = 1024
"""Bytes that are read from a refused client at least; to agree takes a client about 30."""

LAST_WORDS_SECONDS = 2.0
LAST_WORDS_BYTES = 65536
"""Seconds and bytes that a refused client may go on sending after the reason was sent to it. A connection that is closed
before all of its bytes are read is reset, and the reason may be lost with it."""


@dataclass(frozen=True, slots=True)
class _DevicePresent:
    """The device is present.

    This stands in the queue of the client's events, so that only one of them uses the port at a time.
    """

    port: ComPort


class Rfc2217Session(Session):
    """Serves one client; `config` holds the port's settings when it comes."""

    def __init__(
        self,
        owner: SessionOwner,
        address: Address,
        peer: str,
        connection: socket.socket,
        config: PortConfig,
        log: logging.LoggerAdapter[logging.Logger],
    ) -> None:
        super().__init__(owner, address, peer, connection)
        self._log = log
        self._connection = Connection(Role.ACCESS_SERVER)
        self._name = config.name
        self._state: AccessServerSignature | None = None
        self._refused = False

        self._port = ControlledPort(config.line, log, dtr=config.dtr, rts=config.rts)
        self._watched = LineWatch(self._port, self._may_notify, self._tell)
        self._commands = CommandHandler(self, self._port, self._watched, log)
        self._announcement_due = False
        self._unsent = b""
        """Answers that wait until the client no longer asks for silence."""

        self._events: deque[Event | _DevicePresent] = deque()
        self._work: asyncio.Task[None] | None = None
        self._next_turn: asyncio.Handle | None = None
        self._stall: asyncio.TimerHandle | None = None
        self._stopped = False
        """Whether the device takes nothing and the client is read nevertheless."""
        self._suspended_client = False
        self._refusal: asyncio.TimerHandle | None = None
        self._refusal_bytes = 0

    # Events of the connection.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._connection.start()
        super().connection_made(transport)
        self._flush()

    def buffer_updated(self, nbytes: int) -> None:
        if self.ended:
            self._refusal_bytes += nbytes
            if self._refusal_bytes > LAST_WORDS_BYTES:
                self.reading.hold(Hold.REFUSED)
            return
        if not self._read_before and self._speaks_tls(nbytes):
            return
        data = bytes(self._buffer[:nbytes])
        if not (self._work or self._events or self._refused or self._stopped):
            line_data = self._connection.take_data(data)
            if line_data is not None:
                self._owner.write(self, line_data)  # the short way, which most calls take
                return
        if self._refused:
            self._refusal_bytes += nbytes
            if self._refusal_bytes > REFUSAL_BYTES:
                self.reading.hold(Hold.REFUSED)
        self._take(self._connection.receive_data(data))

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._announcement_due:
            self._announce(self._port.modem_lines())
        if self.reading.holds & Hold.ANSWERS_UNREAD:
            self.reading.release(Hold.ANSWERS_UNREAD)
            self._act()

    def _end(self, reason: str) -> None:
        if not self.ended:
            self._watched.stop()
            for end in (self._work, self._next_turn, self._stall, self._refusal):
                if end is not None:
                    end.cancel()
            if unwritten := sum(len(event.data) for event in self._events if isinstance(event, Data)):
                self._owner.unwritten(self, unwritten)
            self._events.clear()
            if self._port.breaking:
                self._port.set_break(on=False)
            self._port.detach()
        super()._end(reason)

    # Calls of the owner.

    def send(self, data: bytes) -> None:
        if self._unsent or self._connection.queued or self._connection.suspended:
            self._connection.send_data(data)
            self._flush()
        else:
            self._transport.write(encode_data(data))

    def refuse(self, reason: str) -> None:
        self._refused = True
        self._state = self._signature(DeviceState.BUSY, reason)
        self.reading.release(Hold.STARTING)
        self._refusal = asyncio.get_running_loop().call_later(REFUSAL_SECONDS, self._refused_finally)

    def _refused_finally(self) -> None:
        """Send nothing more, and read for a moment what the client still sends; then it closes the connection."""
        if self.ended or self._transport.is_closing():
            return
        self._end("refused")
        self._transport.write_eof()
        self._watch.cancel()
        self._watch = asyncio.get_running_loop().call_later(LAST_WORDS_SECONDS, self.close, "refused")
        self._refusal_bytes = 0
        self.reading.release(Hold.REFUSED | Hold.WORKING | Hold.ANSWERS_UNREAD)

    def device_present(self, port: ComPort) -> None:
        self._present = port
        self._take([_DevicePresent(port)])
        super().device_present(port)

    def device_absent(self, reason: str) -> None:
        state = self._signature(DeviceState.UNAVAILABLE, reason)
        self._port.detach()
        if state != self._state:
            self._state = state
            self._announce(ModemLines())
        super().device_absent(reason)

    def device_slow(self, *, slow: bool) -> None:
        super().device_slow(slow=slow)
        if slow:
            if self._stall is None:
                self._stall = asyncio.get_running_loop().call_later(STALL_SECONDS, self._device_stopped)
        elif self._stall is not None:
            self._stall.cancel()
            self._stall = None
            self._stopped = False
            if self._suspended_client:
                self._suspended_client = False
                self._tell(FlowControlResume())

    def _device_stopped(self) -> None:
        """Ask for silence, and read on: the commands that end the stop stand behind the data that it holds up."""
        self._stopped = True
        if self._may_notify():
            self._suspended_client = bool(self._connection.agreed)
            self._tell(FlowControlSuspend())
        self.reading.release(Hold.DEVICE_SLOW)

    def _write(self, data: bytes) -> None:
        self._owner.write(self, data)
        if self._stopped and self._present is not None and self._present.unsent > LOOK_AHEAD:
            self.reading.hold(Hold.DEVICE_SLOW)

    # Messages to the client.

    def _signature(self, state: DeviceState, reason: str = "") -> AccessServerSignature:
        return AccessServerSignature("serial_host", serial_host.__version__, self._name, state, reason)

    def _announce(self, lines: ModemLines) -> None:
        """Send the state of the device and its lines, if the com port option is agreed and the state is known."""
        self._announcement_due = not self._takes_more
        if self._connection.agreed and self._state is not None and self._takes_more:
            self._connection.send(Signature(str(self._state)))
            if not self._refused:
                self._connection.send(NotifyModemState(self._watched.modem_state(lines)))
            self._flush()

    @property
    def _takes_more(self) -> bool:
        """Whether a notification reaches the client now, instead of waiting behind bytes that it does not read."""
        return not self._connection.suspended and not self.reading.holds & Hold.CLIENT_SLOW

    def _may_notify(self) -> bool:
        return self._takes_more and self._work is None

    def _tell(self, command: ComPortCommand) -> None:
        if self._connection.agreed:
            self._connection.send(command)
            self._flush()

    def reply(self, answer: ComPortCommand) -> None:
        # `_flush` follows when all that arrived with the request is dealt with.
        try:
            self._connection.send(answer)
        except LocalProtocolError as error:
            # The client asked, and switched the option off immediately afterwards.
            self._log.debug("client %s gets no answer: %s", self.peer, error)

    def _flush(self) -> None:
        # A suspended client gets neither data nor answers (RFC 2217, FLOWCONTROL-SUSPEND).
        self._unsent += self._connection.data_to_send()
        if self.finishing:
            self._unsent = b""  # the client does not wait for answers any more
        if self._unsent and not self._connection.suspended and not self.ended:
            data, self._unsent = self._unsent, b""
            self._transport.write(data)
        waiting = len(self._unsent) + self._transport.get_write_buffer_size()
        if waiting > UNREAD_LIMIT:
            self.abort(f"it keeps sending requests without reading the answers ({waiting} bytes are queued)")
        elif waiting > ANSWERS_BOUND and not self._connection.suspended:
            self.reading.hold(Hold.ANSWERS_UNREAD)

    # Events of the client, one after the other.

    def _take(self, events: Iterable[Event | _DevicePresent]) -> None:
        self._events.extend(events)
        self._follow_suspension()
        self._act()

    def _act(self) -> None:
        """Carry out the events that wait, up to one that takes time or until too many answers are unread."""
        for _ in range(EVENTS_A_TURN):
            if not self._events or self._busy:
                break
            work = self._act_on(self._events.popleft())
            if work is not None:
                self._work = asyncio.create_task(work)
                self._work.add_done_callback(self._worked)
        else:
            if self._next_turn is None and self._events:
                self._next_turn = asyncio.get_running_loop().call_soon(self._act_on_the_rest)
        self._flush()
        if self._events or self._busy:
            self.reading.hold(Hold.WORKING)
        else:
            self.reading.release(Hold.WORKING)

    @property
    def _busy(self) -> bool:
        return bool(self._work or self._next_turn or self.reading.holds & Hold.ANSWERS_UNREAD)

    def _act_on_the_rest(self) -> None:
        self._next_turn = None
        self._act()

    def _worked(self, work: asyncio.Task[None]) -> None:
        self._work = None
        if work.cancelled():
            return
        error = work.exception()
        if error is not None:
            self._log.error("a command of client %s failed", self.peer, exc_info=error)
            self.abort("a command failed")
            return
        self._act()

    def _act_on(self, event: Event | _DevicePresent) -> Coroutine[None, None, None] | None:
        """Act at once, or return what must be awaited before the next event is acted on."""
        match event:
            case PeerFailed(reason):
                self.close(f"it violated the protocol: {reason}")
            case _ if self._refused:
                if isinstance(event, ComPortAgreed):
                    self._announce(ModemLines())
                    self._refused_finally()
            case _DevicePresent(port):
                return self._restore(port)
            case Data(data):
                self._write(data)
            case ComPortAgreed() | ComPortRefused():
                self._follow_option(event)
            case Signature():
                self._sign(event)
            case ComPortCommand() | TelnetCommand():
                return self._commands.carry_out(event)
        return None

    def _follow_option(self, event: ComPortAgreed | ComPortRefused) -> None:
        if isinstance(event, ComPortAgreed):
            self._announce(self._port.modem_lines())
            self._watched.start()
        else:
            self._watched.stop()
            self._log.info(
                "client %s does not support the com port option: its bytes pass, its settings cannot",
                self.peer,
            )

    def _follow_suspension(self) -> None:
        """Stop or go on reading from the device, as the client asked last; switching the option off or on ends the silence.

        This does not wait for the commands before: from the moment at which the client has asked, nothing is sent to it.
        """
        if self._connection.suspended:
            self.reading.hold(Hold.CLIENT_SUSPENDED)
        else:
            self.reading.release(Hold.CLIENT_SUSPENDED)
            if self._announcement_due:
                self._announce(self._port.modem_lines())

    def _sign(self, command: Signature) -> None:
        """Answer who serves which port, or log who the client is."""
        if command.text:
            self._log.info("client %s is %.80r", self.peer, command.text)
        elif self._state is not None:
            self.reply(Signature(str(self._state)))
        else:
            self.reply(Signature(f"serial_host/{serial_host.__version__}"))

    def purged(self, *, to_device: int = 0, from_device: int = 0) -> None:
        self._owner.purged(self, to_device=to_device, from_device=from_device)

    def port_failed(self, reason: str) -> None:
        self._owner.port_failed(self, reason)

    async def _restore(self, port: ComPort) -> None:
        """Apply the client's settings to a port that is there (again), then tell the client that it is there."""
        try:
            if port is not self._present or not await self._port.attach(port):
                return
        except DriverHangsError as error:
            self.port_failed(str(error))
            return
        self._watched.forget_errors()
        self._state = self._signature(DeviceState.AVAILABLE)
        self._announce(self._port.modem_lines())
