"""The calls of OpenSSL that every byte takes, without what pyOpenSSL adds to each of them.

pyOpenSSL's own methods make a new buffer for each call and look for errors of callbacks; with a record of eight bytes they
take four times as long as OpenSSL. These call the same functions of OpenSSL on the same objects, with one buffer for
all calls. Everything else is left to pyOpenSSL: contexts, certificates, handshakes, and what an error means.
"""

from __future__ import annotations

from OpenSSL import SSL
from OpenSSL._util import ffi, lib

_SIZE = 4608
"""Bytes that one call returns at most: a record with the 4 KB that both ends read at once, and room for what is around
them."""


class ByteCalls:
    """The bytes of one connection without a socket, whose attributes stay as they are for its whole life."""

    def __init__(self, connection: SSL.Connection) -> None:
        self._connection = connection
        self._ssl = connection._ssl  # noqa: SLF001 - pyOpenSSL has no other name for OpenSSL's own object
        self._received = connection._into_ssl  # noqa: SLF001
        self._output = connection._from_ssl  # noqa: SLF001
        self._buffer = ffi.new("char[]", _SIZE)
        self._view = ffi.buffer(self._buffer)
        self._where = ffi.new("char **")
        """What `BIO_get_mem_data` writes beside its answer."""

    def receive(self, data: bytes | memoryview) -> None:
        """Take bytes of the peer; see `Connection.bio_write`."""
        lib.BIO_write(self._received, bytes(data), len(data))

    def read(self, size: int) -> bytes:
        """Return some bytes that the peer has sent, at most `size`; see `Connection.recv`, also for what it raises."""
        count: int = lib.SSL_read(self._ssl, self._buffer, min(size, _SIZE))
        if count <= 0:
            self._connection._raise_ssl_error(self._ssl, count)  # noqa: SLF001
        data: bytes = self._view[:count]
        return data

    @property
    def unread(self) -> bool:
        """Whether another `read` may return something: there is more of the last record, or something after it."""
        return bool(lib.SSL_pending(self._ssl) or lib.BIO_get_mem_data(self._received, self._where))

    def write(self, data: bytes | memoryview) -> int:
        """Encrypt some bytes for the peer and return how many; see `Connection.send`, also for what it raises."""
        count: int = lib.SSL_write(self._ssl, bytes(data), len(data))
        if count <= 0:
            self._connection._raise_ssl_error(self._ssl, count)  # noqa: SLF001
        return count

    def output(self) -> bytes:
        """Return all that is to be sent; see `Connection.bio_read`."""
        count: int = lib.BIO_read(self._output, self._buffer, _SIZE)
        parts: list[bytes] = []
        while count > 0:
            parts.append(self._view[:count])
            if count < _SIZE:
                break
            count = lib.BIO_read(self._output, self._buffer, _SIZE)
        return parts[0] if len(parts) == 1 else b"".join(parts)
