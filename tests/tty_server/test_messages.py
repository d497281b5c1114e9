"""The messages between the server of the devices and the relay."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tty_server.messages import (
    FLOW_CONTROLS,
    HEADER,
    LONGEST,
    PARITIES,
    Decoder,
    ErrorCounts,
    Kind,
    Line,
    MessageError,
    data_messages,
    message,
)


@given(st.binary(max_size=3 * LONGEST), st.integers(1, 5000))
def test_bytes_come_out_of_any_pieces_as_they_went_in(data: bytes, size: int) -> None:
    stream = data_messages(data) + message(Kind.HOLD, b"\1")
    decoder = Decoder()
    found: list[tuple[int, bytes]] = []
    for start in range(0, len(stream), size):
        found += decoder.messages(stream[start : start + size])
    assert b"".join(rest for kind, rest in found if kind == Kind.DATA) == data
    assert found[-1] == (Kind.HOLD, b"\1")


@given(
    st.builds(
        Line,
        st.integers(0, 2**32 - 1),
        st.integers(0, 8),
        st.sampled_from(PARITIES),
        st.integers(0, 2),
        st.sampled_from(FLOW_CONTROLS),
    )
)
def test_a_line_is_read_as_it_was_written(line: Line) -> None:
    assert Line.unpack(line.pack()) == line


@given(st.binary(max_size=20))
def test_whatever_else_comes_is_an_error_of_the_protocol(data: bytes) -> None:
    for form in (Line, ErrorCounts):
        try:
            read = form.unpack(data)
        except MessageError:
            continue
        assert read.pack() == data


def test_a_message_that_is_too_long_is_refused() -> None:
    with pytest.raises(MessageError):
        list(Decoder().messages(HEADER.pack(Kind.DATA, LONGEST + 1)))
