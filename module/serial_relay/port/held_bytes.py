"""Keeps for a while what an application wrote while there was no connection. Pure, without a clock."""

from __future__ import annotations

from collections import deque


class HeldBytes:
    """A bounded queue of bytes, each piece with its deadline."""

    def __init__(self, size: int) -> None:
        """Hold `size` bytes at most."""
        self._size = size
        self._pieces: deque[tuple[float, bytes]] = deque()
        self._held = 0

    def add(self, data: bytes, deadline: float) -> int:
        """Keep what there is room for, and return the number of bytes that do not fit."""
        kept = data[: self._size - self._held]
        if kept:
            self._pieces.append((deadline, kept))
            self._held += len(kept)
        return len(data) - len(kept)

    @property
    def deadline(self) -> float | None:
        """The deadline of the oldest piece, None if nothing is kept."""
        return self._pieces[0][0] if self._pieces else None

    def expire(self, now: float) -> int:
        """Drop the pieces whose deadline has come, and return their size in bytes."""
        before = self._held
        while self._pieces and self._pieces[0][0] <= now:
            self._held -= len(self._pieces.popleft()[1])
        return before - self._held

    def take(self) -> list[bytes]:
        """Return all pieces, oldest first, and keep none."""
        pieces = [data for _deadline, data in self._pieces]
        self._pieces.clear()
        self._held = 0
        return pieces

    def discard(self) -> int:
        """Drop all pieces, and return their size in bytes."""
        return sum(map(len, self.take()))
