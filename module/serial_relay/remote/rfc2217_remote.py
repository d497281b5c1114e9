"""The relay's side of a connection to an RFC 2217 access server: bytes, line settings, modem lines and break.

TCP is `TcpStream`'s business, the bytes of the protocol are `rfc2217`'s; here is what a serial relay makes of it:
which requests it sends and when, what it takes from the answers, and for how long it waits. The order of the bytes on
the wire is the order of the calls: settings come before the data that is written after them.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Iterator
from typing import Protocol

import rfc2217
from rfc2217 import (
    AccessServerSignature,
    ComPortAgreed,
    ComPortCommand,
    ComPortRefused,
    Connection,
    Control,
    Data,
    DeviceState,
    Event,
    FlowControlResume,
    FlowControlSuspend,
    LocalProtocolError,
    NotifyModemState,
    PeerFailed,
    Purge,
    PurgeData,
    Role,
    SetBaudRate,
    SetControl,
    SetDataSize,
    SetModemStateMask,
    SetParity,
    SetStopSize,
    Signature,
)
from serial_relay import __version__
from serial_relay.config import LineSettings
from serial_relay.plumbing.text import escaped
from serial_relay.remote import heartbeat
from serial_relay.remote.com_port_line import ASKING, change_requests, in_words, opening_requests, with_answer
from serial_relay.remote.connection import Losses, RemoteError, RemoteEvents
from serial_relay.remote.tcp_stream import TcpStream
from serial_relay.status import ActualLine, ErrorCode, ModemState, NotSupportedError

log = logging.getLogger(__name__)

_NEGOTIATION_TIMEOUT = 4.0
"""Seconds from the connection to the answers without which a server cannot be used."""

_EARLY_DATA = 65536
"""Bytes of the device that may come before that: nobody holds them back if the application does not read."""

_UNSENT_LIMIT = 65536
"""Bytes that may wait for the host to take them: answers and commands do so beside the data, which is held back."""

_NEEDED = (SetBaudRate, SetDataSize, SetParity, SetStopSize)
"""Requests that every access server answers; flow control and masks are left without an answer by some."""


_LONGEST_REASON = 200


class ComPortEvents(RemoteEvents, Protocol):
    """What such a connection tells the relay beside the bytes."""

    def com_port_changed(self) -> None:
        """`line` or `modem` is another one now."""

    def suspended_by_host(self, *, suspended: bool) -> None:
        """The host asks for silence: what is written waits here; or it asks no longer (FLOWCONTROL-SUSPEND, -RESUME)."""

    def round_trip_measured(self, seconds: float) -> None:
        """So long a question and its answer took."""

    def device_unavailable(self, error: RemoteError) -> None:
        """The host is there, its device is not: `ready` waits for it."""


class Rfc2217Remote:
    """A connection with the com port option on; use it once `ready` is done.

    Whatever ends it, before or after that, comes as `remote_lost`; `ready` then stays open.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        connection: socket.socket,
        address: str,
        line: LineSettings,
        events: ComPortEvents,
    ) -> None:
        """Begin to negotiate; `line` is what the real port shall have, None for what it shall keep."""
        self._loop = loop
        self._events = events
        self.address = address
        self.line = ActualLine()
        """As the host answered so far."""
        self.modem: ModemState | None = None
        """As the host notified last."""
        self.ready: asyncio.Future[None] = loop.create_future()
        self._wanted = line
        self._wishes: dict[tuple[int, int], ComPortCommand] = {}
        """By its subject the setting that was asked for last and is not answered yet."""
        self._settled = False
        """What every server answers is answered; from then on silence is judged by the heartbeat."""
        self._device_unavailable = False
        self._ended = False
        self._sent = 0
        """Bytes of the application, over the connection's life."""
        self._held_back = b""
        """Data and commands that wait until the host does not ask for silence any more."""
        self._early_data = 0
        """Bytes of the device that came before `_settled`."""
        self._heartbeat = heartbeat.Heartbeat()
        self._codec = Connection(Role.CLIENT)
        self._raw = TcpStream(loop, connection, address, self)
        self._timer = loop.call_later(_NEGOTIATION_TIMEOUT, self._negotiation_timed_out)
        self._raw.resume_reading()
        self._codec.start()
        self._flush()

    # What the relay asks for.

    def write(self, data: bytes) -> None:
        """See `Remote`."""
        self._sent += len(data)
        self._codec.send_data(data)
        self._flush()

    def pause_reading(self) -> None:
        """See `Remote`."""
        self._raw.pause_reading()

    def resume_reading(self) -> None:
        """See `Remote`."""
        self._heartbeat.forget()
        if not self._ended:
            self._raw.resume_reading()

    def close(self) -> Losses:
        """See `Remote`."""
        self._ended = True
        self._timer.cancel()
        losses = self._raw.close()
        unsent = losses.to_device + len(self._held_back) + len(self._codec.data_to_send())
        return Losses(min(unsent, self._heartbeat.unconfirmed(self._sent)), losses.from_device)

    def set_line(self, line: LineSettings) -> None:
        """Let the real port have other settings, before what is written from now on."""
        before, self._wanted = self._wanted, line
        if self._codec.agreed:
            for request in change_requests(before, line):
                self._wishes[request.subject] = request
                self._request(request)
            self._flush()

    def purge(self, *, received: bool, transmitted: bool) -> None:
        """Let the host discard what it has from the device, or what it has for it."""
        if self._codec.agreed and (received or transmitted):
            both = Purge.BOTH if transmitted else Purge.RECEIVE
            self._request(PurgeData(both if received else Purge.TRANSMIT))
            self._flush()

    def set_modem_lines(self, dtr: bool | None, rts: bool | None) -> None:  # noqa: FBT001 - line states
        """Set the modem lines; None leaves a line as it is."""
        if dtr is not None:
            self._request(SetControl(Control.DTR_ON if dtr else Control.DTR_OFF))
        if rts is not None:
            self._request(SetControl(Control.RTS_ON if rts else Control.RTS_OFF))
        self._flush()

    async def send_break(self, milliseconds: int) -> None:
        """Send a break and return when it is over.

        Raises:
            NotSupportedError: the connection was lost meanwhile.
        """
        self._request(SetControl(Control.BREAK_ON))
        self._flush()
        try:
            await asyncio.sleep(milliseconds / 1000)
        finally:  # also when nobody waits for it any more: a break that goes on blocks the line
            if not self._ended:
                self._request(SetControl(Control.BREAK_OFF))
                self._flush()
        if self._ended:
            raise NotSupportedError(f"the connection to {self.address} was lost during the break")

    # From the TCP connection.

    def device_data(self, data: bytes) -> None:
        """See `RemoteEvents`; here come bytes of the protocol."""
        self._heartbeat.heard()
        if self._settled and self._codec.is_plain(data):
            self._events.device_data(data)
            return
        self._act_on(self._codec.receive_data(data))

    def connection_full(self, *, full: bool) -> None:
        """See `RemoteEvents`."""
        self._events.connection_full(full=full)

    def remote_lost(self, error: RemoteError) -> None:
        """See `RemoteEvents`."""
        self._end(error)

    # What the host said.

    def _act_on(self, events: Iterator[Event]) -> None:
        only_data = True
        for event in events:
            if isinstance(event, Data):
                self._events.device_data(event.data)
                if not self._settled:
                    self._early_data_received(len(event.data))
                continue
            only_data = False
            match event:
                case ComPortAgreed():
                    self._events.suspended_by_host(
                        suspended=False
                    )  # an agreement made anew ends a suspension
                    self._open_com_port()
                case ComPortRefused():
                    self._end(self._not_an_access_server("refuses the com port option"))
                case ComPortCommand():
                    self._command_received(event)
                case PeerFailed(reason):
                    self._end(
                        RemoteError(
                            ErrorCode.PROTOCOL, f"{self.address} breaks the telnet protocol: {reason}"
                        )
                    )
        if not only_data and not self._ended:
            self._look_whether_ready()
            self._flush()

    def _early_data_received(self, size: int) -> None:
        self._early_data += size
        if self._early_data > _EARLY_DATA:
            self._end(self._not_an_access_server("sends data instead of answers"))

    def _open_com_port(self) -> None:
        self._request(SetModemStateMask(rfc2217.ModemState(255)))
        for request in opening_requests(self._wanted):
            self._request(request)
            if request not in ASKING:
                self._wishes[request.subject] = request

    def _command_received(self, command: ComPortCommand) -> None:
        match command:
            case NotifyModemState(rfc2217.ModemState() as state):
                self._modem_notified(state)
            case Signature(""):
                self._codec.send(Signature(f"serial_relay/{__version__}"))
            case Signature():
                self._signature_received(command)
            case FlowControlSuspend():
                self._events.suspended_by_host(suspended=True)
            case FlowControlResume():
                self._heartbeat.forget()
                self._events.suspended_by_host(suspended=False)
            case _:
                self._answered(command)

    def _answered(self, answer: ComPortCommand) -> None:
        line = with_answer(self.line, answer)
        if line != self.line:
            self.line = line
            self._events.com_port_changed()
        self._warn_if_not_as_wanted(answer)
        if isinstance(answer, SetBaudRate) and not self._awaits(SetBaudRate):
            seconds = self._heartbeat.answered(time.monotonic())
            if seconds is not None:
                self._events.round_trip_measured(seconds)

    def _warn_if_not_as_wanted(self, answer: ComPortCommand) -> None:
        """Say once for each wish that the real port cannot fulfil it; `line` says what it has instead."""
        if any(request.subject == answer.subject for request in self._codec.awaited):
            return  # an older request's answer
        wish = self._wishes.pop(answer.subject, answer)
        if wish != answer:
            log.warning(
                "%s: asked for %s, the real port has %s", self.address, in_words(wish), in_words(answer)
            )

    def _modem_notified(self, state: rfc2217.ModemState) -> None:
        modem = ModemState(
            cts=rfc2217.ModemState.CTS in state,
            dsr=rfc2217.ModemState.DSR in state,
            ri=rfc2217.ModemState.RI in state,
            cd=rfc2217.ModemState.CD in state,
        )
        if modem != self.modem:
            self.modem = modem
            self._events.com_port_changed()

    def _signature_received(self, signature: Signature) -> None:
        """Learn of the device's state, from a host that tells it in this way; other signatures mean nothing here."""
        host = AccessServerSignature.parse(signature)
        if host is None:
            return
        reason = f": {escaped(host.reason, _LONGEST_REASON)}" if host.reason else ""
        what = f"{escaped(host.device)} at {self.address} is {host.state}{reason}"
        was_unavailable = self._device_unavailable
        self._device_unavailable = host.state is DeviceState.UNAVAILABLE
        if host.state is DeviceState.BUSY:
            self._end(RemoteError(ErrorCode.BUSY, what))
        elif self._device_unavailable and self.ready.done():
            self._end(RemoteError(ErrorCode.DEVICE_UNAVAILABLE, what))
        elif self._device_unavailable and not was_unavailable:
            self._events.device_unavailable(RemoteError(ErrorCode.DEVICE_UNAVAILABLE, what))

    def _look_whether_ready(self) -> None:
        if not self._settled and self._codec.agreed and not self._awaits(*_NEEDED):
            self._settled = True
            self._timer.cancel()
            self._beat()
        if self._settled and not self._device_unavailable and not self.ready.done():
            self.ready.set_result(None)

    # What the host does not say.

    def _negotiation_timed_out(self) -> None:
        if self._codec.agreed:
            missing = ", ".join(
                type(request).__name__ for request in self._codec.awaited if isinstance(request, _NEEDED)
            )
            what = f"did not answer {missing} within {_NEGOTIATION_TIMEOUT:.0f} s"
        else:
            what = f"did not agree to the com port option within {_NEGOTIATION_TIMEOUT:.0f} s"
        self._end(self._not_an_access_server(what))

    def _not_an_access_server(self, what: str) -> RemoteError:
        return RemoteError(
            ErrorCode.PROTOCOL,
            f"{self.address} {what}: is it an RFC 2217 server? If it carries bytes only, set `protocol` to `raw`",
        )

    def _beat(self) -> None:
        """Ask for the baud rate, which every access server answers, and judge the silence after it."""
        self._timer = self._loop.call_later(heartbeat.INTERVAL, self._beat)
        if self._codec.suspended or not self._raw.reading:
            return  # it may not be asked, or its answer may stand behind data that is not read
        now = time.monotonic()  # the loop's own clock stands still within a millisecond (libuv)
        flow_control = self.line.flow_control not in (None, "none")
        if self._heartbeat.beat(now, self._sent):
            self._request(SetBaudRate())
            self._flush()
        elif self._heartbeat.is_stuck(now, self._sent, self.line.baud_rate, flow_control=flow_control):
            what = f"{self.address} answers no question any more: the server there hangs"
            self._end(RemoteError(ErrorCode.TIMED_OUT, what))

    # To the TCP connection.

    def _awaits(self, *kinds: type[ComPortCommand]) -> bool:
        return any(isinstance(request, kinds) for request in self._codec.awaited)

    def _request(self, request: ComPortCommand) -> None:
        try:
            self._codec.send(request)
        except LocalProtocolError as error:
            self._end(RemoteError(ErrorCode.PROTOCOL, f"{self.address}: {error}"))

    def _flush(self) -> None:
        self._held_back += self._codec.data_to_send()
        if self._held_back and not self._codec.suspended and not self._ended:
            data, self._held_back = self._held_back, b""
            self._raw.write(data)
        if len(self._held_back) + self._raw.unwritten > _UNSENT_LIMIT:
            self._end(RemoteError(ErrorCode.PROTOCOL, f"{self.address} asks and asks, and takes no answers"))

    def _end(self, error: RemoteError) -> None:
        if not self._ended:
            self._ended = True
            self._timer.cancel()
            self._raw.pause_reading()
            self._events.remote_lost(error)
