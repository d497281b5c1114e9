"""Frames as pymodbus makes them, and what is no frame."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.framer import FramerRTU
from pymodbus.pdu import DecodePDU, ExceptionResponse, ModbusPDU
from pymodbus.pdu.bit_message import (
    ReadCoilsRequest,
    ReadCoilsResponse,
    WriteMultipleCoilsRequest,
    WriteSingleCoilRequest,
)
from pymodbus.pdu.register_message import (
    MaskWriteRegisterRequest,
    ReadHoldingRegistersRequest,
    ReadHoldingRegistersResponse,
    ReadWriteMultipleRegistersRequest,
    WriteMultipleRegistersRequest,
    WriteMultipleRegistersResponse,
    WriteSingleRegisterRequest,
)

from serial_monitor.modbus import crc, expected_length, frames, is_frame
from serial_monitor.records import FROM_DEVICE, TO_DEVICE

REQUESTS = [
    ReadCoilsRequest(dev_id=1, address=19, count=37),
    ReadHoldingRegistersRequest(dev_id=17, address=107, count=3),
    WriteSingleCoilRequest(dev_id=1, address=172, bits=[True]),
    WriteSingleRegisterRequest(dev_id=1, address=1, registers=[3]),
    WriteMultipleCoilsRequest(dev_id=1, address=19, bits=[True] * 10),
    WriteMultipleRegistersRequest(dev_id=1, address=1, registers=[10, 258]),
    MaskWriteRegisterRequest(dev_id=1, address=4, and_mask=0xF2, or_mask=0x25),
    ReadWriteMultipleRegistersRequest(
        dev_id=1, read_address=3, read_count=6, write_address=14, write_registers=[255, 255]
    ),
]
ANSWERS = [
    ReadCoilsResponse(dev_id=1, bits=[True] * 16),
    ReadHoldingRegistersResponse(dev_id=17, registers=[555, 0, 100]),
    WriteMultipleRegistersResponse(dev_id=1, address=1, count=2),
    ExceptionResponse(3, 2, device_id=1),
]


def built(pdu: ModbusPDU) -> bytes:
    return FramerRTU(DecodePDU(is_server=False)).buildFrame(pdu)


@pytest.mark.parametrize("pdu", REQUESTS, ids=lambda pdu: type(pdu).__name__)
def test_a_request_of_pymodbus_is_recognised_whole_and_in_a_row(pdu: ModbusPDU) -> None:
    data = built(pdu)
    [frame] = frames(TO_DEVICE, data, known=False)
    assert (frame.address, frame.function, frame.crc_good) == (pdu.dev_id, pdu.function_code, True)
    assert expected_length(TO_DEVICE, data) == len(data)
    assert len(frames(TO_DEVICE, data * 3, known=False)) == 3


@pytest.mark.parametrize("pdu", ANSWERS, ids=lambda pdu: type(pdu).__name__)
def test_an_answer_of_pymodbus_is_recognised(pdu: ModbusPDU) -> None:
    data = built(pdu)
    [frame] = frames(FROM_DEVICE, data, known=False)
    assert (frame.address, frame.crc_good) == (pdu.dev_id, True)
    assert expected_length(FROM_DEVICE, data) == len(data)


def test_a_frame_is_named_for_people() -> None:
    [read] = frames(TO_DEVICE, built(REQUESTS[1]), known=False)
    assert str(read) == "Modbus address 17, read holding registers 107 to 109, CRC good"
    [answer] = frames(FROM_DEVICE, built(ANSWERS[1]), known=False)
    assert (
        str(answer) == "Modbus address 17, read holding registers = 555 0 100, CRC good, no request before it"
    )
    [refusal] = frames(FROM_DEVICE, built(ANSWERS[3]), known=False)
    assert "read holding registers, EXCEPTION 2 illegal data address" in str(refusal)


def test_the_crc_is_that_of_the_specification() -> None:
    # MODBUS over Serial Line V1.02, appendix B: 02 07 -> 41 12
    assert crc(bytes([2, 7])).to_bytes(2, "little") == bytes([0x41, 0x12])


@given(st.binary(max_size=300), st.booleans(), st.sampled_from([TO_DEVICE, FROM_DEVICE]))
def test_no_bytes_do_harm_and_none_that_fail_the_crc_are_called_good(
    data: bytes, known: bool, direction: str
) -> None:
    for frame in frames(direction, data, known=known):
        assert frame.crc_good is False or is_frame(data[: frame.size]) or known or frame.size < len(data)
        assert str(frame)


@pytest.mark.parametrize("data", [b"", b"\x01", b"hello, world\r\n", b"S S     100.0 g\r\n"])
def test_other_bytes_are_not_modbus_until_the_port_speaks_it(data: bytes) -> None:
    assert frames(FROM_DEVICE, data, known=False) == ()
    assert [frame.crc_good for frame in frames(FROM_DEVICE, data, known=True)] == ([False] if data else [])


def test_one_wrong_bit_is_a_bad_crc() -> None:
    data = bytearray(built(ANSWERS[1]))
    data[4] ^= 1
    [frame] = frames(FROM_DEVICE, bytes(data), known=True)
    assert str(frame) == "Modbus: CRC BAD"
