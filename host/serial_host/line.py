"""Values of a serial line: its settings, the state of its modem lines and the counts of its errors."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class Parity(StrEnum):
    """Parity bit of each character."""

    NONE = "none"
    ODD = "odd"
    EVEN = "even"
    MARK = "mark"
    SPACE = "space"


class FlowControl(StrEnum):
    """How the two ends of the line stop each other."""

    NONE = "none"
    RTS_CTS = "rts_cts"
    DSR_DTR = "dsr_dtr"
    XON_XOFF = "xon_xoff"


@dataclass(frozen=True, slots=True)
class LineSettings:
    """How characters travel on the wire."""

    baud_rate: int = 9600
    """Bits per second."""
    data_bits: Literal[5, 6, 7, 8] = 8
    parity: Parity = Parity.NONE
    stop_bits: float = 1
    """1, 1.5 or 2."""
    flow_control: FlowControl = FlowControl.NONE

    def __str__(self) -> str:
        """Write `9600 8N1`, with the flow control where there is one."""
        text = f"{self.baud_rate} {self.data_bits}{self.parity.value[0].upper()}{self.stop_bits:g}"
        return text if self.flow_control is FlowControl.NONE else f"{text} {self.flow_control.value}"


@dataclass(frozen=True, slots=True)
class ModemLines:
    """The modem lines that the device drives."""

    cts: bool = False
    dsr: bool = False
    ri: bool = False
    cd: bool = False

    def __str__(self) -> str:
        """Write `CTS on, DSR off, RI off, CD off`."""
        lines = (("CTS", self.cts), ("DSR", self.dsr), ("RI", self.ri), ("CD", self.cd))
        return ", ".join(f"{name} {'on' if on else 'off'}" for name, on in lines)


@dataclass(frozen=True, slots=True)
class LineErrors:
    """How often the driver met each condition since the port was opened."""

    overrun: int = 0
    """Bytes (Linux) or occasions (Windows) lost because the hardware or the driver's buffer was full."""
    parity: int = 0
    framing: int = 0
    breaks: int = 0
