"""The installer scripts, judged without a PowerShell: its language, its cmdlets, and their own promises."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pytest

from bundle.contents import FOR_THE_ADMINISTRATOR
from serial_host.configuration import config_file
from tests.windows.powershell import Script, changes_something

INSTALL, UNINSTALL, TASKS = (
    FOR_THE_ADMINISTRATOR / name
    for name in ("Install-SerialHost.ps1", "Uninstall-SerialHost.ps1", "scheduled-task-helper.ps1")
)
SCRIPTS = sorted(FOR_THE_ADMINISTRATOR.glob("*.ps1"))
APPROVED_VERBS = frozenset(["Add", "Assert", "Get", "Install", "Remove", "Test", "Uninstall", "Wait"])
"""Those in use here, of Microsoft's list ("Approved Verbs for PowerShell Commands")."""

each_script = pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)


def test_all_scripts_are_judged() -> None:
    assert sorted([INSTALL, UNINSTALL, TASKS]) == SCRIPTS


@each_script
def test_windows_powershell_takes_it(path: Path) -> None:
    script = Script.read(path, loads=None if path == TASKS else TASKS)
    assert script.commands()
    assert script.not_for_windows_powershell() == []


@pytest.mark.parametrize(
    "source",
    [
        "Get-Date && Get-Date",
        "Get-Date || Get-Date",
        "$x = $y ?? 1",
        "$x ??= 1",
        "$x = $y ? 1 : 2",
        "${x}?.Length",
        '"$($x ?? 1)"',
        "try { Get-Date }",
        "if (1) {} else {} else {}",
        "if (1) { Get-Date",
        "1 | ForEach-Object -Parallel { $_ }",
        "Get-Dat",
        "Get-ChildItem -Recursive",
        "Remove-Item -LiteralPath $x -Forc",
        "ls",
        "$x | % { $_ }",
    ],
)
def test_what_windows_powershell_refuses_is_found(source: str) -> None:
    assert Script(source).not_for_windows_powershell()


@each_script
def test_no_variable_is_read_that_was_never_set(path: Path) -> None:
    """Under strict mode a misspelt name ends the script in the middle of its work."""
    assert Script.read(path).unset_variables() == set()


@pytest.mark.parametrize(
    "source", ["$a = $b", '$a = 1; "$($aa)"', "foreach ($x in $y) { $x }", '"is $c here"']
)
def test_an_unset_variable_is_found(source: str) -> None:
    assert Script(source).unset_variables()


@each_script
def test_names_are_of_approved_verbs(path: Path) -> None:
    names = list(Script.read(path).functions())
    names += [path.stem] if path != TASKS else []
    for name in names:
        assert re.fullmatch(r"([A-Z][a-z]+)-([A-Z][A-Za-z]+)", name)
        assert name.split("-")[0] in APPROVED_VERBS


@pytest.mark.parametrize(
    ("path", "function"),
    [
        (INSTALL, None),
        (UNINSTALL, None),
        (TASKS, "Add-StartupScheduledTask"),
        (TASKS, "Remove-StartupScheduledTask"),
    ],
)
def test_help_names_every_parameter(path: Path, function: str | None) -> None:
    script = Script.read(path)
    text = script.help_of(function)
    parameters = script.parameters() if function is None else script.functions()[function]
    assert parameters
    assert re.findall(r"^\s*\.PARAMETER (\w+)", text, re.MULTILINE) == parameters
    for section in (".SYNOPSIS", ".DESCRIPTION", ".EXAMPLE"):
        assert section in text
    for example in re.findall(r"\.EXAMPLE\s+(\S.*)", text):
        assert set(re.findall(r" -(\w+)", example.replace("com2tcp", ""))) <= {*parameters, "WhatIf"}, example


@each_script
def test_get_help_finds_the_help(path: Path) -> None:
    """A comment in the line before, #Requires among them, would be part of the help, which Get-Help then ignores."""
    before = path.read_text().partition("<#")[0]
    assert before == "" or before.endswith("\n\n")


@each_script
def test_an_error_of_windows_own_modules_is_not_passed_over(path: Path) -> None:
    """Functions of a module do not see the script's $ErrorActionPreference (PowerShell/PowerShell#4568)."""
    script = Script.read(path)
    of_modules = [
        command
        for command in script.commands()
        if re.search(r"-(Scheduled|Net)[A-Z]", command.name) and command.name not in script.functions()
    ]
    assert of_modules
    assert [command for command in of_modules if "ErrorAction" not in command.parameters] == []


@each_script
def test_what_if_changes_nothing(path: Path) -> None:
    changing = [command for command in Script.read(path).commands() if changes_something(command)]
    assert changing
    assert "SupportsShouldProcess" in path.read_text()
    assert [command for command in changing if not command.guarded] == []


@pytest.mark.parametrize(
    ("source", "guarded"),
    [
        ("Remove-Item -LiteralPath $x", False),
        ("if ($x) { Remove-Item -LiteralPath $x }", False),
        ("if ($PSCmdlet.ShouldProcess($x, 'y')) { Remove-Item -LiteralPath $x }", True),
        ("if ($z -and $PSCmdlet.ShouldProcess($x, 'y')) { if ($x) { Remove-Item -LiteralPath $x } }", True),
        ("if ($z -or $PSCmdlet.ShouldProcess($x, 'y')) { Remove-Item -LiteralPath $x }", False),
        ("if ($PSCmdlet.ShouldProcess($x, 'y')) { } else { Remove-Item -LiteralPath $x }", False),
        ("& netsh.exe int ipv4 add excludedportrange", False),
        ("& $python -m serial_host stop", False),
    ],
)
def test_an_unguarded_change_is_found(source: str, guarded: bool) -> None:
    [command] = Script(source).commands()
    assert changes_something(command)
    assert command.guarded is guarded


def test_installer_and_uninstaller_mean_the_same_things() -> None:
    install, uninstall = Script.read(INSTALL), Script.read(UNINSTALL)
    for name in ("taskName", "ruleName", "programFolder", "previousFolder", "dataFolder", "reservedFile"):
        assert install.value(name) == uninstall.value(name)
    assert install.value("installedPython") == uninstall.value("installedPython")


def test_each_thing_made_has_its_way_back() -> None:
    """What the installer's `try` makes, its `catch` and the uninstaller take away again."""
    source = INSTALL.read_text()
    made, undone = source[source.index("\ntry {") :].split("\ncatch {")
    uninstall = UNINSTALL.read_text()
    for do, undo in (
        ("Copy-Item -LiteralPath $PSScriptRoot", "Remove-Item -LiteralPath $"),
        ("netsh.exe int ipv4 add excludedportrange", "netsh.exe int ipv4 delete excludedportrange"),
        ("New-NetFirewallRule", "Remove-NetFirewallRule -Name $ruleName"),
        ("Add-StartupScheduledTask", "Remove-StartupScheduledTask -TaskName $taskName"),
        ("Disable-ScheduledTask", "Register-ScheduledTask -TaskName $taskName -Xml $previousTask"),
        ("Move-Item -LiteralPath $programFolder", "Move-Item -LiteralPath $previousFolder"),
    ):
        assert do in made
        assert undo in undone
        if "previous" not in undo:
            assert undo in uninstall
    assert undone.index("Remove-StartupScheduledTask") < undone.index("Remove-Item")


def test_a_configuration_is_never_overwritten() -> None:
    source = INSTALL.read_text()
    decision = source[source.index("if (Test-Path -LiteralPath $configFile) {") :]
    kept, others = decision.split("\nelseif", 1)
    assert "$newConfig" not in kept
    assert others.count("$newConfig = ") == 2
    assert (
        "if ($null -ne $newConfig) {\n            Copy-Item -LiteralPath $newConfig -Destination $configFile"
        in source
    )
    assert source.count("$configFile\n") + source.count("-Destination $configFile") >= 1


def python_arguments(path: Path) -> list[list[str]]:
    """Each command line that a script gives to serial_host, its variables replaced by a word."""
    lines = re.findall(r"-I -m serial_host (.+?)(?:\"|$)\s*$", path.read_text(), re.MULTILINE)
    plain = [re.sub(r"\$\w+", "5002", line.replace('`"', '"')) for line in lines]
    return [shlex.split(line) for line in plain]


@pytest.mark.parametrize("path", [INSTALL, UNINSTALL], ids=lambda path: path.name)
def test_serial_host_knows_the_commands_it_is_given(path: Path) -> None:
    from serial_host.command_line.parser import make_parser

    lines = python_arguments(path)
    assert [line[0] for line in lines] == (["check", "stop", "run"] if path == INSTALL else ["stop"])
    for line in lines:
        make_parser().parse_args(line)


def test_the_ports_are_read_from_what_check_prints() -> None:
    assert "($report | ConvertFrom-Json).ports" in INSTALL.read_text()
    assert set(re.findall(r"\$served\.(\w+)", INSTALL.read_text())) == {"protocol", "tcpPort"}


def test_the_configuration_that_it_writes_serves_the_port() -> None:
    source = INSTALL.read_text()
    [block] = re.findall(r"WriteAllLines\(\$newConfig, @\((.+?)\)\)", source, re.DOTALL)
    lines = [line.strip().strip(",")[1:-1].replace("`", "") for line in block.strip().splitlines()]
    text = "\n".join(lines).replace("$Port", "COM7").replace("$TcpPort", "5009")
    [port] = config_file.parse(tomllib.loads(text), "written").ports
    assert (port.device, port.tcp_port) == ("COM7", 5009)
