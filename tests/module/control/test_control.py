"""The commands of a machine against a running module: what they show, what they set, and whom the channel lets in."""

from __future__ import annotations

import json
import signal
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from serial_relay import __version__
from serial_relay.twin.methods import METHOD_NAMES
from tests.system.processes import PATIENCE, free_port, wait_for
from tests.system.stack import Host, Relay


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    """A module with a port whose server is there, one whose server is away, and one that is faulty."""
    port, away = free_port(), free_port()
    directory = tmp_path_factory.mktemp("relay")
    arguments = ("simulate", "echo", str(port), "--listen", "127.0.0.1", "--protocol", "rfc2217")
    host = Host(directory, *arguments)
    ports: dict[str, dict[str, object]] = {
        "scale": {"tcpPort": port, "protocol": "rfc2217", "line": {"baudRate": 19200}},
        "away": {"tcpPort": away},
        "wrong": {"tcpPort": 70000},
    }
    relay = Relay(directory, ports, ALLOWED_METHODS="")
    try:
        host.wait_until_listening(port)
        relay.start()
        relay.wait_for_status("scale", state="connected")
        relay.wait_for_status("away", state="retrying")
        yield relay
    finally:
        relay.close()
        host.close()


@pytest.fixture
def lone(tmp_path: Path) -> Iterator[Relay]:
    """A module without ports, to be ended."""
    relay = Relay(tmp_path, {})
    try:
        relay.start()
        relay.wait(lambda: relay.reported, "the reported properties")
        yield relay
    finally:
        relay.close()


def socket_of(relay: Relay) -> Path:
    [path] = (Path(relay.environment["XDG_RUNTIME_DIR"]) / "serial-relay").iterdir()
    return path


def answers(relay: Relay, request: bytes) -> list[object]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE)
        connection.connect(str(socket_of(relay)))
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        with connection.makefile("rb") as lines:
            return [json.loads(line) for line in lines]


def test_status_shows_each_port_and_why_it_is_not_connected(relay: Relay) -> None:
    shown = relay.command("status")
    assert shown.returncode == 0, shown.stderr
    head, columns, *rows = shown.stdout.splitlines()
    assert head.startswith(f"serial_relay {__version__}: degraded, running since ")
    assert columns.split()[:5] == ["PORT", "STATE", "KIND", "HOST", "LINE"]
    by_name = {row.split()[0]: row for row in rows[:3]}
    assert " connected " in by_name["scale"]
    assert " 19200 8N1 " in by_name["scale"]
    assert " retrying " in by_name["away"]
    assert " invalid " in by_name["wrong"]
    findings = "\n".join(rows[3:])
    assert "wrong: serialPorts.wrong.tcpPort must be a TCP port, 1-65535, not 70000" in findings
    assert "refused the connection" in findings


def test_status_for_programs_is_the_reported_section(relay: Relay) -> None:
    section = json.loads(relay.command("status", "--json").stdout)
    assert section["serialPorts"].keys() == {"scale", "away", "wrong"}
    assert section["serialPorts"]["scale"]["line"]["baudRate"] == 19200
    assert "method getStatus" not in relay.program.log


def test_restart_connects_a_port_anew(relay: Relay) -> None:
    before = relay.metric("connects_total", port="scale")
    done = relay.command("restart", "scale")
    assert (done.returncode, done.stdout) == (0, "scale: the connection is being made again\n")
    relay.wait(lambda: relay.metric("connects_total", port="scale") > before, "another connection")
    relay.wait_for_status("scale", state="connected")


def test_lines_are_shown_and_set_and_a_break_is_sent(relay: Relay) -> None:
    # A loopback plug connects RTS with CTS, and DTR with DSR and CD.
    def shown() -> str:
        return relay.command("lines", "scale").stdout

    wait_for(lambda: "CTS on, DSR on" in shown(), "the lines of the loopback plug")
    done = relay.command("lines", "scale", "--no-rts")
    assert (done.returncode, done.stdout) == (0, "scale: RTS off\n")
    wait_for(lambda: "CTS off, DSR on" in shown(), "CTS without RTS")
    done = relay.command("lines", "scale", "--rts", "--break", "20")
    assert (done.returncode, done.stdout) == (0, "scale: RTS on\nscale: a break of 20 ms was sent\n")
    assert "not known" in relay.command("lines", "away").stdout


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("restart", "nothing"), 'there is no port "nothing"; there are away, scale, wrong'),
        (("restart", "wrong"), "the port wrong is invalid: it does not run"),
        (("lines", "away", "--dtr"), "set `protocol` to `rfc2217` at both ends"),
        (("lines", "scale", "--break", "9999"), "milliseconds must be a number of milliseconds, 1-5000"),
        (("lines", "nothing"), "there is no port nothing; there are away, scale, wrong"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_reason(
    relay: Relay, arguments: tuple[str, ...], reason: str
) -> None:
    done = relay.command(*arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("serial-relay: ")
    assert reason in done.stderr


@pytest.mark.parametrize(
    "request_line",
    [b"\n", b"nonsense\n", b"[]\n", b'"status"\n', b'{"method": 5}\n', b"\xff\xfe\n", b"[" * 60000 + b"\n"],
)
def test_what_is_no_request_is_answered_and_does_no_harm(relay: Relay, request_line: bytes) -> None:
    refusal = {"status": 400, "payload": {"error": 'a request is a line {"method": …, "payload": …}'}}
    assert answers(relay, request_line) == [refusal]
    assert answers(relay, b"x" * 200_000) == []
    assert relay.command("status").returncode == 0


def test_a_connection_may_carry_several_requests(relay: Relay) -> None:
    both = b'{"method": "fly"}\n{"method": "restartPort", "payload": {"port": "scale"}}\n'
    assert answers(relay, both) == [
        {"status": 501, "payload": {"error": ANY_METHOD}},
        {"status": 200, "payload": {"port": "scale"}},
    ]


ANY_METHOD = f'there is no method "fly"; there are {", ".join(sorted(METHOD_NAMES))}'


@pytest.mark.parametrize("port", ["fly", ["scale"], {"scale": 1}, 5])
def test_what_is_no_port_cannot_be_watched(relay: Relay, port: object) -> None:
    request = json.dumps({"method": "monitor", "payload": {"port": port}}).encode() + b"\n"
    match answers(relay, request):
        case [{"status": status, "payload": {"error": str(reason)}}]:
            assert (status, reason.rpartition("; ")[2]) == (404, "there are away, scale, wrong")
        case other:
            pytest.fail(f"no answer for people: {other}")


def test_the_socket_is_for_its_user_alone_and_goes_with_the_process(lone: Relay) -> None:
    path = socket_of(lone)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert lone.stop() == 0
    assert not path.exists()
    done = lone.command("status")
    assert done.returncode == 1
    assert "no serial_relay runs that this user may speak to" in done.stderr


def test_the_socket_of_a_killed_module_is_removed(lone: Relay) -> None:
    path = socket_of(lone)
    lone.program.send_signal(signal.SIGKILL)
    lone.program.wait()
    assert path.exists()
    assert lone.command("status").returncode == 1
    assert not path.exists()


def test_of_several_modules_one_must_be_named(lone: Relay, tmp_path: Path) -> None:
    other = Relay(tmp_path / "other", {})
    shared = lone.environment["XDG_RUNTIME_DIR"]
    other.environment["XDG_RUNTIME_DIR"] = shared
    try:
        other.start()
        other.wait(lambda: other.reported, "the reported properties")
        done = lone.command("status")
        assert done.returncode == 1
        assert "2 serial_relays are running: say which with --pid" in done.stderr
        assert "unconfigured" in lone.command("status", "--pid", str(other.program.pid)).stdout
    finally:
        other.close()
    assert "there is no serial_relay with the process id" in lone.command("status", "--pid", "1").stderr


def test_a_directory_in_which_others_may_write_is_not_used(tmp_path: Path) -> None:
    relay = Relay(tmp_path, {})
    try:
        directory = Path(relay.environment["XDG_RUNTIME_DIR"]) / "serial-relay"
        directory.mkdir()
        directory.chmod(0o777)
        relay.start()
        relay.wait(lambda: relay.reported, "the reported properties")
        assert "will not find this process" in relay.program.log
        assert "in which this user alone may write" in relay.program.log
        assert not list(directory.iterdir())
    finally:
        relay.close()


def test_the_commands_stand_in_the_help(relay: Relay) -> None:
    shown = relay.command("--help").stdout
    for command in ("status", "restart", "lines"):
        assert f"\n    {command} " in shown
