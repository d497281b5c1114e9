"""The channel of `status` and `stop`: what it answers, and whom it lets in."""

from __future__ import annotations

import json
import os
import socket
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from serial_host.control import control
from tests.host.commands import CommandLine, ServerProcess
from tests.host.running import PATIENCE

if sys.platform == "win32":
    pytest.skip("the pipe of Windows is tested by tests/windows", allow_module_level=True)


@pytest.fixture
def server(command_line: CommandLine, tcp_port: int) -> Iterator[ServerProcess]:
    with command_line.start("simulate", "echo", tcp_port) as server:
        server.wait_for("listening on")
        yield server


def channel(command_line: CommandLine, server: ServerProcess) -> Path:
    return (
        Path(command_line.environment["XDG_RUNTIME_DIR"])
        / "serial-host"
        / f"serial-host-{server.process.pid}.sock"
    )


def ask(path: Path, request: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE)
        connection.connect(str(path))
        connection.sendall(request)
        answer = b""
        while part := connection.recv(65536):
            answer += part
        return answer


@pytest.mark.parametrize(
    "request_line",
    [
        b"\n",
        b"nonsense\n",
        b'"stop"\n',
        b"[]\n",
        b'{"command": 5}\n',
        b'{"command": "fly"}\n',
        b"\xff\xfe\n",
        b"[" * 900 + b"\n",
        b"[" * 1022 + b"\n",
        b'{"command":' * 90 + b"\n",
    ],
)
def test_what_is_no_command_is_answered_and_does_no_harm(
    command_line: CommandLine, server: ServerProcess, request_line: bytes
) -> None:
    assert json.loads(ask(channel(command_line, server), request_line)) == {"error": "unknown command"}
    assert server.status()["pid"] == server.process.pid


def test_an_endless_request_is_cut(command_line: CommandLine, server: ServerProcess) -> None:
    try:
        answer = ask(channel(command_line, server), b"x" * 100_000)
    except (BrokenPipeError, ConnectionResetError):
        answer = b""
    assert answer == b""
    assert server.status()["pid"] == server.process.pid


def test_nobody_else_may_enter_the_channels_directory(
    command_line: CommandLine, server: ServerProcess
) -> None:
    directory = channel(command_line, server).parent
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_a_directory_that_others_may_enter_is_not_used(command_line: CommandLine, tcp_port: int) -> None:
    directory = Path(command_line.environment["XDG_RUNTIME_DIR"]) / "serial-host"
    directory.mkdir()
    directory.chmod(0o755)
    with command_line.start("simulate", "echo", tcp_port) as server:
        server.wait_for("listening on")
        server.wait_for(
            f"will not find this server: {directory} is not a directory that this user alone may enter"
        )
        assert list(directory.iterdir()) == []


def test_the_channel_goes_with_the_server(command_line: CommandLine, server: ServerProcess) -> None:
    path = channel(command_line, server)
    assert path.exists()
    assert server.terminate() == 0
    assert not path.exists()


def test_asking_a_process_that_is_no_server_is_named(
    command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", command_line.environment["XDG_RUNTIME_DIR"])
    assert not control.is_running(os.getpid())
    with pytest.raises(
        control.NotRunningError, match=f"there is no server with the process id {os.getpid()}$"
    ):
        control.ask(os.getpid(), "status")
