"""Both roles against each other: whatever one end says, the other hears."""

from __future__ import annotations

import pytest

from rfc2217 import (
    ComPortAgreed,
    ComPortCommand,
    ComPortRefused,
    Connection,
    Control,
    Data,
    FlowControlResume,
    FlowControlSuspend,
    LineState,
    LocalProtocolError,
    ModemState,
    NotifyLineState,
    NotifyModemState,
    Parity,
    PeerFailed,
    Role,
    SetBaudRate,
    SetControl,
    SetModemStateMask,
    SetParity,
    Signature,
    TelnetCode,
    TelnetCommand,
    UnrecognizedCommand,
)
from rfc2217.com_port_option import encode
from rfc2217.telnet import Option, Subnegotiation, encode_command
from tests.rfc2217.commands import COMMANDS, exchange, received

REQUESTS = [c for c in COMMANDS if c.ANSWERED and not (isinstance(c, Signature) and c.text)]


def agreed_pair(**bounds: int) -> tuple[Connection, Connection]:
    client, server = Connection(Role.CLIENT, **bounds), Connection(Role.ACCESS_SERVER, **bounds)
    client.start()
    server.start()
    assert exchange(client, server) == ([ComPortAgreed()], [ComPortAgreed()])
    return client, server


def wire(command: ComPortCommand, sender: Role) -> bytes:
    return encode_command(Subnegotiation(Option.COM_PORT, encode(command, sender)))


@pytest.mark.parametrize("starting", [{Role.CLIENT}, {Role.ACCESS_SERVER}, set(Role)])
def test_either_end_may_begin(starting: set[Role]) -> None:
    client, server = Connection(Role.CLIENT), Connection(Role.ACCESS_SERVER)
    for end in (client, server):
        assert end.agreed is None
        if end.role in starting:
            end.start()
    assert exchange(client, server) == ([ComPortAgreed()], [ComPortAgreed()])
    assert (client.agreed, server.agreed) == (True, True)


def test_an_access_server_offers_binary_in_both_directions_from_the_start() -> None:
    server = Connection(Role.ACCESS_SERVER)
    server.start()
    offered = server.data_to_send()
    assert b"\xff\xfb\x00" in offered
    assert b"\xff\xfd\x00" in offered
    with pytest.raises(LocalProtocolError, match="started already"):
        server.start()


WILL_COM_PORT, WILL_BINARY, WILL_SGA = b"\xff\xfb\x2c", b"\xff\xfb\x00", b"\xff\xfb\x03"
DO_COM_PORT, DO_BINARY, DO_SGA = b"\xff\xfd\x2c", b"\xff\xfd\x00", b"\xff\xfd\x03"
DONT_BINARY = b"\xff\xfe\x00"


@pytest.mark.parametrize("answer", [DO_COM_PORT, DO_COM_PORT + DONT_BINARY])
def test_a_client_says_nothing_but_will_to_a_peer_that_may_not_know_more(answer: bytes) -> None:
    client = Connection(Role.CLIENT)
    client.start()
    assert client.data_to_send() == WILL_COM_PORT + WILL_BINARY
    assert received(client, answer) == [ComPortAgreed()]
    assert client.data_to_send() == b""


@pytest.mark.parametrize(("answer", "says"), [(DO_BINARY, b""), (WILL_BINARY, DO_BINARY)])
def test_a_client_asks_a_peer_that_knows_telnet_for_binary_in_both_directions(
    answer: bytes, says: bytes
) -> None:
    client = Connection(Role.CLIENT)
    client.start()
    client.data_to_send()
    received(client, answer)
    asked = client.data_to_send()
    assert asked == says + (b"" if says else DO_BINARY) + WILL_SGA + DO_SGA
    received(client, answer)
    assert client.data_to_send() == b""


def test_starting_after_the_peer_does_not_ask_twice() -> None:
    client, server = Connection(Role.CLIENT), Connection(Role.ACCESS_SERVER)
    client.start()
    assert received(server, client.data_to_send()) == [ComPortAgreed()]
    agreement = server.data_to_send()
    server.start()
    assert server.data_to_send() == WILL_BINARY + WILL_SGA + DO_SGA
    assert received(client, agreement) == [ComPortAgreed()]
    assert client.data_to_send() == DO_BINARY + WILL_SGA + DO_SGA


@pytest.mark.parametrize("request_", REQUESTS, ids=str)
def test_every_request_of_the_client_is_owed_an_answer(request_: ComPortCommand) -> None:
    client, server = agreed_pair()
    client.send(request_)
    assert exchange(client, server) == ([], [request_])
    assert (client.awaited, server.unanswered) == ((request_,), (request_,))
    answer = Signature("x") if isinstance(request_, Signature) else request_
    server.send(answer)
    assert exchange(client, server) == ([answer], [])
    assert (client.awaited, server.unanswered) == ((), ())


def test_answers_in_any_order_find_their_requests() -> None:
    client, server = agreed_pair()
    requests = [
        SetBaudRate(9600),
        SetControl(Control.DTR_ON),
        SetControl(Control.RTS_ON),
        SetControl(Control.FLOW_HARDWARE),
        SetBaudRate(19200),
    ]
    for request in requests:
        client.send(request)
    exchange(client, server)
    answers = [
        (SetControl(Control.FLOW_NONE), 3),
        (SetControl(Control.RTS_ON), 2),
        (SetBaudRate(9615), 0),
        (SetControl(Control.DTR_OFF), 1),
        (SetBaudRate(19200), 4),
    ]
    left = dict(enumerate(requests))
    for answer, number in answers:
        server.send(answer)
        del left[number]
        assert server.unanswered == tuple(left.values())
        assert exchange(client, server) == ([answer], [])
        assert client.awaited == tuple(left.values())


def test_the_server_tells_unasked() -> None:
    client, server = agreed_pair()
    told = [
        NotifyModemState(ModemState.CTS | ModemState.CTS_CHANGED),
        NotifyLineState(LineState.BREAK_DETECT),
        Signature("serial_host/1.0.0 (COM3; available)"),
        FlowControlSuspend(),
        FlowControlResume(),
    ]
    for command in told:
        server.send(command)
    assert exchange(client, server) == (told, [])


def test_the_server_may_ask_for_the_clients_signature() -> None:
    client, server = agreed_pair()
    server.send(Signature())
    assert exchange(client, server) == ([Signature()], [])
    assert (server.awaited, client.unanswered) == ((Signature(),), (Signature(),))
    client.send(Signature("serial_relay/1.0.0"))
    assert exchange(client, server) == ([], [Signature("serial_relay/1.0.0")])
    assert (server.awaited, client.unanswered) == ((), ())


def test_an_answer_nobody_asked_for_is_our_mistake() -> None:
    client, server = agreed_pair()
    with pytest.raises(
        LocalProtocolError, match=r"no request waits for the answer SetBaudRate\(value=9600\)"
    ):
        server.send(SetBaudRate(9600))
    client.send(SetControl(Control.REQUEST_DTR))
    exchange(client, server)
    with pytest.raises(LocalProtocolError, match="no request waits"):
        server.send(SetControl(Control.RTS_ON))
    assert server.data_to_send() == b""
    server.send(SetControl(Control.DTR_ON))
    assert exchange(client, server) == ([SetControl(Control.DTR_ON)], [])


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_no_command_before_the_option_is_agreed(command: ComPortCommand) -> None:
    client = Connection(Role.CLIENT)
    client.start()
    client.data_to_send()
    with pytest.raises(LocalProtocolError, match="before the com port option was agreed"):
        client.send(command)
    assert client.data_to_send() == b""
    assert received(client, wire(command, Role.ACCESS_SERVER)) == []


def test_data_and_settings_keep_their_order() -> None:
    client, server = agreed_pair()
    client.send_data(b"at 9600 \xff")
    client.send(SetBaudRate(19200))
    client.send_data(b"\xff at 19200")
    client.send(TelnetCommand(TelnetCode.BREAK))
    assert exchange(client, server) == (
        [],
        [Data(b"at 9600 \xff"), SetBaudRate(19200), Data(b"\xff at 19200"), TelnetCommand(TelnetCode.BREAK)],
    )


def test_every_split_of_a_conversation_gives_the_same_events() -> None:
    client, server = agreed_pair()
    for command in COMMANDS:
        client.send_data(b"\xff.")
        client.send(command)
    stream = client.data_to_send()
    expected = received(server, stream)
    assert [event for event in expected if not isinstance(event, Data)] == list(COMMANDS)
    for size in (1, 2, 3, 4, 6, 9, 11):
        _, other = agreed_pair()
        events = [
            event for i in range(0, len(stream), size) for event in received(other, stream[i : i + size])
        ]
        assert [event for event in events if not isinstance(event, Data)] == list(COMMANDS)
        assert b"".join(event.data for event in events if isinstance(event, Data)) == b"\xff." * len(COMMANDS)
        assert other.unanswered == server.unanswered


def test_plain_data_passes_without_a_copy() -> None:
    client, server = agreed_pair()
    data = b"x" * 4096
    client.send_data(data)
    assert client.data_to_send() is data
    (event,) = received(server, data)
    assert isinstance(event, Data)
    assert event.data is data


def test_what_has_nothing_but_data_takes_the_short_way() -> None:
    _, server = agreed_pair()
    assert server.take_data(b"plain") == b"plain"
    assert server.take_data(b"pl\xff\xffin") == b"pl\xffin"
    assert server.take_data(b"half an\xff") == b"half an"
    assert server.take_data(b"\xffIAC") == b"\xffIAC"
    assert server.take_data(b"pl\xffin") is None
    assert received(server, b"begin \xff\xfa\x2c\x01") == [Data(b"begin ")]
    assert server.take_data(b"\0\0\x25\x80") is None
    assert received(server, b"\0\0\x25\x80\xff\xf0") == [SetBaudRate(9600)]
    assert server.take_data(b"plain again") == b"plain again"


def test_suspended_until_resumed() -> None:
    client, server = agreed_pair()
    for command, suspended in (
        (FlowControlSuspend(), True),
        (FlowControlSuspend(), True),
        (FlowControlResume(), False),
    ):
        server.send(command)
        exchange(client, server)
        assert client.suspended is suspended
        assert server.suspended is False


@pytest.mark.parametrize("word", [b"\xff\xfe\x2c", b"\xff\xfe\x2c\xff\xfc\x2c"])
def test_a_peer_without_the_option_refuses(word: bytes) -> None:
    client = Connection(Role.CLIENT)
    client.start()
    assert received(client, b"login: " + word) == [Data(b"login: "), ComPortRefused()]
    assert client.agreed is False
    assert received(client, word) == []


def test_a_plain_telnet_client_refuses_and_gets_its_data_through() -> None:
    server = Connection(Role.ACCESS_SERVER)
    server.start()
    server.data_to_send()
    assert received(server, b"\xff\xfd\x01\xff\xfc\x2c\xff\xfe\x2chello") == [
        ComPortRefused(),
        Data(b"hello"),
    ]
    assert server.data_to_send() == b"\xff\xfc\x01"  # no ECHO here


def test_taking_the_option_back_forgets_what_was_pending() -> None:
    client, server = agreed_pair()
    client.send(SetBaudRate(9600))
    exchange(client, server)
    assert received(server, b"\xff\xfc\x2c\xff\xfe\x2c") == [ComPortRefused()]
    assert server.unanswered == ()
    with pytest.raises(LocalProtocolError, match="before the com port option was agreed"):
        server.send(SetBaudRate(9600))


def test_unrecognized_commands_are_shown_and_owe_nothing() -> None:
    _, server = agreed_pair()
    assert received(server, b"\xff\xfa\x2c\x63ab\xff\xf0\xff\xfa\x2c\x01\x00\xff\xf0") == [
        UnrecognizedCommand(b"\x63ab"),
        UnrecognizedCommand(b"\x01\x00"),
    ]
    assert server.unanswered == ()


def test_subnegotiations_of_other_options_are_ignored() -> None:
    _, server = agreed_pair()
    assert received(server, b"\xff\xfa\x18\x01\xff\xf0x") == [Data(b"x")]


def test_any_number_of_requests_may_come_at_once_if_they_are_answered_as_they_come() -> None:
    _, server = agreed_pair(max_pending=3)
    requests = [SetBaudRate(number) for number in range(1000)]
    seen = []
    for request in server.receive_data(b"".join(wire(request, Role.CLIENT) for request in requests)):
        assert isinstance(request, SetBaudRate)
        seen.append(request)
        server.send(request)
    assert seen == requests
    assert received(server, b"x") == [Data(b"x")]


def test_requests_beyond_those_that_wait_for_an_answer_already_are_the_peers_mistake() -> None:
    _, server = agreed_pair(max_pending=3)
    flood: list[ComPortCommand] = [SetBaudRate(9600), SetParity(Parity.ODD), SetBaudRate(0), SetBaudRate(1)]
    assert received(server, b"".join(wire(command, Role.CLIENT) for command in flood)) == flood
    assert received(server, b"") == []
    assert received(server, b"x") == [PeerFailed("more than 3 requests are without an answer")]
    assert received(server, b"y") == []
    assert server.take_data(b"y") is None


def test_events_that_were_not_taken_come_with_the_next_call() -> None:
    client, server = agreed_pair()
    client.send_data(b"one")
    client.send(SetBaudRate(1))
    client.send_data(b"two")
    client.send(SetBaudRate(2))
    events = server.receive_data(client.data_to_send())
    assert [next(events), next(events)] == [Data(b"one"), SetBaudRate(1)]
    assert server.unanswered == (SetBaudRate(1),)
    assert server.take_data(b"three") is None
    assert received(server, b"three") == [Data(b"two"), SetBaudRate(2), Data(b"three")]
    assert server.take_data(b"four") == b"four"


def test_a_failure_comes_after_the_events_that_were_not_taken_before_it() -> None:
    client, server = agreed_pair(max_pending=1)
    for number in range(1, 4):
        server.receive_data(wire(SetBaudRate(number), Role.CLIENT))
    events = server.receive_data(b"".join(wire(SetBaudRate(number), Role.CLIENT) for number in range(4, 7)))
    assert [next(events) for _ in range(4)] == [SetBaudRate(number) for number in range(1, 5)]
    assert received(server, b"x") == [
        SetBaudRate(5),
        SetBaudRate(6),
        PeerFailed("more than 1 requests are without an answer"),
    ]
    assert received(client, b"y") == [Data(b"y")]


def test_each_item_of_the_stream_gives_one_event() -> None:
    """So a caller that counts events bounds its work, even if the peer sends what asks for no action."""
    _, server = agreed_pair()
    nothing = b"\xff\xfd\x63" + b"\xff\xfa\x18\x01\xff\xf0" + b"\xff\xf1"
    assert len(list(server.receive_data(nothing * 10))) == 30


def test_what_waits_to_be_sent_is_counted() -> None:
    client, server = agreed_pair()
    assert (client.queued, server.queued) == (0, 0)
    list(server.receive_data(b"\xff\xfd\x63" * 100))
    assert server.queued == 300
    server.send_data(b"\xff")
    assert server.queued == 302
    assert len(server.data_to_send()) == 302
    assert server.queued == 0
    client.send(SetBaudRate(1))
    assert client.queued == len(wire(SetBaudRate(1), Role.CLIENT)) == len(client.data_to_send())


def test_a_request_that_is_forgotten_is_awaited_no_longer() -> None:
    client, server = agreed_pair()
    first, second = SetControl(Control.DTR_ON), SetControl(Control.DTR_ON)
    client.send(first)
    client.send(second)
    client.forget(second)
    assert client.awaited == (first,)
    assert client.awaited[0] is first
    client.forget(first)
    exchange(client, server)
    server.send(SetControl(Control.DTR_ON))
    assert exchange(client, server) == ([SetControl(Control.DTR_ON)], [])


def test_an_echo_is_no_answer() -> None:
    """A raw server with a device that echoes must not look like an access server."""
    client = Connection(Role.CLIENT)
    client.start()
    events = []
    for _ in range(10):
        events += received(client, client.data_to_send())
        if client.agreed and not client.awaited:
            client.send(SetBaudRate())
    assert client.awaited == (SetBaudRate(),)
    assert SetBaudRate() not in events


def test_a_peer_that_never_answers_is_noticed_by_the_sender() -> None:
    client, server = agreed_pair(max_pending=3)
    for _ in range(3):
        client.send(SetModemStateMask(ModemState(255)))
    with pytest.raises(LocalProtocolError, match="the peer has left 3 requests without an answer"):
        client.send(SetBaudRate())
    exchange(client, server)
    assert len(server.unanswered) == 3


def test_what_came_before_a_framing_error_is_not_lost() -> None:
    client, _ = agreed_pair()
    events = received(client, b"data" + wire(SetBaudRate(300), Role.ACCESS_SERVER) + b"\xff\xfa\x2c\x65\xffA")
    reason = "IAC 65 inside a subnegotiation of telnet option 44, expected IAC SE"
    assert events == [Data(b"data"), SetBaudRate(300), PeerFailed(reason)]


def test_the_bound_of_a_subnegotiation_is_an_argument() -> None:
    long = wire(Signature("x" * 100), Role.ACCESS_SERVER)
    assert received(agreed_pair(max_subnegotiation=101)[0], long) == [Signature("x" * 100)]
    [failure] = received(agreed_pair(max_subnegotiation=100)[0], long)
    assert failure == PeerFailed("subnegotiation of telnet option 44 is longer than 100 octets")
