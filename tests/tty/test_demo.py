"""The demo where there can be character devices."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.processes import Program, python_program

pytestmark = pytest.mark.tty


def test_the_demo_shows_what_a_character_device_carries(tmp_path: Path) -> None:
    with Program(python_program("-m", "tests.demo"), tmp_path / "demo.log") as demo:
        assert demo.wait(300) == 0, demo.log
    assert "what that port is: a character device: " in demo.log
    assert "✗" not in demo.log
