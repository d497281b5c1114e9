"""Sets the modem lines of the real port and sends breaks, and learns from the host whether that was done (RFC 2217)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal

from rfc2217 import ComPortCommand, Connection, Control, SetBaudRate, SetControl
from serial_relay.remote.com_port_line import in_words, modem_request
from serial_relay.remote.requests import Requests
from serial_relay.status import NotSupportedError

_ANSWER_TIMEOUT = 3.0
"""Seconds to wait for the host's answer."""


class ModemControl:
    """For one connection to `address`; `flush` sends what was requested."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        connection: Connection,
        requests: Requests,
        address: str,
        flush: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._connection = connection
        self._requests = requests
        self._address = address
        self._flush = flush
        self._breaking = False
        """A break of `send_break` is being sent."""
        self._application_breaks = False

    async def set_modem_lines(self, dtr: bool | None, rts: bool | None) -> None:  # noqa: FBT001 - line states
        """Set the modem lines, and return when the host has done it; None leaves a line as it is.

        Raises:
            NotSupportedError: the host did not do it, or did not answer; the text says which.
        """
        self._raise_if_silent()
        lines: tuple[tuple[Literal["dtr", "rts"], bool | None], ...] = (("dtr", dtr), ("rts", rts))
        asked = [
            self._ask_and_await(modem_request(line, raised=raised))
            for line, raised in lines
            if raised is not None
        ]
        self._flush()
        for command, answer in asked:
            await self._confirm(command, answer)

    async def send_break(self, milliseconds: int) -> None:
        """Send a break, and return when it is over and the host has confirmed it.

        Raises:
            NotSupportedError: the host did not send a break, or did not answer, or the connection was lost, or another
                break is being sent; the text says which.
        """
        self._raise_if_silent()
        if self._breaking:
            raise NotSupportedError("another break is being sent; try again when it is over")
        self._breaking = True
        try:
            on, begun = self._ask_and_await(SetControl(Control.BREAK_ON))
            self._flush()
            try:
                await asyncio.sleep(milliseconds / 1000)
            finally:  # even if the caller has given up: a break that goes on blocks the line
                if not self._requests.ended:
                    off, over = self._ask_and_await(SetControl(Control.BREAK_OFF))
                    self._flush()
            if self._requests.ended:
                raise NotSupportedError(f"the connection to {self._address} was lost during the break")
            await self._confirm(on, begun)
            await self._confirm(off, over, whatever=True)  # ser2net answers "on" to this, too
        finally:
            self._breaking = False

    def set_break(self, *, on: bool) -> None:
        """Begin or end the application's break, after what was written before."""
        self._application_breaks = on
        self.ask_in_turn(SetControl(Control.BREAK_ON if on else Control.BREAK_OFF))
        self._flush()

    def when_at_host(self, then: Callable[[], None]) -> None:
        """See `Remote`.

        The question is a request that changes nothing: the end of a break that is not sent. A host that carries out such
        requests after what was written before, as serial_host does, has the bytes on the line by then.
        """
        if self._requests.ended:
            then()
            return
        breaks = self._application_breaks or self._breaking
        nothing = SetBaudRate() if breaks else SetControl(Control.BREAK_OFF)
        self._requests.ask(nothing, lambda _answer: then())
        self._flush()

    def ask_in_turn(self, request: ComPortCommand) -> None:
        """Ask for what must not be left out because a newer request follows: a short pulse of a line, a break.

        With very many requests on their way it is left out all the same, so that their number stays bounded.
        """
        if not self._connection.agreed or self._requests.ended:
            return
        if self._requests.congested:
            self._requests.ask(request)
        else:
            self._requests.ask_at_once(request)

    def _raise_if_silent(self) -> None:
        if self._connection.suspended:
            raise NotSupportedError(
                f"{self._address} has asked for silence (FLOWCONTROL-SUSPEND); try again later"
            )

    def _ask_and_await(self, command: SetControl) -> tuple[SetControl, asyncio.Future[ComPortCommand | None]]:
        answer: asyncio.Future[ComPortCommand | None] = self._loop.create_future()

        def answered(what: ComPortCommand | None) -> None:
            if not answer.done():
                answer.set_result(what)

        if command.value in (Control.BREAK_ON, Control.BREAK_OFF):
            self._requests.ask_at_once(command, answered)
        else:
            self._requests.ask(command, answered)
        return command, answer

    async def _confirm(
        self, command: SetControl, awaited: asyncio.Future[ComPortCommand | None], *, whatever: bool = False
    ) -> None:
        what = in_words(command)
        try:
            async with asyncio.timeout(_ANSWER_TIMEOUT):
                answer = await awaited
        except TimeoutError:
            raise NotSupportedError(
                f"{self._address} did not answer within {_ANSWER_TIMEOUT:.0f} s whether it has set {what}"
            ) from None
        if answer is None and self._requests.ended:
            raise NotSupportedError(f"the connection to {self._address} was lost before it confirmed {what}")
        if answer is None:
            raise NotSupportedError(f"{self._address} does not answer whether it has set {what}")
        if answer != command and not whatever:
            raise NotSupportedError(f"{self._address} was asked for {what} and has {in_words(answer)}")
