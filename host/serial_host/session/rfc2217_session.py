"""A client that controls the port as well as using it: RFC 2217's access server, one session of it.

What arrives is acted on strictly in order, so that what follows a setting reaches the device with that setting. What takes
time (a driver that is asked to change the line, a break) holds the rest up and leaves further bytes with the client.
While the device is absent the connection stands, the client is told, and what it sets is kept for the device's return.
"""

# ruff: noqa: D102  # the methods are documented where their type is: `session.Session`

from __future__ import annotations

import asyncio
import logging
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
    Control,
    Data,
    DeviceState,
    Event,
    FlowControlResume,
    FlowControlSuspend,
    LineState,
    LocalProtocolError,
    ModemState,
    NotifyLineState,
    NotifyModemState,
    PeerFailed,
    Purge,
    PurgeData,
    Role,
    SetBaudRate,
    SetControl,
    SetDataSize,
    SetLineStateMask,
    SetModemStateMask,
    SetParity,
    SetStopSize,
    Signature,
    TelnetCode,
    TelnetCommand,
)
from serial_host.com_port.port import ComPort
from serial_host.config import Address, PortConfig
from serial_host.line import LineErrors, LineSettings, ModemLines
from serial_host.session.com_port_commands import (
    NOTIFIED_LINE_STATES,
    LineCommand,
    line_answer,
    line_notification,
    modem_notification,
    modem_state,
    wanted_line,
)
from serial_host.session.controlled_port import ControlledPort
from serial_host.session.reading import Hold
from serial_host.session.session import Session, SessionOwner

POLL_SECONDS = 0.02
"""Between two looks at the modem lines and error counts, while a client wants to know of them."""

SUSPEND_SECONDS = 0.5
"""How long the device takes nothing before the client is asked to be silent, so that it does not take us for dead."""

REFUSAL_SECONDS = 1.0
"""So long a client that is refused has to agree to the com port option, without which it cannot be told why."""

REFUSAL_BYTES = 1024
"""So many bytes are read from it meanwhile, at least; agreeing takes a client about 30."""


@dataclass(frozen=True, slots=True)
class _DevicePresent:
    """Takes its place among the client's events, as the port must not be touched by two at once."""

    port: ComPort


class Rfc2217Session(Session):
    """Serves one client; `config` holds the port's settings when it comes."""

    def __init__(
        self,
        owner: SessionOwner,
        address: Address,
        peer: str,
        config: PortConfig,
        log: logging.LoggerAdapter[logging.Logger],
    ) -> None:
        super().__init__(owner, address, peer)
        self._log = log
        self._connection = Connection(Role.ACCESS_SERVER)
        self._name = config.name
        self._state: AccessServerSignature | None = None
        self._refused = False

        self._present: ComPort | None = None
        self._port = ControlledPort(config.line, log, dtr=config.dtr, rts=config.rts)
        self._modem_mask = ModemState(0xFF)
        self._line_mask = LineState(0)
        self._modem_lines = ModemLines()
        self._line_errors = LineErrors()
        self._poll: asyncio.TimerHandle | None = None

        self._events: deque[Event | _DevicePresent] = deque()
        self._work: asyncio.Task[None] | None = None
        self._suspend: asyncio.TimerHandle | None = None
        self._suspended_client = False
        self._refusal_bytes = 0

    # What the connection says.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._connection.start()
        super().connection_made(transport)
        self._flush()

    def buffer_updated(self, nbytes: int) -> None:
        data = bytes(self._buffer[:nbytes])
        if self._connection.is_plain(data) and not (self._work or self._events or self._refused):
            self._owner.write(self, data)  # what most calls come to, the short way
            return
        if self._refused:
            self._refusal_bytes += nbytes
            if self._refusal_bytes > REFUSAL_BYTES:
                self.reading.hold(Hold.REFUSED)
        self._take(self._connection.receive_data(data))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._work is not None:
            self._work.cancel()
        for timer in (self._poll, self._suspend):
            if timer is not None:
                timer.cancel()
        if self._port.breaking:
            self._port.set_break(on=False)
        super().connection_lost(exc)

    # What the owner says.

    def send(self, data: bytes) -> None:
        self._connection.send_data(data)
        self._flush()

    def refuse(self, reason: str) -> None:
        self._refused = True
        self._state = self._signature(DeviceState.BUSY, reason)
        self.reading.release(Hold.STARTING)
        asyncio.get_running_loop().call_later(REFUSAL_SECONDS, self.close, "refused")

    def device_present(self, port: ComPort) -> None:
        self._present = port
        self._take([_DevicePresent(port)])
        super().device_present(port)

    def device_absent(self, reason: str) -> None:
        state = self._signature(DeviceState.UNAVAILABLE, reason)
        self._present = None
        self._port.detach()
        if state != self._state:
            self._state = state
            self._announce(ModemLines())
        super().device_absent(reason)

    def device_slow(self, *, slow: bool) -> None:
        super().device_slow(slow=slow)
        if slow and self._suspend is None:
            self._suspend = asyncio.get_running_loop().call_later(SUSPEND_SECONDS, self._suspend_client)
        if not slow and self._suspend is not None:
            self._suspend.cancel()
            self._suspend = None
            if self._suspended_client:
                self._suspended_client = False
                self._tell(FlowControlResume())

    def _suspend_client(self) -> None:
        self._suspended_client = bool(self._connection.agreed)
        self._tell(FlowControlSuspend())

    # What is said to the client.

    def _signature(self, state: DeviceState, reason: str = "") -> AccessServerSignature:
        return AccessServerSignature("serial_host", serial_host.__version__, self._name, state, reason)

    def _announce(self, lines: ModemLines) -> None:
        """Tell the state of the device and its lines, once both ends can speak of it and there is one."""
        before, self._modem_lines = self._modem_lines, lines
        if self._connection.agreed and self._state is not None:
            self._connection.send(Signature(str(self._state)))
            if not self._refused:
                self._connection.send(NotifyModemState(modem_state(lines, before)))
            self._flush()

    def _tell(self, command: ComPortCommand) -> None:
        if self._connection.agreed:
            self._connection.send(command)
            self._flush()

    def _reply(self, answer: ComPortCommand) -> None:
        """Answer a request; `_flush` follows when all that arrived with it is dealt with."""
        try:
            self._connection.send(answer)
        except LocalProtocolError as error:
            # It asked, then switched the option off in the same breath.
            self._log.debug("client %s gets no answer: %s", self.peer, error)

    def _flush(self) -> None:
        # A suspended client gets neither data nor answers (RFC 2217, FLOWCONTROL-SUSPEND); both stay in the connection.
        if not self._connection.suspended:
            data = self._connection.data_to_send()
            if data:
                self._transport.write(data)

    # What the client says, one after the other.

    def _take(self, events: Iterable[Event | _DevicePresent]) -> None:
        self._events.extend(events)
        if self._work is None:
            self._act()

    def _act(self) -> None:
        while self._events and self._work is None:
            work = self._act_on(self._events.popleft())
            if work is not None:
                self.reading.hold(Hold.WORKING)
                self._work = asyncio.create_task(work)
                self._work.add_done_callback(self._worked)
        self._flush()

    def _worked(self, work: asyncio.Task[None]) -> None:
        self._work = None
        if work.cancelled():
            return
        error = work.exception()
        if error is not None:
            self._log.error("a command of %s failed", self.peer, exc_info=error)
            self.abort("a command failed")
            return
        self._act()
        if self._work is None:
            self.reading.release(Hold.WORKING)

    def _act_on(self, event: Event | _DevicePresent) -> Coroutine[None, None, None] | None:
        """Act at once, or give what must be awaited before the next event is looked at."""
        match event:
            case PeerFailed(reason):
                self.close(f"it broke the protocol: {reason}")
            case _ if self._refused:
                if isinstance(event, ComPortAgreed):
                    self._announce(ModemLines())
                    self.close("refused")
            case SetBaudRate() | SetDataSize() | SetParity() | SetStopSize():
                return self._line_command(event)
            case SetControl():
                return self._control(event)
            case TelnetCommand(TelnetCode.BREAK):
                return self._port.send_break()
            case _DevicePresent(port):
                return self._restore(port)
            case _:
                self._act_at_once(event)
        return None

    def _act_at_once(self, event: Event) -> None:
        match event:
            case Data(data):
                self._owner.write(self, data)
            case ComPortAgreed():
                self._follow_suspension()
                self._announce(self._port.modem_lines())
                self._poll_lines()
            case ComPortRefused():
                self._follow_suspension()
                self._log.info(
                    "client %s has no com port option: its bytes pass, its settings cannot", self.peer
                )
            case FlowControlSuspend() | FlowControlResume():
                self._follow_suspension()
            case ComPortCommand():
                self._answer(event)

    def _follow_suspension(self) -> None:
        """Stop or go on reading from the device; switching the option off or on ends what the client asked for."""
        if self._connection.suspended:
            self.reading.hold(Hold.CLIENT_SUSPENDED)
        else:
            self.reading.release(Hold.CLIENT_SUSPENDED)

    def _answer(self, command: ComPortCommand) -> None:
        """Answer what needs neither the line nor its driver's patience."""
        match command:
            case Signature("") if self._state is not None:
                self._reply(Signature(str(self._state)))
            case Signature(""):
                self._reply(Signature(f"serial_host/{serial_host.__version__}"))
            case Signature(text):
                self._log.info("client %s is %.80r", self.peer, text)
            case SetModemStateMask(mask):
                self._modem_mask = mask
                self._reply(command)
            case SetLineStateMask(mask):
                self._line_mask = mask & NOTIFIED_LINE_STATES
                self._line_errors = self._port.line_errors()
                self._reply(SetLineStateMask(self._line_mask))
            case NotifyModemState():
                before, self._modem_lines = self._modem_lines, self._port.modem_lines()
                self._reply(NotifyModemState(modem_state(self._modem_lines, before)))
            case NotifyLineState():
                self._reply(NotifyLineState(LineState(0)))
            case PurgeData(what):
                self._purge(what)
                self._reply(command)

    def _line_command(self, command: LineCommand) -> Coroutine[None, None, None] | None:
        line = wanted_line(self._port.line, command)
        if line == self._port.line:
            self._reply(line_answer(line, command))
            return None
        return self._change_line(line, command)

    async def _change_line(self, line: LineSettings, command: LineCommand) -> None:
        await self._port.set_line(line)
        self._log.debug("client %s set the line to %s", self.peer, self._port.line)
        self._reply(line_answer(self._port.line, command))

    def _control(self, command: SetControl) -> Coroutine[None, None, None] | None:
        request = command.value.request
        if request in (Control.REQUEST_FLOW, Control.REQUEST_INBOUND_FLOW):
            return self._line_command(command)
        if command.value is not request and not self._port.drained:
            return self._control_drained(command)
        self._control_now(command)
        return None

    async def _control_drained(self, command: SetControl) -> None:
        await self._port.drain()
        self._control_now(command)

    def _control_now(self, command: SetControl) -> None:
        match command.value:
            case Control.BREAK_ON | Control.BREAK_OFF:
                self._port.set_break(on=command.value is Control.BREAK_ON)
            case Control.DTR_ON | Control.DTR_OFF:
                self._port.set_dtr(on=command.value is Control.DTR_ON)
            case Control.RTS_ON | Control.RTS_OFF:
                self._port.set_rts(on=command.value is Control.RTS_ON)
        self._reply(SetControl(self._control_state(command.value)))

    def _control_state(self, value: Control) -> Control:
        match value.request:
            case Control.REQUEST_BREAK:
                return Control.BREAK_ON if self._port.breaking else Control.BREAK_OFF
            case Control.REQUEST_DTR:
                return Control.DTR_ON if self._port.dtr else Control.DTR_OFF
            case Control.REQUEST_RTS:
                return Control.RTS_ON if self._port.rts else Control.RTS_OFF
            case _:
                return value

    def _purge(self, what: Purge) -> None:
        if what in (Purge.TRANSMIT, Purge.BOTH):
            self._owner.purged(self, to_device=self._port.discard_unsent())
        if what in (Purge.RECEIVE, Purge.BOTH):
            self._owner.purged(self, from_device=self._port.discard_received())

    async def _restore(self, port: ComPort) -> None:
        """Give a port that is there (again) the client's settings, then tell the client that it is there."""
        if port is self._present and await self._port.attach(port):
            self._line_errors = self._port.line_errors()
            self._state = self._signature(DeviceState.AVAILABLE)
            self._announce(self._port.modem_lines())

    # What the device does by itself.

    def _poll_lines(self) -> None:
        self._poll = asyncio.get_running_loop().call_later(POLL_SECONDS, self._poll_lines)
        if not self._port.present or self._connection.suspended or self._work is not None:
            return
        if self._modem_mask:
            lines = self._port.modem_lines()
            if lines != self._modem_lines:
                before, self._modem_lines = self._modem_lines, lines
                modem = modem_notification(lines, before, self._modem_mask)
                if modem is not None:
                    self._tell(modem)
        if self._line_mask:
            errors = self._port.line_errors()
            if errors != self._line_errors:
                errors_before, self._line_errors = self._line_errors, errors
                line = line_notification(errors, errors_before, self._line_mask)
                if line is not None:
                    self._tell(line)
