"""`serial_host diagnose` as a technician runs it: real servers, devices that vanish, ports that others have."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.host.commands import CommandLine
from tests.host.running import PATIENCE, Client, until
from tests.host.serial_device import SerialDevice

HOLDER = """
import sys, serial
port = serial.Serial(sys.argv[1], exclusive=True)
print("open", flush=True)
sys.stdin.read()
"""


class Diagnosis:
    """What `diagnose --json` said."""

    def __init__(self, command_line: CommandLine, *arguments: str | int | Path) -> None:
        self.process = command_line.run("diagnose", "--json", *arguments)
        assert self.process.stdout, self.process.stderr
        self.ports: dict[str, list[dict[str, Any]]] = json.loads(self.process.stdout)["ports"]

    def step(self, name: str) -> dict[str, Any]:
        [steps] = self.ports.values()
        [step] = [step for step in steps if step["step"] == name]
        return step


@contextmanager
def another_program(device: str) -> Iterator[int]:
    """Have the device open in another process, whose id this gives."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, device], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as program:
        try:
            assert program.stdout is not None
            assert program.stdout.readline().strip() == b"open"
            yield program.pid
        finally:
            program.kill()
            program.wait(PATIENCE)


def write_config(path: Path, device: str, tcp_port: int) -> Path:
    path.write_text(f'[[ports]]\ndevice = "{device}"\ntcp_port = {tcp_port}\n', encoding="utf-8")
    return path


def test_nothing_is_wrong_with_a_port_that_has_a_client(
    command_line: CommandLine, device: SerialDevice, tcp_port: int
) -> None:
    with command_line.start("run", device.name, tcp_port) as server:
        server.wait_for("listening on")
        with Client(tcp_port) as client:
            until(lambda: server.status()["ports"][0]["client"] == client.name, "the client is served")
            diagnosis = Diagnosis(command_line)
            text, name = command_line.run("diagnose").stdout, client.name
    assert diagnosis.process.returncode == 0
    [steps] = diagnosis.ports.values()
    assert {step["verdict"] for step in steps} == {"ok", "skipped"}
    assert diagnosis.step("in use")["found"] == f"the server has {device.name} open, 9600 8N1"
    assert f"{device.name}: ok" in text
    assert f"ok      client: {name} is being served" in text


def test_a_device_that_is_unplugged_is_found(
    command_line: CommandLine, device: SerialDevice, tcp_port: int
) -> None:
    with command_line.start("run", device.name, tcp_port) as server:
        server.wait_for("is open")
        device.unplug()
        server.wait_for("is not there")
        diagnosis = Diagnosis(command_line)
    assert diagnosis.process.returncode == 1
    step = diagnosis.step("COM port")
    assert step["verdict"] == "failed"
    assert step["found"].startswith(f"{device.name} is not there; there are ")
    assert step["next"].startswith("plug the device in")


def test_the_program_that_has_the_port_is_named(
    command_line: CommandLine, device: SerialDevice, tcp_port: int
) -> None:
    with another_program(device.name) as pid, command_line.start("run", device.name, tcp_port) as server:
        server.wait_for("is in use by another program")
        diagnosis = Diagnosis(command_line)
    assert diagnosis.process.returncode == 1
    step = diagnosis.step("in use")
    assert step["verdict"] == "failed"
    # This process has it open too, as the device behind the port.
    assert f"(process {pid})" in step["found"]
    assert step["found"].endswith(f"has {device.name} open")
    assert step["next"].startswith("close that program")


def test_a_missing_server_is_found_without_one(
    command_line: CommandLine, device: SerialDevice, tcp_port: int, tmp_path: Path
) -> None:
    file = write_config(tmp_path / "host.toml", device.name, tcp_port)
    diagnosis = Diagnosis(command_line, "--config", file, str(tcp_port))
    assert diagnosis.process.returncode == 1
    assert diagnosis.step("server")["verdict"] == "failed"
    assert diagnosis.step("COM port")["verdict"] == "ok"
    assert diagnosis.step("listening")["found"] == f"no program listens on TCP port {tcp_port}"


def test_the_program_that_has_the_tcp_port_is_named(
    command_line: CommandLine, device: SerialDevice, tcp_port: int, tmp_path: Path
) -> None:
    file = write_config(tmp_path / "host.toml", device.name, tcp_port)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", tcp_port))
        other.listen()
        diagnosis = Diagnosis(command_line, "--config", file)
        with command_line.start("run", "--config", file) as server:
            server.wait_for("another program listens there")
            running = Diagnosis(command_line, "--config", file)
    assert f"listens on TCP port {tcp_port}" in diagnosis.step("listening")["found"]
    assert diagnosis.step("listening")["verdict"] == "failed"
    assert "another program listens there" in running.step("listening")["found"]


def test_an_entry_that_cannot_be_used_is_told(
    command_line: CommandLine, device: SerialDevice, tcp_port: int, tmp_path: Path
) -> None:
    file = write_config(tmp_path / "host.toml", device.name, tcp_port)
    with file.open("a", encoding="utf-8") as more:
        more.write('[[ports]]\ndevice = "COM5"\ntcp_port = 70000\n')
    diagnosis = Diagnosis(command_line, "--config", file, "COM5")
    [step] = diagnosis.ports["COM5"]
    assert step["verdict"] == "failed"
    assert "expected a TCP port, a number from 1 to 65535, not 70000" in step["found"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "no server is running that this user may speak to"),
        (("--config", "/nowhere.toml"), "cannot be read"),
        (("--what",), "unrecognized arguments"),
    ],
)
def test_a_wrong_call_ends_with_2(command_line: CommandLine, arguments: tuple[str, ...], words: str) -> None:
    ended = command_line.run("diagnose", *arguments)
    assert ended.returncode == 2
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_port_that_is_not_there_is_a_wrong_call(command_line: CommandLine, tcp_port: int) -> None:
    with command_line.start("simulate", "echo", tcp_port) as server:
        server.wait_for("listening on")
        until(lambda: command_line.run("status").returncode == 0, "the server to answer commands")
        ended = command_line.run("diagnose", "COM99")
    assert ended.returncode == 2
    assert ended.stderr == "serial_host: there is no port COM99; there are simulated-echo\n"
