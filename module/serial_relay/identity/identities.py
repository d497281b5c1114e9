"""The identities of this module, each made or fetched when the first connection needs it, and kept for the others."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from serial_relay.config import TlsIdentity
from serial_tls.errors import IdentityError

if TYPE_CHECKING:  # the library for certificates is loaded when the first connection needs one
    from serial_tls.identity import Identity
    from serial_tls.kept_identity import KeptIdentity

log = logging.getLogger(__name__)

_RENEW_AT = 2 / 3
"""The part of a certificate's life after which IoT Edge is asked for the next one."""

_RETRY = 60.0
"""Seconds until IoT Edge is asked again, and the shortest time between two certificates."""


class Identities:
    """The own identity in `state_dir`, and the one of IoT Edge. Either may be unavailable here; then `get` raises."""

    def __init__(
        self,
        state_dir: Path | None = None,
        environment: Mapping[str, str] | None = None,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """`environment` says how IoT Edge is asked; call `on_change` when one of the fingerprints has changed."""
        self._state_dir = state_dir
        self._environment = environment or {}
        self._on_change = on_change
        self._own: Identity | None = None
        self._next: Identity | None = None
        """The own identity that waits to be activated."""
        self._edge: Identity | None = None
        self._making = asyncio.Lock()
        """Held while a file of the own identity is read or written."""
        self._fetching: asyncio.Task[Identity] | None = None
        self._renewing: asyncio.Task[None] | None = None

    @property
    def fingerprint(self) -> str | None:
        """Of the module's own identity, from its first use."""
        return self._own.fingerprint if self._own is not None else None

    @property
    def next_fingerprint(self) -> str | None:
        """Of the own identity that waits to be activated, if there is one."""
        return self._next.fingerprint if self._next is not None else None

    async def prepare(self) -> None:
        """Make the next own identity, which `activate` uses; if there is one, it stays.

        Raises:
            IdentityError: it cannot be read or made.
        """
        async with self._making:
            await self._get_own()
            self._next = await asyncio.to_thread(self._kept().prepare)
        log.info("a new identity of this module is prepared: %s", self._next.fingerprint)
        self._on_change()

    async def activate(self) -> None:
        """Use the next own identity for new connections; those that stand go on.

        Raises:
            IdentityError: there is none, or it cannot be used.
        """
        async with self._making:
            self._own = await asyncio.to_thread(self._kept().activate)
            self._next = None
        log.warning("the fingerprint of this module is now %s", self._own.fingerprint)
        self._on_change()

    def has_own(self) -> bool:
        """Return whether the own identity was made already, by whatever process."""
        return self._state_dir is not None and self._kept().exists()

    async def get(self, kind: TlsIdentity) -> Identity:
        """Return an identity.

        Raises:
            IdentityError: the identity is not available; the text says what to do.
        """
        if kind is TlsIdentity.EDGE:
            return await self._get_edge()
        async with self._making:
            return await self._get_own()

    async def stop(self) -> None:
        """Stop asking for certificates of IoT Edge."""
        tasks = [task for task in (self._fetching, self._renewing) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._renewing = None

    def _kept(self) -> KeptIdentity:
        if self._state_dir is None:
            raise IdentityError("this module has no place to keep its key: set STATE_DIR in its environment")
        from serial_tls.kept_identity import KeptIdentity  # noqa: PLC0415

        return KeptIdentity(self._state_dir, f"serial_relay {socket.gethostname()}")

    async def _get_own(self) -> Identity:
        if self._own is None:
            kept = self._kept()
            self._own = await asyncio.to_thread(kept.identity)
            with contextlib.suppress(IdentityError):  # a damaged file, which `prepare` and `activate` report
                self._next = await asyncio.to_thread(kept.next_identity)
            log.info("the fingerprint of this module is %s", self._own.fingerprint)
            self._on_change()
        return self._own

    async def _get_edge(self) -> Identity:
        if self._edge is None or _expired(self._edge):
            if self._fetching is None:
                self._fetching = asyncio.create_task(self._fetch(), name="edge identity")
                self._fetching.add_done_callback(self._fetched)
            # All ports wait for one answer, which may take seconds, or learn of one failure.
            self._edge = await asyncio.shield(self._fetching)
        if self._renewing is None:
            self._renewing = asyncio.create_task(self._keep_fresh(), name="renewal of the edge identity")
        return self._edge

    def _fetched(self, _task: asyncio.Task[Identity]) -> None:
        self._fetching = None

    async def _fetch(self) -> Identity:
        from serial_relay.identity.workload import WorkloadApi  # noqa: PLC0415

        workload = WorkloadApi.of_environment(self._environment)
        if workload is None:
            raise IdentityError('this is not a module of IoT Edge: set `identity` to "own"')
        return await asyncio.to_thread(workload.new_identity)

    async def _keep_fresh(self) -> None:
        """Replace the certificate of IoT Edge before it expires."""
        while True:
            assert self._edge is not None  # noqa: S101 - it was fetched
            await asyncio.sleep(max(_RETRY, _seconds_to_renewal(self._edge)))
            try:
                self._edge = await self._fetch()
            except IdentityError as error:
                log.warning("the certificate of this module could not be renewed yet: %s", error)


def _expired(identity: Identity) -> bool:
    return datetime.now(UTC) >= identity.chain[0].not_valid_after_utc


def _seconds_to_renewal(identity: Identity) -> float:
    certificate = identity.chain[0]
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    return (certificate.not_valid_before_utc + life * _RENEW_AT - datetime.now(UTC)).total_seconds()
