"""What a client's commands do to the COM port, and what each of them is answered with."""

from __future__ import annotations

import logging
from collections.abc import Coroutine
from typing import Protocol

from rfc2217 import (
    ComPortCommand,
    Control,
    LineState,
    NotifyLineState,
    NotifyModemState,
    Purge,
    PurgeData,
    SetBaudRate,
    SetControl,
    SetDataSize,
    SetLineStateMask,
    SetModemStateMask,
    SetParity,
    SetStopSize,
    TelnetCode,
    TelnetCommand,
)
from serial_host.line import LineSettings
from serial_host.session.com_port_commands import (
    NOTIFIED_LINE_STATES,
    LineCommand,
    line_answer,
    wanted_line,
)
from serial_host.session.controlled_port import ControlledPort, DriverHangsError
from serial_host.session.line_watch import LineWatch


class CommandSession(Protocol):
    """The session whose client gives the commands."""

    peer: str
    """The client's `address:port`."""

    def reply(self, answer: ComPortCommand) -> None:
        """Answer the client."""

    def purged(self, *, to_device: int = 0, from_device: int = 0) -> None:
        """Count bytes that the client asked to be discarded."""

    def port_failed(self, reason: str) -> None:
        """Do without the COM port, whose driver does not return from a call."""


class CommandHandler:
    """Carries out one client's commands, one after the other."""

    def __init__(
        self,
        session: CommandSession,
        port: ControlledPort,
        watched: LineWatch,
        log: logging.LoggerAdapter[logging.Logger],
    ) -> None:
        self._session = session
        self._port = port
        self._watched = watched
        self._log = log

    def carry_out(self, command: ComPortCommand | TelnetCommand) -> Coroutine[None, None, None] | None:
        """Carry out and answer a command, or return what must be awaited before the next one is carried out.

        Commands that are not about the port, such as `Signature`, have no effect here.
        """
        match command:
            case SetBaudRate() | SetDataSize() | SetParity() | SetStopSize():
                return self._line_command(command)
            case SetControl():
                return self._control(command)
            case TelnetCommand(TelnetCode.BREAK):
                return self._port.send_break()
            case SetModemStateMask(mask):
                self._watched.modem_mask = mask
                self._session.reply(command)
            case SetLineStateMask(mask):
                self._watched.line_mask = mask & NOTIFIED_LINE_STATES
                self._watched.forget_errors()
                self._session.reply(SetLineStateMask(self._watched.line_mask))
            case NotifyModemState():
                state = self._watched.modem_state(self._port.modem_lines())
                self._session.reply(NotifyModemState(state))
            case NotifyLineState():
                self._session.reply(NotifyLineState(LineState(0)))
            case PurgeData(what):
                self._purge(what)
                self._session.reply(command)
        return None

    def _line_command(self, command: LineCommand) -> Coroutine[None, None, None] | None:
        line = wanted_line(self._port.line, command)
        if line == self._port.line:
            self._session.reply(line_answer(line, command))
            return None
        return self._change_line(line, command)

    async def _change_line(self, line: LineSettings, command: LineCommand) -> None:
        try:
            await self._port.set_line(line)
        except DriverHangsError as error:
            self._session.port_failed(str(error))
        self._log.debug("client %s set the line to %s", self._session.peer, self._port.line)
        self._session.reply(line_answer(self._port.line, command))

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
        self._session.reply(SetControl(self._control_state(command.value)))

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
            self._session.purged(to_device=self._port.discard_unsent())
        if what in (Purge.RECEIVE, Purge.BOTH):
            self._session.purged(from_device=self._port.discard_received())
