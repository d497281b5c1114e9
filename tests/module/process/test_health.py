from __future__ import annotations

import asyncio
import logging
import os
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from serial_relay.process import health

SERVICE = """
import asyncio, sys, time
from pathlib import Path
from serial_relay.process import health

async def main():
    await health.serve(Path(sys.argv[1]))
    print("listening", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    print("stuck", flush=True)
    time.sleep(3600)

asyncio.run(main())
"""
ENVIRONMENT = {"PYTHONPATH": os.pathsep.join(sys.path)}


@pytest.fixture
def path() -> Iterator[Path]:
    """A socket's path below a short directory: sun_path holds 108 bytes (unix(7)), tmp_path may be longer."""
    with tempfile.TemporaryDirectory(prefix="health") as directory:
        yield Path(directory) / "health"


@contextmanager
def service(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process whose event loop answers at `path`, until it is sent a line; then its loop is stuck."""
    command = [sys.executable, "-c", SERVICE, str(path)]
    with subprocess.Popen(
        command, env=ENVIRONMENT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "listening\n"
            yield process
        finally:
            process.kill()


def run_command(**environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "serial_relay.process.health"],
        env=ENVIRONMENT | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_turning_loop_is_healthy_each_time_it_is_asked(path: Path) -> None:
    with service(path):
        for _ in range(3):
            finished = run_command(HEALTH_SOCKET=str(path))
            assert (finished.returncode, finished.stdout, finished.stderr) == (0, "healthy\n", "")


def test_only_this_user_may_ask(path: Path) -> None:
    with service(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_socket_of_a_killed_process_is_replaced(path: Path) -> None:
    with service(path):
        pass
    assert path.is_socket()
    with service(path):
        health.ask(path, timeout=60)


def test_a_stuck_loop_is_unhealthy_although_its_process_lives(path: Path) -> None:
    with service(path) as process:
        health.ask(path, timeout=60)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "stuck\n"
        with pytest.raises(TimeoutError):
            health.ask(path, timeout=0.5)
        finished = run_command(HEALTH_SOCKET=str(path))
        assert finished.returncode == 1
        assert finished.stderr == f"unhealthy: the event loop did not answer at {path}\n"
        assert process.poll() is None


def test_no_service_is_unhealthy_and_says_where_it_was_sought(path: Path) -> None:
    finished = run_command(HEALTH_SOCKET=str(path))
    assert finished.returncode == 1
    assert str(path) in finished.stderr
    assert len(finished.stderr.splitlines()) == 1


def test_without_the_variable_the_command_names_it() -> None:
    finished = run_command()
    assert finished.returncode == 1
    assert "HEALTH_SOCKET" in finished.stderr
    assert len(finished.stderr.splitlines()) == 1


@pytest.mark.parametrize("answer", [b"", b"ali", b"dead!\n", b"alive\nand more"])
def test_another_answer_is_unhealthy(path: Path, answer: bytes) -> None:
    def reply() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(answer)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=reply)
        thread.start()
        with pytest.raises(ConnectionError, match="expected b'alive"):
            health.ask(path, timeout=60)
        thread.join()


def test_where_no_socket_can_be_made_there_is_a_warning_and_no_more(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def attempt() -> None:
        (await health.serve(path / "in" / "nothing"))()

    asyncio.run(attempt())
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert "the health command will not work: cannot listen at" in warning
    assert "HEALTH_SOCKET" in warning


def test_an_ended_service_is_unhealthy(path: Path) -> None:
    async def attempt() -> None:
        end = await health.serve(path)
        await asyncio.to_thread(health.ask, path)
        end()

    asyncio.run(attempt())
    with pytest.raises(OSError, match=r"refused|No such file"):
        health.ask(path)


def test_before_there_is_a_configuration_it_is_healthy_and_not_ready(
    path: Path,
) -> None:
    async def asked() -> list[bool]:
        state = [False]
        end = await health.serve(path, lambda: state[0])
        answers = [await asyncio.to_thread(health.ask, path)]
        state[0] = True
        answers.append(await asyncio.to_thread(health.ask, path))
        end()
        return answers

    assert asyncio.run(asked()) == [False, True]


@pytest.mark.parametrize(
    ("configured", "arguments", "status"),
    [(False, [], 0), (False, ["--configured"], 1), (True, ["--configured"], 0)],
)
def test_the_exit_status_of_the_readiness_probe(
    path: Path, monkeypatch: pytest.MonkeyPatch, *, configured: bool, arguments: list[str], status: int
) -> None:
    monkeypatch.setenv("HEALTH_SOCKET", str(path))
    monkeypatch.setattr(sys, "argv", ["health", *arguments])

    async def asked() -> int:
        end = await health.serve(path, lambda: configured)
        result = await asyncio.to_thread(health.main)
        end()
        return result

    assert asyncio.run(asked()) == status
