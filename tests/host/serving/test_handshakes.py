"""Clients that are secured: who is let in, and what handshakes that fail cost those who are."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from serial_host.config import TlsSettings
from serial_host.security.kept import Kept
from serial_host.security.security import Security
from serial_host.security.tls_transport import TlsTransport
from serial_host.serving import admission, entrance
from serial_tls import handshake
from serial_tls.identity import Identity, make_identity, save_identity
from tests.host.running import PATIENCE, RunningServer, echo_port, until

ECHOED = bytes(range(256)) * 64


@pytest.fixture(autouse=True)
def _clients_may_be_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("TIMEOUT", "SILENCE", "_LAST_WORDS"):
        monkeypatch.setattr(handshake, limit, PATIENCE)


@pytest.fixture
def client(tmp_path: Path) -> Identity:
    identity = make_identity("client")
    save_identity(identity, tmp_path / "client.pem")
    return identity


@pytest.fixture
def security(tmp_path: Path, client: Identity) -> Security:
    return Security(TlsSettings(str(tmp_path / "tls"), client_fingerprints=(client.fingerprint,)))


@contextlib.contextmanager
def secured(
    tmp_path: Path, tcp_port: int, source: str = "127.0.0.1", identity: str = "client.pem"
) -> Iterator[ssl.SSLSocket]:
    """Connect as a client that has shown its certificate, and knows the host's."""
    host = re.findall(
        r"-----BEGIN CERT.*?END CERTIFICATE-----\n", (tmp_path / "tls/identity.pem").read_text(), re.DOTALL
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cadata=host[0])
    context.load_cert_chain(tmp_path / identity)
    with (
        socket.create_connection(("127.0.0.1", tcp_port), PATIENCE, (source, 0)) as plain,
        context.wrap_socket(plain) as client,
    ):
        yield client


def exchange(client: socket.socket, data: bytes = ECHOED) -> None:
    client.sendall(data)
    received = b""
    while len(received) < len(data):
        part = client.recv(65536)
        assert part, f"closed after {len(received)} bytes"
        received += part
    assert received == data


def silent(tcp_port: int, source: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", tcp_port), PATIENCE, (source, 0))


def is_over(connection: socket.socket) -> bool:
    """Wait for the end of a connection."""
    with contextlib.suppress(ConnectionResetError):
        while connection.recv(65536):
            pass
    return True


def goes_on(connection: socket.socket) -> bool:
    """Return whether a connection stands and nothing was said on it."""
    connection.setblocking(False)
    try:
        connection.recv(1)
    except BlockingIOError:
        return True
    return False


def server(tcp_port: int, security: Security, **keys: Any) -> RunningServer:
    return RunningServer(echo_port({"tcp_port": tcp_port, **keys}), security=security)


def test_handshakes_that_fail_cost_a_served_client_nothing(
    tmp_path: Path, tcp_port: int, security: Security
) -> None:
    save_identity(make_identity("unknown"), tmp_path / "unknown.pem")
    with server(tcp_port, security) as running, contextlib.ExitStack() as others:
        running.wait_listening()
        with secured(tmp_path, tcp_port) as client:
            exchange(client)
            for number in range(20):
                other = others.enter_context(silent(tcp_port, f"127.0.0.{2 + number % 3}"))
                if number % 2:
                    other.sendall(
                        b"GET / HTTP/1.0\r\n\r\n" if number % 4 == 1 else b"\x16\x03\x01\x00\x05hello"
                    )
                exchange(client, ECHOED[:512])
            with (
                pytest.raises((ssl.SSLError, ConnectionError)),
                secured(tmp_path, tcp_port, "127.0.0.9", "unknown.pem") as other,
            ):
                exchange(other)
            exchange(client)
        assert running.status()["connects"] == 1


def test_a_client_that_says_nothing_is_told_what_is_missing(
    tcp_port: int, security: Security, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(handshake, "SILENCE", 0.3)  # what is said has the constant
    with server(tcp_port, security) as running:
        running.wait_listening()
        with silent(tcp_port) as client:
            assert client.recv(100) == b"\x15\x03\x03\0\2\2\x46"
            assert client.recv(100) == b""
        until(lambda: running.status()["refused"] == 1)
    assert "it sent nothing for 2 s, as a client without TLS does: set tls" in caplog.text


def test_a_client_that_begins_and_says_no_more_is_cut_after_a_time(
    tcp_port: int, security: Security, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(handshake, "TIMEOUT", 2.0)
    with server(tcp_port, security) as running:
        running.wait_listening()
        with silent(tcp_port) as client:
            client.sendall(b"\x16\x03\x01")
            assert is_over(client)
        until(lambda: running.status()["refused"] == 1)
    assert "it did not finish the TLS handshake within" in caplog.text


def test_one_address_has_so_many_handshakes_and_others_have_theirs(
    tmp_path: Path, tcp_port: int, security: Security, caplog: pytest.LogCaptureFixture
) -> None:
    with server(tcp_port, security) as running, contextlib.ExitStack() as waiting:
        running.wait_listening()
        other = waiting.enter_context(silent(tcp_port, "127.0.0.3"))
        first = waiting.enter_context(silent(tcp_port, "127.0.0.2"))
        for _ in range(entrance.MOST_HANDSHAKES):
            waiting.enter_context(silent(tcp_port, "127.0.0.2"))
        assert is_over(first)
        with secured(tmp_path, tcp_port) as client:
            exchange(client)
        assert running.status()["refused"] == 1
        assert goes_on(other)
    assert "a newer one took the place of its own" in caplog.text


def test_handshakes_that_do_not_go_on_keep_nobody_of_their_address_out(
    tmp_path: Path, tcp_port: int, security: Security
) -> None:
    with server(tcp_port, security) as running, contextlib.ExitStack() as waiting:
        running.wait_listening()
        for _ in range(2 * entrance.MOST_HANDSHAKES):
            waiting.enter_context(silent(tcp_port)).sendall(b"\x16\x03\x01")
        with secured(tmp_path, tcp_port) as client:
            exchange(client)


def test_handshakes_of_many_addresses_keep_nobody_out(
    tmp_path: Path, tcp_port: int, security: Security, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entrance, "MOST_HANDSHAKES_OF_ALL", 10)
    with server(tcp_port, security) as running, contextlib.ExitStack() as waiting:
        running.wait_listening()
        single = waiting.enter_context(silent(tcp_port, "127.0.0.2"))
        many = [waiting.enter_context(silent(tcp_port, f"127.0.0.{3 + number % 3}")) for number in range(9)]
        with secured(tmp_path, tcp_port) as client:
            exchange(client)
        assert is_over(many[0])  # the oldest of an address that has several
        assert goes_on(single)


def test_a_plain_client_is_told_in_an_alert(tcp_port: int, security: Security) -> None:
    with server(tcp_port, security) as running:
        running.wait_listening()
        with silent(tcp_port) as client:
            client.sendall(b"\xff\xfb\x2c")
            assert client.recv(100) == b"\x15\x03\x03\0\2\2\x46"
            assert client.recv(100) == b""
        assert running.status()["bytes_to_device"] == 0


def test_a_second_client_of_the_same_address_is_refused_while_the_first_answers(
    tmp_path: Path, tcp_port: int, security: Security
) -> None:
    with server(tcp_port, security) as running:
        running.wait_listening()
        with secured(tmp_path, tcp_port) as first:
            exchange(first)
            with secured(tmp_path, tcp_port) as second:
                assert is_over(second)
            exchange(first)


def test_a_client_that_takes_over_loses_nothing_that_it_sent_before(
    tmp_path: Path, tcp_port: int, security: Security
) -> None:
    with server(tcp_port, security, take_over=True) as running:
        running.wait_listening()
        with secured(tmp_path, tcp_port) as first:
            exchange(first)
            with secured(tmp_path, tcp_port) as second:
                exchange(second)
                assert is_over(first)


def test_the_first_of_two_that_come_is_paired(tmp_path: Path, tcp_port: int) -> None:
    for name in ("one", "other"):
        save_identity(make_identity(name), tmp_path / f"{name}.pem")
    security = Security(TlsSettings(str(tmp_path / "tls")))
    with server(tcp_port, security) as running:
        running.wait_listening()
        running.call(security.pair)
        with secured(tmp_path, tcp_port, identity="one.pem") as client:
            exchange(client)
        with (
            pytest.raises((ssl.SSLError, ConnectionError)),
            secured(tmp_path, tcp_port, identity="other.pem") as refused,
        ):
            exchange(refused)
    assert len(Kept(tmp_path / "tls").trusted()) == 1


def test_a_revoked_client_is_cut_at_once(tmp_path: Path, tcp_port: int) -> None:
    identity = make_identity("client")
    save_identity(identity, tmp_path / "client.pem")
    security = Security(TlsSettings(str(tmp_path / "tls")))
    security.trust(identity.fingerprint)
    with server(tcp_port, security) as running:
        running.wait_listening()
        with secured(tmp_path, tcp_port) as client:
            exchange(client)
            running.call(lambda: security.revoke(identity.fingerprint))
            assert is_over(client)
    assert Kept(tmp_path / "tls").trusted() == set()


def test_a_client_that_is_revoked_while_it_waits_is_not_served(
    tmp_path: Path, tcp_port: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Two modules with one key: one is served, and the other waits for its place."""
    monkeypatch.setattr(admission, "SHOW_SECONDS", PATIENCE)
    identity = make_identity("client")
    save_identity(identity, tmp_path / "client.pem")
    security = Security(TlsSettings(str(tmp_path / "tls")))
    security.trust(identity.fingerprint)
    with server(tcp_port, security, take_over=True) as running:
        running.wait_listening()
        with secured(tmp_path, tcp_port) as first, secured(tmp_path, tcp_port) as second:
            exchange(first)
            until(lambda: running.waiting)
            running.call(lambda: security.revoke(identity.fingerprint))
            assert is_over(first)
            assert is_over(second)
        assert running.status()["connects"] == 1
    assert "was refused: its certificate is no longer trusted" in caplog.text


def test_a_client_that_asks_and_does_not_read_is_cut(
    tmp_path: Path, tcp_port: int, security: Security, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What TLS answers by itself, such as new keys, would fill the process otherwise."""
    with server(tcp_port, security) as running:
        running.wait_listening()
        with secured(tmp_path, tcp_port) as client:
            exchange(client)
            session = running._server._ports[0]._session
            assert session is not None
            transport = cast("TlsTransport", session._transport)
            monkeypatch.setattr(transport._tls, "output", lambda: b"x" * 100_000)

            def cut() -> bool:
                with contextlib.suppress(OSError):
                    client.sendall(b"x")
                return running.status()["client"] is None

            until(cut)
