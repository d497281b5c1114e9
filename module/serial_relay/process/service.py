"""The whole relay between a twin and its ports: documents in, reported patches out.

A twin change goes `desired_received` -> `_apply` -> `desired.parse` -> `Supervisor.reconcile`; a change of a port goes
`_port_changed` -> `Reporter` -> `_report` -> `Twin.report`. Neither waits for the other, and the ports wait for neither.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from serial_relay import __version__
from serial_relay.config import PortConfig
from serial_relay.diagnosis.port import Subject, diagnose
from serial_relay.identity.identities import Identities
from serial_relay.plumbing.inotify import Inotify
from serial_relay.port.supervisor import Supervisor
from serial_relay.process.settings import Settings
from serial_relay.status import ConfigFault
from serial_relay.twin.desired import Desired, parse
from serial_relay.twin.keys import DEFAULT_REPORT_INTERVAL
from serial_relay.twin.last_good import LastGood
from serial_relay.twin.methods import Methods
from serial_relay.twin.plug_and_play import acknowledge
from serial_relay.twin.reported import ModuleFacts, fit_answer, render
from serial_relay.twin.reporter import Reporter
from serial_relay.twin.twin import ConfigSource, Document, Twin, TwinUnavailableError
from serial_relay.virtual_port.device_server import DeviceServer
from serial_relay.virtual_port.links import LinkDirectory

log = logging.getLogger(__name__)


class Service:
    """Runs the ports that a twin asks for, until cancelled."""

    def __init__(
        self,
        twin: Twin,
        settings: Settings,
        links: LinkDirectory,
        watches: Inotify,
        devices: DeviceServer | None = None,
    ) -> None:
        """Without `devices` all ports are ptys."""
        self._twin = twin
        self._default_gid = settings.serial_gid
        self._last_good = LastGood(settings.state_dir)
        self._ports: Mapping[str, PortConfig] = {}
        """The configurations that run; a faulty entry falls back on them."""
        self._identities = Identities(settings.state_dir, os.environ, self._identity_changed)
        self._supervisor = Supervisor(links, watches, self._port_changed, self._identities, devices)
        self._plug_and_play = settings.plug_and_play
        self._reporter = Reporter(
            ModuleFacts(version=__version__, started_at=time.time()),
            plug_and_play=self._plug_and_play,
            limited=twin.hub_connected is not None,
        )
        self._links = links
        self._methods = Methods(
            self._supervisor,
            lambda: fit_answer(self._section()),
            settings.allowed_methods,
            diagnose=self._diagnose,
            identity=self._identities,
        )
        self._local_methods = Methods(
            self._supervisor,
            self._section,
            diagnose=self._diagnose,
            identity=self._identities,
            quiet=frozenset({"getStatus"}),
        )
        """The methods for administrators of this machine, for whom `ALLOWED_METHODS` does not hold."""
        self._document: tuple[Document, ConfigSource] | None = None
        """The newest document that is not applied yet."""
        self._document_arrived = asyncio.Event()
        self._report_due = asyncio.Event()
        self._findings: Collection[str] = ()
        """The findings of the last document, so that only new ones are logged for the next."""
        self._report_interval = DEFAULT_REPORT_INTERVAL

    @property
    def supervisor(self) -> Supervisor:
        """The ports."""
        return self._supervisor

    def is_configured(self) -> bool:
        """Return whether desired properties are in force, from wherever they came."""
        return self._reporter.facts.config_source is not None

    async def run(self) -> None:
        """Run until cancelled; then all ports are closed and their links removed."""
        if (document := self._last_good.load()) is not None:
            self.desired_received(document, "cache")
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._apply_documents(), name="desired properties")
                tasks.create_task(self._report(), name="reported properties")
                tasks.create_task(self._twin.run(self), name="twin")
        finally:
            await self._supervisor.stop()

    # Events of the twin.

    def desired_received(self, document: Document, source: ConfigSource) -> None:
        """See `TwinEvents`."""
        self._document = (document, source)
        self._document_arrived.set()

    def desired_unreadable(self, message: str) -> None:
        """See `TwinEvents`."""
        log.error("the desired properties cannot be read, the last good ones stay: %s", message)
        facts = replace(self._reporter.facts, faults=(ConfigFault("", message),))
        self._reporter.configured(facts, self._report_interval, time.monotonic())
        self._report_due.set()

    def synchronised(self, reported: Document | None = None) -> None:
        """See `TwinEvents`."""
        self._reporter.resend_all(time.monotonic(), reported)
        self._report_due.set()

    async def method_called(self, name: str, payload: object) -> tuple[int, object]:
        """See `TwinEvents`."""
        return await self._methods.call(name, payload)

    async def command_received(self, name: str, payload: object) -> tuple[int, object]:
        """Carry out a method for a command of this machine, and return its status and answer; never raises."""
        return await self._local_methods.call(name, payload)

    def _section(self) -> Document:
        return render(self._reporter.facts, self._supervisor.statuses())

    async def _diagnose(self, name: str, whole: bool) -> list[dict[str, Any]]:  # noqa: FBT001 - see `Diagnose`
        config, status = self._ports.get(name), self._supervisor.statuses()[name]
        link = self._links.path(config.link if config else name)
        steps = await diagnose(Subject(config, status.config_error, link, status, applications=whole))
        return [step.as_json() for step in steps]

    # What follows from them.

    async def _apply_documents(self) -> None:
        while True:
            await self._document_arrived.wait()
            self._document_arrived.clear()
            if self._document is not None:
                document, source = self._document
                self._document = None
                await self._apply(document, source)

    async def _apply(self, document: Document, source: ConfigSource) -> None:
        desired = parse(document, last_good=self._ports, default_gid=self._default_gid)
        if desired is None:
            log.warning(
                "the desired properties (%s) have no `serialPorts`, so the ports stay as they are", source
            )
            return
        self._log_findings(desired)
        await self._supervisor.reconcile(desired.ports, desired.port_faults)
        self._ports = desired.ports
        self._report_interval = desired.report_interval
        facts = replace(
            self._reporter.facts,
            config_source=source,
            desired_version=desired.version,
            faults=desired.faults,
            acknowledgements=acknowledge(document, desired)
            if self._plug_and_play and source == "hub"
            else {},
        )
        self._reporter.configured(facts, desired.report_interval, time.monotonic())
        self._report_due.set()
        await self._last_good.save(desired)

    def _log_findings(self, desired: Desired) -> None:
        # A fault of the top level's `host` is also that of each port that relies on it: said once.
        faults = dict.fromkeys((*desired.faults, *desired.port_faults.values()))
        findings = {f"{fault.path} must be {fault.expected}": logging.ERROR for fault in faults}
        findings |= dict.fromkeys(desired.warnings, logging.WARNING)
        for finding in findings:
            if finding not in self._findings:
                log.log(findings[finding], "desired properties: %s", finding)
        self._findings = findings.keys()

    def _identity_changed(self) -> None:
        facts = replace(
            self._reporter.facts,
            fingerprint=self._identities.fingerprint,
            next_fingerprint=self._identities.next_fingerprint,
        )
        self._reporter.configured(facts, self._report_interval, time.monotonic())
        self._report_due.set()

    def _port_changed(self, _name: str) -> None:
        self._reporter.mark_changed(time.monotonic())
        self._report_due.set()

    async def _report(self) -> None:
        while True:
            now = time.monotonic()
            due = self._reporter.next_due(now)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if due is None else due - now):
                    await self._report_due.wait()
            self._report_due.clear()
            patch = self._reporter.patch(self._supervisor.statuses(), time.monotonic())
            if patch is None:
                continue
            try:
                await self._twin.report(patch)
            except TwinUnavailableError as error:
                log.debug("reported properties wait: %s", error)
                self._reporter.failed(time.monotonic())
            else:
                self._reporter.accepted()
