"""One com port connection, seen from either end: bytes in, events out, commands in, bytes out.

There is no socket and no clock in here. Whoever has them calls, in this order:

- `start` once, then whenever bytes arrive `receive_data`, acting on each event it returns;
- `send` and `send_data` for what there is to say;
- `data_to_send` after any of these, and writes what it returns.

As a **client**, wait for `ComPortAgreed`, then `send` requests; the answers come back as events of the same class
with the actual value, in any order; `awaited` says which are still out. As an **access server**, each request
comes as an event: apply it, then `send` the same class with the **actual** value; `unanswered` says what is still
owed, and asks to be empty sooner or later.
"""

from __future__ import annotations

from dataclasses import dataclass

from rfc2217.com_port_option import (
    ComPortCommand,
    FlowControlResume,
    FlowControlSuspend,
    NotifyLineState,
    NotifyModemState,
    Role,
    Signature,
    UnrecognizedCommand,
    decode,
    encode,
)
from rfc2217.errors import LocalProtocolError, RemoteProtocolError
from rfc2217.negotiation import Negotiator, Side, State
from rfc2217.telnet import (
    IAC,
    Data,
    Decoder,
    Item,
    Negotiation,
    Option,
    Subnegotiation,
    TelnetCommand,
    encode_command,
    encode_data,
)


@dataclass(frozen=True, slots=True)
class ComPortAgreed:
    """Both ends have the com port option on: commands may be sent from now."""


@dataclass(frozen=True, slots=True)
class ComPortRefused:
    """The peer does not have the com port option, or not any longer: data passes, commands cannot be sent."""


@dataclass(frozen=True, slots=True)
class PeerFailed:
    """The peer broke the protocol beyond repair: the last event of a connection, which is to be closed now."""

    reason: str
    """What the peer did, for people."""


Event = (
    Data | TelnetCommand | ComPortAgreed | ComPortRefused | ComPortCommand | UnrecognizedCommand | PeerFailed
)

_WELCOME = (Option.BINARY, Option.SUPPRESS_GO_AHEAD, Option.COM_PORT)
_OFFERS = {
    Role.CLIENT: (
        (Side.OURS, Option.BINARY),
        (Side.THEIRS, Option.BINARY),
        (Side.OURS, Option.SUPPRESS_GO_AHEAD),
        (Side.THEIRS, Option.SUPPRESS_GO_AHEAD),
        (Side.OURS, Option.COM_PORT),
    ),
    Role.ACCESS_SERVER: (
        (Side.OURS, Option.BINARY),
        (Side.THEIRS, Option.BINARY),
        (Side.OURS, Option.SUPPRESS_GO_AHEAD),
        (Side.THEIRS, Option.SUPPRESS_GO_AHEAD),
        (Side.THEIRS, Option.COM_PORT),
    ),
}
"""BINARY comes from both ends, as some clients never offer it. RFC 2217, section 1: the client says WILL COM-PORT."""

_ALSO_UNASKED = (NotifyLineState, NotifyModemState, Signature)
"""What an access server may send unasked as well."""


class Connection:
    """A com port connection; see the module's docstring for the order of calls.

    Args:
        role: which end this is.
        max_subnegotiation: octets of a subnegotiation on the wire, beyond which the peer is in error.
        max_pending: requests without an answer, in each direction, beyond which whoever sends them is in error.
    """

    def __init__(self, role: Role, *, max_subnegotiation: int = 1024, max_pending: int = 256) -> None:
        self.role = role
        self._max_pending = max_pending
        self._decoder = Decoder(max_subnegotiation)
        self._negotiator = Negotiator(_WELCOME)
        self._output: list[bytes] = []
        self._awaited: list[ComPortCommand] = []
        self._unanswered: list[ComPortCommand] = []
        self._agreed: bool | None = None
        self._suspended = False
        self._started = False
        self._failed = False

    @property
    def agreed(self) -> bool | None:
        """Whether the com port option is on; None while the peer has not said."""
        return self._agreed

    @property
    def suspended(self) -> bool:
        """Whether the peer asked for silence: while True, hold back data and commands (FLOWCONTROL-SUSPEND)."""
        return self._suspended

    @property
    def awaited(self) -> tuple[ComPortCommand, ...]:
        """Requests that were sent and not answered yet, oldest first."""
        return tuple(self._awaited)

    @property
    def unanswered(self) -> tuple[ComPortCommand, ...]:
        """Requests that were received and to which `send` owes the answer, oldest first."""
        return tuple(self._unanswered)

    def start(self) -> None:
        """Queue the opening negotiation. Next: `data_to_send`, then `receive_data` until `ComPortAgreed` comes.

        Raises:
            LocalProtocolError: it was started before.
        """
        if self._started:
            raise LocalProtocolError("the connection was started already")
        self._started = True
        for side, option in _OFFERS[self.role]:
            if self._negotiator.state(side, option) is State.NO:
                self._say(self._negotiator.enable(side, option))

    def is_plain(self, data: bytes) -> bool:
        """Tell whether what arrived is data as it stands, which most is: it need not go through `receive_data` then."""
        return IAC not in data and not self._decoder.incomplete

    def receive_data(self, data: bytes) -> list[Event]:
        """Decode what arrived. Next: act on each event, answer the requests among them, then `data_to_send`.

        What arrives after `PeerFailed` has no meaning any more and gives no event.
        """
        if self._failed:
            return []
        if self.is_plain(data):
            return [Data(data)] if data else []
        events: list[Event] = []
        try:
            for item in self._decoder.feed(data):
                self._receive(item, events)
        except RemoteProtocolError as error:
            self._failed = True
            events.append(PeerFailed(str(error)))
        return events

    def send_data(self, data: bytes) -> None:
        """Queue bytes for the other end's serial line. Next: `data_to_send`.

        Hold data back while `suspended`, and before the settings it needs are sent: what is queued stays in order.
        """
        self._output.append(encode_data(data))

    def send(self, command: ComPortCommand | TelnetCommand) -> None:
        """Queue a request, an answer with the actual value, a notification or a telnet command. Next: `data_to_send`.

        Raises:
            LocalProtocolError: the com port option is not agreed, no request waits for this answer, or the peer left
                `max_pending` requests without an answer.
        """
        if isinstance(command, TelnetCommand):
            self._output.append(encode_command(command))
            return
        if not self._agreed:
            raise LocalProtocolError(f"{type(command).__name__} before the com port option is agreed")
        if _is_request(command, self.role):
            if len(self._awaited) >= self._max_pending:
                raise LocalProtocolError(f"the peer left {len(self._awaited)} requests without an answer")
            self._awaited.append(command)
        elif (
            command.ANSWERED
            and not _take(self._unanswered, command)
            and not isinstance(command, _ALSO_UNASKED)
        ):
            raise LocalProtocolError(f"no request waits for the answer {command}")
        self._output.append(encode_command(Subnegotiation(Option.COM_PORT, encode(command, self.role))))

    def data_to_send(self) -> bytes:
        """Give what is queued, for the socket; b"" if there is nothing. It is given once."""
        if len(self._output) == 1:
            return self._output.pop()
        data = b"".join(self._output)
        self._output.clear()
        return data

    def _receive(self, item: Item, events: list[Event]) -> None:
        match item:
            case Data() | TelnetCommand():
                events.append(item)
            case Negotiation():
                self._say(self._negotiator.receive(item))
                if item.option is Option.COM_PORT:
                    self._conclude(events)
            case Subnegotiation(Option.COM_PORT, payload) if self._agreed:
                command = decode(payload, self.role.peer)
                self._note(command)
                events.append(command)
            case Subnegotiation():
                pass  # RFC 855: the parameters of an option that is not on have no meaning

    def _conclude(self, events: list[Event]) -> None:
        """See what became of the com port option; either side of it will do, as peers differ in which they use."""
        states = {self._negotiator.state(side, Option.COM_PORT) for side in Side}
        if State.YES not in states and State.WANT_YES in states:
            return
        agreed = State.YES in states
        if agreed is not self._agreed:
            self._agreed = agreed
            self._awaited.clear()
            self._unanswered.clear()
            self._suspended = False
            events.append(ComPortAgreed() if agreed else ComPortRefused())

    def _note(self, command: ComPortCommand | UnrecognizedCommand) -> None:
        match command:
            case UnrecognizedCommand():
                pass
            case FlowControlSuspend():
                self._suspended = True
            case FlowControlResume():
                self._suspended = False
            case _ if not _is_request(command, self.role.peer):
                _take(self._awaited, command)
            case _ if len(self._unanswered) < self._max_pending:
                self._unanswered.append(command)
            case _:
                raise RemoteProtocolError(
                    f"more than {self._max_pending} requests without waiting for an answer"
                )

    def _say(self, negotiation: Negotiation | None) -> None:
        if negotiation:
            self._output.append(encode_command(negotiation))


def _is_request(command: ComPortCommand, sender: Role) -> bool:
    if isinstance(command, Signature):
        return not command.text
    return command.ANSWERED and sender is Role.CLIENT


def _take(pending: list[ComPortCommand], answer: ComPortCommand) -> bool:
    """Remove the oldest request that has the subject of an answer."""
    for index, request in enumerate(pending):
        if request.subject == answer.subject:
            del pending[index]
            return True
    return False
