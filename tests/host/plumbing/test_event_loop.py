"""The event loop of the server is woken by other threads, whatever it waits for."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading

import pytest

from serial_host.plumbing.event_loop import new_event_loop
from tests.host.running import PATIENCE


@pytest.mark.parametrize("debug", [False, True])
def test_calls_of_other_threads_wake_it(caplog: pytest.LogCaptureFixture, *, debug: bool) -> None:
    """Nothing else does: it waits for one future alone."""
    caplog.set_level(logging.WARNING)
    calls: list[int] = []

    async def wait_for_calls() -> None:
        loop = asyncio.get_running_loop()
        for number in range(100):
            called = loop.create_future()

            def call(number: int = number, called: asyncio.Future[None] = called) -> None:
                calls.append(number)
                called.set_result(None)

            timer = threading.Timer(0.001, loop.call_soon_threadsafe, (call,))
            timer.start()
            await called
            timer.join()

    loop = new_event_loop()
    loop.set_debug(debug)
    running = threading.Thread(target=loop.run_until_complete, args=(wait_for_calls(),), daemon=True)
    running.start()
    running.join(PATIENCE)
    assert not running.is_alive()
    assert calls == list(range(100))
    assert caplog.messages == []
    loop.close()
    with pytest.raises(RuntimeError, match="closed"):
        loop.call_soon_threadsafe(print)


if sys.platform == "win32":

    def test_on_windows_no_pair_of_sockets_wakes_it(monkeypatch: pytest.MonkeyPatch) -> None:
        by_sockets: list[object] = []
        monkeypatch.setattr("asyncio.ProactorEventLoop._write_to_self", by_sockets.append)

        async def be_woken() -> None:
            loop = asyncio.get_running_loop()
            woken = asyncio.Event()
            threading.Timer(0.001, loop.call_soon_threadsafe, (woken.set,)).start()
            await asyncio.wait_for(woken.wait(), PATIENCE)

        loop = new_event_loop()
        loop.run_until_complete(be_woken())
        loop.close()
        assert by_sockets == []
