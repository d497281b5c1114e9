"""The values that com port commands carry, with the numbers of RFC 2217."""

from __future__ import annotations

from enum import IntFlag

from rfc2217.octet import Octet


class Parity(Octet):
    """The values of SET-PARITY."""

    REQUEST = 0
    NONE = 1
    ODD = 2
    EVEN = 3
    MARK = 4
    SPACE = 5


class StopSize(Octet):
    """The values of SET-STOPSIZE."""

    REQUEST = 0
    ONE = 1
    TWO = 2
    ONE_AND_A_HALF = 3


class Control(Octet):
    """The values of SET-CONTROL.

    `FLOW_*` sets the flow control of both directions until an `INBOUND_FLOW_*` has set the inbound one separately.
    """

    REQUEST_FLOW = 0
    FLOW_NONE = 1
    FLOW_XON_XOFF = 2
    FLOW_HARDWARE = 3
    REQUEST_BREAK = 4
    BREAK_ON = 5
    BREAK_OFF = 6
    REQUEST_DTR = 7
    DTR_ON = 8
    DTR_OFF = 9
    REQUEST_RTS = 10
    RTS_ON = 11
    RTS_OFF = 12
    REQUEST_INBOUND_FLOW = 13
    INBOUND_FLOW_NONE = 14
    INBOUND_FLOW_XON_XOFF = 15
    INBOUND_FLOW_HARDWARE = 16
    FLOW_DCD = 17
    INBOUND_FLOW_DTR = 18
    FLOW_DSR = 19

    @property
    def request(self) -> Control:
        """The value that asks for the setting to which this value belongs.

        A value that RFC 2217 does not define belongs to no setting; it is returned itself.
        """
        return _REQUESTS.get(self, self)


_REQUESTS = {
    control: request
    for request, controls in {
        Control.REQUEST_FLOW: (0, 1, 2, 3, 17, 19),
        Control.REQUEST_BREAK: (4, 5, 6),
        Control.REQUEST_DTR: (7, 8, 9),
        Control.REQUEST_RTS: (10, 11, 12),
        Control.REQUEST_INBOUND_FLOW: (13, 14, 15, 16, 18),
    }.items()
    for control in map(Control, controls)
}


class LineState(IntFlag):
    """The bits of NOTIFY-LINESTATE and of its mask."""

    DATA_READY = 1
    OVERRUN_ERROR = 2
    PARITY_ERROR = 4
    FRAMING_ERROR = 8
    BREAK_DETECT = 16
    TRANSFER_HOLDING_REGISTER_EMPTY = 32
    TRANSFER_SHIFT_REGISTER_EMPTY = 64
    TIME_OUT_ERROR = 128


class ModemState(IntFlag):
    """The bits of NOTIFY-MODEMSTATE and of its mask.

    The `*_CHANGED` bits and `RI_ENDED` say what has changed since the last notification.
    """

    CTS_CHANGED = 1
    DSR_CHANGED = 2
    RI_ENDED = 4
    """The trailing edge of the ring indicator."""
    CD_CHANGED = 8
    CTS = 16
    DSR = 32
    RI = 64
    CD = 128


class Purge(Octet):
    """The values of PURGE-DATA, seen from the access server."""

    RECEIVE = 1
    """Discard what has come from the device and is not sent to the client yet."""
    TRANSMIT = 2
    """Discard what has come from the client and is not sent to the device yet."""
    BOTH = 3
    """Discard both."""
