"""The process that serves the character devices of all ports (`tty_server`): started, watched, started again, ended.

It is started for the first port that is to be a character device, and only where /dev/cuse can be opened. When it dies,
its devices are gone, and their applications get errors; each port then asks for another device, and the process is
started again, after a delay that grows while it dies again and again. A process that stands still would keep its
applications in calls that nothing ends, so it is asked every few seconds, and killed if it does not answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import tty_server
from serial_relay.plumbing.backoff import Backoff
from serial_relay.plumbing.threads import in_thread
from serial_relay.virtual_port.tty_port import TtyError
from tty_server.device_errors import CUSE, explain
from tty_server.messages import MINOR, QUESTION

log = logging.getLogger(__name__)

_FIRST_DELAY, _LONGEST_DELAY = 0.2, 10.0
"""Seconds: the bounds of the back-off."""

_STABLE_AFTER = 10.0
"""Seconds that the process must live to count as good."""

_ENDS_WITHIN = 3.0
"""Seconds that the process may take to end once nobody needs it."""

_ASKED_EVERY = 5.0
"""Seconds between two questions to the process."""

_MOST_UNANSWERED = 4
"""Times in a row that a question may be without an answer. They are counted and not the time, so that it does no harm when
the whole container, or the machine, stands still for a while."""

_LONGEST_LINE = 400
_MOST_LINES = 100
"""Of what one process prints, so much is logged."""

PROGRAM = (sys.executable, "-S", "-P", "-m", "tty_server")


class DeviceServer:
    """All its methods are called on the event loop's thread."""

    def __init__(self, program: Sequence[str] = PROGRAM, cuse: str = CUSE) -> None:
        """Run `program` with the number of a socket as its last argument."""
        self._program = program
        self._cuse = cuse
        self._process: asyncio.subprocess.Process | None = None
        self._control: socket.socket | None = None
        self._watching: asyncio.Task[None] | None = None
        self._killed_for: str | None = None
        """Why the last process was killed, if it was."""
        self._starting = asyncio.Lock()
        self._backoff = Backoff(_FIRST_DELAY, _LONGEST_DELAY)
        self._not_before = 0.0
        """The loop's time before which no process is started."""

    async def why_not(self) -> str | None:
        """Return why there can be no character device here, and what to do about that; None if there can be one."""
        return await in_thread(why_not, self._cuse)

    def why_ended(self) -> str | None:
        """Return why the process was killed that ended last; None if it ended by itself."""
        return self._killed_for

    async def connect(self, minor: int) -> socket.socket:
        """Ask for a device with this minor number, or another one if that is taken; return the socket for its `TtyPort`.

        Raises:
            TtyError: the server cannot be had now.
        """
        async with self._starting:
            control = self._control or await self._start()
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                socket.send_fds(control, [MINOR.pack(minor)], [theirs.fileno()])
            except OSError as error:
                ours.close()
                if self._watching is not None:  # it is ending: the next attempt is to find another one
                    await asyncio.wait([self._watching], timeout=_ENDS_WITHIN)
                raise TtyError(f"the server of devices takes no new port: {error.strerror}") from error
        return ours

    async def stop(self) -> None:
        """End the process: all its devices go."""
        if self._watching is None or self._process is None:
            return
        process, self._process = self._process, None
        self._leave()
        await asyncio.wait([self._watching], timeout=_ENDS_WITHIN)
        if not self._watching.done():
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        await asyncio.wait([self._watching])

    async def _start(self) -> socket.socket:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self._not_before - loop.time()))
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        printed, prints = os.pipe()
        os.set_blocking(prints, False)  # the server must not wait for anybody who reads what it prints
        path = os.pathsep.join(
            filter(None, (str(Path(tty_server.__file__).parents[1]), os.environ.get("PYTHONPATH")))
        )
        with contextlib.ExitStack() as undo:
            undo.callback(ours.close)
            undo.callback(os.close, printed)
            try:
                process = await asyncio.create_subprocess_exec(
                    *self._program,
                    str(theirs.fileno()),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=prints,
                    stderr=prints,
                    pass_fds=(theirs.fileno(),),
                    env={**os.environ, "PYTHONPATH": path},
                    start_new_session=True,  # a terminal's Ctrl-C is for the relay alone
                )
            except OSError as error:
                raise TtyError(f"cannot start the server of devices: {error.strerror}") from error
            finally:
                theirs.close()
                os.close(prints)
            undo.pop_all()
        self._process, self._control, self._killed_for = process, ours, None
        self._watching = loop.create_task(self._watch(process, ours, printed), name="server of devices")
        return ours

    async def _watch(self, process: asyncio.subprocess.Process, control: socket.socket, printed: int) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        output = _Printed(loop, printed)
        asking = loop.create_task(self._ask(process, control))
        status = await process.wait()
        asking.cancel()
        output.close()
        if process is not self._process:
            return  # it was to end
        log.warning("the server of devices ended with status %d; it is started again", status)
        self._process = None
        self._leave()
        if loop.time() - started >= _STABLE_AFTER:
            self._backoff.reset()
        self._not_before = loop.time() + self._backoff.next_delay()

    async def _ask(self, process: asyncio.subprocess.Process, control: socket.socket) -> None:
        """Kill the process once it does not answer."""
        unanswered = 0
        try:
            control.send(QUESTION)
            while unanswered < _MOST_UNANSWERED:
                await asyncio.sleep(_ASKED_EVERY)
                try:
                    control.recv(len(QUESTION))
                except BlockingIOError:
                    unanswered += 1
                else:
                    unanswered = 0
                    control.send(QUESTION)
        except OSError:
            return  # it has ended, or is to end
        reason = (
            f"the server of devices has not answered for {unanswered * _ASKED_EVERY:.0f} s and was killed"
        )
        log.warning("%s", reason)
        self._killed_for = reason
        with contextlib.suppress(ProcessLookupError):
            process.kill()

    def _leave(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None


class _Printed:
    """Logs what a process prints, which it does when it, or Python itself, is in trouble."""

    def __init__(self, loop: asyncio.AbstractEventLoop, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._loop = loop
        self._descriptor = descriptor
        self._left = _MOST_LINES
        self._rest = b""
        loop.add_reader(descriptor, self._readable)

    def close(self) -> None:
        """Log the rest."""
        self._readable()
        self._loop.remove_reader(self._descriptor)
        os.close(self._descriptor)

    def _readable(self) -> None:
        try:
            data = os.read(self._descriptor, 65536)
        except BlockingIOError:
            return
        if not data:
            self._loop.remove_reader(self._descriptor)
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[:_LONGEST_LINE]
        for line in lines[: self._left]:
            log.warning(
                "the server of devices printed: %s", line.decode("utf-8", "replace")[:_LONGEST_LINE].rstrip()
            )
        self._left -= len(lines[: self._left])


def why_not(cuse: str) -> str | None:
    """See `DeviceServer.why_not`."""
    try:
        os.close(os.open(cuse, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return str(explain(error))
    return None
