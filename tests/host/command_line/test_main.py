"""The command line: servers as processes, what they print, how they end."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import pytest

import serial_host
from serial_host.plumbing.commands import PROGRAM
from tests.host.commands import CommandLine
from tests.host.running import Client, reserved_port, until
from tests.host.serial_device import SerialDevice

needs_signals = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows ends a process where POSIX signals it"
)


def test_one_port_is_served_from_the_command_line(
    command_line: CommandLine, device: SerialDevice, tcp_port: int
) -> None:
    with command_line.start(
        "run", device.name, tcp_port, "--baud-rate", "19200", "--stop-bits", "2"
    ) as server:
        server.wait_for(rf"listening on 127\.0\.0\.1:{tcp_port}")
        with Client(tcp_port) as client:
            client.send(b"question")
            assert device.receive(8) == b"question"
            device.send(b"answer")
            assert client.receive(6) == b"answer"
        assert server.status()["ports"][0]["line"] == "19200 8N2"
        assert server.terminate() == 0
        assert "stopped" in server.output


def test_a_file_serves_many_ports_and_names_its_broken_entry(
    command_line: CommandLine, device: SerialDevice, tcp_port: int, tmp_path: Path
) -> None:
    file = tmp_path / "serial-host.toml"
    file.write_text(
        f'[[ports]]\ndevice = "{device.name}"\ntcp_port = {tcp_port}\n'
        f'[[ports]]\ndevice = "/dev/no-such-port"\ntcp_port = 5999\n'
        f'[[ports]]\ndevice = "COM5"\ntcp_port = 70000\n',
        encoding="utf-8",
    )
    with command_line.start("run", "--config", file) as server:
        server.wait_for(
            r"\[\[ports\]\] 3: tcp_port: expected a TCP port, a number from 1 to 65535, not 70000"
        )
        server.wait_for(r"/dev/no-such-port is not there")
        server.wait_for(rf"listening on 127\.0\.0\.1:{tcp_port}")
        with Client(tcp_port) as client:
            client.send(b"served")
            assert device.receive(6) == b"served"
        states = {port["name"]: port["state"] for port in server.status()["ports"]}
        assert states == {device.name: "open", "/dev/no-such-port": "absent", "COM5": "invalid"}


@needs_signals
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_server_cleanly(
    command_line: CommandLine, tcp_port: int, number: signal.Signals
) -> None:
    with command_line.start("simulate", "echo", tcp_port) as server:
        server.wait_for("listening on")
        with Client(tcp_port) as client:
            client.send(b"x")
            assert client.receive(1) == b"x"
            server.process.send_signal(number)
            assert server.wait() == 0
            assert client.is_closed()
        assert "Traceback" not in server.output


def test_stop_ends_the_server_and_waits_for_it(command_line: CommandLine, tcp_port: int) -> None:
    with command_line.start("simulate", "echo", tcp_port) as server:
        server.wait_for("listening on")
        result = command_line.run("stop")
        assert result.returncode == 0, result.stderr
        assert result.stdout == f"stopped the server (process {server.process.pid})\n"
        assert server.wait() == 0


def test_stop_without_a_server_says_so_and_is_no_failure(command_line: CommandLine) -> None:
    result = command_line.run("stop")
    assert (result.returncode, result.stdout) == (0, "no server is running that this user may speak to\n")


def test_stop_asks_which_of_several_servers(command_line: CommandLine, tcp_port: int) -> None:
    with (
        reserved_port() as other_port,
        command_line.start("simulate", "echo", tcp_port) as first,
        command_line.start("simulate", "echo", other_port) as second,
    ):
        first.wait_for("listening on")
        second.wait_for("listening on")
        result = command_line.run("stop")
        assert result.returncode == 1
        assert "2 servers are running: say which with --pid" in result.stderr
        assert command_line.run("stop", "--pid", first.process.pid).returncode == 0
        assert first.wait() == 0
        assert second.process.poll() is None


def test_status_shows_a_table(command_line: CommandLine, tcp_port: int) -> None:
    with command_line.start("simulate", "echo", tcp_port) as server:
        server.wait_for("listening on")
        with Client(tcp_port) as client:
            client.send(b"12345678")
            assert client.receive(8) == b"12345678"
            result = command_line.run("status")
            name = client.name
        assert result.returncode == 0
        title, head, row = result.stdout.splitlines()
        assert title.startswith(
            f"serial_host {serial_host.__version__}, process {server.process.pid}, running since"
        )
        assert head.split()[:4] == ["PORT", "TCP", "STATE", "LINE"]
        assert row.split()[:5] == ["simulated-echo", str(tcp_port), "open", "9600", "8N1"]
        assert name in row
        assert row.split()[-4:] == ["8", "8", "0", "0"]


def test_status_without_a_server_says_so(command_line: CommandLine) -> None:
    result = command_line.run("status")
    assert result.returncode == 1
    assert "no server is running that this user may speak to" in result.stderr


@needs_signals
def test_a_killed_server_is_not_taken_for_a_running_one(command_line: CommandLine, tcp_port: int) -> None:
    with command_line.start("simulate", "echo", tcp_port) as server:
        server.wait_for("listening on")
        server.process.kill()
        server.wait()
    assert "no server is running" in command_line.run("stop").stdout


def test_v_prints_each_message_and_vv_its_bytes(command_line: CommandLine, tcp_port: int) -> None:
    with command_line.start("simulate", "echo", tcp_port, "-vv") as server:
        server.wait_for("listening on")
        with Client(tcp_port) as client:
            client.send(b"\x01\x03AB")
            assert client.receive(4) == b"\x01\x03AB"
        server.wait_for(r"simulated-echo -> 4 bytes\n.*simulated-echo ->   01 03 41 42 +\.\.AB\n")
        server.wait_for(r"simulated-echo <- 4 bytes\n.*simulated-echo <-   01 03 41 42 +\.\.AB\n")


def test_without_v_messages_are_not_printed(command_line: CommandLine, tcp_port: int) -> None:
    with command_line.start("simulate", "echo", tcp_port) as server:
        server.wait_for("listening on")
        with Client(tcp_port) as client:
            client.send(b"secret")
            assert client.receive(6) == b"secret"
        server.wait_for("disconnected")
        assert "6 bytes" not in server.output


def test_the_log_file_takes_the_messages(command_line: CommandLine, tcp_port: int, tmp_path: Path) -> None:
    log = tmp_path / "serial-host.log"
    with command_line.start("simulate", "echo", tcp_port, "--log-file", log) as server:
        until(lambda: log.exists() and "listening on" in log.read_text(encoding="utf-8"))
        assert server.output == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run"], f"expected DEVICE and PORT, as in '{PROGRAM} run COM3 5002', or --config FILE"),
        (["run", "COM3"], "expected DEVICE and PORT"),
        (["run", "COM3", "70000"], "tcp_port: expected a TCP port, a number from 1 to 65535, not 70000"),
        (["run", "COM3", "abc"], "tcp_port: expected a TCP port, a number from 1 to 65535, not 'abc'"),
        (
            ["run", "COM3", "5002", "--baud-rate", "fast"],
            "--baud-rate: expected bits per second, a number, not 'fast'",
        ),
        (["run", "COM3", "-1"], "tcp_port: expected a TCP port, a number from 1 to 65535, not '-1'"),
        (["run", "COM3", "5002", "more"], f"unrecognized arguments: more; see '{PROGRAM} --help'"),
        (["run", "COM3", "5002", "--stop-bits", "x"], f"see '{PROGRAM} run --help'"),
        ([], f"the following arguments are required: COMMAND; see '{PROGRAM} --help'"),
        (
            ["run", "COM3", "5002", "--baud-rate", "0"],
            "--baud-rate: expected bits per second, a number, not 0",
        ),
        (["run", "COM3", "5002", "--allow", "nonsense"], "--allow: expected client addresses"),
        (["run", "COM3", "5002", "--parity", "evn"], "argument --parity: invalid choice: 'evn'"),
        (
            ["run", "COM3", "5002", "--config", "x.toml"],
            "--config FILE cannot be combined with DEVICE, PORT or settings",
        ),
        (["run", "--config", "nothing.toml"], "nothing.toml: cannot be read: No such file or directory"),
        (["check", "nothing.toml"], "nothing.toml: cannot be read: No such file or directory"),
        (["simulate", "echo", "0"], "tcp_port: expected a TCP port, a number from 1 to 65535, not 0"),
        (["fly"], "invalid choice: 'fly'"),
    ],
)
def test_wrong_arguments_are_named(command_line: CommandLine, arguments: list[str], message: str) -> None:
    result = command_line.run(*arguments)
    assert result.returncode == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert "Traceback" not in result.stderr


def test_a_log_file_that_cannot_be_written_is_named(command_line: CommandLine, tmp_path: Path) -> None:
    result = command_line.run("simulate", "echo", "5999", "--log-file", tmp_path / "missing" / "file.log")
    assert result.returncode == 1
    assert "missing" in result.stderr
    assert "Traceback" not in result.stderr


def test_check_says_what_would_be_served(command_line: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "serial-host.toml"
    file.write_text(
        '[[ports]]\ndevice = "COM3"\ntcp_port = 5002\nlisten = "vEthernet (Default Switch)"\nbaud_rate = 19200\n'
        '[[ports]]\nmatch = { serial = "A1" }\ntcp_port = 5003\nprotocol = "rfc2217"\n',
        encoding="utf-8",
    )
    result = command_line.run("check", file)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "COM3: TCP port 5002, raw, 19200 8N1",
        "USB A1: TCP port 5003, rfc2217, 9600 8N1",
    ]
    assert json.loads(command_line.run("check", "--json", file).stdout) == {
        "ports": [
            {
                "device": "COM3",
                "match": None,
                "tcpPort": 5002,
                "listen": ["vEthernet (Default Switch)"],
                "protocol": "raw",
            },
            {"device": None, "match": "A1", "tcpPort": 5003, "listen": None, "protocol": "rfc2217"},
        ]
    }


def test_check_fails_for_a_file_with_a_broken_entry(command_line: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "serial-host.toml"
    file.write_text(
        '[[ports]]\ndevice = "COM3"\ntcp_port = 5002\n[[ports]]\ntcp_port = 5003\n', encoding="utf-8"
    )
    result = command_line.run("check", file)
    assert result.returncode == 2
    assert "[[ports]] 2: expected either device or match" in result.stderr


def test_list_answers_for_people_and_programs(command_line: CommandLine) -> None:
    people = command_line.run("list")
    assert people.returncode == 0
    assert "interfaces that listen can name:" in people.stdout
    programs = json.loads(command_line.run("list", "--json").stdout)
    keys = {"device", "description", "vid", "pid", "serial", "location"}
    assert all(keys <= port.keys() for port in programs["ports"])
    loopback = [entry for entry in programs["interfaces"] if "127.0.0.1" in entry["addresses"]]
    assert [entry["external"] for entry in loopback] == [False]
    assert loopback[0]["name"] in people.stdout


def test_a_name_that_the_output_cannot_hold_is_escaped(command_line: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "ports.toml"
    file.write_text('[[ports]]\ndevice = "Ger\u00e4t"\ntcp_port = 5002\n', encoding="utf-8")
    command_line.environment["PYTHONIOENCODING"] = "ascii"
    checked = command_line.run("check", file)
    assert checked.returncode == 0, checked.stderr
    assert checked.stdout.startswith("Ger\\xe4t: TCP port 5002")


def test_the_version_is_told(command_line: CommandLine) -> None:
    assert command_line.run("--version").stdout == f"serial_host {serial_host.__version__}\n"
