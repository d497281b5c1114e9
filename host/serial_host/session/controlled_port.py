"""The settings that a client has made on a COM port.

They are kept while the port is absent, and made again when it is back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import replace

from serial_host.com_port.port import ComPort
from serial_host.line import LineErrors, LineSettings, ModemLines
from serial_host.plumbing.threads import call_in_thread

BREAK_SECONDS = 0.25
"""Seconds of a break whose length the client does not state; tcsendbreak(3) makes it as long."""


DRAIN_LIMIT_SECONDS = 6.0
"""Seconds that anything waits at most for the device to take what was written, whatever its driver does."""

DRAIN_AGAIN_SECONDS = 5.0
"""Seconds for which nothing waits for a device again after a wait without success."""

CHANGE_SECONDS = 10.0
"""Seconds that a driver may take to change the settings; one that takes longer is taken to hang."""


class DriverHangsError(Exception):
    """A call of the driver does not return; the text is for people and names the port."""


class ControlledPort:
    """The arguments are the first settings; `attach` applies the settings to a port that has others.

    Nothing here raises: what a port cannot do is logged, and what it does instead can be read afterwards.
    """

    def __init__(
        self, line: LineSettings, log: logging.LoggerAdapter[logging.Logger], *, dtr: bool, rts: bool
    ) -> None:
        self._log = log
        self._port: ComPort | None = None
        self._line = line
        self._dtr = dtr
        self._rts = rts
        self._break = False
        self._drain_again_at = 0.0

    @property
    def line(self) -> LineSettings:
        """The settings in force, or while the port is absent those it will get."""
        return self._line

    @property
    def dtr(self) -> bool:
        """Whether DTR is on."""
        return self._dtr

    @property
    def rts(self) -> bool:
        """Whether RTS is on; with flow control by RTS, whether it is on while the driver leaves it alone."""
        return self._rts

    @property
    def breaking(self) -> bool:
        """Whether a break is being sent."""
        return self._break

    @property
    def present(self) -> bool:
        """Whether there is a port."""
        return self._port is not None

    @property
    def drained(self) -> bool:
        """Whether the device has everything that was written, so that a change can be made at once."""
        return self._port is None or self._port.drained

    async def attach(self, port: ComPort) -> bool:
        """Apply the settings to a port, and return whether it is still present afterwards."""
        self._port = port
        self._drain_again_at = 0.0
        # The client before may have left a device that stops the line: that ends before anything waits for the line.
        await self._change(port, replace(port.line, flow_control=self._line.flow_control))
        await self.set_line(self._line)
        if self._port is port:
            self.set_dtr(on=self._dtr)
            self.set_rts(on=self._rts)
            if self._break:
                self.set_break(on=True)
        return self._port is port

    def detach(self) -> None:
        """Forget the port: it was lost, or the client has left."""
        self._port = None

    async def drain(self) -> None:
        """Wait until the device has what was written, as far as it takes it.

        A device that does not take it is waited for once, and then not for `DRAIN_AGAIN_SECONDS`: a client's commands that
        end the stop may stand behind others, each of which would wait.
        """
        port = self._port
        loop = asyncio.get_running_loop()
        if port is None or port.drained or loop.time() < self._drain_again_at:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_LIMIT_SECONDS):
                await port.drain()
        if not port.drained:
            self._drain_again_at = loop.time() + DRAIN_AGAIN_SECONDS

    async def set_line(self, line: LineSettings) -> None:
        """Change the settings once what was written before is sent; afterwards `line` holds the settings in force.

        Another flow control alone is set at once: it may be what lets the bytes go that were written before.

        Raises:
            DriverHangsError: the driver has not made the change within `CHANGE_SECONDS`.
        """
        port = self._port
        if port is None:
            self._line = line
            return
        if line != replace(port.line, flow_control=line.flow_control):
            await self.drain()
        await self._change(port, line)
        # Lost meanwhile: what was asked for is for the next one.
        self._line = port.line if port is self._port else line

    async def _change(self, port: ComPort, line: LineSettings) -> None:
        if line == port.line:
            return
        try:
            async with asyncio.timeout(CHANGE_SECONDS):
                await call_in_thread(f"{port.device} settings", lambda: port.change_line(line))
        except TimeoutError as error:
            raise DriverHangsError(
                f"{port.device}: the driver has not changed the settings for {CHANGE_SECONDS:g} s"
            ) from error
        except Exception as error:  # noqa: BLE001  # whatever a driver raises is told to the client as what it is set to
            self._report(error)

    def set_dtr(self, *, on: bool) -> None:
        """Drive DTR."""
        try:
            if self._port is not None:
                self._port.set_dtr(on)
            self._dtr = on
        except Exception as error:  # noqa: BLE001
            self._report(error)

    def set_rts(self, *, on: bool) -> None:
        """Drive RTS."""
        try:
            if self._port is not None:
                self._port.set_rts(on)
            self._rts = on
        except Exception as error:  # noqa: BLE001
            self._report(error)

    def set_break(self, *, on: bool) -> None:
        """Begin or end a break."""
        try:
            if self._port is not None:
                self._port.set_break(on)
            self._break = on
        except Exception as error:  # noqa: BLE001
            self._report(error)

    async def send_break(self) -> None:
        """Send a break after what was written before."""
        await self.drain()
        self.set_break(on=True)
        await asyncio.sleep(BREAK_SECONDS)
        self.set_break(on=False)

    def discard_received(self) -> int:
        """Discard what the device sent and nobody has read, and return the number of bytes."""
        try:
            return 0 if self._port is None else self._port.discard_received()
        except Exception as error:  # noqa: BLE001
            self._report(error)
            return 0

    def discard_unsent(self) -> int:
        """Discard what was not sent to the device yet, and return the number of bytes."""
        try:
            return 0 if self._port is None else self._port.discard_unsent()
        except Exception as error:  # noqa: BLE001
            self._report(error)
            return 0

    def modem_lines(self) -> ModemLines:
        """Read the lines that the device drives; all off without a device."""
        try:
            return ModemLines() if self._port is None else self._port.modem_lines()
        except Exception:  # noqa: BLE001  # it is about to be lost, which is told then
            return ModemLines()

    def line_errors(self) -> LineErrors:
        """Read the driver's counts; none without a device."""
        try:
            return LineErrors() if self._port is None else self._port.line_errors()
        except Exception:  # noqa: BLE001
            return LineErrors()

    def _report(self, error: Exception) -> None:
        self._log.info("a request of the client could not be carried out: %s", error)
