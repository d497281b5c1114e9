"""A port with `protocol: rfc2217` against the access servers that are out there: ser2net and pyserial's PortManager.

Each of them has a pty as its com port, with modem lines from the shim; the test is the device at the other end.
"""

from __future__ import annotations

import asyncio
import os
import pty
import shutil
import subprocess
import sys
import termios
import tty
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import serial

from serial_relay.config import LineSettings, Protocol
from serial_relay.plumbing.inotify import Inotify
from serial_relay.port.supervisor import Supervisor
from serial_relay.status import ActualLine, ModemState, State
from serial_relay.virtual_port.links import LinkDirectory
from tests.modem_shim.modem_shim import CD, CTS, DSR, DTR, RTS, ModemLines, ModemShim
from tests.module.conditions import until
from tests.module.port.ports import Ports
from tests.system.processes import free_port

PEERS = ("ser2net", "PortManager")


class Device:
    """A device on a pty: the com port is the pty's slave, the test has the master."""

    def __init__(self, shim: ModemShim) -> None:
        self.master, slave = pty.openpty()
        tty.setraw(slave)
        os.set_blocking(self.master, False)
        self.com_port = os.ttyname(slave)
        self.lines: ModemLines = shim.lines(self.com_port)
        self._slave = slave

    def close(self) -> None:
        os.close(self.master)
        os.close(self._slave)

    def read(self) -> bytes:
        try:
            return os.read(self.master, 4096)
        except BlockingIOError:
            return b""

    @property
    def line(self) -> tuple[int, str, int]:
        """Baud rate, data bits and parity, stop bits, as the com port was set."""
        attributes = termios.tcgetattr(self.master)
        speeds = {
            getattr(termios, name): int(name[1:])
            for name in dir(termios)
            if name[:1] == "B" and name[1:].isdigit()
        }
        bits, parity = self.lines.frame
        return speeds[attributes[5]], f"{bits}{parity}", 2 if attributes[2] & termios.CSTOPB else 1


@contextmanager
def access_server(peer: str, device: Device, shim: ModemShim, directory: Path) -> Iterator[int]:
    port = free_port()
    if peer == "ser2net":
        if shutil.which("ser2net") is None:
            pytest.skip("ser2net is not installed (Debian: ser2net)")
        config = directory / "ser2net.yaml"
        config.write_text(
            "connection: &device\n"
            f"  accepter: telnet(rfc2217=true),tcp,127.0.0.1,{port}\n"
            f"  connector: serialdev,{device.com_port},9600n81,local\n"
            "  options:\n"
            "    kickolduser: true\n"
        )
        command = ["ser2net", "-n", "-c", str(config), "-P", str(directory / "ser2net.pid")]
    else:
        command = [
            sys.executable,
            str(Path(__file__).with_name("port_manager_server.py")),
            device.com_port,
            str(port),
        ]
    with subprocess.Popen(command, env=shim.environment(), stdout=subprocess.DEVNULL) as process:
        try:
            yield port
        finally:
            process.terminate()


@pytest.fixture
def shim(tmp_path: Path) -> Iterator[ModemShim]:
    directory = tmp_path / "shim"
    directory.mkdir()
    shim = ModemShim(directory)
    yield shim
    shim.close()


@pytest.fixture
def device(shim: ModemShim) -> Iterator[Device]:
    device = Device(shim)
    yield device
    device.close()


@pytest.fixture
async def ports(tmp_path: Path, watches: Inotify) -> AsyncIterator[Ports]:
    directory = tmp_path / "dev"
    directory.mkdir()
    links = LinkDirectory(directory)
    supervisor = Supervisor(links, watches, lambda _name: None)
    yield Ports(supervisor, directory)
    await supervisor.stop()
    links.close()


@pytest.mark.parametrize("peer", PEERS)
async def test_everything_of_a_port_through_another_ones_access_server(
    peer: str, ports: Ports, device: Device, shim: ModemShim, tmp_path: Path
) -> None:
    with access_server(peer, device, shim, tmp_path) as tcp_port:
        device.lines.set(CTS)
        line = LineSettings(data_bits=7, parity="even")
        await ports.configure(tcp_port=tcp_port, protocol=Protocol.RFC2217, line=line)
        await ports.reaches(State.CONNECTED)
        assert ports.status.line == ActualLine(9600, 7, "even", 1, "none")
        assert device.line == (9600, "7E", 1)
        await until(lambda: ports.status.modem == ModemState(cts=True))
        await until(lambda: ports.status.round_trip_seconds)

        with serial.Serial(
            str(ports.directory / "a"), 19_200, stopbits=serial.STOPBITS_TWO, timeout=30
        ) as port:
            everything = bytes(range(256)) + b"\xff" * 5
            port.write(everything)
            received = b""
            while len(received) < len(everything):
                if data := device.read():
                    assert device.line == (19_200, "7E", 2)
                    received += data
                await asyncio.sleep(0.001)
            assert received == everything
            os.write(device.master, everything)
            assert await asyncio.to_thread(port.read, len(everything)) == everything
            port.baudrate = 115_200
            await until(lambda: device.line == (115_200, "7E", 2))
            port.reset_input_buffer()
            port.reset_output_buffer()
            await until(lambda: ports.status.line == ActualLine(115_200, 7, "even", 2, "none"))

        device.lines.clear(CTS)
        device.lines.set(DSR | CD)
        await until(lambda: ports.status.modem == ModemState(dsr=True, cd=True))
        await ports.supervisor.set_modem_lines("a", dtr=False, rts=True)
        await until(lambda: device.lines.state & (DTR | RTS) == RTS)
        await ports.supervisor.set_modem_lines("a", dtr=True, rts=False)
        await until(lambda: device.lines.state & (DTR | RTS) == DTR)
        breaks = device.lines.breaks
        await ports.supervisor.send_break("a", 100)
        await until(lambda: device.lines.breaks == breaks + 1 and not device.lines.in_break)

        await ports.configure(line=LineSettings(baud_rate=2400, parity="odd"))
        await until(lambda: device.line[:2] == (2400, "7O"))
        assert ports.status.connects == 1
        await until(lambda: ports.status.line == ActualLine(2400, 7, "odd", 2, "none"))


@pytest.mark.parametrize("peer", PEERS)
async def test_a_server_that_is_stopped_is_noticed_and_one_that_goes_on_found_again(
    peer: str, ports: Ports, device: Device, shim: ModemShim, tmp_path: Path
) -> None:
    with access_server(peer, device, shim, tmp_path) as tcp_port:
        await ports.configure(tcp_port=tcp_port, protocol=Protocol.RFC2217)
        await ports.reaches(State.CONNECTED)
    await ports.reaches(State.RETRYING)
    with access_server(peer, device, shim, tmp_path) as tcp_port:
        await ports.configure(tcp_port=tcp_port)
        await ports.reaches(State.CONNECTED)
