"""What only a character device tells the relay, for recorders of what a pty tells."""

from __future__ import annotations

from collections.abc import Callable

from serial_relay.virtual_port.termios_map import ModemOutputs


class NothingOfATty:
    """A pty tells none of this."""

    def application_set_outputs(self, outputs: ModemOutputs) -> None:
        raise AssertionError(outputs)

    def application_set_break(self, *, on: bool) -> None:
        raise AssertionError(on)

    def application_drains(self, drained: Callable[[], None]) -> None:
        raise AssertionError(drained)

    def virtual_port_lost(self, reason: str) -> None:
        raise AssertionError(reason)
