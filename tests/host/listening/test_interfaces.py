"""Which addresses are listened at, whose neighbours are served: from snapshots as Windows and Linux give them."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_interface

import pytest

from serial_host.listening.interfaces import (
    Endpoint,
    InterfaceAddress,
    endpoints,
    external_switches,
    snapshot,
)


def interface(*addresses: str) -> list[InterfaceAddress]:
    return [InterfaceAddress(ip_interface(text).ip, ip_interface(text).network) for text in addresses]


WINDOWS = {
    "Loopback Pseudo-Interface 1": interface("127.0.0.1/8", "::1/128"),
    "Ethernet": interface("192.168.1.20/24", "2001:db8::20/64"),
    "vEthernet (Default Switch)": interface("172.18.240.1/20"),
    "vEthernet (Azure IoT Edge)": interface("10.5.0.1/24"),
}


def addresses(found: list[Endpoint]) -> set[str]:
    return {str(endpoint.address) for endpoint in found}


def test_on_windows_the_virtual_switches_and_loopback_are_the_default() -> None:
    found, missing = endpoints(None, WINDOWS, windows=True)
    assert addresses(found) == {"127.0.0.1", "::1", "172.18.240.1", "10.5.0.1"}
    assert missing == []


def external(*addresses: str) -> list[InterfaceAddress]:
    return [replace(entry, external=True) for entry in interface(*addresses)]


def test_an_external_switch_is_the_local_network_and_no_default() -> None:
    there = {**WINDOWS, "vEthernet (LAN)": external("192.168.1.20/24", "2001:db8::20/64")}
    found, missing = endpoints(None, there, windows=True)
    assert addresses(found) == {"127.0.0.1", "::1", "172.18.240.1", "10.5.0.1"}
    assert "'vEthernet (LAN)', which seems to be an external switch" in missing[0]
    assert len(missing) == 1


def test_an_external_switch_that_is_named_is_listened_at() -> None:
    there = {"vEthernet (LAN)": external("192.168.1.20/24")}
    found, missing = endpoints(["vEthernet (LAN)"], there, windows=True)
    assert (addresses(found), missing) == ({"192.168.1.20"}, [])
    assert [endpoint.external for endpoint in found] == [True]
    for everything in ("192.168.1.20", "0.0.0.0"):
        assert [endpoint.external for endpoint in endpoints([everything], there)[0]] == [True]
    assert [endpoint.external for endpoint in endpoints(["0.0.0.0"], WINDOWS)[0]] == [False]


@pytest.mark.parametrize(
    ("hardware", "external"),
    [
        ({"vEthernet (Default Switch)": "00-15-5D-01-02-03"}, set()),
        ({"vEthernet (LAN)": "3C-52-82-11-22-33", "Ethernet": "3C-52-82-11-22-33"}, {"vEthernet (LAN)"}),
        ({"vEthernet (LAN)": "3C-52-82-11-22-33"}, {"vEthernet (LAN)"}),
        # Windows in a virtual machine of Hyper-V, whose own adapter is of the same range.
        ({"vEthernet (LAN)": "00-15-5D-0A-0B-0C", "Ethernet": "00:15:5d:0a:0b:0c"}, {"vEthernet (LAN)"}),
        ({"vEthernet (X)": None}, {"vEthernet (X)"}),
        ({"vEthernet (X)": ""}, {"vEthernet (X)"}),
        ({"Ethernet": "3C-52-82-11-22-33", "lo": None}, set()),
        ({"vEthernet (A)": "00-15-5D-01-02-03", "vEthernet (B)": "00-15-5D-01-02-04"}, set()),
    ],
)
def test_an_external_switch_is_told_by_its_hardware_address(
    hardware: dict[str, str | None], external: set[str]
) -> None:
    assert external_switches(hardware) == external


def test_elsewhere_loopback_is_the_default() -> None:
    found, missing = endpoints(None, WINDOWS, windows=False)
    assert addresses(found) == {"127.0.0.1", "::1"}
    assert missing == []


def test_an_interface_is_found_by_its_alias_in_any_case() -> None:
    found, missing = endpoints(["VETHERNET (default switch)"], WINDOWS)
    (network,) = found[0].networks
    assert (addresses(found), str(network), missing) == ({"172.18.240.1"}, "172.18.240.0/20", [])


def test_all_addresses_of_an_interface_are_listened_at() -> None:
    assert addresses(endpoints(["Ethernet"], WINDOWS)[0]) == {"192.168.1.20", "2001:db8::20"}


def test_an_address_has_the_network_of_its_interface() -> None:
    found, _ = endpoints(["192.168.1.20"], WINDOWS)
    assert [str(network) for network in found[0].networks] == ["192.168.1.0/24"]


def test_every_address_means_every_neighbouring_network_and_no_more() -> None:
    found, _ = endpoints(["0.0.0.0"], WINDOWS)
    assert addresses(found) == {"0.0.0.0"}
    assert ip_address("172.18.250.7") in found[0].networks[2]
    assert not any(ip_address("8.8.8.8") in network for network in found[0].networks)


def test_what_is_missing_is_named_and_the_rest_is_listened_at() -> None:
    found, missing = endpoints(["vEthernet (WSL)", "10.9.9.9", "127.0.0.1"], WINDOWS)
    assert addresses(found) == {"127.0.0.1"}
    assert missing[0].startswith(
        "no interface 'vEthernet (WSL)' has an address now; interfaces with one: 'Loopback"
    )
    assert missing[1] == "no interface has the address 10.9.9.9 now"


def test_one_address_named_twice_is_listened_at_once() -> None:
    assert len(endpoints(["Ethernet", "192.168.1.20"], WINDOWS)[0]) == 2


def test_this_computer_has_a_loopback_address_in_its_network() -> None:
    everything = [entry for interface_addresses in snapshot().values() for entry in interface_addresses]
    loopback = next(entry for entry in everything if str(entry.address) == "127.0.0.1")
    assert str(loopback.network) == "127.0.0.0/8"
    assert not any(entry.address.version == 6 and entry.address.is_link_local for entry in everything)
