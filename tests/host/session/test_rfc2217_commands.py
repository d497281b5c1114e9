"""RFC 2217 on a real port: settings, lines, breaks and purges, and what each is answered with."""

from __future__ import annotations

import termios
import time

import pytest

from rfc2217 import (
    Control,
    LineState,
    ModemState,
    NotifyLineState,
    NotifyModemState,
    Parity,
    Purge,
    PurgeData,
    SetBaudRate,
    SetControl,
    SetDataSize,
    SetLineStateMask,
    SetModemStateMask,
    SetParity,
    SetStopSize,
    StopSize,
    TelnetCode,
    TelnetCommand,
)
from tests.host.commands import CommandLine
from tests.host.running import RunningServer, echo_port, serial_port, until
from tests.host.serial_device import SerialDevice
from tests.host.session.access_server import AccessServer, ComPortClient, access_server
from tests.modem_shim.modem_shim import CD, CTS, DSR, DTR, RI, RTS, ModemShim


def test_settings_are_made_and_answered_with_what_is(server: AccessServer, client: ComPortClient) -> None:
    assert client.ask(SetBaudRate(115200)) == SetBaudRate(115200)
    assert client.ask(SetDataSize(7)) == SetDataSize(7)
    assert client.ask(SetParity(Parity.EVEN)) == SetParity(Parity.EVEN)
    assert client.ask(SetStopSize(StopSize.TWO)) == SetStopSize(StopSize.TWO)
    assert termios.tcgetattr(server.device.descriptor)[5] == termios.B115200
    assert termios.tcgetattr(server.device.descriptor)[2] & termios.CSTOPB
    assert server.lines.frame == (7, "E")
    assert server.line() == "115200 7E2"
    assert client.ask(SetBaudRate(0)) == SetBaudRate(115200)
    assert client.ask(SetDataSize(0)) == SetDataSize(7)
    assert client.ask(SetParity(Parity.REQUEST)) == SetParity(Parity.EVEN)
    assert client.ask(SetStopSize(StopSize.REQUEST)) == SetStopSize(StopSize.TWO)


@pytest.mark.parametrize("parity", [Parity.NONE, Parity.ODD, Parity.EVEN, Parity.MARK, Parity.SPACE])
def test_every_parity_can_be_set(server: AccessServer, client: ComPortClient, parity: Parity) -> None:
    assert client.ask(SetParity(parity)) == SetParity(parity)
    assert server.lines.frame == (8, parity.name[0])


def test_an_arbitrary_baud_rate_can_be_set(server: AccessServer, client: ComPortClient) -> None:
    assert client.ask(SetBaudRate(74880)) == SetBaudRate(74880)
    assert server.line() == "74880 8N1"


def test_the_impossible_is_answered_with_what_is(client: ComPortClient) -> None:
    assert client.ask(SetDataSize(9)) == SetDataSize(8)
    assert client.ask(SetParity(Parity(77))) == SetParity(Parity.NONE)
    assert client.ask(SetStopSize(StopSize(9))) == SetStopSize(StopSize.ONE)
    # Linux knows no one and a half stop bits but with five data bits.
    assert client.ask(SetStopSize(StopSize.ONE_AND_A_HALF)) == SetStopSize(StopSize.TWO)
    assert client.ask(SetControl(Control.FLOW_DCD)) == SetControl(Control.FLOW_NONE)
    assert client.ask(SetControl(Control.FLOW_DSR)) == SetControl(Control.FLOW_NONE)
    assert client.ask(SetControl(Control.INBOUND_FLOW_DTR)) == SetControl(Control.INBOUND_FLOW_NONE)
    assert client.ask(SetControl(Control(99))) == SetControl(Control(99))
    assert client.ask(SetLineStateMask(LineState(0xFF))) == SetLineStateMask(LineState(0x1E))


def test_what_the_driver_refuses_does_not_spoil_later_settings(device: SerialDevice, tcp_port: int) -> None:
    """Without the shim, for a plain pty refuses parity and data bits."""
    port = serial_port({"device": device.name, "tcp_port": tcp_port, "protocol": "rfc2217"})
    with RunningServer(port) as server:
        server.wait_listening()
        with ComPortClient(tcp_port) as client:
            client.agree()
            assert client.ask(SetParity(Parity.EVEN)) == SetParity(Parity.NONE)
            assert client.ask(SetDataSize(7)) == SetDataSize(8)
            assert client.ask(SetBaudRate(19200)) == SetBaudRate(19200)
            assert client.ask(SetParity(Parity.EVEN)) == SetParity(Parity.NONE)
            assert client.ask(SetBaudRate(0)) == SetBaudRate(19200)
            assert server.status()["line"] == "19200 8N1"


def test_flow_control_is_set_and_asked(server: AccessServer, client: ComPortClient) -> None:
    for control, inbound, name in (
        (Control.FLOW_HARDWARE, Control.INBOUND_FLOW_HARDWARE, " rts_cts"),
        (Control.FLOW_XON_XOFF, Control.INBOUND_FLOW_XON_XOFF, " xon_xoff"),
        (Control.FLOW_NONE, Control.INBOUND_FLOW_NONE, ""),
    ):
        assert client.ask(SetControl(control)) == SetControl(control)
        assert client.ask(SetControl(Control.REQUEST_FLOW)) == SetControl(control)
        assert client.ask(SetControl(Control.REQUEST_INBOUND_FLOW)) == SetControl(inbound)
        assert server.line() == f"9600 8N1{name}"


def test_dtr_and_rts_are_driven_and_asked(server: AccessServer, client: ComPortClient) -> None:
    assert server.lines.state & (DTR | RTS) == DTR | RTS
    assert client.ask(SetControl(Control.DTR_OFF)) == SetControl(Control.DTR_OFF)
    assert server.lines.state & (DTR | RTS) == RTS
    assert client.ask(SetControl(Control.REQUEST_DTR)) == SetControl(Control.DTR_OFF)
    assert client.ask(SetControl(Control.RTS_OFF)) == SetControl(Control.RTS_OFF)
    assert client.ask(SetControl(Control.DTR_ON)) == SetControl(Control.DTR_ON)
    assert server.lines.state & (DTR | RTS) == DTR
    assert client.ask(SetControl(Control.REQUEST_RTS)) == SetControl(Control.RTS_OFF)


def test_a_break_begins_and_ends_when_the_client_says(server: AccessServer, client: ComPortClient) -> None:
    assert client.ask(SetControl(Control.BREAK_ON)) == SetControl(Control.BREAK_ON)
    assert server.lines.in_break
    assert client.ask(SetControl(Control.REQUEST_BREAK)) == SetControl(Control.BREAK_ON)
    assert client.ask(SetControl(Control.BREAK_OFF)) == SetControl(Control.BREAK_OFF)
    assert not server.lines.in_break
    assert server.lines.breaks == 1


def test_telnets_break_is_one_of_a_moment_and_what_follows_waits(
    server: AccessServer, client: ComPortClient
) -> None:
    client.send(TelnetCommand(TelnetCode.BREAK), b"after the break")
    until(lambda: server.lines.breaks == 1)
    assert server.device.receive(15) == b"after the break"
    assert not server.lines.in_break


def test_a_client_that_leaves_during_a_break_ends_it(server: AccessServer) -> None:
    with ComPortClient(server.tcp_port) as client:
        client.agree()
        client.ask(SetControl(Control.BREAK_ON))
        assert server.lines.in_break
    until(lambda: not server.lines.in_break)


def test_lines_are_notified_within_moments(server: AccessServer, client: ComPortClient) -> None:
    client.wait_for(NotifyModemState)
    for lines, expected in (
        (CTS, ModemState.CTS | ModemState.CTS_CHANGED),
        (CTS | DSR, ModemState.CTS | ModemState.DSR | ModemState.DSR_CHANGED),
        (CTS | DSR | CD, ModemState.CTS | ModemState.DSR | ModemState.CD | ModemState.CD_CHANGED),
        (CTS | DSR | CD | RI, ModemState.CTS | ModemState.DSR | ModemState.CD | ModemState.RI),
        (CTS | DSR | CD, ModemState.CTS | ModemState.DSR | ModemState.CD | ModemState.RI_ENDED),
        (0, ModemState.CTS_CHANGED | ModemState.DSR_CHANGED | ModemState.CD_CHANGED),
    ):
        if lines:
            server.lines.set(lines)
        server.lines.clear((CTS | DSR | CD | RI) & ~lines)
        assert client.wait_for(NotifyModemState).value == expected


def test_only_what_the_mask_asks_for_is_notified(server: AccessServer, client: ComPortClient) -> None:
    client.wait_for(NotifyModemState)
    mask = ModemState.DSR | ModemState.DSR_CHANGED
    assert client.ask(SetModemStateMask(mask)) == SetModemStateMask(mask)
    server.lines.set(CTS)
    time.sleep(0.2)
    server.lines.set(DSR)
    assert client.wait_for(NotifyModemState).value == ModemState.DSR | ModemState.DSR_CHANGED
    assert client.ask(SetModemStateMask(ModemState(0))) == SetModemStateMask(ModemState(0))
    server.lines.clear(DSR)
    assert not client.receive(0.2)


def test_the_modem_state_can_be_polled(server: AccessServer, client: ComPortClient) -> None:
    client.ask(SetModemStateMask(ModemState(0)))
    server.lines.set(CTS | CD)
    value = client.ask(NotifyModemState()).value
    assert value is not None
    assert value & ModemState(0xF0) == ModemState.CTS | ModemState.CD


def test_line_errors_are_notified_by_the_mask(server: AccessServer, client: ComPortClient) -> None:
    mask = LineState.OVERRUN_ERROR | LineState.FRAMING_ERROR | LineState.BREAK_DETECT
    assert client.ask(SetLineStateMask(mask)) == SetLineStateMask(mask)
    for cause, state in (
        (server.lines.overrun, LineState.OVERRUN_ERROR),
        (server.lines.framing_error, LineState.FRAMING_ERROR),
        (server.lines.send_break, LineState.BREAK_DETECT),
    ):
        cause()
        assert client.wait_for(NotifyLineState) == NotifyLineState(state)
    server.lines.parity_error()
    assert not any(isinstance(event, NotifyLineState) for event in client.events)
    assert not client.receive(0.2)
    assert server.process.status()["ports"][0]["overruns"] == 1


def test_settings_stand_before_the_bytes_that_follow_them(
    server: AccessServer, client: ComPortClient
) -> None:
    for rate, constant in ((19200, termios.B19200), (4800, termios.B4800)) * 20:
        client.send(SetBaudRate(rate), b"!")
        assert server.device.receive(1) == b"!"
        assert termios.tcgetattr(server.device.descriptor)[5] == constant


def test_purge_throws_away_what_the_device_has_not_taken(
    device: SerialDevice, tcp_port: int, *, threads: bool
) -> None:
    port = serial_port({"device": device.name, "tcp_port": tcp_port, "protocol": "rfc2217"}, threads=threads)
    with RunningServer(port) as server:
        server.wait_listening()
        with ComPortClient(tcp_port) as client:
            client.agree()
            # More than the terminal holds; not until the server stops reading, as a purge would not be read either.
            sent = 0
            while not server.keeps_unsent():
                client.send(bytes(1000))
                sent += 1000
                server.wait_taken(sent)
            device.stop()
            client.send(bytes(1000))
            sent += 1000
            server.wait_taken(sent)
            assert client.ask(PurgeData(Purge.TRANSMIT)) == PurgeData(Purge.TRANSMIT)
            status = server.status()
            assert status["unsent"] == 0
            assert status["discarded_to_device"] > 0
            assert status["bytes_to_device"] + status["discarded_to_device"] == sent
            device.go_on()
            client.send(b"clean")
            until(lambda: server.status()["bytes_to_device"] == status["bytes_to_device"] + 5)
            device.receive_until(b"clean")


@pytest.mark.parametrize("what", [Purge.RECEIVE, Purge.BOTH, Purge(9)])
def test_every_purge_is_answered(client: ComPortClient, what: Purge) -> None:
    assert client.ask(PurgeData(what)) == PurgeData(what)


def test_every_client_finds_the_settings_of_the_configuration(
    command_line: CommandLine, shim: ModemShim, device: SerialDevice, tcp_port: int
) -> None:
    flags = ("--baud-rate", "19200", "--parity", "odd", "--no-dtr")
    with access_server(command_line, shim, device, tcp_port, *flags) as server:
        for _ in range(2):
            with ComPortClient(tcp_port) as client:
                client.agree()
                assert client.ask(SetBaudRate(0)) == SetBaudRate(19200)
                assert client.ask(SetParity()) == SetParity(Parity.ODD)
                assert client.ask(SetControl(Control.REQUEST_DTR)) == SetControl(Control.DTR_OFF)
                assert server.lines.state & (DTR | RTS) == RTS
                client.ask(SetBaudRate(300))
                client.ask(SetParity(Parity.NONE))
                client.ask(SetControl(Control.DTR_ON))
                client.ask(SetControl(Control.RTS_OFF))
                assert server.lines.state & (DTR | RTS) == DTR


def test_a_flood_of_commands_is_answered_in_order(tcp_port: int) -> None:
    with RunningServer(echo_port({"tcp_port": tcp_port, "protocol": "rfc2217"})) as server:
        server.wait_listening()
        with ComPortClient(tcp_port) as client:
            client.agree()
            rates = [300 + number for number in range(200)]
            client.send(*(SetBaudRate(rate) for rate in rates))
            assert [client.wait_for(SetBaudRate).value for _ in rates] == rates
