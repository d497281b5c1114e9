"""What the campaign's own pieces promise: nothing is left behind, and a stalled log is stalled."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.log_pipe import LogPipe
from tests.faults.stage import as_user
from tests.system.processes import module_path, wait_for


def test_a_program_of_another_user_dies_with_the_test_that_started_it(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can start a program as another user")
    code = (
        "import os, sys; from pathlib import Path; from tests.system.processes import Program;"
        "from tests.faults.stage import as_user;"
        "program = Program([*as_user('+chown,+fowner'), 'sleep', '600'], Path(sys.argv[1]));"
        "print(program.pid, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "log")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": module_path()},
        text=True,
    ) as test:
        assert test.stdout is not None
        pid = int(test.stdout.readline())
        wait_for(lambda: _runs(pid, "sleep"), "the program to run")
        test.kill()
    wait_for(lambda: not _runs(pid, "sleep"), "the program to die")


def _runs(pid: int, name: str) -> bool:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    return f"Name:\t{name}\n" in status and "State:\tZ" not in status


def test_a_log_is_whole_although_its_reader_stalled(tmp_path: Path) -> None:
    pipe = LogPipe(tmp_path / "pipe", tmp_path / "log")
    try:
        command = [*pipe.within, sys.executable, "-c", "print('line\\n' * 1000, end='')"]
        with pipe.stalled():
            process = subprocess.Popen(command)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.5)
        assert process.wait(30) == 0
        wait_for(lambda: (tmp_path / "log").exists() and len(_lines(tmp_path)) == 1000, "the log")
        assert set(_lines(tmp_path)) == {"line"}
    finally:
        pipe.close()


def _lines(directory: Path) -> list[str]:
    return (directory / "log").read_text().splitlines()


def test_as_user_names_no_right_that_was_not_asked_for() -> None:
    command = as_user("+chown")
    assert not command or ("--inh-caps=+chown" in command and "--pdeathsig" in command)
