from __future__ import annotations

import json
import os
import shutil
import socketserver
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import pytest

from render_manifest import join_create_options, read_env_file, render
from tests.container import image as module_image
from tests.container.create_options import module_arguments
from tests.container.podman import Container, remove_volumes
from tests.system.processes import ROOT, free_port, wait_for

Json = dict[str, Any]


@pytest.fixture(scope="session")
def image() -> str:
    """The module's image, built from this tree."""
    missing = [name for name in ("buildah", "podman", "runc", "mmdebstrap") if not shutil.which(name)]
    if missing or os.geteuid():
        pytest.fail(f"needs root and {', '.join(missing) or 'nothing else'}: run `make test-container`")
    return module_image.build()


@pytest.fixture
def module() -> Json:
    """The serial_relay entry of the rendered manifest."""
    template = json.loads((ROOT / "deployment.template.json").read_text(encoding="utf-8"))
    manifest = render(template, ROOT, read_env_file(ROOT / ".env.example"))
    agent = manifest["modulesContent"]["$edgeAgent"]["properties.desired"]
    entry: Json = agent["modules"]["serial_relay"]
    return entry


@pytest.fixture
def create_options(module: Json) -> Json:
    """What the manifest makes the module's container of."""
    return join_create_options(module["settings"])


class Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(4096):
            self.request.sendall(data)


@pytest.fixture
def echo_port() -> Iterator[int]:
    """The TCP port of a serial server on this machine whose device sends back what it is sent."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


class RelayContainer(Container):
    """A container of the module's image that takes its desired properties from a file instead of a hub."""

    def __init__(self, image: str, options: Sequence[str], directory: Path) -> None:
        self._reported = directory / "reported.json"
        super().__init__(
            image,
            [*options, "--volume", f"{directory}:/twin"],
            ["--desired", "/twin/desired.json", "--reported", "/twin/reported.json"],
        )

    def port(self, name: str) -> Json:
        """The reported properties of a port, empty as long as there are none."""
        try:
            reported: Json = json.loads(self._reported.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        port: Json = reported.get("serialPorts", {}).get(name, {})
        return port

    def wait_until_connected(self, name: str) -> Path:
        """Return the link of a port, once an application would be heard."""

        def connected() -> bool:
            assert self.inspect("{{.State.Running}}") == "true", self.log()
            return self.port(name).get("state") == "connected"

        wait_for(connected, f"{name} to be connected")
        return Path(self.port(name)["link"])


class StartModule(Protocol):
    def __call__(self, options: Json, **port: Any) -> tuple[RelayContainer, Path]: ...


@pytest.fixture
def start_module(image: str, module: Json, echo_port: int, tmp_path: Path) -> Iterator[StartModule]:
    """Start the module with given createOptions and one port to the echo, wait until it is connected, give its link."""
    with ExitStack() as running:
        running.callback(remove_volumes)

        def start(options: Json, **port: Any) -> tuple[RelayContainer, Path]:
            # The links stand in this machine's own /dev, so their names must not meet anything there.
            name = f"ttyTest{uuid4().hex[:8]}"
            desired = {"host": "127.0.0.1", "serialPorts": {name: {"tcpPort": echo_port} | port}}
            (tmp_path / "desired.json").write_text(json.dumps(desired), encoding="utf-8")
            environment = [
                "METRICS_ADDRESS=127.0.0.1",
                f"METRICS_PORT={free_port()}",
            ]  # on this machine's own network
            arguments = [*module_arguments(module, options), *(f"--env={entry}" for entry in environment)]
            relay = running.enter_context(RelayContainer(image, arguments, tmp_path))
            link = relay.wait_until_connected(name)
            assert link == Path("/dev") / name
            return relay, link

        yield start
