"""`serial_host` as a person starts it: a process with arguments, its output and its exit status."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self
from unittest.mock import patch

from serial_host.control import control
from tests.host.running import PATIENCE

ROOT = Path(__file__).parent.parent.parent


class CommandLine:
    """Runs commands; servers started here and `status` and `stop` meet in a directory of their own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.environment = {
            **os.environ,
            "XDG_RUNTIME_DIR": str(directory),
            "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "host"))),
            "PYTHONUNBUFFERED": "1",
        }

    def _command(
        self, *arguments: str | int | Path, program: Sequence[str] = ("-m", "serial_host")
    ) -> list[str]:
        return [sys.executable, *program, *map(str, arguments)]

    def run(self, *arguments: str | int | Path) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            self._command(*arguments),
            env=self.environment,
            cwd=self._directory,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def start(
        self, *arguments: str | int | Path, program: Sequence[str] = ("-m", "serial_host")
    ) -> ServerProcess:
        """Start a server; `program` is what Python runs."""
        return ServerProcess(self, self._command(*arguments, program=program), self._directory)


class ServerProcess:
    """A server, killed with the context if it is not gone by then; its output goes to a file."""

    def __init__(self, command_line: CommandLine, command: list[str], directory: Path) -> None:
        self._command_line = command_line
        self._output = directory / f"output-{time.monotonic_ns()}"
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                command, env=command_line.environment, cwd=directory, stdout=output, stderr=subprocess.STDOUT
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)

    @property
    def output(self) -> str:
        return self._output.read_text(encoding="utf-8")

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Return when the output has a match for `pattern`."""
        deadline = time.monotonic() + PATIENCE
        while not (match := re.search(pattern, self.output)):
            assert self.process.poll() is None, f"ended with {self.process.returncode}: {self.output}"
            assert time.monotonic() < deadline, f"no {pattern!r} in: {self.output}"
            time.sleep(0.01)
        return match

    def wait(self) -> int:
        """Wait for the end and give the exit status."""
        return self.process.wait(PATIENCE)

    def terminate(self) -> int:
        """End it as a service manager does, and give the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def status(self) -> dict[str, Any]:
        """Ask it as `serial_host status` does."""
        with (
            patch.dict(os.environ, XDG_RUNTIME_DIR=self._command_line.environment["XDG_RUNTIME_DIR"]),
            patch("serial_host.control.control.channel._ANSWER_SECONDS", PATIENCE, create=True),
        ):
            return control.ask(self.process.pid, "status")
