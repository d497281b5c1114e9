"""The telnet layer: data and commands told apart, however the stream is cut."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rfc2217 import Data, RemoteProtocolError, TelnetCode, TelnetCommand
from rfc2217.telnet import Decoder, Item, Negotiation, Option, Subnegotiation, encode_command, encode_data
from tests.rfc2217 import reference_telnet

BOUND = 16

COMMANDS: tuple[TelnetCommand | Negotiation | Subnegotiation, ...] = (
    TelnetCommand(TelnetCode.NOP),
    TelnetCommand(TelnetCode.BREAK),
    TelnetCommand(TelnetCode.SE),
    TelnetCommand(TelnetCode(7)),
    Negotiation(TelnetCode.WILL, Option.BINARY),
    Negotiation(TelnetCode.WONT, Option.COM_PORT),
    Negotiation(TelnetCode.DO, Option(255)),
    Negotiation(TelnetCode.DONT, Option(99)),
    Subnegotiation(Option.COM_PORT, b""),
    Subnegotiation(Option.COM_PORT, b"\x01\xff\xff\xff\xff"),
    Subnegotiation(Option(255), b"\xff\xf0"),
    Subnegotiation(Option(24), b"\x00" * BOUND),
)

STREAM = (
    b"plain"
    + encode_data(b"\xff")
    + b"".join(b"." + encode_data(b"\xff\xf0\xff") + encode_command(command) for command in COMMANDS)
    + encode_data(b"\xff\xff\xffend")
)
ITEMS: list[Item] = [Data(b"plain\xff.\xff\xf0\xff")]
for _command in COMMANDS:
    ITEMS += [_command, Data(b".\xff\xf0\xff")]
ITEMS[-1] = Data(b"\xff\xff\xffend")


def joined(items: list[Item]) -> list[Item]:
    result: list[Item] = []
    for item in items:
        if isinstance(item, Data) and result and isinstance(result[-1], Data):
            result[-1] = Data(result[-1].data + item.data)
        else:
            result.append(item)
    return result


def decode(*chunks: bytes, bound: int = BOUND, short_way: bool = True) -> tuple[list[Item], bool]:
    """Return the items of a stream in chunks, and whether it broke the protocol; see `Decoder.take_data`."""
    decoder = Decoder(bound)
    items: list[Item] = []
    try:
        for chunk in chunks:
            if short_way and (data := decoder.take_data(chunk)):
                items.append(Data(data))
                continue
            for item in decoder.feed(chunk):
                items.append(item)  # noqa: PERF402 - what comes before an error counts as well
            assert len(decoder.incomplete) <= bound + 6
    except RemoteProtocolError:
        return joined(items), True
    return joined(items), False


def test_whole_stream() -> None:
    assert decode(STREAM) == (ITEMS, False)


def test_every_split_in_two_gives_the_same_items() -> None:
    for cut in range(len(STREAM) + 1):
        assert decode(STREAM[:cut], STREAM[cut:]) == (ITEMS, False), cut


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7])
def test_every_split_in_pieces_gives_the_same_items(size: int) -> None:
    assert decode(*(STREAM[i : i + size] for i in range(0, len(STREAM), size))) == (ITEMS, False)


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_every_prefix_of_a_command_is_incomplete(
    command: TelnetCommand | Negotiation | Subnegotiation,
) -> None:
    encoded = encode_command(command)
    assert decode(encoded) == ([command], False)
    for length in range(len(encoded)):
        assert decode(encoded[:length]) == ([], False), encoded[:length]


def test_plain_data_is_handed_on_without_a_copy() -> None:
    chunk = b"x" * 4096
    (item,) = Decoder(BOUND).feed(chunk)
    assert isinstance(item, Data)
    assert item.data is chunk
    assert encode_data(chunk) is chunk


@pytest.mark.parametrize("length", [*range(1, 9), *range(252, 260), *range(508, 516), 4096, 65_537])
def test_data_of_nothing_but_iac(length: int) -> None:
    data = b"\xff" * length
    for short_way in (True, False):
        assert decode(encode_data(data), short_way=short_way) == ([Data(data)], False)
        cut = decode(encode_data(data)[:-1], short_way=short_way)
        assert cut == ([Data(data[:-1])] if length > 1 else [], False)


@pytest.mark.parametrize("run", [1, 255, 256, 257, 512, 600])
@pytest.mark.parametrize("before", [b"", b"x", encode_command(TelnetCommand(TelnetCode.NOP))])
def test_long_runs_of_iac_between_other_things(run: int, before: bytes) -> None:
    escaped = encode_data(b"\xff" * run + b"y" + b"\xff" * (run + 1))
    assert escaped == b"\xff" * 2 * run + b"y" + b"\xff" * 2 * (run + 1)
    stream = before + escaped + encode_command(TelnetCommand(TelnetCode.BREAK))
    items, broken = reference_telnet.decode(stream, BOUND)
    assert not broken
    for cut in range(0, len(stream), 17):
        assert decode(stream[:cut], stream[cut:]) == (joined(items), False), cut


@pytest.mark.parametrize(
    ("payload", "broken"),
    [
        (b"x" * BOUND, False),
        (b"x" * (BOUND + 1), True),
        (b"\xff\xff" * (BOUND // 2), False),
        (b"\xff\xff" * (BOUND // 2 + 1), True),
        (b"ab\xff\x2cde", True),
        (b"ab\xff\xfb", True),
    ],
)
def test_framing_errors_show_at_every_split(payload: bytes, broken: bool) -> None:
    stream = b"before\xff\xfa\x2c" + payload + b"\xff\xf0after"
    expected = decode(stream)
    assert expected[1] is broken
    assert expected[0][0] == Data(b"before")
    for cut in range(len(stream)):
        assert decode(stream[:cut], stream[cut:]) == expected, cut


def test_an_endless_subnegotiation_ends_at_the_bound() -> None:
    decoder = Decoder(1000)
    assert list(decoder.feed(b"\xff\xfa\x2c")) == []
    for _ in range(1000):
        assert list(decoder.feed(b"x")) == []
    with pytest.raises(RemoteProtocolError, match="longer than 1000 octets"):
        list(decoder.feed(b"x"))


_PIECES = st.one_of(
    st.binary(max_size=4),
    st.sampled_from(
        [b"\xff", b"\xff\xff", b"\xff\xfa", b"\xff\xfa\x2c", b"\xff\xf0", b"\xff\xfb", b"\xff\xf3", b"\x2c"]
    ),
    st.sampled_from(COMMANDS).map(encode_command),
)


@given(st.lists(_PIECES, max_size=12), st.data())
@settings(max_examples=500, deadline=None)
def test_agrees_with_a_byte_by_byte_decoder(pieces: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=4)))
    chunks = [stream[i:j] for i, j in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    items, broken = reference_telnet.decode(stream, BOUND)
    assert decode(*chunks) == (joined(items), broken)
    assert decode(*chunks, short_way=False) == (joined(items), broken)


@pytest.mark.parametrize(
    "piece",
    [
        b"\xff\xff\xff\xf1",
        b"\xff\xf1",
        b"x\xff\xff",
        b"\xff\xfb\x2c",
        b"\xff\xfa\x2c\xff\xf0",
        b"\xff\xfa\x18\xff\xff\xff\xf0",
    ],
)
def test_a_large_chunk_of_small_things_takes_linear_time(piece: bytes) -> None:
    """A quadratic decoder needs minutes for this megabyte."""
    count = 2**20 // len(piece)
    decoder = Decoder(BOUND)
    one = joined(list(decoder.feed(piece)))
    many = joined(list(decoder.feed(piece * count)))
    data = sum(len(item.data) for item in many if isinstance(item, Data))
    assert data == count * sum(len(item.data) for item in one if isinstance(item, Data))
    commands = sum(not isinstance(item, Data) for item in many)
    assert commands == count * sum(not isinstance(item, Data) for item in one)
