from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serial_monitor.records import FROM_DEVICE, TO_DEVICE, Record, decode, encode

MOMENTS = st.integers(0, 2**32 * 1_000_000).map(lambda microseconds: round(microseconds / 1_000_000, 6))
RECORDS = st.builds(
    Record, MOMENTS, st.text(), st.sampled_from([TO_DEVICE, FROM_DEVICE]), st.binary(), st.just("")
) | st.builds(
    Record, MOMENTS, st.text(), st.sampled_from(["state", "line"]), st.just(b""), st.text(max_size=500)
)


@given(RECORDS)
def test_a_record_survives_its_line(record: Record) -> None:
    line = encode(record)
    assert line.count(b"\n") == 1
    assert decode(line) == record


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b'{"time": 1, "port": "a", "direction": "sideways", "data": ""}',
        b'{"time": 1, "port": "a", "direction": "toDevice", "data": "0"}',
        b'{"time": 1, "port": 2, "event": "state", "text": ""}',
        b"\xff",
    ],
)
def test_what_is_no_record_is_an_error(line: bytes) -> None:
    with pytest.raises(ValueError):
        decode(line)


def test_a_long_text_is_cut() -> None:
    line = json.dumps({"time": 1, "port": "a", "event": "error", "text": "x" * 100_000}).encode()
    assert len(decode(line).text) == 2000
