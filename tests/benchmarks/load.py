"""The load of the benchmarks, in processes of its own: an application on a virtual port, and what answers it.

`python -m tests.benchmarks.load application PATH | poller PATHS | device | devices COUNT | server`

Blocking system calls and nothing else, so that the time measured is the relay's and not the load's. The application
takes commands on standard input, one a line, and answers each with a packed array of 64-bit numbers behind its
length; `device` (a pty) and `server` (TCP) print where they are and answer for ever.

A request is 8 bytes. One that begins with `S` announces so many bytes, which are swallowed before it is answered;
with `G` it asks for so many bytes of one value; any other is sent back as it is. `devices` and `poller` do this for many
ports at once, and know plain requests only.
"""

from __future__ import annotations

import gc
import os
import select
import socket
import sys
import threading
import time
import tty
from array import array
from collections.abc import Callable, Sequence
from contextlib import suppress

REQUEST = b"E1234567"
CHUNK = 4096


def requests(port: int, count: int) -> array[int]:
    """Send requests one after another and give the nanoseconds from each one's write to the end of its answer."""
    times = array("q", bytes(8 * count))
    read, write, now = os.read, os.write, time.perf_counter_ns
    for index in range(count):
        start = now()
        write(port, REQUEST)
        received = len(read(port, 8))
        while received < 8:
            received += len(read(port, 8 - received))
        times[index] = now() - start
    return times


def requests_in_two_parts(port: int, count: int, pause: int) -> array[int]:
    """The same with each request written in two halves, `pause` microseconds apart."""
    times = array("q", bytes(8 * count))
    for index in range(count):
        start = time.perf_counter_ns()
        os.write(port, REQUEST[:4])
        time.sleep(pause / 1e6)
        os.write(port, REQUEST[4:])
        received = 0
        while received < 8:
            received += len(os.read(port, 8 - received))
        times[index] = time.perf_counter_ns() - start
    return times


def send(port: int, count: int, value: int) -> array[int]:
    """Write `count` bytes and give the nanoseconds until the other end has all of them."""
    data = bytes([value]) * CHUNK
    start = time.perf_counter_ns()
    os.write(port, b"S" + count.to_bytes(7, "big"))
    left = count
    while left:
        left -= os.write(port, data[: min(CHUNK, left)])
    received = 0
    while received < 8:
        received += len(os.read(port, 8))
    return array("q", [time.perf_counter_ns() - start])


def receive(port: int, count: int, value: int) -> array[int]:
    """Ask for `count` bytes and give the nanoseconds until all of them are here."""
    start = time.perf_counter_ns()
    os.write(port, b"G" + bytes([value]) + count.to_bytes(6, "big"))
    while count:
        count -= len(os.read(port, CHUNK))
    return array("q", [time.perf_counter_ns() - start])


COMMANDS: dict[str, Callable[..., array[int]]] = {
    "requests": requests,
    "requests_in_two_parts": requests_in_two_parts,
    "send": send,
    "receive": receive,
}


def application(path: str) -> None:
    """Open the virtual port and carry out commands until standard input ends."""
    port = open_port(path)
    gc.disable()
    sys.stdout.buffer.write(b"ready\n")
    sys.stdout.buffer.flush()
    for line in sys.stdin:
        command, *numbers = line.split()
        reply(COMMANDS[command](port, *map(int, numbers)))


def open_port(path: str) -> int:
    """Open a virtual port, or connect to a TCP port of this machine if `path` is a number."""
    if path.isdecimal():
        connection = socket.create_connection(("127.0.0.1", int(path)))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection.detach()
    port = os.open(path, os.O_RDWR | os.O_NOCTTY)
    tty.setraw(port)
    return port


def reply(numbers: array[int]) -> None:
    answer = numbers.tobytes()
    sys.stdout.buffer.write(len(answer).to_bytes(8, "little") + answer)
    sys.stdout.buffer.flush()


def poller(paths: Sequence[str]) -> None:
    """Open virtual ports, and on each command send a request on all of them so many times, at so many microseconds."""
    ports = [open_port(path) for path in paths]
    sys.stdout.buffer.write(b"ready\n")
    sys.stdout.buffer.flush()
    for line in sys.stdin:
        _, count, interval = line.split()
        answered, due = 0, time.monotonic()
        for _ in range(int(count)):
            for port in ports:
                os.write(port, REQUEST)
            for port in ports:
                received = 0
                while received < len(REQUEST):
                    received += len(os.read(port, len(REQUEST) - received))
                answered += 1
            due += int(interval) / 1e6
            time.sleep(max(0.0, due - time.monotonic()))
        reply(array("q", [answered]))


def answer_requests(read: Callable[[int], bytes], write: Callable[[bytes], object]) -> None:
    """Answer requests until the other end is gone."""
    while True:
        request = b""
        while len(request) < 8:
            part = read(8 - len(request))
            if not part:
                return
            request += part
        kind = request[:1]
        if kind == b"S":
            left = int.from_bytes(request[1:], "big")
            while left:
                left -= len(read(min(CHUNK, left)))
        if kind == b"G":
            left = int.from_bytes(request[2:], "big")
            data = request[1:2] * CHUNK
            while left:
                piece = data[: min(CHUNK, left)]
                write(piece)
                left -= len(piece)
        else:
            write(request)


def device() -> None:
    """Be a serial device; the path of the port that it is plugged into is printed."""
    end, port = os.openpty()
    tty.setraw(port)
    print(os.ttyname(port), flush=True)

    def write(data: bytes) -> None:
        while data:
            data = data[os.write(end, data) :]

    answer_requests(lambda count: os.read(end, count), write)


def devices(count: int) -> None:
    """Be so many serial devices that send each byte back; the paths of their ports are printed."""
    pairs = [os.openpty() for _ in range(count)]
    ready = select.epoll()  # `poll` would ask all ports for each byte of one
    for end, port in pairs:
        tty.setraw(port)
        ready.register(end, select.EPOLLIN)
    print(*(os.ttyname(port) for _, port in pairs), flush=True)
    while True:
        for end, _ in ready.poll():
            os.write(end, os.read(end, CHUNK))


def server() -> None:
    """Be a TCP server that answers without delay; its port is printed."""
    listening = socket.create_server(("0.0.0.0", 0), backlog=512)
    print(listening.getsockname()[1], flush=True)

    def serve(connection: socket.socket) -> None:
        with connection, suppress(ConnectionError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            answer_requests(connection.recv, connection.sendall)

    while True:
        connection, _ = listening.accept()
        threading.Thread(target=serve, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    if sys.argv[1] == "application":
        application(sys.argv[2])
    elif sys.argv[1] == "poller":
        poller(sys.argv[2:])
    elif sys.argv[1] == "devices":
        devices(int(sys.argv[2]))
    elif sys.argv[1] == "device":
        device()
    else:
        server()
