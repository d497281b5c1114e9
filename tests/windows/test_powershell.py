"""The installer's scripts as text: what Windows PowerShell 5.1 takes, known commands, complete help.

What the scripts do is executed in tests/installer, where a PowerShell is at hand. These tests need none.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bundle.contents import FOR_THE_ADMINISTRATOR
from tests.windows.powershell import Script

INSTALL, UNINSTALL, TASKS = (
    FOR_THE_ADMINISTRATOR / name
    for name in ("Install-SerialHost.ps1", "Uninstall-SerialHost.ps1", "scheduled-task-helper.ps1")
)
BOTH = frozenset(("place", "state"))
PARTS = {
    **dict.fromkeys(("common", "server", "programs", "network", "system", "tuning"), BOTH),
    "plan": BOTH | {"asked"},
    "acts": BOTH | {"asked", "plan", "run"},
    "comparison": BOTH | {"plan"},
}
"""What the scripts load -> the variables of the script that it reads. The parts use each other's functions."""
SHARED = tuple(FOR_THE_ADMINISTRATOR / "setup" / f"{name}.ps1" for name in PARTS)
SCRIPTS = sorted(FOR_THE_ADMINISTRATOR.rglob("*.ps1"))
APPROVED_VERBS = frozenset(
    [
        *(
            "Add",
            "Assert",
            "Clear",
            "Close",
            "ConvertTo",
            "Copy",
            "Find",
            "Get",
            "Install",
            "Invoke",
            "Open",
            "Push",
            "Register",
            "Remove",
            "Restore",
            "Save",
        ),
        *("Switch", "Sync", "Test", "Uninstall", "Unregister", "Wait", "Write"),
    ]
)
"""Those in use here, of Microsoft's list ("Approved Verbs for PowerShell Commands")."""

each_script = pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)


def test_all_scripts_are_judged() -> None:
    assert sorted([INSTALL, UNINSTALL, TASKS, *SHARED]) == SCRIPTS


@each_script
def test_windows_powershell_takes_it(path: Path) -> None:
    script = Script.read(path, loads=() if path == TASKS else [TASKS, *SHARED])
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
    given = PARTS[path.stem] if path in SHARED else frozenset()
    assert Script.read(path).unset_variables() - given == set()


@pytest.mark.parametrize(
    "source", ["$a = $b", '$a = 1; "$($aa)"', "foreach ($x in $y) { $x }", '"is $c here"']
)
def test_an_unset_variable_is_found(source: str) -> None:
    assert Script(source).unset_variables()


@each_script
def test_names_are_of_approved_verbs(path: Path) -> None:
    names = list(Script.read(path).functions())
    names += [path.stem] if path in (INSTALL, UNINSTALL) else []
    for name in names:
        assert re.fullmatch(r"([A-Z][A-Za-z]+)-([A-Z][A-Za-z]+)", name)
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
        given = example.replace("com2tcp", "").rpartition(".ps1")[2]
        assert set(re.findall(r" -(\w+)", given)) <= {*parameters, "WhatIf"}, example


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
    assert of_modules or path in (UNINSTALL, *SHARED)
    assert [command for command in of_modules if "ErrorAction" not in command.parameters] == []
