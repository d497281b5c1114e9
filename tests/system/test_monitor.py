"""`monitor` at both ends of a running chain, and what it says of a line that does not work."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from pymodbus.client import ModbusSerialClient
from pymodbus.exceptions import ModbusException

from tests.system.conftest import StartHost, StartRelay
from tests.system.meter import REGISTERS, Meter, heard
from tests.system.processes import PATIENCE, Program, free_port, module_path, python_program, wait_for
from tests.system.stack import Host, Relay

NAME = "meter"


class Monitor(Program):
    """A command `monitor --json`, and what it has shown."""

    @property
    def items(self) -> list[dict[str, Any]]:
        lines = self.log.splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n") and line.startswith("{")]

    def blocks(self, direction: str) -> list[dict[str, Any]]:
        return [item for item in self.items if item.get("direction") == direction]

    def events(self, name: str) -> list[str]:
        return [item["text"] for item in self.items if item.get("event") == name]

    def wait(self, condition: Callable[[], object], what: str = "the monitor to show it") -> None:  # type: ignore[override]
        def met() -> bool:
            assert self.returncode is None, f"the monitor ended:\n{self.log}"
            return bool(condition())

        try:
            wait_for(met, what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log}") from None


Watch = Callable[..., Monitor]
Poll = Callable[..., Sequence[Sequence[int] | None]]


@pytest.fixture
def watch(running: ExitStack, tmp_path: Path) -> Watch:
    """Start `monitor --json` for a relay or a host, and wait until it is attached."""

    def start(watched: Relay | Host, *arguments: str) -> Monitor:
        end = "serial_relay" if isinstance(watched, Relay) else "serial_host"
        log = tmp_path / f"monitor-{end}-{len(list(tmp_path.iterdir()))}.log"
        command = python_program("-m", end, "monitor", "--json", *arguments)
        monitor = running.enter_context(Monitor(command, log, watched.runtime))
        monitor.wait(lambda: monitor.events("state"), "the monitor to attach")
        return monitor

    return start


@pytest.fixture
def poll(running: ExitStack) -> Poll:
    """Read the meter's registers through the port as often as told; None stands for no or a wrong answer."""

    def poll(relay: Relay, times: int, timeout: float = PATIENCE) -> list[list[int] | None]:
        client = ModbusSerialClient(relay.link(NAME), baudrate=9600, timeout=timeout, retries=0)
        assert client.connect()
        running.callback(client.close)
        answers: list[list[int] | None] = []
        for _ in range(times):
            try:
                answer = client.read_holding_registers(0, count=3, device_id=1)
                answers.append(None if answer.isError() else list(answer.registers))
            except ModbusException:
                answers.append(None)
        return answers

    return poll


def chain(start_host: StartHost, start_relay: StartRelay, meter: Meter, baud_rate: int) -> tuple[Relay, Host]:
    """A host with the meter as its device, and a relay to it, whose line has this baud rate."""
    port = free_port()
    host = start_host("run", meter.path, str(port), "--protocol", "rfc2217", "--listen", "127.0.0.1")
    host.wait_until_listening(port)
    entry = {"tcpPort": port, "protocol": "rfc2217", "line": {"baudRate": baud_rate}, "captureSeconds": 3600}
    relay = start_relay({NAME: entry})
    relay.wait_for_status(NAME, state="connected")
    return relay, host


@pytest.fixture
def meter(running: ExitStack) -> Meter:
    """A meter at 9600 baud."""
    return running.enter_context(Meter(9600))


def test_a_uart_of_another_speed_hears_noise() -> None:
    data = bytes(range(1, 200))
    assert heard(data, 9600, 9600) == data
    assert heard(data, 9600, 19200) != data != heard(data, 19200, 9600)


def test_both_ends_name_what_pymodbus_asks_and_the_device_answers(
    start_host: StartHost, start_relay: StartRelay, meter: Meter, watch: Watch, poll: Poll
) -> None:
    relay, host = chain(start_host, start_relay, meter, 9600)
    monitors = [watch(relay), watch(host)]
    assert poll(relay, 3) == [REGISTERS] * 3
    for monitor in monitors:
        monitor.wait(lambda monitor=monitor: len(monitor.blocks("fromDevice")) == 3)  # type: ignore[misc]
        requests, answers = monitor.blocks("toDevice"), monitor.blocks("fromDevice")
        assert {block["modbus"][0]["text"] for block in requests} == {
            "Modbus address 1, read holding registers 0 to 2, CRC good"
        }
        assert all(0 <= block["modbus"][0]["responseSeconds"] < PATIENCE for block in answers)
        assert "9600 8N1" in monitor.events("line")
        assert not monitor.events("finding")
    assert monitors[0].events("opened") == ["an application opened the port"]
    assert any("client 127.0.0.1" in text for text in monitors[1].events("opened"))


@pytest.mark.parametrize(
    ("hears_any_speed", "sentence"),
    [
        (True, "3 answers in a row have a bad CRC: this looks like a wrong line setting"),
        (False, "3 requests in a row got no answer"),
    ],
)
def test_at_a_wrong_baud_rate_it_says_what_to_compare(
    start_host: StartHost,
    start_relay: StartRelay,
    running: ExitStack,
    watch: Watch,
    poll: Poll,
    hears_any_speed: bool,
    sentence: str,
) -> None:
    slow = running.enter_context(Meter(9600, hears_any_speed=hears_any_speed))
    relay, host = chain(start_host, start_relay, slow, 19200)
    monitors = [watch(relay), watch(host)]
    assert poll(relay, 5, timeout=0.5) == [None] * 5
    for monitor in monitors:
        monitor.wait(lambda monitor=monitor: monitor.events("finding"))  # type: ignore[misc]
        [finding] = monitor.events("finding")
        assert finding.startswith(sentence)
        assert "ompare baud rate, parity and stop bits of the port (now 19200 8N1)" in finding


def test_a_saved_file_is_read_by_tshark(
    start_host: StartHost, start_relay: StartRelay, meter: Meter, watch: Watch, poll: Poll, tmp_path: Path
) -> None:
    if shutil.which("tshark") is None:
        pytest.skip("tshark is not installed")
    relay, _ = chain(start_host, start_relay, meter, 9600)
    file = tmp_path / "saved.pcapng"
    monitor = watch(relay, "--save", str(file))
    poll(relay, 2)
    monitor.wait(lambda: len(monitor.blocks("fromDevice")) == 2)
    monitor.send_signal(signal.SIGINT)
    wait_for(lambda: monitor.returncode is not None, "the monitor to end")
    assert monitor.returncode == 0
    fields = (
        "frame.interface_name",
        "rtacser.eventtype",
        "mbrtu.crc16.status",
        "modbus.regval_uint16",
        "frame.comment",
    )
    command = ["tshark", "-r", str(file), "-d", "rtacser.data,mbrtu", "-T", "fields"]
    command += [part for field in fields for part in ("-e", field)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = [line.split("\t") for line in shown.splitlines()]
    assert {row[0] for row in rows} == {NAME}
    assert sum(row[1] in {"1", "0x01"} for row in rows) == 2
    answers = [row for row in rows if row[1] in {"2", "0x02"}]
    assert [row[3] for row in answers] == [",".join(map(str, REGISTERS))] * 2
    assert "opened: an application opened the port" in {row[4] for row in rows}


def test_a_slow_watcher_is_cut_and_the_link_goes_on(
    start_relay: StartRelay, echo_server: int, open_port: Callable[..., Any]
) -> None:
    relay = start_relay({"echo": {"tcpPort": echo_server}})
    relay.wait_for_status("echo", state="connected")
    application = open_port(relay.link("echo"))
    [path] = (Path(relay.environment["XDG_RUNTIME_DIR"]) / "serial-relay").iterdir()
    piece = os.urandom(32 * 1024)
    with socket.socket(socket.AF_UNIX) as sleeper:
        sleeper.settimeout(PATIENCE)
        sleeper.connect(str(path))
        sleeper.sendall(b'{"method": "monitor"}\n')
        lines = sleeper.makefile("rb")
        assert json.loads(lines.readline()) == {"status": 200, "payload": {}}
        for _ in range(200):  # 6.4 MB each way, of which the watcher takes nothing
            application.write(piece)
            assert application.read(len(piece)) == piece
        last = b""
        for line in lines:
            last = line
        assert json.loads(last)["event"] == "cut"
        assert "too slow" in json.loads(last)["text"]
    application.write(b"still here")
    assert application.read(10) == b"still here"
    assert relay.metric("connects_total", port="echo") == 1


def test_a_watcher_that_goes_is_forgotten(start_relay: StartRelay, watch: Watch) -> None:
    relay = start_relay({"away": {"tcpPort": free_port()}})
    relay.wait_for_status("away", state="retrying")
    before = relay.program.descriptors
    for _ in range(3):
        monitor = watch(relay)
        assert any("refused the connection" in text for text in monitor.events("error"))
        monitor.kill()
    wait_for(lambda: relay.program.descriptors <= before, "the connections of the watchers to be closed")


def test_the_monitor_ends_with_the_program_and_says_so(start_relay: StartRelay, watch: Watch) -> None:
    relay = start_relay({"away": {"tcpPort": free_port()}})
    relay.wait_for_status("away", state="retrying")
    monitor = watch(relay)
    relay.stop()
    wait_for(lambda: monitor.returncode is not None, "the monitor to end")
    assert monitor.returncode == 1
    assert "has ended the connection" in monitor.log


def test_status_is_watched_on_a_terminal_until_ctrl_c(
    start_host: StartHost, start_relay: StartRelay, meter: Meter, poll: Poll, tmp_path: Path
) -> None:
    relay, host = chain(start_host, start_relay, meter, 9600)
    poll(relay, 3)
    for end, watched, name in (("serial_relay", relay, NAME), ("serial_host", host, str(meter.path))):
        # script(1) gives the command a terminal of its own and writes what it shows.
        command = " ".join(python_program("-m", end, "status", "--watch"))
        shown = Program(
            [
                "script",
                "--quiet",
                "--flush",
                "--return",
                "--command",
                f"stty cols 160 rows 40; exec {command}",
                "/dev/null",
            ],
            tmp_path / f"watch-{end}.log",
            {**watched.runtime, "TERM": "xterm-256color"},
        )
        with shown:
            shown.wait_for_log(name)
            shown.wait_for_log("9600 8N1")
            shown.wait_for_log("24 B")  # of three requests of eight bytes each
            [child] = children(shown.pid)
            os.kill(child, signal.SIGINT)
            wait_for(lambda shown=shown: shown.returncode is not None, "the command to end")  # type: ignore[misc]
            assert shown.returncode == 0, shown.log


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_port_of_the_host_is_found_by_its_tcp_port(start_host: StartHost, watch: Watch) -> None:
    port = free_port()
    host = start_host("simulate", "echo", str(port), "--listen", "127.0.0.1")
    host.wait_until_listening(port)
    assert watch(host, str(port)).events("state") == ["open"]


def test_an_unknown_port_is_refused(start_relay: StartRelay, start_host: StartHost) -> None:
    port = free_port()
    host = start_host("simulate", "echo", str(port), "--listen", "127.0.0.1")
    host.wait_until_listening(port)
    relay = start_relay({"echo": {"tcpPort": port}})
    relay.wait_for_status("echo", state="connected")
    for end, watched, ports in (("serial_relay", relay, "echo"), ("serial_host", host, "simulated-echo")):
        done = subprocess.run(
            python_program("-m", end, "monitor", "nothing"),
            env={**os.environ, "PYTHONPATH": module_path(), **watched.runtime},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 1
        assert ": there is no port" in done.stderr
        assert "Error" not in done.stderr
        assert f"there are {ports}" in done.stderr


def test_what_passed_lately_is_given_to_the_cloud_in_pieces(
    start_host: StartHost, start_relay: StartRelay, meter: Meter, poll: Poll
) -> None:
    relay, _ = chain(start_host, start_relay, meter, 9600)
    poll(relay, 2)
    [path] = (Path(relay.environment["XDG_RUNTIME_DIR"]) / "serial-relay").iterdir()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE)
        connection.connect(str(path))
        with connection.makefile("rwb") as lines:

            def capture(**payload: object) -> dict[str, Any]:
                lines.write(json.dumps({"method": "capture", "payload": payload}).encode() + b"\n")
                lines.flush()
                answer: dict[str, Any] = json.loads(lines.readline())
                return answer

            answer = capture(port=NAME)
            assert answer["status"] == 200
            records = answer["payload"].pop("records")
            assert answer["payload"] == {"port": NAME, "captureSeconds": 3600, "lost": 0, "next": None}
            assert sum(record.get("direction") == "toDevice" for record in records) >= 2
            assert sum(record.get("direction") == "fromDevice" for record in records) >= 2
            assert {"state", "opened"} <= {record.get("event") for record in records}
            assert capture(port=NAME, next="7-5")["status"] == 400
            relay.configure(
                {
                    NAME: {
                        **json.loads(relay.desired_path.read_text())["serialPorts"][NAME],
                        "captureSeconds": 0,
                    }
                }
            )
            wait_for(lambda: capture(port=NAME)["status"] == 409, "the capture to be switched off")
            assert "set captureSeconds" in capture(port=NAME)["payload"]["error"]
    assert relay.metric("connects_total", port=NAME) == 1
