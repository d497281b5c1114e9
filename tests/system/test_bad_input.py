"""Input that cannot be used: one message that names the thing and what was expected, and the rest keeps running."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.system.conftest import OpenPort, StartHost, StartProgram, StartRelay
from tests.system.processes import free_port, python_program, wait_for
from tests.system.serial_lines import Device
from tests.system.stack import Relay, replace_file
from tests.system.tcp_servers import Listener


def complaints(log: str) -> list[str]:
    """The texts of the module's lines of level warning and worse."""
    return re.findall(r"^<[0-4]> .* - (.*)$", log, re.MULTILINE)


@pytest.fixture
def good(echo_server: int) -> dict[str, Any]:
    """An entry that works."""
    return {"tcpPort": echo_server}


@pytest.fixture
def relay(start_relay: StartRelay, good: dict[str, Any]) -> Relay:
    relay = start_relay({"good": good})
    relay.wait_for_status("good", state="connected")
    return relay


def still_works(relay: Relay, open_port: OpenPort) -> None:
    """The good port was not even reconnected."""
    assert relay.metric("connects_total", port="good") == 1
    application = open_port(relay.link("good"))
    application.write(b"still here")
    assert application.read(10) == b"still here"
    application.close()


@pytest.mark.parametrize(
    ("text", "path", "expected"),
    [
        pytest.param("{not json", "", "not valid JSON: .* line 1, column 2", id="no JSON"),
        pytest.param("", "", "the file is empty", id="empty file"),
        pytest.param("[1, 2]", "", "a JSON object is expected", id="no object"),
        pytest.param(
            '{"serialPorts": []}', "serialPorts", "an object with an entry for each port", id="array of ports"
        ),
    ],
)
def test_document_that_cannot_be_used(
    relay: Relay, open_port: OpenPort, text: str, path: str, expected: str
) -> None:
    replace_file(relay.desired_path, text)
    relay.wait(lambda: relay.reported.get("configErrors"), "the fault to be reported")
    (fault,) = relay.reported["configErrors"]
    assert fault["path"] == path
    assert re.search(expected, fault["expected"])
    (complaint,) = complaints(relay.program.log)
    assert re.search(expected, complaint)
    still_works(relay, open_port)


@pytest.mark.parametrize(
    ("entries", "name", "path", "expected"),
    [
        pytest.param(
            {"bad": {"tcpPort": 70000}}, "bad", "bad.tcpPort", "1-65535, not 70000", id="port 70000"
        ),
        pytest.param(
            {"bad": {"tcpPort": "5002"}}, "bad", "bad.tcpPort", "without quotes", id="text for a number"
        ),
        pytest.param({"bad": {}}, "bad", "bad.tcpPort", "1-65535", id="no port"),
        pytest.param({"bad": 7}, "bad", "bad", "an object", id="number for an entry"),
        pytest.param(
            {
                "one": {"tcpPort": 9, "link": "ttyX", "connect": "onOpen"},
                "two": {"tcpPort": 10, "link": "/dev/ttyX"},
            },
            "two",
            "two.link",
            "one has /dev/ttyX already",
            id="link of another port",
        ),
        pytest.param(
            {"bad": {"tcpPort": 9, "link": "../etc/passwd"}},
            "bad",
            "bad.link",
            "a name below /dev",
            id="link outside",
        ),
        pytest.param(
            {"bad": {"tcpPort": 9, "protocol": "telnet"}},
            "bad",
            "bad.protocol",
            "raw.*rfc2217",
            id="protocol",
        ),
    ],
)
def test_entry_that_cannot_be_used(
    relay: Relay,
    good: dict[str, Any],
    open_port: OpenPort,
    entries: dict[str, Any],
    name: str,
    path: str,
    expected: str,
) -> None:
    relay.configure({"good": good, **entries})
    relay.wait_for_status(name, state="invalid")
    fault = relay.status(name)["configError"]
    assert fault["path"] == f"serialPorts.{path}"
    assert re.search(expected, fault["expected"])
    (complaint,) = (line for line in complaints(relay.program.log) if "desired properties" in line)
    assert complaint == f"desired properties: {fault['path']} must be {fault['expected']}"
    still_works(relay, open_port)


def test_entry_that_becomes_faulty_runs_on_as_it_was(
    relay: Relay, good: dict[str, Any], open_port: OpenPort
) -> None:
    relay.configure({"good": {**good, "mode": 660}})
    relay.wait(lambda: relay.status("good").get("configError"), "the fault to be reported")
    assert relay.status("good")["configError"]["path"] == "serialPorts.good.mode"
    assert relay.status("good")["state"] == "connected"
    still_works(relay, open_port)


def test_fault_of_the_default_host_is_said_once(
    relay: Relay, good: dict[str, Any], open_port: OpenPort
) -> None:
    relay.configure({"good": good}, host=5)
    relay.wait(lambda: relay.reported.get("configErrors"), "the fault to be reported")
    assert complaints(relay.program.log) == [
        "desired properties: host must be an IP address or host name, not 5"
    ]
    still_works(relay, open_port)


def test_link_that_is_somebody_elses_file(relay: Relay, good: dict[str, Any], open_port: OpenPort) -> None:
    file = Path(relay.link("ttyUSB0"))
    file.write_text("not ours")
    relay.configure({"good": good, "ttyUSB0": good | {"host": "127.0.0.2"}})
    relay.wait(lambda: relay.status("ttyUSB0").get("lastError"), "the link's fault to be reported")
    assert relay.status("ttyUSB0")["lastError"]["code"] == "link"
    (complaint,) = complaints(relay.program.log)
    assert str(file) in complaint
    assert file.read_text() == "not ours"
    still_works(relay, open_port)

    file.unlink()
    relay.wait_for_status("ttyUSB0", state="connected")


def test_command_line_that_cannot_be_used(tmp_path: Path, start_program: StartProgram) -> None:
    for arguments, message in (
        (["--reported", "x.json"], "--reported goes with --desired"),
        ([], "--desired FILE is needed"),
    ):
        program = start_program(*python_program("-m", "serial_relay", *arguments))
        assert program.wait() == 2
        assert message in program.log
        assert "Traceback" not in program.log


def test_two_relays_on_one_link_directory(relay: Relay, start_relay: StartRelay, open_port: OpenPort) -> None:
    second = start_relay({}, LINK_DIR=str(relay.links))
    assert second.program.wait() == 1
    (complaint,) = complaints(second.program.log)
    assert f"another serial relay makes the links in {relay.links}" in complaint
    still_works(relay, open_port)


# The host.


def host_complaints(log: str) -> list[str]:
    """The host's lines of level warning and worse, or what it printed before it could log."""
    return [line for line in log.splitlines() if " INFO " not in line]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("ports = [", "host.toml", id="no TOML"),
        pytest.param("ports = 3", "ports", id="no tables"),
    ],
)
def test_host_configuration_that_cannot_be_used(
    start_host: StartHost, tmp_path: Path, text: str, expected: str
) -> None:
    configuration = tmp_path / "host.toml"
    configuration.write_text(text)
    host = start_host("run", "--config", configuration)
    assert host.program.wait() == 2
    (complaint,) = host_complaints(host.program.log)
    assert expected in complaint


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        pytest.param({"device": "/dev/ttyS90", "tcp_port": 70000}, r"tcp_port.* 1 to 65535", id="port 70000"),
        pytest.param(
            {"device": "/dev/ttyS90", "tcp_port": "5002"}, r"tcp_port.* a number", id="text for a number"
        ),
        pytest.param({"device": "DEVICE", "tcp_port": 15999}, "DEVICE", id="two entries on one COM port"),
        pytest.param({"device": "/dev/ttyNONE", "tcp_port": 15998}, "/dev/ttyNONE", id="no such device"),
        pytest.param(
            {"device": "/dev/ttyS90", "tcp_port": 15997, "baudrate": 5}, "baud_rate", id="unknown key"
        ),
    ],
)
def test_host_entry_that_cannot_be_used(
    start_host: StartHost, device: Device, tmp_path: Path, entry: dict[str, Any], expected: str
) -> None:
    port = free_port()
    good = {"device": str(device.path), "tcp_port": port}
    bad = {key: str(device.path) if value == "DEVICE" else value for key, value in entry.items()}
    configuration = tmp_path / "host.toml"
    tables = (
        "\n".join(["[[ports]]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())])
        for table in (good, bad)
    )
    configuration.write_text("\n".join(tables))
    host = start_host("run", "--config", configuration)
    host.wait_until_listening(port)
    wait_for(lambda: host_complaints(host.program.log), "the host's complaint")
    (complaint,) = host_complaints(host.program.log)
    assert re.search(expected.replace("DEVICE", str(device.path)), complaint)
    assert host.program.returncode is None


def test_host_whose_tcp_port_is_busy(start_host: StartHost, device: Device) -> None:
    with Listener() as other:
        host = start_host("run", device.path, str(other.port))
        wait_for(lambda: host_complaints(host.program.log), "the host's complaint")
    host.wait_until_listening(other.port)
    (complaint,) = host_complaints(host.program.log)
    assert str(other.port) in complaint
