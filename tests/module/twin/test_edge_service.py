"""The whole module as edgeAgent starts it, with the real SDK, on an emulated edgeHub that fails while bytes pass."""

from __future__ import annotations

import os
import socketserver
import struct
import threading
import time
import tty
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psutil
import pytest

from serial_relay.twin.plug_and_play import MODEL_ID
from tests.edgehub.hub import EdgeHub
from tests.module.twin.edge_faults import FAULTS, Fault
from tests.system.processes import PATIENCE, Program, free_port, python_program, wait_for
from tests.system.serial_lines import read_exactly, write_all

RECORD = struct.Struct("!Q")
BATCH = 128
"""Records under way at once: 1 KB."""


class EchoServer(socketserver.ThreadingTCPServer):
    """A serial server whose device sends back what it gets."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), EchoHandler)
        threading.Thread(target=self.serve_forever, args=[0.05], daemon=True).start()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def close(self) -> None:
        self.shutdown()
        self.server_close()


class EchoHandler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(65536):
            self.request.sendall(data)


class Application:
    """Opens a virtual port once and sends numbers through it without pause; each must come back, in order."""

    def __init__(self, link: Path) -> None:
        self._descriptor = os.open(link, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        tty.setraw(self._descriptor)
        self._ending = False
        self._thread = threading.Thread(target=self._exchange, daemon=True)
        self.echoed = 0
        """Bytes."""
        self.failure: Exception | None = None
        self._thread.start()

    def _exchange(self) -> None:
        number = 0
        try:
            while not self._ending:
                batch = b"".join(RECORD.pack(number + offset) for offset in range(BATCH))
                write_all(self._descriptor, batch)
                assert read_exactly(self._descriptor, len(batch)) == batch
                number += BATCH
                self.echoed += len(batch)
        except (AssertionError, OSError) as error:
            self.failure = error

    def wait_for_more(self, size: int = 64 * 1024) -> None:
        """Wait until so many bytes more have gone to the device and back."""
        start = self.echoed

        def exchanged() -> bool:
            assert self.failure is None, f"after {self.echoed} bytes: {self.failure}"
            return self.echoed >= start + size

        wait_for(exchanged, f"{size} bytes to come back")

    def close(self) -> None:
        self._ending = True
        self._thread.join()
        os.close(self._descriptor)
        if self.failure is not None:
            raise self.failure


class Module:
    """`python -m serial_relay` in the environment of an edgeHub; its files stand in `directory`."""

    def __init__(self, hub: EdgeHub, directory: Path, **environment: str) -> None:
        self.links = directory / "dev"
        self.links.mkdir(parents=True, exist_ok=True)
        self.program = Program(
            python_program("-m", "serial_relay"),
            directory / "module.log",
            {
                "LINK_DIR": str(self.links),
                "STATE_DIR": str(directory / "state"),
                "SERIAL_GID": str(os.getgid()),
                "METRICS_PORT": "0",
                **hub.environment,
                **environment,
            },
        )

    def link(self, name: str) -> Path:
        return self.links / name

    def wait_for_link(self, name: str) -> Path:
        wait_for(self.link(name).exists, f"the link {name}", timeout=90.0)
        return self.link(name)

    def close(self) -> None:
        self.program.stop()


@pytest.fixture
def echo() -> Iterator[EchoServer]:
    with closing(EchoServer()) as server:
        yield server


@pytest.fixture
def hub(echo: EchoServer) -> Iterator[EdgeHub]:
    with EdgeHub({"host": "127.0.0.1", "serialPorts": {"a": {"tcpPort": echo.port}}}) as hub:
        yield hub


@pytest.fixture
def cleanup() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def module(hub: EdgeHub, tmp_path: Path) -> Iterator[Module]:
    with closing(Module(hub, tmp_path)) as module:
        yield module


def test_it_does_what_the_twin_says_and_reports_it(hub: EdgeHub, module: Module, echo: EchoServer) -> None:
    reported = hub.wait_reported(lambda reported: reported.get("status") == "ok")
    assert reported["configSource"] == "hub"
    assert reported["desiredVersion"] == 1
    assert reported["serialPorts"]["a"]["state"] == "connected"
    with closing(Application(module.link("a"))) as application:
        application.wait_for_more()
    hub.patch_desired({"serialPorts": {"a": None, "b": {"tcpPort": echo.port}, "c": {"tcpPort": "x"}}})
    reported = hub.wait_reported(lambda reported: reported.get("desiredVersion") == 2)
    assert set(reported["serialPorts"]) == {"b", "c"}
    assert reported["serialPorts"]["c"]["configError"]["path"] == "serialPorts.c.tcpPort"
    assert not module.link("a").is_symlink()
    assert not hub.violations


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_relaying_goes_on_while_and_after(
    fault: Fault, hub: EdgeHub, module: Module, echo: EchoServer
) -> None:
    hub.wait_reported(lambda reported: reported.get("status") == "ok")
    with closing(Application(module.link("a"))) as application:
        application.wait_for_more()
        fault.begin(hub)
        application.wait_for_more()
        fault.end(hub)
        hub.wait_connected(timeout=90)
        hub.patch_desired({"serialPorts": {"b": {"tcpPort": echo.port, "host": "localhost"}}})
        patched = time.monotonic()
        module.wait_for_link("b")
        print(f"{time.monotonic() - patched:.3f} s from patch to link")
        application.wait_for_more()
        hub.wait_reported(lambda reported: reported.get("portsConnected") == 2, timeout=90)
        print(application.echoed, "bytes echoed")
    assert module.program.returncode is None
    assert not hub.violations


def test_it_starts_with_the_last_good_document_when_there_is_no_hub(
    hub: EdgeHub, tmp_path: Path, cleanup: ExitStack
) -> None:
    with closing(Module(hub, tmp_path)):
        hub.wait_reported(lambda reported: reported.get("status") == "ok")
    hub.go_away()
    hub.workload.stop()
    module = cleanup.enter_context(closing(Module(hub, tmp_path)))
    application = cleanup.enter_context(closing(Application(module.wait_for_link("a"))))
    application.wait_for_more()
    hub.patch_desired({"reportIntervalSeconds": 600})
    hub.workload.start()
    hub.come_back(keep_sessions=False)
    reported = hub.wait_reported(lambda reported: reported.get("desiredVersion") == 2, timeout=90)
    assert reported["configSource"] == "hub"
    application.wait_for_more()


def test_its_metrics_show_whether_it_has_a_hub(hub: EdgeHub, tmp_path: Path) -> None:
    port = free_port()

    def shown() -> str:
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE) as answer:
            return str(answer.read().decode())

    with closing(Module(hub, tmp_path, METRICS_PORT=str(port))):
        hub.wait_reported(lambda reported: reported.get("status") == "ok")
        assert "\nserial_relay_hub_connected 1.0\n" in shown()
        hub.go_away()
        wait_for(lambda: "\nserial_relay_hub_connected 0.0\n" in shown(), "the loss of the hub", timeout=90)
        hub.come_back(keep_sessions=False)
        wait_for(lambda: "\nserial_relay_hub_connected 1.0\n" in shown(), "the hub to be back", timeout=90)


def test_an_empty_twin_at_the_start_leaves_the_last_good_document(
    hub: EdgeHub, tmp_path: Path, cleanup: ExitStack
) -> None:
    with closing(Module(hub, tmp_path)):
        hub.wait_reported(lambda reported: reported.get("status") == "ok")
    hub.clear_reported()
    hub.faults.empty_twin = True
    module = cleanup.enter_context(closing(Module(hub, tmp_path)))
    reported = hub.wait_reported(lambda reported: reported.get("status") == "ok")
    assert reported["configSource"] == "cache"
    with closing(Application(module.link("a"))) as application:
        application.wait_for_more()


def test_direct_methods_reach_the_module(hub: EdgeHub, module: Module) -> None:
    hub.wait_reported(lambda reported: reported.get("status") == "ok")
    status, answer = hub.call_method("getStatus")
    assert status == 200
    assert answer["serialPorts"]["a"]["state"] == "connected"
    connects = answer["serialPorts"]["a"]["connects"]
    assert hub.call_method("restartPort", {"port": "a"})[0] == 200
    wait_for(
        lambda: hub.call_method("getStatus")[1]["serialPorts"]["a"]["connects"] == connects + 1,
        "the port to connect anew",
    )
    assert hub.call_method("restartPort", {"port": "none"})[0] == 404
    assert hub.call_method("restartPort", {"prt": "a"})[0] == 400
    assert hub.call_method("noSuchMethod")[0] == 501
    assert hub.call_method("setLogLevel", {"level": "debug"})[0] == 200
    hub.patch_desired({"reportIntervalSeconds": 600})
    module.program.wait_for_log("[DBG] - read the desired properties, $version 2")


def test_a_method_that_is_switched_off_is_refused(hub: EdgeHub, tmp_path: Path) -> None:
    with closing(Module(hub, tmp_path, ALLOWED_METHODS="getStatus")):
        hub.wait_reported(lambda reported: reported.get("status") == "ok")
        assert hub.call_method("getStatus")[0] == 200
        assert hub.call_method("restartPort", {"port": "a"})[0] == 403


@pytest.mark.parametrize(
    "fault",
    [None, *(fault for fault in FAULTS if fault.name in {"logins refused", "hung"})],
    ids=lambda fault: fault.name if fault else "no fault",
)
def test_it_ends_cleanly_whatever_the_hub_does(fault: Fault | None, hub: EdgeHub, module: Module) -> None:
    hub.wait_reported(lambda reported: reported.get("status") == "ok")
    process = psutil.Process(module.program.pid)
    if fault is not None:
        fault.begin(hub)
    children = process.children(recursive=True)
    started = time.monotonic()
    assert module.program.stop(timeout=PATIENCE) == 0, f"not ended within {time.monotonic() - started} s"
    assert not module.link("a").is_symlink()
    assert not any(child.is_running() for child in children)


def test_no_token_and_no_key_stands_in_the_log(hub: EdgeHub, module: Module) -> None:
    hub.wait_reported(lambda reported: reported.get("status") == "ok")
    assert hub.call_method("setLogLevel", {"level": "debug"})[0] == 200
    hub.refuse_logins()
    module.program.wait_for_log("no connection to edgeHub")
    hub.accept_logins()
    hub.wait_connected(timeout=90)
    lines: Any = module.program.log.splitlines()
    assert all(line.startswith("<") for line in lines), lines
    assert "SharedAccessSignature" not in module.program.log
    assert "sig=" not in module.program.log


def test_with_plug_and_play_it_announces_its_model_and_acknowledges_what_was_asked_for(
    hub: EdgeHub, tmp_path: Path, echo: EchoServer
) -> None:
    with closing(Module(hub, tmp_path / "off", PLUG_AND_PLAY="false")):
        hub.wait_reported(lambda reported: reported.get("status") == "ok")
        assert hub.model_id is None
    with closing(Module(hub, tmp_path / "on", PLUG_AND_PLAY="true")):
        reported = hub.wait_reported(
            lambda reported: {"portStatus", "host"} <= reported.keys() and reported["status"] == "ok"
        )
        assert hub.model_id == MODEL_ID
        assert reported["host"] == {"value": "127.0.0.1", "ac": 200, "av": 1}
        assert reported["serialPorts"] == {"value": {"a": {"tcpPort": echo.port}}, "ac": 200, "av": 1}
        assert reported["portStatus"]["a"]["state"] == "connected"
        hub.patch_desired(
            {"reportIntervalSeconds": "often", "serialPorts": {"b": {"tcpPort": 70000}, "c": {"tcpPort": 5}}}
        )
        reported = hub.wait_reported(lambda reported: reported.get("desiredVersion") == 2)
        assert reported["host"] == {"value": "127.0.0.1", "ac": 200, "av": 2}
        assert reported["reportIntervalSeconds"] == {
            "ac": 400,
            "av": 2,
            "ad": 'reportIntervalSeconds must be seconds, 1-604800, not "often"',
        }
        assert reported["serialPorts"] == {
            "value": {"a": {"tcpPort": echo.port}, "c": {"tcpPort": 5}},
            "ac": 400,
            "av": 2,
            "ad": "serialPorts.b.tcpPort must be a TCP port, 1-65535, not 70000",
        }
        assert set(reported["portStatus"]) == {"a", "b", "c"}
        hub.patch_desired({"reportIntervalSeconds": None, "serialPorts": {"b": None, "c": None}})
        reported = hub.wait_reported(lambda reported: reported.get("desiredVersion") == 3)
        assert "reportIntervalSeconds" not in reported
        assert reported["serialPorts"] == {"value": {"a": {"tcpPort": echo.port}}, "ac": 200, "av": 3}
        assert set(reported["portStatus"]) == {"a"}
        status, answer = hub.call_method("getStatus")
        assert status == 200
        assert answer["serialPorts"]["a"]["state"] == "connected"
        assert hub.call_method("restartPort", {"port": "a"})[0] == 200
        wait_for(
            lambda: hub.call_method("getStatus")[1]["serialPorts"]["a"]["connects"] == 2, "another connection"
        )
    with closing(Module(hub, tmp_path / "off again")):
        reported = hub.wait_reported(lambda reported: reported.get("serialPorts", {}).keys() == {"a"})
        assert hub.model_id is None
        assert not {"portStatus", "host", "reportIntervalSeconds", "tls"} & reported.keys()
    assert not hub.violations


def test_ports_that_went_while_the_module_was_stopped_are_not_reported_any_more(
    hub: EdgeHub, tmp_path: Path, echo: EchoServer
) -> None:
    with closing(Module(hub, tmp_path)):
        hub.wait_reported(lambda reported: reported.get("status") == "ok")
    hub.patch_desired({"serialPorts": {"a": None, "b": {"tcpPort": echo.port}}})
    with closing(Module(hub, tmp_path)):
        reported = hub.wait_reported(lambda reported: "b" in reported.get("serialPorts", {}))
        assert set(reported["serialPorts"]) == {"b"}
