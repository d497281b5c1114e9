"""Real COM ports: opens them, sets them up and finds them by their USB identity. Only this file and `listing` use pyserial.

`descriptor_pump` (POSIX) or `thread_pump` (Windows) moves the bytes. What pyserial cannot tell, namely the settings in
force and the error counts, comes from `driver_posix` or `driver_windows`.

Whatever pyserial, a driver or the system raises here becomes a `ComPortError` of this port.
"""

# ruff: noqa: D102  # the methods are documented where their type is: `port.ComPort`

from __future__ import annotations

import asyncio
import contextlib
import errno
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import serial
import serial.rs485

from serial_host.com_port.adapters import latency_timer
from serial_host.com_port.driver import Driver
from serial_host.com_port.driver_thread import DriverSlowError, DriverThread
from serial_host.com_port.listing import find_port, present_ports
from serial_host.com_port.open_errors import why_not_open
from serial_host.com_port.port import READ_SIZE, ComPort, ComPortError, ComPortEvents, OpenComPort
from serial_host.com_port.pump import Pump
from serial_host.com_port.thread_pump import ThreadPump
from serial_host.config import PortConfig, UsbMatch
from serial_host.line import FlowControl, LineErrors, LineSettings, ModemLines, Parity
from serial_host.plumbing.text import described
from serial_host.plumbing.threads import call_in_thread

if sys.platform == "win32":
    from serial_host.com_port.handle_windows import SerialHandle
else:
    from serial_host.com_port.descriptor_pump import DescriptorPump

DRAIN_SECONDS = 5.0
"""A change of the line waits at most this long for the bytes that were written before it."""

DRAIN_STALLED_SECONDS = 0.5
"""A change of the line does not wait for a device that has taken nothing for this long."""

DRAIN_POLL_SECONDS = 0.001

_PARITY = {
    Parity.NONE: serial.PARITY_NONE,
    Parity.ODD: serial.PARITY_ODD,
    Parity.EVEN: serial.PARITY_EVEN,
    Parity.MARK: serial.PARITY_MARK,
    Parity.SPACE: serial.PARITY_SPACE,
}


@dataclass(frozen=True, slots=True)
class _Opened:
    """What a thread has opened, and what it has asked of the driver."""

    port: serial.Serial
    device: str
    handle: int
    driver: Driver
    line: LineSettings
    latency_timer: int | None

    def close(self) -> None:
        """Close the port; it may block. Never raises."""
        self.driver.forget()
        with contextlib.suppress(
            Exception
        ):  # a device that is gone may fail in any way; the port is closed nevertheless
            self.port.close()


class SerialComPort:
    """An open port of the operating system.

    `threads` selects the pump; the default is the fastest one that the system has.
    """

    def __init__(self, opened: _Opened, events: ComPortEvents, *, threads: bool) -> None:
        self._opened = opened
        self._serial = port = opened.port
        self._device = opened.device
        self._driver = opened.driver
        self._lock = threading.Lock()
        """Held while a thread uses the handle through pyserial, so that the handle is not closed meanwhile."""
        self._line = opened.line
        self._calls = DriverThread(f"{self._device} driver")
        self._events = events
        self._loop = asyncio.get_running_loop()
        self._modem_lines = ModemLines()
        self._line_errors = LineErrors()
        self._pump: Pump
        if sys.platform == "win32":
            self._handle = SerialHandle(opened.handle, READ_SIZE)
            self._pump = ThreadPump(self._device, self._handle, self._driver.received_waiting, events)
        elif threads:
            self._pump = ThreadPump(self._device, port, self._driver.received_waiting, events)
        else:
            self._pump = DescriptorPump(self._device, opened.handle, events)
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
    def latency_timer(self) -> int | None:
        return self._opened.latency_timer

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
        with contextlib.suppress(Exception):  # the device is gone, and nothing more will be sent
            while left := self._pump.unsent + self._unsent_waiting(before):
                now = loop.time()
                if left < before:
                    progressed = now
                if now - progressed > DRAIN_STALLED_SECONDS or now - started > DRAIN_SECONDS:
                    return
                before = left
                await asyncio.sleep(DRAIN_POLL_SECONDS)
            self._pump.written = False
            await call_in_thread(f"{self._device} drain", self._driver.wait_sent)

    def _unsent_waiting(self, before: int) -> int:
        try:
            return self._calls.ask(self._driver.unsent_waiting)
        except DriverSlowError:
            return max(1, before - self._pump.unsent)

    def change_line(self, line: LineSettings) -> None:
        with self._lock, self._translated_errors(f"does not accept {line}"):
            if line == self._line:
                return
            try:
                _set_line(self._serial, line)
            finally:
                self._line = self._driver.line()
                if self._line != line:
                    # Otherwise pyserial would ask again, with every later change, for what it did not get.
                    with contextlib.suppress(Exception):
                        _set_line(self._serial, self._line)

    def set_dtr(self, on: bool) -> None:  # noqa: FBT001
        with self._translated_errors("cannot drive DTR"), _absent_line_ignored():
            self._calls.order(lambda: setattr(self._serial, "dtr", on))

    def set_rts(self, on: bool) -> None:  # noqa: FBT001
        with self._translated_errors("cannot drive RTS"), _absent_line_ignored():
            self._calls.order(lambda: setattr(self._serial, "rts", on))

    def set_break(self, on: bool) -> None:  # noqa: FBT001
        with self._translated_errors("cannot send a break"):
            self._calls.order(lambda: setattr(self._serial, "break_condition", on))

    def modem_lines(self) -> ModemLines:
        with self._translated_errors("cannot read the modem lines"):
            with contextlib.suppress(DriverSlowError):
                self._modem_lines = self._calls.ask(self._driver.modem_lines)
            return self._modem_lines

    def line_errors(self) -> LineErrors:
        with self._translated_errors("cannot read the error counts"):
            with contextlib.suppress(DriverSlowError):
                self._line_errors = self._calls.ask(self._driver.line_errors)
            return self._line_errors

    def discard_received(self) -> int:
        with self._translated_errors("cannot purge"):
            return self._pump.discard_received(
                lambda: self._calls.ask(
                    self._purge_received,
                    lambda size: self._tell_late(lambda: self._events.discarded_late(received=size)),
                )
            )

    def _purge_received(self) -> int:
        if sys.platform == "win32":
            waiting = self._driver.received_waiting()
            self._serial.reset_input_buffer()
            return waiting
        return self._driver.discard_received()

    def discard_unsent(self) -> int:
        # The pump comes first, or it would fill the buffer of the driver again at once.
        discarded = self._pump.discard_unsent()
        try:
            with self._translated_errors("cannot purge"):
                return discarded + self._calls.ask(
                    self._purge_unsent,
                    lambda size: self._tell_late(lambda: self._events.discarded_late(unsent=size)),
                )
        except ComPortError:
            self._events.discarded_late(unsent=discarded)
            raise

    def _purge_unsent(self) -> int:
        waiting = self._driver.unsent_waiting()
        self._serial.reset_output_buffer()
        return waiting

    def _tell_late(self, tell: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the event loop is closed, and nobody counts any more
            self._loop.call_soon_threadsafe(tell)

    async def close(self) -> None:
        self._calls.end()
        await self._pump.stop()
        await call_in_thread(f"{self._device} close", self._close)

    def _close(self) -> None:
        with self._lock:
            if sys.platform == "win32":
                self._handle.close()
            self._opened.close()

    @contextlib.contextmanager
    def _translated_errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            raise ComPortError(f"{self._device} {what}: {described(error)}") from error


@contextlib.contextmanager
def _absent_line_ignored() -> Iterator[None]:
    """Ignore that the port does not have a line, as pyserial does when it opens a port.

    Nothing is connected to the line.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOTTY, errno.EINVAL):
            raise


def opener(config: PortConfig, *, threads: bool = False) -> OpenComPort:
    """Return the function that opens the configured port, which it looks up by its USB identity each time.

    `threads` is the argument of `SerialComPort`.
    """

    async def open_port(events: ComPortEvents) -> ComPort:
        opened = await call_in_thread(
            f"{config.name} open", lambda: _find_and_open(config), unwanted=_Opened.close
        )
        try:
            return SerialComPort(opened, events, threads=threads)
        except Exception as error:
            await call_in_thread(f"{config.name} close", opened.close)
            raise ComPortError(why_not_open(opened.device, config.line, error)) from error

    return open_port


def _find_and_open(config: PortConfig) -> _Opened:
    device = config.device or find_port(present_ports(), config.match or UsbMatch())
    port = serial.Serial(timeout=None, write_timeout=None, exclusive=True)
    try:
        _open(port, device, config)
        if sys.platform == "win32":
            handle = port._port_handle  # type: ignore[attr-defined]  # noqa: SLF001  # there is no public way to it
        else:
            handle = port.fileno()
        driver = Driver(handle)
        return _Opened(port, str(port.name), handle, driver, driver.line(), latency_timer(device))
    except Exception as error:
        with contextlib.suppress(Exception):
            port.close()
        raise ComPortError(why_not_open(device, config.line, error)) from error


def _open(port: serial.Serial, device: str, config: PortConfig) -> None:
    port.port = device
    port.dtr = config.dtr
    port.rts = config.rts
    if sys.platform == "win32":
        # A purge can take bytes away of which a read already knows. Without this the read would wait for as many new ones.
        port.inter_byte_timeout = 0.01
    else:
        # VMIN is then 1: a read that finds nothing raises BlockingIOError, and a read of 0 bytes means a hang-up.
        port.inter_byte_timeout = 0
    if config.rs485:
        port.rs485_mode = serial.rs485.RS485Settings()
    _set_line(port, config.line)
    port.open()


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
