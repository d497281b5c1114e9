"""Which telnet options are on: the Q method of RFC 1143, as a table.

Each option has two sides: what we do (we say WILL or WONT, the peer says DO or DONT) and what the peer does (the other
way round). Both sides follow the one table below; a pair that is not listed is the caller's mistake. Whatever the peer
says, and in whatever order, the table leads to no loop of answers, and both ends agree in the end.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum, auto

from rfc2217.errors import LocalProtocolError
from rfc2217.telnet import Negotiation, Option, TelnetCode


class Side(Enum):
    """The end whose use of an option is meant."""

    OURS = auto()
    THEIRS = auto()


class State(Enum):
    """The state of one side of an option (RFC 1143, section 7; `OPPOSITE` is its queue bit)."""

    NO = auto()
    YES = auto()
    WANT_NO = auto()
    WANT_NO_OPPOSITE = auto()
    WANT_YES = auto()
    WANT_YES_OPPOSITE = auto()


class Input(Enum):
    """The inputs of the table, which change one side of an option."""

    ENABLE = auto()
    """The caller wants the option on."""
    DISABLE = auto()
    """The caller wants the option off."""
    YES = auto()
    """WILL or DO was received for a welcome option."""
    UNWELCOME = auto()
    """WILL or DO was received for an option that is not welcome; it never leaves `State.NO`."""
    NO = auto()
    """WONT or DONT was received."""


TRANSITIONS: dict[tuple[State, Input], tuple[State, bool | None]] = {
    (State.NO, Input.ENABLE): (State.WANT_YES, True),
    (State.NO, Input.YES): (State.YES, True),
    (State.NO, Input.UNWELCOME): (State.NO, False),
    (State.NO, Input.NO): (State.NO, None),
    (State.YES, Input.DISABLE): (State.WANT_NO, False),
    (State.YES, Input.YES): (State.YES, None),
    (State.YES, Input.NO): (State.NO, False),
    (State.WANT_NO, Input.ENABLE): (State.WANT_NO_OPPOSITE, None),
    (State.WANT_NO, Input.YES): (State.NO, None),
    (State.WANT_NO, Input.NO): (State.NO, None),
    (State.WANT_NO_OPPOSITE, Input.DISABLE): (State.WANT_NO, None),
    (State.WANT_NO_OPPOSITE, Input.YES): (State.YES, None),
    (State.WANT_NO_OPPOSITE, Input.NO): (State.WANT_YES, True),
    (State.WANT_YES, Input.DISABLE): (State.WANT_YES_OPPOSITE, None),
    (State.WANT_YES, Input.YES): (State.YES, None),
    (State.WANT_YES, Input.NO): (State.NO, None),
    (State.WANT_YES_OPPOSITE, Input.ENABLE): (State.WANT_YES, None),
    (State.WANT_YES_OPPOSITE, Input.YES): (State.WANT_NO, False),
    (State.WANT_YES_OPPOSITE, Input.NO): (State.NO, None),
}
"""For each state and input the next state, and what to answer: True is WILL or DO, False is WONT or DONT."""

_RECEIVED = {
    TelnetCode.DO: (Side.OURS, True),
    TelnetCode.DONT: (Side.OURS, False),
    TelnetCode.WILL: (Side.THEIRS, True),
    TelnetCode.WONT: (Side.THEIRS, False),
}
_SAY = {
    (Side.OURS, True): TelnetCode.WILL,
    (Side.OURS, False): TelnetCode.WONT,
    (Side.THEIRS, True): TelnetCode.DO,
    (Side.THEIRS, False): TelnetCode.DONT,
}


class Negotiator:
    """The state of all options of one connection; the `welcome` ones may be switched on, on both sides."""

    def __init__(self, welcome: Collection[Option]) -> None:
        self._states = {(side, option): State.NO for side in Side for option in welcome}

    def state(self, side: Side, option: Option) -> State:
        """Return the state of one side of an option."""
        return self._states.get((side, option), State.NO)

    def enable(self, side: Side, option: Option) -> Negotiation | None:
        """Ask for a welcome option. The caller sends what this returns."""
        return self._step(side, option, Input.ENABLE)

    def disable(self, side: Side, option: Option) -> Negotiation | None:
        """Ask for the end of a welcome option. The caller sends what this returns."""
        return self._step(side, option, Input.DISABLE)

    def receive(self, negotiation: Negotiation) -> Negotiation | None:
        """Take what the peer said. The caller sends what this returns."""
        side, positive = _RECEIVED[negotiation.verb]
        if not positive:
            what = Input.NO
        elif (side, negotiation.option) in self._states:
            what = Input.YES
        else:
            what = Input.UNWELCOME
        return self._step(side, negotiation.option, what)

    def _step(self, side: Side, option: Option, what: Input) -> Negotiation | None:
        before = self.state(side, option)
        if (before, what) not in TRANSITIONS:
            raise LocalProtocolError(f"{what.name} of telnet option {option} while it is {before.name}")
        after, say = TRANSITIONS[before, what]
        if after is not before:
            self._states[side, option] = after
        return None if say is None else Negotiation(_SAY[side, say], option)
