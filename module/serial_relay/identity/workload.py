"""The call of IoT Edge's workload API that gives a module a certificate.

`POST /modules/MODULE/genid/GENERATION/certificate/identity` makes a new key and a certificate for clients, whose authority
is that of the device. It names the module by the URI `azureiot://HUB/devices/DEVICE/modules/MODULE`.
"""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from serial_relay.plumbing.text import escaped
from serial_tls.errors import IdentityError
from serial_tls.identity import Identity, parse_identity

_TIMEOUT = 10.0
"""Seconds for each step of the call."""

_LARGEST = 65536
"""Bytes of an answer."""


@dataclass(frozen=True, slots=True)
class WorkloadApi:
    """Where the API is, and which module asks it."""

    uri: str
    """`unix:///run/iotedge/workload.sock` or `http://host:port`."""
    module: str
    generation: str
    version: str

    @classmethod
    def of_environment(cls, environment: Mapping[str, str]) -> WorkloadApi | None:
        """Read the environment that the runtime gives each module; return None if this is not a module."""
        try:
            return cls(
                uri=environment["IOTEDGE_WORKLOADURI"],
                module=environment["IOTEDGE_MODULEID"],
                generation=environment["IOTEDGE_MODULEGENERATIONID"],
                version=environment.get("IOTEDGE_APIVERSION", "2019-01-30"),
            )
        except KeyError:
            return None

    def new_identity(self) -> Identity:
        """Ask for a certificate; this blocks for some seconds at most.

        Raises:
            IdentityError: the API did not return a usable answer.
        """
        path = f"/modules/{quote(self.module)}/genid/{quote(self.generation)}/certificate/identity"
        connection = self._connection()
        try:
            connection.request(
                "POST",
                f"{path}?api-version={quote(self.version)}",
                body="{}",
                headers={"Content-Type": "application/json"},
            )
            response = connection.getresponse()
            body = response.read(_LARGEST)
        except (OSError, http.client.HTTPException) as error:
            raise IdentityError(f"the workload API at {self.uri} does not answer: {error}") from error
        finally:
            connection.close()
        if response.status not in (200, 201):
            said = escaped(body.decode("utf-8", "replace"), 100)
            raise IdentityError(f"the workload API did not return a certificate: {response.status} {said}")
        return _identity(body)

    def _connection(self) -> http.client.HTTPConnection:
        parts = urlsplit(self.uri)
        if parts.scheme == "unix":
            return _UnixConnection(unquote(parts.path))
        return http.client.HTTPConnection(parts.netloc, timeout=_TIMEOUT)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_TIMEOUT)
        self.sock.connect(self._path)


def _identity(body: bytes) -> Identity:
    try:
        answer: Any = json.loads(body)
        certificate, key = answer["certificate"], answer["privateKey"]["bytes"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise IdentityError("the workload API returned an answer without a certificate and a key") from error
    try:
        return parse_identity(str(certificate), str(key))
    except (IdentityError, UnicodeEncodeError) as error:
        raise IdentityError(
            f"the workload API returned a certificate that cannot be used: {error}"
        ) from error
