"""A blocking call in a thread of its own: what it returns is never lost, and nobody waits for one that hangs."""

from __future__ import annotations

import asyncio
import threading

import pytest

from serial_host.plumbing.threads import call_in_thread
from tests.host.running import PATIENCE, until


async def test_the_result_is_returned() -> None:
    assert await call_in_thread("test", threading.current_thread) is not threading.main_thread()


async def test_what_is_raised_is_raised_to_the_caller() -> None:
    with pytest.raises(ZeroDivisionError):
        await call_in_thread("test", lambda: 1 // 0)


async def test_a_hundred_calls_that_hang_hold_up_no_other() -> None:
    release = threading.Event()
    hanging = [asyncio.create_task(call_in_thread("hanging", release.wait)) for _ in range(100)]
    await asyncio.sleep(0)
    assert await call_in_thread("test", lambda: 42) == 42
    assert not any(task.done() for task in hanging)
    release.set()
    await asyncio.gather(*hanging)


async def test_a_result_that_comes_after_the_caller_was_cancelled_is_given_away() -> None:
    release = threading.Event()
    unwanted: list[int] = []

    def hang() -> int:
        release.wait(PATIENCE)
        return 42

    call = asyncio.create_task(call_in_thread("test", hang, unwanted=unwanted.append))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    release.set()
    while not unwanted:
        await asyncio.sleep(0.001)
    assert unwanted == [42]


async def test_a_result_that_comes_with_the_cancellation_is_given_away() -> None:
    unwanted: list[int] = []
    done = threading.Event()

    def work() -> int:
        done.set()
        return 42

    call = asyncio.create_task(call_in_thread("test", work, unwanted=unwanted.append))
    await asyncio.sleep(0)
    done.wait(PATIENCE)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    while not unwanted:
        await asyncio.sleep(0.001)
    assert unwanted == [42]


def test_a_result_that_comes_after_the_loop_was_closed_is_given_away() -> None:
    release = threading.Event()
    unwanted: list[int] = []

    def hang() -> int:
        release.wait(PATIENCE)
        return 42

    async def start() -> None:
        call = asyncio.create_task(call_in_thread("test", hang, unwanted=unwanted.append))
        await asyncio.sleep(0)
        call.cancel()

    asyncio.run(start())
    release.set()
    until(lambda: unwanted == [42])
