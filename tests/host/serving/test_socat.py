"""socat as the client, with the command line of Microsoft's EFLOW serial sample."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import tty
from pathlib import Path

import pytest
import serial

from tests.host.running import PATIENCE, RunningServer, serial_port, until
from tests.host.serial_device import SerialDevice

pytestmark = pytest.mark.skipif(shutil.which("socat") is None, reason="socat is not installed")


def test_the_samples_socat_relays_a_megabyte_each_way(
    device: SerialDevice, tcp_port: int, tmp_path: Path
) -> None:
    link = tmp_path / "ttyVirtS0"
    to_device, from_device = os.urandom(1_000_000), os.urandom(1_000_000)
    with RunningServer(serial_port({"device": device.name, "tcp_port": tcp_port})) as server:
        server.wait_listening()
        socat = subprocess.Popen(
            ["socat", f"pty,link={link},raw,user=root,group=root,mode=660", f"tcp:127.0.0.1:{tcp_port}"]
        )
        try:
            until(lambda: link.exists() and server.status()["client"])
            with serial.Serial(str(link), timeout=PATIENCE, write_timeout=PATIENCE) as application:
                tty.setraw(application.fileno())
                writers = [
                    device.sending(from_device),
                    threading.Thread(target=application.write, args=(to_device,)),
                ]
                writers[1].start()
                received: list[bytes] = []
                reader = threading.Thread(target=lambda: received.append(application.read(len(from_device))))
                reader.start()
                assert device.receive(len(to_device)) == to_device
                for thread in (*writers, reader):
                    thread.join()
                assert received == [from_device]
        finally:
            socat.terminate()
            socat.wait(PATIENCE)
        until(lambda: server.status()["client"] is None)
