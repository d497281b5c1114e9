"""Programs run for a test: started with their output in a file, stopped by process id, waited for by condition.

For: tests, benchmarks and the demo, which all drive real programs. Not for: judging what a program did; that is
the test's business.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

ROOT = Path(__file__).resolve().parents[2]
"""The project's directory."""

PATIENCE = 30.0
"""Seconds until a condition is given up: far more than any step takes, because a loaded machine is no defect."""

Result = TypeVar("Result")


def wait_for(condition: Callable[[], Result], what: str, timeout: float = PATIENCE) -> Result:
    """Return the condition's first true value.

    Raises:
        AssertionError: it stayed false for `timeout` seconds; the message says what was waited for and what stood
            there last.
    """
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout:g} s for {what}; it is still {value!r}")
        time.sleep(0.005)
    return value


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nothing uses, and that nobody else is given before it is used.

    Below the kernel's range for outgoing connections (`ip_local_port_range`, 32768 and up): a relay that keeps
    dialling a port of that range while its server is away will one day be given it as its own and connect to itself.
    """
    ports = _own_ports()
    while True:
        port = random.choice(ports)
        if port in _given:
            continue
        with socket.socket() as candidate:
            try:
                candidate.bind(("127.0.0.1", port))
            except OSError:
                continue
        if len(_given) > len(ports) / 2:
            _given.clear()
        _given.add(port)
        return port


_given: set[int] = set()
"""The ports that this process was given lately."""

_WORKERS = 16


def _own_ports() -> range:
    """Return the ports of this process: pytest-xdist's workers, which run at the same time, have different ones."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")
    if not worker.isdecimal():
        return range(15000, 32768)
    count = (32768 - 15000) // _WORKERS
    first = 15000 + int(worker) % _WORKERS * count
    return range(first, first + count)


def free_ports(count: int) -> list[int]:
    """Return so many different ones of them."""
    ports: set[int] = set()
    while len(ports) < count:
        ports.add(free_port())
    return list(ports)


def python_program(*arguments: str | Path) -> list[str]:
    """Return the command line of one of the project's own programs, `("-m", "serial_relay", …)`."""
    return [sys.executable, *map(str, arguments)]


def module_path() -> str:
    """Return `PYTHONPATH` for the project's own programs."""
    return os.pathsep.join(str(ROOT / part) for part in (".", "module", "host"))


class Program:
    """A program that runs until it is stopped; as a context manager it is stopped at the end.

    Its output, both streams in one, stands in the file `log`. It dies with the thread that started it, so that an
    aborted test run leaves nothing behind.
    """

    def __init__(
        self, command: Sequence[str | Path], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.command = [str(part) for part in command]
        self.log_path = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *self.command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={
                    **os.environ,
                    "PYTHONPATH": module_path(),
                    "PYTHONUNBUFFERED": "1",
                    **(environment or {}),
                },
                cwd=ROOT,
                process_group=0,  # Ctrl-C is for whoever started the test, not for each program
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def log(self) -> str:
        """What the program has printed so far."""
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    @property
    def returncode(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self._process.poll()

    @property
    def descriptors(self) -> int:
        """Number of its open file descriptors."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def wait_for_log(self, text: str, timeout: float = PATIENCE) -> None:
        """Wait until `text` stands in its output; fail at once when it has ended without it."""

        def printed() -> bool:
            ended = self.returncode is not None
            if text in self.log:
                return True
            assert not ended, f"{self} ended with {self.returncode}:\n{self.log}"
            return False

        try:
            wait_for(printed, f"{text!r} in the output of {self}", timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log}") from None

    def wait(self, timeout: float = PATIENCE) -> int:
        """Wait for its end and give the exit status."""
        return self._process.wait(timeout)

    def send_signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def stop(self, timeout: float = PATIENCE) -> int:
        """End it with SIGTERM (with SIGKILL when it does not listen) and give the exit status."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
        return self._process.returncode

    def kill(self) -> None:
        """End it as a crash or the kernel's out-of-memory killer would."""
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<{' '.join(self.command[:4])} … pid {self.pid}>"
