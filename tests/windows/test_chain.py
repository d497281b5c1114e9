"""The whole way: application, virtual port, module on Linux, TCP, serial_host on Windows' Python, COM port, device.

The COM port is a pty that wine shows to Windows programs as COM3; everything else is what runs on a real machine.
"""

from __future__ import annotations

import json
import random
import re
import shutil
import socket
import termios
import threading
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.system import peers
from tests.system.processes import Program, free_port, wait_for
from tests.system.serial_lines import Device
from tests.system.stack import Relay
from tests.windows.installed_host import COM_PORT, PluggedDevice, WindowsHost, exchange, open_as_application
from tests.windows.wine import START_SECONDS, Wine

pytestmark = pytest.mark.windows

KIB = 1024
PROTOCOLS = ("raw", "rfc2217")

StartHost = Callable[..., WindowsHost]


@pytest.fixture
def start_host(
    wine: Wine, program_folder: Path, running: ExitStack, tmp_path: Path, device: Device
) -> StartHost:
    def start(*options: str) -> WindowsHost:
        host = WindowsHost(wine, program_folder, tmp_path / "serial_host.log", *options)
        running.callback(host.kill)
        host.wait_until_listening()
        return host

    return start


def start_relay(running: ExitStack, folder: Path, tcp_port: int, **keys: Any) -> Relay:
    relay = Relay(folder / "relay", {"scale": {"tcpPort": tcp_port, **keys}})
    running.callback(relay.close)
    relay.start()
    relay.wait_for_status("scale", state="connected")
    return relay


def has_connected(relay: Relay, times: int) -> bool:
    """By the metrics: so many changes of state are more than the log and the reported properties may tell in that time."""
    return relay.metric("connects_total", port="scale") == times


def is_closed(client: socket.socket) -> bool:
    """Return whether the server ended the connection: wait for that.

    Windows' proactor event loop shuts a connection down before it closes it, so the end may come as FIN where Linux
    sends RST.
    """
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_random_bytes_both_ways_at_once(
    running: ExitStack, tmp_path: Path, device: Device, start_host: StartHost, protocol: str
) -> None:
    host = start_host("--protocol", protocol)
    relay = start_relay(running, tmp_path, host.port, protocol=protocol)
    application = open_as_application(running, relay)
    relay.wait_for_status("scale", applicationOpen=True)
    to_device, from_device = (random.Random(seed).randbytes(96 * KIB) for seed in (1, 2))

    writers = [
        threading.Thread(target=application.write, args=(to_device,)),
        threading.Thread(target=device.write, args=(from_device,)),
    ]
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(application.read(len(from_device))))
    for thread in (*writers, reader):
        thread.start()
    try:
        assert device.read(len(to_device)) == to_device
    finally:
        for thread in (*writers, reader):
            thread.join()
    assert received == [from_device]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_twenty_reconnects_behind_an_open_application(
    running: ExitStack, tmp_path: Path, device: Device, start_host: StartHost, protocol: str
) -> None:
    host = start_host("--protocol", protocol)
    between = free_port()

    def network() -> Program:
        listen = f"TCP-LISTEN:{between},bind=127.0.0.1,reuseaddr,nodelay"
        return Program(["socat", listen, f"TCP:127.0.0.1:{host.port},nodelay"], tmp_path / "socat.log")

    with network():
        relay = start_relay(running, tmp_path, between, protocol=protocol)
        application = open_as_application(running, relay)
        exchange(application, device, b"before", b"answer")
    for number in range(20):
        with network():
            wait_for(partial(has_connected, relay, number + 2), "the relay to connect again")
            exchange(application, device, b"request %d" % number, b"response %d" % number)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_com_port_that_vanishes_and_returns(
    wine: Wine, running: ExitStack, tmp_path: Path, device: Device, start_host: StartHost, protocol: str
) -> None:
    host = start_host("--protocol", protocol)
    relay = start_relay(running, tmp_path, host.port, protocol=protocol)
    application = open_as_application(running, relay)
    exchange(application, device, b"before", b"answer")

    device.close()
    if protocol == "raw":
        host.wait_until_closed()
    relay.wait(lambda: relay.status("scale")["state"] != "connected", "the relay to notice")
    if protocol == "rfc2217":
        assert relay.status("scale")["lastError"]["code"] == "deviceUnavailable"

    replugged = running.enter_context(PluggedDevice(wine))
    relay.wait_for_status("scale", state="connected")
    exchange(application, replugged, b"after", b"answer")


def test_line_settings_reach_the_com_port(
    running: ExitStack, tmp_path: Path, device: Device, start_host: StartHost
) -> None:
    """Those of the desired properties first, then the application's own. wine has no 7 data bits, a pty no parity."""
    host = start_host("--protocol", "rfc2217")
    line = {"baudRate": 19200}
    relay = start_relay(running, tmp_path, host.port, protocol="rfc2217", line=line)
    wait_for(lambda: device.speed == termios.B19200, "19200 baud at the device")

    relay.configure({"scale": {"tcpPort": host.port, "protocol": "rfc2217"}})
    application = open_as_application(running, relay)
    application.baudrate = 38400
    wait_for(lambda: device.speed == termios.B38400, "38400 baud at the device")
    exchange(application, device, b"before", b"answer")


def test_a_second_client_is_refused(
    running: ExitStack, tmp_path: Path, device: Device, start_host: StartHost
) -> None:
    """The second one comes from another address, 127.0.0.2: from the same it would be the first one, restarted."""
    host = start_host("--allow", "127.0.0.0/8")
    relay = start_relay(running, tmp_path, host.port)
    application = open_as_application(running, relay)
    second = socket.create_connection(("127.0.0.1", host.port), timeout=20, source_address=("127.0.0.2", 0))
    with second:
        assert is_closed(second)
    exchange(application, device, b"still", b"served")
    assert relay.status("scale")["connects"] == 1


def test_a_living_client_keeps_the_port_and_the_next_one_gets_it(
    device: Device, start_host: StartHost
) -> None:
    host = start_host()
    with host.connect() as client:
        client.sendall(b"it is me")
        assert device.read(8) == b"it is me"
        with host.connect() as probe:
            assert is_closed(probe)
        client.sendall(b"still here")
        assert device.read(10) == b"still here"
    with host.connect() as restarted:
        restarted.sendall(b"it is me again")
        assert device.read(14) == b"it is me again"
        device.write(b"welcome")
        assert restarted.recv(64) == b"welcome"


def test_stop_ends_it_cleanly(
    running: ExitStack, tmp_path: Path, device: Device, start_host: StartHost
) -> None:
    host = start_host()
    relay = start_relay(running, tmp_path, host.port)
    application = open_as_application(running, relay)
    exchange(application, device, b"before", b"answer")
    last = bytes(range(256)) * 16
    application.write(last)
    sent = len(b"before") + len(last)
    relay.wait(
        lambda: relay.metric("to_device_bytes_total", port="scale") == sent, "the last bytes to be sent"
    )
    status, output = host.command("stop")
    assert status == 0, output
    assert host.program.wait() == 0, host.program.log
    assert device.read(len(last)) == last
    assert "did not reach the device" not in host.program.log
    relay.wait_for_status("scale", state="retrying")

    host.start()
    relay.wait_for_status("scale", state="connected")


def test_status_tells_port_client_and_counters(device: Device, start_host: StartHost) -> None:
    host = start_host()
    with host.connect() as client:
        client.sendall(b"12345")
        assert device.read(5) == b"12345"
        status = host.status()
    assert status["name"] == COM_PORT
    assert status["client"].startswith("127.0.0.1:")


def test_monitor_shows_what_passes_while_others_ask(
    device: Device, start_host: StartHost, running: ExitStack, tmp_path: Path
) -> None:
    """The pipe carries a stream for each of two watchers, and answers others meanwhile."""
    host = start_host()
    with host.connect() as client:
        monitors = [
            running.enter_context(host.start_command(tmp_path / f"{name}.log", "monitor", *options))
            for name, options in (("screen", ()), ("json", ("--json",)))
        ]
        for monitor in monitors:
            monitor.wait_for_log("open")
        client.sendall(b"12345")
        assert device.read(5) == b"12345"
        assert host.status()["client"].startswith("127.0.0.1:")
        device.write(b"abcde")
        monitors[0].wait_for_log("-> 31 32 33 34 35")
        monitors[0].wait_for_log("<- 61 62 63 64 65")
        monitors[1].wait_for_log('"data": "6162636465"')
        for monitor in monitors:
            monitor.kill()
        assert host.status()["bytes_from_device"] == 5


def test_diagnose_tells_what_windows_tells(device: Device, start_host: StartHost) -> None:
    """Wine has neither firewall rules nor PowerShell, and lets a second program open a COM port: it shows how that is told."""
    host = start_host()
    with socket.create_connection(("127.0.0.1", host.port)):
        wait_for(lambda: host.status()["client"], "the client to be served")
        status, output = host.command("diagnose", "--json")
    steps = {step["step"]: step for step in json.loads(output)["ports"][COM_PORT]}
    assert steps["server"]["found"] == f"process {host.windows_pid} serves this port"
    assert steps["in use"]["found"] == f"the server has {COM_PORT} open, 9600 8N1"
    assert steps["listening"]["found"] == f"on 127.0.0.1:{host.port}"
    assert steps["firewall"]["verdict"] in ("failed", "skipped")
    assert steps["client"]["verdict"] == "ok"
    assert status == (1 if steps["firewall"]["verdict"] == "failed" else 0)


def test_diagnose_needs_no_server(wine: Wine, program_folder: Path, device: Device, tmp_path: Path) -> None:
    file = tmp_path / "serial-host.toml"
    file.write_text(
        f'[[ports]]\ndevice = "{COM_PORT}"\ntcp_port = {free_port()}\n[[ports]]\ndevice = "COM77"\ntcp_port = 5077\n'
    )
    ended = wine.run(
        *(program_folder / "runtime" / "python.exe", "-I", "-m", "serial_host", "diagnose"),
        *("--config", wine.windows_path(file), "--json"),
    )
    assert ended.returncode == 1, ended.stdout
    ports = json.loads(ended.stdout[ended.stdout.index("{") :])["ports"]
    steps = {step["step"]: step for step in ports[COM_PORT]}
    assert steps["server"]["verdict"] == "failed"
    assert steps["in use"]["found"] == f"{COM_PORT} can be opened"
    absent = {step["step"]: step for step in ports["COM77"]}
    assert absent["in use"]["verdict"] == "failed"
    assert "COM77 is not there" in absent["in use"]["found"]


def test_who_opens_the_control_channel_and_leaves_does_not_end_it(
    device: Device, start_host: StartHost
) -> None:
    host = start_host()
    host.open_and_leave_control(times=50)
    assert host.status()["name"] == COM_PORT


def test_the_start_up_tasks_command_line_serves_the_installed_configuration(
    wine: Wine, program_folder: Path, running: ExitStack, device: Device, tmp_path: Path
) -> None:
    r"""As the installer lays things out; Task Scheduler itself is not there under wine."""
    data = wine.drive_c / "ProgramData" / "SerialHost"
    (data / "log").mkdir(parents=True, exist_ok=True)
    running.callback(shutil.rmtree, data)
    port = free_port()
    settings = {"device": f'"{COM_PORT}"', "tcp_port": port, "listen": '"127.0.0.1"', "baud_rate": 19200}
    lines = ["[[ports]]", *(f"{key} = {value}" for key, value in settings.items())]
    (data / "serial-host.toml").write_text("\r\n".join(lines))

    plan = (program_folder / "setup" / "plan.ps1").read_text("utf-8-sig")
    [argument] = re.findall(r'^function Get-TaskArgument {\n *"(.*)"', plan.replace("\r", ""), re.MULTILINE)
    argument = argument.replace("`", "")
    files = {
        "$($place.Config)": "serial-host.toml",
        "$(Join-Path -Path $place.Log -ChildPath 'serial-host.log')": r"log\serial-host.log",
    }
    for expression, name in files.items():
        assert expression in argument
        argument = argument.replace(expression, rf"C:\ProgramData\SerialHost\{name}")
    words = [word.strip('"') for word in argument.split()]
    program = wine.start(tmp_path / "task.log", program_folder / "runtime" / "python.exe", *words)
    running.callback(program.kill)
    wait_for(lambda: peers.listens(port), "the server to listen", START_SECONDS)

    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(b"ping")
        assert device.read(4) == b"ping"
    assert device.speed == termios.B19200
    log = data / "log" / "serial-host.log"
    wait_for(lambda: f"listening on 127.0.0.1:{port}" in log.read_text(), "the log file to say so")
