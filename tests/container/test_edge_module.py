"""The module's container as edgeAgent starts it: createOptions and `env` of the manifest, twin and methods of edgeHub."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen
from uuid import uuid4

import pytest

from tests.container.conftest import Json
from tests.container.create_options import module_arguments
from tests.container.podman import Container, podman, remove_volumes
from tests.container.test_module_container import echoed
from tests.edgehub.hub import EdgeHub
from tests.system.processes import free_port, wait_for

pytestmark = pytest.mark.container


@pytest.fixture
def name() -> str:
    """Name of a port; its link stands in this machine's own /dev and must not meet anything there."""
    return f"ttyTest{uuid4().hex[:8]}"


@pytest.fixture
def hub(name: str, echo_port: int) -> Iterator[EdgeHub]:
    """An emulated edgeHub whose module twin asks for one port."""
    desired = {"host": "127.0.0.1", "serialPorts": {name: {"tcpPort": echo_port}}}
    with EdgeHub(desired=desired, module="serial_relay") as hub:
        yield hub


@pytest.fixture
def metrics_port() -> int:
    """A TCP port of this machine, whose network the container shares."""
    return free_port()


@pytest.fixture
def options(module: Json, create_options: Json, hub: EdgeHub, metrics_port: int) -> Iterator[list[str]]:
    """What edgeAgent makes of the manifest's entry: its options, its identity, the socket of its workload API."""
    socket = hub.workload.socket_path
    environment = hub.environment | {"METRICS_ADDRESS": "127.0.0.1", "METRICS_PORT": str(metrics_port)}
    yield [
        *module_arguments(module, create_options),
        *(f"--env={variable}={value}" for variable, value in environment.items()),
        f"--volume={socket}:{socket}",
    ]
    remove_volumes()


def test_it_serves_what_the_twin_asks_for(
    image: str, options: list[str], hub: EdgeHub, name: str, echo_port: int, metrics_port: int
) -> None:
    with Container(image, options) as relay:
        reported = hub.wait_reported(lambda reported: reported.get("status") == "ok", timeout=60)
        assert reported["configSource"] == "hub"
        link = Path(reported["serialPorts"][name]["link"])
        assert link == Path("/dev") / name
        assert echoed(link)

        hub.patch_desired({"serialPorts": {name: None, f"{name}b": {"tcpPort": echo_port}}})
        hub.wait_reported(lambda reported: set(reported.get("serialPorts", {})) == {f"{name}b"})
        hub.wait_reported(lambda reported: reported["serialPorts"][f"{name}b"]["state"] == "connected")
        assert not link.is_symlink()
        assert echoed(Path("/dev") / f"{name}b")

        status, answer = hub.call_method("getStatus")
        assert status == 200
        assert isinstance(answer, dict)
        assert answer["status"] == "ok"
        assert not hub.violations
        with urlopen(f"http://127.0.0.1:{metrics_port}/metrics", timeout=30) as metrics:
            assert f'port="{name}b"' in metrics.read().decode()

        podman("stop", "--time", "60", relay.name)
        assert relay.exit_code == 0
        assert not (Path("/dev") / f"{name}b").is_symlink()


def test_the_last_good_document_lives_in_the_volume(
    image: str, options: list[str], hub: EdgeHub, name: str
) -> None:
    link = Path("/dev") / name
    with Container(image, options):
        hub.wait_reported(lambda reported: reported.get("status") == "ok", timeout=60)
    assert not link.is_symlink()
    hub.go_away()
    with Container(image, options):  # another container, as after an update of the image
        wait_for(link.exists, "the port, with no hub to ask")
        assert echoed(link)
        hub.come_back(keep_sessions=False)
        hub.wait_reported(lambda reported: reported.get("configSource") == "hub", timeout=90)
        assert echoed(link)
