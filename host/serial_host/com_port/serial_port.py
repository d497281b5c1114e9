"""Real COM ports: opens them, sets them up, finds them by USB identity. The only importer of pyserial.

Bytes are moved by `descriptor_pump` (POSIX) or `thread_pump` (Windows); what pyserial cannot tell (the
settings in force, error counts) comes from `driver_posix` or `driver_windows`.
"""

# ruff: noqa: D102  # the methods are documented where their type is: `port.ComPort`

from __future__ import annotations

import asyncio
import contextlib
import errno
import sys
import threading
from collections.abc import Iterator

import serial
import serial.rs485

from serial_host.com_port.driver import Driver
from serial_host.com_port.listing import find_port, present_ports
from serial_host.com_port.port import ComPort, ComPortError, ComPortEvents, OpenComPort
from serial_host.com_port.pump import Pump
from serial_host.com_port.thread_pump import ThreadPump
from serial_host.config import PortConfig, UsbMatch
from serial_host.line import FlowControl, LineErrors, LineSettings, ModemLines, Parity

if sys.platform != "win32":
    from serial_host.com_port.descriptor_pump import DescriptorPump

DRAIN_SECONDS = 5.0
"""At most this long a change of the line waits for what was written before it."""

DRAIN_STALLED_SECONDS = 0.5
"""It does not wait for a device that takes nothing for this long."""

DRAIN_POLL_SECONDS = 0.001

_PARITY = {
    Parity.NONE: serial.PARITY_NONE,
    Parity.ODD: serial.PARITY_ODD,
    Parity.EVEN: serial.PARITY_EVEN,
    Parity.MARK: serial.PARITY_MARK,
    Parity.SPACE: serial.PARITY_SPACE,
}


class SerialComPort:
    """An open port of the operating system; `threads` selects the pump, by default the system's quickest."""

    def __init__(self, port: serial.Serial, events: ComPortEvents, *, threads: bool) -> None:
        self._serial = port
        self._device = str(port.name)
        if sys.platform == "win32":
            handle = port._port_handle  # type: ignore[attr-defined]  # noqa: SLF001  # there is no public way to it
        else:
            handle = port.fileno()
        self._driver = Driver(handle)
        self._lock = threading.Lock()
        """Held while pyserial works on the handle in a thread, so that it is not closed meanwhile."""
        self._line = self._driver.line()
        self._pump: Pump
        if sys.platform == "win32" or threads:
            self._pump = ThreadPump(self._device, port, self._driver.received_waiting, events)
        else:
            self._pump = DescriptorPump(self._device, handle, events)
        self.write = self._pump.write
        self.pause_reading = self._pump.pause_reading
        self.resume_reading = self._pump.resume_reading

    @property
    def device(self) -> str:
        return self._device

    @property
    def line(self) -> LineSettings:
        return self._line

    @property
    def unsent(self) -> int:
        return self._pump.unsent

    @property
    def drained(self) -> bool:
        return not self._pump.written

    async def drain(self) -> None:
        if self.drained:
            return
        loop = asyncio.get_running_loop()
        started = progressed = loop.time()
        before = 0
        with contextlib.suppress(OSError, ValueError):  # it is gone: nothing more will be sent
            while left := self._pump.unsent + self._driver.unsent_waiting():
                now = loop.time()
                if left < before:
                    progressed = now
                if now - progressed > DRAIN_STALLED_SECONDS or now - started > DRAIN_SECONDS:
                    return
                before = left
                await asyncio.sleep(DRAIN_POLL_SECONDS)
            self._pump.written = False
            await asyncio.to_thread(self._driver.wait_sent)

    def change_line(self, line: LineSettings) -> None:
        with self._lock, self._translated_errors(f"does not accept {line}"):
            if line == self._line:
                return
            try:
                _set_line(self._serial, line)
            finally:
                self._line = self._driver.line()
                if self._line != line:
                    # pyserial would go on asking for what it did not get, with every later change.
                    with contextlib.suppress(*_FAILURES):
                        _set_line(self._serial, self._line)

    def set_dtr(self, on: bool) -> None:  # noqa: FBT001
        with self._translated_errors("cannot drive DTR"), _absent_line_ignored():
            self._serial.dtr = on

    def set_rts(self, on: bool) -> None:  # noqa: FBT001
        with self._translated_errors("cannot drive RTS"), _absent_line_ignored():
            self._serial.rts = on

    def set_break(self, on: bool) -> None:  # noqa: FBT001
        with self._translated_errors("cannot send a break"):
            self._serial.break_condition = on

    def modem_lines(self) -> ModemLines:
        with self._translated_errors("cannot read the modem lines"):
            return self._driver.modem_lines()

    def line_errors(self) -> LineErrors:
        with self._translated_errors("cannot read the error counts"):
            return self._driver.line_errors()

    def discard_received(self) -> int:
        with self._translated_errors("cannot purge"):
            waiting = self._driver.received_waiting()
            self._serial.reset_input_buffer()
            return waiting

    def discard_unsent(self) -> int:
        with self._translated_errors("cannot purge"):
            # The pump first, or it would fill the driver's buffer again at once.
            discarded = self._pump.discard_unsent() + self._driver.unsent_waiting()
            self._serial.reset_output_buffer()
            return discarded

    async def close(self) -> None:
        await self._pump.stop()
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        with self._lock:
            self._driver.forget()
            with contextlib.suppress(
                Exception
            ):  # what is gone may fail in any way: it is closed all the same
                self._serial.close()

    @contextlib.contextmanager
    def _translated_errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except _FAILURES as error:
            raise ComPortError(f"{self._device} {what}: {_reason(error)}") from error


@contextlib.contextmanager
def _absent_line_ignored() -> Iterator[None]:
    """Let a line be driven that the port does not have, as pyserial does when it opens one: nothing is connected to it."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOTTY, errno.EINVAL):
            raise


_FAILURES: tuple[type[Exception], ...] = (OSError, ValueError, NotImplementedError)
if sys.platform != "win32":
    import termios

    _FAILURES += (termios.error,)


def opener(config: PortConfig, *, threads: bool = False) -> OpenComPort:
    """Give what opens the configured port, looked up by its USB identity each time; `threads` as in `SerialComPort`."""

    async def open_port(events: ComPortEvents) -> ComPort:
        device = config.device
        if device is None:
            device = find_port(await asyncio.to_thread(present_ports), config.match or UsbMatch())
        port = await asyncio.to_thread(_open, device, config)
        try:
            return SerialComPort(port, events, threads=threads)
        except OSError as error:
            port.close()
            raise ComPortError(_why_not_open(device, error)) from error

    return open_port


def _open(device: str, config: PortConfig) -> serial.Serial:
    port = serial.Serial(timeout=None, write_timeout=None, exclusive=True)
    port.port = device
    port.dtr = config.dtr
    port.rts = config.rts
    if sys.platform == "win32":
        # A purge may take bytes away that a read was told of: without this it waits until as many new ones have come.
        port.inter_byte_timeout = 0.01
    else:
        # VMIN 1: a read that finds nothing then says so, and 0 bytes mean a hang-up.
        port.inter_byte_timeout = 0
    if config.rs485:
        port.rs485_mode = serial.rs485.RS485Settings()
    try:
        _set_line(port, config.line)
        port.open()
    except _FAILURES as error:
        raise ComPortError(_why_not_open(device, error)) from error
    return port


def _set_line(port: serial.Serial, line: LineSettings) -> None:
    # Each assignment reconfigures an open port, so only what differs is assigned.
    for name, value in {
        "baudrate": line.baud_rate,
        "bytesize": line.data_bits,
        "parity": _PARITY[line.parity],
        "stopbits": line.stop_bits,
        "xonxoff": line.flow_control is FlowControl.XON_XOFF,
        "rtscts": line.flow_control is FlowControl.RTS_CTS,
        "dsrdtr": line.flow_control is FlowControl.DSR_DTR,
    }.items():
        if getattr(port, name) != value:
            setattr(port, name, value)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error)


def _why_not_open(device: str, error: Exception) -> str:
    """Say in one line what pyserial says in several ways, the system's error hidden in its text."""
    text = _reason(error)
    if "FileNotFoundError" in text or getattr(error, "errno", None) == errno.ENOENT:
        return f"{device} is not there: plug the device in, or see 'serial_host list' for the ports there are"
    if "PermissionError" in text or getattr(error, "errno", None) in (errno.EAGAIN, errno.EBUSY):
        return f"{device} is held by another program: close that, it is tried again"
    if getattr(error, "errno", None) == errno.EACCES:
        return f"{device} may not be opened by this user: {text}"
    return f"{device} cannot be opened: {text}"
