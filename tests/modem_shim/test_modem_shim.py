"""The shim against pyserial: what a test of modem lines stands on."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.modem_shim.modem_shim import CD, CTS, DSR, DTR, RI, RTS, ModemShim

_PROGRAM = """
import json, sys, serial
port = serial.Serial(sys.argv[1], 9600, bytesize=7, parity="E", stopbits=2, timeout=30)
port.dtr, port.rts = False, True
port.break_condition = True
port.break_condition = False
print(json.dumps([port.cts, port.dsr, port.ri, port.cd]), flush=True)
sys.stdin.readline()
port.parity = "M"
port.baudrate = 250000
print(json.dumps([port.cts, port.dsr, port.ri, port.cd]), flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def shim(tmp_path: Path) -> Iterator[ModemShim]:
    shim = ModemShim(tmp_path)
    yield shim
    shim.close()


def test_pyserial_finds_lines_breaks_and_parity_on_a_pty(shim: ModemShim) -> None:
    master, slave = pty.openpty()
    lines = shim.lines(os.ttyname(slave))
    lines.set(CTS | RI)
    assert lines.frame == (8, "N")
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, os.ttyname(slave)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=shim.environment(),
        text=True,
    ) as program:
        assert program.stdin
        assert program.stdout
        assert json.loads(program.stdout.readline()) == [True, False, True, False]
        assert lines.state & (DTR | RTS) == RTS
        assert (lines.breaks, lines.in_break) == (1, False)
        assert lines.frame == (7, "E")
        lines.clear(CTS | RI)
        lines.set(DSR | CD)
        print(file=program.stdin, flush=True)
        assert json.loads(program.stdout.readline()) == [False, True, False, True]
        assert lines.frame == (7, "M")
        print(file=program.stdin, flush=True)
        assert program.wait(30) == 0
    os.close(master)
    os.close(slave)


def test_without_the_shim_a_pty_has_no_modem_lines() -> None:
    """What the shim is for; if this fails, the kernel has learnt them."""
    master, slave = pty.openpty()
    run = subprocess.run(
        [sys.executable, "-c", "import serial, sys; serial.Serial(sys.argv[1]).cts", os.ttyname(slave)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Inappropriate ioctl" in run.stderr
    os.close(master)
    os.close(slave)
