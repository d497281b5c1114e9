"""The module's container made by Docker itself, IoT Edge's engine, of the manifest's createOptions as they are."""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.container.conftest import Json
from tests.container.create_options import hardened
from tests.container.moby import Docker
from tests.container.podman import podman, resource_limits
from tests.container.test_module_container import CONSUMER, capabilities, echoed
from tests.system.processes import ROOT, wait_for

pytestmark = pytest.mark.container


@pytest.fixture(scope="module")
def docker(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Docker]:
    """An engine that has the module's image."""
    archive = tmp_path_factory.mktemp("image") / "image.tar"
    podman("save", "--format", "docker-archive", "--output", str(archive), image)
    with Docker() as engine:
        engine.load(archive)
        archive.unlink()
        yield engine


def on_this_machine(options: Json) -> Json:
    """Add what this machine asks for: its own network (the engine has no other), limits that it may set."""
    limits = [{"Name": name, "Soft": limit, "Hard": limit} for name, limit in resource_limits().items()]
    return options | {"HostConfig": options["HostConfig"] | {"NetworkMode": "host", "Ulimits": limits}}


class Relay:
    """The module's container, with its desired properties in a file and a socket where IoT Edge puts its own."""

    def __init__(
        self, docker: Docker, image: str, module: Json, options: Json, directory: Path, port: int
    ) -> None:
        self._docker = docker
        self.name = f"serial-relay-test-{uuid4().hex[:12]}"
        self.link = Path("/dev") / f"ttyTest{uuid4().hex[:8]}"
        desired = {"host": "127.0.0.1", "serialPorts": {self.link.name: {"tcpPort": port}}}
        (directory / "desired.json").write_text(json.dumps(desired), encoding="utf-8")
        self._reported = directory / "reported.json"
        environment = {name: entry["value"] for name, entry in module["env"].items()} | {"METRICS_PORT": "0"}
        body = on_this_machine(options) | {
            "Image": image,
            "Env": [f"{name}={value}" for name, value in environment.items()],
            "Cmd": ["--desired", "/twin/desired.json", "--reported", "/twin/reported.json"],
            "Healthcheck": {"Interval": 10**9},  # the image's command, each second
        }
        workload = directory / "workload.sock"
        self.workload_socket = socket.socket(socket.AF_UNIX)
        self.workload_socket.bind(str(workload))
        self.workload_socket.listen()
        body["HostConfig"]["Binds"] = [
            *body["HostConfig"]["Binds"],
            f"{directory}:/twin",
            f"{workload}:/var/run/iotedge/workload.sock",
        ]
        docker.start(self.name, body)

    def wait_until_connected(self) -> None:
        def connected() -> bool:
            assert self._docker.inspect(self.name)["State"]["Running"], self._docker.log(self.name)
            if not self._reported.exists():
                return False
            reported = json.loads(self._reported.read_text(encoding="utf-8"))
            state: str = reported.get("serialPorts", {}).get(self.link.name, {}).get("state", "")
            return state == "connected"

        wait_for(connected, f"{self.link} to be connected")

    def state(self) -> Json:
        state: Json = self._docker.inspect(self.name)["State"]
        return state

    def execute(self, *command: str) -> tuple[int, str]:
        return self._docker.execute(self.name, *command)

    def remove(self) -> None:
        self._docker.request("DELETE", f"/containers/{self.name}", force=1)
        self.workload_socket.close()


@pytest.fixture(params=["as written", "on a hardened host"])
def relay(
    request: pytest.FixtureRequest,
    docker: Docker,
    image: str,
    module: Json,
    create_options: Json,
    echo_port: int,
) -> Iterator[Relay]:
    """The module in a container, connected."""
    options = hardened(create_options) if request.param == "on a hardened host" else create_options
    directory = Path(f"/run/serial-relay-test-{uuid4().hex[:8]}")
    directory.mkdir(mode=0o700)
    started = Relay(docker, image, module, options, directory, echo_port)
    try:
        started.wait_until_connected()
        yield started
    finally:
        started.remove()
        for entry in directory.iterdir():
            entry.unlink()
        directory.rmdir()


def test_docker_makes_of_the_options_what_they_mean(relay: Relay, docker: Docker, image: str) -> None:
    assert echoed(relay.link)
    node = relay.link.stat()
    assert (node.st_mode & 0o777, node.st_uid, node.st_gid) == (0o660, 0, 10)

    process = relay.state()["Pid"]
    assert capabilities(process) == set()
    assert "\nNoNewPrivs:\t1\n" in Path(f"/proc/{process}/status").read_text(encoding="ascii")
    assert docker.inspect(relay.name)["HostConfig"]["PidsLimit"] == 64

    refused = relay.execute("python3", "-c", "open('/opt/serial-relay/x', 'w')")
    assert f"[Errno {errno.EROFS}]" in refused[1]
    kept = relay.execute("python3", "-c", "print(open('/var/lib/serial-relay/last-good.json').read())")
    assert relay.link.name in kept[1]
    device = next(
        path for path in ("/dev/vda", "/dev/sda", "/dev/nvme0n1", "/dev/loop-control") if Path(path).exists()
    )
    assert f"[Errno {errno.EPERM}]" in relay.execute("python3", "-c", f"open({device!r}, 'rb')")[1]

    connect = "import socket; socket.socket(socket.AF_UNIX).connect('/var/run/iotedge/workload.sock')"
    assert relay.execute("python3", "-c", connect) == (0, "")

    wait_for(lambda: relay.state()["Health"]["Status"] == "healthy", "Docker to find it healthy")

    consumer: dict[str, Any] = json.loads(
        (ROOT / "examples/consumer.create-options.json").read_text(encoding="utf-8")
    )
    name = f"{relay.name}-consumer"
    body = on_this_machine(consumer) | {
        "Image": image,
        "Entrypoint": ["python3", "-c", CONSUMER, str(relay.link)],
        "Healthcheck": {"Test": ["NONE"]},
    }
    docker.start(name, body)
    try:
        assert docker.wait(name) == 0, docker.log(name)
        assert docker.log(name) == "True 1000 [10, 1000]\n"
    finally:
        docker.request("DELETE", f"/containers/{name}", force=1)

    docker.request("POST", f"/containers/{relay.name}/stop", t=60)
    assert relay.state()["ExitCode"] == 0
    assert not os.path.lexists(relay.link)
