"""The whole chain with `protocol: rfc2217`: what the twin and the application set, the COM port has, and back."""

from __future__ import annotations

import socket
import termios
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
import serial

from tests.edgehub.hub import EdgeHub
from tests.modem_shim.modem_shim import CD, CTS, DSR, DTR, RTS, ModemLines, ModemShim
from tests.module.twin.test_edge_service import Module
from tests.system.conftest import OpenPort, StartRelay
from tests.system.processes import Program, free_port, python_program, wait_for
from tests.system.serial_lines import Device
from tests.system.stack import Relay

NAME = "ttyVirtS0"


class ComPort:
    """The host's COM port: a pty with modem lines, and the host that serves it."""

    def __init__(self, device: Device, shim: ModemShim, directory: Path) -> None:
        self.device = device
        self.lines: ModemLines = shim.lines(device.path)
        self.tcp_port = free_port()
        self.program = Program(
            python_program(
                "-m", "serial_host", "run", device.path, str(self.tcp_port), "--protocol", "rfc2217"
            ),
            directory / "host.log",
            {**shim.variables, "XDG_RUNTIME_DIR": str(directory)},
        )
        self.program.wait_for_log("listening on")

    @property
    def stop_bits(self) -> int:
        return 2 if termios.tcgetattr(self.device.descriptor)[2] & termios.CSTOPB else 1


@pytest.fixture
def com_port(running: ExitStack, device: Device, tmp_path: Path) -> ComPort:
    directory = tmp_path / "com_port"
    directory.mkdir()
    shim = ModemShim(directory)
    running.callback(shim.close)
    com_port = ComPort(device, shim, directory)
    running.callback(com_port.program.stop)
    return com_port


def entry(com_port: ComPort, **more: Any) -> dict[str, Any]:
    return {"tcpPort": com_port.tcp_port, "protocol": "rfc2217", **more}


@pytest.fixture
def relay(start_relay: StartRelay, com_port: ComPort) -> Relay:
    relay = start_relay({NAME: entry(com_port)})
    relay.wait_for_status(NAME, state="connected")
    return relay


def test_the_com_port_has_the_applications_settings_before_the_first_byte(
    relay: Relay, com_port: ComPort, open_port: OpenPort
) -> None:
    application = open_port(relay.link(NAME), baudrate=19_200, stopbits=serial.STOPBITS_TWO)
    application.write(b"x")
    assert com_port.device.read(1) == b"x"
    assert (com_port.device.speed, com_port.stop_bits, com_port.lines.frame) == (termios.B19200, 2, (8, "N"))
    relay.wait_for_status(
        NAME,
        line={"baudRate": 19200, "dataBits": 8, "parity": "none", "stopBits": 2, "flowControl": "none"},
    )
    everything = bytes(range(256)) * 40
    application.write(everything)
    assert com_port.device.read(len(everything)) == everything
    com_port.device.write(everything)
    assert application.read(len(everything)) == everything


def test_many_changes_each_before_its_bytes(relay: Relay, com_port: ComPort, open_port: OpenPort) -> None:
    application = open_port(relay.link(NAME))
    for round_ in range(20):
        speed = (9600, 115_200, 2400, 57_600)[round_ % 4]
        application.baudrate = speed
        application.write(b"%d" % (round_ % 10))
        assert com_port.device.read(1) == b"%d" % (round_ % 10)
        assert com_port.device.speed == getattr(termios, f"B{speed}")


def test_parity_of_the_twin_is_the_com_ports_and_changes_without_a_new_connection(
    relay: Relay, com_port: ComPort
) -> None:
    line: dict[str, Any] = {"parity": "even"}
    relay.configure({NAME: entry(com_port, line=line)})
    wait_for(lambda: com_port.lines.frame == (8, "E"), "8E at the COM port")
    assert com_port.stop_bits == 1
    status = relay.wait_for_status(
        NAME,
        line={"baudRate": 9600, "dataBits": 8, "parity": "even", "stopBits": 1, "flowControl": "none"},
    )
    assert status["connects"] == 1
    relay.configure({NAME: entry(com_port, line={"parity": "odd", "dataBits": 7, "baudRate": 250_000})})
    wait_for(lambda: com_port.lines.frame == (7, "O"), "7O at the COM port")
    relay.wait_for_status(
        NAME,
        connects=1,
        line={"baudRate": 250_000, "dataBits": 7, "parity": "odd", "stopBits": 1, "flowControl": "none"},
    )


def test_flushing_empties_what_waits_at_the_host(
    relay: Relay, com_port: ComPort, open_port: OpenPort
) -> None:
    application = open_port(relay.link(NAME))
    application.write(b"before")
    assert com_port.device.read(6) == b"before"
    application.reset_input_buffer()
    application.reset_output_buffer()
    application.write(b"after")
    assert com_port.device.read(5) == b"after"


def test_a_device_that_is_unplugged_is_reported_and_its_return_too(
    start_relay: StartRelay, tmp_path: Path, running: ExitStack
) -> None:
    """The COM port is a name that comes and goes, as with a USB adapter."""
    name, port = tmp_path / "COM3", free_port()
    host = Program(
        python_program("-m", "serial_host", "run", name, str(port), "--protocol", "rfc2217"),
        tmp_path / "host.log",
        {"XDG_RUNTIME_DIR": str(tmp_path)},
    )
    running.callback(host.stop)
    host.wait_for_log("listening on")
    relay = start_relay({NAME: {"tcpPort": port, "protocol": "rfc2217", "line": {"baudRate": 19_200}}})
    relay.wait(
        lambda: relay.status(NAME).get("lastError", {}).get("code") == "deviceUnavailable",
        "deviceUnavailable",
    )
    assert relay.status(NAME)["state"] == "retrying"
    for _ in range(2):
        device = Device()
        name.symlink_to(device.path)
        relay.wait_for_status(NAME, state="connected")
        with serial.Serial(relay.link(NAME), 19_200, timeout=20) as application:
            application.write(b"here again")
            assert device.read(10) == b"here again"
            assert device.speed == termios.B19200
        name.unlink()
        device.close()
        relay.wait_for_status(NAME, state="retrying")
        assert relay.status(NAME)["lastError"]["code"] == "deviceUnavailable"


def test_a_port_that_another_client_has_is_reported_as_busy(
    start_relay: StartRelay, com_port: ComPort
) -> None:
    """Only a client from another address is refused; one from the same address would replace the other."""
    with socket.create_connection(("127.0.0.1", com_port.tcp_port), 20, ("127.0.0.2", 0)):
        com_port.program.wait_for_log("127.0.0.2")
        relay = start_relay({NAME: entry(com_port)})
        relay.wait(lambda: relay.status(NAME).get("lastError", {}).get("code") == "busy", "busy")
        assert "127.0.0.2" in relay.status(NAME)["lastError"]["message"]
        assert relay.status(NAME)["state"] == "retrying"
    relay.wait_for_status(NAME, state="connected")


@pytest.fixture
def hub(com_port: ComPort) -> Iterator[EdgeHub]:
    with EdgeHub({"host": "127.0.0.1", "serialPorts": {NAME: entry(com_port)}}) as hub:
        yield hub


@pytest.fixture
def module(hub: EdgeHub, tmp_path: Path) -> Iterator[Module]:
    with closing(Module(hub, tmp_path)) as module:
        yield module


@pytest.mark.usefixtures("module")
def test_modem_lines_and_break_by_direct_methods(hub: EdgeHub, com_port: ComPort) -> None:
    hub.wait_reported(lambda reported: reported.get("status") == "ok")

    def modem() -> Any:
        return hub.call_method("getStatus")[1]["serialPorts"][NAME]["modem"]

    assert modem() == {"cts": False, "dsr": False, "ri": False, "cd": False}
    com_port.lines.set(CTS | DSR)
    wait_for(
        lambda: modem() == {"cts": True, "dsr": True, "ri": False, "cd": False}, "CTS and DSR in getStatus"
    )
    com_port.lines.clear(CTS)
    com_port.lines.set(CD)
    wait_for(lambda: modem() == {"cts": False, "dsr": True, "ri": False, "cd": True}, "CD in getStatus")

    assert hub.call_method("setModemLines", {"port": NAME, "dtr": False})[0] == 200
    wait_for(lambda: com_port.lines.state & (DTR | RTS) == RTS, "DTR to drop")
    assert hub.call_method("setModemLines", {"port": NAME, "dtr": True, "rts": False})[0] == 200
    wait_for(lambda: com_port.lines.state & (DTR | RTS) == DTR, "DTR to rise and RTS to drop")
    breaks = com_port.lines.breaks
    assert hub.call_method("sendBreak", {"port": NAME, "milliseconds": 100})[0] == 200
    wait_for(lambda: com_port.lines.breaks == breaks + 1 and not com_port.lines.in_break, "a break")


@pytest.mark.usefixtures("module")
def test_the_cloud_diagnoses_a_port(hub: EdgeHub) -> None:
    hub.wait_reported(lambda reported: reported.get("status") == "ok")
    status, answer = hub.call_method("diagnose", {"port": NAME})
    assert status == 200
    verdicts = {step["step"]: step["verdict"] for step in answer["ports"][NAME]}
    assert {verdicts[step] for step in ("TCP connection", "RFC 2217", "device", "line settings", "link")} == {
        "ok"
    }
    status, answer = hub.call_method("diagnose", {})
    assert status == 200
    assert answer["ports"].keys() == {NAME}
