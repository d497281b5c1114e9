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
    external: bool = False
    """Whether the interface belongs to an external virtual switch, and so to the local network of the computer."""


Interfaces = Mapping[str, Sequence[InterfaceAddress]]
"""By name, on Windows the alias that `Get-NetAdapter` shows."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to listen, and the networks whose clients are served if no allow list says otherwise."""

    address: Address
    networks: tuple[Network, ...]
    external: bool = False
    """Whether this is an address of an external virtual switch, so that the local network can connect."""


class NoSuchInterfaceError(Exception):
    """No interface has this name or address now; the text is for people."""


def external_switches(hardware: Mapping[str, str | None]) -> frozenset[str]:
    """Return the `vEthernet` interfaces that seem to be external switches; `hardware` has each interface's MAC address.

    An external switch takes over the MAC address of the network adapter that it shares. The Default Switch and
    internal ones have an address of Hyper-V's own range, which no other interface has. An interface without a known
    address counts as external, because listening there would let the local network in.
    """
    plain = {name: _plain(mac) for name, mac in hardware.items()}
    return frozenset(
        name
        for name, mac in plain.items()
        if name.startswith(_SWITCH)
        and (
            not mac.startswith(_HYPER_V)
            or mac in {other for place, other in plain.items() if not place.startswith(_SWITCH)}
        )
    )


_SWITCH = "vEthernet"
_HYPER_V = "00155d"
"""Microsoft's range for Hyper-V (IEEE OUI 00-15-5D)."""


def _plain(mac: str | None) -> str:
    return (mac or "").replace("-", "").replace(":", "").lower()


def snapshot() -> Interfaces:
    """Look up the interfaces that have an IP address now. IPv6 link-local addresses are left out: they need a scope."""
    interfaces: dict[str, list[InterfaceAddress]] = {}
    everything = psutil.net_if_addrs()
    external = external_switches(
        {
            name: next((entry.address for entry in addresses if entry.family == psutil.AF_LINK), None)
            for name, addresses in everything.items()
        }
    )
    for name, addresses in everything.items():
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
            interfaces.setdefault(name, []).append(
                InterfaceAddress(address, network, external=name in external)
            )
    return interfaces


def _prefix_length(mask: str) -> int:
    return int(mask) if mask.isdecimal() else int(ip_address(mask)).bit_count()


def endpoints(
    listen: Sequence[str] | None, interfaces: Interfaces, *, windows: bool = sys.platform == "win32"
) -> tuple[list[Endpoint], list[str]]:
    """Return the endpoints for `listen` (names and addresses; None: the default), and a message for each that is missing.

    The default is loopback, and on Windows the virtual switches of Hyper-V as well, except external ones: those are the
    local network, where one listens only if `listen` names it.
    """
    found: dict[Address, Endpoint] = {}
    missing: list[str] = []
    if listen is None:
        for name, addresses in interfaces.items():
            switch = windows and name.startswith(_SWITCH)
            if switch and any(entry.external for entry in addresses):
                missing.append(
                    f"not listening on {name!r}, which seems to be an external switch and so the local network; "
                    "name it in listen to listen there, and narrow it by allow"
                )
                continue
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
        return [Endpoint(address, tuple(networks), external=any(entry.external for entry in everywhere))]
    for entry in everywhere:
        if entry.address == address:
            return [Endpoint(address, (entry.network,), external=entry.external)]
    raise NoSuchInterfaceError(f"no interface has the address {item} now")


def _endpoints_of_interface(name: str, interfaces: Interfaces) -> list[Endpoint]:
    for existing, addresses in interfaces.items():
        if existing.casefold() == name.casefold():
            return [Endpoint(entry.address, (entry.network,), external=entry.external) for entry in addresses]
    there_are = ", ".join(repr(existing) for existing in interfaces) or "none"
    raise NoSuchInterfaceError(f"no interface {name!r} has an address now; interfaces with one: {there_are}")
