"""Modem lines and breaks: what the host makes of them is what the caller hears."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from rfc2217 import ComPortCommand, Control, FlowControlResume, FlowControlSuspend, SetBaudRate, SetControl
from serial_relay.config import LineSettings, Protocol
from serial_relay.remote import modem_control
from serial_relay.status import NotSupportedError, State
from tests.module.conditions import until
from tests.module.port.ports import Ports
from tests.module.remote.access_servers import ScriptedAccessServer
from tests.module.serial_servers import serving


@pytest.fixture(autouse=True)
def _hosts_may_be_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modem_control, "_ANSWER_TIMEOUT", 30.0)


class Host(ScriptedAccessServer):
    """Answers SET-CONTROL as `answers` says; None is no answer, and what is not in it is done."""

    def __init__(self, answers: dict[Control, Control | None] | None = None) -> None:
        super().__init__(self._answer_request)
        self.answers = answers or {}

    def _answer_request(self, request: ComPortCommand) -> ComPortCommand | None:
        if not isinstance(request, SetControl) or request.value not in self.answers:
            return self.actual(request)
        answer = self.answers[request.value]
        return None if answer is None else SetControl(answer)

    def controls(self) -> list[Control]:
        """The modem lines and breaks that were asked for, in order."""
        requests = {Control.REQUEST_DTR, Control.REQUEST_RTS, Control.REQUEST_BREAK}
        controls = (command.value for command in self.events if isinstance(command, SetControl))
        return [control for control in controls if control.request in requests]


@asynccontextmanager
async def relayed(ports: Ports, host: Host, **config: Any) -> AsyncIterator[Host]:
    async with serving(host.serve) as server:
        await ports.configure(tcp_port=server.port, protocol=Protocol.RFC2217, **config)
        await ports.reaches(State.CONNECTED)
        await until(lambda: len(host.controls()) >= 2)
        yield host


RAISED = [Control.DTR_ON, Control.RTS_ON]


@pytest.mark.parametrize(
    ("line", "controls"),
    [
        (LineSettings(), RAISED),
        (LineSettings(dtr=False, rts=False), [Control.DTR_OFF, Control.RTS_OFF]),
        (LineSettings(dtr=True, rts=False), [Control.DTR_ON, Control.RTS_OFF]),
    ],
)
async def test_modem_lines_are_set_at_each_connect(
    ports: Ports, line: LineSettings, controls: list[Control]
) -> None:
    async with relayed(ports, Host(), line=line) as host:
        assert host.controls() == controls
        await ports.supervisor.set_modem_lines("a", dtr=line.dtr is False, rts=None)
        ports.supervisor.restart("a")
        await until(lambda: len(host.controls()) == 5)
        assert host.controls()[3:] == controls


async def test_modem_lines_in_the_configuration_apply_without_a_new_connection(ports: Ports) -> None:
    async with relayed(ports, Host()) as host:
        await ports.configure(line=LineSettings(dtr=False))
        await until(lambda: host.controls() == [*RAISED, Control.DTR_OFF])
        await ports.configure(line=LineSettings())
        await until(lambda: host.controls() == [*RAISED, Control.DTR_OFF, Control.DTR_ON])
        assert host.connections == 1


async def test_a_modem_line_that_the_real_port_does_not_have_is_a_warning_at_connect(
    ports: Ports, caplog: pytest.LogCaptureFixture
) -> None:
    async with relayed(ports, Host({Control.DTR_ON: Control.DTR_OFF})):
        await until(lambda: "asked for dtr on, the real port has dtr off" in caplog.text)


async def test_setting_modem_lines_ends_when_the_host_has_done_it(ports: Ports) -> None:
    async with relayed(ports, Host()) as host:
        await ports.supervisor.set_modem_lines("a", dtr=False, rts=True)
        assert host.controls() == [*RAISED, Control.DTR_OFF, Control.RTS_ON]


async def test_a_host_that_leaves_a_line_as_it_was_is_named_with_what_it_has(ports: Ports) -> None:
    async with relayed(ports, Host({Control.RTS_OFF: Control.RTS_ON})):
        with pytest.raises(NotSupportedError, match=r"127\.0\.0\.1:\d+ was asked for rts off and has rts on"):
            await ports.supervisor.set_modem_lines("a", dtr=True, rts=False)


async def test_a_host_that_never_answers_about_modem_lines_is_noticed_by_its_next_answer(
    ports: Ports,
) -> None:
    silent = dict.fromkeys((Control.DTR_ON, Control.DTR_OFF, Control.RTS_ON))
    async with relayed(ports, Host(silent)):
        with pytest.raises(NotSupportedError, match="does not answer whether it has set dtr off"):
            await ports.supervisor.set_modem_lines("a", dtr=False, rts=None)


async def test_a_host_that_answers_nothing_is_waited_for_three_seconds(
    ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(modem_control, "_ANSWER_TIMEOUT", 3.0)
    async with relayed(ports, Host()) as host:
        host.hang()
        with pytest.raises(NotSupportedError, match="did not answer within 3 s whether it has set dtr off"):
            await ports.supervisor.set_modem_lines("a", dtr=False, rts=None)
        host.go_on()


async def test_a_connection_that_is_lost_meanwhile_is_the_answer(ports: Ports) -> None:
    async with relayed(ports, Host()) as host:
        host.hang()
        setting = asyncio.ensure_future(ports.supervisor.set_modem_lines("a", dtr=False, rts=None))
        await asyncio.sleep(0.1)
        ports.supervisor.restart("a")
        with pytest.raises(NotSupportedError, match="was lost before it confirmed dtr off"):
            await setting
        host.go_on()


async def test_a_break_ends_when_the_host_has_confirmed_it(ports: Ports) -> None:
    async with relayed(ports, Host()) as host:
        await ports.supervisor.send_break("a", 50)
        assert host.controls() == [*RAISED, Control.BREAK_ON, Control.BREAK_OFF]


async def test_a_host_that_cannot_send_a_break_is_named(ports: Ports) -> None:
    async with relayed(ports, Host({Control.BREAK_ON: Control.BREAK_OFF})) as host:
        with pytest.raises(NotSupportedError, match="was asked for break on and has break off"):
            await ports.supervisor.send_break("a", 1)
        await until(lambda: host.controls()[-1] is Control.BREAK_OFF)


async def test_a_host_that_answers_the_end_of_a_break_wrongly_has_sent_one(ports: Ports) -> None:
    """So does ser2net 4."""
    async with relayed(ports, Host({Control.BREAK_OFF: Control.BREAK_ON})):
        await ports.supervisor.send_break("a", 1)


async def test_a_second_break_is_refused_while_one_is_being_sent(ports: Ports) -> None:
    async with relayed(ports, Host()) as host:
        first = asyncio.ensure_future(ports.supervisor.send_break("a", 300))
        await until(lambda: Control.BREAK_ON in host.controls())
        host.hang()  # the end of the first one is not confirmed before the second one is asked for
        with pytest.raises(NotSupportedError, match="another break is being sent"):
            await ports.supervisor.send_break("a", 1)
        host.go_on()
        await first
        await ports.supervisor.send_break("a", 1)
        assert host.controls() == [*RAISED, *[Control.BREAK_ON, Control.BREAK_OFF] * 2]


async def test_a_host_that_wants_silence_is_not_asked(ports: Ports) -> None:
    async with relayed(ports, Host()) as host:
        await host.tell(FlowControlSuspend())
        await host.send_data(b"!")
        await until(lambda: ports.status.bytes_from_device == 1)
        for asking in (
            ports.supervisor.set_modem_lines("a", dtr=False, rts=None),
            ports.supervisor.send_break("a", 1),
        ):
            with pytest.raises(NotSupportedError, match="has asked for silence"):
                await asking
        await host.tell(FlowControlResume())
        await host.send_data(b"!")
        await until(lambda: ports.status.bytes_from_device == 2)
        await ports.supervisor.send_break("a", 1)
        assert host.controls() == [*RAISED, Control.BREAK_ON, Control.BREAK_OFF]


async def test_many_who_set_modem_lines_at_once_all_get_an_answer(ports: Ports) -> None:
    async with relayed(ports, Host()) as host:
        settings = [
            asyncio.ensure_future(ports.supervisor.set_modem_lines("a", dtr=bool(number % 2), rts=None))
            for number in range(1000)
        ]
        outcomes = await asyncio.gather(*settings, return_exceptions=True)
        assert outcomes[-1] is None
        assert {type(outcome) for outcome in outcomes} == {type(None), NotSupportedError}
        assert len(host.controls()) < 10
        assert len(host.commands(SetBaudRate)) < 10
