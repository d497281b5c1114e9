"""Against pyserial's two implementations, recorded live: its bytes are our bytes, and each understands the other."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import serial
import serial.rfc2217

from rfc2217 import (
    ComPortAgreed,
    ComPortCommand,
    Connection,
    Control,
    Data,
    Event,
    ModemState,
    NotifyLineState,
    NotifyModemState,
    Parity,
    Purge,
    PurgeData,
    Role,
    SetBaudRate,
    SetControl,
    SetDataSize,
    SetModemStateMask,
    SetParity,
    SetStopSize,
    StopSize,
)
from rfc2217.com_port_option import encode
from rfc2217.telnet import Data as Bytes
from rfc2217.telnet import Decoder, Subnegotiation, encode_command, encode_data
from tests.rfc2217.commands import merged


def written_by_us(recorded: bytes, sender: Role) -> bytes:
    """Decode a recorded stream and write it anew with our encoders."""
    stream = bytearray()
    for item in Decoder(1024).feed(recorded):
        if isinstance(item, Bytes):
            stream += encode_data(item.data)
        elif isinstance(item, Subnegotiation):
            connection = Connection(sender.peer)
            *_, command = connection.receive_data(b"\xff\xfb\x2c\xff\xfd\x2c" + encode_command(item))
            assert isinstance(command, ComPortCommand), item
            stream += encode_command(Subnegotiation(item.option, encode(command, sender)))
        else:
            stream += encode_command(item)
    return bytes(stream)


class EchoingAccessServer:
    """A com port that accepts every setting, for pyserial's client to talk to; records what it writes."""

    def __init__(self, connected: socket.socket) -> None:
        self.recorded = bytearray()
        self.events: list[Event] = []
        self._socket = connected
        self._connection = Connection(Role.ACCESS_SERVER)
        self._lock = threading.Lock()

    def serve(self) -> None:
        self._connection.start()
        self._flush()
        while chunk := self._socket.recv(4096):
            self.recorded += chunk
            with self._lock:
                for event in self._connection.receive_data(chunk):
                    self.events.append(event)
                    self._answer(event)
            self._flush()
        assert self._connection.unanswered == ()

    def tell(self, command: ComPortCommand) -> None:
        with self._lock:
            self._connection.send(command)
        self._flush()

    def _answer(self, event: Event) -> None:
        match event:
            case Data(data):
                self._connection.send_data(data)
            case ComPortAgreed():
                self._connection.send(NotifyModemState(ModemState.CTS))
            case NotifyModemState():
                self._connection.send(NotifyModemState(ModemState.CD | ModemState.RI))
            case ComPortCommand():
                self._connection.send(event)

    def _flush(self) -> None:
        with self._lock:
            self._socket.sendall(self._connection.data_to_send())


@contextmanager
def pyserial_client(options: str = "") -> Iterator[tuple[Any, EchoingAccessServer]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: Any = serial.serial_for_url(
            # The first time is that of its network, 3 s by default.
            f"rfc2217://127.0.0.1:{listener.getsockname()[1]}?timeout=30{options}",
            do_not_open=True,
            timeout=30,
        )
        opening = threading.Thread(target=port.open)
        opening.start()
        connected, _ = listener.accept()
        with connected:
            server = EchoingAccessServer(connected)
            serving = threading.Thread(target=server.serve)
            serving.start()
            opening.join(30)
            try:
                assert port.is_open
                yield port, server
            finally:
                port.close()
                serving.join(30)


def test_pyserials_client_writes_our_bytes_and_takes_our_answers() -> None:
    with pyserial_client("&poll_modem") as (port, server):
        port.baudrate = 250_000
        port.bytesize = serial.SEVENBITS
        port.parity = serial.PARITY_EVEN
        port.stopbits = serial.STOPBITS_ONE_POINT_FIVE
        port.baudrate = 0xFF00FFFF
        port.rtscts = True
        port.rtscts = False
        port.xonxoff = True
        port.dtr = False
        port.rts = False
        port.break_condition = True
        port.break_condition = False
        port.reset_input_buffer()
        port.reset_output_buffer()
        data = bytes(range(256)) + b"\xff" * 5
        port.write(data)
        assert port.read(len(data)) == data
        assert (port.cd, port.ri, port.cts) == (True, True, False)
    assert written_by_us(bytes(server.recorded), Role.CLIENT) == bytes(server.recorded)
    commands = [event for event in server.events if isinstance(event, ComPortCommand)]
    for expected in (
        SetBaudRate(250_000),
        SetBaudRate(0xFF00FFFF),
        SetDataSize(7),
        SetParity(Parity.EVEN),
        SetStopSize(StopSize.ONE_AND_A_HALF),
        SetControl(Control.FLOW_HARDWARE),
        SetControl(Control.FLOW_XON_XOFF),
        SetControl(Control.FLOW_NONE),
        SetControl(Control.DTR_OFF),
        SetControl(Control.RTS_OFF),
        SetControl(Control.BREAK_ON),
        SetControl(Control.BREAK_OFF),
        PurgeData(Purge.RECEIVE),
        PurgeData(Purge.TRANSMIT),
        NotifyModemState(),
    ):
        assert expected in commands
    assert merged(event for event in server.events if isinstance(event, Data)) == [Data(data)]


def test_pyserials_client_sees_our_notifications() -> None:
    with pyserial_client() as (port, server):
        assert (port.cts, port.dsr) == (True, False)
        server.tell(NotifyModemState(ModemState.DSR | ModemState.DSR_CHANGED | ModemState.CTS_CHANGED))
        port.write(b"?")
        assert port.read(1) == b"?"
        assert (port.cts, port.dsr) == (False, True)


class Recorder:
    """The network side of pyserial's PortManager: keeps what it writes."""

    def __init__(self) -> None:
        self.recorded = bytearray()
        self._taken = 0

    def write(self, data: bytes) -> None:
        self.recorded += data

    def take(self) -> bytes:
        taken = bytes(self.recorded[self._taken :])
        self._taken = len(self.recorded)
        return taken


class PortManagerPair:
    """Our client and pyserial's PortManager with a loop:// port, joined in memory."""

    def __init__(self) -> None:
        self.port: Any = serial.serial_for_url("loop://", timeout=0)
        self.recorder = Recorder()
        self.client = Connection(Role.CLIENT)
        manager: Any = serial.rfc2217.PortManager  # its stubs want a port of their own module
        self.manager: Any = manager(self.port, self.recorder)
        self.client.start()
        assert ComPortAgreed() in self.exchange()

    def exchange(self) -> list[Event]:
        """Carry bytes until both are silent; give what our client heard."""
        events: list[Event] = []
        for _ in range(10):
            sent, received = self.client.data_to_send(), self.recorder.take()
            if not sent and not received:
                return merged(events)
            data = b"".join(self.manager.filter(sent))
            self.recorder.write(b"".join(self.manager.escape(data)))
            events += self.client.receive_data(received)
        raise AssertionError("they never fall silent")


@pytest.fixture
def pair() -> Iterator[PortManagerPair]:
    pair = PortManagerPair()
    yield pair
    assert written_by_us(bytes(pair.recorder.recorded), Role.ACCESS_SERVER) == bytes(pair.recorder.recorded)
    pair.port.close()


@pytest.mark.parametrize(
    ("command", "became"),
    [
        (SetBaudRate(250_000), lambda port: port.baudrate == 250_000),
        (SetBaudRate(0x00FFFF00), lambda port: port.baudrate == 0x00FFFF00),
        (SetDataSize(5), lambda port: port.bytesize == serial.FIVEBITS),
        (SetParity(Parity.MARK), lambda port: port.parity == serial.PARITY_MARK),
        (SetParity(Parity.ODD), lambda port: port.parity == serial.PARITY_ODD),
        (SetStopSize(StopSize.TWO), lambda port: port.stopbits == serial.STOPBITS_TWO),
        (SetStopSize(StopSize.ONE_AND_A_HALF), lambda port: port.stopbits == serial.STOPBITS_ONE_POINT_FIVE),
        (SetControl(Control.FLOW_XON_XOFF), lambda port: port.xonxoff),
        (SetControl(Control.FLOW_HARDWARE), lambda port: port.rtscts),
        (SetControl(Control.FLOW_NONE), lambda port: not port.rtscts),
        (SetControl(Control.DTR_OFF), lambda port: not port.dtr),
        (SetControl(Control.RTS_OFF), lambda port: not port.rts),
        (SetControl(Control.BREAK_ON), lambda port: port.break_condition),
        (SetControl(Control.BREAK_OFF), lambda port: not port.break_condition),
        (PurgeData(Purge.BOTH), lambda port: port.in_waiting == 0),
    ],
    ids=lambda value: None if callable(value) else str(value),
)
def test_portmanager_does_what_our_client_says(
    pair: PortManagerPair, command: ComPortCommand, became: Callable[[Any], bool]
) -> None:
    pair.client.send(command)
    assert command in pair.exchange()
    assert pair.client.awaited == ()
    assert became(pair.port)


def test_portmanager_answers_our_questions_with_the_actual_values(pair: PortManagerPair) -> None:
    pair.port.baudrate = 57_600
    pair.port.parity = serial.PARITY_EVEN
    for question in (
        SetBaudRate(),
        SetDataSize(),
        SetParity(),
        SetStopSize(),
        SetControl(Control.REQUEST_FLOW),
    ):
        pair.client.send(question)
    assert pair.exchange() == [
        SetBaudRate(57_600),
        SetDataSize(8),
        SetParity(Parity.EVEN),
        SetStopSize(StopSize.ONE),
        SetControl(Control.FLOW_NONE),
    ]


def test_portmanager_leaves_masks_without_an_answer_and_all_else_goes_on(pair: PortManagerPair) -> None:
    pair.client.send(SetModemStateMask(ModemState(255)))
    pair.client.send(NotifyLineState())
    assert pair.exchange() == [NotifyLineState(value=0)]  # type: ignore[arg-type] # a plain number will do
    assert pair.client.awaited == (SetModemStateMask(ModemState(255)),)
    pair.client.send(SetBaudRate())
    assert pair.exchange() == [SetBaudRate(9600)]


def test_portmanager_and_our_client_exchange_every_byte(pair: PortManagerPair) -> None:
    data = bytes(range(256)) * 4 + b"\xff" * 5
    pair.client.send_data(data)
    assert pair.exchange() == [Data(data)]


def test_portmanager_notifies_modem_lines(pair: PortManagerPair) -> None:
    pair.port.rts = False  # loop:// joins RTS to CTS
    pair.manager.check_modem_lines()
    (event,) = pair.exchange()
    assert isinstance(event, NotifyModemState)
    assert event.value is not None
    assert ModemState.CTS not in event.value
    assert ModemState.CTS_CHANGED in event.value
