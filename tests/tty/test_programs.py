"""Programs of others that keep a character device open: a terminal program, and a daemon that drops its rights."""

from __future__ import annotations

import grp
import json
import os
import pty
import shutil
import signal
import socket
import subprocess
import termios
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.processes import PATIENCE, free_port, wait_for
from tests.tty.relay_end import RelayEnd
from tty_server.messages import Line

pytestmark = pytest.mark.tty

SENTENCES = (
    b"$GPGGA,092750.000,5321.6802,N,00630.3372,W,1,8,1.03,61.7,M,55.2,M,,*76\r\n"
    b"$GPGSA,A,3,10,07,05,02,29,04,08,13,,,,,1.72,1.03,1.38*0A\r\n"
    b"$GPRMC,092750.000,A,5321.6802,N,00630.3372,W,0.02,31.66,280511,,,A*43\r\n"
)
"""A position 53.36 degrees north."""


class Terminal:
    """A program on a terminal, and what it has shown."""

    def __init__(self, *command: str) -> None:
        self.shown = bytearray()
        self._ours, self._theirs = pty.openpty()
        self.process = subprocess.Popen(
            command,
            stdin=self._theirs,
            stdout=self._theirs,
            stderr=self._theirs,
            start_new_session=True,
            env={**os.environ, "TERM": "vt100"},
        )
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while True:
            try:
                self.shown += os.read(self._ours, 4096)
            except OSError:
                return

    @property
    def raw(self) -> bool:
        """True once the program takes each key as it is typed, and shows nothing by itself."""
        return not termios.tcgetattr(self._theirs)[3] & (termios.ICANON | termios.ECHO)

    def type(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._theirs)
        self._thread.join()
        os.close(self._ours)


@pytest.fixture
def minicom(serving: RelayEnd) -> Iterator[Terminal]:
    settings = Path.home() / ".minirc.dfl"
    settings.write_text(
        "pu baudrate 19200\npu bits 7\npu parity E\npu stopbits 2\npu rtscts No\npu minit\npu mreset\n"
    )
    terminal = Terminal("minicom", "-D", str(serving.node))
    yield terminal
    terminal.close()


def test_minicom_sends_and_shows(minicom: Terminal, serving: RelayEnd) -> None:
    wait_for(lambda: Line(19200, 7, "even", 2, "none") in serving.lines, "the line")
    wait_for(lambda: b"Welcome" in minicom.shown and minicom.raw, "the screen")
    minicom.type(b"typed")
    wait_for(lambda: serving.data.endswith(b"typed"), "the keys at the device")
    wait_for(lambda: b"typed" in minicom.shown, "its echo on the screen")
    minicom.type(b"\x01f")  # Ctrl-A F sends a break
    wait_for(lambda: serving.breaks == [True, False], "a break with its end")
    minicom.type(b"\x01x")  # Ctrl-A X leaves, after a question
    wait_for(lambda: b"Leave" in minicom.shown, "the question")
    minicom.type(b"\r")
    assert minicom.process.wait(PATIENCE) == 0
    wait_for(lambda: not serving.opened and serving.outputs == 0, "the close")


@pytest.fixture
def gpsd_port(answering: RelayEnd) -> Iterator[int]:
    """The TCP port of a gpsd that has the device, whose group is gpsd's."""
    if shutil.which("gpsd") is None:
        pytest.skip("gpsd is not here: make test-tty installs it")
    assert answering.node is not None
    os.chown(answering.node, 0, grp.getgrnam("dialout").gr_gid)
    answering.node.chmod(0o660)
    tcp_port = free_port()
    # -n: it opens the device before a client asks for it; -N: it stays this process.
    daemon = subprocess.Popen(["gpsd", "-n", "-N", "-S", str(tcp_port), str(answering.node)])
    yield tcp_port
    daemon.send_signal(signal.SIGTERM)
    try:
        daemon.wait(PATIENCE)
    finally:
        daemon.kill()


def test_gpsd_finds_a_receiver(gpsd_port: int, answering: RelayEnd) -> None:
    wait_for(lambda: answering.opened, "the open")

    def connected() -> socket.socket | None:
        try:
            return socket.create_connection(("127.0.0.1", gpsd_port))
        except OSError:
            return None

    over = threading.Event()

    def receive() -> None:
        while not over.wait(0.2):
            answering.send_data(SENTENCES)

    receiver = threading.Thread(target=receive)
    receiver.start()
    try:
        client = wait_for(connected, "gpsd to listen")
        assert client is not None
        with client, client.makefile("rb") as reports:
            client.settimeout(2 * PATIENCE)
            client.sendall(b'?WATCH={"enable":true,"json":true};\n')
            for report in map(json.loads, reports):
                if report["class"] == "TPV" and report.get("mode", 0) >= 2:
                    break
        assert round(report["lat"], 2) == 53.36
    finally:
        over.set()
        receiver.join()
