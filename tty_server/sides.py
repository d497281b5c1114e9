"""The two sides of a terminal as it knows them: the kernel, which asks for the applications, and the relay. Pure."""

from __future__ import annotations

from typing import Protocol

from tty_server.messages import Kind


class Kernel(Protocol):
    """Takes the answers to the kernel's requests."""

    def answer(self, unique: int, body: bytes) -> None:
        """Answer a request."""

    def fail(self, unique: int, error: int) -> None:
        """Let a request fail with this `errno`."""

    def notify(self, handle: int) -> None:
        """Wake whoever polls the open file with this `kh`."""


class RelaySide(Protocol):
    """The relay."""

    def tell(self, kind: Kind, rest: bytes) -> None:
        """Tell a state; if the relay does not read, the last one of each kind is kept for it."""

    def send(self, data: bytes) -> int:
        """Send bytes of the application, and return how many were taken."""
