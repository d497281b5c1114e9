"""Hostile input: no error but `PeerFailed`, no hang, and no memory beyond the bounds."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rfc2217 import Connection, Data, PeerFailed, Role, Signature
from rfc2217.com_port_option import encode
from rfc2217.telnet import Option, Subnegotiation, encode_command
from tests.rfc2217.commands import COMMANDS

MAX_SUBNEGOTIATION = 64
MAX_PENDING = 8
LONGEST_ANSWER_TO_ONE_OCTET = 2
"""Of three octets that refuse or accept an option, for at least two that arrived since the last look."""

_VALID = [encode_command(Subnegotiation(Option.COM_PORT, encode(c, role))) for role in Role for c in COMMANDS]
_AGREEMENT = b"\xff\xfb\x2c\xff\xfd\x2c"
_FRAGMENTS = [
    b"\xff",
    b"\xff\xff",
    b"\xff\xfa",
    b"\xff\xfa\x2c",
    b"\xff\xf0",
    b"\xff\xfc\x2c",
    b"\xff\xfd",
    b"\xff\xfe\x2c",
    b"\xff\xf3",
]
CLIENTS_LATER_OFFERS = 6
"""Octets of `IAC WILL SGA IAC DO SGA`, which a client sends once, when the peer has shown that it knows BINARY."""

_PIECES = st.lists(
    st.one_of(
        st.binary(max_size=8),
        st.sampled_from(_FRAGMENTS),
        st.sampled_from(_VALID),
        st.sampled_from(_VALID).map(lambda valid: valid[:-2]),
        st.just(_AGREEMENT),
        st.just(b"\xff\xfa\x2c" + b"x" * MAX_SUBNEGOTIATION),
    ),
    max_size=10,
)


def feed(connection: Connection, chunks: Sequence[bytes]) -> None:
    """Behave as an application that never answers, and check what the connection keeps after each chunk."""
    for chunk in chunks:
        events = list(connection.receive_data(chunk))
        if events and isinstance(events[-1], PeerFailed):
            return
        assert all(event.data for event in events if isinstance(event, Data))
        assert len(connection._decoder.incomplete) <= MAX_SUBNEGOTIATION + 6
        assert len(connection.unanswered) <= MAX_PENDING + len(chunk)
        assert connection.awaited in {(), (Signature(),)}
        assert len(connection._negotiator._states) == 6
        answers = LONGEST_ANSWER_TO_ONE_OCTET * (len(chunk) + 2)
        assert len(connection.data_to_send()) <= answers + CLIENTS_LATER_OFFERS
        assert not connection._output


@given(st.sampled_from(Role), st.booleans(), _PIECES, st.integers(1, 40))
@settings(max_examples=10_000, deadline=None, suppress_health_check=list(HealthCheck))
def test_ten_thousand_hostile_streams(role: Role, agreed: bool, pieces: list[bytes], size: int) -> None:
    connection = Connection(role, max_subnegotiation=MAX_SUBNEGOTIATION, max_pending=MAX_PENDING)
    connection.start()
    connection.data_to_send()
    if agreed:
        assert list(connection.receive_data(_AGREEMENT))
        connection.send(Signature())
        connection.data_to_send()
    stream = b"".join(pieces)
    feed(connection, [stream[i : i + size] for i in range(0, len(stream), size)])
