"""One TLS connection without input and output: what comes from the peer goes in, what goes to the peer comes out.

    receive(bytes of the peer)      then read() until it returns nothing; then output() may have something to send
    write(bytes for the peer)       returns what to send
    shake_hands()                   after each receive() until it returns True

Not here: sockets, time, and what happens when a connection fails; `TlsError` ends a session.
"""

from __future__ import annotations

from enum import Enum, auto
from socket import MSG_PEEK
from typing import NoReturn

from OpenSSL import SSL

from serial_tls.byte_calls import ByteCalls
from serial_tls.errors import Reason, TlsError, from_openssl

_HANDSHAKE = 0x16
_ALERT = 0x15
"""RFC 8446, section 5.1: the content types with which a server and a client may begin."""


class Role(Enum):
    """Which end of the connection this is."""

    CLIENT = auto()
    SERVER = auto()


class Session:
    """One connection; `Endpoint.session` makes it."""

    def __init__(self, context: SSL.Context, role: Role, server_name: str | None) -> None:
        self.speaks_first = role is Role.CLIENT
        """Whether this end sends the first message of the handshake."""
        self._connection = SSL.Connection(context, None)
        self._connection.set_app_data(self)
        if role is Role.CLIENT:
            self._connection.set_connect_state()
            if server_name is not None:
                self._connection.set_tlsext_host_name(server_name.encode("ascii"))
        else:
            self._connection.set_accept_state()
        self._calls = ByteCalls(self._connection)
        self._began = False
        self.ended = False
        """Whether the peer has announced that it sends no more."""
        self.peer_fingerprint: str | None = None
        """From the moment at which the peer shows its certificate; it has shown that it has the key once hands are
        shaken."""
        self.refusal: TlsError | None = None
        """Why the certificate was refused; set while hands are shaken."""

    @property
    def version(self) -> str:
        """The version of TLS, `TLSv1.3`; from the end of the handshake."""
        return self._connection.get_protocol_version_name()

    def receive(self, data: bytes | memoryview) -> None:
        """Take bytes of the peer, which are not empty.

        Raises:
            TlsError: these are the first bytes, and they are not TLS.
        """
        if not self._began:
            self._began = True
            kinds = (_HANDSHAKE, _ALERT) if self.speaks_first else (_HANDSHAKE,)
            if data[0] not in kinds:
                raise TlsError(Reason.NOT_TLS, bytes(data[:100]).decode("ascii", "backslashreplace"))
        self._calls.receive(data)

    @property
    def more(self) -> bool:
        """Whether another `read` may return something; a `read` that finds nothing is the most costly one."""
        return self._calls.unread

    def refuse(self, reason: Reason) -> NoReturn:
        """Raise a `TlsError` with what is known about the peer."""
        raise TlsError(reason, "", self.peer_fingerprint)

    def shake_hands(self) -> bool:
        """Go on with the handshake; return whether it is over. Send `output` also when this raises.

        Raises:
            TlsError: the peer was refused, or refuses.
        """
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            return False
        except SSL.Error as error:
            raise self._explain(error) from None
        return True

    def read(self, size: int) -> bytes:
        """Return bytes that the peer has sent, at most `size`; nothing when there are none now, or `ended`.

        Raises:
            TlsError: the connection is broken, or the peer refuses. What was read before is good.
        """
        try:
            return self._calls.read(size)
        except SSL.WantReadError:
            return b""
        except SSL.ZeroReturnError:
            self.ended = True
            return b""
        except SSL.Error as error:
            raise self._explain(error) from None

    def peek(self, size: int) -> bytes:
        """Return what `read` would return, and leave it to be read.

        Raises:
            TlsError: as `read` does.
        """
        try:
            return self._connection.recv(size, MSG_PEEK)
        except (SSL.WantReadError, SSL.ZeroReturnError):
            return b""
        except SSL.Error as error:
            raise self._explain(error) from None

    def write(self, data: bytes | memoryview) -> bytes:
        """Return what to send so that the peer reads `data`, which is not empty.

        Raises:
            TlsError: the connection is broken.
        """
        try:
            sent = self._calls.write(data)
            while sent < len(data):  # a record holds 16 KB
                sent += self._calls.write(data[sent:])
        except SSL.Error as error:
            raise self._explain(error) from None
        return self._calls.output()

    def output(self) -> bytes:
        """Return what is to be sent now, often nothing."""
        return self._calls.output()

    def close(self) -> bytes:
        """Return what to send so that the peer learns that nothing more comes; never raises."""
        try:
            self._connection.shutdown()
        except SSL.Error:  # in the middle of a handshake, or after a failure
            return b""
        return self.output()

    def _explain(self, error: SSL.Error) -> TlsError:
        if self.refusal is not None:
            return self.refusal
        explained = from_openssl(error.args[0] if error.args else "")
        explained.fingerprint = explained.fingerprint or self.peer_fingerprint
        return explained
