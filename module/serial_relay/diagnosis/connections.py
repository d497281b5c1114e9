"""The TCP connections that this machine has already: a probe makes no second one to a serial server."""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

_ESTABLISHED = "01"  # include/net/tcp_states.h


def established_to(addresses: Iterable[tuple[str, int]]) -> Iterator[str]:
    """Return the local addresses of the TCP connections of this machine to one of the addresses (IP address, port)."""
    wanted = {(_plain(host), port) for host, port in addresses}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            _number, local, remote, state, *_ = line.split()
            if state == _ESTABLISHED and _address(remote) in wanted:
                host, port = _address(local)
                yield f"{host}:{port}"


def _address(text: str) -> tuple[str, int]:
    """Read `0100007F:1F90`: 32-bit words in the machine's byte order (Documentation/networking/proc_net_tcp.rst)."""
    words, port = text.split(":")
    octets = b"".join(
        int(words[place : place + 8], 16).to_bytes(4, sys.byteorder) for place in range(0, len(words), 8)
    )
    return _plain(str(ipaddress.ip_address(octets))), int(port, 16)


def _plain(host: str) -> str:
    """Return the one spelling of an IP address, without a scope; an IPv4 address that is written as IPv6 as IPv4."""
    address = ipaddress.ip_address(host.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)
