"""What is measured: our programs and the peers they replace, each with its own load, all up at the same time.

A contender that is not being measured is idle, so that it does not disturb the one that is.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from tests.system import peers
from tests.system.processes import ROOT, Program, free_port, python_program, wait_for
from tests.system.stack import Host, Relay

ANSWER_TIMEOUT = 120.0
"""Seconds until a command is given up."""


class Load:
    """A process of `tests.benchmarks.load`."""

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [
                *("setpriv", "--pdeathsig", "KILL", "--"),
                *(sys.executable, "-m", "tests.benchmarks.load", *arguments),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self.announced = self._stdout.readline().decode().strip()
        """The first line it prints: where it can be reached."""
        assert self.announced, f"the load {arguments} ended at its start"

    def command(self, name: str, *numbers: int) -> array[int]:
        """Run one command in an application and return its measurements in nanoseconds.

        Raises:
            AssertionError: it got no answer through the way that it measures.
        """
        self._stdin.write(f"{name} {' '.join(map(str, numbers))}\n".encode())
        self._stdin.flush()
        answered, _, _ = select.select([self._stdout], [], [], ANSWER_TIMEOUT)
        assert answered, f"{name} was not done within {ANSWER_TIMEOUT:g} s"
        size = int.from_bytes(self._stdout.read(8), "little")
        assert size, f"the load ended during {name}"
        times = array("q")
        times.frombytes(self._stdout.read(size))
        return times

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._stdin.close()
        self._stdout.close()


class Bench:
    """Everything that runs for the benchmarks; ends with them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.running = ExitStack()
        """What ends with the benchmarks."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.running.close()

    @contextmanager
    def on_one_core(self) -> Iterator[None]:
        """Keep all that runs on one core.

        For two ways of our own that differ by little: on which cores the kernel places the processes of each makes up to
        twice the difference, and differs from one start of them to the next.
        """
        cores = os.sched_getaffinity(0)
        self._place({max(cores)})
        try:
            yield
        finally:
            self._place(cores)

    def _place(self, cores: set[int]) -> None:
        for process in psutil.Process().children(recursive=True):
            for thread in process.threads():
                with suppress(ProcessLookupError):  # it has ended
                    os.sched_setaffinity(thread.id, cores)

    def load(self, *arguments: str) -> Load:
        load = Load(*arguments)
        self.running.callback(load.close)
        return load

    def application(self, path: str) -> Load:
        """An application on a virtual port that already got answers to its requests."""
        application = self.load("application", path)
        application.command("requests", 200)
        return application

    def relay(self, name: str, ports: Mapping[str, Mapping[str, Any]]) -> Relay:
        """Our module with these ports, all connected, or idle when they wait for an application."""
        directory = self.directory / name
        directory.mkdir(exist_ok=True)  # it may hold the state of the module already
        relay = Relay(directory, ports)
        relay.start()
        self.running.callback(relay.close)
        for port, entry in ports.items():
            relay.wait_for_status(port, state="idle" if entry.get("connect") == "onOpen" else "connected")
        return relay

    def socat(self, name: str, tcp_port: int, options: str = "") -> tuple[Program, str]:
        """Run socat on a new pty towards `tcp_port`; give it and the pty's path."""
        link = self.directory / name
        program = self._program(f"{name}-socat", *peers.socat_virtual_port(link, tcp_port, options))
        wait_for(link.exists, f"socat's link {link}")
        return program, str(link)

    def host(self, name: str, device: str, *options: str) -> int:
        """Serve `device` with our host and give its TCP port."""
        port = free_port()
        self._host(name, [port], device, str(port), *options)
        return port

    def host_of_many(self, name: str, configuration: Path, ports: Sequence[int]) -> Host:
        """Serve what a configuration file names, on these TCP ports."""
        return self._host(name, ports, "--config", str(configuration))

    def _host(self, name: str, ports: Sequence[int], *arguments: str) -> Host:
        directory = self.directory / name
        directory.mkdir()
        host = Host(directory, "run", *arguments)
        self.running.callback(host.close)
        for port in ports:
            host.wait_until_listening(port)
        return host

    def ser2net(self, name: str, device: str, *, tuned: bool = True) -> int:
        """Serve `device` with ser2net, tuned: Nagle and batching off; give its TCP port."""
        port = free_port()
        configuration = self.directory / f"{name}.yaml"
        program = self._program(name, *peers.ser2net(configuration, port, Path(device), tuned=tuned))
        wait_for(lambda: peers.listens(port), f"{program} to listen on {port}")
        return port

    def command(self, name: str, relay: Relay, *arguments: str) -> Program:
        """Run a local command of a module until the end of the benchmarks."""
        command = python_program("-m", "serial_relay", *arguments)
        return self.running.enter_context(Program(command, self.directory / f"{name}.log", relay.runtime))

    def _program(self, name: str, *command: str) -> Program:
        return self.running.enter_context(Program(command, self.directory / f"{name}.log"))
