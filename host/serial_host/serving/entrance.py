"""Lets clients in: those that may be served, one at a time; the others are told why not, or cut off."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Coroutine
from ipaddress import ip_address
from typing import Any, Protocol

from serial_host.config import Address, PortConfig
from serial_host.config import Protocol as PortProtocol
from serial_host.listening.interfaces import Endpoint
from serial_host.listening.tcp_listener import socket_name
from serial_host.plumbing.tcp_options import begin_probe, prepare_connection, reset_on_close
from serial_host.serving.admission import LOOK_SECONDS, TakeOvers, Verdict, contend
from serial_host.session.session import Session

MOST_WAITING = 8
"""So many newcomers wait at a time for what becomes of the present client; more are refused at once."""


class EntranceOwner(Protocol):
    """The port whose clients are let in."""

    @property
    def present(self) -> Session | None:
        """The client that is being served."""

    @property
    def starting(self) -> bool:
        """Whether a session has begun of which it is not known yet whether it is served."""

    def start(self, connection: socket.socket, address: Address, peer: str) -> None:
        """Begin a session: it is served if no other client is, else refused."""

    def count_refused(self) -> None:
        """Count a newcomer that was turned away."""


class Entrance:
    """The newcomers of one port."""

    def __init__(
        self, config: PortConfig, owner: EntranceOwner, log: logging.LoggerAdapter[logging.Logger]
    ) -> None:
        self._config = config
        self._owner = owner
        self._log = log
        self._waiting: set[asyncio.Task[None]] = set()
        self._take_overs = TakeOvers()
        self._fighters = ""
        self._last_refusal: tuple[str, str] | None = None

    @property
    def contention(self) -> str | None:
        """Says which clients replace each other, if any do."""
        return self._fighters if self._take_overs.contended(time.monotonic()) else None

    def accept(self, connection: socket.socket, endpoint: Endpoint) -> None:
        """Decide on a connection, or begin to; takes it over."""
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
        if self._owner.starting:
            self._let_wait(self._decide_later(connection, address, peer), connection, address, peer)
        else:
            self._decide(connection, address, peer)

    def _decide(self, connection: socket.socket, address: Address, peer: str) -> None:
        present = self._owner.present
        if present is None:
            self._owner.start(connection, address, peer)
        elif present.address != address and not self._config.take_over:
            # If the present client's computer has died, the kernel learns of it sooner so.
            begin_probe(present.socket)
            self._turn_away(connection, address, peer, f"{present.peer} is being served")
        else:
            self._let_wait(self._contend(connection, address, peer, present), connection, address, peer)

    def _let_wait(
        self, decision: Coroutine[Any, Any, None], connection: socket.socket, address: Address, peer: str
    ) -> None:
        if len(self._waiting) >= MOST_WAITING:
            decision.close()
            self._turn_away(connection, address, peer, f"{MOST_WAITING} others wait already")
            return
        task = asyncio.create_task(decision, name=f"newcomer {peer}")
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def stop(self) -> None:
        """Let nobody wait any more."""
        for task in self._waiting:
            task.cancel()
        await asyncio.gather(*self._waiting, return_exceptions=True)

    def refuse(self, peer: str, reason: str) -> None:
        """Count a newcomer that is turned away, and say so once for all that one computer tries."""
        self._owner.count_refused()
        refusal = (peer.rpartition(":")[0], reason)
        if refusal != self._last_refusal:
            self._last_refusal = refusal
            self._log.warning("client %s was refused: %s", peer, reason)

    def forget_refusals(self) -> None:
        """Say the next refusal again whatever it is: a client was served since the last one."""
        self._last_refusal = None

    async def _decide_later(self, connection: socket.socket, address: Address, peer: str) -> None:
        """Decide when it is known what became of those who came just before."""
        try:
            while self._owner.starting:  # noqa: ASYNC110  # a matter of one or two turns of the event loop
                await asyncio.sleep(LOOK_SECONDS)
        except BaseException:
            _cut(connection)
            raise
        self._decide(connection, address, peer)

    async def _contend(
        self, connection: socket.socket, address: Address, peer: str, present: Session
    ) -> None:
        rfc2217 = self._config.protocol is PortProtocol.RFC2217
        try:
            begin_probe(present.socket)
            verdict = await contend(connection, present, rfc2217=rfc2217, take_over=self._config.take_over)
        except BaseException:
            _cut(connection)
            raise
        present_now = self._owner.present
        if verdict is Verdict.GONE:
            _cut(connection)
        elif present_now is not present:  # it has ended, and perhaps another one came first
            self._owner.start(connection, address, peer)
        elif verdict is Verdict.FREE:
            present.abort(f"it does not answer any more, and is replaced by {peer}")
            self._owner.start(connection, address, peer)
        elif verdict is Verdict.REFUSE:
            self._turn_away(connection, address, peer, f"{present.peer} is being served, and answers")
        else:
            self._take_over(connection, address, peer, present)

    def _take_over(self, connection: socket.socket, address: Address, peer: str, present: Session) -> None:
        now = time.monotonic()
        kept = self._take_overs.kept(now)
        if kept:
            reason = f"{present.peer} is being served, and has replaced another client itself just now"
            self._turn_away(connection, address, peer, reason)
            return
        self._take_overs.happened(now)
        self._fighters = f"{present.peer} and {peer} replace each other: let each port have one client only"
        if self.contention:
            self._log.warning("%s", self.contention)
        present.abort(f"replaced by {peer}")
        self._owner.start(connection, address, peer)

    def _turn_away(self, connection: socket.socket, address: Address, peer: str, reason: str) -> None:
        if self._config.protocol is PortProtocol.RFC2217:
            # A session says so in the protocol, and is refused because the port has a client.
            self._owner.start(connection, address, peer)
        else:
            self.refuse(peer, reason)
            _cut(connection)


def _cut(connection: socket.socket) -> None:
    reset_on_close(connection)
    connection.close()
