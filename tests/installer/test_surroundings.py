"""The installer on computers that are not as one expects: odd folders, a full disk, others at work, tasks of others."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.installer import powershell
from tests.installer.powershell import play
from tests.installer.steps import AFTER, FIRST, LISTENER, install

pytestmark = [pytest.mark.installer, pytest.mark.timeout(120)]

SAME = "$result.same = $before -eq (Get-Snapshot)\n"


@pytest.mark.parametrize(
    "name", ["bundle [1]", "o'brien & co", "$x `y %TEMP%", "Ger\u00e4te \u20ac", "a;b,c #d"]
)
def test_the_zip_may_be_unpacked_to_a_folder_of_any_name(tmp_path: Path, name: str) -> None:
    folder = "(Join-Path $Folder '" + name.replace("'", "''") + "')"
    move = f"$odd = {folder}; [System.IO.Directory]::Move($bundle, $odd); $bundle = $odd\n"
    result = play(tmp_path, move + install("$onePort") + AFTER)
    assert (result["code"], result["errors"]) == (0, []), result
    assert result["served"] == "1.2.0 on 5002"


@pytest.mark.parametrize("name", ["ports [1].toml", "o'brien.toml", "$ports.toml"])
def test_the_configuration_may_have_any_name_and_a_relative_path(tmp_path: Path, name: str) -> None:
    quoted = name.replace("'", "''")
    lines = "'[[ports]]', 'device = \"COM4\"', 'tcp_port = 5004'"
    make = f"Set-Content -LiteralPath (Join-Path $Folder '{quoted}') -Value {lines}\n"
    there = "Set-Location -LiteralPath ''" + str(tmp_path) + "''"
    result = play(tmp_path, make + install(f"@{{ Config = './{quoted}' }} -Preferences '{there}'") + AFTER)
    assert (result["code"], result["errors"]) == (0, []), result
    assert result["served"] == "1.2.0 on 5004"


@pytest.mark.parametrize(
    "call", ["Copy-Item 1.2.0", "Set-Content installed-files.txt", "Set-Content serial-host.toml.new"]
)
def test_a_full_disk_leaves_everything_as_before(tmp_path: Path, call: str) -> None:
    lines = "Set-Content $root/two.toml '[[ports]]', 'device = \"COM4\"', 'tcp_port = 5004'\n"
    parameters = "@{ Port = 'COM4'; TcpPort = 5004; ReplaceConfig = $true }"
    run = "$before = Get-Snapshot\n" + install(f"{parameters} -Kind full -Name '{call}'")
    result = play(tmp_path, "Install $older $onePort\n" + lines + run + SAME + AFTER)
    assert (result["code"], result["same"], result["served"]) == (1, True, "1.1.0 on 5002"), result
    assert "not enough space" in result["errors"][0]


def test_a_full_disk_leaves_the_list_of_reservations_whole(tmp_path: Path) -> None:
    """Half of `5002` is `50`: another port."""
    add = "@{ Port = 'COM4'; TcpPort = 5004; ReplaceConfig = $true }"
    run = install(f"{add} -Kind full -Name 'Set-Content reserved-tcp-ports.txt.new'")
    reserve = LISTENER + "Set-Computer { $computer.ranges += , @(50, 50) }\n"
    result = play(tmp_path, FIRST + reserve + "$before = Get-Snapshot\n" + run + AFTER)
    assert result["code"] == 1, result
    listed = tmp_path / "computer/ProgramData/SerialHost/reserved-tcp-ports.txt"
    assert listed.read_text("utf-8-sig").split() == ["5002"]
    assert [50, 50] in result["computer"]["ranges"]
    again = play(tmp_path, install(add) + AFTER)
    assert (again["code"], again["served"]) == (0, "1.2.0 on 5004")


HOLD = """
$lock = [System.IO.FileStream]::new((Join-Path $root 'Windows/Logs/SerialHost-setup.lock'), 'OpenOrCreate', 'ReadWrite', 'None')
"""


@pytest.mark.parametrize(("script", "code"), [("Install", 2), ("Uninstall", 1)])
def test_only_one_installation_runs_at_a_time(tmp_path: Path, script: str, code: int) -> None:
    run = f"$result = Invoke-Script (Join-Path $bundle '{script}-SerialHost.ps1') @{{}}\n"
    held = FIRST + HOLD + "$before = Get-Snapshot\ntry {\n" + run + "} finally { $lock.Dispose() }\n" + SAME
    result = play(tmp_path, held + AFTER)
    assert (result["code"], result["same"], result["served"]) == (code, True, "1.2.0 on 5002"), result
    assert "Another installation or uninstallation of serial_host is running" in result["errors"][0]
    free = play(tmp_path, run + AFTER)
    assert (free["code"], free["errors"]) == (0, [])


def test_of_two_at_once_one_installs_and_the_other_says_why_not(tmp_path: Path) -> None:
    """Two processes; the first stops in the middle for as long as the second needs."""
    play(tmp_path, FIRST)
    go_on = tmp_path / "go-on"
    script = tmp_path / "first.ps1"
    script.write_text(
        f"$Scripts = '{powershell.SCRIPTS}'\n$Folder = '{tmp_path}'\n. '{powershell.HERE / 'driver.ps1'}'\n"
        f"$wait = \"[System.IO.File]::WriteAllText('{tmp_path}/started', ''); while (-not [System.IO.File]::Exists('{go_on}')) {{ [System.Threading.Thread]::Sleep(20) }}\"\n"
        "$lock = Join-Path $root 'Windows/Logs/SerialHost-setup.lock'\n"
        "$held = [System.IO.FileStream]::new($lock, 'OpenOrCreate', 'ReadWrite', 'None', 1, 'DeleteOnClose')\n"
        "Invoke-Expression $wait\n"
    )
    first = threading.Thread(target=powershell.run, args=("-File", script))
    first.start()
    try:
        powershell_started = tmp_path / "started"
        wait = f"while (-not [System.IO.File]::Exists('{powershell_started}')) {{ [System.Threading.Thread]::Sleep(20) }}\n"
        result = play(tmp_path, wait + install("@{}") + AFTER)
    finally:
        go_on.touch()
        first.join()
    assert result["code"] == 2
    assert "is running on this computer" in result["errors"][0]
    after = play(tmp_path, install("@{}") + AFTER)
    assert (after["code"], after["errors"]) == (0, [])


@pytest.mark.parametrize("command", ["python.exe", "", "C:\\hub4com\\com2tcp.bat", "/x/y.exe"])
def test_a_task_of_that_name_that_runs_something_else_is_replaced(tmp_path: Path, command: str) -> None:
    xml = f"<Task><Settings></Settings><Actions><Exec><Command>{command}</Command></Exec></Actions></Task>"
    task = f"$computer.tasks['\\SerialHost'] = @{{ xml = '{xml}'; enabled = $true; instance = $null }}"
    make = LISTENER + f"Set-Computer {{ {task} }}\n"
    test = play(tmp_path, make + install("@{ Test = $true }") + AFTER)
    assert test["code"] == 2
    assert "There is no configuration yet" in test["errors"][0]
    result = play(tmp_path, install("$onePort") + AFTER)
    assert (result["code"], result["served"]) == (0, "1.2.0 on 5002"), result


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    block = "Set-Content -LiteralPath (Join-Path $root 'Windows/Logs') -Value 'a file'\n"
    result = play(tmp_path, block + install("$onePort") + AFTER)
    assert (result["code"], result["errors"], result["served"]) == (0, [], "1.2.0 on 5002")


def test_a_task_that_was_disabled_stays_so_when_the_upgrade_fails(tmp_path: Path) -> None:
    """Whoever keeps the server down does not find it running after a failure; a success starts it."""
    disable = "Set-Computer { $computer.tasks['\\SerialHost'].enabled = $false; $computer.processes = @{}; $computer.listeners = @{} }\n"
    run = "$before = Get-Snapshot\n" + install("@{} -Kind fail -Name 'Start-ScheduledTask*'") + SAME
    result = play(tmp_path, "Install $older $onePort\n" + LISTENER + disable + run + AFTER)
    assert (result["code"], result["same"]) == (1, True), result
    assert result["computer"]["processes"] == {}
    again = play(tmp_path, install("@{}") + AFTER)
    assert (again["code"], again["served"]) == (0, "1.2.0 on 5002")


def test_the_removal_can_be_run_where_nothing_is(tmp_path: Path) -> None:
    run = "$before = Get-Snapshot\n$result = Invoke-Script (Join-Path $bundle 'Uninstall-SerialHost.ps1') @{ Purge = $true }\n"
    result = play(tmp_path, run + SAME + AFTER)
    assert (result["code"], result["errors"], result["same"]) == (0, [], True)


def test_the_configuration_is_a_folder(tmp_path: Path) -> None:
    make = "$null = New-Item -ItemType Directory (Join-Path $root 'given.toml')\n"
    result = play(tmp_path, make + install('@{ Config = "$root/given.toml" }') + AFTER)
    assert result["code"] == 2
    assert "is not a file" in result["errors"][0]
