"""One com port connection, seen from either end: bytes in, events out, commands in, bytes out.

There is no socket and no clock in here. The caller has them and calls, in this order:

- `start` once; then `receive_data` whenever bytes arrive, and acts on each event that it yields;
- `send` and `send_data` for what is to be sent;
- `data_to_send` after any of these, and writes what it returns.

A **client** waits for `ComPortAgreed` and then calls `send` with requests. The answers come back as events of the same
class with the actual value, in any order; `awaited` holds the requests that are not answered yet. An **access server**
receives each request as an event. It applies the request, then calls `send` with the same class and the **actual**
value; `unanswered` holds the requests to which it still owes an answer.

Events are decoded one by one as the caller takes them. A caller that has other work to do can stop in the middle and
take the rest later, so that the amount of work in one go is bounded whatever the peer sends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
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
    Data,
    Decoder,
    Item,
    Negotiation,
    Option,
    Subnegotiation,
    TelnetCode,
    TelnetCommand,
    encode_command,
    encode_data,
)


@dataclass(frozen=True, slots=True)
class ComPortAgreed:
    """Both ends have switched the com port option on; commands may be sent from now on."""


@dataclass(frozen=True, slots=True)
class ComPortRefused:
    """The peer has not switched the com port option on, or has switched it off: only data can be sent."""


@dataclass(frozen=True, slots=True)
class PeerFailed:
    """The peer broke the protocol beyond repair. This is the last event; the connection is to be closed."""

    reason: str
    """What the peer did, as text for people."""


Event = (
    Data
    | TelnetCommand
    | Negotiation
    | Subnegotiation
    | ComPortAgreed
    | ComPortRefused
    | ComPortCommand
    | UnrecognizedCommand
    | PeerFailed
)
"""Each item of the telnet stream gives one event.

`Negotiation` and `Subnegotiation` need no action: a negotiation is answered already, and a subnegotiation belongs to an
option that is not on. They are events so that a caller that counts events knows how much the peer has sent.
"""

_WELCOME = (Option.BINARY, Option.SUPPRESS_GO_AHEAD, Option.COM_PORT)
_OFFERS = {
    Role.CLIENT: ((Side.OURS, Option.COM_PORT), (Side.OURS, Option.BINARY)),
    Role.ACCESS_SERVER: (
        (Side.OURS, Option.BINARY),
        (Side.THEIRS, Option.BINARY),
        (Side.OURS, Option.SUPPRESS_GO_AHEAD),
        (Side.THEIRS, Option.SUPPRESS_GO_AHEAD),
        (Side.THEIRS, Option.COM_PORT),
    ),
}
"""RFC 2217, section 1: the client says WILL COM-PORT. An access server offers BINARY, as some clients never do.

A client says WILL alone at first. Some small access servers (esp-link is one) understand no other verb: they take DO
for data and write it to the serial line.
"""

_OFFERS_TO_TELNET = (
    (Side.THEIRS, Option.BINARY),
    (Side.OURS, Option.SUPPRESS_GO_AHEAD),
    (Side.THEIRS, Option.SUPPRESS_GO_AHEAD),
)
"""What a client asks for besides once the peer has accepted or offered BINARY, so that it is known to speak telnet."""

_ALSO_UNASKED = (NotifyLineState, NotifyModemState, Signature)
"""What an access server may also send without a request."""


class Connection:
    """A com port connection; see the module's docstring for the order of calls.

    Args:
        role: which end this is.
        max_subnegotiation: octets of a subnegotiation on the wire; a longer one is the peer's error.
        max_pending: requests without an answer, in each direction. A client may not `send` more of them. An access
            server may receive any number of requests in one `receive_data`, and is to answer them as they come; if
            more than `max_pending` are left when the next bytes arrive, the peer has failed.
    """

    def __init__(self, role: Role, *, max_subnegotiation: int = 1024, max_pending: int = 256) -> None:
        self.role = role
        self._max_pending = max_pending
        self._decoder = Decoder(max_subnegotiation)
        self._chunks: deque[bytes] = deque()
        """What arrived and is not decoded yet."""
        self._items: Iterator[Item] | None = None
        """The items of the chunk that is being decoded."""
        self._negotiator = Negotiator(_WELCOME)
        self._output: list[bytes] = []
        self.queued = 0
        """The number of bytes that `data_to_send` would return.

        A peer makes it grow by requests and negotiations, which are answered. Bound it: read no more from a peer that
        does not take its answers, or close the connection.
        """
        self._awaited: list[ComPortCommand] = []
        self._unanswered: list[ComPortCommand] = []
        self._agreed: bool | None = None
        self.suspended = False
        """True while the peer wants neither data nor commands (FLOWCONTROL-SUSPEND); hold both back then."""
        self._started = False
        self._speaks_telnet = False
        self._failed = False

    @property
    def agreed(self) -> bool | None:
        """True if the com port option is on, None while the peer has not answered."""
        return self._agreed

    @property
    def awaited(self) -> tuple[ComPortCommand, ...]:
        """The requests that were sent and are not answered yet, oldest first."""
        return tuple(self._awaited)

    @property
    def unanswered(self) -> tuple[ComPortCommand, ...]:
        """The requests that were received and to which `send` owes the answer, oldest first."""
        return tuple(self._unanswered)

    def start(self) -> None:
        """Queue the opening negotiation. Next: `data_to_send`, then `receive_data` until `ComPortAgreed` comes.

        Raises:
            LocalProtocolError: the connection was started before.
        """
        if self._started:
            raise LocalProtocolError("the connection was started already")
        self._started = True
        self._offer(_OFFERS[self.role])

    def take_data(self, data: bytes) -> bytes | None:
        """Return the bytes of the serial line in `data`, which has just arrived, if it has nothing else.

        Most of what arrives is so, and this is the short way for it. Otherwise it returns None and leaves `data` to
        `receive_data`.
        """
        if self._chunks or self._items is not None or self._failed:
            return None
        return self._decoder.take_data(data)

    def receive_data(self, data: bytes) -> Iterator[Event]:
        """Take what arrived, and return an iterator that decodes it event by event.

        Next: act on each event, answer the requests among them, then `data_to_send`. A caller that stops before the
        end gets the rest from the next call, which may have `b""`. Nothing comes after `PeerFailed`.
        """
        if data and not self._failed:
            self._chunks.append(data)
            if len(self._unanswered) > self._max_pending:
                self._chunks.clear()
                reason = f"more than {self._max_pending} requests are without an answer"
                self._items = _failing(self._items, reason)
        return iter(self._next_event, None)

    def send_data(self, data: bytes) -> None:
        """Queue bytes for the other end's serial line. Next: `data_to_send`.

        What is queued stays in order, so send the settings before the data that needs them. Hold data back while the
        connection is `suspended`. While nothing is `queued`, a caller may also write `encode_data(data)` itself.
        """
        self._queue(encode_data(data))

    def send(self, command: ComPortCommand | TelnetCommand) -> None:
        """Queue a request, an answer with the actual value, a notification or a telnet command. Next: `data_to_send`.

        Raises:
            LocalProtocolError: the com port option is not agreed, no request waits for this answer, or `max_pending`
                requests are without an answer from the peer.
        """
        if isinstance(command, TelnetCommand):
            self._queue(encode_command(command))
            return
        if not self._agreed:
            raise LocalProtocolError(
                f"{type(command).__name__} was sent before the com port option was agreed"
            )
        if _is_request(command, self.role):
            if len(self._awaited) >= self._max_pending:
                raise LocalProtocolError(f"the peer has left {len(self._awaited)} requests without an answer")
            self._awaited.append(command)
        elif (
            command.ANSWERED
            and not _take(self._unanswered, command)
            and not isinstance(command, _ALSO_UNASKED)
        ):
            raise LocalProtocolError(f"no request waits for the answer {command}")
        self._queue(encode_command(Subnegotiation(Option.COM_PORT, encode(command, self.role))))

    def forget(self, request: ComPortCommand) -> None:
        """Wait no longer for the answer to a request in `awaited`: some access servers leave some without one.

        If the answer comes after all, it is an event as any other.
        """
        self._awaited[:] = [awaited for awaited in self._awaited if awaited is not request]

    def data_to_send(self) -> bytes:
        """Return what is queued for the socket, and remove it from the queue; b"" if there is nothing."""
        self.queued = 0
        if len(self._output) == 1:
            return self._output.pop()
        data = b"".join(self._output)
        self._output.clear()
        return data

    def _next_event(self) -> Event | None:
        while True:
            if self._items is None:
                if not self._chunks:
                    return None
                self._items = self._decoder.feed(self._chunks.popleft())
            try:
                item = next(self._items, None)
            except RemoteProtocolError as error:
                self._failed = True
                self._items = None
                self._chunks.clear()
                return PeerFailed(str(error))
            if item is not None:
                return self._received(item)
            self._items = None

    def _received(self, item: Item) -> Event:
        match item:
            case Negotiation():
                self._say(self._negotiator.receive(item))
                if item.option is Option.BINARY and item.verb in (TelnetCode.DO, TelnetCode.WILL):
                    self._peer_speaks_telnet()
                if item.option is Option.COM_PORT:
                    return self._conclusion() or item
                return item
            case Subnegotiation(Option.COM_PORT, payload) if self._agreed:
                command = decode(payload, self.role.peer)
                self._note(command)
                return command
            case _:
                return item  # RFC 855: the parameters of an option that is not on have no meaning

    def _peer_speaks_telnet(self) -> None:
        if self.role is Role.CLIENT and self._started and not self._speaks_telnet:
            self._speaks_telnet = True
            self._offer(_OFFERS_TO_TELNET)

    def _conclusion(self) -> ComPortAgreed | ComPortRefused | None:
        """Return what has become of the com port option, None if it is not known yet or as before.

        Either side of the option will do, as peers differ in the one that they use.
        """
        states = {self._negotiator.state(side, Option.COM_PORT) for side in Side}
        if State.YES not in states and State.WANT_YES in states:
            return None
        agreed = State.YES in states
        if agreed is self._agreed:
            return None
        self._agreed = agreed
        self._awaited.clear()
        self._unanswered.clear()
        self.suspended = False
        return ComPortAgreed() if agreed else ComPortRefused()

    def _note(self, command: ComPortCommand | UnrecognizedCommand) -> None:
        match command:
            case UnrecognizedCommand():
                pass
            case FlowControlSuspend():
                self.suspended = True
            case FlowControlResume():
                self.suspended = False
            case _ if not _is_request(command, self.role.peer):
                _take(self._awaited, command)
            case _:
                self._unanswered.append(command)

    def _offer(self, offers: tuple[tuple[Side, Option], ...]) -> None:
        for side, option in offers:
            if self._negotiator.state(side, option) is State.NO:
                self._say(self._negotiator.enable(side, option))

    def _say(self, negotiation: Negotiation | None) -> None:
        if negotiation:
            self._queue(encode_command(negotiation))

    def _queue(self, data: bytes) -> None:
        self._output.append(data)
        self.queued += len(data)


def _failing(items: Iterator[Item] | None, reason: str) -> Iterator[Item]:
    yield from items or ()
    raise RemoteProtocolError(reason)


def _is_request(command: ComPortCommand, sender: Role) -> bool:
    if isinstance(command, Signature):
        return not command.text
    return command.ANSWERED and sender is Role.CLIENT


def _take(pending: list[ComPortCommand], answer: ComPortCommand) -> bool:
    """Remove the oldest request that has the subject of an answer; return False if there is none."""
    for index, request in enumerate(pending):
        if request.subject == answer.subject:
            del pending[index]
            return True
    return False
