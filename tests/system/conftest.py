"""What the system tests have in common: programs that end with the test, and no descriptor left open by it."""

from __future__ import annotations

import gc
import itertools
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest
import serial

from tests.system import peers
from tests.system.processes import Program, free_port, wait_for
from tests.system.serial_lines import Device
from tests.system.stack import Host, Relay


def open_descriptors() -> dict[str, str]:
    """The descriptors of this process and what they are open on."""
    result = {}
    for entry in Path("/proc/self/fd").iterdir():
        try:
            result[entry.name] = str(entry.readlink())
        except FileNotFoundError:  # the descriptor of this very listing
            continue
    return result


@pytest.fixture(autouse=True)
def _no_descriptor_left_open() -> Iterator[None]:
    gc.collect()
    before = open_descriptors()
    yield
    gc.collect()
    after = open_descriptors()
    assert after.keys() <= before.keys(), {
        number: target for number, target in after.items() if number not in before
    }


class StartProgram(Protocol):
    def __call__(self, *command: str | Path) -> Program: ...


class StartHost(Protocol):
    def __call__(self, *arguments: str | Path) -> Host: ...


class StartRelay(Protocol):
    def __call__(
        self, ports: Mapping[str, Mapping[str, Any]], within: Sequence[str] = (), **environment: str
    ) -> Relay: ...


class OpenPort(Protocol):
    def __call__(self, path: str | Path, **settings: Any) -> serial.Serial: ...


@pytest.fixture
def running(_no_descriptor_left_open: None) -> Iterator[ExitStack]:
    """What is entered here ends with the test, last come first."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def start_program(running: ExitStack, tmp_path: Path) -> StartProgram:
    """Start a program of others; the test is skipped, with the reason, where it is not installed."""
    numbers = itertools.count()

    def start(*command: str | Path) -> Program:
        name = str(command[0])
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed")
        return running.enter_context(Program(command, tmp_path / f"{next(numbers)}-{Path(name).name}.log"))

    return start


@pytest.fixture
def start_relay(running: ExitStack, tmp_path: Path) -> StartRelay:
    """Start the module with these `serialPorts`."""
    numbers = itertools.count()

    def start(
        ports: Mapping[str, Mapping[str, Any]], within: Sequence[str] = (), **environment: str
    ) -> Relay:
        directory = tmp_path / f"relay{next(numbers)}"
        directory.mkdir()
        relay = Relay(directory, ports, within, **environment)
        running.callback(relay.close)
        relay.start()
        return relay

    return start


@pytest.fixture
def start_host(running: ExitStack, tmp_path: Path) -> StartHost:
    """Start the serial host with these arguments."""
    numbers = itertools.count()

    def start(*arguments: str | Path) -> Host:
        directory = tmp_path / f"host{next(numbers)}"
        directory.mkdir()
        host = Host(directory, *arguments)
        running.callback(host.close)
        return host

    return start


@pytest.fixture
def device(running: ExitStack) -> Device:
    """A serial device, plugged in."""
    return running.enter_context(Device())


@pytest.fixture
def open_port(running: ExitStack) -> OpenPort:
    """Open a serial port as an application does, with pyserial; reads give up after some seconds."""

    def open_(path: str | Path, **settings: Any) -> serial.Serial:
        port = serial.Serial(str(path), **{"timeout": 20, **settings})
        running.callback(port.close)
        return port

    return open_


@pytest.fixture
def echo_server(start_program: StartProgram) -> int:
    """The TCP port of socat, sending back what it is sent, to any number of clients."""
    port = free_port()
    start_program("socat", f"TCP-LISTEN:{port},bind=0.0.0.0,fork,reuseaddr,backlog=128", "PIPE")
    wait_for(lambda: peers.listens(port), "socat to listen")
    return port
