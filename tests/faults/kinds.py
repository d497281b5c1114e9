"""The kinds of faults. Each happens to a stage, has ended when its function returns, and spoils no more than it says.

The functions wait for conditions where one can be seen, and last for a random time where the length is the point.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from random import Random

from tests.faults import application, hostile_clients, hostile_servers
from tests.faults.lines import Line
from tests.faults.stage import HOSTILE, PROTOCOLS, Stage
from tests.system.processes import PATIENCE, Program, wait_for
from tests.system.stack import Relay


class Spoils(Enum):
    """Where a fault may cost bytes. Everywhere else not a byte may be lost, and no connection."""

    NOTHING = auto()
    BYTES = auto()
    """Those of the victim's line, whose connection must stand."""
    LINE = auto()
    EVERYTHING = auto()


Happen = Callable[[Stage, Line, Random], None]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of fault; `happen` may use the given line as its victim."""

    name: str
    spoils: Spoils
    happen: Happen
    exact: bool = False
    """What is lost on the victim's line is counted to the byte, as nothing dies with a connection or a process."""
    weight: int = 3
    """How often it happens in a soak, compared with the others."""
    needs_network: bool = False
    """It needs the host on a machine of its own."""


# The network.


def _short_cut(stage: Stage, _line: Line, random: Random) -> None:
    assert stage.network is not None
    stage.network.cut()
    time.sleep(random.uniform(0.1, 0.8))
    stage.network.mend()


def _long_cut(stage: Stage, _line: Line, _random: Random) -> None:
    assert stage.network is not None
    stage.network.cut()
    try:
        stage.wait_until_no_line_is_connected()
    finally:
        stage.network.mend()


# The processes.


def _module_away(*, kill: bool) -> Happen:
    def happen(stage: Stage, _line: Line, random: Random) -> None:
        with stage.module_away(kill=kill):
            time.sleep(random.uniform(0, 0.5))

    return happen


def _host_away(*, kill: bool) -> Happen:
    def happen(stage: Stage, _line: Line, random: Random) -> None:
        with stage.host_away(kill=kill):
            time.sleep(random.uniform(0, 1.5))

    return happen


def _module_stopped(stage: Stage, _line: Line, random: Random) -> None:
    with stage.stopped(stage.module.program):
        time.sleep(random.uniform(0.2, 2))


def _host_stopped(stage: Stage, _line: Line, random: Random) -> None:
    with stage.stopped(stage.host.program):
        time.sleep(random.uniform(0.2, 2))


# Devices.


def _unplug(stage: Stage, line: Line) -> None:
    with stage.traffic.lock:
        line.unplug()


def _plug(stage: Stage, line: Line) -> None:
    with stage.traffic.lock:
        line.plug()


def _device_vanishes(stage: Stage, line: Line, random: Random) -> None:
    _unplug(stage, line)
    stage.wait(lambda: stage.host_status(line)["state"] == "absent", "the device to be missed")
    time.sleep(random.uniform(0, 0.5))
    _plug(stage, line)
    stage.wait(lambda: stage.host_status(line)["state"] == "open", "the device to be found again")


def _device_flaps(stage: Stage, line: Line, random: Random) -> None:
    for _ in range(5):
        _unplug(stage, line)
        time.sleep(random.uniform(0, 0.2))
        _plug(stage, line)
        time.sleep(random.uniform(0, 0.2))
    stage.wait(lambda: stage.host_status(line)["state"] == "open", "the device to be found again")


def _device_takes_nothing(stage: Stage, line: Line, random: Random) -> None:
    with stage.traffic.lock:
        line.device.reads = False
        line.application.burst = 2000
    time.sleep(random.uniform(0.5, 2))
    with stage.traffic.lock:
        line.device.reads = True


# Hostile servers.


def _hostile_server(manner: hostile_servers.Manner) -> Happen:
    def happen(stage: Stage, _line: Line, random: Random) -> None:
        for server in stage.servers.values():
            server.change(manner)
        ports = [stage.module.link(HOSTILE.format(protocol)) for protocol in PROTOCOLS]
        with _application("never_reading", ports[0]), _application("writing", ports[1]):
            stage.wait(
                lambda: all(server.accepted for server in stage.servers.values()), "the module to connect"
            )
            time.sleep(random.uniform(0.5, 2))
        for server in stage.servers.values():
            server.change(hostile_servers.wait_for_the_end)

    return happen


# Hostile clients.


def _turned_away(attack: Callable[[hostile_clients.Address, str | None], None]) -> Happen:
    """Return a fault by a client with an address of its own, at a port that has a client."""

    def happen(stage: Stage, line: Line, _random: Random) -> None:
        with suppress(ConnectionError):
            attack((stage.address, stage.tcp_ports[line.name]), stage.others_address)

    return happen


def _served(attack: Callable[[hostile_clients.Address, str | None], None]) -> Happen:
    """Return a fault by the only client of a port."""

    def happen(stage: Stage, _line: Line, _random: Random) -> None:
        attack((stage.address, stage.tcp_ports["spare"]), None)

    return happen


def _probes(stage: Stage, line: Line, random: Random) -> None:
    for _ in range(3):
        hostile_clients.probe((stage.address, stage.tcp_ports[line.name]), None)
        time.sleep(random.uniform(0.5, 1))


def _second_relay(stage: Stage, line: Line, random: Random) -> None:
    """Let another module want the port: with RFC 2217, the two replace each other now and then."""
    # A directory of its own each time: a last good configuration would begin with another line.
    with tempfile.TemporaryDirectory(dir=stage.directory, prefix="second-relay-") as directory:
        second = Relay(Path(directory), {line.name: stage.module_ports[line.name]})
        try:
            second.start()
            second.wait(
                lambda: second.status(line.name).get("lastError"), "the second relay to be turned away"
            )
            time.sleep(random.uniform(0, 2))
        finally:
            second.close()


# Hostile applications.


@contextmanager
def _application(manner: str, port: str) -> Iterator[None]:
    """Run a badly behaved application until it has done its worst, and kill it at the end."""
    command = [sys.executable, "-S", "-E", application.__file__, manner, port]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    assert process.stdout is not None
    try:
        readable, _, _ = select.select([process.stdout], [], [], PATIENCE)
        assert readable, f"{manner} did not begin"
        assert process.stdout.readline() == b"ready\n", f"{manner} failed"
        yield
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _hostile_application(manner: str) -> Happen:
    """Return a fault by an application that uses the port between two uses by the line's own, and is killed."""

    def happen(stage: Stage, line: Line, random: Random) -> None:
        with stage.traffic.lock:
            line.application.wanted = False
            line.application.close()
        try:
            with _application(manner, stage.module.link(line.name)):
                time.sleep(random.uniform(0, 0.3))
            _open_without_rights(stage.module.link(line.name))
        finally:
            with stage.traffic.lock:
                line.application.wanted = True

    return happen


def _open_without_rights(path: str) -> None:
    """Open a port as a container does, which may not break somebody's exclusive use.

    A moment may pass until the relay has put another pty pair into the place of the one that is still locked.
    """
    open_and_close = f"import os; os.close(os.open({path!r}, os.O_RDWR | os.O_NOCTTY))"
    within = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"] if os.geteuid() == 0 else []
    command = [*within, sys.executable, "-S", "-E", "-c", open_and_close]

    def opened() -> bool:
        return subprocess.run(command, check=False, capture_output=True).returncode == 0

    wait_for(opened, "the port to be opened again")


def _application_reads_nothing(stage: Stage, line: Line, random: Random) -> None:
    with stage.traffic.lock:
        line.application.reads = False
        line.device.burst = 2000
    time.sleep(random.uniform(0.5, 2))
    with stage.traffic.lock:
        line.application.reads = True


# Limits.


@contextmanager
def _limit(stage: Stage, program: Program, which: str, value: int) -> Iterator[None]:
    """Set a soft limit of a running program, `which` being an option of prlimit(1)."""
    user = stage.modules_user if program is stage.module.program else ()

    def prlimit(*arguments: str) -> str:
        command = [*user, "prlimit", "--pid", str(program.pid), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    before = prlimit("--raw", "--noheadings", "--output", "SOFT", f"--{which}")
    prlimit(f"--{which}={value}:")
    try:
        yield
    finally:
        prlimit(f"--{which}={before}:")


def _without_descriptors(*, module: bool) -> Happen:
    def happen(stage: Stage, line: Line, random: Random) -> None:
        program = stage.module.program if module else stage.host.program
        _unplug(stage, line)
        stage.wait(lambda: stage.host_status(line)["state"] == "absent", "the device to be missed")
        with _limit(stage, program, "nofile", 5):
            _plug(stage, line)
            time.sleep(random.uniform(0.5, 2))

    return happen


def _without_threads(stage: Stage, line: Line, random: Random) -> None:
    with _limit(stage, stage.module.program, "nproc", 0):
        _unplug(stage, line)
        stage.wait(lambda: stage.host_status(line)["state"] == "absent", "the device to be missed")
        _plug(stage, line)
        time.sleep(random.uniform(0.5, 2))


def _without_disk(stage: Stage, _line: Line, random: Random) -> None:
    with (
        _limit(stage, stage.module.program, "fsize", 0),
        _limit(stage, stage.host.program, "fsize", 0),
    ):
        stage.configure_module(reportIntervalSeconds=random.randrange(10, 5000))
        hostile_clients.probe((stage.address, stage.tcp_ports["spare"]), None)
        time.sleep(random.uniform(0.5, 2))


@contextmanager
def _full_disk(directory: Path) -> Iterator[None]:
    """Put a file system in the place of a directory on which there is no space (ENOSPC)."""
    directory.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k,mode=777", "full", directory], check=True)
    try:
        with suppress(OSError), (directory / "filler").open("wb", buffering=0) as filler:
            while True:
                filler.write(bytes(512))
        yield
    finally:
        subprocess.run(["umount", "--lazy", directory], check=True)


def _disk_full(stage: Stage, _line: Line, random: Random) -> None:
    with _full_disk(stage.module.directory / "state"):
        for _ in range(3):
            stage.configure_module(reportIntervalSeconds=random.randrange(10, 5000))
            time.sleep(random.uniform(0.2, 0.7))
    stage.configure_module()


def _twin_changes(stage: Stage, line: Line, random: Random) -> None:
    """Change the desired properties again and again, sensibly and not; what is asked of the lines stays what it was."""
    taken = stage.module.links / "taken"
    taken.write_text("somebody's file")
    ports = stage.module_ports
    hostile = HOSTILE.format("raw")
    documents: list[object] = [
        {"serialPorts": ports | {"a thief": ports[line.name] | {"link": line.name}}},
        {"serialPorts": ports | {"AA": ports[line.name] | {"link": line.name}}},
        {"serialPorts": ports | {"AB": ports[line.name]}},
        {"serialPorts": ports | {line.name: ports[line.name] | {"link": "taken"}}},
        {"serialPorts": ports | {line.name: {"tcpPort": 70_000}}},
        {"serialPorts": ports | {line.name: "nonsense"}},
        {"serialPorts": ports | {hostile: ports[hostile] | {"enabled": False}}},
        {"serialPorts": {name: port for name, port in ports.items() if name != hostile}},
        {"serialPorts": ports | {f"more{number}": {"tcpPort": 1 + number} for number in range(40)}},
        {"serialPorts": {"serialPorts": ports}},
        {"SerialPorts": ports},
        {"serialPorts": ports | {"\ud800": {}, "x" * 500: {}, line.name: ports[line.name] | {"bauds": 1}}},
        [],
        "nonsense",
    ]
    random.shuffle(documents)
    for document in documents:
        written = {"host": "127.0.0.1"} | document if isinstance(document, dict) else document
        stage.module.desired_path.write_text(json.dumps(written))
        time.sleep(random.uniform(0, 0.4))
    taken.unlink()
    stage.configure_module()
    stage.wait(lambda: stage.ports_without_fault == set(ports), "the module to act on the last document")


def _log_reader_stalls(stage: Stage, _line: Line, random: Random) -> None:
    """Take nothing of both logs while both have much to say."""
    with stage.module_log.stalled(), stage.host_log.stalled():
        for server in stage.servers.values():
            server.change(hostile_servers.accept_and_close)
        for _ in range(20):
            with suppress(ConnectionError):
                hostile_clients.probe((stage.address, stage.tcp_ports["spare"]), None)
        time.sleep(random.uniform(1, 3))
    for server in stage.servers.values():
        server.change(hostile_servers.wait_for_the_end)


INEXACT = (application.exclusive, application.a_terminals_settings)
"""A locked port keeps the relay out too, so that nobody can count what was left unread, and a terminal eats bytes."""

KINDS = (
    Kind("short cut without FIN", Spoils.NOTHING, _short_cut, needs_network=True),
    Kind("long cut without FIN", Spoils.EVERYTHING, _long_cut, needs_network=True, weight=1),
    Kind("module killed", Spoils.EVERYTHING, _module_away(kill=True), weight=1),
    Kind("module ended and started", Spoils.EVERYTHING, _module_away(kill=False), weight=1),
    Kind("host killed", Spoils.EVERYTHING, _host_away(kill=True), weight=1),
    Kind("host ended and started", Spoils.EVERYTHING, _host_away(kill=False), weight=1),
    Kind("module stopped", Spoils.NOTHING, _module_stopped),
    Kind("host stopped", Spoils.NOTHING, _host_stopped),
    Kind("device vanishes", Spoils.LINE, _device_vanishes),
    Kind("device flaps", Spoils.LINE, _device_flaps),
    Kind("device takes nothing", Spoils.NOTHING, _device_takes_nothing),
    *(
        Kind(f"server: {name.replace('_', ' ')}", Spoils.NOTHING, _hostile_server(manner), weight=1)
        for name, manner in hostile_servers.MANNERS.items()
    ),
    Kind(
        "turned away client: flood of requests",
        Spoils.NOTHING,
        _turned_away(hostile_clients.flood_of_requests),
    ),
    Kind("turned away client: flapping", Spoils.NOTHING, _turned_away(hostile_clients.flapping)),
    Kind("turned away client: garbage", Spoils.NOTHING, _turned_away(hostile_clients.telnet_garbage)),
    Kind("second relay at the same port", Spoils.LINE, _second_relay, weight=1),
    Kind("turned away client: probe", Spoils.NOTHING, _turned_away(hostile_clients.probe)),
    Kind("probes from the module's address", Spoils.NOTHING, _probes),
    *(
        Kind(f"client: {attack.__name__.replace('_', ' ')}", Spoils.NOTHING, _served(attack), weight=1)
        for attack in (
            hostile_clients.flood_of_requests,
            hostile_clients.flapping,
            hostile_clients.ask_for_ever,
            hostile_clients.control_storm,
            hostile_clients.telnet_garbage,
        )
    ),
    *(
        Kind(
            f"application: {manner.__name__.replace('_', ' ')}",
            Spoils.BYTES,
            _hostile_application(manner.__name__),
            exact=manner not in INEXACT,
        )
        for manner in application.MANNERS
    ),
    Kind("application reads nothing", Spoils.NOTHING, _application_reads_nothing),
    Kind("module without descriptors", Spoils.LINE, _without_descriptors(module=True)),
    Kind("host without descriptors", Spoils.LINE, _without_descriptors(module=False)),
    Kind("module without threads", Spoils.LINE, _without_threads),
    Kind("both without disk", Spoils.NOTHING, _without_disk),
    *([Kind("disk of the module full", Spoils.NOTHING, _disk_full)] if os.geteuid() == 0 else []),
    Kind("twin changes", Spoils.NOTHING, _twin_changes),
    Kind("readers of both logs stall", Spoils.NOTHING, _log_reader_stalls),
)
