"""TLS with the host on Windows' Python: pairing, bytes both ways, and a refusal."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.system.processes import Program, free_port, wait_for
from tests.system.serial_lines import Device
from tests.system.stack import Relay
from tests.windows.installed_host import COM_PORT, PluggedDevice, WindowsHost, exchange, open_as_application
from tests.windows.wine import START_SECONDS, Wine

pytestmark = pytest.mark.windows

NAME = "scale"


class SecuredWindowsHost(WindowsHost):
    """serial_host with a configuration file that has `[tls]`."""

    def __init__(self, wine: Wine, program_folder: Path, folder: Path) -> None:
        folder.mkdir()
        self._file = folder / "serial-host.toml"
        super().__init__(wine, program_folder, folder / "serial_host.log")

    def start(self) -> None:
        self._file.write_text(
            f'[[ports]]\ndevice = "{COM_PORT}"\ntcp_port = {self.port}\nlisten = "127.0.0.1"\n[tls]\n'
        )
        self.program: Program = self._wine.start(
            self._log,
            *(self._python, "-I", "-m", "serial_host", "run"),
            *("--config", self._wine.windows_path(self._file)),
        )

    def must(self, *arguments: str) -> str:
        status, output = self.command(*arguments)
        assert status == 0, output
        return output

    @property
    def fingerprint(self) -> str:
        return str(json.loads(self.must("identity", "--json"))["fingerprint"])


@pytest.fixture
def device(wine: Wine, running: ExitStack) -> Device:
    return running.enter_context(PluggedDevice(wine))


@pytest.fixture
def running() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_pairing_bytes_and_a_refusal(
    wine: Wine, program_folder: Path, running: ExitStack, tmp_path: Path, device: Device
) -> None:
    host = SecuredWindowsHost(wine, program_folder, tmp_path / "host")
    running.callback(host.kill)
    host.wait_until_listening()
    entry = {"tcpPort": host.port, "tls": {"hostFingerprints": [host.fingerprint]}}

    pairing = host.start_command(tmp_path / "pair.log", "pair")
    running.callback(pairing.kill)
    wait_for(lambda: "waiting 10 minutes" in pairing.log, "pair to wait", START_SECONDS)
    relay = Relay(tmp_path / "relay", {NAME: entry})
    running.callback(relay.close)
    relay.start()
    relay.wait_for_status(NAME, state="connected")
    wait_for(lambda: "paired with 127.0.0.1" in pairing.log, "pair to say which module came")
    [paired] = re.findall(r"sha256:[0-9a-f]{64}", pairing.log)
    relay.wait(lambda: relay.reported.get("moduleFingerprint") == paired, "the module's fingerprint")

    application = open_as_application(running, relay)
    exchange(application, device, bytes(range(256)) * 16, bytes(range(255, -1, -1)) * 16)

    host.must("trust", "--remove", paired)
    relay.wait(
        lambda: "does not know this module" in relay.status(NAME).get("lastError", {}).get("message", ""),
        "the module to be refused",
    )
    wait_for(lambda: "its certificate is not trusted" in host.program.log, "the host's words")
    assert f"trust {paired}" in host.program.log

    host.must("trust", paired)
    relay.wait_for_status(NAME, state="connected")
    exchange(application, device, b"again", b"and back")
    relay.configure({NAME: {"tcpPort": free_port(), "tls": entry["tls"]}})
    relay.wait(lambda: relay.status(NAME).get("state") == "retrying", "the module to leave")
