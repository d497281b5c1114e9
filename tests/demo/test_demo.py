"""The demo itself, as `make demo` runs it where there is no terminal."""

from __future__ import annotations

from pathlib import Path

from serial_relay.virtual_port.device_server import why_not
from tests.system.processes import Program, python_program
from tty_server.device_errors import CUSE


def test_script_is_seen_to_work(tmp_path: Path) -> None:
    with Program(python_program("-m", "tests.demo"), tmp_path / "demo.log") as demo:
        assert demo.wait(120) == 0, demo.log
    assert "✗" not in demo.log
    steps = 14
    assert demo.log.count("✓") == 2 * steps - 1, "each in its course and in the summary"
    assert demo.log.count("▼") == 1, "the outage in its course"
    assert "its port never reopened" in demo.log
    kind = "a character device: " if why_not(CUSE) is None else f"a pty, without modem lines: {why_not(CUSE)}"
    assert f"what that port is: {kind}" in demo.log


def test_unknown_argument_is_refused(tmp_path: Path) -> None:
    with Program(python_program("-m", "tests.demo", "--twice"), tmp_path / "demo.log") as demo:
        assert demo.wait() == 2
    assert "--twice" in demo.log
