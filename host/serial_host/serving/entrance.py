"""Admits clients: one that may be served at a time.

The others are told why they are not served, or are disconnected.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections import Counter
from ipaddress import ip_address
from typing import TYPE_CHECKING, Protocol

from serial_host.config import Address, PortConfig
from serial_host.config import Protocol as PortProtocol
from serial_host.listening.interfaces import Endpoint
from serial_host.listening.tcp_listener import socket_name
from serial_host.plumbing.tcp_options import begin_probe, prepare_connection, reset_on_close
from serial_host.plumbing.text import described
from serial_host.serving.admission import LOOK_SECONDS, Newcomer, TakeOvers, Verdict, contend
from serial_host.session.session import Session
from serial_tls.errors import IdentityError, TlsError
from serial_tls.handshake import shake_hands

if TYPE_CHECKING:  # without TLS nothing of OpenSSL is loaded
    from serial_host.security.security import Security

MOST_WAITING = 8
"""Limit of the newcomers that wait for the decision about the present client; further ones are refused at once."""

MOST_TOLD = 16
"""Limit of the connections that stay open for a moment to tell an RFC 2217 client why it is refused; further ones are cut
at once. Without it, whoever connects again and again would take the descriptors of all ports."""

MOST_HANDSHAKES = 8
MOST_HANDSHAKES_OF_ALL = 64
"""Limits of the TLS handshakes that one address, and all together, may have under way. Beyond them the oldest is ended,
so that whoever begins handshakes and does not go on keeps nobody out."""


class EntranceOwner(Protocol):
    """The port whose clients are let in."""

    @property
    def present(self) -> Session | None:
        """The client that is being served."""

    @property
    def starting(self) -> bool:
        """Whether a session has begun for which it is not decided yet whether it is served."""

    def start(self, newcomer: Newcomer) -> None:
        """Begin a session. It is served if no other client is, and refused otherwise."""

    def count_refused(self) -> None:
        """Count a newcomer that was turned away."""


class Entrance:
    """The newcomers of one port."""

    def __init__(
        self,
        config: PortConfig,
        owner: EntranceOwner,
        log: logging.LoggerAdapter[logging.Logger],
        security: Security | None,
    ) -> None:
        """With `security`, only clients that it admits come in."""
        self._config = config
        self._owner = owner
        self._log = log
        self._security = security
        self._handshakes: dict[asyncio.Task[None], Newcomer] = {}
        """The handshakes that are under way, the oldest first."""
        self._waiting: set[asyncio.Task[None]] = set()
        self._shaking: set[asyncio.Task[None]] = set()
        """The same, and those that are being ended."""
        self._told: list[socket.socket] = []
        """The connections of newcomers that are told why they are refused."""
        self._take_overs = TakeOvers()
        self._fighters = ""
        self._last_refusal: tuple[str, str] | None = None

    @property
    def contention(self) -> str | None:
        """A sentence that names the clients that replace each other; None if none do."""
        return self._fighters if self._take_overs.contended(time.monotonic()) else None

    def accept(self, connection: socket.socket, endpoint: Endpoint) -> None:
        """Take a connection over, and decide on it now or later."""
        try:
            host, port = connection.getpeername()[:2]
            prepare_connection(connection)
        except OSError:  # it has gone again
            connection.close()
            return
        address = ip_address(host.partition("%")[0])
        peer = socket_name(address, port)
        allowed = endpoint.networks if self._config.allow is None else self._config.allow
        if not any(address in network for network in allowed):
            self.refuse(
                peer, f"it is not in {', '.join(map(str, allowed))}; add its network to allow to admit it"
            )
            _cut(connection)
            return
        newcomer = Newcomer(connection, address, peer)
        if self._security is None:
            self._consider(newcomer)
        else:
            self._begin_handshake(newcomer, self._security)

    def _begin_handshake(self, newcomer: Newcomer, security: Security) -> None:
        self._make_room(newcomer.address)
        task = asyncio.create_task(self._shake_hands(newcomer, security), name=f"handshake {newcomer.peer}")
        self._handshakes[task] = newcomer
        self._shaking.add(task)
        task.add_done_callback(lambda task: self._handshake_over(task, newcomer))

    def _handshake_over(self, task: asyncio.Task[None], newcomer: Newcomer) -> None:
        self._handshakes.pop(task, None)
        self._shaking.discard(task)
        if task.cancelled():  # it may not even have begun
            newcomer.cut()

    def _make_room(self, address: Address) -> None:
        """End the oldest handshake of this address, or of the one with the most, if there are as many as may be."""
        present = Counter(newcomer.address for newcomer in self._handshakes.values())
        if present[address] < MOST_HANDSHAKES:
            if present.total() < MOST_HANDSHAKES_OF_ALL:
                return
            [(address, _)] = present.most_common(1)
        oldest = next(task for task, other in self._handshakes.items() if other.address == address)
        oldest.cancel()
        peer = self._handshakes.pop(oldest).peer
        self.refuse(peer, "too many TLS handshakes were under way, and a newer one took the place of its own")

    async def _shake_hands(self, newcomer: Newcomer, security: Security) -> None:
        """Admit a newcomer whose handshake succeeds; no other client waits for it."""
        try:
            tls = security.session()
            await shake_hands(newcomer.connection, tls)
            security.admit(tls.peer_fingerprint or "", newcomer.peer)
        except (TlsError, IdentityError) as error:
            reason = security.refused(error, newcomer.peer) if isinstance(error, TlsError) else str(error)
            self.refuse(newcomer.peer, reason)
            newcomer.cut()
        except OSError as error:
            self.refuse(
                newcomer.peer, f"it ended the connection during the TLS handshake: {described(error)}"
            )
            newcomer.cut()
        except Exception:
            newcomer.cut()
            raise
        else:
            newcomer.tls = tls
            self._consider(newcomer)

    def _consider(self, newcomer: Newcomer) -> None:
        present = self._owner.present
        if present is None and not self._owner.starting:
            self._owner.start(newcomer)
        elif present is not None and not self._may_contend(newcomer.address, present):
            self._turn_away(newcomer, f"{present.peer} is being served")
        elif len(self._waiting) >= MOST_WAITING:
            self._turn_away(newcomer, f"{MOST_WAITING} other clients wait already")
        else:
            task = asyncio.create_task(self._decide(newcomer), name=f"newcomer {newcomer.peer}")
            self._waiting.add(task)
            task.add_done_callback(self._waiting.discard)

    def _may_contend(self, address: Address, present: Session) -> bool:
        """Return whether a newcomer from this address may have the present client's place if that one is silent."""
        # If the present client's computer has died, the kernel learns of it sooner so.
        begin_probe(present.socket)
        return present.address == address or self._config.take_over

    def still_admits(self, session: Session) -> bool:
        """Return whether a client that was admitted has not been removed while it waited for its turn."""
        return self._security is None or self._security.admits(session.fingerprint or "")

    async def stop(self) -> None:
        """End the waiting of all newcomers."""
        tasks = (*self._shaking, *self._waiting)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def refuse(self, peer: str, reason: str) -> None:
        """Count a newcomer that is turned away, and log that once for all attempts of one computer."""
        self._owner.count_refused()
        refusal = (peer.rpartition(":")[0], reason)
        if refusal != self._last_refusal:
            self._last_refusal = refusal
            self._log.warning("client %s was refused: %s", peer, reason)

    def forget_refusals(self) -> None:
        """Log the next refusal whatever it is, because a client was served since the last one."""
        self._last_refusal = None

    async def _decide(self, newcomer: Newcomer) -> None:
        """Decide when it is known what becomes of the present client, and of those who came just before.

        When the present client ends and somebody else is served first, nothing is known of that one: the newcomer waits
        anew.
        """
        rfc2217 = self._config.protocol is PortProtocol.RFC2217
        try:
            while True:
                while self._owner.starting:  # noqa: ASYNC110  # a matter of one or two turns of the event loop
                    await asyncio.sleep(LOOK_SECONDS)
                present = self._owner.present
                if present is None or not self._may_contend(newcomer.address, present):
                    verdict = Verdict.REFUSE
                    break
                verdict = await contend(newcomer, present, rfc2217=rfc2217, take_over=self._config.take_over)
                if self._owner.present is present or verdict is Verdict.GONE:
                    break
        except BaseException:
            newcomer.cut()
            raise
        if verdict is Verdict.GONE:
            newcomer.cut()
        elif present is None:
            self._owner.start(newcomer)
        elif verdict is Verdict.FREE:
            present.abort(f"it does not answer any more, and is replaced by {newcomer.peer}")
            self._owner.start(newcomer)
        elif verdict is Verdict.REFUSE:
            self._turn_away(newcomer, f"{present.peer} is being served, and answers")
        else:
            self._take_over(newcomer, present)

    def _take_over(self, newcomer: Newcomer, present: Session) -> None:
        now = time.monotonic()
        kept = self._take_overs.kept(now)
        if kept:
            reason = f"{present.peer} is being served, and has replaced another client itself just now"
            self._turn_away(newcomer, reason)
            return
        self._take_overs.happened(now)
        self._fighters = (
            f"{present.peer} and {newcomer.peer} replace each other: let each port have one client only"
        )
        if self.contention:
            self._log.warning("%s", self.contention)
        present.abort(f"replaced by {newcomer.peer}")
        self._owner.start(newcomer)

    def _turn_away(self, newcomer: Newcomer, reason: str) -> None:
        self._told = [connection for connection in self._told if connection.fileno() >= 0]
        if self._config.protocol is PortProtocol.RFC2217 and len(self._told) < MOST_TOLD:
            # A session says so in the protocol, and is refused because the port has a client.
            self._told.append(newcomer.connection)
            self._owner.start(newcomer)
        else:
            self.refuse(newcomer.peer, reason)
            newcomer.cut()


def _cut(connection: socket.socket) -> None:
    reset_on_close(connection)
    connection.close()
