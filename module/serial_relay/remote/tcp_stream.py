"""The TCP connection below both protocols: it reads, writes, and notices when the other end has died."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import socket
import struct
import termios
from collections.abc import Callable, Iterator

from serial_relay.plumbing.byte_channel import READ_SIZE, ByteChannel
from serial_relay.remote.connect import UNSENT_LIMIT
from serial_relay.remote.connection import Losses, RemoteError, RemoteEvents, explain
from serial_relay.status import ErrorCode

_WATCH_INTERVAL = 1.0
_DEAD_AFTER = 6.0
_DEAD_ATTEMPTS = 3
"""A peer to which something was sent is dead when it has acknowledged nothing for 6 s and 3 attempts (TCP_INFO).

TCP_USER_TIMEOUT would also cut a peer that is alive and merely takes no data: such a peer acknowledges each probe of
its zero window, which this rule takes into account and that option does not.
"""

_SIOCOUTQNSD = 0x894B  # include/uapi/linux/sockios.h

# struct tcp_info of include/uapi/linux/tcp.h: tcpi_state is its byte 0, tcpi_retransmits and tcpi_probes are its bytes 2
# and 3, tcpi_last_ack_recv (milliseconds) is the 13th of the 32-bit fields that begin at byte 8.
_TCP_INFO_SIZE = 64
_TCP_INFO = struct.Struct("@BxBB52xI")
_TCP_CLOSE = 7  # include/net/tcp_states.h


class TcpStream:
    """One connection. The first byte is read after `resume_reading`."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, connection: socket.socket, address: str, events: RemoteEvents
    ) -> None:
        self._loop = loop
        self._socket = connection
        self._events = events
        self._channel = ByteChannel(loop, connection.fileno(), events.device_data, self)
        self._unwatched = 0
        """Bytes that may still be written before the send queue is checked; 0 while no watch runs."""
        self._watch: asyncio.TimerHandle | None = None
        self._finished = False
        self.address = address

    @property
    def reading(self) -> bool:
        """True while bytes of the host are read."""
        return self._channel.reading

    @property
    def unwritten(self) -> int:
        """Bytes that were given to `write` and not yet taken by the kernel."""
        return self._channel.unwritten

    def write(self, data: bytes) -> None:
        """Write as much as the kernel takes now and keep the rest; see `Remote`."""
        self._channel.write(data)
        self._unwatched -= len(data)
        if self._unwatched < 0:
            self._unwatched = UNSENT_LIMIT
            self._keep_watch()
            if self._queued(_SIOCOUTQNSD) >= UNSENT_LIMIT:
                self._channel.wait_until_writable()

    def deliver_to(self, deliver: Callable[[bytes], None]) -> None:
        """Call another function than `device_data` of the events with the bytes that are read from now on."""
        self._channel.deliver_to(deliver)

    def pause_reading(self) -> None:
        """See `Remote`."""
        self._channel.pause_reading()
        self._keep_watch()  # a reset would not show while nothing is read

    def resume_reading(self) -> None:
        """See `Remote`."""
        self._channel.resume_reading()

    @property
    def unacknowledged(self) -> int:
        """Bytes that were given to `write` and not yet acknowledged by the other end's kernel."""
        return self._channel.unwritten + self._queued(termios.TIOCOUTQ)

    def finish(self) -> None:
        """Send the end of the stream; what the host sends is read as before. Only when `unwritten` is 0.

        From now on nothing is written, and nothing looks whether the host has died.
        """
        self._finished = True
        if self._watch is not None:
            self._watch.cancel()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def unread(self) -> Iterator[bytes]:
        """Take what was received and not read; only before `close`."""
        self._channel.stop()
        with contextlib.suppress(OSError):
            while data := self._socket.recv(READ_SIZE, socket.MSG_DONTWAIT):
                yield data

    def close(self, last_words: bytes = b"") -> Losses:
        """See `Remote`; `last_words` are sent if that is possible at once, and are not counted."""
        if self._watch is not None:
            self._watch.cancel()
        self._channel.stop()
        losses = Losses(to_device=self.unacknowledged, from_device=self._queued(termios.FIONREAD))
        if last_words and not self._channel.unwritten:
            with contextlib.suppress(OSError):
                self._socket.send(last_words, socket.MSG_DONTWAIT)
        self._socket.close()
        return losses

    def channel_ended(self, error: OSError | None) -> None:
        """See `ChannelEvents`."""
        if error is None:
            self._events.remote_lost(
                RemoteError(
                    ErrorCode.CLOSED_BY_HOST,
                    f"{self.address} closed the connection: the device may be absent or in use there",
                )
            )
        else:
            self._events.remote_lost(explain(error, self.address))

    def pause_writing(self) -> None:
        """See `ChannelEvents`."""
        self._events.connection_full(full=True)

    def resume_writing(self) -> None:
        """See `ChannelEvents`."""
        self._events.connection_full(full=False)

    def _keep_watch(self) -> None:
        if self._watch is None and not self._finished:
            self._watch = self._loop.call_later(_WATCH_INTERVAL, self._look_for_death)

    def _look_for_death(self) -> None:
        """Check the connection each second while something sent is not acknowledged, or while nothing is read.

        An idle connection is watched by keepalive alone, which costs this process nothing.
        """
        self._watch = None
        self._unwatched = 0
        waiting = self._channel.unwritten > 0 or self._queued(termios.TIOCOUTQ) > 0
        if not waiting and self._channel.reading:
            return
        information = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_SIZE)
        # QEMU's user-mode emulation returns 4 bytes of any TCP option (7.2, linux-user/syscall.c, do_getsockopt). The time
        # of the last acknowledgement is missing then, and a dead peer is left to the kernel, but a reset is seen.
        information = information.ljust(_TCP_INFO_SIZE, b"\0")
        state, retransmits, probes, silent_milliseconds = _TCP_INFO.unpack_from(information)
        if state == _TCP_CLOSE:
            number = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) or errno.ECONNRESET
            self._died(explain(OSError(number, os.strerror(number)), self.address))
        elif waiting and retransmits + probes >= _DEAD_ATTEMPTS and silent_milliseconds >= _DEAD_AFTER * 1000:
            silence = f"{self.address} acknowledged nothing for {silent_milliseconds / 1000:.0f} s"
            self._died(RemoteError(ErrorCode.TIMED_OUT, silence))
        else:
            self._keep_watch()

    def _died(self, error: RemoteError) -> None:
        self._channel.stop()
        self._events.remote_lost(error)

    def _queued(self, request: int) -> int:
        """Return the number of bytes in one of the socket's queues (tcp(7)); 0 if the system does not tell it."""
        try:
            return int.from_bytes(fcntl.ioctl(self._socket, request, bytes(4)), "little")
        except OSError:
            return 0
