"""A virtual serial port made of pty pairs: a new pair for each application, behind one link.

After the last close a new pair takes the place of the one that was used. So whatever an application can leave behind on a
tty dies with its pair, as it dies on a UART with the last close: an exclusive lock (TIOCEXCL), stopped output, another
line discipline, modes, bytes that nobody read. Only the line settings (baud rate, stop bits, flow control) pass on to
the new pair, as they last over a close on a UART: `stty` sets a port in one command, and another program uses it in the
next. The input modes do not: the next application finds the port raw and without echo.

A successor that opens the port before the close was noticed gets the old pair: the link moves, but then the pair is
looked at once more, and if somebody has it open the link goes back and nothing was touched. What such a successor can
notice: the modes that its predecessor left, and, if it locks the port at once (TIOCEXCL), bytes that its predecessor
left unread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from serial_relay.config import LineSettings
from serial_relay.plumbing.inotify import Inotify
from serial_relay.status import LineErrors, ModemState
from serial_relay.virtual_port.links import LinkError
from serial_relay.virtual_port.node_owner import NodeOwner
from serial_relay.virtual_port.pty_pair import PtyPair
from serial_relay.virtual_port.virtual_port import Left, VirtualPortEvents

_KEEP_LEFT = 0.05
"""Seconds that a used pair is kept, for an application that had followed the link before it moved."""

_TRY_AGAIN_AFTER = 0.1
"""Seconds after which a pair that had to be used again is replaced, if nobody has it open."""

_MOST_LEFT = 4
"""Used pairs that may wait for their end; with more the present pair is used again."""


class PtyPort:
    """See `VirtualPort`."""

    kind: Final = "pty"

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        watches: Inotify,
        owner: tuple[int, int, int],
        place: Callable[[Path], None],
        events: VirtualPortEvents,
    ) -> None:
        """Make the port; `owner` is user, group and mode. `place` points the port's link, if it has one, at a node.

        Raises:
            OSError: the kernel has no more ptys, or its devpts is not where the link leads.
        """
        self._loop = loop
        self._watches = watches
        self._node_owner = NodeOwner(*owner)
        self._ended = False
        self._place = place
        self._events = events
        self._left: list[PtyPair] = []
        """Used pairs, oldest first, of which bytes are still to be read, or which wait for `_KEEP_LEFT`."""
        self._spare: PtyPair | None = None
        """An unused pair, ready to take the place of the present one."""
        self._unread = 0
        """Bytes discarded since the last application was told to have closed the port."""
        self.application_open = False
        self._current = self._make_pair()
        self.write = self._discard
        """Hand bytes of the device to the application; only while one has the port open."""
        self._prepare()

    @property
    def slave(self) -> Path:
        """See `VirtualPort`."""
        return self._current.slave

    def set_owner(self, uid: int, gid: int, mode: int) -> None:
        """See `VirtualPort`."""
        self._node_owner.change(uid, gid, mode)
        for pair in (self._current, self._spare):
            if pair is not None:
                self._node_owner.give(pair.slave)

    def look_for_flush(self) -> None:
        """See `VirtualPort`."""
        self._current.look_for_flush()

    def force_line(self, line: LineSettings) -> None:
        """See `VirtualPort`; the other end of a pty cannot keep an application's settings from it."""

    def set_inputs(self, modem: ModemState | None) -> None:
        """See `VirtualPort`; a pty has no modem lines."""

    def count_errors(self, errors: LineErrors) -> None:
        """See `VirtualPort`; a pty has no counters."""

    def pause_reading(self) -> None:
        """See `VirtualPort`."""
        for pair in self._pairs():
            pair.channel.pause_reading()

    def resume_reading(self) -> None:
        """See `VirtualPort`."""
        for pair in self._in_turn():
            pair.channel.resume_reading()

    @property
    def has_written(self) -> bool:
        """See `VirtualPort`."""
        return any(pair.has_written for pair in self._pairs())

    def unread(self) -> int:
        """See `VirtualPort`."""
        pairs = [pair for pair in self._pairs() if pair.open]
        unread = sum(pair.unread() for pair in pairs)
        self._look_at(pairs)
        return unread

    def block_writes(self) -> None:
        """See `VirtualPort`."""
        pairs = [pair for pair in self._pairs() if not pair.hung_up]
        for pair in pairs:
            pair.block_writes()
        self._look_at(pairs)

    def _look_at(self, pairs: Sequence[PtyPair]) -> None:
        """Look whether applications have closed pairs, whose events were forgotten."""
        for pair in pairs:
            if pair.hung_up and pair in self._pairs():
                self.touched(pair)

    def close(self) -> Left:
        """See `VirtualPort`."""
        self._ended = True
        written, unread = 0, self._unread
        for pair in self._pairs():
            rest = pair.take_rest()
            written, unread = written + rest.written, unread + rest.unread
            pair.close()
        self._left.clear()
        self._spare = None
        return Left(written, unread)

    def _pairs(self) -> list[PtyPair]:
        return [pair for pair in (*self._left, self._current, self._spare) if pair is not None]

    # From the pairs.

    def touched(self, pair: PtyPair) -> None:
        """See `PairOwner`."""
        if not pair.hung_up:
            if pair in self._left:
                self._take_back(pair)
            elif not pair.open:
                self._opened(pair)
        elif pair not in self._left and (pair.open or pair is self._current):
            self._closed(pair)  # also if it was opened and closed before this look: `echo AT > /dev/...`

    def handed_over(self, pair: PtyPair) -> None:
        """See `PairOwner`."""
        if pair.open:
            self._unread += pair.discard_unread()
            pair.open = False
            self._tell()
        self.touched(pair)

    def heard(self, pair: PtyPair) -> None:
        """See `PairOwner`."""
        pair.open, pair.unnoticed = True, False
        self._tell()

    def all_read(self, pair: PtyPair) -> None:
        """See `PairOwner`."""
        if pair in self._left:
            pair.open = False
            self._tell()
            self._loop.call_later(_KEEP_LEFT, self._end, pair)
        else:
            self._closed(pair)
        self._turn()

    # An application comes and goes.

    def _opened(self, pair: PtyPair) -> None:
        if pair is self._spare and not self._current.open:
            self._move_link(pair)
            self._current, self._spare = pair, self._current
        pair.open, pair.unnoticed = True, False
        if pair is self._current:
            self.write = pair.channel.write
        pair.begin()
        self._tell()
        self._turn()

    def _closed(self, pair: PtyPair) -> None:
        """Replace a pair that was left, unless somebody has it open again."""
        if pair is self._current:
            successor = self._successor(pair)
            if successor is None:
                self._reuse(pair)
                return
            if not pair.hung_up:
                self._move_link(pair)
                self._spare = successor
                self.handed_over(pair)
                return
            self._current = successor
            self.write = successor.channel.write if successor.open else self._discard
        elif pair is self._spare:
            self._spare = None
        self._note_leaving(pair)
        self._left.append(pair)
        self._unread += pair.leave()
        self._tell()
        if pair.ended:
            self._loop.call_later(_KEEP_LEFT, self._end, pair)
        self._turn()
        self._loop.call_soon(self._prepare)
        self.touched(pair)

    def _note_leaving(self, pair: PtyPair) -> None:
        if not pair.open:  # reading tells whether somebody was there and wrote something
            pair.ended, pair.unnoticed = False, True
        pair.open = False

    def _successor(self, pair: PtyPair) -> PtyPair | None:
        """Point the link at an unused pair with the line settings of this one; None if there can be none."""
        for left in self._left[: -_MOST_LEFT + 1]:
            if left.ended:
                self._end(left)
        if len(self._left) >= _MOST_LEFT:
            return None
        self._prepare()
        successor, self._spare = self._spare, None
        if successor is not None:
            if successor.hung_up:
                successor.inherit(pair.settings)
            if not self._move_link(successor):
                self._spare, successor = successor, None
        return successor

    def _reuse(self, pair: PtyPair) -> None:
        """Use a pair again, for want of a new one."""
        self._note_leaving(pair)
        self.write = self._discard
        self._unread += pair.reuse()
        self._tell()
        self._turn()
        self._loop.call_later(_TRY_AGAIN_AFTER, self._replace, pair)

    def _replace(self, pair: PtyPair) -> None:
        """Try again to put a new pair in the place of one that was used."""
        if not self._ended and pair is self._current and not pair.open and pair.hung_up:
            self._closed(pair)

    def _move_link(self, pair: PtyPair) -> bool:
        try:
            self._place(pair.slave)
        except LinkError as error:
            self._node_owner.warn(pair.slave, f"cannot point the link at a new pty: {error}")
            return False
        return True

    def _end(self, pair: PtyPair) -> None:
        """Close a used pair."""
        if pair in self._left and pair.ended:
            if pair.hung_up:
                self._left.remove(pair)
                pair.close()
            else:
                self._take_back(pair)

    def _take_back(self, pair: PtyPair) -> None:
        """Serve an application that had followed the link to this pair before the link moved."""
        self._left.remove(pair)
        pair.return_to_use()
        spare = self._spare
        if self._current.open:
            self._spare = pair  # two applications, on two pairs: what both write is read
        else:
            self._move_link(pair)
            self._current, self._spare = pair, self._current
        if spare is not None:
            spare.close()
        self._opened(pair)

    def _prepare(self) -> None:
        """Keep an unused pair ready, so that the link can move at once."""
        if self._spare is None and not self._ended:
            try:
                self._spare = self._make_pair()
            except OSError as error:
                self._node_owner.warn(self.slave, f"cannot make another pty: {error.strerror or error}")

    def _make_pair(self) -> PtyPair:
        pair = PtyPair(self._loop, self._watches, self, self._events)
        self._node_owner.give(pair.slave)
        return pair

    def _tell(self) -> None:
        """Report to the relay whether an application has the port open, if that has changed."""
        is_open = any(pair.open for pair in self._pairs())
        if is_open is self.application_open:
            return
        self.application_open = is_open
        if is_open:
            self._events.application_opened()
        else:
            unread, self._unread = self._unread, 0
            self._events.application_closed(unread)

    def _discard(self, data: bytes) -> None:
        self._unread += len(data)

    # Who is read: what an application wrote before it left comes before what its successor writes.

    def _in_turn(self) -> Sequence[PtyPair]:
        for pair in self._left:
            if not pair.ended:
                return (pair,)
        pairs = (self._current, self._spare)
        return [pair for pair in pairs if pair is not None and not pair.ended]

    def _turn(self) -> None:
        self._events.nothing_to_read(nothing=True)
        if self._in_turn():
            self._events.nothing_to_read(nothing=False)
