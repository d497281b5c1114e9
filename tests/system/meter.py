"""A Modbus RTU device on a serial line whose speed counts: at the wrong one both sides hear noise, as on a real line."""

from __future__ import annotations

import os
import select
import termios
import threading
from contextlib import suppress

from pymodbus.framer import FramerRTU
from pymodbus.pdu import DecodePDU
from pymodbus.pdu.register_message import ReadHoldingRegistersResponse

from tests.system.serial_lines import CHUNK, Device

SPEEDS = {termios.B9600: 9600, termios.B19200: 19200, termios.B38400: 38400}
ADDRESS = 1
REGISTERS = [230, 49, 1013]


def heard(data: bytes, sent_at: int, heard_at: int) -> bytes:
    """Return what a UART of one speed makes of characters (8N1) that another one sends without pauses.

    It waits for the edge of a start bit and then looks at the middle of each of its own bits.
    """
    bits = [bit for byte in data for bit in (0, *((byte >> place) & 1 for place in range(8)), 1)]

    def level(moment: float) -> int:
        place = int(moment * sent_at)
        return bits[place] if place < len(bits) else 1

    found = bytearray()
    place = 0
    while place < len(bits):
        if bits[place]:
            place += 1
            continue
        start = place / sent_at
        found.append(sum(level(start + (number + 1.5) / heard_at) << number for number in range(8)))
        place = int((start + 9.5 / heard_at) * sent_at)
        while place < len(bits) and not bits[place]:  # no stop bit where it should be: until the line is idle
            place += 1
    return bytes(found)


class Meter(Device):
    """Answers requests for holding registers at its own speed, whatever the speed of the port is.

    With `hears_any_speed` its receiver follows the port and its transmitter does not, so that there are answers, and
    they are noise.
    """

    def __init__(self, speed: int, *, hears_any_speed: bool = False) -> None:
        super().__init__()
        self._own_speed = speed
        self._hears_any_speed = hears_any_speed
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        framer = FramerRTU(DecodePDU(is_server=True))
        while True:
            readable, _, _ = select.select([self.descriptor, self._stop_reader], [], [])
            if self._stop_reader in readable:
                return
            with suppress(OSError):
                data = os.read(self.descriptor, CHUNK)
                port_speed = SPEEDS[self.speed]
                if not self._hears_any_speed:
                    data = heard(data, port_speed, self._own_speed)
                if data[:2] != bytes([ADDRESS, 3]) or framer.compute_CRC(data[:-2]) != int.from_bytes(
                    data[-2:], "big"
                ):
                    continue
                answer = framer.buildFrame(ReadHoldingRegistersResponse(dev_id=ADDRESS, registers=REGISTERS))
                os.write(self.descriptor, heard(answer, self._own_speed, port_speed))

    def close(self) -> None:
        os.write(self._stop_writer, b"x")
        self._thread.join()
        super().close()
