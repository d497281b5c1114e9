"""The installer with the host's real server behind the stand-ins: asked, stopped and started as on Windows.

A byte that a TCP client sends comes back through the server and a serial port (a pty) before and after each step.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.installer import powershell, real_server

pytestmark = pytest.mark.installer

Record = Callable[[str, object], None]


class Plant:
    """A computer with two bundles, one serial port, and a configuration for it that -Config can be given."""

    def __init__(self, folder: Path, sockets: Path, device: str) -> None:
        self.folder = folder
        self.port = real_server.free_port()
        self._sockets = sockets
        self.config = folder / "given.toml"
        self.config.write_text(
            f'[[ports]]\ndevice = "{device}"\ntcp_port = {self.port}\nlisten = ["127.0.0.1"]\n'
        )
        for version in ("1.1.0", "1.2.0"):
            real_server.make_bundle(folder / f"bundle-{version}", version)

    def steps(self, script: str, parameters: str, fault: str = "") -> str:
        """A run of SCRIPT with the real server; `$given` is the configuration."""
        return (
            f"$env:XDG_RUNTIME_DIR = '{self._sockets}'\n$script:realServer = $true\n$given = '{self.config}'\n"
            f"$result = Invoke-Script ({script}) {parameters} {fault}\n$result.objects = @()\n"
        )

    def run(self, script: str, parameters: str = "@{}") -> tuple[dict[str, Any], float]:
        """Run SCRIPT; return what became of it and the seconds that it took."""
        powershell.session()  # its start is not part of the time
        start = time.monotonic()
        result = powershell.play(self.folder, self.steps(script, parameters))
        return result, time.monotonic() - start

    def program(self, version: str) -> str:
        return str(self.folder / "computer/Program Files/SerialHost" / version / "runtime/python.exe")

    def serves(self, version: str) -> bool:
        """Whether exactly one server runs, of this version, and a byte passes through it."""
        return list(real_server.running(self.folder).values()) == [
            self.program(version)
        ] and real_server.answers(self.port)


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    powershell.require()
    sockets = Path(tempfile.mkdtemp(prefix="serial-host-"))  # a socket's path has 107 bytes at most
    try:
        with real_server.echoing_port() as device:
            try:
                yield Plant(tmp_path, sockets, device)
            finally:
                real_server.end_all(tmp_path)
    finally:
        shutil.rmtree(sockets)


NEWER, OLDER = (f"Join-Path ${name} 'Install-SerialHost.ps1'" for name in ("bundle", "older"))
FIRST = "@{ Config = $given }"


def succeeded(result: dict[str, Any]) -> bool:
    return (result["code"], result["errors"]) == (0, [])


def test_from_the_first_installation_to_the_removal(plant: Plant, record_property: Record) -> None:
    first, seconds = plant.run(OLDER, FIRST)
    assert succeeded(first), first
    record_property("seconds", ("first installation", seconds))
    assert plant.serves("1.1.0")
    assert "serial_host 1.1.0 is installed and running." in first["output"]

    upgrade, seconds = plant.run(NEWER)
    assert succeeded(upgrade), upgrade
    record_property("seconds", ("upgrade", seconds))
    assert plant.serves("1.2.0")
    assert "serial_host 1.1.0 -> 1.2.0 is installed and running." in upgrade["output"]

    previous, seconds = plant.run(
        "Join-Path $programs '1.2.0/Install-SerialHost.ps1'", "@{ Previous = $true }"
    )
    assert succeeded(previous), previous
    record_property("seconds", ("-Previous", seconds))
    assert plant.serves("1.1.0")

    removed, seconds = plant.run("Join-Path $programs '1.1.0/Uninstall-SerialHost.ps1'", "@{ Purge = $true }")
    assert succeeded(removed), removed
    record_property("seconds", ("removal", seconds))
    assert real_server.running(plant.folder) == {}
    assert not (plant.folder / "computer/Program Files/SerialHost").exists()
    assert not (plant.folder / "computer/ProgramData/SerialHost").exists()


def test_a_version_whose_server_ends_at_its_start_is_undone(plant: Plant) -> None:
    first, _ = plant.run(OLDER, FIRST)
    assert succeeded(first), first
    with (plant.folder / "bundle-1.2.0/app/serial_host/serving/server.py").open("a") as module:
        module.write("Server.run = None\n")
    failed, _ = plant.run(NEWER)
    assert failed["code"] == 1
    assert "The server ended right after its start." in failed["errors"][0]
    assert "Everything is as before." in failed["errors"][0]
    assert any("the server ends because of an internal error" in warning for warning in failed["warnings"])
    assert plant.serves("1.1.0")
    assert not Path(plant.program("1.2.0")).exists()


@pytest.mark.parametrize(
    ("call", "version"),
    [
        ("Register-ScheduledTask SerialHost", "1.1.0"),
        ("Start-ScheduledTask SerialHost", "1.2.0"),
    ],
)
def test_one_of_both_serves_after_powershell_was_killed(plant: Plant, call: str, version: str) -> None:
    """Its process is really killed there; then a minute passes, in which the task starts what does not run."""
    first, _ = plant.run(OLDER, FIRST)
    assert succeeded(first), first
    script = plant.folder / "killed.ps1"
    head = f"$Scripts = '{powershell.SCRIPTS}'\n$Folder = '{plant.folder}'\n. '{powershell.HERE / 'driver.ps1'}'\n"
    script.write_text(head + plant.steps(NEWER, "@{}", f"-Kind die -Name '{call}'"))
    killed = powershell.run("-File", script)
    assert killed.returncode < 0, killed.stdout + killed.stderr
    minute = "Enter-Computer -Root $root -RealServer; Step-Minute"
    powershell.play(
        plant.folder,
        f"$env:XDG_RUNTIME_DIR = '{plant._sockets}'\nImport-Module $module -DisableNameChecking\n{minute}\nRemove-Module windows\n",
    )
    real_server.wait_for("one of both serves", lambda: plant.serves(version))
    again, _ = plant.run(NEWER)
    assert succeeded(again), again
    assert plant.serves("1.2.0")
