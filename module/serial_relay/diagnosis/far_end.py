"""The steps from this machine to the device: what the running port or an own attempt found out, step by step."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from serial_monitor.steps import Steps
from serial_relay.config import LineSettings, PortConfig, Protocol, TlsVerify
from serial_relay.remote.connect import Address, resolve, spell
from serial_relay.remote.connection import RemoteError, explain
from serial_relay.status import ActualLine, ErrorCode


@dataclass(frozen=True, slots=True)
class FarEnd:
    """How far the connection has come; `error` is None if it is established."""

    address: str
    """`address:port`, or the host as configured while there is no connection."""
    error: RemoteError | None = None
    line: ActualLine | None = None
    milliseconds: Mapping[str, float] = field(default_factory=dict)
    """By the name of a step, how long it took, if it was measured."""


_FAILS = {
    ErrorCode.TLS: "TLS",
    ErrorCode.PROTOCOL: "RFC 2217",
    ErrorCode.DEVICE_UNAVAILABLE: "device",
    ErrorCode.BUSY: "device",
}
"""The step at which a failure of each code shows; the other codes are TCP's."""

NEXT: Mapping[ErrorCode, str] = {
    ErrorCode.NAME_RESOLUTION: "check `host`, or enter the IP address; NAME.mshome.net is known on the Default Switch only",
    ErrorCode.HOST_UNREACHABLE: "check `host`: the address must lie in a network that this machine reaches",
    ErrorCode.CONNECTION_REFUSED: "start the serial server on the host, and compare its TCP port and where it listens with"
    " `tcpPort` and `host`; `serial-host.cmd diagnose` there (`serial-host diagnose` on Linux) looks at both",
    ErrorCode.TIMED_OUT: "check that the host is up and that its firewall admits the TCP port;"
    " `serial-host.cmd diagnose` there (`serial-host diagnose` on Linux) looks at the rule",
    ErrorCode.RESET: "look at the host with `serial-host.cmd status`: the device may be unplugged, or another client is served",
    ErrorCode.CLOSED_BY_HOST: "look at the host with `serial-host.cmd status`: the device may be unplugged, or another"
    " client is served",
    ErrorCode.TLS: "change what the message names; `serial-host.cmd identity` shows the host's fingerprint, and the"
    " reported property `moduleFingerprint` that of this module",
    ErrorCode.PROTOCOL: "set `protocol` to the same at both ends; the module does not detect it",
    ErrorCode.DEVICE_UNAVAILABLE: "plug the device in, or close the program on the host that has it open;"
    " `serial-host.cmd diagnose` there (`serial-host diagnose` on Linux) says which",
    ErrorCode.BUSY: "end the other client, or give each port one client only; `serial-host.cmd status` names it",
}
"""What to do about each failure."""


async def look_at_the_way(steps: Steps, config: PortConfig) -> Sequence[tuple[int, Address]]:
    """Add name resolution and route, and return the addresses; none if there is no way to the host."""
    with steps.timed():
        try:
            addresses = await resolve(config.host, config.tcp_port)
        except RemoteError as error:
            steps.failed("name resolution", str(error), NEXT[error.code])
            return ()
        names = ", ".join(dict.fromkeys(str(address[0]) for _family, address in addresses))
        if names == config.host:
            steps.skipped("name resolution", f"{config.host} is an address")
        else:
            steps.ok("name resolution", f"{config.host} is {names}")
    with steps.timed():
        routes = [_source(family, address) for family, address in addresses]
        there = [route for route in routes if isinstance(route, str)]
        if not there:
            reason = next(route for route in routes if isinstance(route, OSError))
            steps.failed("route", str(explain(reason, config.host)), NEXT[ErrorCode.HOST_UNREACHABLE])
            return ()
        steps.ok("route", f"from the address {', '.join(dict.fromkeys(there))} of this machine")
    return addresses


def _source(family: int, address: Address) -> str | OSError:
    """Return the address of this machine from which it would send to `address`; nothing is sent."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as datagrams:
            datagrams.connect(address)
            return str(datagrams.getsockname()[0])
    except OSError as error:
        return error


def skip_the_rest(steps: Steps, why: str, next_: str = "", *, after: str | None = None) -> None:
    """Add the steps of the connection, or those that come `after` one of them, as not taken.

    Only the first has `next_`.
    """
    for name in _STEPS[0 if after is None else _STEPS.index(after) + 1 :]:
        steps.skipped(name, why, next_)
        next_ = ""


def tell(steps: Steps, config: PortConfig, end: FarEnd) -> None:
    """Add the steps of the connection: those before the step at which it failed are ok."""
    fails = None if end.error is None else _FAILS.get(end.error.code, _STEPS[0])
    for number, name in enumerate(_STEPS):
        if end.error is not None and name == fails:
            steps.failed(name, str(end.error), NEXT[end.error.code])
        elif fails is not None and number > _STEPS.index(fails):
            steps.skipped(name, f"not reached: {fails} failed")
        else:
            _SUCCEEDED[name](steps, config, end)


def _connected(steps: Steps, _config: PortConfig, end: FarEnd) -> None:
    steps.ok("TCP connection", f"connected to {end.address}", end.milliseconds.get("TCP connection"))


def _secured(steps: Steps, config: PortConfig, end: FarEnd) -> None:
    if config.tls is None:
        steps.skipped("TLS", "the desired properties ask for none: what passes is not encrypted")
    else:
        by = "its fingerprint" if config.tls.verify is TlsVerify.PIN else "its authority"
        steps.ok("TLS", f"secured; the host is known by {by}", end.milliseconds.get("TLS"))


def _negotiated(steps: Steps, config: PortConfig, _end: FarEnd) -> None:
    if config.protocol is Protocol.RAW:
        steps.skipped("RFC 2217", "`protocol` is raw, which carries the bytes only")
    else:
        steps.ok("RFC 2217", "the host has agreed to the com port option")


def _device_open(steps: Steps, config: PortConfig, _end: FarEnd) -> None:
    if config.protocol is Protocol.RAW:
        steps.skipped("device", "`protocol` is raw, by which a host does not tell of its device")
    else:
        steps.ok("device", "the host has its device open")


def _line_set(steps: Steps, config: PortConfig, end: FarEnd) -> None:
    if config.protocol is Protocol.RAW:
        steps.skipped("line settings", "`protocol` is raw: the host's own configuration has them")
    else:
        _compare(steps, config.line, end.line or ActualLine())


_SUCCEEDED: Mapping[str, Callable[[Steps, PortConfig, FarEnd], None]] = {
    "TCP connection": _connected,
    "TLS": _secured,
    "RFC 2217": _negotiated,
    "device": _device_open,
    "line settings": _line_set,
}
"""The steps in their order, and what adds each that succeeded."""

_STEPS = tuple(_SUCCEEDED)


def begins_with_telnet(address: str) -> RemoteError:
    """Return what is wrong with a raw connection to a server that negotiates."""
    return RemoteError(
        ErrorCode.PROTOCOL,
        f"{address} begins with telnet negotiation: it is an RFC 2217 server, so its first bytes do not come from the device",
    )


def spell_all(addresses: Sequence[tuple[int, Address]]) -> str:
    """Write the addresses for people."""
    return ", ".join(spell(address) for _family, address in addresses)


def _compare(steps: Steps, wished: LineSettings, actual: ActualLine) -> None:
    settings = {
        "baudRate": (wished.baud_rate, actual.baud_rate),
        "dataBits": (wished.data_bits, actual.data_bits),
        "parity": (wished.parity, actual.parity),
        "stopBits": (wished.stop_bits, actual.stop_bits),
        "flowControl": (wished.flow_control, actual.flow_control),
    }
    known = ", ".join(f"{name} {has}" for name, (_wish, has) in settings.items() if has is not None)
    other = [
        f"{name} {has} instead of {wish}"
        for name, (wish, has) in settings.items()
        if wish is not None and has is not None and wish != has
    ]
    if other:
        steps.failed(
            "line settings",
            f"the real port has {', '.join(other)}",
            "the driver of the device refuses what `line` asks for: choose what it can do",
        )
    elif known:
        steps.ok("line settings", f"the real port has {known}")
    else:
        steps.skipped("line settings", "the host has not told them")
