"""The emulated edgeHub as a developer uses it: run it, start a module on it, change, look, call, break."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.edgehub.control import FAULTS, request
from tests.system.processes import ROOT, Program, python_program, wait_for

MODULE = """
import threading
from azure.iot.device import IoTHubModuleClient, Message, MethodResponse

client = IoTHubModuleClient.create_from_edge_environment(connection_retry_interval=1)
client.connect()
client.on_method_request_received = lambda request: client.send_method_response(
    MethodResponse(request.request_id, 200 if request.payload else 404, {"got": request.payload})
)
client.on_twin_desired_properties_patch_received = lambda patch: client.patch_twin_reported_properties(
    {"seen": patch["$version"], **client.get_twin()["desired"].get("echo", {})}
)
client.send_message_to_output(Message("hello"), "out put")
threading.Event().wait()
"""


class CommandLine:
    def __init__(self, directory: Path) -> None:
        self._prefix = ["-m", "tests.edgehub", "--directory", str(directory)]
        self.directory = directory

    def start(self, *arguments: str, log: str) -> Program:
        return Program(python_program(*self._prefix, *arguments), self.directory.parent / log)

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *self._prefix, *arguments],
            cwd=ROOT,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def __call__(self, *arguments: str, stdin: str = "") -> Any:
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.lstrip().startswith("{") else done.stdout

    def error(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode != 0
        return done.stderr


@pytest.fixture(scope="module")
def edgehub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    directory = tmp_path_factory.mktemp("hub")
    (directory / "desired.json").write_text('{"host": "192.0.2.1", "echo": {"a": 1}}')
    command = CommandLine(directory / "h")
    with command.start("run", "--desired", str(directory / "desired.json"), log="hub.log") as hub:
        hub.wait_for_log("ready on 127.")
        yield command


def test_a_module_can_be_developed_on_it(edgehub: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(MODULE)
    with edgehub.start("exec", "--", sys.executable, str(tmp_path / "module.py"), log="module.log"):
        wait_for(lambda: edgehub("status")["connected"], "the module")
        assert edgehub("desired") == {"host": "192.0.2.1", "echo": {"a": 1}, "$version": 1}
        assert edgehub("desired", "patch", "host=null", "echo.b=[2]", "echo.c=text") == "$version 2\n"
        wait_for(lambda: edgehub("reported").get("seen") == 2, "the report")
        assert edgehub("reported") == {"seen": 2, "a": 1, "b": [2], "c": "text", "$version": 2}
        edgehub("desired", "set", "-", stdin='{"echo": {"dot.in.key": 1}}')
        wait_for(lambda: edgehub("status")["violations"], "the broken rule")
        assert edgehub("status")["violations"] == ["reported: key 'dot.in.key' holds '.'"]

        assert edgehub("call", "any", "x=1") == {"status": 200, "payload": {"got": {"x": 1}}}
        refused = edgehub.run("call", "any")
        assert (refused.returncode, json.loads(refused.stdout)["status"]) == (1, 404)
        edgehub("fault", "drop-connection")
        wait_for(lambda: edgehub("status")["connections"] == 2, "the SDK to come back")
        wait_for(lambda: edgehub("status")["messages"]["telemetry"] == 1, "the message")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["call", "any"], "is not connected"),
        (["desired", "set"], "say what"),
        (["desired", "set", "/does/not/exist"], "cannot read"),
        (["desired", "patch", "{"], "no JSON"),
        (["desired", "patch", "[1]"], "cannot read"),
        (["desired", "patch", "a=1", "b"], "key.path=value"),
        (["desired", "patch", "a=1", "a.b=2"], "a value was given for a before"),
        (["fault", "sabotage"], "invalid choice"),
        (["fault", "empty-twin", "maybe"], "on or off"),
        (["exec"], "say which command"),
        (["exec", "--", "/does/not/exist"], "cannot run"),
        (["run"], "one runs there already"),
    ],
)
def test_what_cannot_be_done_is_said(edgehub: CommandLine, arguments: list[str], complaint: str) -> None:
    assert complaint in edgehub.error(*arguments)


def test_without_a_running_one_it_says_how_to_start_it(tmp_path: Path) -> None:
    assert "start one with `run`" in CommandLine(tmp_path).error("status")


def test_every_fault_can_be_asked_for_and_none_ends_them_all(edgehub: CommandLine) -> None:
    values = {"lose-replies": "on", "empty-twin": "off", "reply-delay": "0.5", "reject-status": "429"}
    for name in FAULTS:
        request(edgehub.directory / "control.sock", "fault", {"name": name, "value": values.get(name)})
    edgehub("fault", "none")
    assert edgehub("status")["faults"] == {
        "lose_replies": False,
        "empty_twin": False,
        "reply_delay": 0.0,
        "reject_status": 0,
    }
