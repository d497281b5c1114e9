"""The process as a user starts it: command line, signals, cleaning up, and what it says when it cannot start."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from serial_relay import __version__
from tests.system.processes import free_port


class Process:
    def __init__(self, directory: Path, arguments: list[str], environment: dict[str, str]) -> None:
        self.links = directory / "dev"
        self.links.mkdir(exist_ok=True)
        self.log = directory / "log"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "serial_relay", *arguments],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "LINK_DIR": str(self.links), "METRICS_PORT": "0", **environment},
            )

    def until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 30
        while not condition():
            assert self._process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.01)

    def signal_again_and_again(self, number: int) -> int:
        """Send a signal each millisecond for a while, as somebody who is impatient, and return the exit status."""
        for _ in range(50):
            self._process.send_signal(number)  # sends nothing to a process that has ended
            time.sleep(0.001)
            self._process.poll()
        return self._process.wait(30)

    def stop_turning(self) -> None:
        """Freeze the process, as an endless loop in it would."""
        self._process.send_signal(signal.SIGSTOP)

    def signal(self, number: int) -> int:
        self._process.send_signal(number)
        return self._process.wait(30)

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


@contextmanager
def running(directory: Path, *arguments: str, environment: dict[str, str] | None = None) -> Iterator[Process]:
    process = Process(directory, list(arguments), environment or {})
    try:
        yield process
    finally:
        process.kill()


@pytest.fixture
def desired(tmp_path: Path) -> Path:
    path = tmp_path / "ports.json"
    path.write_text(json.dumps({"host": "127.0.0.1", "serialPorts": {"a": {"tcpPort": free_port()}}}))
    return path


def reported(path: Path) -> dict[str, Any]:
    try:
        section: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    return section


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_process_leaves_no_link(tmp_path: Path, desired: Path, number: int) -> None:
    with running(tmp_path, "--desired", str(desired)) as process:
        process.until((process.links / "a").is_symlink)
        assert process.signal(number) == 0
        assert list(process.links.iterdir()) == []
        assert "[INF] - stopped" in process.log.read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_impatient_user_spoils_nothing(tmp_path: Path, number: int) -> None:
    desired = tmp_path / "ports.json"
    names = [f"p{index}" for index in range(40)]
    entries = {name: {"tcpPort": 1 + index} for index, name in enumerate(names)}
    desired.write_text(json.dumps({"host": "127.0.0.1", "serialPorts": entries}))
    with running(tmp_path, "--desired", str(desired)) as process:
        process.until(lambda: all((process.links / name).is_symlink() for name in names))
        status = process.signal_again_and_again(number)
        assert list(process.links.iterdir()) == []
        assert "unexpected error" not in process.log.read_text()
        # The last signals may come when the program is over and Python ends, which has no handler for them any more.
        assert status in {0, -number}


def test_after_a_kill_the_next_start_removes_stale_links(tmp_path: Path, desired: Path) -> None:
    with running(tmp_path, "--desired", str(desired)) as process:
        process.until((process.links / "a").is_symlink)
        process.signal(signal.SIGKILL)
        assert (process.links / "a").is_symlink()
    desired.write_text(desired.read_text().replace('"a"', '"b"'))
    with running(tmp_path, "--desired", str(desired)) as process:
        process.until((process.links / "b").is_symlink)
        assert not (process.links / "a").is_symlink()


def test_the_file_is_followed_and_the_state_written(tmp_path: Path, desired: Path) -> None:
    status = tmp_path / "status.json"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with running(tmp_path, "--desired", str(desired), "--reported", str(status)) as process:
            process.until(lambda: reported(status).get("status") == "down")
            section = reported(status)
            assert section["serialPorts"]["a"]["lastError"]["code"] == "connectionRefused"
            assert section["configSource"] == "file"
            assert section["version"] == __version__
            desired.write_text(
                json.dumps(
                    {"host": "127.0.0.1", "serialPorts": {"a": {"tcpPort": port}, "b": {"tcpPort": 70000}}}
                )
            )
            process.until(lambda: reported(status)["serialPorts"]["a"].get("state") == "connected")
            process.until(lambda: "b" in reported(status)["serialPorts"])
            fault = reported(status)["serialPorts"]["b"]["configError"]
            assert fault["path"] == "serialPorts.b.tcpPort"
            assert "1-65535" in fault["expected"]
            assert "70000" in fault["expected"]
            desired.write_text("{ this is no JSON")
            process.until(lambda: "configErrors" in reported(status))
            assert reported(status)["serialPorts"]["a"]["state"] == "connected"
            assert reported(status)["status"] == "degraded"


def test_the_last_good_configuration_is_used_at_once(tmp_path: Path, desired: Path) -> None:
    environment = {"STATE_DIR": str(tmp_path / "state")}
    with running(tmp_path, "--desired", str(desired), environment=environment) as process:
        process.until(lambda: (tmp_path / "state").exists() and list((tmp_path / "state").glob("*.json")))
        process.signal(signal.SIGTERM)
    desired.unlink()
    status = tmp_path / "status.json"
    arguments = ("--desired", str(desired), "--reported", str(status))
    with running(tmp_path, *arguments, environment=environment) as process:
        process.until((process.links / "a").is_symlink)
        process.until(lambda: reported(status).get("configSource") == "cache")


def test_metrics_are_served(tmp_path: Path, desired: Path) -> None:
    port = free_port()
    with running(tmp_path, "--desired", str(desired), environment={"METRICS_PORT": str(port)}) as process:
        process.until((process.links / "a").is_symlink)
        with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
            client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            answer = b""
            while data := client.recv(65536):
                answer += data
        assert b'port="a"' in answer


def test_the_health_command_asks_the_process(tmp_path: Path, desired: Path) -> None:
    environment = {"HEALTH_SOCKET": str(tmp_path / "health")}
    with running(tmp_path, "--desired", str(desired), environment=environment) as process:
        process.until((process.links / "a").is_symlink)
        asked = [sys.executable, "-m", "serial_relay.process.health"]
        assert subprocess.run(asked, env={**os.environ, **environment}, check=False).returncode == 0
        process.stop_turning()
        done = subprocess.run(
            asked, env={**os.environ, **environment}, capture_output=True, check=False, timeout=60
        )
        assert done.returncode == 1
        assert b"did not answer" in done.stderr


def test_a_second_process_on_the_same_directory_says_why_it_does_not_start(
    tmp_path: Path, desired: Path
) -> None:
    with running(tmp_path, "--desired", str(desired)) as process:
        process.until((process.links / "a").is_symlink)
        second = run("--desired", str(desired), LINK_DIR=str(process.links))
        assert second.returncode == 1
        assert "another serial relay makes the links" in second.stdout
        assert (process.links / "a").is_symlink()


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "serial_relay", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **environment},
    )


def test_help_tells_the_environment() -> None:
    done = run("--help")
    assert done.returncode == 0
    for name in ("LINK_DIR", "SERIAL_GID", "STATE_DIR", "RuntimeLogLevel", "ALLOWED_METHODS", "METRICS_PORT"):
        assert name in done.stdout


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        ([], {}, "--desired FILE is needed"),
        (["--reported", "x"], {}, "--reported goes with --desired"),
        (["--desired", "x"], {"SERIAL_GID": "dialout"}, "SERIAL_GID must be a number of a group"),
        (["--desired", "x"], {"METRICS_PORT": "99999"}, "METRICS_PORT must be a TCP port"),
        (["--desired", "x"], {"ALLOWED_METHODS": "format"}, "ALLOWED_METHODS must be"),
    ],
)
def test_what_cannot_start_says_why(arguments: list[str], environment: dict[str, str], message: str) -> None:
    done = run(*arguments, **environment)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_link_directory_that_is_not_there_says_what_to_do() -> None:
    done = run("--desired", "x", LINK_DIR="/nowhere/at/all")
    assert done.returncode == 1
    assert "cannot make links in /nowhere/at/all" in done.stdout
    assert "Traceback" not in done.stdout
