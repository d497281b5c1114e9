"""The project's two programs as a test starts them: the module from a file of desired properties, and the host.

For: system tests, benchmarks and the demo. Not for: the IoT Edge side; `tests.edgehub` gives that.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.system import peers
from tests.system.processes import PATIENCE, Program, free_port, module_path, python_program, wait_for

Port = Mapping[str, Any]
"""One entry of `serialPorts`, as it stands in the desired properties."""


def replace_file(path: Path, text: str) -> None:
    """Replace the content of the file in one step, as a careful editor does."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


class Relay:
    """The module, run from a file of desired properties; nothing of it stands outside `directory`.

    It is not started by the constructor: `start()`, `stop()` and `start()` again are one relay's life.
    """

    def __init__(
        self, directory: Path, ports: Mapping[str, Port], within: Sequence[str] = (), **environment: str
    ) -> None:
        """`within` is a command that runs the module's, `environment` adds to what the module is told."""
        self.directory = directory
        self._within = within
        self.links = directory / "dev"
        self.links.mkdir(parents=True, exist_ok=True)
        self.desired_path = directory / "ports.json"
        self.reported_path = directory / "status.json"
        self.metrics_port = free_port()
        # Its control socket stands there, with a path of 107 bytes at most, apart from those of other modules.
        self._runtime_directory = tempfile.TemporaryDirectory(prefix="relay-")
        self.environment = {
            "XDG_RUNTIME_DIR": self._runtime_directory.name,
            "LINK_DIR": str(self.links),
            "STATE_DIR": str(directory / "state"),
            "SERIAL_GID": str(os.getgid()),
            "METRICS_PORT": str(self.metrics_port),
            **environment,
        }
        self._program: Program | None = None
        self.configure(ports)

    def configure(self, ports: Mapping[str, Port], **top_level: Any) -> None:
        """Replace the desired properties; `top_level` are the keys beside `serialPorts`."""
        document = {"host": "127.0.0.1", "serialPorts": ports, **top_level}
        replace_file(self.desired_path, json.dumps(document))

    def start(self) -> None:
        self.reported_path.unlink(missing_ok=True)
        self._program = Program(
            [
                *self._within,
                *python_program(
                    *("-m", "serial_relay", "--desired", self.desired_path, "--reported", self.reported_path)
                ),
            ],
            self.directory / "relay.log",
            self.environment,
        )

    @property
    def program(self) -> Program:
        assert self._program is not None, "the relay was not started"
        return self._program

    def stop(self) -> int:
        """End it as `docker stop` does and give the exit status."""
        return self.program.stop()

    @property
    def reported(self) -> dict[str, Any]:
        """The reported properties, `{}` while there are none."""
        try:
            document: dict[str, Any] = json.loads(self.reported_path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return document

    def status(self, name: str) -> dict[str, Any]:
        """What is reported of one port, `{}` while nothing is."""
        port: dict[str, Any] = self.reported.get("serialPorts", {}).get(name) or {}
        return port

    def samples(self) -> Iterator[Sample]:
        """The module's metrics of now."""
        with urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=PATIENCE) as answer:
            text = answer.read().decode()
        for family in text_string_to_metric_families(text):
            yield from family.samples

    def metric(self, name: str, **labels: str) -> float:
        """The present value of `serial_relay_port_<name>` with these labels, from the module's metrics."""
        for sample in self.samples():
            if sample.name == f"serial_relay_port_{name}" and labels.items() <= sample.labels.items():
                return float(sample.value)
        raise AssertionError(f"no metric {name} of {labels}")

    def wait_for_close(self, name: str) -> None:
        """Wait until the relay has taken note that no application has the port open any more."""
        self.wait(lambda: self.metric("application_open", port=name) == 0, f"{name} to be seen as closed")

    def link(self, name: str) -> str:
        """The path that an application opens."""
        return str(self.links / name)

    def wait_for_link(self, name: str) -> str:
        self.wait(lambda: Path(self.link(name)).exists(), f"the link {name}")
        return self.link(name)

    def wait_for_status(self, name: str, timeout: float = PATIENCE, **expected: object) -> dict[str, Any]:
        """Wait until the port's reported properties have the expected values; give them."""
        self.wait(
            lambda: expected.items() <= self.status(name).items(),
            f"{expected} of {name}",
            timeout,
        )
        return self.status(name)

    def wait(self, condition: Callable[[], object], what: str, timeout: float = PATIENCE) -> None:
        """Wait for a condition as long as the relay runs; a failure shows its status and log."""

        def met() -> bool:
            if condition():
                return True
            assert self.program.returncode is None, f"the relay ended:\n{self.program.log}"
            return False

        try:
            wait_for(met, what, timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}\nreported: {self.reported}\nlog:\n{self.program.log}") from None

    @property
    def runtime(self) -> dict[str, str]:
        """What the environment of a local command must hold, so that it finds this module."""
        return {"XDG_RUNTIME_DIR": self._runtime_directory.name}

    def call(self, method: str, payload: object = None) -> tuple[int, dict[str, Any]]:
        """Call a method over the control channel; give its status and answer."""
        path = Path(self._runtime_directory.name) / "serial-relay" / f"serial-relay-{self.program.pid}.sock"
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(str(path))
            connection.sendall(json.dumps({"method": method, "payload": payload}).encode() + b"\n")
            with connection.makefile("rb") as answers:
                answer = json.loads(answers.readline())
        return answer["status"], answer["payload"]

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a local command of the module, `serial-relay <arguments>`."""
        return subprocess.run(
            python_program("-m", "serial_relay", *arguments),
            env={**os.environ, "PYTHONPATH": module_path(), **self.environment},
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def close(self) -> None:
        if self._program is not None:
            self._program.stop()
        self._runtime_directory.cleanup()


class Host:
    """The serial host, run as `serial_host <arguments>`; its output stands in `directory/host.log`."""

    def __init__(self, directory: Path, *arguments: str | Path, within: Sequence[str] = ()) -> None:
        """`within` is a command that runs the host's."""
        self.directory = directory
        self._within = within
        self.arguments = arguments
        # Its control socket stands there, with a path of 107 bytes at most, apart from those of other hosts.
        self._runtime_directory = tempfile.TemporaryDirectory(prefix="host-")
        self._program: Program | None = None
        self.start()

    def start(self) -> None:
        self._program = Program(
            [*self._within, *python_program("-m", "serial_host", *self.arguments)],
            self.directory / "host.log",
            {"XDG_RUNTIME_DIR": self._runtime_directory.name},
        )

    @property
    def program(self) -> Program:
        assert self._program is not None, "the host was not started"
        return self._program

    @property
    def runtime(self) -> dict[str, str]:
        """What the environment of a local command must hold, so that it finds this host."""
        return {"XDG_RUNTIME_DIR": self._runtime_directory.name}

    def wait_until_listening(self, port: int) -> None:
        def listening() -> bool:
            assert self.program.returncode is None, f"the host ended:\n{self.program.log}"
            return peers.listens(port)

        wait_for(listening, f"the host to listen on {port}")

    @property
    def status(self) -> dict[str, dict[str, Any]]:
        """What `serial_host status` says of each port."""
        path = Path(self._runtime_directory.name) / "serial-host" / f"serial-host-{self.program.pid}.sock"
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(str(path))
            connection.sendall(b'{"command": "status"}\n')
            with connection.makefile("rb") as answer:
                return {port["name"]: port for port in json.loads(answer.readline())["ports"]}

    def stop(self) -> int:
        return self.program.stop()

    def close(self) -> None:
        self.program.stop()
        self._runtime_directory.cleanup()
