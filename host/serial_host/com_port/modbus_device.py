"""A Modbus RTU device for trials without hardware. pymodbus implements the protocol, and only this file imports it.

input registers    0-1  seconds since the start (32 bits, high word first)
                   2    temperature in tenths of a degree Celsius: 200 +- 50, which rises and falls once a minute
                   3    requests answered, modulo 65536
holding registers  0-99 hold what is written
coils              0-15 hold what is written
discrete inputs    0-15 as the coils
"""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any

from pymodbus.exceptions import ModbusIOException
from pymodbus.framer import FramerRTU
from pymodbus.pdu import DecodePDU, ModbusPDU
from pymodbus.simulator import DataType, SimData, SimDevice
from pymodbus.simulator.simcore import SimCore

from serial_host.com_port.simulated import Answer

LONGEST_FRAME = 256
"""Limit in bytes of a Modbus RTU frame (Modbus over Serial Line V1.02, 2.5.1); more bytes without a frame are noise."""

FRAME_GAP_SECONDS = 0.1
"""Silence after which an incomplete frame is forgotten. The 3.5 characters of the standard do not survive a network."""

_READ_INPUT_REGISTERS = 4


class ModbusDevice:
    """Answers as the device with one address. Requests to other addresses are for other devices and get no answer."""

    def __init__(self, address: int) -> None:
        self._address = address
        self._started = time.monotonic()
        self._answered = 0
        self._framer = FramerRTU(DecodePDU(is_server=True))
        self._registers = SimCore(
            SimDevice(
                id=address,
                simdata=(
                    [SimData(0, values=[False] * 16, datatype=DataType.BITS)],
                    [SimData(0, values=[False] * 16, datatype=DataType.BITS)],
                    [SimData(0, values=0, count=100, datatype=DataType.REGISTERS)],
                    [SimData(0, values=0, count=4, datatype=DataType.REGISTERS)],
                ),
                action=self._refresh,
            )
        )
        self._received = bytearray()
        self._received_at = 0.0
        self._tasks: set[asyncio.Task[None]] = set()

    def __call__(self, data: bytes, answer: Answer) -> None:
        """Take bytes from the line. An answer follows when they complete a request."""
        now = time.monotonic()
        if now - self._received_at > FRAME_GAP_SECONDS:
            self._received.clear()
        self._received_at = now
        self._received += data
        try:
            used, request = self._framer.handleFrame(bytes(self._received), 0, 0)
        except ModbusIOException:
            self._received.clear()
            return
        del self._received[:used]
        if len(self._received) > LONGEST_FRAME:
            self._received.clear()
        if request is not None and request.dev_id == self._address:
            task = asyncio.ensure_future(self._answer(request, answer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer(self, request: ModbusPDU, answer: Answer) -> None:
        self._answered += 1
        response: Any = await request.datastore_update(self._registers, request.dev_id)  # type: ignore[arg-type]
        response.dev_id = request.dev_id
        answer(self._framer.buildFrame(response))

    async def _refresh(self, function_code: int, *details: Any) -> None:
        if function_code == _READ_INPUT_REGISTERS:
            registers: list[int] = details[3]
            seconds = time.monotonic() - self._started
            temperature = 200 + 50 * math.sin(2 * math.pi * seconds / 60)
            high, low = divmod(int(seconds), 0x10000)
            registers[:4] = [high & 0xFFFF, low, round(temperature), self._answered & 0xFFFF]
