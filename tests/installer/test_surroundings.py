"""The installer on computers that are not as one expects: odd folders, a full disk, others at work, tasks of others."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.installer import powershell
from tests.installer.powershell import play
from tests.installer.steps import AFTER, FIRST, LISTENER, SAME, install, remove

pytestmark = [pytest.mark.installer, pytest.mark.timeout(120)]


@pytest.mark.parametrize(
    "name",
    [
        "bundle [1]",
        "o'brien & co",
        "$x `y %TEMP%",
        "Ger\u00e4te \u20ac",
        "a;b,c #d",
        " bundle ",
        "x __pycache__",
    ],
)
def test_the_zip_may_be_unpacked_to_a_folder_of_any_name(tmp_path: Path, name: str) -> None:
    folder = "(Join-Path $Folder '" + name.replace("'", "''") + "')"
    move = f"$odd = {folder}; [System.IO.Directory]::Move($bundle, $odd); $bundle = $odd\n"
    result = play(tmp_path, move + install("$onePort") + AFTER)
    assert (result["code"], result["errors"]) == (0, []), result
    assert result["served"] == "1.2.0 on 5002"


def test_the_present_location_may_be_no_folder(tmp_path: Path) -> None:
    """In Windows' registry a path without a drive, as that of a share, would mean something else."""
    there = "-Preferences 'Set-Location Env:'"
    result = play(tmp_path, install(f"$onePort {there}") + AFTER)
    assert (result["code"], result["errors"], result["served"]) == (0, [], "1.2.0 on 5002"), result
    assert "is installed and running" in play(tmp_path, install(f"@{{}} {there}"))["output"]
    assert play(tmp_path, install(f"@{{ Test = $true }} {there}"))["code"] == 0
    wrong = play(tmp_path, install(f"@{{ ReplaceConfig = $true }} {there}"))
    assert wrong["code"] == 2
    removed = play(tmp_path, remove(f"@{{}} {there}") + AFTER)
    assert (removed["code"], removed["errors"], removed["served"]) == (0, [], ""), removed


def test_read_only_files_are_installed_as_writable_ones(tmp_path: Path) -> None:
    """As from a CD, and with the list of files of another installation among them."""
    lines = "'[[ports]]', 'device = \"COM4\"', 'tcp_port = 5004'"
    steps = f"Set-Content -LiteralPath $root/given.toml -Value {lines}\n"
    steps += "Set-Content -LiteralPath $bundle/installed-files.txt -Value 'x'\n"
    steps += "foreach ($file in @(Get-ChildItem -LiteralPath $bundle -Recurse -File) + (Get-Item $root/given.toml)) { $file.IsReadOnly = $true }\n"
    result = play(tmp_path, steps + install('@{ Config = "$root/given.toml" }') + AFTER)
    assert (result["code"], result["errors"], result["served"]) == (0, [], "1.2.0 on 5004"), result
    places = (tmp_path / "computer/Program Files", tmp_path / "computer/ProgramData")
    files = [path for place in places for path in place.rglob("*") if path.is_file()]
    assert [path for path in files if not path.stat().st_mode & 0o200] == []
    assert play(tmp_path, install("@{ Test = $true }"))["code"] == 0


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


@pytest.mark.parametrize(
    "command", ["python.exe", "", "C:\\hub4com\\com2tcp.bat", "/x/y.exe", "{programs}/x.exe"]
)
def test_a_task_of_that_name_that_runs_something_else_is_replaced(tmp_path: Path, command: str) -> None:
    command = command.format(programs=tmp_path / "computer/Program Files/SerialHost")
    xml = f"<Task><Settings></Settings><Actions><Exec><Command>{command}</Command></Exec></Actions></Task>"
    task = f"$computer.tasks['\\SerialHost'] = @{{ xml = '{xml}'; enabled = $true; instance = $null }}"
    make = LISTENER + f"Set-Computer {{ {task} }}\n"
    test = play(tmp_path, make + install("@{ Test = $true }") + AFTER)
    assert test["code"] == 5
    assert f"the task 'SerialHost' runs '{command}'" in test["output"]
    result = play(tmp_path, install("$onePort") + AFTER)
    assert (result["code"], result["served"]) == (0, "1.2.0 on 5002"), result
    assert any(f"ran '{command}', which is not serial_host; it is replaced" in w for w in result["warnings"])


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


DOWN = "Set-Computer { $computer.processes = @{}; $computer.listeners = @{}; $computer.meanwhile = @{ call = '%s' } }\n"


def test_a_server_that_the_task_starts_in_the_meantime_is_ended_by_the_upgrade(tmp_path: Path) -> None:
    down = LISTENER + DOWN % "Register-ScheduledTask *"
    result = play(tmp_path, "Install $older $onePort\n" + down + install("@{}") + AFTER)
    assert (result["code"], result["served"]) == (0, "1.2.0 on 5002"), result
    assert [process["version"] for process in result["computer"]["processes"].values()] == ["1.2.0"]


def test_a_server_that_the_task_starts_in_the_meantime_is_ended_by_the_removal(tmp_path: Path) -> None:
    down = LISTENER + DOWN % "Unregister-ScheduledTask *"
    result = play(tmp_path, FIRST + down + remove("@{ Purge = $true }") + AFTER)
    assert (result["code"], result["errors"]) == (0, []), result
    assert result["computer"]["processes"] == {}


def test_a_server_is_ours_however_its_configuration_is_spelt(tmp_path: Path) -> None:
    spell = (
        "$one = @($computer.processes.Values)[0]; $one.line = $one.line.Replace('ProgramData', 'PROGRAMDATA')"
    )
    change = LISTENER + f"Set-Computer {{ {spell} }}\n"
    result = play(tmp_path, "Install $older $onePort\n" + change + install("@{}") + AFTER)
    assert (result["code"], result["served"]) == (0, "1.2.0 on 5002"), result


def test_a_log_of_the_server_that_cannot_be_read_stops_nothing(tmp_path: Path) -> None:
    """A folder in its place is as unreadable as a file that another program holds."""
    block = "$null = New-Item -ItemType Directory -Force -Path (Join-Path $data 'log/serial-host.log')\n"
    result = play(tmp_path, "Install $older $onePort\n" + block + install("@{}") + AFTER)
    assert (result["code"], result["errors"], result["served"]) == (0, [], "1.2.0 on 5002"), result
    failing = install("@{ Force = $true } -Kind fail -Name 'Start-ScheduledTask*'")
    failed = play(tmp_path, failing.replace("$bundle", "$older") + AFTER)
    assert (failed["code"], failed["served"]) == (1, "1.2.0 on 5002"), failed
    assert "Everything is as before." in failed["errors"][0]


@pytest.mark.parametrize(("script", "code"), [("Install", 2), ("Uninstall", 1)])
def test_a_32_bit_powershell_is_refused(tmp_path: Path, script: str, code: int) -> None:
    """Its Program Files and its registry are others: it would report success and leave everything there."""
    common = "(Join-Path $bundle 'setup/common.ps1')"
    narrow = f"$text = [System.IO.File]::ReadAllText({common})\n"
    narrow += f"[System.IO.File]::WriteAllText({common}, $text.Replace('[System.Environment]::Is64BitProcess', '$false'))\n"
    run = f"$result = Invoke-Script (Join-Path $bundle '{script}-SerialHost.ps1') @{{}}\n"
    result = play(tmp_path, FIRST + narrow + "$before = Get-Snapshot\n" + run + SAME + AFTER)
    assert (result["code"], result["same"], result["served"]) == (code, True, "1.2.0 on 5002"), result
    assert "This is a 32-bit PowerShell" in result["errors"][0]
    assert "Sysnative" in result["errors"][0]


def test_a_rule_that_an_administrator_disabled_stays_so_and_is_named(tmp_path: Path) -> None:
    disable = (
        LISTENER + "Set-Computer { foreach ($rule in $computer.rules.Values) { $rule.enabled = 'False' } }\n"
    )
    named = "The firewall rule 'SerialHost-TCP-In-1.2.0' is disabled"
    result = play(tmp_path, "Install $older $onePort\n" + disable + install("@{}") + AFTER)
    assert result["code"] == 0
    assert any(named in warning for warning in result["warnings"])
    assert [rule["enabled"] for rule in result["computer"]["rules"].values()] == ["False"]
    test = play(tmp_path, install("@{ Test = $true }") + AFTER)
    assert (test["code"], named in test["output"]) == (5, True)


def test_a_failure_is_written_to_the_event_log_in_one_line_without_quotation_marks(tmp_path: Path) -> None:
    spoil = "Set-Content -LiteralPath (Join-Path $bundle 'runtime/python.exe') -Value '1.2.0 ends at once'\n"
    whole = "foreach ($n in 'app/serial_host.txt', 'packages/serial.txt') { Set-Content -LiteralPath (Join-Path $bundle $n) -Value '1.2.0 ends at once' }\n"
    quoted = "Set-Content -LiteralPath (Join-Path $root 'x') -Value 'x'\n"
    words = install("@{} -Kind fail -Name 'Start-ScheduledTask*'").replace("fail", "quote")
    result = play(tmp_path, "Install $older $onePort\n" + spoil + whole + quoted + words + AFTER)
    assert result["code"] == 1
    assert 'Injected "fault"' in result["errors"][0]
    assert "Injected 'fault' in two lines" in result["computer"]["events"][-1]


def test_a_first_installation_that_fails_leaves_no_source_in_the_event_log(tmp_path: Path) -> None:
    result = play(tmp_path, install("$onePort -Kind fail -Name 'Start-ScheduledTask*'") + AFTER)
    assert result["code"] == 1
    assert result["computer"]["registry"] == {}
