"""The edge twin with the real azure-iot-device over TLS, while edgeHub fails in every way that it is known to.

After each fault a change of the desired properties must arrive, reports must be stored and methods answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import Callable, Iterator

import psutil
import pytest

from serial_relay.twin.edge import MAX_PRINTED, EdgeTwin, Timing
from serial_relay.twin.twin import TwinUnavailableError
from tests.edgehub.hub import EdgeHub
from tests.module.conditions import until
from tests.module.twin.edge_faults import FAULTS, Fault, set_faults
from tests.module.twin.edge_rig import Recorder, children, running

BRIEF = Timing(connect=3.0, call=2.0, probe=0.5, settled=0.0)
"""Gives up early, so that faults that show only by silence are found within seconds."""

WITHIN = 60.0
"""Seconds that a loaded machine may take to get over a fault."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[EdgeHub]:
    with EdgeHub({"round": 0}) as hub:
        for name, value in hub.environment.items():
            monkeypatch.setenv(name, value)
        yield hub


async def all_works(hub: EdgeHub, twin: EdgeTwin, recorder: Recorder) -> float:
    """Check every way through the twin; returns the seconds from a patch to its arrival."""
    await until(lambda: hub.connected, timeout=WITHIN)
    mark = hub.patch_desired({"round": hub.desired_version})
    patched = time.monotonic()
    await until(lambda: recorder.desired.get("round") == mark - 1, timeout=WITHIN)
    took = time.monotonic() - patched
    async with asyncio.timeout(WITHIN):
        while True:
            with contextlib.suppress(TwinUnavailableError):
                await twin.report({"seen": mark})
                break
            await asyncio.sleep(0.02)
        assert hub.reported["seen"] == mark
        assert await asyncio.to_thread(hub.call_method, "m", mark) == (200, {"name": "m", "payload": mark})
    return took


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_all_works_again_after(fault: Fault, hub: EdgeHub) -> None:
    recorder = Recorder()
    async with running(recorder, BRIEF) as twin:
        await all_works(hub, twin, recorder)
        connections = hub.connections
        await asyncio.to_thread(fault.begin, hub)
        if fault.silences:
            await reports_fail(twin)
        await asyncio.to_thread(fault.end, hub)
        took = await all_works(hub, twin, recorder)
    print(f"{took:.3f} s from patch to arrival")
    if fault.silences:
        assert hub.connections > connections
        assert recorder.synchronisations >= 2


@pytest.mark.parametrize(
    "fault",
    [
        *(fault for fault in FAULTS if fault.silences),
        Fault("no workload API", lambda hub: hub.workload.stop(), lambda hub: hub.workload.start()),
        Fault("a hung workload API", lambda hub: hub.workload.suspend(), lambda hub: hub.workload.resume()),
    ],
    ids=lambda fault: fault.name,
)
async def test_it_starts_with(fault: Fault, hub: EdgeHub) -> None:
    """The first attempt is as good as any other."""
    recorder = Recorder()
    seen: set[int] = set()
    await asyncio.to_thread(fault.begin, hub)
    async with running(recorder, BRIEF) as twin:
        await until(lambda: len(processes_seen(seen)) >= 2, timeout=WITHIN)
        await reports_fail(twin)
        assert recorder.documents == []
        await asyncio.to_thread(fault.end, hub)
        await all_works(hub, twin, recorder)


@pytest.mark.parametrize(
    ("begin", "reason"),
    [
        (EdgeHub.go_away, "Connection refused"),
        (EdgeHub.refuse_logins, "not authorised"),
        (lambda hub: hub.workload.stop(), "cannot get credentials from unix:///.*: .*No such file"),
        (EdgeHub.suspend, "no connection was made within 3 s"),
        (set_faults(lose_replies=True), "edgeHub did not answer read_twin within 2 s"),
    ],
)
async def test_the_log_says_why_there_is_no_connection(
    begin: Callable[[EdgeHub], None], reason: str, hub: EdgeHub, caplog: pytest.LogCaptureFixture
) -> None:
    """Once for each reason, however often it is tried."""
    caplog.set_level("INFO", logger="serial_relay.twin.edge")
    await asyncio.to_thread(begin, hub)
    seen: set[int] = set()
    async with running(Recorder(), BRIEF):
        await until(lambda: len(processes_seen(seen)) >= 3, timeout=WITHIN)
    lines = [line for line in caplog.messages if line.startswith("no connection to edgeHub")]
    assert len(lines) == 1
    assert re.search(reason, lines[0])


async def test_what_the_process_of_the_sdk_prints_is_logged_up_to_a_limit(
    hub: EdgeHub, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python itself prints thousands of lines there."""
    monkeypatch.setenv("PYTHONVERBOSE", "1")
    recorder = Recorder()
    async with running(recorder):
        await until(lambda: recorder.synchronisations, timeout=WITHIN)
    lines = [line for line in caplog.messages if line.startswith("the SDK's process printed")]
    assert len(lines) == MAX_PRINTED + 1
    assert re.fullmatch(r"the SDK's process printed \d{3,} more lines", lines[-1])
    assert max(map(len, lines)) < 400


async def test_an_empty_twin_is_handed_over_and_hides_no_later_one(hub: EdgeHub) -> None:
    hub.faults.empty_twin = True
    recorder = Recorder()
    async with running(recorder, BRIEF):
        await until(lambda: recorder.synchronisations == 1, timeout=WITHIN)
        assert recorder.documents[0] == {}
        hub.faults.empty_twin = False
        await until(lambda: recorder.desired == {"round": 0}, timeout=WITHIN)
    assert recorder.synchronisations == 1


async def test_a_change_made_while_away_is_found_after_coming_back(hub: EdgeHub) -> None:
    recorder = Recorder()
    async with running(recorder):
        await until(lambda: recorder.synchronisations == 1, timeout=WITHIN)
        await asyncio.to_thread(hub.go_away)
        hub.patch_desired({"round": "away"})
        await asyncio.to_thread(hub.come_back)
        await until(lambda: recorder.desired == {"round": "away"}, timeout=WITHIN)
    assert hub.messages.desired_notifications == 0


async def test_a_killed_process_of_the_sdk_is_replaced(hub: EdgeHub) -> None:
    recorder = Recorder()
    async with running(recorder) as twin:
        await until(lambda: recorder.synchronisations == 1, timeout=WITHIN)
        kill_client()
        await until(lambda: recorder.synchronisations == 2, timeout=WITHIN)
        await all_works(hub, twin, recorder)


async def test_a_new_token_is_fetched_before_the_old_one_expires(hub: EdgeHub) -> None:
    """Tokens are renewed 120 s early; with 125 s of life that is after 5 s."""
    recorder = Recorder()
    async with running(recorder, Timing(token=125, settled=0.0)) as twin:
        await until(lambda: recorder.synchronisations == 1, timeout=WITHIN)
        signatures = hub.workload.signatures
        await until(lambda: recorder.synchronisations == 2, timeout=WITHIN)
        assert hub.workload.signatures > signatures
        await all_works(hub, twin, recorder)


async def test_memory_and_descriptors_stay_flat_over_200_reconnects(hub: EdgeHub) -> None:
    """Every way to lose a connection that takes no waiting, in turns."""
    recorder = Recorder()
    process = psutil.Process()
    losses = [hub.drop_connection, kill_client, hub.drop_connection]
    async with running(recorder) as twin:
        measured = []
        for count in range(201):
            expected = count + 1
            await until(lambda: recorder.synchronisations == expected, timeout=WITHIN)  # noqa: B023 - waited for at once
            if count % 50 == 0:
                await twin.report({"count": count})
                measured.append((process.num_fds(), process.num_threads(), process.memory_info().rss))
            await asyncio.to_thread(losses[count % 3])
    descriptors, threads, memory = zip(*measured, strict=True)
    print("descriptors, threads, bytes after every 50:", measured)
    assert descriptors[-1] == descriptors[1]
    assert threads[-1] == threads[1]
    assert memory[-1] - memory[1] < 2 * 1024 * 1024


async def reports_fail(twin: EdgeTwin) -> None:
    async with asyncio.timeout(WITHIN):
        with contextlib.suppress(TwinUnavailableError):
            while True:
                await twin.report({"trying": True})
                await asyncio.sleep(0.02)


def processes_seen(seen: set[int]) -> set[int]:
    seen.update(child.pid for child in children())
    return seen


def kill_client() -> None:
    (client,) = children()
    client.kill()
