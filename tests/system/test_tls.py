"""The whole chain by TLS: pairing, bytes both ways, and each refusal as both ends tell it."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from serial_tls.identity import make_identity
from tests.edgehub.hub import EdgeHub
from tests.module.twin.test_edge_service import Module
from tests.serial_tls.authority import TestAuthority, pem_of
from tests.system.conftest import OpenPort, StartHost, StartRelay
from tests.system.processes import free_port, wait_for
from tests.system.secured_host import SecuredHost
from tests.system.serial_lines import Device
from tests.system.stack import Relay

NAME = "ttyVirtS0"
EVERY_BYTE = bytes(range(256)) * 16
UNKNOWN = make_identity("unknown").fingerprint

StartSecuredHost = Callable[..., SecuredHost]


@pytest.fixture
def start_secured_host(running: ExitStack, tmp_path: Path, device: Device) -> StartSecuredHost:
    def start(**options: Any) -> SecuredHost:
        host = SecuredHost(tmp_path / "secured", device.path, **options)
        running.callback(host.close)
        host.start()
        return host

    return start


def entry(host: SecuredHost, *fingerprints: str, **more: Any) -> dict[str, Any]:
    pins = list(fingerprints) or [host.fingerprint]
    return {"tcpPort": host.port, "tls": {"hostFingerprints": pins}, **more}


def module_fingerprint(relay: Relay) -> str:
    relay.wait(lambda: relay.reported.get("moduleFingerprint"), "the module's fingerprint")
    return str(relay.reported["moduleFingerprint"])


def last_error(relay: Relay, *words: str) -> str:
    """Wait for an error of TLS with these words."""

    def said() -> bool:
        error = relay.status(NAME).get("lastError", {})
        return error.get("code") == "tls" and all(word in error["message"] for word in words)

    relay.wait(said, f"lastError tls with {words}")
    return str(relay.status(NAME)["lastError"]["message"])


@pytest.mark.parametrize("protocol", ["raw", "rfc2217"])
def test_a_trusted_module_relays_every_byte(
    protocol: str,
    start_secured_host: StartSecuredHost,
    start_relay: StartRelay,
    open_port: OpenPort,
    device: Device,
) -> None:
    host = start_secured_host(protocol=protocol)
    relay = start_relay({NAME: entry(host, protocol=protocol)})
    fingerprint = module_fingerprint(relay)
    assert fingerprint in last_error(relay, "does not know this module", "trust sha256:")
    host.command("trust", fingerprint)
    host.wait_for_client()
    relay.wait_for_status(NAME, state="connected")
    application = open_port(relay.link(NAME))
    application.write(EVERY_BYTE)
    assert device.read(len(EVERY_BYTE)) == EVERY_BYTE
    device.write(EVERY_BYTE[::-1] * 8)
    assert application.read(len(EVERY_BYTE) * 8) == EVERY_BYTE[::-1] * 8
    relay.wait(
        lambda: (
            (
                relay.metric("to_device_bytes_total", port=NAME),
                relay.metric("from_device_bytes_total", port=NAME),
            )
            == (len(EVERY_BYTE), len(EVERY_BYTE) * 8)
        ),
        "the counters",
    )

    host.command("trust", "--remove", fingerprint)
    last_error(relay, "does not know this module")
    assert "no longer trusted" in host.program.log


@pytest.mark.parametrize("stopped", ["module", "host"])
@pytest.mark.parametrize("protocol", ["raw", "rfc2217"])
def test_a_stop_at_either_end_lets_the_bytes_of_an_application_arrive(
    protocol: str,
    stopped: str,
    start_secured_host: StartSecuredHost,
    start_relay: StartRelay,
    open_port: OpenPort,
    device: Device,
) -> None:
    host = start_secured_host(protocol=protocol)
    relay = start_relay({NAME: entry(host, protocol=protocol)})
    host.command("trust", module_fingerprint(relay))
    host.wait_for_client()
    relay.wait_for_status(NAME, state="connected")
    application = open_port(relay.link(NAME))
    application.write(EVERY_BYTE)
    if stopped == "module":
        assert relay.stop() == 0
        assert f"port {NAME}: stopped\n" in relay.program.log
    else:
        relay.wait(
            lambda: relay.metric("to_device_bytes_total", port=NAME) == len(EVERY_BYTE), "all bytes sent"
        )
        assert host.program.stop() == 0
        assert "did not reach the device" not in host.program.log
    assert device.read(len(EVERY_BYTE)) == EVERY_BYTE


def test_a_second_module_is_told_that_the_port_is_in_use(
    start_secured_host: StartSecuredHost, start_relay: StartRelay
) -> None:
    host = start_secured_host(protocol="rfc2217")
    first = start_relay({NAME: entry(host, protocol="rfc2217")})
    host.command("trust", module_fingerprint(first))
    first.wait_for_status(NAME, state="connected")
    second = start_relay({NAME: entry(host, protocol="rfc2217")})
    host.command("trust", module_fingerprint(second))
    # They replace each other, and one that was replaced just now is refused.
    second.wait(
        lambda: "busy" in [relay.status(NAME).get("lastError", {}).get("code") for relay in (first, second)],
        "the reason",
    )
    assert "Traceback" not in host.program.log


def test_pair_admits_the_next_module_and_says_which(
    start_secured_host: StartSecuredHost, start_relay: StartRelay, running: ExitStack
) -> None:
    host = start_secured_host()
    pairing = host.begin("pair")
    running.callback(pairing.stop)
    pairing.wait_for_log("waiting 10 minutes")
    relay = start_relay({NAME: entry(host)})
    relay.wait_for_status(NAME, state="connected")
    fingerprint = module_fingerprint(relay)
    pairing.wait_for_log("paired with 127.0.0.1")
    assert fingerprint in pairing.log
    assert host.command("trust") == fingerprint + "\n"

    other = start_relay({NAME: entry(host)})
    refused = module_fingerprint(other)
    last_error(other, "does not know this module")
    assert host.status["tls"]["refused"]["fingerprint"] == refused
    assert f"trust {refused}" in host.command("status")
    assert relay.status(NAME)["state"] == "connected"


def test_both_ends_keep_their_identities_over_a_restart(
    start_secured_host: StartSecuredHost, start_relay: StartRelay
) -> None:
    host = start_secured_host()
    relay = start_relay({NAME: entry(host)})
    host.command("trust", module_fingerprint(relay))
    relay.wait_for_status(NAME, state="connected")
    relay.stop()
    host.stop()
    host.start()
    relay.start()
    relay.wait_for_status(NAME, state="connected")


def test_a_host_renews_its_identity_without_an_outage(
    start_secured_host: StartSecuredHost, start_relay: StartRelay
) -> None:
    host = start_secured_host()
    relay = start_relay({NAME: entry(host)})
    host.command("trust", module_fingerprint(relay))
    host.wait_for_client()  # an attempt that the host was still refusing may have counted as connected for a moment
    relay.wait_for_status(NAME, state="connected")
    connects = relay.metric("connects_total", port=NAME)
    old = host.fingerprint
    said = host.command("identity", "--renew")
    following = host.status["tls"]["nextFingerprint"]
    assert said.splitlines()[0] == old
    assert following in said
    relay.configure({NAME: entry(host, old, following)})
    relay.configure({NAME: entry(host, old, following), "spare": entry(host, enabled=False)})
    relay.wait_for_status("spare", state="disabled")  # the change before is applied by then
    assert relay.metric("connects_total", port=NAME) == connects
    assert host.command("identity", "--activate").splitlines()[0] == following
    host.stop()
    host.start()
    relay.wait(
        lambda: relay.metric("connects_total", port=NAME) > connects, "the connection with the new identity"
    )
    relay.configure({NAME: entry(host, old)})
    last_error(relay, "not in `hostFingerprints`", following)


def test_a_module_renews_its_identity_without_an_outage(
    start_secured_host: StartSecuredHost, start_relay: StartRelay, open_port: OpenPort, device: Device
) -> None:
    host = start_secured_host()
    relay = start_relay({NAME: entry(host)})
    old = module_fingerprint(relay)
    host.command("trust", old)
    host.wait_for_client()
    relay.wait_for_status(NAME, state="connected")
    application = open_port(relay.link(NAME))

    def relays(data: bytes) -> bool:
        application.write(data)
        return device.read(len(data)) == data

    said = relay.command("identity", "--renew").stdout
    status, fingerprints = relay.call("renewIdentity")
    following = fingerprints["nextFingerprint"]
    assert (status, fingerprints["fingerprint"]) == (200, old)
    assert said.splitlines()[0] == old
    assert f"serial-host.cmd trust {following}'" in said
    relay.wait(
        lambda: relay.reported.get("nextModuleFingerprint") == following, "the next fingerprint, reported"
    )
    relay.stop()
    relay.start()  # the one that waits outlives a restart
    relay.wait_for_status(NAME, state="connected")
    application.close()
    application = open_port(relay.link(NAME))
    connects = relay.metric("connects_total", port=NAME)
    assert json.loads(relay.command("identity", "--json").stdout) == fingerprints

    host.command("trust", following)
    assert relay.command("identity", "--activate").stdout == f"{following}\n"
    assert relays(b"by the connection that stands")
    assert relay.metric("connects_total", port=NAME) == connects
    host.command("trust", "--remove", old)
    relay.wait(
        lambda: relay.metric("connects_total", port=NAME) > connects, "the connection with the new identity"
    )
    relay.wait_for_status(NAME, state="connected")
    assert relays(b"by the connection with the new identity")
    relay.wait(lambda: "nextModuleFingerprint" not in relay.reported, "the report of the new fingerprint")
    assert module_fingerprint(relay) == following
    again = relay.command("identity", "--activate")
    assert again.returncode == 1
    assert "no new identity is prepared: run 'identity --renew' first" in again.stderr


def test_a_module_has_an_identity_before_any_port_uses_tls(
    start_secured_host: StartSecuredHost, start_relay: StartRelay
) -> None:
    host = start_secured_host()
    relay = start_relay({NAME: {"tcpPort": host.port, "enabled": False}})
    relay.wait_for_status(NAME, state="disabled")
    assert "this module has no identity yet" in relay.command("identity").stdout
    host.command("trust", relay.command("identity", "--renew").stdout.splitlines()[0])
    relay.configure({NAME: entry(host)})
    relay.wait_for_status(NAME, state="connected")


def test_a_module_that_does_not_know_the_host_says_what_to_add(
    start_secured_host: StartSecuredHost, start_relay: StartRelay
) -> None:
    host = start_secured_host()
    relay = start_relay({NAME: entry(host, UNKNOWN)})
    assert host.fingerprint in last_error(relay, "not in `hostFingerprints`")
    wait_for(lambda: "it does not trust this host" in host.program.log, "the host's words")
    assert host.fingerprint in host.program.log


def test_a_plain_module_is_refused_and_both_say_so(
    start_secured_host: StartSecuredHost, start_relay: StartRelay, open_port: OpenPort
) -> None:
    host = start_secured_host()
    relay = start_relay({NAME: {"tcpPort": host.port}})
    relay.wait_for_link(NAME)
    application = open_port(relay.link(NAME))

    def host_told() -> bool:
        application.write(b"x")  # each connection is refused at its first byte
        return "it does not speak TLS: set tls in the module's desired properties" in host.program.log

    wait_for(host_told, "the host's words")
    assert "uses TLS for this port: set `tls`" in last_error(relay, "uses TLS")
    assert host.status["ports"][0]["bytes_to_device"] == 0


def test_a_plain_module_without_anything_to_say_is_refused_and_told_why(
    start_secured_host: StartSecuredHost, start_relay: StartRelay
) -> None:
    host = start_secured_host()
    relay = start_relay({NAME: {"tcpPort": host.port}})
    assert "uses TLS for this port: set `tls`" in last_error(relay, "uses TLS")
    host.program.wait_for_log("it sent nothing for 2 s, as a client without TLS does: set tls")


@pytest.mark.parametrize("protocol", ["raw", "rfc2217"])
def test_a_secured_module_at_a_plain_host_says_so_and_the_device_gets_nothing(
    protocol: str, start_host: StartHost, start_relay: StartRelay, device: Device
) -> None:
    port = free_port()
    host = start_host("run", str(device.path), str(port), "--protocol", protocol)
    host.wait_until_listening(port)
    relay = start_relay(
        {NAME: {"tcpPort": port, "protocol": protocol, "tls": {"hostFingerprints": [UNKNOWN]}}}
    )
    last_error(relay, "[tls]")
    wait_for(
        lambda: "it uses TLS, and this port is served without TLS" in host.program.log, "the host's words"
    )
    assert host.status[str(device.path)]["bytes_to_device"] == 0


def test_a_port_may_be_served_without_tls_where_the_file_says_so(
    start_secured_host: StartSecuredHost, start_relay: StartRelay
) -> None:
    host = start_secured_host(secured=False)
    relay = start_relay({NAME: {"tcpPort": host.port, "tls": False}})
    relay.configure({NAME: {"tcpPort": host.port, "tls": False}}, tls={"hostFingerprints": [UNKNOWN]})
    relay.wait_for_status(NAME, state="connected")


def test_certificates_of_an_authority_and_its_refusals(
    start_secured_host: StartSecuredHost, start_relay: StartRelay, tmp_path: Path
) -> None:
    authority = TestAuthority()
    chain, key = pem_of(authority.issue(x509.IPAddress(ip_address("127.0.0.1"))))
    (tmp_path / "secured").mkdir()
    (tmp_path / "secured" / "host.pem").write_text(chain)
    (tmp_path / "secured" / "host.key").write_text(key)
    host = start_secured_host(tls='[tls]\ncertificate = "host.pem"\nkey = "host.key"\n')

    def tls(**more: Any) -> dict[str, Any]:
        return {NAME: {"tcpPort": host.port, "tls": {"verify": "ca", "hostCa": authority.pem, **more}}}

    relay = start_relay(tls())
    host.command("trust", module_fingerprint(relay))
    relay.wait_for_status(NAME, state="connected")
    relay.configure(tls(hostName="other.example"))
    last_error(relay, "is for 127.0.0.1, not for other.example", "set `hostName`")
    relay.configure(tls(hostCa=TestAuthority("other").pem))
    last_error(relay, "does not come from `hostCa`", "CN=test authority")
    for begin, end, words in ((-3, -1, "has expired"), (1, 3, "is not valid yet")):
        chain, key = pem_of(authority.issue(x509.IPAddress(ip_address("127.0.0.1")), begin=begin, end=end))
        (tmp_path / "secured" / "host.pem").write_text(chain)
        (tmp_path / "secured" / "host.key").write_text(key)
        host.stop()
        host.start()
        relay.configure(tls())
        last_error(relay, words, "or set the clock here")


def test_a_faulty_tls_keeps_the_port_down(
    start_secured_host: StartSecuredHost, start_relay: StartRelay, start_host: StartHost, device: Device
) -> None:
    port = free_port()
    start_host("run", str(device.path), str(port)).wait_until_listening(port)
    relay = start_relay({NAME: {"tcpPort": port}})
    relay.wait_for_status(NAME, state="connected")
    relay.configure({NAME: {"tcpPort": port, "tls": {"verify": "pin"}}})
    relay.wait_for_status(NAME, state="invalid")
    assert relay.status(NAME)["configError"]["path"] == f"serialPorts.{NAME}.tls.hostFingerprints"
    relay.configure({NAME: {"tcpPort": port}}, tls={"hostFingerprints": ["sha256:12"]})
    relay.wait(
        lambda: relay.status(NAME).get("configError", {}).get("path") == "tls.hostFingerprints.0", "the fault"
    )
    assert relay.status(NAME)["state"] == "invalid"


def test_a_module_with_the_certificate_of_iot_edge(
    start_secured_host: StartSecuredHost, running: ExitStack, tmp_path: Path
) -> None:
    hub = running.enter_context(EdgeHub(device="plc", module="serial-relay"))
    (tmp_path / "secured").mkdir()
    (tmp_path / "secured" / "ca.pem").write_bytes((hub.directory / "authority.pem").read_bytes())

    def table(*names: str) -> str:
        return f'[tls]\nverify = "ca"\nclient_ca = "ca.pem"\nclient_names = {list(names)}\n'

    host = start_secured_host(tls=table("plc/other"))
    tls = {"hostFingerprints": [host.fingerprint], "identity": "edge"}
    hub.set_desired({"host": "127.0.0.1", "tls": tls, "serialPorts": {NAME: {"tcpPort": host.port}}})
    module = Module(hub, tmp_path)
    running.callback(module.close)
    hub.wait_reported(
        lambda reported: (
            reported.get("serialPorts", {}).get(NAME, {}).get("lastError", {}).get("code") == "tls"
        )
    )
    port = hub.reported["serialPorts"][NAME]
    assert (
        "`client_ca` there must hold the device's authority, and `client_names` this module"
        in port["lastError"]["message"]
    )
    wait_for(lambda: "its certificate is for plc/serial-relay" in host.program.log, "the host's words")
    host.stop()
    host.configure(table("plc/serial-relay"))
    host.start()
    hub.wait_reported(lambda reported: reported.get("status") == "ok")
    assert hub.workload.certificates == 1
