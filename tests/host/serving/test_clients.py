"""Who may be a port's client, and what becomes of the one before."""

from __future__ import annotations

import sys

from tests.host.running import Client, RunningServer, echo_port, until


def test_a_second_client_from_another_address_is_refused_at_once(tcp_port: int) -> None:
    with RunningServer(echo_port({"tcp_port": tcp_port})) as server, server.client() as first:
        with Client(tcp_port, source="127.0.0.2") as second:
            assert second.is_cut()
        first.send(b"still served")
        assert first.receive(12) == b"still served"
        status = server.status()
    assert (status["connects"], status["refused"]) == (1, 1)


def test_a_client_outside_the_allow_list_is_refused(tcp_port: int) -> None:
    port = echo_port({"tcp_port": tcp_port, "allow": ["127.0.0.2", "10.0.0.0/8"]})
    with RunningServer(port) as server:
        server.wait_listening()
        with Client(tcp_port) as stranger:
            assert stranger.is_cut()
        with server.client(source="127.0.0.2") as friend:
            friend.send(b"hello")
            assert friend.receive(5) == b"hello"
        assert server.status()["refused"] == 1


def test_the_network_of_the_interface_is_allowed_by_default_and_nothing_else(tcp_port: int) -> None:
    from ipaddress import IPv4Address, IPv4Network

    from serial_host.listening.interfaces import InterfaceAddress

    narrow = {"switch": [InterfaceAddress(IPv4Address("127.0.0.1"), IPv4Network("127.0.0.0/30"))]}
    server = RunningServer(echo_port({"tcp_port": tcp_port, "listen": "switch"}))
    server.interfaces = narrow
    with server:
        server.wait_listening()
        with Client(tcp_port, source="127.0.0.9") as stranger:
            assert stranger.is_cut()
        with server.client(source="127.0.0.2") as neighbour:
            neighbour.send(b"hello")
            assert neighbour.receive(5) == b"hello"


def test_a_client_that_leaves_makes_room_for_another(tcp_port: int) -> None:
    with RunningServer(echo_port({"tcp_port": tcp_port})) as server:
        for number in range(20):
            with server.client(source=f"127.0.0.{number + 1}") as client:
                client.send(b"here")
                assert client.receive(4) == b"here"
            until(lambda: server.status()["client"] is None)


def test_a_half_closed_connection_does_not_hold_the_port(tcp_port: int) -> None:
    import socket

    with RunningServer(echo_port({"tcp_port": tcp_port})) as server, server.client() as client:
        client.send(b"last words")
        client.socket.shutdown(socket.SHUT_WR)
        assert client.receive(100) == b"last words"
        until(lambda: server.status()["client"] is None)


def test_stopping_the_server_ends_the_connection(tcp_port: int) -> None:
    with RunningServer(echo_port({"tcp_port": tcp_port})) as server, server.client() as client:
        server.stop()
        # On Windows one kind of end cannot be told from the other, see `is_cut`.
        assert client.is_cut() is (sys.platform == "win32")


def test_ports_are_served_apart_from_each_other(tcp_port: int) -> None:
    from tests.host.running import reserved_port

    with (
        reserved_port() as other_port,
        RunningServer(echo_port({"tcp_port": tcp_port}), echo_port({"tcp_port": other_port})) as server,
        server.client() as first,
        server.client(number=1) as second,
    ):
        first.send(b"first")
        second.send(b"second")
        assert first.receive(5) == b"first"
        assert second.receive(6) == b"second"
