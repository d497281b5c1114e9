"""Stands for `python -m tty_server` where there is no CUSE: it says that each device is there, and echoes.

The last argument is the number of the control socket. It ends when the relay
is gone.
"""

from __future__ import annotations

import socket
import sys
import threading

from tty_server.messages import MINOR, NO_MINOR, TOTAL, Decoder, Kind, data_messages, message


def serve(connection: socket.socket, minor: int) -> None:
    number = 0 if minor == NO_MINOR else minor
    ready = message(Kind.READY, MINOR.pack(number) + f"serialrelay{number}".encode())
    connection.sendall(ready + message(Kind.GRANT, TOTAL.pack(1 << 40)))  # at once, for tests that read on
    decoder = Decoder()
    while data := connection.recv(65536):
        for kind, rest in decoder.messages(data):
            if kind == Kind.DATA:
                connection.sendall(data_messages(rest))


def main() -> None:
    control = socket.socket(fileno=int(sys.argv[-1]))
    print("the stand-in begins", flush=True)
    while True:
        try:
            data, descriptors, _, _ = socket.recv_fds(control, MINOR.size, 1)
        except ConnectionResetError:  # the relay has gone with an answer that it did not read
            return
        if not data:
            return
        if not descriptors:
            control.send(data)  # the question whether this goes on
            continue
        connection = socket.socket(fileno=descriptors[0])
        threading.Thread(target=serve, args=[connection, *MINOR.unpack(data)], daemon=True).start()


if __name__ == "__main__":
    main()
