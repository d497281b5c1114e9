"""The host in Windows Python, against a peer of pyserial in the same Python; wine plays Windows for both."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.benchmarks import windows_peer
from tests.benchmarks.comparison import in_turns
from tests.benchmarks.contenders import Bench
from tests.benchmarks.measures import Effort, latency_rows
from tests.benchmarks.rows import Section
from tests.system import peers
from tests.system.processes import Program, free_ports, wait_for
from tests.windows.conftest import build
from tests.windows.wine import START_SECONDS, Wine

PEER = "pyserial's redirect"
OURS_AT, PEER_AT = "COM3", "COM4"


def windows_section(bench: Bench, effort: Effort) -> Section:
    """Raw request and response, with plain sockets as clients; without rows where wine or its compiler is not."""
    if not (effort.windows and shutil.which("wine") and shutil.which("x86_64-w64-mingw32-gcc")):
        return Section([])
    wine = Wine()
    bench.running.enter_context(wine.running())
    build(bench.directory)
    [bundle] = bench.directory.glob("*.zip")
    return compare(bench, effort, wine, wine.install(bundle))


def compare(bench: Bench, effort: Effort, wine: Wine, program_folder: Path) -> Section:
    """Measure the host that is installed in a folder, and the peer in the same Python."""
    python = program_folder / "runtime" / "python.exe"
    for com_port in (OURS_AT, PEER_AT):
        wine.plug_in(com_port.lower(), Path(bench.load("device").announced))
        bench.running.callback(wine.unplug, com_port.lower())
    ours, theirs = free_ports(2)
    host = ("-m", "serial_host", "run", OURS_AT, str(ours), "--listen", "127.0.0.1")
    peer = (wine.windows_path(Path(windows_peer.__file__)), PEER_AT, str(theirs))
    for name, arguments, tcp_port in (("host", host, ours), ("peer", peer, theirs)):
        program = wine.start(bench.directory / f"{name}.log", python, "-I", *arguments)
        bench.running.callback(program.kill)
        _wait_until_listening(program, tcp_port)
    loads = {"ours": bench.application(str(ours)), PEER: bench.application(str(theirs))}
    requests = max(20, effort.requests // 5)
    single = in_turns(loads, effort.rounds, "requests", requests)
    return Section(latency_rows("request and response", single["ours"], PEER, single[PEER], (0.8, None)))


def _wait_until_listening(program: Program, tcp_port: int) -> None:
    def listening() -> bool:
        assert program.returncode is None, f"{program} ended:\n{program.log}"
        return peers.listens(tcp_port)

    wait_for(listening, f"{program} to listen", START_SECONDS)
