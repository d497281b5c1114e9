"""Watches the lines and error counts of a COM port for a client that wants to be told of changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from rfc2217 import LineState, ModemState, NotifyLineState, NotifyModemState
from serial_host.line import LineErrors, ModemLines
from serial_host.session.com_port_commands import line_notification, modem_notification, modem_state
from serial_host.session.controlled_port import ControlledPort

POLL_SECONDS = 0.02
"""The time between two looks at the modem lines and error counts."""


class LineWatch:
    """Has one timer at most, which runs from `start` to `stop`; neither does anything when it is repeated.

    `may_look` says whether the port may be asked and the client may be told now; `tell` sends a notification.
    """

    def __init__(
        self,
        port: ControlledPort,
        may_look: Callable[[], bool],
        tell: Callable[[NotifyModemState | NotifyLineState], None],
    ) -> None:
        self._port = port
        self._may_look = may_look
        self._tell = tell
        self.modem_mask = ModemState(0xFF)
        """The modem lines that the client wants to be told of; all of them at first (RFC 2217, section 3)."""
        self.line_mask = LineState(0)
        """The errors that the client wants to be told of; none at first."""
        self._lines = ModemLines()
        self._errors = LineErrors()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Look from now on, each `POLL_SECONDS`."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(POLL_SECONDS, self._look_again)

    def stop(self) -> None:
        """Stop looking."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def modem_state(self, lines: ModemLines) -> ModemState:
        """Record that the client is told of `lines` now, and return them with the changes since it was told last."""
        before, self._lines = self._lines, lines
        return modem_state(lines, before)

    def forget_errors(self) -> None:
        """Do not report the errors that were counted until now."""
        self._errors = self._port.line_errors()

    def _look_again(self) -> None:
        self._timer = None
        self.start()
        if not self._port.present or not self._may_look():
            return
        if self.modem_mask:
            lines = self._port.modem_lines()
            if lines != self._lines:
                before, self._lines = self._lines, lines
                modem = modem_notification(lines, before, self.modem_mask)
                if modem is not None:
                    self._tell(modem)
        if self.line_mask:
            errors = self._port.line_errors()
            if errors != self._errors:
                errors_before, self._errors = self._errors, errors
                line = line_notification(errors, errors_before, self.line_mask)
                if line is not None:
                    self._tell(line)
