"""Programs and libraries of others on a character device, with what a pty cannot carry."""

from __future__ import annotations

import array
import fcntl
import subprocess

import pytest
import serial

from tests.system.processes import PATIENCE, wait_for
from tests.tty.relay_end import RelayEnd
from tty_server.messages import CD, CTS, DSR, DTR, RI, RTS, ErrorCounts, Kind, Line

pytestmark = pytest.mark.tty

PARITIES = {"N": "none", "E": "even", "O": "odd", "M": "mark", "S": "space"}


def run(*command: str, text: bytes = b"") -> bytes:
    """Run a program, and return what it printed."""
    return subprocess.run(command, input=text, check=True, capture_output=True, timeout=PATIENCE).stdout


def test_stty_sets_and_shows_everything(serving: RelayEnd) -> None:
    node = str(serving.node)
    run("stty", "-F", node, "19200", "cs7", "parenb", "parodd", "cmspar", "cstopb", "crtscts", "-echo", "raw")
    run("stty", "-F", node, "cs7", "parenb")  # `raw` has set 8 data bits and no parity
    shown = run("stty", "-F", node, "-a").decode()
    assert "speed 19200 baud" in shown
    assert {"cs7", "parenb", "parodd", "cmspar", "cstopb", "crtscts", "-echo", "-icanon"} <= set(
        shown.split()
    )
    wait_for(lambda: serving.line == Line(19200, 7, "mark", 2, "rtsCts"), "the line")
    saved = run("stty", "-F", node, "-g").decode().strip()
    run("stty", "-F", node, "sane", "-parenb")
    run("stty", "-F", node, saved)
    assert run("stty", "-F", node, "-g").decode().strip() == saved
    run("stty", "-F", node, "4000000")
    assert run("stty", "-F", node, "speed") == b"4000000\n"


@pytest.mark.parametrize("parity", PARITIES)
def test_pyserial_sets_parity_and_data_bits(serving: RelayEnd, parity: str) -> None:
    for bits in (7, 8):
        for stop in (1, 2):
            with serial.Serial(str(serving.node), 31250, bits, parity, stop, timeout=PATIENCE) as port:
                wanted = Line(31250, bits, PARITIES[parity], stop, "none")
                wait_for(lambda wanted=wanted: serving.line == wanted, f"{wanted}")  # type: ignore[misc]
                port.write(b"request")
                port.flush()
                assert port.read(7) == b"request"


def test_pyserial_sees_and_sets_the_modem_lines(serving: RelayEnd) -> None:
    with serial.Serial(str(serving.node), timeout=PATIENCE) as port:
        wait_for(lambda: serving.outputs == DTR | RTS, "both lines")
        port.dtr = False
        wait_for(lambda: serving.outputs == RTS, "DTR to drop")
        port.rts = False
        port.dtr = True
        wait_for(lambda: serving.outputs == DTR, "RTS to drop")
        assert not any((port.cts, port.dsr, port.ri, port.cd))
        serving.send(Kind.INPUTS, bytes([CTS | DSR | RI | CD]))
        wait_for(lambda: port.cts and port.dsr and port.ri and port.cd, "the lines of the device")
        serving.send(Kind.INPUTS, bytes([0]))
        wait_for(lambda: not (port.cts or port.dsr or port.ri or port.cd), "the lines to drop")


def test_pyserial_sends_a_break_and_discards(serving: RelayEnd) -> None:
    with serial.Serial(str(serving.node), timeout=PATIENCE) as port:
        port.send_break(0.1)
        wait_for(lambda: serving.breaks == [True, False], "a break with its end")
        port.break_condition = True
        port.break_condition = False
        wait_for(lambda: serving.breaks == [True, False] * 2, "another break")
        port.write(b"stale")
        wait_for(lambda: port.in_waiting == 5, "the bytes")
        port.reset_input_buffer()
        assert port.in_waiting == 0
        port.write(b"fresh")
        assert port.read(5) == b"fresh"


def test_counters_of_the_line_are_read(serving: RelayEnd) -> None:
    serving.send(Kind.ERRORS, ErrorCounts(1, 2, 3, 4).pack())
    with serial.Serial(str(serving.node), timeout=PATIENCE) as port:
        descriptor = port.fileno()
        counters = array.array("i", [0] * 20)

        def errors() -> list[int]:
            fcntl.ioctl(descriptor, 0x545D, counters)  # TIOCGICOUNT
            return list(counters[6:10])

        wait_for(lambda: errors() == [1, 2, 3, 4], "the counters")


def test_socat_opens_it_with_even_parity(serving: RelayEnd) -> None:
    address = f"{serving.node},raw,echo=0,b9600,cs7,parenb=1"
    # socat goes on for some seconds after the end of its input, by which time the echo is back.
    assert run("socat", "-t", "3", "-", address, text=b"through socat") == b"through socat"
    assert Line(9600, 7, "even", 1, "none") in serving.lines


def test_picocom_sets_the_line(serving: RelayEnd) -> None:
    run("picocom", "--quiet", "--exit-after", "200", "-b", "57600", "-d", "7", "-y", "e", str(serving.node))
    wait_for(lambda: not serving.opened, "the close")
    assert (
        Line(57600, 7, "even", 1, "none") in serving.lines
    )  # at its end it has restored what was set before
