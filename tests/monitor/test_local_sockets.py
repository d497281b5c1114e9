from __future__ import annotations

import re
import socket
import sys
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("the control channels of Windows are pipes", allow_module_level=True)

from serial_monitor import local_sockets_posix as local_sockets

NAME = re.compile(r"program-(\d+)\.sock")


def test_a_running_program_is_found_and_what_a_killed_one_left_is_removed(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as running, socket.socket(socket.AF_UNIX) as killed:
        running.bind(str(tmp_path / "program-12.sock"))
        running.listen()
        killed.bind(str(tmp_path / "program-7.sock"))
        killed.listen()
        killed.close()
        (tmp_path / "program-x.sock").touch()
        (tmp_path / "program-9.sock").touch()
        assert local_sockets.running(tmp_path, NAME) == [12]
        assert not (tmp_path / "program-7.sock").exists()
        assert (tmp_path / "program-x.sock").exists()
        assert local_sockets.answers(tmp_path / "program-12.sock")
    assert local_sockets.running(tmp_path, NAME) == []


def test_without_the_directory_nothing_runs(tmp_path: Path) -> None:
    assert local_sockets.running(tmp_path / "none", NAME) == []


def test_no_connection_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        local_sockets.connect(tmp_path / "program-1.sock")
