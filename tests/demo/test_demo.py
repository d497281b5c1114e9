"""The demo itself, as `make demo` runs it where there is no terminal."""

from __future__ import annotations

from pathlib import Path

from tests.system.processes import Program, python_program


def test_script_is_seen_to_work(tmp_path: Path) -> None:
    with Program(python_program("-m", "tests.demo"), tmp_path / "demo.log") as demo:
        assert demo.wait(120) == 0, demo.log
    assert "✗" not in demo.log
    steps = 13
    assert demo.log.count("✓") == 2 * steps - 1, "each in its course and in the summary"
    assert demo.log.count("▼") == 1, "the outage in its course"
    assert "its port never reopened" in demo.log


def test_unknown_argument_is_refused(tmp_path: Path) -> None:
    with Program(python_program("-m", "tests.demo", "--twice"), tmp_path / "demo.log") as demo:
        assert demo.wait() == 2
    assert "--twice" in demo.log
