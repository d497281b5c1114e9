"""A technician's `serial-relay diagnose`: faults between real programs, each found with the right sentence.

The other faults of a line are looked for elsewhere: who has the COM port, by the host's own command (tests/host/diagnosis);
a wrong baud rate, by the monitor.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serial_monitor.steps import Steps
from serial_relay.config import PortConfig, Protocol
from serial_relay.diagnosis.probe import probe
from serial_tls.identity import make_identity
from tests.system.conftest import OpenPort, StartHost, StartProgram, StartRelay
from tests.system.far_host import FarHost
from tests.system.processes import free_port, wait_for
from tests.system.secured_host import SecuredHost
from tests.system.serial_lines import Device
from tests.system.stack import Relay

NAME = "ttyVirtS0"


class Diagnosis:
    """What `serial-relay diagnose --json` said of the one port."""

    def __init__(self, relay: Relay, *arguments: str) -> None:
        self.process = relay.command("diagnose", "--json", *arguments)
        assert self.process.stdout, self.process.stderr
        ports: dict[str, list[dict[str, Any]]] = json.loads(self.process.stdout)["ports"]
        [self.steps] = ports.values()

    def __getitem__(self, name: str) -> dict[str, Any]:
        [step] = [step for step in self.steps if step["step"] == name]
        return step

    @property
    def failed(self) -> list[str]:
        return [step["step"] for step in self.steps if step["verdict"] == "failed"]


def serve(start_host: StartHost, *arguments: str) -> int:
    """Start the host with these arguments, and return its TCP port once it listens there."""
    port = free_port()
    start_host(*arguments[:2], str(port), *arguments[2:]).wait_until_listening(port)
    return port


@pytest.fixture
def stopped_relay(tmp_path: Path) -> Iterator[Relay]:
    """A module that is configured and does not run."""
    (tmp_path / "stopped").mkdir()
    relay = Relay(tmp_path / "stopped", {})
    yield relay
    relay.close()


def wait_for_error(relay: Relay, code: str) -> None:
    """Wait until the port has failed for this reason: on a busy machine an attempt may run out of time before."""
    relay.wait(lambda: (relay.status(NAME).get("lastError") or {}).get("code") == code, f"the error {code}")


def diagnose_both_ways(relay: Relay) -> Iterator[Diagnosis]:
    """Ask the running module, and after its end try with a probe."""
    yield Diagnosis(relay)
    relay.stop()
    yield Diagnosis(relay, NAME, "--desired", str(relay.desired_path))


def test_nothing_is_wrong(start_host: StartHost, start_relay: StartRelay, open_port: OpenPort) -> None:
    port = serve(start_host, "simulate", "echo", "--protocol", "rfc2217")
    relay = start_relay({NAME: {"tcpPort": port, "protocol": "rfc2217", "line": {"baudRate": 19200}}})
    relay.wait_for_status(NAME, state="connected")
    application = open_port(relay.link(NAME))
    relay.wait_for_status(NAME, applicationOpen=True)
    running = Diagnosis(relay)
    assert running.failed == []
    assert running.process.returncode == 0
    assert running["TCP connection"]["found"] == f"connected to 127.0.0.1:{port}"
    assert "baudRate 19200" in running["line settings"]["found"]
    assert f"(process {os.getpid()}) has the port open" in running["application"]["found"]
    assert running["owner and group"]["verdict"] == "ok"
    assert running["virtual port"]["verdict"] == "ok"
    text = relay.command("diagnose", NAME).stdout
    assert text.startswith(f"{NAME}: ok\n  ok      configuration: rfc2217 to 127.0.0.1, TCP port {port}\n")

    application.close()
    relay.stop()
    probe = Diagnosis(relay, "--desired", str(relay.desired_path))
    assert probe.failed == []
    assert probe["TCP connection"]["milliseconds"] > 0
    assert probe["device"]["verdict"] == "ok"
    assert probe["link"]["verdict"] == "skipped"
    from_disk = Diagnosis(relay)
    assert from_disk.failed == []


def test_a_probe_does_not_disturb_the_client_that_is_served(
    start_host: StartHost, start_relay: StartRelay, open_port: OpenPort, stopped_relay: Relay
) -> None:
    port = serve(start_host, "simulate", "echo", "--protocol", "rfc2217")
    entry = {"tcpPort": port, "protocol": "rfc2217"}
    relay = start_relay({NAME: entry})
    relay.wait_for_status(NAME, state="connected")
    application = open_port(relay.link(NAME))
    application.write(b"before")
    assert application.read(6) == b"before"
    stopped_relay.configure({NAME: entry})
    probe = Diagnosis(stopped_relay, "--desired", str(stopped_relay.desired_path))
    assert probe["TCP connection"]["verdict"] == "warning"
    assert probe["TCP connection"]["found"].startswith("the port is served to another client")
    assert probe.process.returncode == 0
    application.write(b"after")
    assert application.read(5) == b"after"
    assert relay.status(NAME)["connects"] == 1


@pytest.mark.parametrize(
    "options", [(), ("--take-over",), ("--protocol", "rfc2217")], ids=["raw", "take over", "rfc2217"]
)
async def test_a_probe_that_cannot_see_the_other_connection_does_not_disturb_it_either(
    start_host: StartHost,
    start_relay: StartRelay,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
) -> None:
    """As behind an address translation: both come from one address, and the probe's machine has no such connection."""
    port = serve(start_host, "simulate", "echo", *options)
    protocol = Protocol.RFC2217 if "rfc2217" in options else Protocol.RAW
    relay = start_relay({NAME: {"tcpPort": port, "protocol": protocol.value}})
    relay.wait_for_status(NAME, state="connected")
    monkeypatch.setattr("serial_relay.diagnosis.probe.established_to", lambda _addresses: [])
    steps = Steps()
    await probe(steps, PortConfig(NAME, "127.0.0.1", port, NAME, protocol))
    assert relay.status(NAME)["state"] == "connected"
    assert relay.status(NAME)["connects"] == 1
    if protocol is Protocol.RFC2217:
        [device] = [step for step in steps.taken if step.name == "device"]
        assert "busy" in device.found


def test_an_unplugged_device_is_found(start_host: StartHost, start_relay: StartRelay, tmp_path: Path) -> None:
    port = serve(start_host, "run", str(tmp_path / "ttyUSB0"), "--protocol", "rfc2217")
    relay = start_relay({NAME: {"tcpPort": port, "protocol": "rfc2217"}})
    relay.wait_for_status(NAME, state="retrying")
    for diagnosis in diagnose_both_ways(relay):
        assert diagnosis.failed == ["device"]
        assert diagnosis.process.returncode == 1
        assert "ttyUSB0 is not there: plug the device in" in diagnosis["device"]["found"]
        assert diagnosis["device"]["next"].startswith("plug the device in, or close the program")
        assert diagnosis["RFC 2217"]["verdict"] == "ok"


def test_a_missing_listener_is_found(start_relay: StartRelay) -> None:
    relay = start_relay({NAME: {"tcpPort": free_port()}})
    wait_for_error(relay, "connectionRefused")
    for diagnosis in diagnose_both_ways(relay):
        assert diagnosis.failed == ["TCP connection"]
        assert "refused the connection" in diagnosis["TCP connection"]["found"]
        assert diagnosis["TCP connection"]["next"].startswith("start the serial server on the host")


@pytest.fixture
def far_host() -> Iterator[FarHost]:
    if os.geteuid() != 0:
        pytest.skip("a network namespace needs root")
    try:
        host = FarHost()
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no network namespace here: {error} {getattr(error, 'stderr', '')}")
    yield host
    host.remove()


def test_a_firewall_that_drops_packets_is_found(
    start_relay: StartRelay, start_program: StartProgram, far_host: FarHost
) -> None:
    start_program(*far_host.inside.split(), "socat", "TCP-LISTEN:5002,fork,reuseaddr", "PIPE")
    far_host.cut()
    relay = start_relay({NAME: {"tcpPort": 5002, "host": far_host.address}})
    relay.wait_for_status(NAME, state="retrying")
    for diagnosis in diagnose_both_ways(relay):
        assert diagnosis.failed == ["TCP connection"]
        assert "does its firewall let this port in?" in diagnosis["TCP connection"]["found"]
        assert "firewall admits the TCP port" in diagnosis["TCP connection"]["next"]


def test_a_raw_port_before_an_rfc2217_server_is_found(start_host: StartHost, start_relay: StartRelay) -> None:
    port = serve(start_host, "simulate", "echo", "--protocol", "rfc2217")
    relay = start_relay({NAME: {"tcpPort": port}})
    relay.wait_for_status(NAME, state="connected")
    wait_for(lambda: "begins with telnet negotiation" in relay.program.log, "the module to notice it")
    for diagnosis in diagnose_both_ways(relay):
        assert diagnosis.failed == ["RFC 2217"]
        assert "begins with telnet negotiation" in diagnosis["RFC 2217"]["found"]
        assert diagnosis["RFC 2217"]["next"].startswith("set `protocol` to the same at both ends")


def test_an_rfc2217_port_before_a_raw_server_is_found(
    start_program: StartProgram, start_relay: StartRelay, echo_server: int
) -> None:
    relay = start_relay({NAME: {"tcpPort": echo_server, "protocol": "rfc2217"}})
    relay.wait_for_status(NAME, state="retrying")
    for diagnosis in diagnose_both_ways(relay):
        assert diagnosis.failed == ["RFC 2217"]
        assert diagnosis["RFC 2217"]["next"].startswith("set `protocol` to the same at both ends")


@pytest.fixture
def secured_host(tmp_path: Path, device: Device) -> Iterator[SecuredHost]:
    host = SecuredHost(tmp_path / "secured", device.path, protocol="rfc2217")
    host.start()
    yield host
    host.close()


def secured_entry(host: SecuredHost, fingerprint: str) -> dict[str, Any]:
    return {"tcpPort": host.port, "protocol": "rfc2217", "tls": {"hostFingerprints": [fingerprint]}}


def test_a_wrong_pin_is_found(secured_host: SecuredHost, start_relay: StartRelay) -> None:
    wrong = make_identity("another host").fingerprint
    relay = start_relay({NAME: secured_entry(secured_host, wrong)})
    wait_for_error(relay, "tls")
    for diagnosis in diagnose_both_ways(relay):
        assert diagnosis.failed == ["TLS"]
        assert "is not in `hostFingerprints`" in diagnosis["TLS"]["found"]
        assert secured_host.fingerprint in diagnosis["TLS"]["found"]
        assert "`serial-host.cmd identity`" in diagnosis["TLS"]["next"]
        assert diagnosis["TCP connection"]["verdict"] == "ok"


def test_nothing_is_wrong_with_a_secured_port(secured_host: SecuredHost, start_relay: StartRelay) -> None:
    relay = start_relay({NAME: secured_entry(secured_host, secured_host.fingerprint)})
    relay.wait(lambda: relay.reported.get("moduleFingerprint"), "the module's fingerprint")
    wait_for_error(relay, "tls")
    untrusted = Diagnosis(relay)
    assert untrusted.failed == ["TLS"]
    assert "does not know this module" in untrusted["TLS"]["found"]
    at_host = secured_host.run("diagnose", "--pid", str(secured_host.program.pid)).stdout
    assert f"'serial-host trust {relay.reported['moduleFingerprint']}'" in at_host
    secured_host.command("trust", str(relay.reported["moduleFingerprint"]))
    relay.wait_for_status(NAME, state="connected")
    for diagnosis in diagnose_both_ways(relay):
        assert diagnosis.failed == []
        assert diagnosis["TLS"]["verdict"] == "ok"
        assert diagnosis["device"]["verdict"] == "ok"


def test_a_port_without_tls_before_a_host_with_tls_is_found(
    secured_host: SecuredHost, start_relay: StartRelay
) -> None:
    relay = start_relay({NAME: {"tcpPort": secured_host.port, "protocol": "rfc2217"}})
    wait_for_error(relay, "tls")
    diagnosis = Diagnosis(relay)
    assert diagnosis.failed == ["TLS"]
    assert "uses TLS for this port: set `tls`" in diagnosis["TLS"]["found"]


def test_a_probe_shows_no_identity_where_the_module_has_none(
    secured_host: SecuredHost, stopped_relay: Relay
) -> None:
    stopped_relay.configure({NAME: secured_entry(secured_host, secured_host.fingerprint)})
    diagnosis = Diagnosis(stopped_relay, "--desired", str(stopped_relay.desired_path))
    assert diagnosis.failed == ["TLS"]
    assert "has no identity yet" in diagnosis["TLS"]["found"]
    assert not list(stopped_relay.directory.glob("state/identity*"))


def test_a_port_that_another_client_has_is_found(start_host: StartHost, start_relay: StartRelay) -> None:
    port = serve(start_host, "simulate", "echo")
    first = start_relay({NAME: {"tcpPort": port}})
    first.wait_for_status(NAME, state="connected")
    second = start_relay({NAME: {"tcpPort": port}})
    second.wait(lambda: "lastError" in second.status(NAME), "the second relay to be turned away")

    def told() -> bool:
        """Whether the host has turned the second one away by now; it may first take up to 1.5 s to decide."""
        steps = [step for step in Diagnosis(second).steps if step["verdict"] in ("failed", "warning")]
        return bool(steps) and all("another client is served" in step["next"] for step in steps)

    wait_for(told, "the diagnosis to say that the port is served to another client")


def test_what_stands_in_the_place_of_the_link_is_found(start_relay: StartRelay, echo_server: int) -> None:
    relay = start_relay({"other": {"tcpPort": echo_server}})
    relay.wait_for_status("other", state="connected")
    (relay.links / NAME).write_text("somebody's file", encoding="utf-8")
    relay.configure({NAME: {"tcpPort": free_port()}})
    relay.wait_for_status(NAME, state="retrying")
    diagnosis = Diagnosis(relay)
    assert "link" in diagnosis.failed
    assert diagnosis.process.returncode == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "name the desired properties with --desired FILE"),
        (("--desired", "/nowhere.json"), "/nowhere.json cannot be used: it does not exist"),
        (("--what",), "unrecognized arguments"),
    ],
)
def test_a_wrong_call_ends_with_2(stopped_relay: Relay, arguments: tuple[str, ...], words: str) -> None:
    ended = stopped_relay.command("diagnose", *arguments)
    assert ended.returncode == 2
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_port_that_is_not_there_is_a_wrong_call(start_relay: StartRelay, echo_server: int) -> None:
    relay = start_relay({NAME: {"tcpPort": echo_server}})
    relay.wait_for_status(NAME, state="connected")
    ended = relay.command("diagnose", "nowhere")
    assert ended.returncode == 2
    assert ended.stderr == f"serial-relay: there is no port nowhere; there are {NAME}\n"


def test_a_faulty_entry_is_told(start_relay: StartRelay, echo_server: int) -> None:
    relay = start_relay({NAME: {"tcpPort": 70000}, "other": {"tcpPort": echo_server}})
    relay.wait_for_status(NAME, state="invalid")
    diagnosis = Diagnosis(relay, NAME)
    assert diagnosis.failed == ["configuration"]
    assert "serialPorts.ttyVirtS0.tcpPort must be" in diagnosis["configuration"]["found"]


def test_a_misspelt_key_is_told_and_the_port_is_looked_at_all_the_same(
    start_relay: StartRelay, echo_server: int
) -> None:
    relay = start_relay({NAME: {"tcpPort": echo_server, "baudrate": 9600}})
    relay.wait_for_status(NAME, state="connected")
    diagnosis = Diagnosis(relay, NAME)
    assert diagnosis.failed == ["configuration"]
    assert "the port runs without this key" in diagnosis["configuration"]["found"]
    assert diagnosis["TCP connection"]["verdict"] == "ok"
