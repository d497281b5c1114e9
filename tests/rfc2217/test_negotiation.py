"""The Q method: whatever is asked for and in whatever order it arrives, both ends agree and fall silent."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rfc2217 import LocalProtocolError, TelnetCode
from rfc2217.negotiation import TRANSITIONS, Input, Negotiator, Side, State
from rfc2217.telnet import Negotiation, Option

SETTLED = {State.NO, State.YES}


def test_every_word_of_the_peer_is_provided_for() -> None:
    for state in State:
        assert (state, Input.YES) in TRANSITIONS
        assert (state, Input.NO) in TRANSITIONS
    assert [state for state in State if (state, Input.UNWELCOME) in TRANSITIONS] == [State.NO]


def test_what_we_have_already_cannot_be_asked_for() -> None:
    negotiator = Negotiator({Option.BINARY})
    assert negotiator.enable(Side.OURS, Option.BINARY) == Negotiation(TelnetCode.WILL, Option.BINARY)
    with pytest.raises(LocalProtocolError, match="ENABLE of telnet option 0 while it is WANT_YES"):
        negotiator.enable(Side.OURS, Option.BINARY)
    with pytest.raises(LocalProtocolError, match="DISABLE of telnet option 3 while it is NO"):
        negotiator.disable(Side.THEIRS, Option.SUPPRESS_GO_AHEAD)


@pytest.mark.parametrize(
    ("received", "answer"),
    [
        (TelnetCode.WILL, TelnetCode.DONT),
        (TelnetCode.DO, TelnetCode.WONT),
        (TelnetCode.WONT, None),
        (TelnetCode.DONT, None),
    ],
)
def test_options_we_do_not_have_are_refused(received: TelnetCode, answer: TelnetCode | None) -> None:
    negotiator = Negotiator({Option.BINARY})
    for option in map(Option, set(range(256)) - {Option.BINARY}):
        for _ in range(2):
            expected = None if answer is None else Negotiation(answer, option)
            assert negotiator.receive(Negotiation(received, option)) == expected
    assert len(negotiator._states) == 2


def test_a_peer_that_takes_an_option_back_is_confirmed_once() -> None:
    negotiator = Negotiator({Option.COM_PORT})
    assert negotiator.receive(Negotiation(TelnetCode.DO, Option.COM_PORT)) == Negotiation(
        TelnetCode.WILL, Option.COM_PORT
    )
    assert negotiator.receive(Negotiation(TelnetCode.DO, Option.COM_PORT)) is None
    assert negotiator.receive(Negotiation(TelnetCode.DONT, Option.COM_PORT)) == Negotiation(
        TelnetCode.WONT, Option.COM_PORT
    )
    assert negotiator.receive(Negotiation(TelnetCode.DONT, Option.COM_PORT)) is None


_STEPS = st.lists(
    st.tuples(st.sampled_from(["ask", "deliver"]), st.integers(0, 1), st.booleans()), max_size=40
)


@given(_STEPS, st.booleans())
@settings(max_examples=1000, deadline=None)
def test_two_ends_agree_whatever_they_ask_and_however_it_crosses(
    steps: list[tuple[str, int, bool]], second_is_willing: bool
) -> None:
    option = Option.BINARY
    ends = (Negotiator({option}), Negotiator({option} if second_is_willing else ()))
    sides = ((Side.OURS, Side.THEIRS), (Side.THEIRS, Side.OURS))
    wires: tuple[deque[Negotiation], deque[Negotiation]] = (deque(), deque())

    def say(end: int, negotiation: Negotiation | None) -> None:
        if negotiation:
            wires[end].append(negotiation)

    def deliver(end: int) -> None:
        say(1 - end, ends[1 - end].receive(wires[end].popleft()))

    for action, end, wanted in steps:
        if action == "deliver":
            if wires[end]:
                deliver(end)
        elif end == 0 or second_is_willing:
            ask = ends[end].enable if wanted else ends[end].disable
            try:
                say(end, ask(sides[end][0], option))
            except LocalProtocolError:
                continue
    for _ in range(200):
        for end in (0, 1):
            if wires[end]:
                deliver(end)
    assert not any(wires), "they never fall silent"
    states = ends[0].state(Side.OURS, option), ends[1].state(Side.THEIRS, option)
    assert states[0] is states[1]
    assert states[0] in SETTLED
