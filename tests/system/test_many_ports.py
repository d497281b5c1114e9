"""Many ports in one process, and the change of one while the others work."""

from __future__ import annotations

import itertools
import threading
from typing import Any

from tests.system.conftest import OpenPort, StartRelay
from tests.system.serial_lines import read_exactly, write_all
from tests.system.tcp_servers import Listener

BLOCK = 1000


def block(number: int) -> bytes:
    """A piece of a stream in which no byte can be lost, doubled or moved unseen."""
    return number.to_bytes(8, "big") * (BLOCK // 8)


LAST_BLOCK = b"\xff" * BLOCK


def test_64_ports_in_one_process(start_relay: StartRelay, echo_server: int, open_port: OpenPort) -> None:
    names = [f"port{number}" for number in range(64)]
    relay = start_relay(
        {name: {"tcpPort": echo_server, "host": f"127.0.0.{number + 1}"} for number, name in enumerate(names)}
    )
    for name in names:
        relay.wait_for_status(name, state="connected")
    assert relay.reported["portsConnected"] == relay.reported["portsTotal"] == 64
    assert relay.reported["status"] == "ok"
    applications = {name: open_port(relay.link(name)) for name in names}
    for name, application in applications.items():
        application.write(name.encode() * 100)
    for name, application in applications.items():
        assert application.read(len(name) * 100) == name.encode() * 100


def test_change_of_one_port_costs_the_others_no_byte(
    start_relay: StartRelay, echo_server: int, open_port: OpenPort
) -> None:
    steady, other = {"tcpPort": echo_server}, {"tcpPort": echo_server, "host": "127.0.0.2"}
    relay = start_relay({"steady": steady, "changing": other})
    relay.wait_for_status("steady", state="connected")
    application = open_port(relay.link("steady"))
    stop = threading.Event()
    intact: list[int] = []

    def write_until_told() -> None:
        for number in itertools.count():
            write_all(application.fileno(), block(number))
            if stop.wait(0.001):  # a megabyte a second, more than the fastest UART has
                write_all(application.fileno(), LAST_BLOCK)
                return

    def read_what_was_written() -> None:
        while (data := read_exactly(application.fileno(), BLOCK)) != LAST_BLOCK:
            assert data == block(len(intact))
            intact.append(len(intact))

    def goes_on() -> None:
        enough = len(intact) + 100
        relay.wait(lambda: len(intact) > enough, "the steady port to go on")

    workers = [
        threading.Thread(target=work, daemon=True) for work in (write_until_told, read_what_was_written)
    ]
    for worker in workers:
        worker.start()
    with Listener() as other_server:
        fault = {"path": "serialPorts.changing.tcpPort", "expected": 'a TCP port, 1-65535, not "none"'}
        changes: list[tuple[dict[str, Any], dict[str, Any]]] = [
            ({"tcpPort": other_server.port}, {"state": "connected", "remoteAddress": other_server.address}),
            ({"tcpPort": other_server.port, "link": "ttyOther"}, {"link": relay.link("ttyOther")}),
            (other | {"enabled": False}, {"state": "disabled"}),
            (other | {"mode": "600"}, {"state": "connected", "link": relay.link("changing")}),
            ({"tcpPort": "none"}, {"state": "connected", "configError": fault}),
        ]
        for change, expected in changes:
            relay.configure({"steady": steady, "changing": change})
            relay.wait_for_status("changing", **expected)
            goes_on()
    relay.configure({"steady": steady})
    relay.wait(lambda: not relay.status("changing"), "the removed port to be reported as gone")
    stop.set()
    for worker in workers:
        worker.join(60)
    assert not any(worker.is_alive() for worker in workers)
    status = relay.wait_for_status("steady", state="connected")
    assert status["connects"] == 1
    assert not any(status["bytesDiscarded"].values())
