"""How a port reaches its host: a TCP connection, secured where the configuration asks for TLS."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from serial_relay.config import PortConfig
from serial_relay.identity.identities import Identities
from serial_relay.remote.connect import connect
from serial_relay.remote.connection import RemoteError
from serial_relay.status import ErrorCode
from serial_tls.errors import IdentityError

if TYPE_CHECKING:  # a connection without TLS needs no OpenSSL
    from serial_relay.remote.secure import Secured


class Reached(NamedTuple):
    """A connection to the host, before any protocol is spoken on it."""

    connection: socket.socket
    address: str
    """`address:port` of the host."""
    secured: Secured | None

    @property
    def fingerprint(self) -> str | None:
        """The fingerprint that the host showed, None without TLS."""
        return None if self.secured is None else self.secured.session.peer_fingerprint


async def reach(
    loop: asyncio.AbstractEventLoop,
    config: PortConfig,
    identities: Identities,
    connected: Callable[[], None],
) -> Reached:
    """Connect to the host; call `connected` when TCP is connected and the TLS handshake, if there is one, begins.

    Raises:
        RemoteError: there is no connection.
    """
    if config.tls is None:
        connection, address = await connect(loop, config.host, config.tcp_port)
        connected()
        return Reached(connection, address, None)
    # Without TLS it takes no memory. With TLS it is loaded before the host begins to count the seconds of the handshake.
    from serial_relay.remote.secure import secure  # noqa: PLC0415

    try:
        identity = await identities.get(config.tls.identity)
    except IdentityError as error:
        raise RemoteError(ErrorCode.TLS, str(error)) from error
    connection, address = await connect(loop, config.host, config.tcp_port)
    connected()
    try:
        secured = await secure(loop, connection, address, config, config.tls, identity)
    except BaseException:
        connection.close()
        raise
    return Reached(connection, address, secured)


def needs_new_connection(previous: PortConfig, config: PortConfig, fingerprint: str | None) -> bool:
    """Return whether a change of the configuration ends the connection, whose host showed `fingerprint`.

    It does not if only pins have changed, and the host's is one of them.
    """
    if _endpoint(config) == _endpoint(previous):
        return False
    if previous.tls is None or config.tls is None or fingerprint is None:
        return True
    pins = config.tls.host_fingerprints
    same = replace(previous, tls=replace(previous.tls, host_fingerprints=pins))
    return _endpoint(same) != _endpoint(config) or fingerprint not in pins


def _endpoint(config: PortConfig) -> tuple[object, ...]:
    return config.host, config.tcp_port, config.protocol, config.tls
