"""Secures a TCP connection to a host, and explains what is wrong when that fails."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from dataclasses import dataclass

from serial_relay.config import PortConfig, TlsIdentity, TlsSettings, TlsVerify
from serial_relay.plumbing.text import escaped
from serial_relay.remote.connection import RemoteError, explain
from serial_relay.status import ErrorCode
from serial_tls.endpoint import Authority, Endpoint, Pins, Trust
from serial_tls.errors import IdentityError, Reason, TlsError
from serial_tls.handshake import TIMEOUT, shake_hands
from serial_tls.identity import Identity, parse_certificates
from serial_tls.names import wrong_host
from serial_tls.session import Role, Session

_VERDICT = 0.05, 1.0
"""Seconds, at least and at most, in which a host may refuse this module after the handshake."""

_SIZE = 4096

_ASKED_NAME = 60
"""Limit in characters of a certificate's names in a message."""


@dataclass(frozen=True, slots=True)
class Secured:
    """A connection whose handshake is done."""

    session: Session
    words: Words

    def explain(self, error: TlsError) -> RemoteError:
        """Return the error that the end of the connection means."""
        return self.words.explain(error)


async def secure(
    loop: asyncio.AbstractEventLoop,
    connection: socket.socket,
    address: str,
    config: PortConfig,
    tls: TlsSettings,
    identity: Identity,
) -> Secured:
    """Do the handshake over a connection, which the caller closes if this fails.

    A host that refuses the certificate of this module says so when the handshake is over for this end (RFC 8446, section
    2: the client's certificate is in its last flight). One that accepts it sends a session ticket then, if it is ours or
    another with OpenSSL, and may say nothing otherwise. So the end waits for either, a moment at most, as long as the
    handshake took, before the connection counts as good. The ticket itself is never used.

    Raises:
        RemoteError: there is no secured connection.
    """
    name = tls.host_name or config.host
    words = Words(address, name, tls, identity.fingerprint)
    started = loop.time()
    try:
        session = Endpoint(Role.CLIENT, identity, _trust(tls, name)).session(_server_name(name))
        await shake_hands(connection, session)
        await _wait_for_refusal(loop, connection, session, loop.time() - started)
    except IdentityError as error:
        raise RemoteError(ErrorCode.TLS, f"`tls.hostCa` cannot be used: {error}") from error
    except TlsError as error:
        raise words.explain(error) from None
    except OSError as error:
        explained = explain(error, address)
        raise RemoteError(explained.code, f"{explained} in the TLS handshake") from error
    return Secured(session, words)


async def _wait_for_refusal(
    loop: asyncio.AbstractEventLoop, connection: socket.socket, session: Session, taken: float
) -> None:
    least, most = _VERDICT
    # Nothing is read while the time runs: what a read has taken when the time runs out would be lost with it.
    readable = asyncio.Event()
    loop.add_reader(connection, readable.set)
    try:
        async with asyncio.timeout(min(max(least, taken), most)):
            await readable.wait()
    except TimeoutError:
        pass
    finally:
        loop.remove_reader(connection)
    try:
        data = connection.recv(_SIZE)
    except BlockingIOError:
        return
    if not data:
        session.refuse(Reason.CLOSED)
    session.receive(data)
    session.peek(1)


def _trust(tls: TlsSettings, name: str) -> Trust:
    if tls.verify is TlsVerify.PIN:
        return Pins(frozenset(tls.host_fingerprints).__contains__)
    return Authority(parse_certificates(tls.host_ca or ""), lambda shown: wrong_host(shown, name))


def _server_name(name: str) -> str | None:
    """Return the name to look for, None for an address (RFC 6066, section 3)."""
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return name.removesuffix(".")
    return None


@dataclass(frozen=True, slots=True)
class Words:
    """The data that is needed to explain which end must change what."""

    address: str
    name: str
    tls: TlsSettings
    fingerprint: str

    def explain(self, error: TlsError) -> RemoteError:
        """Return an error for `lastError`; its text has at most about 250 characters."""
        return RemoteError(ErrorCode.TLS, self._say(error))

    def _say(self, error: TlsError) -> str:  # noqa: C901, PLR0912 - a table of sentences
        address, detail = self.address, escaped(error.detail, _ASKED_NAME)
        match error.reason:
            case Reason.UNKNOWN_PIN:
                return (
                    f"the certificate of {address} is not in `hostFingerprints`; if this is the right host, add"
                    f" {error.fingerprint} there"
                )
            case Reason.EXPIRED | Reason.NOT_YET_VALID:
                state = "has expired" if error.reason is Reason.EXPIRED else "is not valid yet"
                dates = escaped(error.detail, 100)
                return (
                    f"the certificate of {address} {state} ({dates}): renew it there, or set the clock here"
                )
            case Reason.WRONG_NAME:
                return (
                    f"the certificate of {address} is for {detail}, not for {escaped(self.name)}: set `hostName`,"
                    " or give the host another certificate"
                )
            case Reason.WRONG_AUTHORITY:
                return f"the certificate of {address} does not come from `hostCa` ({detail}): correct one of the two"
            case Reason.BAD_CERTIFICATE:
                return f"the certificate of {address} cannot be used ({detail}): give the host another one"
            case Reason.OLD_VERSION | Reason.REFUSED_VERSION:
                return f"{address} has no TLS 1.2 or newer in common with this module: update it"
            case Reason.NOT_TLS:
                return (
                    f'{address} does not speak TLS (it sends "{detail}"): turn TLS on there (`[tls]`), or remove `tls`'
                    " from the desired properties"
                )
            case Reason.CLOSED:
                return (
                    f"{address} closed the connection in the TLS handshake: does this port use TLS there (`[tls]`)?"
                    " Its log says more"
                )
            case Reason.TIMED_OUT:
                return (
                    f"{address} did not finish the TLS handshake within {TIMEOUT:.0f} s: does this port use TLS there"
                    " (`[tls]`)?"
                )
            case Reason.REFUSED_UNKNOWN if self.tls.identity is TlsIdentity.EDGE:
                return (
                    f"{address} refuses the certificate that IoT Edge gave this module ({detail}): `client_ca` there"
                    " must hold the device's authority, and `client_names` this module"
                )
            case Reason.REFUSED_UNKNOWN | Reason.REFUSED_NO_CERTIFICATE:
                return (
                    f"{address} does not know this module: run `serial-host.cmd trust {self.fingerprint}` or `pair` there"
                    " (`serial-host` on Linux)"
                )
            case Reason.REFUSED_DATES:
                return f"{address} says that the certificate of this module is not valid now: set the clock that is wrong"
            case _:
                return f"{address}: TLS failed ({detail}); its log may say more"
