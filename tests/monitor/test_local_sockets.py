from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("the control channels of Windows are pipes", allow_module_level=True)

from serial_monitor import local_sockets_posix as local_sockets

PROGRAM = "program"


def test_a_running_program_is_found_and_what_a_killed_one_left_is_removed(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as running, socket.socket(socket.AF_UNIX) as killed:
        running.bind(str(tmp_path / "program-12.sock"))
        running.listen()
        killed.bind(str(tmp_path / "program-7.sock"))
        killed.listen()
        killed.close()
        (tmp_path / "program-x.sock").touch()
        (tmp_path / "program-9.sock").touch()
        assert local_sockets.running([tmp_path], PROGRAM) == [12]
        assert not (tmp_path / "program-7.sock").exists()
        assert (tmp_path / "program-x.sock").exists()
        assert local_sockets.answers(tmp_path / "program-12.sock")
    assert local_sockets.running([tmp_path], PROGRAM) == []


def test_without_the_directory_nothing_runs(tmp_path: Path) -> None:
    assert local_sockets.running([tmp_path / "none"], PROGRAM) == []


def test_no_connection_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        local_sockets.connect(tmp_path / "program-1.sock")


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory in the place of /run, for a user in the place of root."""
    monkeypatch.setattr(local_sockets, "_SYSTEM", tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return tmp_path


def looked_at(program: str) -> list[Path]:
    return [local_sockets.directory(program), *local_sockets.other_directories(program)]


@pytest.mark.parametrize("session", ["0", "1000"])
def test_root_in_a_session_finds_programs_of_the_session_and_services(
    system: Path, monkeypatch: pytest.MonkeyPatch, session: str
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(system / "user" / session))
    places = looked_at("program")
    assert places == [system / "user" / session / "program", system / "program"]
    with socket.socket(socket.AF_UNIX) as started, socket.socket(socket.AF_UNIX) as service:
        for place, sock, number in ((places[0], started, 30), (places[1], service, 4)):
            place.mkdir(parents=True)
            sock.bind(str(place / f"program-{number}.sock"))
            sock.listen()
        assert local_sockets.running(places, PROGRAM) == [4, 30]
        assert local_sockets.find(places, PROGRAM, 4) == places[1] / "program-4.sock"
        assert local_sockets.find(places, PROGRAM, 30) == places[0] / "program-30.sock"
    assert local_sockets.find(places, PROGRAM, 5) == places[0] / "program-5.sock"


def test_root_without_a_session_looks_below_run_alone(system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    assert looked_at("program") == [system / "program"]


def test_whoever_names_another_directory_sees_no_services(
    system: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(system / "elsewhere"))
    assert looked_at("program") == [system / "elsewhere" / "program"]


def test_other_users_do_not_look_below_run(system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(system / "user/1000"))
    assert looked_at("program") == [system / "user/1000/program"]


def test_a_program_that_starts_is_never_taken_for_one_that_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "program-12.sock"
    seen = []

    class Slow(socket.socket):
        def bind(self, address: str) -> None:  # type: ignore[override]
            super().bind(address)
            seen.append(local_sockets.running([tmp_path], PROGRAM))

    monkeypatch.setattr(socket, "socket", Slow)
    with local_sockets.listen(path):
        assert seen == [[]]
        assert local_sockets.running([tmp_path], PROGRAM) == [12]
        assert [entry.name for entry in tmp_path.iterdir()] == ["program-12.sock"]


def test_a_socket_that_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "program-12.sock"
    path.mkdir()
    with pytest.raises(OSError, match="directory"):
        local_sockets.listen(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["program-12.sock"]
