"""A connection to an RFC 2217 access server: bytes, line settings, modem lines and breaks.

`TcpStream` or `TlsStream` is the connection below. The package `rfc2217` knows the bytes of the protocol, `requests` the
requests on their way, and `device_data` what the application gets. This module decides which requests are sent and when, what follows from the
answers, and how long to wait for them. Bytes are sent in the order of the calls, so settings come before the data that is
written after them.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

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
    LineState,
    NotifyLineState,
    NotifyModemState,
    PeerFailed,
    Purge,
    PurgeData,
    Role,
    SetBaudRate,
    SetControl,
    SetDataSize,
    SetLineStateMask,
    SetParity,
    SetStopSize,
    Signature,
    encode_data,
)
from serial_relay import __version__
from serial_relay.config import LineSettings
from serial_relay.plumbing.text import escaped
from serial_relay.remote import heartbeat
from serial_relay.remote.com_port_line import (
    ASKING,
    COUNTED_ERRORS,
    MODEM_SUBJECTS,
    change_requests,
    in_words,
    line_errors,
    opening_requests,
    with_answer,
)
from serial_relay.remote.connection import ComPortEvents, Losses, RemoteError
from serial_relay.remote.device_data import DeviceData
from serial_relay.remote.modem_control import ModemControl
from serial_relay.remote.requests import Requests
from serial_relay.remote.tcp_stream import TcpStream
from serial_relay.remote.tls_stream import TlsStream
from serial_relay.status import ActualLine, ErrorCode, ModemState

if TYPE_CHECKING:  # a connection without TLS needs no OpenSSL
    from serial_relay.remote.secure import Secured

log = logging.getLogger(__name__)

_NEGOTIATION_TIMEOUT = 4.0
"""Seconds from the connection to the answers without which a server cannot be used."""

_EARLY_DATA = 65536
"""Bytes of the device that may come before the answers without which a server cannot be used."""

_UNSENT_LIMIT = 65536
"""Limit in bytes for queued answers and commands. Application data has its own back-pressure."""

_EVENTS_IN_A_TURN = 32
_BETWEEN_TURNS = 0.001
"""Commands and other events of the host that are handled in one go, and the seconds until the next go.

The other ports have their turn in between, whatever a host sends.
"""

_NEEDED = (SetBaudRate, SetDataSize, SetParity, SetStopSize)
"""Requests that every access server answers. Some leave flow control and others without an answer."""

_LONGEST_REASON = 200
"""Characters of a host's text in an error."""


class Rfc2217Remote:
    """A connection with the com port option on. It can be used once `ready` is done.

    Whatever ends it, before or after that, is reported by `remote_lost`; `ready` is then never done.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        connection: socket.socket,
        address: str,
        line: LineSettings,
        events: ComPortEvents,
        secured: Secured | None = None,
        *,
        counts_errors: bool = False,
    ) -> None:
        """Begin to negotiate; `line` is what the real port is to have, None where it keeps what it has.

        With `counts_errors` the host is asked to tell of errors on the device's line.
        """
        self._counts_errors = counts_errors
        self._loop = loop
        self._events = events
        self.address = address
        self.line = ActualLine()
        """The settings of the real port, as far as the host has answered them."""
        self.modem: ModemState | None = None
        """The modem lines that the host notified last."""
        self.ready: asyncio.Future[None] = loop.create_future()
        self._wanted = line
        self._wishes: dict[tuple[int, int], ComPortCommand] = {}
        """By its subject, the setting that was asked for last and is not answered yet."""
        self._missing = {kind.CODE: kind for kind in _NEEDED}
        """The requests to which the first answer has not come yet."""
        self._settled = False
        """True once nothing is missing; from then on the heartbeat judges silence."""
        self._device_unavailable = False
        self._ended = False
        self.finished = False
        self._sent = 0
        """Bytes of the application, over the connection's life."""
        self._device_data = DeviceData(events.device_data, events.device_data_flushed)
        self.application_opened = self._device_data.deliver_early
        self._stream_full = False
        self._congested = False
        self._urgent = False
        """Whether the application asked for a purge or another flow control while the host asks for silence."""
        self._may_read = True
        """The owner wants the host to be read."""
        self._rest: asyncio.TimerHandle | None = None
        """The timer that runs while received events wait for the next turn."""
        self._heartbeat = heartbeat.Heartbeat()
        self._codec = Connection(Role.CLIENT)
        self._requests = Requests(self._codec)
        self._stream = (
            TlsStream(loop, connection, address, self, secured)
            if secured is not None
            else TcpStream(loop, connection, address, self)
        )
        control = ModemControl(loop, self._codec, self._requests, address, self._flush)
        self.set_modem_lines, self.send_break = control.set_modem_lines, control.send_break
        self.set_break, self.when_at_host = control.set_break, control.when_at_host
        self._ask_in_turn = control.ask_in_turn
        self._timer = loop.call_later(_NEGOTIATION_TIMEOUT, self._negotiation_timed_out)
        self._stream.resume_reading()
        self._codec.start()
        self._flush()

    # Calls of the owner.

    def write(self, data: bytes) -> None:
        """See `Remote`."""
        self._sent += len(data)
        if self._requests.waiting or self._codec.queued or self._codec.suspended or self._ended:
            self._requests.send_waiting()
            self._codec.send_data(data)
            self._flush()
        else:
            self._stream.write(encode_data(data))  # what most calls come to, the short way

    def pause_reading(self) -> None:
        """See `Remote`."""
        self._may_read = False
        self._stream.pause_reading()

    def resume_reading(self) -> None:
        """See `Remote`."""
        self._may_read = True
        self._heartbeat.forget()
        self._read_if_may()

    @property
    def unacknowledged(self) -> int:
        """See `Remote`."""
        return self._stream.unacknowledged + self._codec.queued

    def finish(self) -> None:
        """See `Remote`; first comes a question, since its answer shows that the host has acted on what came before."""
        self._requests.ask_at_once(SetBaudRate(), lambda _answer: self._finish_now())
        self._flush()

    def _finish_now(self) -> None:
        if not self._ended:
            self.finished = True
            self._timer.cancel()
            self._stream.finish()

    def close(self) -> Losses:
        """See `Remote`."""
        self._stop()
        losses = self._stream.close()
        to_device = min(losses.to_device + self._codec.queued, self._heartbeat.unconfirmed(self._sent))
        undecoded = sum(len(event.data) for event in self._codec.receive_data(b"") if isinstance(event, Data))
        return Losses(to_device, losses.from_device + self._device_data.undelivered + undecoded)

    def set_line(self, line: LineSettings) -> None:
        """Apply other settings to the real port, before what is written from now on."""
        before, self._wanted = self._wanted, line
        self._urgent = self._urgent or before.flow_control != line.flow_control
        if self._codec.agreed and not self._ended:
            for request in change_requests(before, line):
                self._wish(request)
            self._flush()

    def purge(self, *, received: bool, transmitted: bool) -> None:
        """Ask the host to discard what it has received from the device, or what it has for the device."""
        if received:
            self._device_data.purge_early()
        if not self._codec.agreed or self._ended:
            return
        if received:
            both = Purge.BOTH if transmitted else Purge.RECEIVE
            own_answer = self._requests.ask(PurgeData(both), self._device_data.purge_answered)
            self._device_data.purge(time.monotonic(), own_answer=own_answer)
        elif transmitted:
            self._requests.ask(PurgeData(Purge.TRANSMIT))
        self._urgent = self._urgent or transmitted
        self._flush()

    # From the TCP connection.

    def device_data(self, data: bytes) -> None:
        """See `RemoteEvents`; these are bytes of the protocol."""
        self._heartbeat.heard()
        self._events.look_for_flush()
        line_data = self._codec.take_data(data)
        if line_data is None:
            self._act_on(self._codec.receive_data(data))
        elif self._device_data.passing:
            self._events.device_data(line_data)
        else:
            self._data_received(line_data)

    def connection_full(self, *, full: bool) -> None:
        """See `RemoteEvents`."""
        self._stream_full = full
        self._events.connection_full(full=full or self._congested)

    def remote_lost(self, error: RemoteError) -> None:
        """See `RemoteEvents`."""
        self._end(
            error if self.ready.done() else error.with_last_words(self._device_data.early, self.address)
        )

    # Events of the host.

    def _act_on(self, events: Iterator[Event]) -> None:
        handled = 0
        for event in islice(events, _EVENTS_IN_A_TURN):
            handled += 1
            self._act_on_one(event)
            if self._ended:
                return
        self._look_whether_ready()
        self._flush()
        if handled == _EVENTS_IN_A_TURN and not self._ended:
            self._stream.pause_reading()
            self._rest = self._loop.call_later(_BETWEEN_TURNS, self._go_on)

    def _go_on(self) -> None:
        self._rest = None
        self._act_on(self._codec.receive_data(b""))
        self._read_if_may()

    def _read_if_may(self) -> None:
        if self._may_read and not self._rest and not self._ended:
            self._stream.resume_reading()

    def _act_on_one(self, event: Event) -> None:
        match event:
            case Data(data):
                self._data_received(data)
            case ComPortAgreed():
                self._events.suspended_by_host(suspended=False)  # an agreement ends a suspension
                for request in opening_requests(self._wanted):
                    self._wish(request)
                if self._counts_errors:
                    self._requests.ask(SetLineStateMask(COUNTED_ERRORS))
            case ComPortRefused():
                self._end(self._not_an_access_server("refuses the com port option"))
            case ComPortCommand():
                self._command_received(event)
            case PeerFailed(reason):
                what = f"{self.address} violates the telnet protocol: {reason}"
                self._end(RemoteError(ErrorCode.PROTOCOL, what))

    def _data_received(self, data: bytes) -> None:
        self._device_data.received(data, time.monotonic())
        if not self._settled and self._device_data.early_size > _EARLY_DATA:
            self._end(self._not_an_access_server("sends data instead of answers"))

    def _command_received(self, command: ComPortCommand) -> None:
        match command:
            case NotifyModemState(rfc2217.ModemState() as state):
                self._modem_notified(state)
            case NotifyLineState(LineState() as state):
                self._events.line_errors_notified(line_errors(state))
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
        self._requests.answered(answer)
        self._missing.pop(answer.CODE, None)
        line = with_answer(self.line, answer)
        if line != self.line:
            self.line = line
            self._events.com_port_changed()
        if not self._requests.awaits(answer.subject):
            wish = self._wishes.pop(answer.subject, answer)
            if wish != answer:
                log.warning(
                    "%s: asked for %s, the real port has %s", self.address, in_words(wish), in_words(answer)
                )

    def _wish(self, request: ComPortCommand) -> None:
        """Ask for a setting, and warn if the real port does not get it; `line` tells what it has instead."""
        inbound = request.subject == (SetControl.CODE, Control.REQUEST_INBOUND_FLOW)
        if request not in ASKING and not inbound:
            self._wishes[request.subject] = request
        (self._ask_in_turn if request.subject in MODEM_SUBJECTS else self._requests.ask)(request)

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
        """Act on the state of the device, if the host tells it in this way. Other signatures have no meaning here."""
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
        if not self._settled and self._codec.agreed and not self._missing:
            self._settled = True
            self._timer.cancel()
            self._beat()
        if self._settled and not self._device_unavailable and not self.ready.done() and not self._ended:
            self.ready.set_result(None)
            self._device_data.usable()

    # Answers that do not come.

    def _negotiation_timed_out(self) -> None:
        if self._codec.agreed:
            missing = ", ".join(kind.__name__ for kind in self._missing.values())
            what = f"did not answer {missing} within {_NEGOTIATION_TIMEOUT:.0f} s"
        else:
            what = f"did not agree to the com port option within {_NEGOTIATION_TIMEOUT:.0f} s"
        self._end(self._not_an_access_server(what))

    def _not_an_access_server(self, what: str) -> RemoteError:
        return RemoteError(
            ErrorCode.PROTOCOL,
            f"{self.address} {what}: is it an RFC 2217 server? If it carries bytes only, set `protocol` to `raw`",
        ).with_last_words(self._device_data.early, self.address)

    def _beat(self) -> None:
        """Ask for the baud rate, which every access server answers, and judge the silence after it."""
        self._timer = self._loop.call_later(heartbeat.INTERVAL, self._beat)
        if self._codec.suspended or not self._may_read:
            return  # the host may not be asked, or its answer may stand behind data that is not read
        now = time.monotonic()  # the loop's own clock stands still within a millisecond (libuv)
        flow_control = self.line.flow_control not in (None, "none")
        if self._heartbeat.beat(now, self._sent):
            self._requests.ask_at_once(SetBaudRate(), self._heartbeat_answered)
            self._flush()
        elif self._heartbeat.is_stuck(now, self._sent, self.line.baud_rate, flow_control=flow_control):
            what = f"{self.address} no longer answers questions: the server there hangs"
            self._end(RemoteError(ErrorCode.TIMED_OUT, what))

    def _heartbeat_answered(self, answer: ComPortCommand | None) -> None:
        seconds = None if answer is None else self._heartbeat.answered(time.monotonic())
        if seconds is not None:
            self._events.round_trip_measured(seconds)

    # To the TCP connection.

    def _flush(self) -> None:
        """Send what is queued. This follows each call of the codec or the requests that may have queued something."""
        if self._requests.congested and not self._congested:
            self._requests.ask_at_once(SetBaudRate())  # its answer ends the wait for answers that never come
        if not self._codec.suspended:
            self._urgent = False
        if self.finished:
            return
        # A host that asks for silence because the device is stopped has to learn what would end the stop.
        if self._codec.queued and (self._urgent or not self._codec.suspended) and not self._ended:
            self._stream.write(self._codec.data_to_send())
        if self._congested is not self._requests.congested:
            self._congested = self._requests.congested
            self._events.connection_full(full=self._stream_full or self._congested)
        if self._codec.queued + self._stream.unwritten > _UNSENT_LIMIT:
            what = f"{self.address} keeps sending requests without reading our answers"
            self._end(RemoteError(ErrorCode.PROTOCOL, f"{what} ({_UNSENT_LIMIT // 1024} KB are queued)"))

    def _end(self, error: RemoteError) -> None:
        if not self._ended:
            self._stop()
            self._stream.pause_reading()
            self._events.remote_lost(error)

    def _stop(self) -> None:
        self._ended = True
        self._timer.cancel()
        if self._rest is not None:
            self._rest.cancel()
        self._requests.end()
