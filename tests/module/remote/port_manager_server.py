"""A serial server made of pyserial's PortManager, as its users build one: `port_manager_server.py DEVICE TCP_PORT`."""

from __future__ import annotations

import socket
import sys
import threading
from typing import Any

import serial
import serial.rfc2217


class _Connection:
    """What PortManager writes to."""

    def __init__(self, client: socket.socket) -> None:
        self._client = client
        self._lock = threading.Lock()

    def write(self, data: bytes) -> None:
        with self._lock:
            self._client.sendall(data)


def serve(device: str, client: socket.socket) -> None:
    with serial.Serial(device, 9600, timeout=0.05) as port:
        connection = _Connection(client)
        manager: Any = serial.rfc2217.PortManager  # its stubs want a port of their own module
        manager = manager(port, connection)
        gone = threading.Event()

        def from_device() -> None:
            while not gone.is_set():
                if data := port.read(port.in_waiting or 1):
                    connection.write(b"".join(manager.escape(data)))
                manager.check_modem_lines()

        reading = threading.Thread(target=from_device)
        reading.start()
        try:
            while data := client.recv(1024):
                port.write(b"".join(manager.filter(data)))
        finally:
            gone.set()
            reading.join()


def main() -> None:
    device, port = sys.argv[1:]
    with socket.create_server(("127.0.0.1", int(port))) as listener:
        print("listening", flush=True)
        while True:
            client, _ = listener.accept()
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with client:
                try:
                    serve(device, client)
                except OSError as error:
                    print(error, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
