"""The examples for Docker Desktop and WSL 2 (compose) and for Kubernetes, run by podman on this machine's real /dev.

Each time: an application's bytes go through and come back, a change of the configuration arrives, a restart is survived,
and nothing has any privilege.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml

from tests.container.examples import compose_arguments, config_map, desired_for, pod_of, read_all
from tests.container.podman import Container, podman, remove_volumes, resource_limits
from tests.container.test_module_container import capabilities
from tests.system.processes import ROOT, free_port, wait_for

Json = dict[str, Any]

pytestmark = pytest.mark.container


class Application:
    """What the application of the examples wrote."""

    def __init__(self, log: Callable[[], str]) -> None:
        self._log = log

    def answered(self) -> int:
        """How many of its requests were answered rightly so far."""
        lines = [line.partition(": ") for line in self._log().splitlines() if line.startswith("request ")]
        return sum(answer == repr(f"{request}\n".encode()) for request, _, answer in lines)

    def wait_for_an_answer(self) -> None:
        """Wait until one more request is answered."""
        before = self.answered()
        wait_for(lambda: self.answered() > before, "a request of the application to be answered", 60)


class Relay:
    """A running relay of the examples: asked inside its container, as an operator would."""

    def __init__(self, container: str) -> None:
        self.container = container

    def inspect(self, template: str) -> str:
        return podman("inspect", "--format", template, self.container).stdout.strip()

    def execute(self, *command: str) -> tuple[int, str]:
        finished = podman("exec", self.container, *command, check=False)
        return finished.returncode, finished.stdout + finished.stderr

    def ports(self) -> Json:
        status, output = self.execute("python3", "-m", "serial_relay", "status", "--json")
        if status:
            return {}
        ports: Json = json.loads(output)["serialPorts"]
        return ports

    def wait_until_connected(self, port: str) -> None:
        try:
            wait_for(
                lambda: self.ports().get(port, {}).get("state") == "connected", f"{port} to be connected"
            )
        except AssertionError as error:
            said = self.execute("python3", "-m", "serial_relay", "status", "--json")
            log = podman("logs", "--tail", "30", self.container, check=False)
            raise AssertionError(f"{error}\n{said}\n{log.stdout}{log.stderr}") from error

    def start_of_process(self) -> tuple[int, str]:
        """What no two starts have in common: the process, and the start in nanoseconds."""
        return int(self.inspect("{{.State.Pid}}")), self.inspect("{{.State.StartedAt.UnixNano}}")

    def assert_unprivileged(self) -> None:
        process = int(self.inspect("{{.State.Pid}}"))
        assert capabilities(process) == set()
        assert "\nNoNewPrivs:\t1\n" in Path(f"/proc/{process}/status").read_text(encoding="ascii")
        assert self.inspect("{{.HostConfig.Privileged}}") == "false"
        assert self.inspect("{{.HostConfig.ReadonlyRootfs}}") == "true"


@pytest.fixture
def port() -> Iterator[str]:
    """A name that meets nothing in this machine's own /dev."""
    name = f"ttyTest{uuid4().hex[:8]}"
    before = {entry.name for entry in os.scandir("/dev")}
    yield name
    left = {entry.name for entry in os.scandir("/dev")} - before - {"serial-relay"}
    assert not {entry for entry in left if "termination" in entry or entry.startswith(name)}


class Compose:
    """The services of the compose file, each a container."""

    def __init__(self, image: str, port: str, echo_port: int, folder: Path) -> None:
        self._document = read_all("examples/compose/compose.yaml")[0]
        self._image, self._port, self._folder = image, port, folder
        self.example = json.loads(
            (ROOT / "examples/compose/desired/desired.json").read_text(encoding="utf-8")
        )
        (folder / "desired").mkdir()
        self.configure(desired_for(self.example, port, echo_port))
        program = (ROOT / "examples/compose/application.py").read_text(encoding="utf-8")
        (folder / "application.py").write_text(program, encoding="utf-8")

    def configure(self, desired: str) -> None:
        """Replace the file, as editors do."""
        new = self._folder / "desired/.new"
        new.write_text(desired, encoding="utf-8")
        new.replace(self._folder / "desired/desired.json")

    def container(self, service: str) -> Container:
        document = json.loads(
            json.dumps(self._document["services"][service]).replace("ttyVirtS0", self._port)
        )
        if service == "relay":
            document["environment"] |= {"METRICS_ADDRESS": "127.0.0.1", "METRICS_PORT": str(free_port())}
        document.pop("init", None)  # podman's needs another package; Python as process 1 is killed at the end
        options, command = compose_arguments(document, self._folder, self._port)
        return Container(self._image, options, command)


@pytest.fixture
def compose(image: str, port: str, echo_port: int, tmp_path: Path) -> Iterator[Compose]:
    yield Compose(image, port, echo_port, tmp_path)
    remove_volumes()


def test_the_services_of_the_compose_file_relay_follow_changes_and_survive_a_restart(
    compose: Compose, port: str, echo_port: int
) -> None:
    with ExitStack() as running:
        container = running.enter_context(compose.container("relay"))
        relay = Relay(container.name)
        relay.wait_until_connected(port)
        application = running.enter_context(compose.container("application"))
        log = Application(application.log)
        log.wait_for_an_answer()
        relay.assert_unprivileged()
        assert capabilities(application.process) == set()

        changed = json.loads(desired_for(compose.example, port, echo_port))
        changed["serialPorts"][f"{port}b"] = {"tcpPort": echo_port, "host": "localhost"}
        compose.configure(json.dumps(changed))
        relay.wait_until_connected(f"{port}b")
        log.wait_for_an_answer()

        before = relay.start_of_process()
        podman("restart", "--time", "20", container.name)
        wait_for(lambda: relay.start_of_process() != before, "the container to be started again")
        relay.wait_until_connected(port)
        log.wait_for_an_answer()


def kube(*arguments: str, folder: Path) -> None:
    """Run `podman kube`, with limits that need no right to set them."""
    limits = [f"{name}={limit}:{limit}" for name, limit in resource_limits().items()]
    configuration = folder / "containers.conf"
    configuration.write_text(f"[containers]\ndefault_ulimits = {json.dumps(limits)}\n", encoding="utf-8")
    os.environ["CONTAINERS_CONF"] = str(configuration)
    try:
        podman("kube", *arguments)
    finally:
        del os.environ["CONTAINERS_CONF"]


@pytest.fixture
def play(tmp_path: Path) -> Iterator[Callable[[str, Sequence[Json]], None]]:
    """Play manifests with `podman kube play`, by a name, and take them away in the end."""
    with ExitStack() as playing:
        playing.callback(remove_volumes)

        def start(name: str, manifests: Sequence[Json]) -> None:
            file = tmp_path / f"{name}.yaml"
            file.write_text(yaml.safe_dump_all(manifests), encoding="utf-8")
            playing.callback(podman, "pod", "rm", "--force", "--time", "10", name, check=False)
            kube("play", str(file), folder=tmp_path)

        yield start


def test_the_kubernetes_manifests_relay_follow_changes_and_survive_a_restart(
    image: str, port: str, echo_port: int, play: Callable[[str, Sequence[Json]], None]
) -> None:
    files, daemon_set = read_all("examples/kubernetes/serial-relay.yaml")
    desired = desired_for(json.loads(files["data"]["desired.json"]), port, echo_port)
    environment = {"METRICS_ADDRESS": "127.0.0.1", "METRICS_PORT": str(free_port())}
    name = f"relay-{port.lower()}"
    pod = pod_of(daemon_set, name=name, image=image, port=port, environment=environment)
    play(name, [config_map(name, {"desired.json": desired}), pod])
    relay = Relay(f"{name}-relay")
    relay.wait_until_connected(port)
    relay.assert_unprivileged()
    [container] = daemon_set["spec"]["template"]["spec"]["containers"]
    for probe in ("livenessProbe", "readinessProbe"):
        assert relay.execute(*container[probe]["exec"]["command"]) == (0, "healthy\n")

    files, manifest = read_all("examples/kubernetes/application.yaml")
    user = f"application-{port.lower()}"
    play(
        user,
        [
            config_map(user, files["data"]),
            pod_of(manifest, name=user, image=image, port=port, environment={}),
        ],
    )
    log = Application(lambda: podman("logs", f"{user}-application").stdout)
    log.wait_for_an_answer()
    assert podman("exec", f"{user}-application", "id", "-u").stdout == "1000\n"
    assert (
        capabilities(int(podman("inspect", "--format", "{{.State.Pid}}", f"{user}-application").stdout))
        == set()
    )

    # A kubelet switches links in a ConfigMap's directory, which the tests of the file twin do; podman has plain files.
    [mount] = [
        entry
        for entry in json.loads(podman("inspect", relay.container).stdout)[0]["Mounts"]
        if entry["Destination"] == "/desired"
    ]
    changed = json.loads(desired)
    changed["serialPorts"][f"{port}b"] = {"tcpPort": echo_port, "host": "localhost"}
    new = Path(mount["Source"]) / ".new"
    new.write_text(json.dumps(changed), encoding="utf-8")
    new.replace(Path(mount["Source"]) / "desired.json")
    relay.wait_until_connected(f"{port}b")
    log.wait_for_an_answer()

    # Killed and made anew, as a kubelet does it. podman's own restart of a pod's only container races with the pod's end.
    podman("pod", "rm", "--force", "--time", "0", name)
    assert os.path.lexists(f"/dev/{port}"), "the killed relay has left its link"
    play(name, [config_map(name, {"desired.json": desired}), pod])
    relay.wait_until_connected(port)
    log.wait_for_an_answer()

    started = time.monotonic()
    grace = daemon_set["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    podman("stop", "--time", str(grace), relay.container)
    print(f"the relay's container stopped in {time.monotonic() - started:.2f} s")
    assert relay.inspect("{{.State.ExitCode}}") == "0", "137 would be a kill at the end of the grace time"
    assert not os.path.lexists(f"/dev/{port}")
    written = podman("logs", relay.container)
    said = (written.stdout + written.stderr).splitlines()
    assert any(line.endswith(f" - port {port}: stopped") for line in said), "nothing is discarded"


def test_a_pod_without_its_configuration_is_alive_and_not_ready(
    image: str, port: str, play: Callable[[str, Sequence[Json]], None]
) -> None:
    daemon_set = read_all("examples/kubernetes/serial-relay.yaml")[1]
    environment = {"METRICS_ADDRESS": "127.0.0.1", "METRICS_PORT": str(free_port())}
    name = f"relay-{port.lower()}"
    pod = pod_of(daemon_set, name=name, image=image, port=port, environment=environment)
    play(name, [config_map(name, {"other.json": "{}"}), pod])
    relay = Relay(f"{name}-relay")
    [container] = daemon_set["spec"]["template"]["spec"]["containers"]
    wait_for(
        lambda: relay.execute(*container["livenessProbe"]["exec"]["command"])[0] == 0, "the pod to be alive"
    )
    status, output = relay.execute(*container["readinessProbe"]["exec"]["command"])
    assert status == 1
    assert "there is no configuration yet" in output
