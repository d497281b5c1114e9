"""A new connection from the client's own address: a living client keeps its port, a dead one does not."""

from __future__ import annotations

import ctypes
import logging
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from serial_host.serving import admission
from serial_host.serving.admission import KEPT_SECONDS, PEACE_SECONDS, TakeOvers
from serial_host.serving.entrance import MOST_WAITING
from serial_host.session.session import Session
from tests.host.running import PATIENCE, Client, RunningServer, echo_port, until

AGREE = b"\xff\xfb\x2c"
PROTOCOLS = pytest.mark.parametrize("protocol", ["raw", "rfc2217"])
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="needs socket options of Linux")


def exchange(client: Client, count: int) -> None:
    """Ask and be answered so many times; fails when one answer is lost."""
    for number in range(count):
        request = b"request %04d" % number
        client.send(request)
        received = b""
        while not received.endswith(request):
            part = client.socket.recv(4096)
            assert part, "the connection was ended"
            received += part


@contextmanager
def in_the_background(tcp_port: int, said: bytes = b"") -> Iterator[list[int]]:
    """Connect and disconnect again and again until the context is left."""
    done = threading.Event()
    count = [0]

    def probe() -> None:
        while not done.is_set():
            with socket.socket() as probe:
                probe.settimeout(PATIENCE)
                try:
                    probe.connect(("127.0.0.1", tcp_port))
                    probe.sendall(said)
                except ConnectionError:
                    pass
            count[0] += 1
            done.wait(0.01)

    thread = threading.Thread(target=probe)
    thread.start()
    try:
        yield count
    finally:
        done.set()
        thread.join()


@PROTOCOLS
@pytest.mark.parametrize(
    "said", [b"", b"GET / HTTP/1.0\r\n\r\n", b"\r\n\r\n"], ids=["nothing", "HTTP", "lines"]
)
def test_a_port_scan_from_the_clients_address_loses_no_request(
    tcp_port: int, protocol: str, said: bytes
) -> None:
    with (
        RunningServer(echo_port({"tcp_port": tcp_port, "protocol": protocol})) as server,
        server.client() as client,
        in_the_background(tcp_port, said) as scans,
    ):
        while scans[0] < 50:
            exchange(client, 10)
        assert server.status()["client"] == client.name
        assert server.status()["connects"] == 1


@PROTOCOLS
def test_connections_that_say_nothing_and_stay_are_turned_away(tcp_port: int, protocol: str) -> None:
    with (
        RunningServer(echo_port({"tcp_port": tcp_port, "protocol": protocol})) as server,
        server.client() as client,
    ):
        idle = [Client(tcp_port) for _ in range(2 * MOST_WAITING)]
        exchange(client, 100)
        until(lambda: server.status()["refused"] == len(idle))
        exchange(client, 10)
        for newcomer in idle:
            newcomer.socket.close()


@PROTOCOLS
def test_a_client_that_is_idle_keeps_its_port(tcp_port: int, protocol: str) -> None:
    """After a second of silence the kernel asks it as soon as somebody else comes, and its answer is there at once."""
    with (
        RunningServer(echo_port({"tcp_port": tcp_port, "protocol": protocol})) as server,
        server.client() as client,
    ):
        exchange(client, 1)
        time.sleep(1.5)
        newcomer = Client(tcp_port)
        until(lambda: server.status()["refused"] == 1)
        newcomer.socket.close()
        exchange(client, 1)
        assert server.status()["client"] == client.name
        assert server.status()["connects"] == 1


@PROTOCOLS
def test_a_client_that_restarts_is_served_at_once(tcp_port: int, protocol: str) -> None:
    with RunningServer(echo_port({"tcp_port": tcp_port, "protocol": protocol})) as server:
        for _ in range(20):
            with server.client() as client:
                exchange(client, 1)


@needs_linux
@PROTOCOLS
def test_a_client_whose_computer_is_silent_is_replaced(tcp_port: int, protocol: str) -> None:
    with (
        RunningServer(echo_port({"tcp_port": tcp_port, "protocol": protocol})) as server,
        server.client() as old,
    ):
        exchange(old, 1)
        deafen(old.socket)
        until(lambda: is_served(tcp_port))


@needs_linux
def test_a_client_that_is_silent_while_it_is_sent_to_is_replaced(tcp_port: int) -> None:
    with RunningServer(echo_port({"tcp_port": tcp_port})) as server, server.client() as old:
        deafen(old.socket)
        old.send(b"the answer to this is never acknowledged")
        until(lambda: is_served(tcp_port))


@needs_linux
def test_a_client_that_reads_nothing_is_not_silent(tcp_port: int) -> None:
    with (
        RunningServer(echo_port({"tcp_port": tcp_port})) as server,
        server.client(receive_buffer=4096) as slow,
    ):
        slow.flood(b"x", 200_000)
        with Client(tcp_port) as newcomer:
            assert newcomer.is_cut()
        assert server.status()["client"] == slow.name


@needs_linux
@PROTOCOLS
def test_of_two_that_wait_for_the_same_end_the_later_one_waits_for_the_earlier_one(
    tcp_port: int, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are modules that restart: the client ends, one takes its place and ends too, and the other is served then."""
    # Whether the client answers is not known before it ends, however busy the machine is.
    monkeypatch.setattr(Session, "answers", lambda *_: None)
    with (
        RunningServer(echo_port({"tcp_port": tcp_port, "protocol": protocol})) as server,
        server.client() as present,
        Client(tcp_port) as first,
        Client(tcp_port) as second,
    ):
        names = {first.name: first, second.name: second}
        present.socket.close()
        until(lambda: server.status()["client"] in names)
        earlier = names.pop(server.status()["client"])
        exchange(earlier, 1)
        time.sleep(0.1)  # in which the later one usually sees that the client has ended
        earlier.socket.close()
        (later,) = names.values()
        exchange(later, 1)


def is_served(tcp_port: int) -> bool:
    """Try as a relay does, which comes again when it was refused: what the old client's kernel had sent counts as a life sign."""
    try:
        with Client(tcp_port) as client:
            exchange(client, 10)
    except (OSError, AssertionError):
        return False
    return True


def deafen(connection: socket.socket) -> None:
    """Let the kernel drop all that comes for a connection, so that nothing is acknowledged (socket(7), SO_ATTACH_FILTER)."""
    drop_all = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
    program = struct.pack("HP", 1, ctypes.addressof(drop_all))
    connection.setsockopt(socket.SOL_SOCKET, 26, program)


def test_two_living_relays_replace_each_other_less_and_less_often(
    tcp_port: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "KEPT_SECONDS", (1.0, 600.0))
    caplog.set_level(logging.INFO)
    stop = threading.Event()

    def relay() -> None:
        while not stop.is_set():
            try:
                with Client(tcp_port) as client:
                    client.send(AGREE)
                    client.socket.settimeout(0.2)
                    while not stop.is_set():
                        try:
                            if not client.socket.recv(4096):
                                break
                        except TimeoutError:
                            pass
            except OSError:
                pass
            stop.wait(0.1)

    with RunningServer(echo_port({"tcp_port": tcp_port, "protocol": "rfc2217"})) as server:
        server.wait_listening()
        relays = [threading.Thread(target=relay) for _ in range(2)]
        for thread in relays:
            thread.start()
        until(lambda: server.status()["contention"])
        connects = server.status()["connects"]
        assert "replace each other" in server.status()["contention"]
        assert "replace each other" in caplog.text
        time.sleep(3)
        assert server.status()["connects"] <= connects + 1
        assert len(caplog.records) < 100
        stop.set()
        for thread in relays:
            thread.join()


def test_take_over_lets_whoever_says_something_replace(tcp_port: int) -> None:
    port = echo_port({"tcp_port": tcp_port, "take_over": True})
    with RunningServer(port) as server, server.client() as old, Client(tcp_port, source="127.0.0.2") as new:
        new.send(b"mine")
        assert new.receive(4) == b"mine"
        assert old.is_cut()


def test_take_over_lets_whoever_stays_replace(tcp_port: int) -> None:
    port = echo_port({"tcp_port": tcp_port, "take_over": True})
    with RunningServer(port) as server, server.client() as old, server.client(source="127.0.0.2") as new:
        assert old.is_cut()
        exchange(new, 1)


def test_with_take_over_a_bare_connection_cuts_nobody(tcp_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "SHOW_SECONDS", PATIENCE)  # none of them stays for so long
    port = echo_port({"tcp_port": tcp_port, "take_over": True})
    with (
        RunningServer(port) as server,
        server.client() as client,
        in_the_background(tcp_port) as scans,
    ):
        while scans[0] < 50:
            exchange(client, 10)
        assert server.status()["connects"] == 1


def test_take_overs_are_damped_and_forgotten_in_peace() -> None:
    take_overs = TakeOvers()
    now = 1000.0
    assert take_overs.kept(now) == 0
    for kept in (*KEPT_SECONDS, KEPT_SECONDS[-1]):
        take_overs.happened(now)
        assert take_overs.kept(now) == kept
        assert take_overs.kept(now + kept) == 0
        now += kept
    assert take_overs.contended(now)
    now += PEACE_SECONDS
    assert not take_overs.contended(now)
    take_overs.happened(now)
    assert take_overs.kept(now) == KEPT_SECONDS[0]
    assert not take_overs.contended(now)
