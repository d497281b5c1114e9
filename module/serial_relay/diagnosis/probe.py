"""An attempt to connect, made if no module of this machine has the port. It never takes a port from a client.

It listens before it speaks. The host of this project serves the client that it has, and lets a newcomer replace that one
only if the newcomer speaks or stays for a second (host/serial_host/serving/admission.py). So with the protocol raw the
probe says nothing and leaves earlier, and with RFC 2217 it begins only after the server has spoken or after that second,
when a port with a client answers "busy". A raw server that takes longer than the probe stays to turn a newcomer away
shows no fault. What a connection by itself does to servers of others cannot be helped; a
server that this machine is connected to already gets no second connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from serial_monitor.steps import Steps
from serial_relay.config import PortConfig, Protocol, TlsSettings
from serial_relay.diagnosis.connections import established_to
from serial_relay.diagnosis.far_end import (
    FarEnd,
    begins_with_telnet,
    look_at_the_way,
    skip_the_rest,
    spell_all,
    tell,
)
from serial_relay.identity.identities import Identities
from serial_relay.remote.connect import Address, connect_to_one
from serial_relay.remote.connection import RemoteError, explain
from serial_relay.remote.raw import TELNET_NEGOTIATION
from serial_relay.remote.rfc2217_remote import Rfc2217Remote
from serial_relay.status import ErrorCode, LineErrors
from serial_tls.errors import IdentityError, TlsError

if TYPE_CHECKING:  # without TLS its library takes no memory
    from serial_relay.remote.secure import Secured
    from serial_tls.identity import Identity

_LISTENS = {Protocol.RAW: 0.7, Protocol.RFC2217: 3.0}
"""Seconds for which a server may begin to speak.

Raw: after 1 s a host with `take_over = true` would serve a newcomer that says nothing. RFC 2217: the host has refused a
newcomer that says nothing after 1.5 s, and says so.
"""

_FIRST = 4096
"""Limit in bytes of a server's first text."""

_LOOK = 0.02
_LONGEST = 30.0
"""Seconds for everything after the connection; a host that does not answer is given up after 4 s."""


async def probe(steps: Steps, config: PortConfig, identities: Identities | None = None) -> None:
    """Add the steps from here to the device, with a connection of the probe's own.

    `identities` are those of the module, which has one to show to a host with TLS; None if it has none yet.
    """
    addresses = await look_at_the_way(steps, config)
    if not addresses:
        skip_the_rest(steps, "not reached")
        return
    if present := list(established_to((str(address[0]), config.tcp_port) for _family, address in addresses)):
        steps.warning(
            "TCP connection",
            f"the port is served to another client: this machine is connected to {spell_all(addresses)} already,"
            f" from {', '.join(present)}",
            "ask the module that has the connection: run this command as its user or as root, without --desired",
        )
        skip_the_rest(steps, "no second connection is made", after="TCP connection")
        return
    with steps.timed():
        tell(steps, config, await _try(config, addresses, identities))


async def _try(
    config: PortConfig, addresses: Sequence[tuple[int, Address]], identities: Identities | None
) -> FarEnd:
    loop = asyncio.get_running_loop()
    taken: dict[str, float] = {}
    end = FarEnd(config.host, milliseconds=taken)
    if config.tls is not None:  # loaded before the host begins to count the seconds of the handshake
        from serial_relay.remote.secure import secure  # noqa: PLC0415
    started = loop.time()
    try:
        connection, address = await connect_to_one(loop, addresses)
        taken["TCP connection"], started = (loop.time() - started) * 1000, loop.time()
        end = replace(end, address=address)
        with contextlib.ExitStack() as closing:
            closing.callback(connection.close)
            secured = None
            if config.tls is not None:
                identity = await _identity(config.tls, identities)
                secured = await secure(loop, connection, address, config, config.tls, identity)
                taken["TLS"] = (loop.time() - started) * 1000
            said = await _listen(connection, address, secured, _LISTENS[config.protocol])
            if config.protocol is Protocol.RAW:
                _judge_raw(said, address)
                return end
            _judge_rfc2217(said, address)
            closing.pop_all()  # the connection is the negotiation's to close
            return await _negotiate(connection, config, secured, end)
    except RemoteError as error:
        return replace(end, error=error)


async def _identity(tls: TlsSettings, identities: Identities | None) -> Identity:
    if identities is None:
        what = "the module has no identity yet to show to the host: start it once, or let STATE_DIR name its directory"
        raise RemoteError(ErrorCode.TLS, what)
    try:
        return await identities.get(tls.identity)
    except IdentityError as error:
        raise RemoteError(ErrorCode.TLS, str(error)) from error


async def _listen(connection: socket.socket, address: str, secured: Secured | None, seconds: float) -> bytes:
    """Return what the server says first, without taking it; b"" if it says nothing.

    Raises:
        RemoteError: the connection ended.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while loop.time() < until:
        try:
            if secured is None:
                data = connection.recv(_FIRST, socket.MSG_PEEK)
            else:
                if data := secured.session.peek(_FIRST):
                    return data
                data = connection.recv(_FIRST)
                if data:
                    secured.session.receive(data)
                    continue
        except BlockingIOError:
            await asyncio.sleep(_LOOK)
            continue
        except TlsError as error:
            assert secured is not None  # noqa: S101 - it alone raises this
            raise secured.explain(error) from None
        except OSError as error:
            raise explain(error, address) from error
        if not data:
            what = "the device may be absent there, or the port is served to another client"
            raise RemoteError(ErrorCode.CLOSED_BY_HOST, f"{address} closed the connection at once: {what}")
        return data
    return b""


def _judge_raw(said: bytes, address: str) -> None:
    if said.startswith(TELNET_NEGOTIATION):
        raise begins_with_telnet(address)


def _judge_rfc2217(said: bytes, address: str) -> None:
    if said and not said.startswith(TELNET_NEGOTIATION):
        # No telnet byte is sent to a server that would pass it on to its device.
        what = f"{address} sends other bytes than telnet negotiation: it is a raw server"
        raise RemoteError(ErrorCode.PROTOCOL, what).with_last_words(said, address)


async def _negotiate(
    connection: socket.socket, config: PortConfig, secured: Secured | None, end: FarEnd
) -> FarEnd:
    loop = asyncio.get_running_loop()
    seen = _Seen(loop)
    remote = Rfc2217Remote(loop, connection, end.address, config.line, seen, secured)
    try:
        async with asyncio.timeout(_LONGEST):
            either: set[asyncio.Future[Any]] = {remote.ready, seen.over}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    except TimeoutError:
        pass
    finally:
        remote.close()
    return replace(end, error=seen.over.result() if seen.over.done() else None, line=remote.line)


class _Seen:
    """The events of the probe's connection; `over` is done when it cannot be used."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.over: asyncio.Future[RemoteError] = loop.create_future()

    def remote_lost(self, error: RemoteError) -> None:
        if not self.over.done():
            self.over.set_result(error)

    def device_unavailable(self, error: RemoteError) -> None:
        self.remote_lost(error)

    def device_data(self, data: bytes) -> None:
        """Discard the bytes of the device, because there is no application."""

    def look_for_flush(self) -> None:
        """See `ComPortEvents`; no application uses this connection."""

    def device_data_flushed(self, size: int) -> None:
        """Do nothing: nothing is flushed here."""

    def connection_full(self, *, full: bool) -> None:
        """Do nothing, because only requests are written here."""

    def line_errors_notified(self, errors: LineErrors) -> None:
        """They are not asked for here."""

    def com_port_changed(self) -> None:
        """Do nothing: the line is read at the end."""

    def suspended_by_host(self, *, suspended: bool) -> None:
        """Do nothing, because only requests are written here."""

    def round_trip_measured(self, seconds: float) -> None:
        """Do nothing: the probe ends before the first heartbeat."""
