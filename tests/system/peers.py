"""The programs of others that the tests talk to: socat and ser2net, as an administrator would start them.

For: command lines and configurations. Not for: starting them; `processes.Program` does that.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

ESTABLISHED, LISTEN = "01", "0A"
"""States of a socket in /proc/net/tcp (include/net/tcp_states.h)."""


def sockets(state: str) -> Iterator[tuple[int, int, int]]:
    """Local port, remote port and bytes in the queues of each IPv4 socket of this machine in that state."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, its_state, queues, *_ = line.split()
        if its_state == state:
            send, receive = queues.split(":")
            local_port, remote_port = (int(address.split(":")[1], 16) for address in (local, remote))
            yield local_port, remote_port, int(send, 16) + int(receive, 16)


def listens(port: int) -> bool:
    """Return whether a program of this machine listens on the port, without disturbing it by a connection."""
    return any(local == port for local, _, _ in sockets(LISTEN))


def bytes_under_way(port: int) -> int:
    """Bytes that one end of a connection with this port has sent and the other's program has not read yet."""
    return sum(size for local, remote, size in sockets(ESTABLISHED) if port in (local, remote))


def socat_virtual_port(link: Path, port: int, options: str = "") -> list[str]:
    """What the sample's `socat-daemon.service` runs in the VM (its user and group left out)."""
    return ["socat", f"pty,link={link},raw,mode=660", f"tcp:127.0.0.1:{port}{options}"]


def ser2net(configuration: Path, port: int, device: Path, *, tuned: bool = True) -> list[str]:
    """Serve a device, tuned: as fast as ser2net can, without Nagle's algorithm and without collecting characters.

    The configuration is written to the given path.
    """
    accepter, options = ("tcp(nodelay=true)", "chardelay: false, ") if tuned else ("tcp", "")
    configuration.write_text(
        f"""connection: &port
  accepter: {accepter},127.0.0.1,{port}
  connector: serialdev,{device},9600n81,local
  options: {{{options}kickolduser: true}}
"""
    )
    return ["ser2net", "-d", "-u", "-c", str(configuration)]
