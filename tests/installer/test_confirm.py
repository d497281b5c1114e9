"""-Confirm: one question for the whole, put in a PowerShell of its own, with the answer on its standard input."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.installer import powershell
from tests.installer.powershell import play

pytestmark = pytest.mark.installer


def ask(folder: Path, script: str, parameters: str, answers: str) -> str:
    """Run SCRIPT on the computer in FOLDER, with a person who types ANSWERS, one a line; return all that is shown."""
    starter = folder / "ask.ps1"
    starter.write_text(
        f"$Scripts = '{powershell.SCRIPTS}'\n$Folder = '{folder}'\n. '{powershell.HERE / 'driver.ps1'}'\n"
        "Import-Module $module -DisableNameChecking\nEnter-Computer -Root $root -Bundles $bundle, $older\nSet-Location /\n"
        f"& (Join-Path $bundle '{script}') {parameters}\n"
    )
    done = subprocess.run(
        [powershell.require(), "-NoProfile", "-File", starter],
        input=answers,
        capture_output=True,
        text=True,
        timeout=powershell.SECONDS,
        check=False,
        env={**os.environ, "NO_COLOR": "1", "POWERSHELL_TELEMETRY_OPTOUT": "1"},
    )
    return f"{done.stdout}\n{done.stderr}\nexit code {done.returncode}"


def served(folder: Path) -> str:
    result: str = play(folder, "$result.served = Get-Served\n")["served"]
    return result


@pytest.mark.parametrize(("answer", "expected"), [("Y", "1.2.0 on 5002"), ("N", "")])
def test_the_installation_asks_once(tmp_path: Path, answer: str, expected: str) -> None:
    parameters = "-Port COM3 -TcpPort 5002 -Confirm"
    shown = ask(tmp_path, "Install-SerialHost.ps1", parameters, f"{answer}\n")
    assert shown.count("Are you sure") == 1, shown
    assert "would ask" not in shown, shown
    assert shown.endswith("exit code 0"), shown
    assert served(tmp_path) == expected


@pytest.mark.parametrize(("answer", "expected"), [("Y", ""), ("N", "1.2.0 on 5002")])
def test_the_removal_asks_once(tmp_path: Path, answer: str, expected: str) -> None:
    play(tmp_path, "Install $bundle $onePort\n")
    shown = ask(tmp_path, "Uninstall-SerialHost.ps1", "-Confirm", f"{answer}\n")
    assert shown.count("Are you sure") == 1, shown
    assert shown.endswith("exit code 0"), shown
    assert served(tmp_path) == expected


def test_each_port_is_tuned_only_if_the_administrator_agrees(tmp_path: Path) -> None:
    play(tmp_path, "Set-Adapter\nInstall $bundle $onePort\n")
    shown = ask(tmp_path, "Install-SerialHost.ps1", "-TunePorts", "Y\nN\n")
    assert shown.count("Set the latency timer of COM3 to 1 ms?") == 1, shown
    assert shown.count("Keep Windows from switching the adapter of COM3 off?") == 1, shown
    assert shown.endswith("exit code 0"), shown
    computer = play(tmp_path, "$result.computer = Read-Computer\n")["computer"]
    timers = [key["LatencyTimer"] for key in computer["registry"].values() if key.get("PortName") == "COM3"]
    assert timers == [1]
    assert {value["enable"] for value in computer["power"].values()} == {True}
