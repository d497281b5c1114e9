"""A Docker Engine (moby), the container engine of IoT Edge, for tests that send it createOptions as they are.

For: what podman cannot show, the meaning that Docker itself gives to each option. The engine is Debian's, unpacked
below .cache/container and not installed; it has its own images, containers and volumes and no network but the machine's
(no bridge, no firewall rules). Not for: images; it is given one.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlencode

from release.builder import CACHE
from tests.system.processes import Program, wait_for

Json = dict[str, Any]

PROGRAMS = CACHE / "moby"
_PACKAGES = ("docker.io", "containerd")
_PLUGINS = Path("/opt/containerd")  # containerd makes this directory wherever it runs
_API = "/v1.41"
_PATIENCE = 120.0


def unpack() -> Path:
    """Return the directory of dockerd and what it starts, fetched from the Debian mirror the first time.

    Raises:
        subprocess.CalledProcessError: the packages cannot be had.
    """
    if not PROGRAMS.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as directory:
            # As root, because apt's own user may not write here; `download` changes nothing in the system.
            command = ["apt-get", "download", "-o", "APT::Sandbox::User=root", *_PACKAGES]
            subprocess.run(command, cwd=directory, check=True, capture_output=True)
            tree = Path(directory) / "tree"
            for package in Path(directory).glob("*.deb"):
                subprocess.run(["dpkg-deb", "--extract", str(package), str(tree)], check=True)
            bin_ = tree / "usr" / "bin"
            for program in (tree / "usr" / "sbin").glob("*"):
                program.rename(bin_ / program.name)
            bin_.rename(PROGRAMS)
    return PROGRAMS


class DockerError(Exception):
    """The engine refused a request; the text is its own."""


class Docker:
    """A running engine, until the end of a `with` block."""

    def __init__(self) -> None:
        self._programs = unpack()
        # Sockets need a short path; the images lie where there is room.
        self._state = Path(tempfile.mkdtemp(prefix="serial-relay-moby-", dir="/run"))
        self._images = Path(tempfile.mkdtemp(prefix="moby-", dir=CACHE))
        self._socket = self._state / "docker.sock"
        self._running = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as started:
            started.callback(shutil.rmtree, self._images)
            started.callback(shutil.rmtree, self._state)
            started.callback(self._unmount)
            if not _PLUGINS.exists():
                started.callback(shutil.rmtree, _PLUGINS, ignore_errors=True)
            command = [
                str(self._programs / "dockerd"),
                *("--host", f"unix://{self._socket}", "--pidfile", str(self._state / "pid")),
                *("--data-root", str(self._images), "--exec-root", str(self._state / "exec")),
                *("--bridge", "none", "--iptables=false", "--ip6tables=false", "--ip-forward=false"),
                *("--exec-opt", "native.cgroupdriver=cgroupfs"),
            ]
            path = f"{self._programs}:{os.environ['PATH']}"
            program = started.enter_context(Program(command, self._state / "log", {"PATH": path}))

            def answers() -> bool:
                assert program.returncode is None, program.log
                with suppress(OSError):
                    return bool(self.request("GET", "/version"))
                return False

            wait_for(answers, "the Docker Engine to answer", timeout=_PATIENCE)
            self._running = started.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.close()

    def _unmount(self) -> None:
        for namespace in (self._state / "exec/netns").glob("*"):
            subprocess.run(["umount", str(namespace)], check=False)

    def request(self, method: str, path: str, body: object = None, **query: object) -> Any:
        """Ask the engine's API and give its answer: JSON as a value, anything else as bytes.

        Raises:
            DockerError: its status is 400 or more.
        """
        connection = _UnixConnection(self._socket)
        try:
            headers = {"Content-Type": "application/json"}
            content: bytes | None = None
            if isinstance(body, bytes):
                headers = {"Content-Type": "application/x-tar"}
                content = body
            elif body is not None:
                content = json.dumps(body).encode()
            connection.request(method, f"{_API}{path}?{urlencode(query)}", content, headers)
            response = connection.getresponse()
            answer = response.read()
            if response.status >= http.client.BAD_REQUEST:
                raise DockerError(f"{method} {path}: {response.status} {answer.decode()}")
            return json.loads(answer) if response.headers.get_content_subtype() == "json" else answer
        finally:
            connection.close()

    def load(self, archive: Path) -> None:
        """Load an image archive as `podman save --format docker-archive` writes it."""
        self.request("POST", "/images/load", archive.read_bytes(), quiet=1)

    def start(self, name: str, create_body: Mapping[str, Any]) -> None:
        """Create and start a container; the body is what edgeAgent sends: Image, Env and createOptions."""
        self.request("POST", "/containers/create", create_body, name=name)
        self.request("POST", f"/containers/{name}/start")

    def inspect(self, name: str) -> Json:
        """All the engine knows of a container."""
        answer: Json = self.request("GET", f"/containers/{name}/json")
        return answer

    def wait(self, name: str) -> int:
        """Wait for a container's end and give its exit code."""
        code: int = self.request("POST", f"/containers/{name}/wait")["StatusCode"]
        return code

    def log(self, name: str) -> str:
        """What a container wrote, both streams."""
        framed = self.request("GET", f"/containers/{name}/logs", stdout=1, stderr=1)
        text = b""
        while framed:  # Engine API, ContainerAttach, "Stream format": 1 byte stream, 3 zero, 4 length
            length = int.from_bytes(framed[4:8], "big")
            text += framed[8 : 8 + length]
            framed = framed[8 + length :]
        return text.decode()

    def execute(self, name: str, *command: str) -> tuple[int, str]:
        """Run a command inside a container and give its exit code and what it wrote."""
        body = {"Cmd": command, "AttachStdout": True, "AttachStderr": True, "Tty": True}
        identity = self.request("POST", f"/containers/{name}/exec", body)["Id"]
        output = self.request("POST", f"/exec/{identity}/start", {"Tty": True})
        return self.request("GET", f"/exec/{quote(identity)}/json")["ExitCode"], output.decode()


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("docker", timeout=_PATIENCE)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
