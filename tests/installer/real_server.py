"""Bundles for the installer's tests that hold the host's real server, and a COM port for it: a pty that sends back what it gets."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import sys
import threading
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

from bundle import contents
from tests.installer.powershell import ROOT

SECONDS = 30.0
"""For which a condition is waited for; on an idle machine all come within a second or two."""

PROGRAM = """\
#!{python} -I
# In the place of Windows' python.exe: runs `-I -m MODULE ...` with the packages of this bundle before all others.
import runpy, sys
from pathlib import Path
sys.path.insert(0, str(Path(__file__).parents[1] / "app"))
assert sys.argv[1:3] == ["-I", "-m"], sys.argv
sys.argv = sys.argv[3:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


def make_bundle(folder: Path, version: str) -> None:
    """Lay out FOLDER as the zip of VERSION is, with a program of this system in the place of Windows' Python."""
    (folder / "packages").mkdir(parents=True)
    (folder / "runtime").mkdir()
    for name, content in contents.own_files(ROOT, version).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    program = folder / "runtime" / "python.exe"
    program.write_text(PROGRAM.format(python=sys.executable))
    program.chmod(0o755)


@contextlib.contextmanager
def echoing_port() -> Iterator[str]:
    """Give the path of a pty at whose other end everything is sent back."""
    master, slave = os.openpty()
    tty.setraw(slave)
    stop_read, stop_write = os.pipe()

    def echo() -> None:
        while stop_read not in (ready := select.select([master, stop_read], [], [])[0]):
            assert ready
            os.write(master, os.read(master, 4096))

    thread = threading.Thread(target=echo)
    thread.start()
    try:
        yield os.ttyname(slave)
    finally:
        os.write(stop_write, b"x")
        thread.join()
        for descriptor in (master, slave, stop_read, stop_write):
            os.close(descriptor)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def answers(port: int) -> bool:
    """Whether a byte sent to this TCP port comes back, through the server and the serial port."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as connection:
            connection.sendall(b"?")
            return connection.recv(1) == b"?"
    except OSError:
        return False


def wait_for(what: str, condition: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, f"not within {SECONDS} s: {what}"
        time.sleep(0.05)


def running(folder: Path) -> dict[int, str]:
    """Process id -> program of each server that was started from below FOLDER and is alive."""
    found = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
            program = next((word.decode() for word in words if word.endswith(b"runtime/python.exe")), "")
            if program.startswith(f"{folder}/") and b"run" in words:
                found[int(entry.name)] = program
    return found


def end_all(folder: Path) -> None:
    """End the servers that a test has left, whatever became of it."""
    for process in running(folder):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    wait_for("the servers have ended", lambda: not running(folder))


def computer(folder: Path) -> dict[str, object]:
    state: dict[str, object] = json.loads((folder / "computer" / "computer.json").read_text())
    return state
