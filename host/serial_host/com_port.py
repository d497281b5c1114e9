"""Real COM ports: opens them, sets them up, finds them by USB identity. The only importer of pyserial.

Bytes are moved by `com_port_descriptor` (POSIX) or `com_port_threads` (Windows); what pyserial cannot tell (the
settings in force, error counts) comes from `com_port_posix` or `com_port_windows`.
"""

# ruff: noqa: D102  # the methods are documented where their type is: `port.ComPort`

from __future__ import annotations

import asyncio
import contextlib
import errno
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import serial
import serial.rs485
from serial.tools import list_ports

from serial_host.com_port_threads import ThreadPump
from serial_host.port import (
    ComPort,
    ComPortError,
    ComPortEvents,
    FlowControl,
    LineErrors,
    LineSettings,
    ModemLines,
    Parity,
)
from serial_host.pump import Pump

if sys.platform == "win32":
    from serial_host import com_port_windows as system
else:
    from serial_host import com_port_posix as system
    from serial_host.com_port_descriptor import DescriptorPump

_PARITY = {
    Parity.NONE: serial.PARITY_NONE,
    Parity.ODD: serial.PARITY_ODD,
    Parity.EVEN: serial.PARITY_EVEN,
    Parity.MARK: serial.PARITY_MARK,
    Parity.SPACE: serial.PARITY_SPACE,
}


@dataclass(frozen=True, slots=True)
class PortIdentity:
    """A COM port that is there now, with the USB identity by which it can be found again."""

    device: str
    description: str
    vid: int | None = None
    pid: int | None = None
    serial: str | None = None
    location: str | None = None
    """Bus and hub ports, `1-4.2`."""
    manufacturer: str | None = None


def present_ports() -> list[PortIdentity]:
    """List the COM ports that the operating system knows, in natural order. May take tens of milliseconds."""
    return [
        PortIdentity(
            device=port.device,
            description="" if port.description in (None, "n/a") else port.description,
            vid=port.vid,
            pid=port.pid,
            serial=port.serial_number,
            location=port.location,
            manufacturer=port.manufacturer,
        )
        for port in sorted(list_ports.comports())
    ]


class SerialComPort:
    """An open port of the operating system; `threads` selects the pump, by default the system's quickest."""

    def __init__(self, port: serial.Serial, events: ComPortEvents, *, threads: bool) -> None:
        self._serial = port
        self._device = str(port.name)
        if sys.platform == "win32":
            handle = port._port_handle  # type: ignore[attr-defined]  # noqa: SLF001  # there is no public way to it
        else:
            handle = port.fileno()
        self._driver = system.Driver(handle)
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

    def change_line(self, line: LineSettings) -> None:
        with self._translated_errors("does not accept these settings"):
            try:
                _set_line(self._serial, line)
            finally:
                self._line = self._driver.line()

    def set_dtr(self, on: bool) -> None:  # noqa: FBT001
        with self._translated_errors("cannot drive DTR"):
            self._serial.dtr = on

    def set_rts(self, on: bool) -> None:  # noqa: FBT001
        with self._translated_errors("cannot drive RTS"):
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
            self._serial.reset_output_buffer()
            return self._pump.discard_unsent()

    async def close(self) -> None:
        await self._pump.stop()
        with contextlib.suppress(
            Exception
        ):  # a device that is gone may fail in any way: it is closed all the same
            await asyncio.to_thread(self._serial.close)

    @contextlib.contextmanager
    def _translated_errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except _FAILURES as error:
            raise ComPortError(f"{self._device} {what}: {_reason(error)}") from error


_FAILURES: tuple[type[Exception], ...] = (OSError, ValueError, NotImplementedError)
if sys.platform != "win32":
    import termios

    _FAILURES += (termios.error,)


async def open_serial_port(
    device: str,
    line: LineSettings,
    events: ComPortEvents,
    *,
    dtr: bool = True,
    rts: bool = True,
    rs485: bool = False,
    threads: bool = False,
) -> ComPort:
    """Open a COM port for us alone.

    Raises:
        ComPortError: it is not there, is held by another program, or does not accept the settings.
    """
    port = serial.Serial(timeout=None, write_timeout=None, exclusive=True)
    port.port = device
    port.dtr = dtr
    port.rts = rts
    if sys.platform != "win32":
        port.inter_byte_timeout = 0  # VMIN 1: a read that finds nothing then says so, 0 bytes mean a hang-up
    if rs485:
        port.rs485_mode = serial.rs485.RS485Settings()
    try:
        _set_line(port, line)
        await asyncio.to_thread(port.open)
    except _FAILURES as error:
        raise ComPortError(_why_not_open(device, error)) from error
    try:
        return SerialComPort(port, events, threads=threads)
    except OSError as error:
        port.close()
        raise ComPortError(_why_not_open(device, error)) from error


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


def find_port(
    ports: Sequence[PortIdentity],
    *,
    vid: int | None,
    pid: int | None,
    serial_number: str | None,
    location: str | None,
) -> str:
    """Give the device name of the one port that has all the given traits (None: any).

    Raises:
        ComPortError: no port has them, or several.
    """
    wanted = {
        "vid": None if vid is None else f"{vid:04x}",
        "pid": None if pid is None else f"{pid:04x}",
        "serial": None if serial_number is None else serial_number.casefold(),
        "location": None if location is None else location.casefold(),
    }
    found = [
        port.device
        for port in ports
        if all(value in (None, _trait(port, name)) for name, value in wanted.items())
    ]
    if len(found) == 1:
        return found[0]
    description = ", ".join(f"{name} {value}" for name, value in wanted.items() if value is not None)
    if not found:
        raise ComPortError(f"no port with {description} is there")
    raise ComPortError(
        f"{len(found)} ports have {description}: {', '.join(found)}; add serial or location to match"
    )


def _trait(port: PortIdentity, name: str) -> str | None:
    value = getattr(port, name)
    if value is None:
        return None
    return f"{value:04x}" if isinstance(value, int) else value.casefold()
