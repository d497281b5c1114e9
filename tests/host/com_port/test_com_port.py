"""A real port's life: absent, present, vanished and back, held by somebody else, set up as configured."""

from __future__ import annotations

import termios
import threading
import time
from pathlib import Path

import pytest
import serial

from serial_host.serving import opening
from tests.host.running import Client, RunningServer, serial_port, until
from tests.host.serial_device import SerialDevice


def test_a_port_that_is_not_there_is_named_refused_and_served_once_it_comes(
    device: SerialDevice, tcp_port: int, *, threads: bool
) -> None:
    device.unplug()
    port = serial_port({"device": device.name, "tcp_port": tcp_port}, threads=threads)
    with RunningServer(port) as server:
        until(lambda: server.status()["state"] == "absent")
        assert device.name in server.status()["last_error"]
        assert "is not there" in server.status()["last_error"]
        with pytest.raises(ConnectionRefusedError):
            Client(tcp_port)
        device.plug_in()
        with server.client() as client:
            client.send(b"welcome")
            assert device.receive(7) == b"welcome"


def test_a_vanished_port_disconnects_its_client_and_comes_back_by_itself(
    device: SerialDevice, tcp_port: int, *, threads: bool
) -> None:
    port = serial_port({"device": device.name, "tcp_port": tcp_port}, threads=threads)
    with RunningServer(port) as server:
        for _ in range(3):
            with server.client() as client:
                client.send(b"hello")
                assert device.receive(5) == b"hello"
                device.unplug()
                client.is_cut()
                until(lambda: server.status()["state"] == "absent")
                assert server.status()["client"] is None
            device.plug_in()
        with server.client() as client:
            device.send(b"back")
            assert client.receive(4) == b"back"


def test_bytes_that_a_vanished_port_did_not_take_are_counted(
    device: SerialDevice, tcp_port: int, *, threads: bool
) -> None:
    device.stop()
    port = serial_port({"device": device.name, "tcp_port": tcp_port}, threads=threads)
    with RunningServer(port) as server:
        with server.client() as client:
            assert client.flood(bytes(1000), 20_000_000) < 20_000_000
            until(lambda: server.status()["unsent"])
            unsent = server.status()["unsent"]
            taken = server.status()["bytes_to_device"]
            assert unsent > 0
            device.unplug()
            until(lambda: server.status()["state"] == "absent")
        status = server.status()
    assert status["discarded_to_device"] >= unsent
    assert status["bytes_to_device"] + status["discarded_to_device"] >= taken
    assert status["unsent"] == 0


def test_a_port_held_by_another_program_is_named_and_taken_when_it_is_free(
    device: SerialDevice, tcp_port: int
) -> None:
    holder = serial.Serial(device.name, exclusive=True)
    with RunningServer(serial_port({"device": device.name, "tcp_port": tcp_port})) as server:
        until(lambda: server.status()["state"] == "absent")
        assert "in use by another program" in server.status()["last_error"]
        holder.close()
        server.wait_listening()
        with pytest.raises(serial.SerialException):
            serial.Serial(device.name, exclusive=True)


def test_a_thing_that_is_no_terminal_is_named(tmp_path: Path, tcp_port: int) -> None:
    plain_file = tmp_path / "file"
    plain_file.write_text("no terminal")
    with RunningServer(serial_port({"device": str(plain_file), "tcp_port": tcp_port})) as server:
        until(lambda: server.status()["state"] == "absent")
        assert f"{plain_file} cannot be opened" in server.status()["last_error"]


def test_the_port_is_opened_with_the_configured_settings(
    device: SerialDevice, tcp_port: int, *, threads: bool
) -> None:
    entry = {
        "device": device.name,
        "tcp_port": tcp_port,
        "baud_rate": 57600,
        "stop_bits": 2,
        "flow_control": "xon_xoff",
    }
    with RunningServer(serial_port(entry, threads=threads)) as server:
        server.wait_listening()
        attributes = termios.tcgetattr(device.descriptor)
        assert attributes[4] == attributes[5] == termios.B57600
        assert attributes[2] & termios.CSTOPB
        assert attributes[0] & termios.IXON
        assert server.status()["line"] == "57600 8N2 xon_xoff"


def test_an_arbitrary_baud_rate_is_set_and_reported(device: SerialDevice, tcp_port: int) -> None:
    with RunningServer(
        serial_port({"device": device.name, "tcp_port": tcp_port, "baud_rate": 123456})
    ) as server:
        server.wait_listening()
        assert server.status()["line"] == "123456 8N1"


def test_what_the_driver_makes_of_the_settings_is_reported(
    device: SerialDevice, tcp_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    entry = {"device": device.name, "tcp_port": tcp_port, "data_bits": 7, "parity": "even"}
    with RunningServer(serial_port(entry)) as server:
        server.wait_listening()
        # A pseudo-terminal knows neither seven bits nor parity (pty_set_termios).
        assert server.status()["line"] == "9600 8N1"
    assert "runs 9600 8N1, not 9600 7E1 as configured" in caplog.text


def test_on_client_opens_the_port_for_a_client_only(
    device: SerialDevice, tcp_port: int, *, threads: bool
) -> None:
    entry = {"device": device.name, "tcp_port": tcp_port, "open": "on_client"}
    with RunningServer(serial_port(entry, threads=threads)) as server:
        server.wait_listening()
        for _ in range(3):
            assert server.status()["state"] == "idle"
            serial.Serial(device.name, exclusive=True).close()
            with Client(tcp_port) as client:
                client.send(b"sent before the port was open")
                assert device.receive(29) == b"sent before the port was open"
                device.send(b"yes")
                assert client.receive(3) == b"yes"
            until(lambda: server.status()["state"] == "idle")


def test_on_client_leaves_the_port_open_until_the_device_has_what_the_client_sent(
    device: SerialDevice, tcp_port: int, *, threads: bool
) -> None:
    entry = {"device": device.name, "tcp_port": tcp_port, "open": "on_client"}
    data = bytes(range(256)) * 100
    received = bytearray()

    def read_slowly() -> None:
        while len(received) < len(data):
            received.extend(device.receive(min(256, len(data) - len(received))))
            time.sleep(0.005)

    with RunningServer(serial_port(entry, threads=threads)) as server:
        slow = threading.Thread(target=read_slowly, daemon=True)
        with server.client() as client:
            slow.start()
            client.send(data)
        until(lambda: server.status()["client"] is None)
        assert len(received) < len(data)
        with server.client() as client:  # which comes before the port would be closed
            client.send(b"next")
            slow.join()
            assert device.receive(4) == b"next"
            device.send(b"yes")
            assert client.receive(3) == b"yes"
        until(lambda: server.status()["state"] == "idle")
        assert server.status()["discarded_to_device"] == 0
    assert received == data


def test_on_client_closes_the_port_of_a_device_that_takes_nothing(
    device: SerialDevice, tcp_port: int
) -> None:
    entry = {"device": device.name, "tcp_port": tcp_port, "open": "on_client"}
    with RunningServer(serial_port(entry)) as server:
        with server.client() as client:
            device.stop()
            client.send(bytes(2000))
            server.wait_taken(2000)
        until(lambda: server.status()["state"] == "idle")
        assert server.status()["discarded_to_device"] == 2000


def test_on_client_cuts_the_client_of_an_absent_port(device: SerialDevice, tcp_port: int) -> None:
    device.unplug()
    entry = {"device": device.name, "tcp_port": tcp_port, "open": "on_client"}
    with RunningServer(serial_port(entry)) as server:
        server.wait_listening()
        with Client(tcp_port) as client:
            assert client.is_cut()
        assert "is not there" in server.status()["last_error"]
        device.plug_in()
        until(lambda: server.status()["state"] == "idle")
        with Client(tcp_port) as client:
            client.send(b"now")
            assert device.receive(3) == b"now"


def test_a_close_that_never_returns_gives_the_old_handle_up_and_the_port_comes_back(
    device: SerialDevice, tcp_port: int, monkeypatch: pytest.MonkeyPatch, *, threads: bool
) -> None:
    monkeypatch.setattr(opening, "CLOSE_SECONDS", 0.2)
    go = threading.Event()
    close = serial.Serial.close

    def hang(port: serial.Serial) -> None:
        if port.is_open:
            go.wait()
        close(port)

    port = serial_port({"device": device.name, "tcp_port": tcp_port}, threads=threads)
    with RunningServer(port) as server:
        server.wait_listening()
        monkeypatch.setattr(serial.Serial, "close", hang)
        device.unplug()
        until(lambda: server.status()["state"] == "absent")
        device.plug_in()
        with server.client() as client:
            device.send(b"back")
            assert client.receive(4) == b"back"
        server.stop()  # ends although this close hangs as well
    go.set()
    until(lambda: not [thread for thread in threading.enumerate() if thread.name.startswith(device.name)])
