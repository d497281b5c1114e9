"""The open files of one port, and the opens that wait for a carrier (tty_port_block_til_ready). Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Handle:
    """An open file."""

    hung_up: bool = False
    polled_as: int | None = None
    """The kernel's number (`kh`) for it, once it was polled."""


class OpenFiles:
    """Known to the kernel by number."""

    def __init__(self) -> None:
        self._files: dict[int, Handle] = {}
        self._next = 1
        self.waiting: list[int] = []
        """The requests that wait."""

    def add(self) -> int:
        """Return the number of a new one."""
        number, self._next = self._next, self._next + 1
        self._files[number] = Handle()
        return number

    def remove(self, number: int) -> Handle | None:
        """Forget one, and return it if it was known."""
        return self._files.pop(number, None)

    def get(self, number: int) -> Handle:
        """Return one; one that is not known counts as hung up."""
        return self._files.get(number) or Handle(hung_up=True)

    def stop_waiting(self) -> list[int]:
        """Forget the requests that wait, and return them for the caller to answer."""
        waiting, self.waiting = self.waiting, []
        return waiting

    def hang_up(self) -> None:
        """Mark all of them."""
        for file in self._files.values():
            file.hung_up = True
