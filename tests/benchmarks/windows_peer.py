"""What the host is measured against on Windows: a COM port handed to a TCP client in the way of pyserial's own example.

`python windows_peer.py COM4 TCP_PORT`. A thread reads the COM port and sends to the client, as the reader thread of
`serial.threaded` does in the example `tcp_serial_redirect.py`; the main thread reads the client and writes to the port.
"""

from __future__ import annotations

import socket
import sys
from typing import Any

import serial
from serial.threaded import Protocol, ReaderThread


class ToClient(Protocol):
    """Sends what the device says to the client."""

    client: socket.socket | None = None

    def __call__(self) -> ToClient:
        """Be the only one of its kind, as in the example."""
        return self

    def data_received(self, data: bytes) -> None:
        """See `serial.threaded.Protocol`."""
        if self.client is not None:
            self.client.sendall(data)


def main(device: str, tcp_port: int) -> None:
    """Serve one client after another."""
    port: Any = serial.Serial(device, 9600)
    to_client = ToClient()
    ReaderThread(port, to_client).start()
    listening = socket.create_server(("127.0.0.1", tcp_port))
    while True:
        client, _ = listening.accept()
        with client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            to_client.client = client
            while data := client.recv(1024):
                port.write(data)
            to_client.client = None


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
