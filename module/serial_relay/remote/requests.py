"""The requests of one RFC 2217 connection: which wait for their answer, and which wait to be sent. Pure, without a clock.

An application can change settings and discard buffers faster than the host answers. Therefore a request waits while an
earlier one about the same thing is without an answer, and a newer one takes its place; what waits is sent before the next
data, which may need it. So the number of requests on their way stays bounded, and the host has the last setting in the end.

Some access servers leave some requests without an answer. All of them answer the question for the baud rate, and they
answer in order. So when that answer comes, the requests that were sent before the question will not be answered.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from rfc2217 import ComPortCommand, Connection, Purge, PurgeData, SetBaudRate

MOST_UNANSWERED = 32
"""Requests on their way. While there are as many, the application is not read, so that it sends no more."""

Answered = Callable[[ComPortCommand | None], None]
"""Called with the answer; with None if the host will not answer."""

Subject = tuple[int, int]


@dataclass(slots=True)
class _Request:
    command: ComPortCommand
    call: list[Answered] = field(default_factory=list)
    """What is called with the answer: one function, and those of the requests that this one has replaced."""
    baud_rates_before: int = 0
    """Requests about the baud rate that were sent before this one."""


class Requests:
    """Sends requests by `connection`, once that has agreed to the com port option."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sent: list[_Request] = []
        """The requests that were sent and are not answered, oldest first."""
        self.waiting: dict[Subject, _Request] = {}
        """The requests that are to be sent before the next data, by what they are about."""
        self._baud_rates_sent = 0
        self._baud_rates_answered = 0
        self.ended = False
        """True after `end`."""
        self._answering: set[Subject] = set()
        """The subjects of the requests that the host has answered."""

    @property
    def congested(self) -> bool:
        """True while so many requests are without an answer that no data should follow them."""
        return len(self._sent) >= MOST_UNANSWERED

    def awaits(self, subject: Subject) -> bool:
        """Return True if a request about this is without an answer, or waits to be sent."""
        return subject in self.waiting or self._oldest(subject) is not None

    def ask(self, command: ComPortCommand, answered: Answered | None = None) -> bool:
        """Send a request, or let it wait for the answer to an earlier one about the same thing.

        Return False if `answered` is called no more often than before, because the request that waited, and in whose place
        this one waits now, has that function already. So an application can ask as often as it likes.
        """
        subject = command.subject
        earlier = self.waiting.get(subject)
        if earlier is not None:
            earlier.command = _merged(earlier.command, command)
            if answered in earlier.call:
                return False
            earlier.call += [answered] if answered else []
            return True
        request = _Request(command, [answered] if answered else [])
        if self._must_wait(subject):
            self.waiting[subject] = request
        else:
            self._send(request)
        return True

    def ask_at_once(self, command: ComPortCommand, answered: Answered | None = None) -> None:
        """Send a request that must not wait and that no other may replace."""
        self._send(_Request(command, [answered] if answered else []))

    def send_waiting(self) -> None:
        """Send the requests that wait, because data follows."""
        waiting = list(self.waiting.values())
        self.waiting.clear()
        for request in waiting:
            self._send(request)

    def answered(self, answer: ComPortCommand) -> None:
        """Take an answer of the host. Call this once for each, in order."""
        request = self._oldest(answer.subject)
        if request is None:
            return  # nobody asked
        self._sent.remove(request)
        self._answering.add(answer.subject)
        if isinstance(answer, SetBaudRate):
            self._baud_rates_answered += 1
            self._give_up()
        self._conclude(request, answer)

    def end(self) -> None:
        """Give up all requests: the connection is over."""
        self.ended = True
        requests = [*self._sent, *self.waiting.values()]
        self._sent.clear()
        self.waiting.clear()
        for request in requests:
            for call in request.call:
                call(None)

    def _send(self, request: _Request) -> None:
        self._connection.send(request.command)
        request.baud_rates_before = self._baud_rates_sent
        self._baud_rates_sent += isinstance(request.command, SetBaudRate)
        self._sent.append(request)
        if request.call and request.command.subject not in self._answering:
            # Somebody waits for an answer that may never come; this one will.
            self._send(_Request(SetBaudRate()))

    def _oldest(self, subject: Subject) -> _Request | None:
        return next((request for request in self._sent if request.command.subject == subject), None)

    def _must_wait(self, subject: Subject) -> bool:
        """Return True if a request about this is without an answer, other than the question for the baud rate."""
        return any(
            request.command.subject == subject and request.command != SetBaudRate() for request in self._sent
        )

    def _give_up(self) -> None:
        """Give up what was sent before a question for the baud rate that is answered now."""
        for request in list(self._sent):
            if request.baud_rates_before < self._baud_rates_answered and not isinstance(
                request.command, SetBaudRate
            ):
                self._sent.remove(request)
                self._connection.forget(request.command)
                self._conclude(request, None)

    def _conclude(self, request: _Request, answer: ComPortCommand | None) -> None:
        subject = request.command.subject
        if subject in self.waiting and not self._must_wait(subject):
            self._send(self.waiting.pop(subject))
        for call in request.call:
            call(answer)


def _merged(earlier: ComPortCommand, later: ComPortCommand) -> ComPortCommand:
    """Return the request that takes the place of two about the same thing."""
    match earlier, later:
        case PurgeData(one), PurgeData(other) if one is not other:
            return PurgeData(Purge.BOTH)
        case SetBaudRate(rate), SetBaudRate(0) if rate:
            return earlier  # the answer to a setting tells the rate as well
    return later
