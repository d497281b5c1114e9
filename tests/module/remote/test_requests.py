"""Which requests are sent, and which wait: against an access server whose answers are in the test's hands."""

from __future__ import annotations

from functools import partial

from rfc2217 import (
    ComPortCommand,
    Connection,
    Control,
    Data,
    Negotiation,
    Parity,
    Purge,
    PurgeData,
    Role,
    SetBaudRate,
    SetControl,
    SetParity,
)
from serial_relay.remote.requests import MOST_UNANSWERED, Requests


class Line:
    """A client with its requests, and the server that it talks to."""

    def __init__(self) -> None:
        self.client, self.server = Connection(Role.CLIENT), Connection(Role.ACCESS_SERVER)
        self.client.start()
        self.server.start()
        for _ in range(3):
            list(self.server.receive_data(self.client.data_to_send()))
            list(self.client.receive_data(self.server.data_to_send()))
        self.requests = Requests(self.client)

    def arrived(self) -> list[object]:
        """What has come to the server since the last look."""
        return [
            event.data if isinstance(event, Data) else event
            for event in self.server.receive_data(self.client.data_to_send())
            if not isinstance(event, Negotiation)
        ]

    def answer(self, *answers: ComPortCommand) -> None:
        for answer in answers:
            self.server.send(answer)
        for event in self.client.receive_data(self.server.data_to_send()):
            assert isinstance(event, ComPortCommand)
            self.requests.answered(event)


def test_a_newer_setting_takes_the_place_of_one_that_waits() -> None:
    line = Line()
    for rate in (1200, 2400, 4800, 9600):
        line.requests.ask(SetBaudRate(rate))
    line.requests.ask(SetParity(Parity.ODD))
    assert line.arrived() == [SetBaudRate(1200), SetParity(Parity.ODD)]
    line.answer(SetBaudRate(1200))
    assert line.arrived() == [SetBaudRate(9600)]
    assert line.requests.awaits(SetBaudRate().subject)
    line.answer(SetBaudRate(9600))
    assert line.arrived() == []
    assert not line.requests.awaits(SetBaudRate().subject)


def test_a_setting_is_sent_before_the_data_that_is_written_after_it() -> None:
    line = Line()
    line.requests.ask(SetBaudRate(1200))
    line.requests.ask(SetBaudRate(2400))
    line.requests.send_waiting()
    line.client.send_data(b"at 2400")
    line.requests.ask(SetBaudRate(4800))
    line.requests.send_waiting()
    line.client.send_data(b"at 4800")
    assert line.arrived() == [SetBaudRate(1200), SetBaudRate(2400), b"at 2400", SetBaudRate(4800), b"at 4800"]


def test_a_question_for_the_baud_rate_keeps_no_setting_waiting_and_replaces_none() -> None:
    line = Line()
    line.requests.ask_at_once(SetBaudRate())
    line.requests.ask(SetBaudRate(1200))
    line.requests.ask(SetBaudRate(2400))
    line.requests.ask(SetBaudRate())
    assert line.arrived() == [SetBaudRate(), SetBaudRate(1200)]
    line.answer(SetBaudRate(9600), SetBaudRate(1200))
    assert line.arrived() == [SetBaudRate(2400)]


def test_purges_that_wait_become_one() -> None:
    line = Line()
    for what in (Purge.RECEIVE, Purge.RECEIVE, Purge.TRANSMIT, Purge.RECEIVE):
        line.requests.ask(PurgeData(what))
    assert line.arrived() == [PurgeData(Purge.RECEIVE)]
    line.answer(PurgeData(Purge.RECEIVE))
    assert line.arrived() == [PurgeData(Purge.BOTH)]


def test_each_request_that_was_replaced_gets_the_answer_to_the_one_in_its_place() -> None:
    line = Line()
    answers: list[tuple[int, ComPortCommand | None]] = []
    on, off = SetControl(Control.DTR_ON), SetControl(Control.DTR_OFF)
    line.requests.ask(on, lambda answer: answers.append((1, answer)))
    line.requests.ask(off, lambda answer: answers.append((2, answer)))
    line.requests.ask(on, lambda answer: answers.append((3, answer)))
    line.arrived()
    line.answer(off)
    assert answers == [(1, off)]
    line.arrived()
    line.answer(on)
    assert answers == [(1, off), (2, on), (3, on)]


def test_a_request_to_which_the_host_gives_no_answer_is_given_up_with_the_next_answer_to_the_question() -> (
    None
):
    line = Line()
    answers: list[ComPortCommand | None] = []
    line.requests.ask(SetControl(Control.DTR_ON), answers.append)
    line.requests.ask(SetControl(Control.DTR_OFF), answers.append)
    assert line.arrived() == [SetControl(Control.DTR_ON), SetBaudRate()]
    line.answer(SetBaudRate(9600))
    assert answers == [None]
    assert line.arrived() == [SetControl(Control.DTR_OFF), SetBaudRate()]
    line.answer(SetBaudRate(9600))
    assert answers == [None, None]
    assert line.client.awaited == ()


def test_a_host_that_has_answered_before_is_not_asked_whether_it_does() -> None:
    line = Line()
    for _ in range(2):
        line.requests.ask(PurgeData(Purge.RECEIVE), lambda _answer: None)
        line.answer(*[command for command in line.arrived() if isinstance(command, ComPortCommand)])
    line.requests.ask(PurgeData(Purge.RECEIVE), lambda _answer: None)
    assert line.arrived() == [PurgeData(Purge.RECEIVE)]


def test_requests_that_data_pushes_out_end_in_congestion_and_an_answer_to_the_question_ends_it() -> None:
    line = Line()
    for number in range(MOST_UNANSWERED):
        assert not line.requests.congested
        line.requests.ask(PurgeData(Purge.TRANSMIT))
        line.requests.send_waiting()
        line.client.send_data(b"%d" % number)
    assert line.requests.congested
    line.requests.ask_at_once(SetBaudRate())
    assert len(line.arrived()) == 2 * MOST_UNANSWERED + 1
    line.answer(SetBaudRate(9600))
    assert not line.requests.congested
    assert line.client.awaited == ()


def test_an_answer_that_nobody_asked_for_changes_nothing() -> None:
    line = Line()
    line.requests.answered(SetBaudRate(9600))
    line.requests.ask(SetBaudRate(1200))
    assert line.arrived() == [SetBaudRate(1200)]


def test_a_request_that_is_repeated_while_it_waits_is_answered_once() -> None:
    line = Line()
    answers: list[ComPortCommand | None] = []
    asked = [line.requests.ask(PurgeData(Purge.RECEIVE), answers.append) for _ in range(1000)]
    assert asked == [True, True] + [False] * 998
    assert line.arrived().count(PurgeData(Purge.RECEIVE)) == 1
    line.answer(PurgeData(Purge.RECEIVE))
    assert line.arrived() == [PurgeData(Purge.RECEIVE)]
    line.answer(PurgeData(Purge.RECEIVE))
    assert line.arrived() == []
    assert answers == [PurgeData(Purge.RECEIVE)] * 2


def test_at_the_end_nobody_waits_any_more() -> None:
    line = Line()
    answers: list[ComPortCommand | None] = []
    for control in (Control.DTR_ON, Control.DTR_OFF, Control.DTR_ON):
        line.requests.ask(SetControl(control), partial(answers.append))
    line.requests.end()
    assert line.requests.ended
    assert answers == [None, None, None]
