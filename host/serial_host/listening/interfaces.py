"""Which addresses to listen at, and whose clients are neighbours: pure functions over a snapshot of the interfaces.

`snapshot` alone asks the operating system (through psutil).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface
from socket import AF_INET, AF_INET6

import psutil

from serial_host.config import Address, Network


@dataclass(frozen=True, slots=True)
class InterfaceAddress:
    """An address of an interface, and the network that is reached through it."""

    address: Address
    network: Network


Interfaces = Mapping[str, Sequence[InterfaceAddress]]
"""By name, on Windows the alias that `Get-NetAdapter` shows."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to listen, and the networks whose clients are served if no allow list says otherwise."""

    address: Address
    networks: tuple[Network, ...]


class NoSuchInterfaceError(Exception):
    """No interface has this name or address now; the text is for people."""


def snapshot() -> Interfaces:
    """Look up the interfaces that have an IP address now. IPv6 link-local addresses are left out: they need a scope."""
    interfaces: dict[str, list[InterfaceAddress]] = {}
    for name, addresses in psutil.net_if_addrs().items():
        for entry in addresses:
            if entry.family not in (AF_INET, AF_INET6):
                continue
            address = ip_address(entry.address.partition("%")[0])
            if address.version == 6 and address.is_link_local:
                continue
            mask = entry.netmask or (
                ("128" if address.is_loopback else "64") if address.version == 6 else "32"
            )
            network = ip_interface(f"{address}/{_prefix_length(mask)}").network
            interfaces.setdefault(name, []).append(InterfaceAddress(address, network))
    return interfaces


def _prefix_length(mask: str) -> int:
    return int(mask) if mask.isdecimal() else int(ip_address(mask)).bit_count()


def endpoints(
    listen: Sequence[str] | None, interfaces: Interfaces, *, windows: bool = sys.platform == "win32"
) -> tuple[list[Endpoint], list[str]]:
    """Give the endpoints for `listen` (names and addresses; None: the default), and a message for each that is missing.

    The default is loopback, and on Windows the virtual switches of Hyper-V as well.
    """
    found: dict[Address, Endpoint] = {}
    missing: list[str] = []
    if listen is None:
        for name, addresses in interfaces.items():
            switch = windows and name.startswith("vEthernet")
            for entry in addresses:
                if switch or entry.address.is_loopback:
                    found[entry.address] = Endpoint(entry.address, (entry.network,))
        return list(found.values()), missing
    for item in listen:
        try:
            for endpoint in _endpoints_of(item, interfaces):
                found[endpoint.address] = endpoint
        except NoSuchInterfaceError as error:
            missing.append(str(error))
    return list(found.values()), missing


def _endpoints_of(item: str, interfaces: Interfaces) -> list[Endpoint]:
    try:
        address = ip_address(item)
    except ValueError:
        return _endpoints_of_interface(item, interfaces)
    everywhere = [entry for addresses in interfaces.values() for entry in addresses]
    if address.is_unspecified:
        networks = {entry.network: None for entry in everywhere if entry.address.version == address.version}
        return [Endpoint(address, tuple(networks))]
    for entry in everywhere:
        if entry.address == address:
            return [Endpoint(address, (entry.network,))]
    raise NoSuchInterfaceError(f"no interface has the address {item} now")


def _endpoints_of_interface(name: str, interfaces: Interfaces) -> list[Endpoint]:
    for existing, addresses in interfaces.items():
        if existing.casefold() == name.casefold():
            return [Endpoint(entry.address, (entry.network,)) for entry in addresses]
    there_are = ", ".join(repr(existing) for existing in interfaces) or "none"
    raise NoSuchInterfaceError(f"no interface {name!r} has an address now; interfaces with one: {there_are}")
