"""An open port by itself, on a pty: purges, errors of pyserial, and drivers that are slow or hang."""

from __future__ import annotations

import asyncio
import contextlib
import select
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import serial

from serial_host.com_port import driver, driver_thread, thread_pump
from serial_host.com_port import serial_port as module
from serial_host.com_port.port import ComPort, ComPortError
from serial_host.com_port.serial_port import opener
from serial_host.config import PortConfig, UsbMatch
from serial_host.line import LineSettings
from tests.host.com_port.owner import Owner, until
from tests.host.serial_device import SerialDevice


@contextlib.asynccontextmanager
async def open_port(device: SerialDevice, *, threads: bool) -> AsyncIterator[tuple[ComPort, Owner]]:
    owner = Owner()
    port = await opener(PortConfig(5000, device.name), threads=threads)(owner)
    try:
        yield port, owner
    finally:
        await port.close()


def waiting(device: SerialDevice) -> int:
    """Return the number of bytes that the driver holds for the open port.

    Asking first whether there are any lets the kernel hand on what it has of the device (n_tty_poll).
    """
    select.select([device._port], [], [], 0)
    return int(serial_in_waiting(device._port))


def serial_in_waiting(descriptor: int) -> int:
    import fcntl
    import struct
    import termios

    return int(struct.unpack("=I", fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4)))[0])


async def test_a_purge_reaches_what_the_pump_has_taken_from_the_driver(
    device: SerialDevice, *, threads: bool
) -> None:
    async with open_port(device, threads=threads) as (port, owner):
        port.pause_reading()
        device.send(b"stale")
        if threads:
            # The reader thread takes these although reading is paused; the other pump leaves them with the driver.
            await until(lambda: port._pump._received_size == 5)  # type: ignore[attr-defined]
        device.send(b"and more")
        await until(lambda: waiting(device) == (8 if threads else 13))
        assert port.discard_received() == 13
        port.resume_reading()
        device.send(b"fresh")
        await until(lambda: len(owner.received) >= 5)
        assert owner.received == b"fresh"


async def test_no_byte_of_a_stream_is_delivered_after_the_purge_that_followed_it(
    device: SerialDevice, *, threads: bool
) -> None:
    records = bytes(80_000)
    async with open_port(device, threads=threads) as (port, owner):
        sending = device.sending(records)
        discarded = 0
        while sending.is_alive():
            await asyncio.sleep(0.002)
            discarded += port.discard_received()
        await until(lambda: waiting(device) == 0)
        discarded += port.discard_received()
        delivered = len(owner.received)
        await asyncio.sleep(0.05)
        assert len(owner.received) == delivered, "a byte came after the purge that came before it"
    assert delivered + discarded == len(records), "a purge counts exactly what it discards"


async def test_what_a_slow_driver_discards_later_is_delivered_or_counted(
    device: SerialDevice, monkeypatch: pytest.MonkeyPatch, *, threads: bool
) -> None:
    monkeypatch.setattr(driver_thread, "PATIENCE_SECONDS", 0.01)
    slow = threading.Event()
    real = driver.Driver.discard_received
    async with open_port(device, threads=threads) as (port, owner):
        port.pause_reading()
        monkeypatch.setattr(driver.Driver, "discard_received", lambda self: slow.wait() and real(self))
        device.send(bytes(1000))
        await until(lambda: waiting(device) in (0, 1000))
        with pytest.raises(ComPortError, match="has not answered for 10 ms"):
            port.discard_received()
        device.send(bytes(500))
        slow.set()
        port.resume_reading()
        # Only then has the driver answered, and may be asked again.
        await until(lambda: owner.told_late == 1)
        await until(lambda: len(owner.received) + owner.late_received == 1500)
        port.pause_reading()
        monkeypatch.setattr(driver.Driver, "unsent_waiting", lambda _: 77)
        slow.clear()
        monkeypatch.setattr(serial.Serial, "reset_output_buffer", lambda _: slow.wait())
        with pytest.raises(ComPortError, match="has not answered for 10 ms"):
            port.discard_unsent()
        slow.set()
        await until(lambda: owner.late_unsent == 77)
        monkeypatch.undo()


async def test_a_purge_that_fails_loses_no_byte_uncounted(
    device: SerialDevice, monkeypatch: pytest.MonkeyPatch, *, threads: bool
) -> None:
    def fail(_: object) -> int:
        raise OSError(5, "no")

    async with open_port(device, threads=threads) as (port, owner):
        monkeypatch.setattr(driver.Driver, "discard_received", fail)
        monkeypatch.setattr(serial.Serial, "reset_output_buffer", fail)
        sent = bytes(range(256)) * 100
        sending = device.sending(sent)
        while sending.is_alive():
            with pytest.raises(ComPortError, match="cannot purge"):
                port.discard_received()
            await asyncio.sleep(0.002)
        await until(lambda: len(owner.received) == len(sent))
        assert owner.received == sent
        port.write(b"x" * 20_000)
        unsent = port.unsent
        with pytest.raises(ComPortError, match="cannot purge"):
            port.discard_unsent()
        assert 0 < owner.late_unsent <= unsent
        monkeypatch.undo()


async def test_a_purge_does_not_wait_for_a_driver_that_hangs(
    device: SerialDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thread_pump, "PURGE_SECONDS", 0.01)
    hang = threading.Event()
    monkeypatch.setattr(serial.Serial, "read", lambda *_: hang.wait() and b"")
    async with open_port(device, threads=True) as (port, _):
        assert port.discard_received() == 0
        hang.set()


@pytest.mark.parametrize(
    "raised", [TypeError("byref()"), AttributeError("x"), KeyError("y"), OSError(5, "no")]
)
@pytest.mark.parametrize("call", ["open", "fileno", "reset_output_buffer", "break_condition", "baudrate"])
async def test_whatever_pyserial_raises_is_the_error_of_the_port(
    device: SerialDevice, monkeypatch: pytest.MonkeyPatch, call: str, raised: Exception, *, threads: bool
) -> None:
    def fail(*_: Any) -> None:
        raise raised

    if call in ("open", "fileno"):
        monkeypatch.setattr(serial.Serial, call, fail)
        with pytest.raises(ComPortError, match=device.name):
            async with open_port(device, threads=threads):
                pass
        return
    async with open_port(device, threads=threads) as (port, _):
        calls: dict[str, Callable[[], object]] = {
            "reset_output_buffer": port.discard_unsent,
            "break_condition": lambda: port.set_break(True),
            "baudrate": lambda: port.change_line(LineSettings(baud_rate=57600)),
        }
        attribute = property(lambda _: 9600, fail) if call in ("break_condition", "baudrate") else fail
        monkeypatch.setattr(serial.Serial, call, attribute)
        with pytest.raises(ComPortError, match=device.name):
            calls[call]()
        monkeypatch.undo()


async def test_whatever_the_listing_raises_is_the_error_of_the_port(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise AttributeError("function 'CM_Get_Parent' not found")

    monkeypatch.setattr("serial.tools.list_ports.comports", fail)
    with pytest.raises(ComPortError, match="the COM ports cannot be listed: AttributeError: function"):
        await opener(PortConfig(5000, match=UsbMatch(serial="A1")))(Owner())


async def test_no_open_waits_for_another_and_a_late_one_is_closed(
    device: SerialDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    hang = threading.Event()
    real = module._open

    def slow(port: serial.Serial, name: str, config: PortConfig) -> None:
        if config.tcp_port != 5000:
            hang.wait()
        real(port, device.name, config)

    monkeypatch.setattr(module, "_open", slow)
    hanging = [
        asyncio.ensure_future(opener(PortConfig(port, f"/dev/hangs{port}"))(Owner()))
        for port in range(5001, 5041)
    ]
    async with open_port(device, threads=False):
        pass
    for task in hanging:
        task.cancel()
    await asyncio.gather(*hanging, return_exceptions=True)
    hang.set()
    await until(lambda: not [thread for thread in threading.enumerate() if "hangs" in thread.name])
    # A check of all tests here finds the descriptors that are left open.


async def test_no_call_of_a_driver_that_hangs_holds_up_the_event_loop(
    device: SerialDevice, monkeypatch: pytest.MonkeyPatch, *, threads: bool
) -> None:
    hang = threading.Event()
    async with open_port(device, threads=threads) as (port, _):
        lines = port.modem_lines()
        errors = port.line_errors()
        monkeypatch.setattr(driver_thread, "PATIENCE_SECONDS", 0.01)
        monkeypatch.setattr(driver.Driver, "modem_lines", lambda _: hang.wait())
        assert port.modem_lines() == lines
        assert port.line_errors() == errors
        for discard in (port.discard_received, port.discard_unsent):
            with pytest.raises(ComPortError, match="has not answered an earlier call yet"):
                discard()
        # What sets something is done later, in order, and none of it is forgotten.
        done: list[object] = []
        monkeypatch.setattr(
            serial.Serial, "break_condition", property(lambda _: False, lambda _, on: done.append(on))
        )
        port.set_break(True)
        port.set_break(False)
        assert done == []
        hang.set()
        await until(lambda: done == [True, False])
    await until(lambda: not [thread for thread in threading.enumerate() if device.name in thread.name])
