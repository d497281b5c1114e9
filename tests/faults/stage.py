"""Both programs of the project with several lines between them, and what they say of themselves.

The host is on a machine of its own where there is one to be had (root; see `far_host`). The module runs as a user
without rights but those of the README's service, if this process may start it so.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.faults.hostile_servers import HostileServer
from tests.faults.lines import Line, Traffic
from tests.faults.log_pipe import LogPipe
from tests.system.far_host import FarHost
from tests.system.processes import PATIENCE, Program, free_port, wait_for
from tests.system.stack import Host, Relay

PROTOCOLS = ("raw", "rfc2217")

USER = 40_000 + os.getpid() % 20_000
"""Whom the module runs as: nobody else is this user, so its threads can be limited."""

_AS_USER = "setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"

HOSTILE = "hostile-{}"
"""Names of the module's ports whose server is hostile, one for each protocol."""


def as_user(rights: str) -> list[str]:
    """Return what runs a command as the module's user with these capabilities; nothing if this process may not do that.

    The program dies with the thread that started it, which a change of the user alone would end (prctl(2),
    PR_SET_PDEATHSIG).
    """
    if os.geteuid() != 0:
        return []
    return [*_AS_USER, f"--inh-caps={rights}", f"--ambient-caps={rights}", "--pdeathsig", "KILL"]


@dataclass(frozen=True, slots=True)
class Account:
    """The state of one way of a line, in bytes since the stage was set."""

    sent: int
    delivered: int
    counted: int
    """Reported as discarded, by the module or the host."""

    def __sub__(self, before: Account) -> Account:
        return Account(
            self.sent - before.sent, self.delivered - before.delivered, self.counted - before.counted
        )

    @property
    def lost(self) -> int:
        """Sent and not delivered."""
        return self.sent - self.delivered


@dataclass(frozen=True, slots=True)
class Accounts:
    """The state of one line, while nothing is under way."""

    to_device: Account
    from_device: Account
    connects: int
    """Connections that the module made, since its start."""

    @property
    def ways(self) -> dict[str, Account]:
        """Both ways by their names."""
        return {"to the device": self.to_device, "from the device": self.from_device}


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a process has of its computer."""

    pid: int
    memory: int
    """Bytes that were resident when it was most."""
    descriptors: int
    threads: int
    processor_seconds: float
    """That it used since its start."""

    @classmethod
    def of(cls, program: Program) -> Footprint:
        """Look at a program."""
        fields = dict(
            line.split(":", 1) for line in Path(f"/proc/{program.pid}/status").read_text().splitlines()
        )
        memory = int(fields["VmHWM"].split()[0]) * 1024
        usage = Path(f"/proc/{program.pid}/stat").read_text().rpartition(")")[2].split()
        seconds = (int(usage[11]) + int(usage[12])) / os.sysconf("SC_CLK_TCK")  # utime and stime, proc(5)
        return cls(program.pid, memory, program.descriptors, int(fields["Threads"]), seconds)


class Stage:
    """Lines `raw0`, `rfc2217-0`, `raw1` ... in turn, through one module and one host, with records on all of them."""

    def __init__(self, lines: int) -> None:
        self._running = ExitStack()
        self.directory = directory = Path(
            self._running.enter_context(tempfile.TemporaryDirectory(prefix="faults-"))
        )
        directory.chmod(0o755)  # the module's user may enter it
        self.network = self._far_host()
        self.address = "127.0.0.1" if self.network is None else self.network.address
        self.others_address = "127.0.0.2" if self.network is None else self.network.others_address
        """From which a client comes to the host that is not the module."""
        self.modules_user: Sequence[str] = ()
        """What runs a command as the module's user."""
        if os.geteuid() == 0:
            self.modules_user = _AS_USER
        self.lines = [
            Line(f"{protocol}-{number}", protocol, directory, (ord("A") + number, ord("a") + number))
            for number in range(lines)
            for protocol in [PROTOCOLS[number % 2]]
        ]
        self.tcp_ports = {line.name: free_port() for line in self.lines}
        self.spare_device = Line("spare", "rfc2217", directory, (ord("Y"), ord("y")))
        """A port of the host that the module does not use."""
        self.tcp_ports["spare"] = free_port()
        self.servers = {protocol: HostileServer() for protocol in PROTOCOLS}
        self.traffic = Traffic(self.lines)
        self._counted_before: dict[str, tuple[int, int]] = {}
        self.host: Host
        self.module: Relay

    def __enter__(self) -> Self:
        with self._running:
            for server in self.servers.values():
                self._running.enter_context(server)
            for line in [*self.lines, self.spare_device]:
                self._running.callback(line.close)
            self._start_programs()
            self._running.enter_context(self.traffic)
            self.wait_until_connected()
            self._kept = self._running.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._kept.close()

    def _far_host(self) -> FarHost | None:
        try:
            host = FarHost()
        except (OSError, subprocess.CalledProcessError):
            return None
        self._running.callback(host.remove)
        return host

    def _start_programs(self) -> None:
        configuration = self.directory / "host.toml"
        configuration.write_text(
            "\n".join(
                f'[[ports]]\ndevice = "{line.path}"\ntcp_port = {self.tcp_ports[line.name]}\n'
                f'protocol = "{line.protocol}"\nlisten = "{self.address}"'
                for line in [*self.lines, self.spare_device]
            )
        )
        far = [] if self.network is None else self.network.inside.split()
        self.host_log = self._log_pipe("host.pipe", self.directory / "host.log")
        within = [*self.host_log.within, *far]
        self.host = Host(self.directory, "run", "--config", configuration, within=within)
        self._running.callback(self.host.close)
        self.host.program.wait_for_log("listening on")
        directory = self.directory / "relay"
        (directory / "dev").mkdir(parents=True)
        if self.modules_user:
            for path in (directory, directory / "dev"):
                os.chown(path, USER, USER)
        self.module_log = self._log_pipe("module.pipe", directory / "relay.log")
        self.module = Relay(directory, {}, [*self.module_log.within, *as_user("+chown,+fowner")])
        self._running.callback(self.module.close)
        self.configure_module()
        self._start_module()

    def _log_pipe(self, name: str, log: Path) -> LogPipe:
        pipe = LogPipe(self.directory / name, log)
        self._running.callback(pipe.close)
        return pipe

    def _start_module(self) -> None:
        self.module.start()
        self.module.wait(
            lambda: self.module.reported.get("portsTotal") == len(self.module_ports), "the module to start"
        )

    @property
    def module_ports(self) -> dict[str, dict[str, Any]]:
        """The module's desired `serialPorts`."""
        ours: dict[str, dict[str, Any]] = {
            line.name: {
                "tcpPort": self.tcp_ports[line.name],
                "protocol": line.protocol,
                "host": self.address,
            }
            for line in self.lines
        }
        hostile = {
            HOSTILE.format(protocol): {"tcpPort": server.port, "protocol": protocol}
            for protocol, server in self.servers.items()
        }
        return ours | hostile

    def configure_module(self, **top_level: Any) -> None:
        """Write the module's desired properties."""
        self.module.configure(self.module_ports, **top_level)

    # What a fault may wait for.

    @property
    def connected(self) -> set[str]:
        """The names of the lines that the module relays now; its reported properties may be older."""
        return {
            sample.labels["port"]
            for sample in self.module.samples()
            if sample.name == "serial_relay_port_connected" and sample.value
        }

    @property
    def ports_without_fault(self) -> set[str]:
        """The names of the module's ports whose desired properties are used now."""
        return {
            sample.labels["port"]
            for sample in self.module.samples()
            if sample.name == "serial_relay_port_config_error" and not sample.value
        }

    def wait_until_connected(self, timeout: float = 2 * PATIENCE) -> None:
        """Wait until the module relays every line."""
        names = {line.name for line in self.lines}
        self.module.wait(lambda: self._seldom() and names <= self.connected, "every line", timeout)

    def _seldom(self) -> bool:
        """Wait a moment, so that looking does not disturb what is looked at."""
        time.sleep(0.05)
        return True

    def wait_until_no_line_is_connected(self) -> None:
        """Wait until the module has noticed that all connections are dead."""
        names = {line.name for line in self.lines}
        self.module.wait(lambda: self._seldom() and not names & self.connected, "the loss of all connections")

    def wait(self, condition: Callable[[], object], what: str) -> None:
        """Wait as long as a fault may take."""
        wait_for(condition, what, PATIENCE)

    def host_status(self, line: Line) -> dict[str, Any]:
        """Return what the host says of a port."""
        return self.host.status[str(line.path)]

    # The processes.

    @contextmanager
    def module_away(self, *, kill: bool) -> Iterator[None]:
        """Be without the module, and start it again."""
        self._keep_counted(module=True)
        with self.traffic.lock:
            for line in self.lines:  # a killed module leaves its links, which may lead to anybody's pty then
                line.application.wanted = False
        (self.module.program.kill if kill else self.module.stop)()
        yield
        self._start_module()
        with self.traffic.lock:
            for line in self.lines:
                line.application.wanted = True

    @contextmanager
    def host_away(self, *, kill: bool) -> Iterator[None]:
        """Be without the host, and start it again."""
        self._keep_counted(module=False)
        (self.host.program.kill if kill else self.host.stop)()
        yield
        self.host.start()

    @contextmanager
    def stopped(self, program: Program) -> Iterator[None]:
        """Let a program do nothing."""
        program.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            program.send_signal(signal.SIGCONT)

    # The accounts.

    def settle(self) -> dict[str, Accounts]:
        """Let the lines become empty, and give their accounts. `traffic.flow()` goes on."""
        self.wait_until_connected()
        self.traffic.settle()
        return self._accounts()

    def _counted(self, *, module: bool, host: bool) -> dict[str, tuple[int, int]]:
        """Return what is reported as discarded, to the device and from the device."""
        counted = {line.name: (0, 0) for line in self.lines}
        if module:
            for sample in self.module.samples():
                name = sample.labels.get("port")
                if sample.name == "serial_relay_port_discarded_bytes_total" and name in counted:
                    to_device, from_device = counted[name]
                    if sample.labels["reason"] in TO_DEVICE:
                        to_device += int(sample.value)
                    else:
                        from_device += int(sample.value)
                    counted[name] = to_device, from_device
        if host:
            status = self.host.status
            for line in self.lines:
                port = status[str(line.path)]
                to_device, from_device = counted[line.name]
                counted[line.name] = (
                    to_device + port["discarded_to_device"],
                    from_device + port["discarded_from_device"],
                )
        return counted

    def _keep_counted(self, *, module: bool) -> None:
        for name, (to_device, from_device) in self._counted(module=module, host=not module).items():
            before = self._counted_before.get(name, (0, 0))
            self._counted_before[name] = before[0] + to_device, before[1] + from_device

    def _accounts(self) -> dict[str, Accounts]:
        counted = self._counted(module=True, host=True)
        connects = {
            sample.labels["port"]: int(sample.value)
            for sample in self.module.samples()
            if sample.name == "serial_relay_port_connects_total"
        }
        accounts = {}
        for line in self.lines:
            before = self._counted_before.get(line.name, (0, 0))
            there, back = (now + then for now, then in zip(counted[line.name], before, strict=True))
            accounts[line.name] = Accounts(
                Account(line.application.sender.sent, line.device.receiver.arrived.delivered, there),
                Account(line.device.sender.sent, line.application.receiver.arrived.delivered, back),
                connects[line.name],
            )
        return accounts

    @property
    def logs(self) -> str:
        """What both programs have logged."""
        return f"module:\n{self.module.program.log}\nhost:\n{self.host.program.log}"

    def footprints(self) -> dict[str, Footprint]:
        """Return what each of the two programs has now."""
        return {"module": Footprint.of(self.module.program), "host": Footprint.of(self.host.program)}


TO_DEVICE = ("disconnected", "overrun")
"""The reasons of discarded bytes that came from the application; the others came from the device."""
