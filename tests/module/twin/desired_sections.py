"""Reads desired sections as the module does."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from serial_relay.config import PortConfig
from serial_relay.status import ConfigFault
from serial_relay.twin.desired import Desired, parse

HOST = "172.18.246.137"
NOTHING: Mapping[str, PortConfig] = MappingProxyType({})


def read(
    document: Mapping[str, Any], last_good: Mapping[str, PortConfig] = NOTHING, default_gid: int = 10
) -> Desired:
    desired = parse(document, last_good=last_good, default_gid=default_gid)
    assert desired is not None
    return desired


def read_ports(entries: object, last_good: Mapping[str, PortConfig] = NOTHING) -> Desired:
    return read({"host": HOST, "serialPorts": entries}, last_good)


def fault_of(entry: object) -> ConfigFault:
    """What is wrong with one entry, named `p`, that stands beside a good one."""
    desired = read_ports({"p": entry, "good": {"tcpPort": 5002}})
    assert desired.ports == {"good": PortConfig(name="good", host=HOST, tcp_port=5002, link="good")}
    assert desired.faults == ()
    assert desired.port_faults.keys() == {"p"}
    return desired.port_faults["p"]
