"""TLS with the programs of others: socat, ser2net, stunnel and OpenSSL's own client."""

from __future__ import annotations

import re
import socket
import ssl
import subprocess
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from serial_tls.identity import Identity, make_identity, save_identity
from tests.serial_tls.authority import TestAuthority, module_name, pem_of
from tests.system import peers
from tests.system.conftest import OpenPort, StartHost, StartProgram, StartRelay
from tests.system.processes import PATIENCE, ROOT, Program, free_port, wait_for
from tests.system.secured_host import SecuredHost
from tests.system.serial_lines import Device
from tests.system.stack import Relay

NAME = "ttyVirtS0"
EVERY_BYTE = bytes(range(256)) * 16

StartStunnel = Callable[[int, Identity, int, Path], Program]
"""Takes stunnel's port and identity, the port of the serial server behind it, and the certificate that it trusts."""


@pytest.fixture
def client(tmp_path: Path) -> Path:
    """A client's key and certificate in one file."""
    path = tmp_path / "client.pem"
    save_identity(make_identity("client"), path)
    return path


def certificate_of(path: Path) -> Path:
    """Write the certificate of a file of `save_identity` beside it."""
    [certificate] = re.findall(
        r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", path.read_text(), re.DOTALL
    )
    alone = path.with_suffix(".crt")
    alone.write_text(certificate)
    return alone


@pytest.fixture
def start_secured_host(running: ExitStack, tmp_path: Path, device: Device) -> Callable[..., SecuredHost]:
    def start(**options: Any) -> SecuredHost:
        host = SecuredHost(tmp_path / "secured", device.path, **options)
        running.callback(host.close)
        host.start()
        return host

    return start


def relays_every_byte(relay: Relay, open_port: OpenPort, device: Device) -> None:
    application = open_port(relay.link(NAME))
    application.write(EVERY_BYTE)
    assert device.read(len(EVERY_BYTE)) == EVERY_BYTE
    device.write(EVERY_BYTE[::-1] * 8)  # more than one record of 16 KB holds
    assert application.read(len(EVERY_BYTE) * 8) == EVERY_BYTE[::-1] * 8


def tls_entry(port: int, server: Identity, **more: Any) -> dict[str, Any]:
    return {NAME: {"tcpPort": port, "tls": {"hostFingerprints": [server.fingerprint]}, **more}}


def module_certificate(relay: Relay) -> Path:
    """Wait until the module has a certificate, and return its file."""
    path = relay.directory / "state" / "identity.pem"
    relay.wait(path.exists, "the module's identity")
    return certificate_of(path)


def test_module_with_socat_as_its_server(
    start_program: StartProgram, start_relay: StartRelay, open_port: OpenPort, device: Device, tmp_path: Path
) -> None:
    """`openssl-listen` in front of a serial port."""
    server, port = make_identity("server"), free_port()
    save_identity(server, tmp_path / "server.pem")
    relay = start_relay(tls_entry(port, server))
    known = module_certificate(relay)
    start_program(
        "socat",
        f"OPENSSL-LISTEN:{port},bind=127.0.0.1,fork,reuseaddr,cert={tmp_path / 'server.pem'},cafile={known},verify=1",
        f"{device.path},raw,echo=0",
    )
    relay.wait_for_status(NAME, state="connected")
    relays_every_byte(relay, open_port, device)


@pytest.mark.parametrize("protocol", ["raw", "rfc2217"])
def test_module_with_ser2net_as_its_server(
    protocol: str,
    start_program: StartProgram,
    start_relay: StartRelay,
    open_port: OpenPort,
    device: Device,
    tmp_path: Path,
) -> None:
    server, port = make_identity("server"), free_port()
    chain, key = pem_of(server)
    (tmp_path / "server.crt").write_text(chain)
    (tmp_path / "server.key").write_text(key)
    relay = start_relay(tls_entry(port, server, protocol=protocol))
    telnet = "telnet(rfc2217)," if protocol == "rfc2217" else ""
    (tmp_path / "ser2net.yaml").write_text(
        f"""connection: &port
  accepter: {telnet}ssl(key={tmp_path}/server.key,cert={tmp_path}/server.crt),tcp(nodelay=true),127.0.0.1,{port}
  connector: serialdev,{device.path},9600n81,local
  options: {{chardelay: false}}
"""
    )
    start_program("ser2net", "-d", "-u", "-c", tmp_path / "ser2net.yaml")
    wait_for(lambda: peers.listens(port), "ser2net to listen")
    if protocol == "rfc2217":
        # A pty has no modem lines, which ser2net needs for a port that shall follow RFC 2217: TLS and the start suffice.
        relay.wait(lambda: relay.status(NAME).get("lastError", {}).get("code") != "tls", "no error of TLS")
        relay.wait_for_status(NAME, state="connected")
    else:
        relay.wait_for_status(NAME, state="connected")
        relays_every_byte(relay, open_port, device)


STUNNEL = re.findall(
    r"```ini\n(; stunnel.*?)```", (ROOT / "docs/security.md").read_text(encoding="utf-8"), re.DOTALL
)
"""The configuration that docs/security.md gives."""


@pytest.fixture
def start_stunnel(start_program: StartProgram, tmp_path: Path) -> StartStunnel:
    """Start stunnel as docs/security.md says, in front of a serial server; return its log."""

    def start(port: int, server: Identity, serial_port: int, known: Path) -> Program:
        chain, key = pem_of(server)
        (tmp_path / "host.pem").write_text(chain)
        (tmp_path / "host.key").write_text(key)
        [text] = STUNNEL
        for found, meant in (
            ("accept = 5003", f"accept = 127.0.0.1:{port}"),
            ("connect = 127.0.0.1:5002", f"connect = 127.0.0.1:{serial_port}"),
            ("cert = host.pem", f"cert = {tmp_path / 'host.pem'}"),
            ("key = host.key", f"key = {tmp_path / 'host.key'}"),
            ("CAfile = module.pem", f"CAfile = {known}"),
        ):
            assert text.count(found) == 1
            text = text.replace(found, meant)
        path = tmp_path / "stunnel.conf"
        path.write_text(f"foreground = yes\npid =\n{text}")
        program = start_program("stunnel", path)
        wait_for(lambda: peers.listens(port), "stunnel to listen")
        return program

    return start


@pytest.mark.parametrize("protocol", ["raw", "rfc2217"])
def test_module_with_stunnel_in_front_of_its_server(
    protocol: str,
    start_stunnel: StartStunnel,
    start_program: StartProgram,
    start_host: StartHost,
    start_relay: StartRelay,
    open_port: OpenPort,
    device: Device,
) -> None:
    """Both ends compare certificates; the serial server behind stunnel, such as hub4com, knows nothing of TLS."""
    server, port, serial_port = make_identity("server"), free_port(), free_port()
    if protocol == "raw":
        start_program(
            "socat",
            f"TCP-LISTEN:{serial_port},bind=127.0.0.1,fork,reuseaddr",
            f"{device.path},raw,echo=0",
        )
        wait_for(lambda: peers.listens(serial_port), "socat to listen")
    else:
        start_host("run", device.path, str(serial_port), "--protocol", protocol).wait_until_listening(
            serial_port
        )
    relay = start_relay(tls_entry(port, server, protocol=protocol))
    start_stunnel(port, server, serial_port, module_certificate(relay))
    relay.wait_for_status(NAME, state="connected")
    relays_every_byte(relay, open_port, device)


def test_module_and_stunnel_refuse_each_other(
    start_stunnel: StartStunnel, start_program: StartProgram, start_relay: StartRelay, tmp_path: Path
) -> None:
    server, port, serial_port = make_identity("server"), free_port(), free_port()
    reached = tmp_path / "reached"
    start_program("socat", f"TCP-LISTEN:{serial_port},bind=127.0.0.1,fork,reuseaddr", f"CREATE:{reached}")
    wait_for(lambda: peers.listens(serial_port), "socat to listen")
    other = tmp_path / "other.pem"
    save_identity(make_identity("another module"), other)
    stunnel = start_stunnel(port, server, serial_port, certificate_of(other))

    relay = start_relay(tls_entry(port, server))
    relay.wait(
        lambda: "does not know this module" in _error(relay), "the words that stunnel refuses the module"
    )
    stunnel.wait_for_log("certificate verify failed")
    relay.configure(tls_entry(port, make_identity("other server")))
    relay.wait(
        lambda: f"add {server.fingerprint} there" in _error(relay),
        "the words that the module refuses stunnel",
    )
    assert not reached.exists()


def _error(relay: Relay) -> str:
    return str(relay.status(NAME).get("lastError", {}).get("message"))


def test_host_with_socat_as_its_client(
    start_program: StartProgram,
    start_secured_host: Callable[..., SecuredHost],
    open_port: OpenPort,
    device: Device,
    client: Path,
    tmp_path: Path,
) -> None:
    host = start_secured_host()
    host.command("trust", _fingerprint(client))
    known, link = certificate_of(host.directory / "tls" / "identity.pem"), tmp_path / "ttyVirtS0"
    start_program(
        "socat",
        f"pty,link={link},raw",
        f"openssl:127.0.0.1:{host.port},cert={client},cafile={known},verify=1,openssl-no-sni=1,openssl-commonname=",
    )
    host.wait_for_client()
    application = open_port(link)
    application.write(EVERY_BYTE)
    assert device.read(len(EVERY_BYTE)) == EVERY_BYTE
    device.write(EVERY_BYTE[::-1])
    assert application.read(len(EVERY_BYTE)) == EVERY_BYTE[::-1]


def _fingerprint(identity: Path) -> str:
    said = subprocess.run(
        ["openssl", "x509", "-in", identity, "-noout", "-fingerprint", "-sha256"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return "sha256:" + said.partition("=")[2].strip()


def s_client(host: SecuredHost, *options: str | Path, send: bytes = b"", read: int = 0) -> tuple[bytes, str]:
    """Run OpenSSL's client until the server ends the connection, or so many bytes have come; give both outputs."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{host.port}", "-quiet", *map(str, options)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(send)
            process.stdin.flush()
            if read:
                return process.stdout.read(read), ""
            out, errors = process.communicate(timeout=PATIENCE)
            return out, errors.decode()
        finally:
            process.kill()


def test_host_with_openssls_client(
    start_secured_host: Callable[..., SecuredHost], device: Device, client: Path
) -> None:
    host = start_secured_host()
    host.command("trust", _fingerprint(client))
    device.write(b"")
    for version in ("-tls1_2", "-tls1_3"):
        with subprocess.Popen(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{host.port}", "-quiet", "-cert", client, version],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                process.stdin.write(b"to the device\n")
                process.stdin.flush()
                assert device.read(14) == b"to the device\n"
                device.write(b"from the device")
                assert process.stdout.read(15) == b"from the device"
            finally:
                process.kill()
        wait_for(lambda: host.status["ports"][0]["client"] is None, "the client to be gone")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "it presented no certificate"),
        (["-tls1_1", "-cipher", "DEFAULT:@SECLEVEL=0"], "it does not support TLS 1.2 or newer"),
        (
            ["-cert", "CLIENT"],
            "its certificate is not trusted; if it is the right module, run 'serial-host trust sha256:",
        ),
    ],
    ids=["no certificate", "TLS 1.1", "unknown"],
)
def test_the_host_refuses_and_says_why(
    options: Sequence[str], words: str, start_secured_host: Callable[..., SecuredHost], client: Path
) -> None:
    host = start_secured_host()
    s_client(host, *(client if option == "CLIENT" else option for option in options))
    wait_for(lambda: words in host.program.log, words)
    assert host.status["ports"][0]["connects"] == 0
    assert host.status["ports"][0]["refused"] == 1


AUTHORITY = TestAuthority()
MODULE = module_name("plc", "serial_relay")


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        (AUTHORITY.issue(MODULE, begin=-3, end=-1), "its certificate has expired (valid from "),
        (AUTHORITY.issue(MODULE, begin=1, end=3), "its certificate is not valid yet (valid from "),
        (
            AUTHORITY.issue(module_name("plc", "other")),
            "its certificate is for plc/other, which is not in client_names",
        ),
        (TestAuthority("other").issue(MODULE), "its certificate does not come from client_ca"),
        (AUTHORITY.issue(MODULE), None),
    ],
    ids=["expired", "not yet valid", "wrong name", "wrong authority", "right"],
)
def test_the_host_judges_certificates_of_an_authority(
    shown: Identity,
    words: str | None,
    start_secured_host: Callable[..., SecuredHost],
    device: Device,
    tmp_path: Path,
) -> None:
    (tmp_path / "secured").mkdir()
    (tmp_path / "secured" / "ca.pem").write_text(AUTHORITY.pem)
    host = start_secured_host(
        tls='[tls]\nverify = "ca"\nclient_ca = "ca.pem"\nclient_names = ["plc/serial_relay"]\n'
    )
    save_identity(shown, tmp_path / "shown.pem")
    if words is None:
        device.write(b"")
        with subprocess.Popen(
            [
                "openssl",
                "s_client",
                "-connect",
                f"127.0.0.1:{host.port}",
                "-quiet",
                "-cert",
                tmp_path / "shown.pem",
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            try:
                host.wait_for_client()
            finally:
                process.kill()
        return
    s_client(host, "-cert", tmp_path / "shown.pem")
    wait_for(lambda: words in host.program.log, words)
    assert host.status["ports"][0]["connects"] == 0


def test_the_host_refuses_a_renegotiation(
    start_secured_host: Callable[..., SecuredHost], client: Path, device: Device
) -> None:
    host = start_secured_host()
    host.command("trust", _fingerprint(client))
    # Without -quiet a line `R` is the command to renegotiate.
    with subprocess.Popen(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{host.port}", "-cert", client, "-tls1_2"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        assert process.stdin is not None
        try:
            host.wait_for_client()
            process.stdin.write(b"R\n")
            process.stdin.flush()
            out, _ = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    assert b"no renegotiation" in out


def test_the_host_answers_requests_for_new_keys_also_while_the_device_says_nothing(
    start_secured_host: Callable[..., SecuredHost], client: Path, tmp_path: Path
) -> None:
    """Otherwise the answers would pile up."""
    host = start_secured_host()
    host.command("trust", _fingerprint(client))
    said = tmp_path / "said"
    # Without -quiet a line `K` asks the server for new keys, in the way of TLS 1.3.
    with (
        said.open("wb") as output,
        subprocess.Popen(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{host.port}", "-cert", client, "-msg"],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
        ) as process,
    ):
        stdin = process.stdin
        assert stdin is not None

        def answered() -> bool:
            stdin.write(b"K\n")
            stdin.flush()
            return (
                len(re.findall(rb"^<<< TLS 1.3, Handshake.*KeyUpdate", said.read_bytes(), re.MULTILINE)) > 2
            )

        try:
            host.wait_for_client()
            wait_for(answered, "answers to requests for new keys")
        finally:
            process.kill()


def test_what_is_trusted_is_read_by_pythons_tls_too(
    start_secured_host: Callable[..., SecuredHost], client: Path
) -> None:
    host = start_secured_host()
    host.command("trust", _fingerprint(client))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(certificate_of(host.directory / "tls" / "identity.pem"))
    context.load_cert_chain(client)
    with socket.create_connection(("127.0.0.1", host.port)) as plain, context.wrap_socket(plain) as secured:
        assert secured.version() == "TLSv1.3"
        host.wait_for_client()
