"""The whole module, whose log nobody reads: its ports go on, and it ends when it is told to."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest


def wait(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("reader", ["stalled", "gone", "closed from the start"])
def test_ports_go_on_whatever_becomes_of_standard_output(tmp_path: Path, reader: str) -> None:
    server = socket.create_server(("127.0.0.1", 0))
    desired = tmp_path / "ports.json"
    port = {"host": "127.0.0.1", "tcpPort": server.getsockname()[1]}
    desired.write_text(json.dumps({"serialPorts": {"a": port}}))
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    if reader == "stalled":
        os.set_blocking(writing, False)
        while True:
            try:
                os.write(writing, b"x" * 512)
            except BlockingIOError:
                break
        os.set_blocking(writing, True)
    environment = os.environ | {"LINK_DIR": str(tmp_path), "METRICS_PORT": "0", "RuntimeLogLevel": "debug"}
    command = [sys.executable, "-m", "serial_relay", "--desired", str(desired)]
    if reader == "closed from the start":
        command = ["sh", "-c", 'exec "$@" >&-', "sh", *command]
    process = subprocess.Popen(command, stdout=writing, stderr=subprocess.DEVNULL, env=environment)
    try:
        os.close(writing)
        if reader == "gone":
            os.close(reading)
        connection, _ = server.accept()
        with connection:
            wait((tmp_path / "a").is_symlink)
            for number in range(50):
                slave = os.open(tmp_path / "a", os.O_RDWR | os.O_NOCTTY)
                message = f"{number:04d}".encode()
                os.write(slave, message)
                received = b""
                while len(received) < len(message):
                    received += connection.recv(len(message) - len(received))
                os.close(slave)
                assert received == message
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        server.close()
        if reader != "gone":
            os.close(reading)
