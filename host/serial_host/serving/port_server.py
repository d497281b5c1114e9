"""One served port: its COM port's life, who may be its client, and the way of each byte between the two.

The COM port is opened, watched and opened again by one coroutine, `run`; clients come through `TcpListener`.
From client to device: `RawSession.buffer_updated` -> `write` -> `ComPort.write`.
From device to client: `data_received` -> `RawSession.send`.
"""

# ruff: noqa: D102  # the methods are documented where their type is: `port.ComPortEvents`, `session.SessionOwner`, `entrance.EntranceOwner`

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from serial_host.com_port.port import ComPort, ComPortError, OpenComPort
from serial_host.config import Open, PortConfig, Protocol
from serial_host.listening.interfaces import Interfaces, endpoints
from serial_host.listening.tcp_listener import TcpListener
from serial_host.plumbing.backoff import Backoff
from serial_host.plumbing.event_log import Event
from serial_host.plumbing.port_log import PortLog
from serial_host.plumbing.text import described
from serial_host.security.tls_transport import Secured
from serial_host.serving.admission import Newcomer
from serial_host.serving.entrance import Entrance
from serial_host.serving.monitoring import LineLook
from serial_host.serving.opening import CLOSE_SECONDS, Opening
from serial_host.serving.traffic import Traffic
from serial_host.session.raw import RawSession
from serial_host.session.rfc2217_session import Rfc2217Session
from serial_host.session.session import Session
from serial_host.status import PortStatus, State
from serial_monitor.records import FROM_DEVICE, TO_DEVICE
from serial_monitor.taps import Tap

if TYPE_CHECKING:  # without TLS nothing of OpenSSL is loaded
    from serial_host.security.security import Security

FIRST_RETRY_SECONDS = 0.1
LAST_RETRY_SECONDS = 2.0
"""Seconds before a COM port that could not be opened, or was lost, is tried again: at first, and at most."""

STABLE_SECONDS = 5.0
"""Seconds for which a port must have been open to be tried again at once when it is lost."""

STOP_SECONDS = 3.0
"""Seconds, at most, in which what clients have sent arrives at the device when the server stops. Windows gives 5 s to a
program whose console is closed."""

STOP_QUIET_SECONDS = 1.0
"""Seconds without any progress after which a stop waits no longer."""

STOP_LOOK_SECONDS = 0.02
"""The time between two looks at what is on its way when the server stops."""

_log = logging.getLogger(__name__)


class PortServer:
    """Serves one COM port to one client at a time; `interfaces` gives the latest snapshot."""

    def __init__(
        self,
        config: PortConfig,
        open_port: OpenComPort,
        interfaces: Callable[[], Interfaces],
        traffic: Traffic | None,
        tap: Tap,
        security: Security | None,
    ) -> None:
        """`tap` passes the traffic on to those who watch."""
        self._tap = tap
        self._line_look = LineLook(tap)
        self._config = config
        self._opening = Opening(config.name, open_port)
        self._interfaces = interfaces
        self._traffic = traffic
        self._log = PortLog(_log, config.name)
        self._status = PortStatus(config.name, config.tcp_port, config.protocol)
        self._entrance = Entrance(config, self, self._log, security if config.tls else None)
        self._listener = TcpListener(config.tcp_port, self._entrance.accept, self._log)
        self._port: ComPort | None = None
        self._device_slow = False
        self._port_over: asyncio.Future[bool]
        """Whether the open port was lost; False when it is no longer wanted."""
        self._finishing = False
        self._session: Session | None = None
        self._session_changed = asyncio.Event()
        self._starting: set[asyncio.Task[Any]] = set()
        self._overruns_before = 0

    @property
    def _refuses_without_device(self) -> bool:
        return self._config.protocol is Protocol.RAW and self._config.open is Open.ALWAYS

    @property
    def name(self) -> str:
        """What people call the port."""
        return self._config.name

    async def run(self) -> None:
        """Serve the port until cancelled."""
        backoff = Backoff(FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS, STABLE_SECONDS)
        try:
            while True:
                await self._wait_until_wanted()
                started = time.monotonic()
                try:
                    lost = await self._serve_port()
                except ComPortError as error:
                    started = time.monotonic()
                    self._absent(error)
                    lost = True
                if lost:
                    await asyncio.sleep(backoff.delay(time.monotonic() - started))
        finally:
            await self._stop()

    async def _wait_until_wanted(self) -> None:
        if self._config.open is Open.ON_CLIENT and self._session is None:
            self._status.enter(State.IDLE)
            self.update_listener()
            self._session_changed.clear()
            await self._session_changed.wait()

    async def _serve_port(self) -> bool:
        """Open the port and keep it until it is lost or no longer wanted; return whether it was lost."""
        self._port_over = asyncio.get_running_loop().create_future()
        port = await self._opening.open(self)
        try:
            if not self._port_over.done():  # it can be lost as soon as it is open
                self._opened(port)
            return await self._until_over(port)
        except Exception as error:
            # Whatever a driver raises is an error of this port alone.
            raise ComPortError(f"{self.name}: {described(error)}") from error
        finally:
            self._port = None
            self._count_overruns(port, final=True)
            self._lose_unsent(port)
            if not await self._opening.close(port):
                self._log.warning(
                    "the driver has not closed the port for %g s; it is opened again nevertheless",
                    CLOSE_SECONDS,
                )

    async def _until_over(self, port: ComPort) -> bool:
        """Return whether the port was lost; if not, it is no longer wanted, and the device has what clients have sent."""
        while not await self._port_over:
            self._port_over = asyncio.get_running_loop().create_future()
            left = port.unsent + 1
            while self._session is None and not port.drained and port.unsent < left:
                left = port.unsent
                await port.drain()
            if self._session is None and not self._port_over.done():
                return False
        return True

    def _opened(self, port: ComPort) -> None:
        self._port, self._device_slow = port, False
        self._status.device, self._status.line = port.device, str(port.line)
        self._status.latency_timer = port.latency_timer
        self._status.enter(State.OPEN)
        self._log.info("%s is open, %s", port.device, port.line, extra=Event.PORT_OPEN.mark)
        self._tap.event("state", f"open as {port.device}")
        self._line_look.opened(port)
        if port.line != self._config.line:
            self._log.warning("the port runs %s, not %s as configured", port.line, self._config.line)
        self.update_listener()
        if self._session is not None:
            self._session.device_present(port)
        elif self._config.open is Open.ON_CLIENT:
            self._port_over.set_result(False)

    def _absent(self, error: ComPortError) -> None:
        self._status.enter(State.ABSENT)
        self._status.device = self._status.line = self._status.latency_timer = None
        if self._status.fail(str(error)):
            self._log.warning("%s", error, extra=Event.PORT_FAILED.mark)
            self._tap.event("error", str(error))
        if self._session is not None:
            self._session.device_absent(str(error))
        self.update_listener()

    def _lose_unsent(self, port: ComPort) -> None:
        lost, self._status.unsent = port.unsent, 0
        if lost:
            self._status.bytes_to_device -= lost
            self._status.discarded_to_device += lost
            self._log.warning("%d bytes did not reach the device", lost)
            self._tap.event(
                "discarded", f"{lost} bytes did not reach the device: the port was closed or lost"
            )

    def _count_overruns(self, port: ComPort, *, final: bool) -> None:
        try:
            now = self._overruns_before + port.line_errors().overrun
        except Exception:  # noqa: BLE001  # a port that is about to be lost, which is said then
            now = self._status.overruns
        if now > self._status.overruns:
            self._log.warning(
                "bytes were lost because the device sent them faster than they were read: %d overruns",
                now - self._status.overruns,
            )
        self._status.overruns = now
        if final:
            self._overruns_before = now

    async def finish(self) -> None:
        """Let what the client has sent arrive at the device, and what the device has sent at the client, for some seconds.

        The client is sent the end of the stream. The caller is to cancel `run` then.
        """
        self._finishing = True
        await self._listener.close()
        await self._entrance.stop()
        if self._session is not None:
            self._session.finish()
        loop = asyncio.get_running_loop()
        moved = loop.time()
        until, before = moved + STOP_SECONDS, (0, 0)
        while self._session is not None or (self._port is not None and self._port.unsent):
            unsent = 0 if self._port is None else self._port.unsent
            if (at_present := (self._status.bytes_to_device, unsent)) != before:
                before, moved = at_present, loop.time()
            if loop.time() >= min(until, moved + STOP_QUIET_SECONDS):
                break
            await asyncio.sleep(STOP_LOOK_SECONDS)
        if self._port is not None and not self._port.drained:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, until - loop.time())):
                    await self._port.drain()

    async def _stop(self) -> None:
        self._opening.stop()
        await self._listener.close()
        await self._entrance.stop()
        if self._session is not None:
            self._session.close("the server stops")

    # What the listener and the interfaces say.

    def update_listener(self) -> None:
        """Listen at the present addresses.

        The port listens nowhere while the device of a raw port is absent, because only a refused connection tells a raw
        client of that.
        """
        if self._finishing:
            return
        if self._port is not None or not self._refuses_without_device:
            self._listener.update(*endpoints(self._config.listen, self._interfaces()))
        else:
            self._listener.update(())
        self._drop_session_of_a_lost_address()

    def _drop_session_of_a_lost_address(self) -> None:
        """End a session whose address is lost, without waiting for silence.

        Nothing arrives at an address that the computer no longer has (after a sleep, say).
        """
        session = self._session
        if session is None or session.local.is_loopback or session.local.is_link_local:
            return
        present = {entry.address for addresses in self._interfaces().values() for entry in addresses}
        if session.local not in present:
            session.abort(f"{session.local} is no longer an address of this computer")

    # What the entrance asks for.

    @property
    def present(self) -> Session | None:
        return self._session

    @property
    def starting(self) -> bool:
        return bool(self._starting)

    def start(self, newcomer: Newcomer) -> None:
        loop = asyncio.get_running_loop()
        task = loop.create_task(
            loop.connect_accepted_socket(lambda: self._protocol_for(newcomer), newcomer.connection)
        )
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)

    def revoke(self, fingerprint: str) -> None:
        """End the connection of a client that is no longer trusted."""
        if self._session is not None and self._session.fingerprint == fingerprint:
            self._session.abort("its certificate is no longer trusted")

    def count_refused(self) -> None:
        self._status.refused += 1

    def _protocol_for(self, newcomer: Newcomer) -> asyncio.BufferedProtocol:
        client = newcomer.address, newcomer.peer, newcomer.connection
        session: Session
        if self._config.protocol is Protocol.RFC2217:
            session = Rfc2217Session(self, *client, self._config, self._log)
        else:
            session = RawSession(self, *client)
        if newcomer.tls is None:
            return session
        session.fingerprint = newcomer.tls.peer_fingerprint
        return Secured(session, newcomer.tls)

    # What the session says.

    def session_started(self, session: Session) -> None:
        reason = None
        if self._port is None and self._refuses_without_device:
            reason = "the device is absent"
        elif self._session is not None:
            reason = f"{self._session.peer} is connected"
        elif not self._entrance.still_admits(session):
            reason = "its certificate is no longer trusted"
        if reason is not None:
            self._tap.event("refused", f"client {session.peer}: {reason}")
            self._entrance.refuse(session.peer, reason)
            session.refuse(reason)
            return
        self._session = session
        self._entrance.forget_refusals()
        self._session_changed.set()
        self._status.connects += 1
        self._status.client, self._status.client_since = session.peer, time.time()
        self._log.info("client %s connected", session.peer)
        self._tap.event("opened", f"client {session.peer} connected")
        if self._device_slow:
            session.device_slow(slow=True)
        if self._port is not None:
            session.device_present(self._port)
        elif self._config.open is Open.ALWAYS:
            session.device_absent(self._status.last_error or "it is not open yet")

    def write(self, session: Session, data: bytes | memoryview) -> None:
        if session is not self._session:
            return
        port = self._port
        if port is None:
            self._status.discarded_to_device += len(data)
            if self._tap.watched is not None:
                self._tap.event("discarded", f"{len(data)} bytes of the client: the device is absent")
            return
        self._status.bytes_to_device += len(data)
        port.write(data)
        if (watched := self._tap.watched) is not None:
            watched(TO_DEVICE, data)
        if self._traffic is not None:
            self._traffic.to_device(self._config.name, data)

    def purged(self, session: Session, *, to_device: int = 0, from_device: int = 0) -> None:
        if session is self._session:
            self._count_purged(to_device=to_device, from_device=from_device)

    def unwritten(self, session: Session, size: int) -> None:
        if session is self._session:
            self._status.discarded_to_device += size
            if self._tap.watched is not None:
                self._tap.event(
                    "discarded", f"{size} bytes of the client, which was disconnected before their turn came"
                )

    def undelivered(self, session: Session, size: int) -> None:
        if session is self._session:
            self._status.discarded_from_device += size

    def _count_purged(self, *, to_device: int, from_device: int) -> None:
        self._status.bytes_to_device -= to_device
        self._status.discarded_to_device += to_device
        self._status.bytes_from_device += from_device
        self._status.discarded_from_device += from_device
        if (to_device or from_device) and self._tap.watched is not None:
            self._tap.event(
                "discarded", f"the client discarded {to_device} bytes to the device and {from_device} from it"
            )

    def port_failed(self, session: Session, reason: str) -> None:
        if session is self._session and self._port is not None:
            self.port_lost(ComPortError(reason))

    def session_ended(self, session: Session, reason: str) -> None:
        if session is not self._session:
            return
        self._log.info("client %s disconnected: %s", session.peer, reason)
        self._tap.event("closed", f"client {session.peer} disconnected: {reason}")
        self._session = None
        self._status.client = self._status.client_since = None
        if self._finishing:
            return  # the port stays open until the device has what the client sent
        if self._port is not None and self._config.open is Open.ON_CLIENT and not self._port_over.done():
            self._port_over.set_result(False)

    # What the COM port says.

    def data_received(self, data: bytes) -> None:
        session = self._session
        self._status.bytes_from_device += len(data)
        if session is None or session.finishing:
            self._status.discarded_from_device += len(data)
        else:
            session.send(data)
        if (watched := self._tap.watched) is not None:
            watched(FROM_DEVICE, data)
            if session is None:
                self._tap.event("discarded", f"{len(data)} bytes from the device: no client is connected")
        if self._traffic is not None:
            self._traffic.from_device(self._config.name, data)

    def discarded_late(self, *, received: int = 0, unsent: int = 0) -> None:
        self._count_purged(to_device=unsent, from_device=received)

    def pause_writing(self) -> None:
        self._device_slow = True
        if self._session is not None:
            self._session.device_slow(slow=True)

    def resume_writing(self) -> None:
        self._device_slow = False
        if self._session is not None:
            self._session.device_slow(slow=False)

    def port_lost(self, error: ComPortError) -> None:
        if not self._port_over.done():
            self._port = None
            self.resume_writing()
            self._absent(error)
            self._port_over.set_result(True)

    # What `status` and `monitor` ask.

    def look_at_line(self, *, anew: bool) -> None:
        """Report changed settings, modem lines and errors to those who watch; `anew` is as in `LineLook.look`."""
        if self._port is not None and self._tap.watched is not None:
            self._line_look.look(self._port, anew=anew)

    def status(self) -> PortStatus:
        """Return the present status; it changes under the caller."""
        if self._port is not None:
            self._count_overruns(self._port, final=False)
            self._status.unsent = self._port.unsent
            self._status.line = str(self._port.line)
        self._status.contention = self._entrance.contention
        self._status.listening = self._listener.addresses
        self._status.not_listening = self._listener.problems
        return self._status
