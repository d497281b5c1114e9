"""Passes the bytes between a virtual serial port and its connection, and reads from each only while the gate allows it.

A byte takes the way `application_data` -> `Remote.write`, or `device_data` -> `VirtualPort.write`. Each end reports
when it takes no more bytes, and `gate` decides who is read. The relay decides when there is a port and when there is
a connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol as Interface

from serial_monitor.records import FROM_DEVICE, TO_DEVICE
from serial_monitor.taps import Tap
from serial_relay.config import LineSettings, PortConfig, Protocol, WhileDisconnected
from serial_relay.port import rules
from serial_relay.port.alarm import Alarm
from serial_relay.port.gate import OF_THE_CONNECTION, Gate, Reason
from serial_relay.port.held_bytes import HeldBytes
from serial_relay.port.record import Record
from serial_relay.remote.connection import Remote, RemoteError
from serial_relay.remote.rfc2217_remote import Rfc2217Remote
from serial_relay.status import LineErrors, ModemState, NotSupportedError
from serial_relay.virtual_port.termios_map import ApplicationLine, ModemOutputs, wanted_line
from serial_relay.virtual_port.virtual_port import Left, VirtualPort

_NO_LINES_IN_RAW = "protocol `raw` carries bytes only; set `protocol` to `rfc2217` at both ends"


class BridgeEvents(Interface):
    """What a bridge reports to the relay."""

    def application_came_or_went(self) -> None:
        """The value of `status.application_open` has changed."""

    def remote_lost(self, error: RemoteError) -> None:
        """The connection is over. This is called once."""

    def virtual_port_lost(self, reason: str) -> None:
        """The virtual port is gone and must be made again; said once."""


class Bridge:
    """Passes bytes, settings and back-pressure between the two ends that are there at present."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        config: PortConfig,
        record: Record,
        alarm: Alarm,
        events: BridgeEvents,
        tap: Tap,
    ) -> None:
        self._tap = tap
        self._loop = loop
        self._config = config
        self._record = record
        self._status = record.status
        self._alarm = alarm
        self._events = events
        self.remote_lost, self.virtual_port_lost = events.remote_lost, events.virtual_port_lost
        self._port: VirtualPort | None = None
        self._remote: Remote | None = None
        """The connection, from the moment at which TCP is connected until its end."""
        self._usable = False
        """The connection carries bytes: it is negotiated, and the device is there."""
        self._application_line: ApplicationLine | None = None
        """What an application set last; it outlives the application, as the settings of a UART do."""
        self._outputs: ModemOutputs | None = None
        """The modem lines that the application drives; None at a pty."""
        self._break = False
        """The application sends a break."""
        self._drained: Callable[[], None] | None = None
        """What tells an application that all that it wrote is at the host, while bytes wait for a connection."""
        self._gate = Gate(self._read_application, self._read_device)
        self.first_attempt = rules.Span(rules.FIRST_ATTEMPT)
        self.held = HeldBytes(rules.HOLD_SIZE)

    # The ends come and go.

    def update(self, config: PortConfig) -> None:
        """Apply another configuration of the same port."""
        self._config = config
        self._force_line()

    def add_port(self, port: VirtualPort) -> None:
        """Let this be the application's end."""
        self._port = port
        if port.kind == "tty" and self._outputs is None:
            self._outputs = ModemOutputs()
        self._force_line()
        self._read_application(self._gate.application_may_be_read)

    def remove_port(self, left: Left) -> None:
        """Go on without an application's end, which the caller has closed; `left` is what was lost with it."""
        self._count_disconnected(left.written)
        self._status.discarded.closed += left.unread
        if left.unread:
            self._discarded(
                left.unread, "from the device: the port was closed, and no application had read them"
            )
        self._port = self._outputs = self._drained = None
        self._break = False
        self._gate = Gate(self._read_application, self._read_device)
        self._status.application_open = False
        self.first_attempt.end()
        self._count_disconnected(self.held.discard())

    def add_remote(self, remote: Remote) -> None:
        """Let this be the device's end; bytes pass after `use_remote`."""
        self._remote = remote

    def use_remote(self) -> None:
        """Pass bytes from now on, first those that waited."""
        assert self._remote is not None  # noqa: S101 - it was added
        self._usable = True
        self._record.connected(self._remote.address)
        self.com_port_changed()
        for data in self.held.take():
            self.application_data(data)
        if self._break:
            self.application_set_break(on=True)
        self._end_drain()
        self._gate.set(Reason.NO_CONNECTION, hold=False)
        self._read_device(self._gate.device_may_be_read)  # until now it was read so that it could negotiate
        self._end_first_attempt()

    def remove_remote(self) -> None:
        """Close the connection, if there is one: a connection or an attempt is over."""
        self._usable = False
        remote, self._remote = self._remote, None
        self._gate.set(Reason.NO_CONNECTION, hold=True)
        self._gate.set(OF_THE_CONNECTION, hold=False)
        if remote is not None:
            self._record.disconnected(remote.close())
            self._show_inputs(None)
        self._end_first_attempt()
        if self._config.while_disconnected is WhileDisconnected.DISCARD:
            self._count_disconnected(self.held.discard())

    @property
    def on_its_way(self) -> tuple[int, int] | None:
        """Two numbers that change while the host takes what applications have written; None when it has all of it.

        It is None without a connection, too.
        """
        if self._port is None or self._remote is None or not self._usable:
            return None
        unacknowledged = self._remote.unacknowledged
        if not unacknowledged and not self._port.has_written:
            return None
        return self._status.bytes_to_device, unacknowledged

    async def finish(self) -> None:
        """Let what is on its way in both directions arrive, within the times that `rules` gives for a stop.

        Applications write nothing more from now on. The host gets the end of the stream after what they have written, and
        what one writes after that nevertheless, behind its lock (TIOCEXCL), is not read. Until the host ends the
        connection as well, its bytes are passed on. What has not arrived after that is counted by `remove_remote` and
        `remove_port`.
        """
        if (port := self._port) is None:
            return
        port.block_writes()
        began = moved = self._loop.time()
        before: object = None
        while port is self._port:
            remote = self._remote if self._usable else None
            unacknowledged = 0 if remote is None else remote.unacknowledged
            asked = Reason.FINISHED in self._gate.reasons
            if remote is not None and not asked and not port.has_written and not unacknowledged:
                self._gate.set(Reason.FINISHED, hold=True)
                remote.finish()
            sending = remote is not None and not remote.finished
            now, at_present = (
                self._loop.time(),
                (unacknowledged, self._status.bytes_from_device, port.unread()),
            )
            if at_present != before:
                before, moved = at_present, now
            arrived = remote is None and (asked or not port.has_written) and not port.unread()
            if arrived or now - began >= rules.STOP or (not sending and now - moved >= rules.STOP_QUIET):
                return
            await asyncio.sleep(rules.STOP_LOOK)

    # The bytes' ways.

    def application_data(self, data: bytes) -> None:
        """See `VirtualPortEvents`."""
        if self._usable and self._remote is not None:
            self._status.bytes_to_device += len(data)
            self._remote.write(data)
            if (watched := self._tap.watched) is not None:
                watched(TO_DEVICE, data)
        elif self.first_attempt.running or self._config.while_disconnected is WhileDisconnected.HOLD:
            overrun = self.held.add(data, self._loop.time() + rules.HOLD_TIME)
            self._alarm.set()
            if overrun:
                self._status.discarded.overrun += overrun
                self._discarded(overrun, "of the application: more than the 8 KB that are held")
        else:
            self._count_disconnected(len(data))

    def device_data(self, data: bytes) -> None:
        """See `RemoteEvents`."""
        status = self._status
        status.bytes_from_device += len(data)
        if status.application_open and self._port is not None:
            self._port.write(data)
            if (watched := self._tap.watched) is not None:
                watched(FROM_DEVICE, data)
        else:
            status.discarded.closed += len(data)
            if (watched := self._tap.watched) is not None:
                watched(FROM_DEVICE, data)
                self._discarded(len(data), "from the device: no application has the port open")

    def look_for_flush(self) -> None:
        """See `ComPortEvents`."""
        if self._status.application_open and self._port is not None:
            self._port.look_for_flush()

    def device_data_flushed(self, size: int) -> None:
        """See `ComPortEvents`."""
        self._status.bytes_from_device += size
        self._status.discarded.flushed += size
        self._discarded(size, "from the device: the application discarded its input")

    def _count_disconnected(self, size: int) -> None:
        if size:
            self._status.discarded.disconnected += size
            self._discarded(size, "of the application: there is no connection")

    def _discarded(self, size: int, what: str) -> None:
        if self._tap.watched is not None:
            self._tap.event("discarded", f"{size} bytes {what}")

    # Who is read: each end reports its reasons, the gate decides.

    def nothing_to_read(self, *, nothing: bool) -> None:
        """See `VirtualPortEvents`."""
        self._gate.set(Reason.NOTHING_TO_READ, hold=nothing)

    def virtual_port_full(self, *, full: bool) -> None:
        """See `VirtualPortEvents`."""
        self._gate.set(Reason.VIRTUAL_PORT_FULL, hold=full)

    def connection_full(self, *, full: bool) -> None:
        """See `RemoteEvents`."""
        self._gate.set(Reason.CONNECTION_FULL, hold=full)

    def suspended_by_host(self, *, suspended: bool) -> None:
        """See `ComPortEvents`."""
        self._gate.set(Reason.SUSPENDED_BY_HOST, hold=suspended)

    def _read_application(self, may_be_read: bool) -> None:  # noqa: FBT001 - the gate's answer
        if self._port is not None:
            (self._port.resume_reading if may_be_read else self._port.pause_reading)()

    def _read_device(self, may_be_read: bool) -> None:  # noqa: FBT001 - the gate's answer
        if self._remote is not None and self._usable:
            (self._remote.resume_reading if may_be_read else self._remote.pause_reading)()

    # The application comes and goes.

    def application_opened(self) -> None:
        """See `VirtualPortEvents`."""
        if self._remote is not None:
            self._remote.application_opened()
        self._status.application_open = True
        self._tap.event("opened", "an application opened the port")
        if not self._usable and not self.first_attempt.running:
            self.first_attempt.begin(self._loop.time())
            self._gate.set(Reason.FIRST_ATTEMPT, hold=True)
        self._application_came_or_went()

    def application_closed(self, unread: int) -> None:
        """See `VirtualPortEvents`."""
        self._status.application_open = False
        self._status.discarded.closed += unread
        self._tap.event("closed", "no application has the port open")
        if unread:
            self._discarded(unread, "from the device: the application closed the port and left them unread")
        self._application_came_or_went()

    def _application_came_or_went(self) -> None:
        self._events.application_came_or_went()
        self._record.on_change()

    def time_passed(self, now: float) -> None:
        """End what is over: the wait of the first bytes for a connection, and the keeping of bytes without one."""
        self._count_disconnected(self.held.expire(now))
        if self.first_attempt.expire(now):
            self._end_first_attempt()
        self._end_drain()

    def _end_first_attempt(self) -> None:
        self.first_attempt.end()
        self._gate.set(Reason.FIRST_ATTEMPT, hold=False)

    # What travels beside the bytes (RFC 2217).

    @property
    def wanted_line(self) -> LineSettings:
        """The settings that the real port should have: as configured, or else as the application set them."""
        return wanted_line(self._config.line, self._application_line, self._outputs)

    def application_set_line(self, line: ApplicationLine) -> None:
        """See `VirtualPortEvents`."""
        self._application_line = line
        self.set_line()

    def application_set_outputs(self, outputs: ModemOutputs) -> None:
        """See `VirtualPortEvents`."""
        self._outputs = outputs
        self.set_line()

    def application_set_break(self, *, on: bool) -> None:
        """See `VirtualPortEvents`."""
        self._break = on
        if (com_port := self._com_port()) is not None and self._usable:
            com_port.set_break(on=on)

    def application_drains(self, drained: Callable[[], None]) -> None:
        """See `VirtualPortEvents`."""
        self._drained = drained
        self._end_drain()

    def _end_drain(self) -> None:
        """Let the application go on as soon as no bytes wait for a connection and the host has those that were sent."""
        if self._drained is None or self.held.deadline is not None or self.first_attempt.running:
            return
        drained, self._drained = self._drained, None
        if self._usable and self._remote is not None:
            self._remote.when_at_host(drained)
        else:
            drained()

    def _force_line(self) -> None:
        """Let the application read back what the configuration sets, whatever it sets itself."""
        if self._port is not None:
            carried = self._config.protocol is Protocol.RFC2217
            self._port.force_line(self._config.line if carried else LineSettings())

    def _show_inputs(self, modem: ModemState | None) -> None:
        if self._port is not None:
            self._port.set_inputs(modem)

    def line_errors_notified(self, errors: LineErrors) -> None:
        """See `ComPortEvents`."""
        if self._port is not None:
            self._port.count_errors(errors)

    def set_line(self) -> None:
        """Apply the wanted line to the real port."""
        if (com_port := self._com_port()) is not None:
            com_port.set_line(self.wanted_line)

    def application_flushed(self, *, received: bool, transmitted: bool) -> None:
        """See `VirtualPortEvents`."""
        if (com_port := self._com_port()) is not None:
            com_port.purge(received=received, transmitted=transmitted)

    def com_port_changed(self) -> None:
        """See `ComPortEvents`; what a host says of a port that cannot be used (yet) is not shown."""
        if self._usable and (com_port := self._com_port()) is not None:
            if self._tap.watched is not None:
                self._tell_changes(com_port)
            self._show_inputs(com_port.modem)
            self._status.line, self._status.modem = com_port.line, com_port.modem
            self._record.on_change()

    def _tell_changes(self, com_port: Rfc2217Remote) -> None:
        if com_port.line != self._status.line:
            self._tap.event("line", str(com_port.line))
        if com_port.modem is not None and com_port.modem != self._status.modem:
            self._tap.event("modem", str(com_port.modem))

    def round_trip_measured(self, seconds: float) -> None:
        """See `ComPortEvents`."""
        self._status.round_trip_seconds = seconds

    def device_unavailable(self, error: RemoteError) -> None:
        """See `ComPortEvents`."""
        self._record.failed(error)

    def com_port(self) -> Rfc2217Remote:
        """Return the connection, for its modem lines and breaks.

        Raises:
            NotSupportedError: it cannot carry them (now); the text says why.
        """
        if self._config.protocol is Protocol.RAW:
            raise NotSupportedError(_NO_LINES_IN_RAW)
        com_port = self._com_port()
        if com_port is None or not self._usable:
            raise NotSupportedError(f"not connected: the port is {self._status.state}")
        return com_port

    def _com_port(self) -> Rfc2217Remote | None:
        """Return the connection, also while it negotiates, if it is of the kind that carries more than bytes."""
        return self._remote if isinstance(self._remote, Rfc2217Remote) else None
