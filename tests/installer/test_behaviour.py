"""What the installer promises besides the way back, each promise executed with a light server."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.installer import powershell
from tests.installer.powershell import play
from tests.installer.steps import AFTER, FIRST, LISTENER, SAME, install, other_listens

pytestmark = pytest.mark.installer


def test_success_is_said_with_what_to_paste_into_the_twin(tmp_path: Path) -> None:
    result = play(tmp_path, install("$onePort") + AFTER)
    assert result["code"] == 0
    assert "serial_host 1.2.0 is installed and running." in result["output"]
    document = result["output"][result["output"].index("\n{") : result["output"].rindex("}") + 1]
    assert json.loads(document) == {
        "host": "172.18.246.137",
        "serialPorts": {"ttyVirtS0": {"tcpPort": 5002}},
    }


@pytest.mark.parametrize("tls", ["[tls]", "tls = { }", '[ "tls" ]'])
def test_with_tls_the_server_may_keep_its_key_and_its_fingerprint_is_in_what_to_paste(
    tmp_path: Path, tls: str
) -> None:
    config = f"Set-Content $root/tls.toml -Value (@('[[ports]]', 'device = \"COM3\"', 'tcp_port = 5002', '{tls}'))\n"
    result = play(tmp_path, config + install('@{ Config = "$root/tls.toml" }') + AFTER)
    assert result["code"] == 0, result
    document = result["output"][result["output"].index("\n{") : result["output"].rindex("}") + 1]
    assert json.loads(document)["tls"] == {"hostFingerprints": ["sha256:" + "0" * 64]}
    assert (tmp_path / "computer" / "ProgramData" / "SerialHost" / "tls").is_dir()


def test_what_is_registered(tmp_path: Path) -> None:
    computer = play(tmp_path, install("$onePort") + AFTER)["computer"]
    programs = tmp_path / "computer" / "Program Files" / "SerialHost"
    uninstall = r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall\SerialHost"
    entry = computer["registry"][uninstall]
    assert entry["DisplayVersion"] == "1.2.0"
    assert entry["QuietUninstallString"].endswith(
        f'-File "{programs}/1.2.0/Uninstall-SerialHost.ps1" -Quiet -Confirm:$false'
    )
    assert "-Verb RunAs" in entry["UninstallString"]
    assert any("EventLog" in key for key in computer["registry"])
    [rule] = computer["rules"].values()
    assert (rule["program"], rule["localPort"], rule["remoteAddress"]) == (
        f"{programs}/1.2.0/runtime/python.exe",
        ["5002"],
        ["LocalSubnet"],
    )
    assert [5002, 5002] in computer["ranges"]
    task = ET.fromstring(computer["tasks"]["\\SerialHost"]["xml"])  # noqa: S314 -- our own text
    assert task.findtext(".//{*}Command") == f"{programs}/1.2.0/runtime/python.exe"
    assert task.findtext(".//{*}UserId") == "S-1-5-19"
    assert [event.split()[0:2] for event in computer["events"]] == [["/L", "APPLICATION"]]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ("@{}", "There is no configuration yet"),
        ("@{ Port = 'COM3' }", "-Port and -TcpPort go together, as in: -Port COM3 -TcpPort 5002. Nothing"),
        ("@{ Port = 'ttyS0'; TcpPort = 5002 }", "not the name of a COM port"),
        ("@{ Port = 'COM3'; TcpPort = 70000 }", "not between 1 and 65535"),
        ("@{ Config = '/nowhere.toml' }", "is not a file"),
        ("@{ Config = '/x'; Port = 'COM3'; TcpPort = 1 }", "Say either"),
        ("@{ ReplaceConfig = $true }", "-ReplaceConfig needs"),
        ("@{ Previous = $true }", "no earlier version"),
        ("@{ Test = $true; TunePorts = $true }", "-Test only compares"),
    ],
)
def test_a_wrong_parameter_has_its_exit_code_and_changes_nothing(
    tmp_path: Path, parameters: str, message: str
) -> None:
    steps = "$before = Get-Snapshot\n" + install(parameters) + "$result.same = $before -eq (Get-Snapshot)\n"
    result = play(tmp_path, steps + AFTER)
    assert (result["code"], result["same"]) == (2, True)
    [error] = result["errors"]
    assert message in error
    assert error.endswith("Nothing was changed.")


def test_a_faulty_configuration_is_found_while_the_old_server_goes_on(tmp_path: Path) -> None:
    edit = "Set-Content -LiteralPath (Join-Path $data 'serial-host.toml') -Value 'nonsense'\n"
    result = play(tmp_path, "Install $older $onePort\n" + edit + install("@{}") + AFTER)
    assert result["code"] == 2
    assert "unknown key" in result["errors"][0]
    assert [p["version"] for p in result["computer"]["processes"].values()] == ["1.1.0"]


def test_the_owner_of_a_taken_port_is_named(tmp_path: Path) -> None:
    result = play(tmp_path, other_listens(5002) + install("$onePort") + AFTER)
    assert result["code"] == 1
    assert "TCP port 5002 cannot be reserved: hub4com.exe (process 77) listens on it" in result["errors"][0]


def test_a_port_that_is_taken_although_it_is_reserved_is_no_success(tmp_path: Path) -> None:
    """The reservation was there; only the server itself can say that it does not listen."""
    reserve = LISTENER + "Set-Computer { $computer.ranges += , @(5000, 5009) }\n" + other_listens(5002)
    result = play(
        tmp_path,
        reserve
        + "$before = Get-Snapshot\n"
        + install("$onePort")
        + "$result.same = $before -eq (Get-Snapshot)\n"
        + AFTER,
    )
    assert (result["code"], result["same"]) == (1, True)
    assert "taken by hub4com.exe (process 77)" in result["errors"][0]
    assert "\\SerialHost" not in result["computer"]["tasks"]


def test_a_port_that_is_taken_after_its_reservation_is_given_back(tmp_path: Path) -> None:
    steal = "Set-Computer { $computer.thief = 5002; $computer.processes['77'] = @{ path = '/other'; line = 'x'; name = 'other.exe' } }\n"
    result = play(tmp_path, LISTENER + steal + install("$onePort") + AFTER)
    assert result["code"] == 1
    assert "taken by other.exe (process 77)" in result["errors"][0]
    assert result["computer"]["ranges"] == [[50000, 50059]]


def test_a_server_that_ends_at_once_is_noticed_and_undone(tmp_path: Path) -> None:
    spoil = "Add-Content -LiteralPath (Join-Path $bundle 'runtime/python.exe') -Value ' ends at once'\n"
    whole = "foreach ($n in 'app/serial_host.txt', 'packages/serial.txt') { Add-Content -LiteralPath (Join-Path $bundle $n) -Value ' ends at once' }\n"
    result = play(tmp_path, "Install $older $onePort\n" + spoil + whole + install("@{}") + AFTER)
    assert result["code"] == 1
    assert "ended right after its start" in result["errors"][0]
    assert result["served"] == "1.1.0 on 5002"


def test_a_com_port_that_is_not_there_is_not_called_running(tmp_path: Path) -> None:
    result = play(tmp_path, install("@{ Port = 'COM9'; TcpPort = 5002 }") + AFTER)
    assert result["code"] == 0
    assert "is installed and running" not in result["output"]
    assert "not everything is served yet" in result["output"]
    assert len([call for call in result["calls"] if "status --json" in call]) == 1
    assert any(
        "COM9 is not open yet: COM9 is not there. The server goes on trying." in w for w in result["warnings"]
    )


def test_test_says_which_com_port_is_not_there(tmp_path: Path) -> None:
    absent = "Install $bundle @{ Port = 'COM9'; TcpPort = 5002 }\n"
    result = play(tmp_path, absent + install("@{ Test = $true }") + AFTER)
    assert result["code"] == 5
    assert result["output"] == "COM9 is not open yet: COM9 is not there. The server goes on trying."


def test_a_port_that_is_not_open_and_one_that_cannot_be_served_are_told_apart(tmp_path: Path) -> None:
    ports = (
        "@{ name = 'COM3'; state = 'absent'; last_error = 'COM3 is in use'; not_listening = @() }",
        "@{ name = 'COM4'; state = 'invalid'; last_error = 'COM4: TLS is not possible'; not_listening = @() }",
        "@{ name = 'COM5'; state = 'open'; last_error = $null; not_listening = @() }",
    )
    ask = f"$result.troubles = @(Get-PortTrouble -Answer @{{ ports = @({', '.join(ports)}) }})\n"
    result = play(tmp_path, ". (Join-Path $Scripts 'setup/server.ps1')\n" + ask)
    assert result["troubles"] == [
        "COM3 is not open yet: COM3 is in use. The server goes on trying.",
        "COM4 is not served: COM4: TLS is not possible",
    ]


def test_a_configuration_that_a_user_left_there_does_not_win(tmp_path: Path) -> None:
    refused = play(tmp_path, "Set-Foreign\n" + install("@{}") + AFTER)
    assert refused["code"] == 2
    assert "other people than administrators own it" in refused["errors"][0]

    result = play(tmp_path, install("$onePort") + AFTER)
    assert result["served"] == "1.2.0 on 5002"
    [rule] = result["computer"]["rules"].values()
    assert rule["localPort"] == ["5002"]
    aside = tmp_path / "computer" / "ProgramData" / "SerialHost.aside-1" / "serial-host.toml"
    assert "6666" in aside.read_text()


@pytest.mark.parametrize("parameters", ["@{ WhatIf = $true; Port = 'COM3'; TcpPort = 5002 }"])
def test_what_if_shows_the_plan_and_changes_nothing(tmp_path: Path, parameters: str) -> None:
    result = play(
        tmp_path,
        "$before = Get-Snapshot\n"
        + install(parameters)
        + "$result.same = $before -eq (Get-Snapshot)\n"
        + AFTER,
    )
    assert (result["code"], result["same"], result["warnings"]) == (0, True, [])
    assert not (tmp_path / "computer" / "Windows" / "Logs").exists()


def test_a_downgrade_needs_force(tmp_path: Path) -> None:
    older = "$result = Invoke-Script (Join-Path $older 'Install-SerialHost.ps1') "
    refused = play(tmp_path, FIRST + older + "@{}\n" + AFTER)
    assert (refused["code"], refused["served"]) == (2, "1.2.0 on 5002")
    assert "Version 1.2.0 is installed, which is newer than 1.1.0" in refused["errors"][0]
    forced = play(tmp_path, older + "@{ Force = $true }\n" + AFTER)
    assert (forced["code"], forced["served"]) == (0, "1.1.0 on 5002")
    assert "serial_host 1.2.0 -> 1.1.0 is installed and running." in forced["output"]


def test_only_the_present_and_the_previous_version_are_kept(tmp_path: Path) -> None:
    play(tmp_path, "Install-100\n" + FIRST)
    programs = tmp_path / "computer" / "Program Files" / "SerialHost"
    assert (programs / "1.2.0").is_dir()
    assert (programs / "runtime").is_dir()
    play(tmp_path, "Install $older @{ Force = $true }\n")
    assert sorted(path.name for path in programs.iterdir() if path.is_dir()) == ["1.1.0", "1.2.0"]


def test_previous_goes_back_to_1_0_0_which_stays_as_it_was(tmp_path: Path) -> None:
    programs = tmp_path / "computer" / "Program Files" / "SerialHost"
    play(tmp_path, "Install-100\n")
    before = {path: path.read_bytes() for path in programs.rglob("*") if path.is_file()}
    installed = "(Join-Path $programs '1.2.0/Install-SerialHost.ps1')"
    back = FIRST + f"$result = Invoke-Script {installed} @{{ Previous = $true }}\n"
    result = play(tmp_path, back + AFTER)
    assert (result["code"], result["errors"], result["served"]) == (0, [], "1.0.0 on 5002"), result
    assert {path: path.read_bytes() for path in before} == before
    assert (programs / "1.2.0").is_dir()
    again = play(tmp_path, install("@{}") + AFTER)
    assert (again["code"], again["served"]) == (0, "1.2.0 on 5002")


@pytest.mark.parametrize("place", ["$programs", "(Join-Path $programs 'unpacked')"])
def test_a_zip_that_was_unpacked_among_the_installed_programs_is_refused(tmp_path: Path, place: str) -> None:
    unpack = f"Copy-Item -LiteralPath $bundle -Destination {place} -Recurse\n$before = Get-Snapshot\n"
    run = f"$result = Invoke-Script (Join-Path {place} 'Install-SerialHost.ps1') $onePort\n"
    result = play(tmp_path, unpack + run + SAME + AFTER)
    assert (result["code"], result["same"]) == (2, True), result
    assert (
        "unpack the zip somewhere else and run the script there. Nothing was changed." in result["errors"][0]
    )


def test_a_damaged_installation_is_removed(tmp_path: Path) -> None:
    spoil = "Set-Content -LiteralPath (Join-Path $programs '1.2.0/runtime/python.exe') -Value 'damaged'\n"
    remove = (
        "$result = Invoke-Script (Join-Path $programs '1.2.0/Uninstall-SerialHost.ps1') @{ Purge = $true }\n"
    )
    result = play(tmp_path, FIRST + spoil + remove + AFTER)
    assert (result["code"], result["errors"]) == (0, [])
    computer = result["computer"]
    assert list(computer["tasks"]) == ["\\Other\\SerialHost"]
    assert (computer["processes"], computer["rules"], computer["registry"]) == ({}, {}, {})
    assert computer["ranges"] == [[50000, 50059]]
    assert list((tmp_path / "computer" / "Program Files").iterdir()) == []


def test_a_server_that_is_not_ours_goes_on(tmp_path: Path) -> None:
    trial = (
        LISTENER
        + "Set-Computer { $computer.processes['55'] = @{ path = \"$bundle/runtime/python.exe\"; line = 'python.exe -I -m serial_host run COM4 5009'; name = 'python.exe'; version = '1.2.0'; ports = @() } }\n"
    )
    result = play(tmp_path, FIRST + trial + install("@{}") + AFTER)
    assert result["code"] == 0
    assert "55" in result["computer"]["processes"]
    assert not [call for call in result["calls"] if "stop --pid 55" in call]


def test_an_administrators_narrower_rule_is_kept(tmp_path: Path) -> None:
    result = play(tmp_path, "Install-100\n" + install("@{}") + AFTER)
    [rule] = result["computer"]["rules"].values()
    assert rule["remoteAddress"] == ["172.18.0.0/16"]
    assert rule["program"].endswith("1.2.0/runtime/python.exe")


def test_a_group_policy_that_ignores_the_rule_is_said(tmp_path: Path) -> None:
    result = play(
        tmp_path, LISTENER + "Set-Computer { $computer.policyIgnoresRules = $true }\n" + install("$onePort")
    )
    assert result["code"] == 0
    assert any("group policy" in warning for warning in result["warnings"])


def test_reservations_follow_the_configuration_and_nobody_elses_is_touched(tmp_path: Path) -> None:
    """5002 left the configuration and is another program's by now; 5010 is on a stale list and reserved by nobody."""
    steps = (
        FIRST
        + "Set-Content -LiteralPath (Join-Path $data 'serial-host.toml') -Value '[[ports]]', 'device = \"COM3\"', 'tcp_port = 5003'\n"
        + "Add-Content -LiteralPath (Join-Path $data 'reserved-tcp-ports.txt') -Value 5010\n"
    )
    result = play(tmp_path, steps + install("@{}") + AFTER)
    assert result["computer"]["ranges"] == [[50000, 50059], [5003, 5003]]
    listed = (tmp_path / "computer/ProgramData/SerialHost/reserved-tcp-ports.txt").read_text().split()
    assert listed == ["5003"]

    taken = other_listens(5003) + LISTENER + "Set-Computer { $computer.listeners['5003'] = 77 }\n"
    remove = "$result = Invoke-Script (Join-Path $bundle 'Uninstall-SerialHost.ps1') @{}\n"
    removed = play(tmp_path, taken + remove + AFTER)
    assert removed["code"] == 0
    assert [5003, 5003] in removed["computer"]["ranges"]
    assert any("stays, because hub4com.exe (process 77) uses that port" in w for w in removed["warnings"])


def differences(result: dict[str, Any]) -> str:
    return "\n".join(result["output"].splitlines())


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("", ""),
        (
            "Set-Computer { $computer.tasks['\\SerialHost'].enabled = $false }",
            "The task 'SerialHost' is disabled",
        ),
        ("Set-Computer { $computer.rules = @{} }", "The firewall rule is missing"),
        ("Set-Computer { $computer.ranges = @() }", "TCP port 5002 is not reserved"),
        ("Set-Computer { $computer.registry = @{} }", "Apps & features"),
        ("Set-Computer { $computer.processes = @{} }", "The server is not running"),
        ("Set-Damage", "are not those of an installation"),
        (
            "Set-Content -LiteralPath (Join-Path $programs '1.2.0/README.txt') -Value 'x'",
            "README.txt was changed",
        ),
        (
            "Set-Content -LiteralPath (Join-Path $programs '1.2.0/runtime/python.exe') -Value 'damaged'",
            "1.2.0 does not start",
        ),
        (
            "Set-Content -LiteralPath (Join-Path $data 'serial-host.toml') -Value 'nonsense'",
            "serial-host.toml cannot be used: /",
        ),
        (
            "Remove-Item -LiteralPath (Join-Path $data 'serial-host.toml')",
            "There is no configuration",
        ),
        ("Set-Computer { $computer.tasks.Remove('\\SerialHost') }", "serial_host is not installed"),
    ],
)
def test_test_compares_the_computer_with_what_should_be(tmp_path: Path, damage: str, message: str) -> None:
    result = play(tmp_path, FIRST + LISTENER + damage + "\n" + install("@{ Test = $true }") + AFTER)
    assert result["code"] == (5 if message else 0), result
    assert message in differences(result)


def test_quiet_says_nothing_and_pass_thru_returns_an_object(tmp_path: Path) -> None:
    quiet = play(tmp_path, install("@{ Port = 'COM3'; TcpPort = 5002; Quiet = $true }") + AFTER)
    assert (quiet["code"], quiet["output"], quiet["warnings"]) == (0, "", [])
    result = play(tmp_path, install("@{ PassThru = $true }"))
    [made] = result["objects"]
    assert (made["Version"], made["PreviousVersion"], made["ExitCode"]) == ("1.2.0", "1.2.0", 0)
    assert made["Ports"][0]["tcp_port"] == 5002


def test_each_run_is_recorded(tmp_path: Path) -> None:
    play(tmp_path, install("@{}") + install("$onePort") + AFTER)
    log = (tmp_path / "computer" / "Windows" / "Logs" / "SerialHost-setup.log").read_text("utf-8-sig")
    assert "Nothing was changed: There is no configuration yet" in log
    assert "serial_host 1.2.0 is installed and its server answers. Exit code 0." in log
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \[\d+\] ", line) for line in log.splitlines())


@pytest.mark.parametrize(
    "preferences",
    [
        "$ErrorActionPreference = 'Stop'; $WarningPreference = 'Stop'",
        "$ErrorActionPreference = 'Continue'; $ProgressPreference = 'SilentlyContinue'; $OFS = ','",
        "$PSDefaultParameterValues = @{ '*:ErrorAction' = 'Stop'; 'Remove-Item:Confirm' = $true; 'Join-Path:Resolve' = $true }",
        "$WarningPreference = 'SilentlyContinue'; $InformationPreference = 'Stop'; $VerbosePreference = 'Continue'",
        "$VerbosePreference = $DebugPreference = 'Stop'; $PSModuleAutoLoadingPreference = 'None'",
    ],
)
def test_the_callers_preferences_do_not_reach_in(tmp_path: Path, preferences: str) -> None:
    quoted = preferences.replace("'", "''")
    steps = "Install-100\n" + install(f"@{{}} -Preferences '{quoted}'")
    steps += "$removed = Invoke-Script (Join-Path $bundle 'Uninstall-SerialHost.ps1') @{ Purge = $true } "
    steps += f"-Preferences '{quoted}'\n$result.removed = $removed.code; $result.objects = @()\n"
    result = play(tmp_path, steps)
    assert (result["code"], result["removed"], result["errors"]) == (0, 0, [])


def test_the_way_back_goes_on_behind_a_step_that_fails(tmp_path: Path) -> None:
    """1.0.0's worst: an error during the way back skipped the rest of it and reported success."""
    spoil = "foreach ($n in 'runtime/python.exe', 'app/serial_host.txt', 'packages/serial.txt') { Add-Content -LiteralPath (Join-Path $bundle $n) -Value ' ends at once' }\n"
    run = install("@{} -Kind fail -Name 'Remove-NetFirewallRule*'")
    result = play(tmp_path, "Install $older $onePort\n" + spoil + run + AFTER)
    assert result["code"] == 3
    assert "Not undone: bring the firewall rules back" in result["errors"][0]
    assert result["served"] == "1.1.0 on 5002"
    assert not (tmp_path / "computer" / "Program Files" / "SerialHost" / "1.2.0").exists()


@pytest.mark.parametrize(("script", "code"), [("Install", 2), ("Uninstall", 1)])
def test_constrained_language_mode_is_said_and_nothing_is_changed(script: str, code: int) -> None:
    path = powershell.SCRIPTS / f"{script}-SerialHost.ps1"
    constrain = "$ExecutionContext.SessionState.LanguageMode = 'ConstrainedLanguage'"
    done = powershell.run("-Command", f"{constrain}; & '{path}'; exit $LASTEXITCODE")
    assert done.returncode == code, done.stdout + done.stderr
    said = " ".join((done.stdout + done.stderr).split())
    assert "Constrained Language Mode" in said
    assert "Nothing was" in said
