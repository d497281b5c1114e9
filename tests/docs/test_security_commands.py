"""The commands on the page about security take a plain chain to a paired one, as a new user would run them.

Windows' own commands and Azure's are replaced by what they do: the text that `Add-Content` appends is appended, the
installer's part is a restart of the server with the changed file, and the twin is the file of desired properties. The
host's commands run as they stand.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.docs.messages import ROOT
from tests.system.processes import Program, wait_for
from tests.system.secured_host import SecuredHost
from tests.system.serial_lines import Device
from tests.system.stack import Relay

PAGE = (ROOT / "docs/security.md").read_text(encoding="utf-8")
NAME = "ttyVirtS0"


def commands() -> list[str]:
    _, _, section = PAGE.partition("<!-- five commands")
    blocks = re.findall(r"```(?:powershell|bash)\n(.*?)```", section.partition("\n1. ")[0], re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_the_commands_of_the_page_pair_a_plain_chain(stack: ExitStack, tmp_path: Path) -> None:
    device = stack.enter_context(Device())
    host = SecuredHost(tmp_path / "host", device.path, tls="")
    stack.callback(host.close)
    host.start()
    relay = Relay(tmp_path / "relay", {NAME: {"tcpPort": host.port}})
    stack.callback(relay.close)
    relay.start()
    relay.wait_for_status(NAME, state="connected")

    assert len(commands()) <= 5
    fingerprint, waiting = "", None
    for command in commands():
        words = shlex.split(command.replace("`n", "\n").replace("\\", "/"))
        match words:
            case ["Add-Content", _file, text]:
                host.configure(text.strip() + "\n")
            case ["./Install-SerialHost.ps1"]:
                host.stop()
                host.start()
                [fingerprint] = re.findall(r"^sha256:\w+$", host.command("identity"), re.MULTILINE)
            case ["./serial-host.cmd", *arguments]:
                waiting = host.begin(*arguments)
                stack.callback(waiting.stop)
                waiting.wait_for_log("waiting 10 minutes")
            case ["az", "iot", "hub", "module-twin", "update", *_, "--set", change]:
                path, _, value = change.partition("=")
                assert path == "properties.desired.tls"
                tls = json.loads(value.replace("FINGERPRINT", fingerprint))
                relay.configure({NAME: {"tcpPort": host.port}}, tls=tls)
            case _:
                pytest.fail(f"the test does not know how to run {command!r}")

    assert isinstance(waiting, Program)
    waiting.wait_for_log("paired with 127.0.0.1")
    relay.wait_for_status(NAME, state="connected")
    wait_for(lambda: host.status["tls"]["trusted"] == [relay.reported.get("moduleFingerprint")], "the module")
