"""Whether a certificate of an authority belongs to a host, or to a module of IoT Edge."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import unquote

from cryptography import x509


def wrong_host(certificate: x509.Certificate, host: str) -> str | None:
    """Return None if a certificate is for a host, else what it is for, for people.

    `host` is a DNS name or an IP address. Only the subject's alternative names count (RFC 9525, section 6.3); a `*` stands
    for one whole label, the leftmost, and not directly above a top-level domain.
    """
    names = _alternative_names(certificate)
    dns = names.get_values_for_type(x509.DNSName)
    addresses = names.get_values_for_type(x509.IPAddress)
    try:
        without_scope = host.partition("%")[0]  # a scope is known on this machine alone
        found = ipaddress.ip_address(without_scope) in addresses
    except ValueError:
        wanted = host.lower().removesuffix(".")
        _, _, parent = wanted.partition(".")
        found = wanted in {name.lower() for name in dns} or (
            "." in parent and f"*.{parent}" in {name.lower() for name in dns}
        )
    return None if found else _listed([*dns, *map(str, addresses)])


def wrong_module(certificate: x509.Certificate, modules: Collection[str]) -> str | None:
    """Return None if a certificate is for one of these modules (`device/module`), else what it is for, for people.

    IoT Edge writes the URI `azureiot://HUB/devices/DEVICE/modules/MODULE` into the certificates of modules.
    """
    found = []
    for uri in _alternative_names(certificate).get_values_for_type(x509.UniformResourceIdentifier):
        match uri.removeprefix("URI: ").split("/"):
            case ["azureiot:", "", _hub, "devices", device, "modules", module]:
                found.append(f"{unquote(device)}/{unquote(module)}")
    return None if set(found) & set(modules) else _listed(found)


def _alternative_names(certificate: x509.Certificate) -> x509.SubjectAlternativeName:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return x509.SubjectAlternativeName([])


def _listed(names: Collection[str]) -> str:
    return ", ".join(list(names)[:5]) or "no name"
