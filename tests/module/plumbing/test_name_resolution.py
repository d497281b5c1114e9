"""Lookups that are shared, that fail, and that never end."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from serial_relay.plumbing.name_resolution import Found, lookup

ADDRESS: Found = (socket.AF_INET, ("192.0.2.1", 0))


class NameServer:
    """Answers when it is let, and counts the questions."""

    def __init__(self, answer: list[Found] | Exception) -> None:
        self._answer = answer
        self.let = threading.Event()
        self.questions = 0

    def query(self, _host: str) -> list[Found]:
        self.questions += 1
        assert self.let.wait(30)
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


async def test_lookups_of_one_name_at_once_are_one() -> None:
    server = NameServer([ADDRESS])
    asking = [asyncio.create_task(lookup("host", server.query)) for _ in range(64)]
    await asyncio.sleep(0)
    server.let.set()
    assert await asyncio.gather(*asking) == [[ADDRESS]] * 64
    assert server.questions == 1
    assert await lookup("host", server.query) == [ADDRESS]
    assert server.questions == 2, "the next one asks anew"


async def test_failure_reaches_all_who_wait() -> None:
    server = NameServer(socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
    asking = [asyncio.create_task(lookup("host", server.query)) for _ in range(2)]
    await asyncio.sleep(0)
    server.let.set()
    for task in asking:
        with pytest.raises(socket.gaierror):
            await task


async def test_lookup_that_is_given_up_ends_by_itself() -> None:
    server = NameServer([ADDRESS])
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await lookup("host", server.query)
    again = asyncio.create_task(lookup("host", server.query))
    await asyncio.sleep(0)
    server.let.set()
    assert await again == [ADDRESS]
    assert server.questions == 1


async def test_without_a_thread_one_lookup_fails_and_the_next_starts_anew() -> None:
    server = NameServer([ADDRESS])
    server.let.set()
    before = threading.stack_size(1 << 47)  # more than there are addresses: no thread can start
    try:
        with pytest.raises(OSError, match="thread"):
            await lookup("host", server.query)
    finally:
        threading.stack_size(before)
    async with asyncio.timeout(20):
        assert await lookup("host", server.query) == [ADDRESS]


async def test_the_system_is_asked() -> None:
    addresses = {address[0] for _family, address in await lookup("localhost")}
    assert addresses <= {"127.0.0.1", "::1"}
    assert addresses
