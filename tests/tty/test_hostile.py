"""Applications that mean harm, or are broken: whatever they do, the server goes on, and so does every other port."""

from __future__ import annotations

import os
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from tests.system.processes import PATIENCE, wait_for
from tests.tty.relay_end import RelayEnd, ServerProcess

pytestmark = pytest.mark.tty

_HOSTILE = """
import ctypes, fcntl, os, random, select, signal, sys
from tty_server.ioctls import INTEGERS, TABLE

node, seed = sys.argv[1], int(sys.argv[2])
dice = random.Random(seed)
libc = ctypes.CDLL(None, use_errno=True)
libc.ioctl.argtypes = ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p
room = ctypes.create_string_buffer(4096)
known = [*TABLE, *INTEGERS]
signal.signal(signal.SIGALRM, lambda *_: None)
signal.siginterrupt(signal.SIGALRM, True)
signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)  # so that calls which wait are interrupted
libc.read.argtypes = libc.write.argtypes = ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t
files = []

def argument():
    return dice.choice([0, 1, 2, 3, dice.getrandbits(8), dice.getrandbits(64), ctypes.addressof(room), 2**47 - 4])

for _ in range(1500):
    room.raw = dice.randbytes(4096)
    what = dice.randrange(12)
    if not files or (what == 0 and len(files) < 20):
        file = libc.open(node.encode(), os.O_RDWR | os.O_NOCTTY | dice.choice([0, os.O_NONBLOCK]))
        files += [file] if file >= 0 else []
        continue
    file = dice.choice(files)
    if what == 1:
        files.remove(file)
        os.close(file)
    elif what == 2:
        libc.read(file, room, dice.randrange(4097))
    elif what == 3:
        libc.write(file, room, dice.randrange(4097))
    elif what == 4:
        poll = select.poll()
        poll.register(file, dice.getrandbits(10))
        poll.poll(dice.randrange(3))
    elif what == 5:
        libc.fcntl(file, fcntl.F_SETFL, dice.choice([0, os.O_NONBLOCK]))
    elif what == 6 and not os.fork():
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, 0.05)  # so that it dies if it must wait
        libc.write(file, room, 4096)
        os._exit(0)
    elif what < 10:
        libc.ioctl(file, dice.choice(known), argument())
    else:
        libc.ioctl(file, dice.getrandbits(32), argument())
print("done", flush=True)
signal.setitimer(signal.ITIMER_REAL, 0)
sys.stdin.read()
"""

_REPEATS = (1, 2)


def exchanges(port: RelayEnd) -> None:
    """Use a port as a well-behaved application does, whatever another one has set."""
    fd = os.open(str(port.node), os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        modes = termios.CS8 | termios.CREAD | termios.CLOCAL | termios.HUPCL
        raw: list[int | list[bytes | int]] = [0, 0, modes, 0, termios.B9600, termios.B9600, [b"\0"] * 32]
        termios.tcsetattr(fd, termios.TCSANOW, raw)
        termios.tcflush(fd, termios.TCIOFLUSH)
        assert os.write(fd, b"still here") == 10
        heard = b""

        def all_heard() -> bool:
            nonlocal heard
            heard += os.read(fd, 100)
            return heard == b"still here"

        wait_for(all_heard, "the echo")
    finally:
        os.close(fd)


def hostile(port: RelayEnd, seed: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _HOSTILE, str(port.node), str(seed)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("ending", ["ends", "is killed"])
def test_whatever_an_application_does_the_server_goes_on(
    server: ServerProcess, serving: RelayEnd, ending: str
) -> None:
    other = server.add_port()
    for seed in _REPEATS:
        application = hostile(serving, seed)
        assert application.stdout is not None
        try:
            if ending == "ends":
                assert application.stdout.readline() == "done\n", f"seed {seed}"
                application.communicate("", PATIENCE)
            else:
                wait_for(lambda: serving.lines, "it to have done something")
        finally:
            application.kill()
            application.communicate()
        wait_for(lambda: not serving.opened, f"the port to be closed after {seed}", 60)
        serving.lines.clear()
        exchanges(serving)
        wait_for(lambda: not serving.opened, "the port to be closed")
    assert server.process.poll() is None
    fd = os.open(str(other.node), os.O_RDWR | os.O_NOCTTY)
    os.write(fd, b"undisturbed")
    other.wait(lambda: other.data == b"undisturbed", "the other port's bytes")
    os.close(fd)
    pending = Path(f"/sys/class/cuse/{serving.node.name if serving.node else ''}/waiting")
    assert int(pending.read_text()) == 0, "a request was never answered"


def test_what_stands_in_the_place_of_a_node_is_cleared_away_if_it_is_stale(server: ServerProcess) -> None:
    Path("/dev/serialrelay40").symlink_to("/dev/null")
    Path("/dev/serialrelay41").write_text("left over")
    for minor in (40, 41):
        port = server.add_port(minor)  # it looks whether the node is the device
        assert port.minor == minor


def test_as_many_ports_as_a_module_has_are_devices(server: ServerProcess) -> None:
    ports = [server.add_port() for _ in range(282)]
    assert len({port.node for port in ports}) == 282
    for port in (ports[0], ports[-1]):
        fd = os.open(str(port.node), os.O_RDWR | os.O_NOCTTY)
        os.write(fd, b"x")
        port.wait(lambda port=port: port.data == b"x", "a byte")  # type: ignore[misc]
        os.close(fd)
