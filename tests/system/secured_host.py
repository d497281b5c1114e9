"""The serial host with a configuration file that has `[tls]`, and the commands that people give it."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from serial_host.control import control
from serial_host.security.kept import Kept
from tests.system.processes import PATIENCE, Program, free_port, module_path, python_program, wait_for


class SecuredHost:
    """One COM port; it is started by `start`, and again after `stop`."""

    def __init__(
        self, directory: Path, device: Path, *, tls: str = "[tls]\n", secured: bool = True, **keys: object
    ) -> None:
        """`tls` is the table as it stands in the file, `keys` are those of the port."""
        directory.mkdir(exist_ok=True)
        self.directory = directory
        self.port = free_port()
        self.path = directory / "serial-host.toml"
        self._keys = {"device": str(device), "tcp_port": self.port, "tls": secured, **keys}
        self._runtime_directory = tempfile.TemporaryDirectory(prefix="host-")
        self._environment = {"XDG_RUNTIME_DIR": self._runtime_directory.name}
        self._program: Program | None = None
        self.configure(tls)

    def configure(self, tls: str) -> None:
        """Write the configuration file."""
        lines = ["[[ports]]", *(f"{key} = {_toml(value)}" for key, value in self._keys.items())]
        self.path.write_text("\n".join(lines) + "\n" + tls)

    @property
    def program(self) -> Program:
        assert self._program is not None
        return self._program

    @property
    def fingerprint(self) -> str:
        """Of the host's own certificate, which is made if there is none."""
        return Kept(self.directory / "tls").identity().fingerprint

    def start(self) -> None:
        self._program = Program(
            python_program("-m", "serial_host", "run", "--config", str(self.path)),
            self.directory / "host.log",
            self._environment,
        )
        self.program.wait_for_log("listening on")
        wait_for(self._answers, "the server to answer commands")

    def _answers(self) -> bool:
        try:
            return bool(self.status)
        except control.NotRunningError:
            return False

    def stop(self) -> None:
        if self._program is not None:
            self._program.stop()
            self._program = None

    def close(self) -> None:
        self.stop()
        self._runtime_directory.cleanup()

    def command(self, *arguments: str) -> str:
        """Run one of the host's commands, which must succeed, and return what it prints."""
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            python_program("-m", "serial_host", *arguments),
            env={**os.environ, "PYTHONPATH": module_path(), **self._environment},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def begin(self, *arguments: str) -> Program:
        """Begin one of the host's commands that takes time."""
        return Program(
            python_program("-m", "serial_host", *arguments), self.directory / "command.log", self._environment
        )

    @property
    def status(self) -> dict[str, Any]:
        """What `status` says of the server."""
        before = os.environ.get("XDG_RUNTIME_DIR")
        os.environ["XDG_RUNTIME_DIR"] = self._runtime_directory.name
        try:
            return control.ask(self.program.pid, "status")
        finally:
            if before is None:
                del os.environ["XDG_RUNTIME_DIR"]
            else:
                os.environ["XDG_RUNTIME_DIR"] = before

    def wait_for_client(self) -> None:
        wait_for(lambda: self.status["ports"][0]["client"], "a client at the host")


def _toml(value: object) -> str:
    return (
        str(value).lower()
        if isinstance(value, bool)
        else f'"{value}"'
        if isinstance(value, str)
        else str(value)
    )
