"""Decides which entry gets a link or a TCP port of a server, when several entries want the same one. Pure.

A link name and an endpoint (host and TCP port) belong to one enabled port. The port that runs with it keeps it, so that
a new entry never stops a running port; among entries of which none runs with it, the first by name has it. An entry
that does not get what it wants leaves its port with its last good configuration.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping

from serial_relay.config import PortConfig
from serial_relay.status import ConfigFault

_Claim = tuple[str, ...]
"""`("link", name)` or `("tcpPort", host, port)`."""


def settle(
    valid: Mapping[str, PortConfig], faults: dict[str, ConfigFault], last_good: Mapping[str, PortConfig]
) -> dict[str, PortConfig]:
    """Return the configurations that can stand side by side, by name.

    `faults` has the entries that cannot be used; those that do not get what they want are added to it.
    """
    chosen = dict(valid)
    for name in faults.keys() & last_good.keys():
        chosen[name] = last_good[name]
    while conflict := _first_conflict(chosen, last_good):
        claim, owner, other = conflict
        if other in valid and chosen[other] is valid[other]:
            faults.setdefault(other, _fault(valid[other], claim, owner))
            if other in last_good and last_good[other] != chosen[other]:
                chosen[other] = last_good[other]
                continue
        del chosen[other]
    return {name: chosen[name] for name in sorted(chosen)}


def _first_conflict(
    chosen: Mapping[str, PortConfig], last_good: Mapping[str, PortConfig]
) -> tuple[_Claim, str, str] | None:
    """Return a claim that two configurations make: the claim, its owner, and the one that has to do without it."""
    owners: dict[_Claim, str] = {}
    for name in sorted(chosen):
        for claim in _claims(chosen[name]):
            owner = owners.setdefault(claim, name)
            if owner == name:
                continue
            if _holds(name, claim, last_good) and not _holds(owner, claim, last_good):
                return claim, name, owner
            return claim, owner, name
    return None


def _holds(name: str, claim: _Claim, last_good: Mapping[str, PortConfig]) -> bool:
    return name in last_good and claim in _claims(last_good[name])


def _claims(port: PortConfig) -> Iterator[_Claim]:
    if port.enabled:
        yield "link", port.link
        yield "tcpPort", _spelling(port.host), str(port.tcp_port)


def _spelling(host: str) -> str:
    """Return one spelling for all spellings of a host; two names of one computer stay two hosts."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return host.lower().removesuffix(".")


def _fault(port: PortConfig, claim: _Claim, owner: str) -> ConfigFault:
    path = f"serialPorts.{port.name}.{claim[0]}"
    if claim[0] == "link":
        return ConfigFault(path, f"a link of its own; serialPorts.{owner} has /dev/{port.link} already")
    return ConfigFault(
        path,
        f"a TCP port that no other entry uses; serialPorts.{owner} is relayed to {port.host}:{port.tcp_port} already",
    )
