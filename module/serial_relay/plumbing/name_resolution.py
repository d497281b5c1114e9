"""Host names -> addresses: one lookup at a time for each name, and none that the end of the process waits for.

`getaddrinfo` cannot be interrupted, and takes 5 s and more with a name server that does not answer (resolv.conf(5),
`timeout` and `attempts`). In the event loop's own pool such lookups pile up faster than they end, since every port
asks anew with each attempt, and asyncio and uvloop wait for all of them before they end.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import threading
from collections.abc import Callable, Sequence
from weakref import WeakKeyDictionary

Found = tuple[int, tuple[str, int] | tuple[str, int, int, int]]
"""Address family and socket address, the port being 0."""

Query = Callable[[str], Sequence[Found]]


def query(host: str) -> Sequence[Found]:
    """Ask the system. Blocks.

    Raises:
        OSError: there is no answer (`socket.gaierror`).
        UnicodeError: it is not a host name.
    """
    answer = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [(family, address) for family, _type, _protocol, _name, address in answer]  # type: ignore[misc]


_Outcome = Sequence[Found] | Exception

_under_way: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, asyncio.Future[_Outcome]]] = (
    WeakKeyDictionary()
)


async def lookup(host: str, query: Query = query) -> Sequence[Found]:
    """Return the present addresses of a name. Callers that ask while a lookup of it is under way share its answer.

    Cancelling it leaves the lookup to end by itself.

    Raises:
        OSError, UnicodeError: see `query`; OSError also when there is no thread to be had.
    """
    loop = asyncio.get_running_loop()
    lookups = _under_way.setdefault(loop, {})
    if host not in lookups:
        lookups[host] = loop.create_future()
        # A daemon: the interpreter ends without waiting for it.
        thread = threading.Thread(
            target=_look_up, args=(loop, host, query), daemon=True, name=f"lookup {host}"
        )
        try:
            thread.start()
        except RuntimeError as error:  # the limit of threads, or of memory
            del lookups[host]
            raise OSError(errno.EAGAIN, str(error)) from error
    outcome = await asyncio.shield(lookups[host])
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def _look_up(loop: asyncio.AbstractEventLoop, host: str, query: Query) -> None:
    outcome: _Outcome
    try:
        outcome = query(host)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is for those who wait
        outcome = error
    with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody waits for the result
        loop.call_soon_threadsafe(_finish, loop, host, outcome)


def _finish(loop: asyncio.AbstractEventLoop, host: str, outcome: _Outcome) -> None:
    _under_way[loop].pop(host).set_result(outcome)
