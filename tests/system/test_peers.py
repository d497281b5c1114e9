"""Our two programs against those of others, which know nothing of us."""

from __future__ import annotations

import os
from pathlib import Path

from tests.system import peers
from tests.system.conftest import OpenPort, StartHost, StartProgram, StartRelay
from tests.system.processes import free_port, wait_for
from tests.system.serial_lines import Device

EVERY_BYTE = bytes(range(256)) * 16


def test_module_with_socat_as_its_server(
    start_program: StartProgram, start_relay: StartRelay, open_port: OpenPort, device: Device
) -> None:
    port = free_port()
    start_program("socat", f"TCP-LISTEN:{port},bind=127.0.0.1,fork,reuseaddr", f"{device.path},raw,echo=0")
    relay = start_relay({"ttyVirtS0": {"tcpPort": port}})
    relay.wait_for_status("ttyVirtS0", state="connected")
    application = open_port(relay.link("ttyVirtS0"))

    application.write(EVERY_BYTE)
    assert device.read(len(EVERY_BYTE)) == EVERY_BYTE
    device.write(EVERY_BYTE[::-1])
    assert application.read(len(EVERY_BYTE)) == EVERY_BYTE[::-1]


def test_module_with_ser2net_as_its_server(
    start_program: StartProgram, start_relay: StartRelay, open_port: OpenPort, device: Device, tmp_path: Path
) -> None:
    port = free_port()
    start_program(*peers.ser2net(tmp_path / "ser2net.yaml", port, device.path))
    relay = start_relay({"ttyVirtS0": {"tcpPort": port}})
    relay.wait_for_status("ttyVirtS0", state="connected")
    application = open_port(relay.link("ttyVirtS0"))

    application.write(EVERY_BYTE)
    assert device.read(len(EVERY_BYTE)) == EVERY_BYTE
    device.write(EVERY_BYTE[::-1])
    assert application.read(len(EVERY_BYTE)) == EVERY_BYTE[::-1]


def test_host_with_the_samples_socat_as_its_client(
    start_program: StartProgram, start_host: StartHost, open_port: OpenPort, device: Device, tmp_path: Path
) -> None:
    port = free_port()
    start_host("run", device.path, str(port)).wait_until_listening(port)
    link = tmp_path / "ttyVirtS0"
    start_program(*peers.socat_virtual_port(link, port))
    wait_for(link.exists, "socat's link")
    application = open_port(link)

    application.write(EVERY_BYTE)
    assert device.read(len(EVERY_BYTE)) == EVERY_BYTE
    device.write(EVERY_BYTE[::-1])
    assert application.read(len(EVERY_BYTE)) == EVERY_BYTE[::-1]


def test_many_relays_of_one_machine_share_no_link(
    start_relay: StartRelay, echo_server: int, open_port: OpenPort
) -> None:
    relays = [start_relay({"scale": {"tcpPort": echo_server}}) for _ in range(2)]
    for number, relay in enumerate(relays):
        relay.wait_for_status("scale", state="connected")
        application = open_port(relay.link("scale"))
        application.write(b"scale %d" % number)
        assert application.read(7) == b"scale %d" % number
    assert len({os.path.realpath(relay.link("scale")) for relay in relays}) == 2
