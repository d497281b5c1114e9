"""scheduled-task-helper.ps1 with the stand-ins for Task Scheduler: what becomes of tasks that are there already."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.installer.powershell import SCRIPTS, play

pytestmark = pytest.mark.installer

OTHER = "\\Other\\SerialHost"
"""A task of the same name in another folder of Task Scheduler, disabled, which is there in every test."""


STOP = "$ErrorActionPreference = ''Stop''"


def helper(folder: Path, *commands: str, preferences: str = "") -> dict[str, Any]:
    """Run COMMANDS after the helper was loaded; `$old` and `$new` are two programs."""
    script = folder / "commands.ps1"
    lines = [f". '{SCRIPTS / 'scheduled-task-helper.ps1'}'", f"$folder = '{folder}'"]
    lines += [
        f"$old, $new = '{folder}/bundle-1.1.0/runtime/python.exe', '{folder}/bundle-1.2.0/runtime/python.exe'"
    ]
    script.write_text("\n".join([*lines, *commands]) + "\n")
    config = folder / "ports.toml"
    config.write_text('[[ports]]\ndevice = "COM3"\ntcp_port = 5002\n')
    steps = f"$result = Invoke-Script '{script}' @{{}} -Preferences '{preferences}'\n"
    return play(folder, steps + "$result.computer = Read-Computer; $result.objects = @()\n")


def add(name: str, program: str) -> str:
    return f'$task = Add-StartupScheduledTask -TaskName \'{name}\' -Execute {program} -Argument "run --config `"$folder/ports.toml`""'


def programs(result: dict[str, Any]) -> list[str]:
    """The programs that run."""
    return sorted(process["path"] for process in result["computer"]["processes"].values())


def tasks(result: dict[str, Any]) -> list[str]:
    return sorted(result["computer"]["tasks"])


def test_a_task_is_registered_started_and_removed(tmp_path: Path) -> None:
    result = helper(tmp_path, add("com2tcp", "$old"), '"$($task.TaskName) is $($task.State)"')
    assert (result["errors"], result["output"]) == ([], "com2tcp is Running")
    assert programs(result) == [f"{tmp_path}/bundle-1.1.0/runtime/python.exe"]
    assert tasks(result) == sorted([OTHER, "\\com2tcp"])

    removed = helper(tmp_path, "Remove-StartupScheduledTask -TaskName com2tcp")
    assert (removed["errors"], programs(removed), tasks(removed)) == ([], [], [OTHER])
    again = helper(tmp_path, "Remove-StartupScheduledTask -TaskName com2tcp")
    assert (again["errors"], tasks(again)) == ([], [OTHER])


def test_over_a_running_task_of_the_same_name_the_new_program_runs(tmp_path: Path) -> None:
    helper(tmp_path, add("com2tcp", "$old"))
    result = helper(tmp_path, add("com2tcp", "$new"))
    assert result["errors"] == []
    assert programs(result) == [f"{tmp_path}/bundle-1.2.0/runtime/python.exe"]


def test_a_task_of_the_same_name_in_another_folder_is_left_alone(tmp_path: Path) -> None:
    added = helper(tmp_path, add("SerialHost", "$old"))
    assert added["computer"]["tasks"][OTHER]["enabled"] is False
    removed = helper(tmp_path, "Remove-StartupScheduledTask -TaskName SerialHost")
    assert (removed["errors"], tasks(removed)) == ([], [OTHER])


def test_a_name_with_wildcard_characters_means_itself(tmp_path: Path) -> None:
    helper(tmp_path, add("com1", "$old"), add("com[12]", "$new"))
    result = helper(tmp_path, "Remove-StartupScheduledTask -TaskName 'com[12]'")
    assert result["errors"] == []
    assert tasks(result) == sorted([OTHER, "\\com1"])
    assert programs(result) == [f"{tmp_path}/bundle-1.1.0/runtime/python.exe"]


@pytest.mark.parametrize("name", ["com*", "a\\b", 'a"b', "com?"])
def test_a_name_that_no_task_can_have_is_refused(tmp_path: Path, name: str) -> None:
    silent = helper(tmp_path, add(name, "$old"), preferences="$ErrorActionPreference = ''SilentlyContinue''")
    assert tasks(silent) == [OTHER]
    result = helper(tmp_path, add(name, "$old"), preferences=STOP)
    assert tasks(result) == [OTHER]
    assert "has a character that the name of a task cannot have" in result["output"]


def test_removing_by_a_pattern_removes_nothing(tmp_path: Path) -> None:
    helper(tmp_path, add("com1", "$old"))
    result = helper(tmp_path, "Remove-StartupScheduledTask -TaskName 'com*'")
    assert tasks(result) == sorted([OTHER, "\\com1"])


def test_what_if_changes_nothing(tmp_path: Path) -> None:
    helper(tmp_path, add("com1", "$old"))
    result = helper(
        tmp_path, add("com1", "$new") + " -WhatIf", "Remove-StartupScheduledTask -TaskName com1 -WhatIf"
    )
    assert tasks(result) == sorted([OTHER, "\\com1"])
    assert programs(result) == [f"{tmp_path}/bundle-1.1.0/runtime/python.exe"]


def test_a_program_that_is_no_file_is_refused(tmp_path: Path) -> None:
    result = helper(tmp_path, add("com1", "'/nowhere/com2tcp.bat'"), preferences=STOP)
    assert tasks(result) == [OTHER]
    assert "'/nowhere/com2tcp.bat' is not a file" in result["output"]
