"""Port statuses for tests of what is made of them."""

from __future__ import annotations

from serial_relay.status import (
    ActualLine,
    ConfigFault,
    Discarded,
    ErrorCode,
    ModemState,
    PortError,
    PortStatus,
    State,
)

MOMENT = 1795341600.123  # 2026-11-22T10:00:00.123Z


def connected(name: str = "ttyVirtS0") -> PortStatus:
    return PortStatus(
        State.CONNECTED, MOMENT, f"/dev/{name}", remote_address="172.18.246.137:5002", connects=1
    )


def retrying(name: str = "ttyVirtS0", code: ErrorCode = ErrorCode.CONNECTION_REFUSED) -> PortStatus:
    error = PortError(
        code, "172.18.246.137:5002 refused the connection: is serial_host running there?", MOMENT
    )
    return PortStatus(State.RETRYING, MOMENT, f"/dev/{name}", last_error=error)


def invalid(name: str) -> PortStatus:
    fault = ConfigFault(f"serialPorts.{name}.tcpPort", "a TCP port, 1-65535, not 70000")
    return PortStatus(State.INVALID, MOMENT, "", config_error=fault)


def everything(name: str) -> PortStatus:
    """A port about which there is as much to say as can be."""
    return PortStatus(
        State.CONNECTED,
        MOMENT,
        f"/dev/{name}",
        kind="tty",
        kind_reason="k" * 1000,
        remote_address="[2001:db8:1234:5678:9abc:def0:1234:5678]:65535",
        application_open=True,
        connects=10**15,
        last_error=PortError(ErrorCode.NAME_RESOLUTION, "m" * 1000, MOMENT),
        config_error=ConfigFault(f"serialPorts.{name}.tcpPort", "e" * 1000),
        bytes_to_device=2**60,
        bytes_from_device=2**60,
        discarded=Discarded(2**60, 2**60, 2**60, 2**60, 2**60),
        line=ActualLine(115200, 8, "space", 1.5, "xonXoff"),
        modem=ModemState(cts=True, dsr=True, ri=True, cd=True),
        round_trip_seconds=0.001,
    )
