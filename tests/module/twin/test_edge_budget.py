"""What a day costs in messages of the hub: the real SDK on an emulated edgeHub that counts, and a clock that skips.

The clock runs ahead of the real one whenever nothing is under way. Only the renewal of the token, which is the SDK's
own affair and takes an hour of real time, is replaced by a cut connection; to edgeHub and the relay they look alike.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from serial_relay.status import PortStatus, State
from serial_relay.twin.edge import EdgeTwin, Timing
from serial_relay.twin.reported import ModuleFacts
from serial_relay.twin.reporter import Reporter
from tests.edgehub.hub import EdgeHub
from tests.module.conditions import until
from tests.module.twin.edge_rig import Recorder, running

DAY = 86_400
TOKEN_RENEWAL = Timing().token - 120
STEP = 10
"""Seconds of one skip: what is begun in one has its bound of 20 s before it."""

PORTS = ("ttyVirtS0", "ttyVirtS1", "ttyVirtS2", "ttyVirtS3")


class SkippingLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock can be put forward."""

    skipped = 0.0

    def time(self) -> float:
        return super().time() + self.skipped


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[EdgeHub]:
    with EdgeHub({"host": "192.0.2.1"}) as hub:
        for name, value in hub.environment.items():
            monkeypatch.setenv(name, value)
        yield hub


class Day:
    """A module with four connected ports through which bytes pass all day; one may be opened and closed
    all day (every `STEP`; every second is in `test_reporter_budget`, and costs the same tokens).
    """

    def __init__(self, hub: EdgeHub, loop: SkippingLoop, *, opens_and_closes: bool) -> None:
        self._opens_and_closes = opens_and_closes
        self._hub = hub
        self._loop = loop
        self._recorder = Recorder()
        self._reporter = Reporter(ModuleFacts(version="1", started_at=time.time()))
        self._statuses = {
            name: PortStatus(state=State.CONNECTED, since=time.time(), link=f"/dev/{name}") for name in PORTS
        }

    async def pass_by(self) -> None:
        async with running(self._recorder, Timing()) as twin:
            await self._reconnected(1)
            start = self._loop.skipped
            renewals = 0
            while (now := self._loop.skipped - start) < DAY:
                self._loop.skipped += STEP
                for status in self._statuses.values():
                    status.bytes_to_device += 100
                    status.bytes_from_device += 100
                if self._opens_and_closes:
                    opened = self._statuses[PORTS[0]]
                    opened.application_open = not opened.application_open
                    self._reporter.mark_changed(self._loop.time() - STEP)
                await self._report(twin)
                for _ in range(5):
                    await asyncio.sleep(0)
                await until(lambda: not under_way(twin), timeout=60)
                if now // TOKEN_RENEWAL > renewals:
                    renewals += 1
                    await asyncio.to_thread(self._hub.drop_connection)
                    await self._reconnected(renewals + 1)

    async def _reconnected(self, times: int) -> None:
        await until(lambda: self._recorder.synchronisations == times, timeout=60)
        self._reporter.resend_all(self._loop.time())

    async def _report(self, twin: EdgeTwin) -> None:
        if (patch := self._reporter.patch(self._statuses, self._loop.time())) is not None:
            await twin.report(patch)
            self._reporter.accepted()


def under_way(twin: EdgeTwin) -> bool:
    return twin._client is not None and bool(twin._client._calls)


def a_day(hub: EdgeHub, *, opens_and_closes: bool = False) -> None:
    with asyncio.Runner(loop_factory=SkippingLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, SkippingLoop)
        runner.run(Day(hub, loop, opens_and_closes=opens_and_closes).pass_by())


def test_an_idle_module_with_four_ports_costs_fewer_than_150_messages_a_day(hub: EdgeHub) -> None:
    a_day(hub)
    print(hub.messages)
    assert hub.messages.twin_reads >= DAY // Timing().probe
    assert hub.messages.reported_updates >= DAY // TOKEN_RENEWAL
    assert hub.messages.total < 150
    assert not hub.violations


def test_an_application_that_opens_and_closes_a_port_all_day_costs_fewer_than_500_messages(
    hub: EdgeHub,
) -> None:
    a_day(hub, opens_and_closes=True)
    print(hub.messages)
    assert hub.messages.reported_updates > 100
    assert hub.messages.total < 500
    assert not hub.violations
