"""What delays the answers of USB adapters: shown, set with -TunePorts, and set back by the uninstaller."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.installer.powershell import play
from tests.installer.steps import AFTER, LISTENER, install

pytestmark = pytest.mark.installer

FTDI = r"HKLM\SYSTEM\CurrentControlSet\Enum\FTDIBUS\VID_0403+PID_6010+A12345A\0000\Device Parameters"
ADAPTER = r"USB\VID_0403&PID_6010&MI_00\7&1A2B&0&0000_0"


def tuned(result: dict[str, Any]) -> tuple[int, bool]:
    """Latency timer and permission to switch off of the served port."""
    computer = result["computer"]
    others = [
        entry["LatencyTimer"] for key, entry in computer["registry"].items() if "FTDI" in key and key != FTDI
    ]
    assert others == [16]
    assert [value["enable"] for name, value in computer["power"].items() if name != ADAPTER] == [True, True]
    return computer["registry"][FTDI]["LatencyTimer"], computer["power"][ADAPTER]["enable"]


def test_what_delays_answers_is_shown_and_left(tmp_path: Path) -> None:
    result = play(tmp_path, "Set-Adapter\n" + install("$onePort") + AFTER)
    assert tuned(result) == (16, True)
    assert "The latency timer of COM3 is 16 ms" in result["output"]
    assert "Windows may switch the adapter of COM3 off" in result["output"]
    assert "run the script again with -TunePorts" in result["output"]


def test_ports_are_tuned_and_set_back_by_the_uninstaller(tmp_path: Path) -> None:
    tune = install("@{ Port = 'COM3'; TcpPort = 5002; TunePorts = $true; Quiet = $true }")
    result = play(tmp_path, "Set-Adapter\n" + tune + AFTER)
    assert (result["code"], tuned(result)) == (0, (1, False))

    driver = LISTENER + f"Set-Computer {{ $computer.registry['{FTDI}'].LatencyTimer = 16 }}\n"
    test = play(tmp_path, driver + install("@{ Test = $true }") + AFTER)
    assert test["code"] == 5
    assert "The latency timer of COM3 is 16 ms" in test["output"]

    remove = "$result = Invoke-Script (Join-Path $bundle 'Uninstall-SerialHost.ps1') @{}\n"
    again = install("@{ TunePorts = $true; Confirm = $false }")
    removed = play(tmp_path, again + remove + AFTER)
    assert (removed["code"], tuned(removed)) == (0, (16, True))
    assert not (tmp_path / "computer/ProgramData/SerialHost/tuned-ports.txt").exists()


def test_what_cannot_be_set_back_is_said(tmp_path: Path) -> None:
    """The adapter is not plugged in, and somebody has set another latency timer since."""
    tune = install("@{ Port = 'COM3'; TcpPort = 5002; TunePorts = $true; Quiet = $true }")
    away = (
        LISTENER
        + f"Set-Computer {{ $computer.power.Remove('{ADAPTER}'); $computer.registry['{FTDI}'].LatencyTimer = 4 }}\n"
    )
    remove = "$result = Invoke-Script (Join-Path $bundle 'Uninstall-SerialHost.ps1') @{}\n"
    result = play(tmp_path, "Set-Adapter\n" + tune + away + remove + AFTER)
    assert result["code"] == 0
    assert result["computer"]["registry"][FTDI]["LatencyTimer"] == 4
    [warning] = result["warnings"]
    assert warning.startswith(rf"The adapter of COM3 ({ADAPTER}) is not here")


def test_a_question_that_cannot_be_put_leaves_the_ports_as_they_are(tmp_path: Path) -> None:
    """There is nobody to ask, and neither -Quiet nor -Confirm:$false says that nobody is to be asked."""
    tune = install("@{ Port = 'COM3'; TcpPort = 5002; TunePorts = $true }")
    result = play(tmp_path, "Set-Adapter\n" + tune + AFTER)
    assert (result["code"], tuned(result)) == (4, (16, True))
    assert any("Not done: tune the ports" in warning for warning in result["warnings"])
