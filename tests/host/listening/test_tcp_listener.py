"""Listening follows the interfaces: late addresses, changed ones, a port that somebody else has."""

from __future__ import annotations

import contextlib
import logging
import socket
import sys
import threading
import time
from dataclasses import replace
from ipaddress import ip_interface

import pytest

from serial_host.listening.interfaces import InterfaceAddress
from tests.host.running import LOOPBACK, Client, RunningServer, echo_port, until


def interface(text: str) -> list[InterfaceAddress]:
    return [InterfaceAddress(ip_interface(text).ip, ip_interface(text).network)]


def test_an_address_that_appears_late_is_listened_at(tcp_port: int) -> None:
    server = RunningServer(echo_port({"tcp_port": tcp_port, "listen": ["switch", "127.0.0.1"]}))
    with server:
        server.wait_listening()
        assert server.status()["listening"] == [f"127.0.0.1:{tcp_port}"]
        assert "no interface 'switch' has an address now" in server.status()["not_listening"][0]
        server.interfaces = {**LOOPBACK, "switch": interface("127.0.0.5/8")}
        until(lambda: f"127.0.0.5:{tcp_port}" in server.status()["listening"])
        assert server.status()["not_listening"] == []


def test_a_changed_address_is_followed(tcp_port: int) -> None:
    server = RunningServer(echo_port({"tcp_port": tcp_port, "listen": "switch"}))
    server.interfaces = {"switch": interface("127.0.0.5/8")}
    with server:
        until(lambda: server.status()["listening"] == [f"127.0.0.5:{tcp_port}"])
        server.interfaces = {"switch": interface("127.0.0.6/8")}
        until(lambda: server.status()["listening"] == [f"127.0.0.6:{tcp_port}"])
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.5", tcp_port))
        socket.create_connection(("127.0.0.6", tcp_port)).close()


def test_a_changed_network_admits_its_clients_without_a_pause(tcp_port: int) -> None:
    server = RunningServer(echo_port({"tcp_port": tcp_port, "listen": "switch"}))
    server.interfaces = {"switch": interface("127.0.0.1/30")}
    with server:
        server.wait_listening()
        with Client(tcp_port, source="127.0.0.9") as stranger:
            assert stranger.is_cut()
        server.interfaces = {"switch": interface("127.0.0.1/8")}

        def admitted() -> bool:
            try:
                with Client(tcp_port, source="127.0.0.9") as client:
                    client.send(b"?")
                    return client.receive(1) == b"?"
            except ConnectionError:
                return False

        until(admitted)


def test_a_busy_tcp_port_is_named_and_taken_when_it_is_free(tcp_port: int) -> None:
    with socket.socket() as other:
        if sys.platform != "win32":
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", tcp_port))
        other.listen()
        with RunningServer(echo_port({"tcp_port": tcp_port})) as server:
            until(lambda: server.status()["not_listening"])
            assert (
                f"cannot listen on 127.0.0.1:{tcp_port}: another program listens there"
                in server.status()["not_listening"][0]
            )
            other.close()
            with server.client() as client:
                client.send(b"free")
                assert client.receive(4) == b"free"


def test_a_connection_is_set_up_like_a_cable(tcp_port: int) -> None:
    with RunningServer(echo_port({"tcp_port": tcp_port})) as server, server.client():
        connection = server.connection()
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


def test_without_descriptors_the_listener_waits_and_says_so_a_few_times(
    tcp_port: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RunningServer(echo_port({"tcp_port": tcp_port})) as server:
        server.wait_listening()
        accept, failures = server.loop.sock_accept, 0

        async def fail(_: object) -> None:
            nonlocal failures
            failures += 1
            raise OSError(24, "Too many open files")

        monkeypatch.setattr(server.loop, "sock_accept", fail)
        started = time.monotonic()
        with Client(tcp_port):  # wakes the accept that runs already
            until(lambda: failures >= 8)
        # Each pause is twice as long as the one before, and at most 2 s: 0.05 s, 0.1 s, ...
        assert time.monotonic() - started > 5
        assert len(caplog.records) < failures + 4
        monkeypatch.setattr(server.loop, "sock_accept", accept)

        def served() -> bool:
            with Client(tcp_port) as client:
                client.send(b"?")
                return client.receive(1) == b"?"

        until(served)


def test_a_socket_that_fails_for_good_is_opened_anew(tcp_port: int) -> None:
    with RunningServer(echo_port({"tcp_port": tcp_port})) as server:
        server.wait_listening()
        listener = server._server._ports[0]._listener
        listening_then: list[list[str]] = []

        def fail() -> None:
            (task,) = listener._tasks.values()
            task.add_done_callback(lambda _: listening_then.append(listener.addresses))
            task.cancel()

        server.call(fail)
        until(lambda: listening_then == [[]])
        with server.client() as client:
            client.send(b"?")
            assert client.receive(1) == b"?"


def test_a_connection_in_the_moment_in_which_the_host_stops_listening_leaves_no_word(
    tcp_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(20):
        stopped = threading.Event()

        def connect(stopped: threading.Event = stopped) -> None:
            while not stopped.is_set():
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", tcp_port)):
                    pass

        with RunningServer(echo_port({"tcp_port": tcp_port})) as server:
            server.wait_listening()
            threads = [threading.Thread(target=connect) for _ in range(3)]
            for thread in threads:
                thread.start()
            until(lambda server=server: server.status()["connects"])  # type: ignore[misc]
        stopped.set()
        for thread in threads:
            thread.join()
    assert [record.getMessage() for record in caplog.records if record.levelno > logging.WARNING] == []


def test_listening_on_an_external_switch_is_a_warning(
    tcp_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    server = RunningServer(echo_port({"tcp_port": tcp_port, "listen": ["switch", "inside"]}))
    server.interfaces = {
        "switch": [replace(entry, external=True) for entry in interface("127.0.0.5/8")],
        "inside": interface("127.0.0.6/8"),
    }
    with server:
        until(lambda: len(server.status()["listening"]) == 2)
        assert server.status()["not_listening"] == []
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    (warning,) = warnings
    assert f"127.0.0.5:{tcp_port} seems to belong to an external switch" in warning
