"""Other people's RFC 2217 clients against our server: pyserial, gensio (ser2net's library), serialx."""

from __future__ import annotations

import asyncio
import os
import select
import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest
import serial
import serial.rfc2217
import serialx

from tests.host.running import PATIENCE, until
from tests.host.session.access_server import AccessServer
from tests.modem_shim.modem_shim import CD, CTS, DSR, DTR, RI, RTS

pytestmark = pytest.mark.filterwarnings("ignore:set(Daemon|Name):DeprecationWarning:serial")

# What pyserial's client does when it opens: every setting, flow control, DTR and RTS, and a purge of each kind.


@pytest.fixture
def pyserial(server: AccessServer) -> Iterator[serial.rfc2217.Serial]:
    port = serial.serial_for_url(
        f"{server.url}?timeout={PATIENCE}",  # of its network, 3 s by default
        baudrate=19200,
        bytesize=7,
        parity=serial.PARITY_EVEN,
        stopbits=2,
        timeout=PATIENCE,
        do_not_open=True,
    )
    assert isinstance(port, serial.rfc2217.Serial)
    port.dtr, port.rts = False, True
    port.open()
    yield port
    port.close()


def test_pyserial_opens_with_its_settings(server: AccessServer, pyserial: serial.rfc2217.Serial) -> None:
    assert pyserial.is_open
    assert server.line() == "19200 7E2"
    assert server.lines.frame == (7, "E")
    assert server.lines.state & (DTR | RTS) == RTS


def test_pyserial_changes_every_setting(server: AccessServer, pyserial: serial.rfc2217.Serial) -> None:
    pyserial.baudrate = 57600
    pyserial.bytesize = 8
    pyserial.parity = serial.PARITY_MARK
    pyserial.stopbits = 1
    assert server.line() == "57600 8M1"
    for parity in (serial.PARITY_SPACE, serial.PARITY_ODD, serial.PARITY_NONE):
        pyserial.parity = parity
        assert server.lines.frame == (8, parity)
    pyserial.xonxoff = True
    assert server.line() == "57600 8N1 xon_xoff"
    pyserial.xonxoff = False
    pyserial.rtscts = True
    assert server.line() == "57600 8N1 rts_cts"
    pyserial.rtscts = False
    assert server.line() == "57600 8N1"


def test_pyserial_drives_and_reads_lines(server: AccessServer, pyserial: serial.rfc2217.Serial) -> None:
    pyserial.dtr, pyserial.rts = True, False
    assert server.lines.state & (DTR | RTS) == DTR
    assert (pyserial.cts, pyserial.dsr, pyserial.ri, pyserial.cd) == (False, False, False, False)
    server.lines.set(CTS | DSR | RI | CD)
    until(lambda: (pyserial.cts, pyserial.dsr, pyserial.ri, pyserial.cd) == (True, True, True, True))
    server.lines.clear(CTS | RI)
    until(lambda: (pyserial.cts, pyserial.dsr, pyserial.ri, pyserial.cd) == (False, True, False, True))


def test_pyserial_sends_breaks_and_purges(server: AccessServer, pyserial: serial.rfc2217.Serial) -> None:
    pyserial.break_condition = True
    assert server.lines.in_break
    pyserial.break_condition = False
    assert (server.lines.in_break, server.lines.breaks) == (False, 1)
    pyserial.send_break(0.01)
    assert (server.lines.in_break, server.lines.breaks) == (False, 2)
    pyserial.reset_input_buffer()
    pyserial.reset_output_buffer()


def test_pyserial_exchanges_data_of_every_value(
    server: AccessServer, pyserial: serial.rfc2217.Serial
) -> None:
    data = bytes(range(256)) * 40
    pyserial.write(data)
    assert server.device.receive(len(data)) == data
    sender = server.device.sending(data)
    assert pyserial.read(len(data)) == data
    sender.join()


class Gensio:
    """gensio's client in its own process, as Debian's Python carries it."""

    def __init__(self, server: AccessServer) -> None:
        self.process = subprocess.Popen(
            [
                "/usr/bin/python3",
                Path(__file__).with_name("gensio_client.py"),
                "127.0.0.1",
                str(server.tcp_port),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, call: str) -> str:
        assert self.process.stdin
        assert self.process.stdout
        print(call, file=self.process.stdin, flush=True)
        ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE)
        assert ready, f"no answer to {call!r}"
        return self.process.stdout.readline().strip()

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def gensio(server: AccessServer) -> Iterator[Gensio]:
    found = subprocess.run(["/usr/bin/python3", "-c", "import gensio"], capture_output=True, check=False)
    if found.returncode:
        pytest.skip("python3-gensio is not installed")
    client = Gensio(server)
    # gensio 2.6.2 does not notice the answer to DTR, RTS or break while it has had none to another command,
    # although it reads it.
    assert client("baud 0") == "9600"
    yield client
    client.close()


def test_gensio_changes_every_setting(server: AccessServer, gensio: Gensio) -> None:
    for call, answer in (
        ("baud 38400", "38400"),
        ("datasize 7", "7"),
        ("parity odd", "odd"),
        ("stopbits 2", "2"),
        ("flowcontrol xon_xoff", "xon_xoff"),
        ("flowcontrol no_flow", "no_flow"),
        ("baud 0", "38400"),
    ):
        assert gensio(call) == answer, call
    assert server.line() == "38400 7O2"
    assert server.lines.frame == (7, "O")


def test_gensio_drives_and_reads_lines(server: AccessServer, gensio: Gensio) -> None:
    for call, answer in (("dtr off", "off"), ("rts on", "on"), ("dtr ?", "off"), ("rts ?", "on")):
        assert gensio(call) == answer, call
    assert server.lines.state & (DTR | RTS) == RTS
    assert gensio("modemstate 255") == "asked"
    gensio("modem")
    server.lines.set(CTS | CD)
    states: list[int] = []
    while not states or states[-1] & 0xF0 != 0x90:
        states.append(int(gensio("modem")))


def test_gensio_sends_breaks_and_purges(server: AccessServer, gensio: Gensio) -> None:
    assert gensio("sbreak on") == "on"
    assert server.lines.in_break
    assert gensio("sbreak off") == "off"
    assert not server.lines.in_break
    assert gensio("send_break") == "sent"
    for what in ("receive", "transmit", "both"):
        assert gensio(f"flush {what}") == "flushed"
    assert gensio("baud 0") == "9600"
    assert server.lines.breaks == 2


def test_gensio_is_told_of_line_errors(server: AccessServer, gensio: Gensio) -> None:
    assert gensio("linestate 30") == "asked"
    assert gensio("baud 0") == "9600"
    server.lines.framing_error()
    assert gensio("line") == "8"


def test_gensio_exchanges_data_of_every_value(server: AccessServer, gensio: Gensio) -> None:
    data = bytes(range(256))
    assert gensio(f"write {data.hex()}") == "written"
    assert gensio("baud 0") == "9600"
    assert server.device.receive(256) == data
    server.device.send(data)
    assert gensio("read 256") == data.hex()


def test_serialx_does_all_it_can(server: AccessServer) -> None:
    async def talk() -> None:
        reader, writer = await serialx.open_serial_connection(
            server.url,
            connect_timeout=PATIENCE,
            baudrate=115200,
            parity=serialx.Parity.EVEN,
            stopbits=serialx.StopBits.TWO,
            byte_size=7,
        )
        transport = writer.transport
        assert await asyncio.to_thread(server.line) == "115200 7E2"
        data = os.urandom(10_000)
        writer.write(data)
        assert await asyncio.to_thread(server.device.receive, len(data)) == data
        server.device.send(data[:4000])
        assert await reader.readexactly(4000) == data[:4000]
        await transport.set_modem_pins(dtr=False, rts=True)
        assert server.lines.state & (DTR | RTS) == RTS
        await transport.set_modem_pins(dtr=True, rts=False)
        assert server.lines.state & (DTR | RTS) == DTR
        server.lines.set(CTS | DSR)
        while True:
            pins = await transport.get_modem_pins()
            if pins.cts is serialx.PinState.HIGH and pins.dsr is serialx.PinState.HIGH:
                break
            await asyncio.sleep(0.01)
        writer.close()
        await writer.wait_closed()

    asyncio.run(asyncio.wait_for(talk(), PATIENCE))


def test_serialx_blocking_opens_sets_and_purges(server: AccessServer) -> None:
    with serialx.serial_for_url(
        server.url, connect_timeout=PATIENCE, baudrate=4800, timeout=PATIENCE
    ) as port:
        assert server.line() == "4800 8N1"
        assert termios.tcgetattr(server.device.descriptor)[5] == termios.B4800
        port.reset_read_buffer()
        port.reset_write_buffer()
        port.write(b"\xffhello\xff")
        assert server.device.receive(7) == b"\xffhello\xff"
