"""Who may put something into the way of the installer: owners, links and permissions of the folders that it uses."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.installer.powershell import play
from tests.installer.steps import AFTER, FIRST, LISTENER, SAME, install, remove

pytestmark = pytest.mark.installer

USER = "S-1-5-21-1-2-3-1001"
DATA = "computer/ProgramData/SerialHost"


def owned(path: str, owner: str = USER, entries: str = "") -> str:
    """Give PATH, a piece of PowerShell, this owner and these entries of its own."""
    acl = f"@{{ owner = '{owner}'; protected = $false; entries = @({entries}) }}"
    return LISTENER + f"Set-Computer {{ $computer.acls[{path}] = {acl} }}\n"


@pytest.mark.parametrize("folder", ["ProgramData", "Program Files"])
def test_a_folder_above_that_a_user_owns_is_refused(tmp_path: Path, folder: str) -> None:
    """Its owner could put another folder in the place of the next one, also after the installation."""
    steps = owned(f"(Join-Path $root '{folder}')") + "$before = Get-Snapshot\n"
    result = play(tmp_path, steps + install("$onePort") + SAME + AFTER)
    assert (result["code"], result["same"]) == (2, True), result
    [error] = result["errors"]
    assert (
        f"The folder {tmp_path}/computer/{folder} belongs neither to SYSTEM nor to the administrators"
        in error
    )
    assert "/setowner *S-1-5-32-544), and run the script again. Nothing was changed." in error

    again = play(tmp_path, owned(f"(Join-Path $root '{folder}')", "S-1-5-18") + install("$onePort") + AFTER)
    assert (again["code"], again["served"]) == (0, "1.2.0 on 5002")


@pytest.mark.parametrize("kind", ["XA", "OA", "A"])
def test_a_permission_under_a_condition_counts_as_one(tmp_path: Path, kind: str) -> None:
    give = owned("$data", "BA", f"'({kind};OICI;FA;;;BA)', '({kind};;FA;;;{USER})'")
    loosen = LISTENER + "Set-Computer { $computer.acls[$data].protected = $true }\n"
    result = play(tmp_path, FIRST + give + loosen + install("@{ Test = $true }") + AFTER)
    assert result["code"] == 5
    assert "are not those of an installation: others may use it too" in result["output"]

    mended = play(tmp_path, install("$onePort") + AFTER)
    assert (mended["code"], mended["served"]) == (0, "1.2.0 on 5002"), mended
    assert not any(USER in entry for entry in mended["computer"]["acls"][f"{tmp_path}/{DATA}"]["entries"])


def test_permissions_that_cannot_be_mended_are_no_success(tmp_path: Path) -> None:
    """The program says that it did what it was asked, but it did not."""
    give = owned("$data", "BA", f"'(A;OICI;FA;;;{USER})'")
    deaf = "Set-Computer { $computer.deaf = '/remove' }\n"
    steps = FIRST + give + deaf + "$before = Get-Snapshot\n" + install("$onePort") + SAME
    result = play(tmp_path, steps + AFTER)
    assert (result["code"], result["same"], result["served"]) == (1, True, "1.2.0 on 5002"), result
    assert "cannot be set as they should be; icacls.exe" in result["errors"][0]


def test_a_configuration_that_was_moved_there_loses_the_rights_of_its_owner(tmp_path: Path) -> None:
    """A file that is moved on the same drive keeps owner and permissions: a user could open ports later."""
    moved = owned("(Join-Path $data 'serial-host.toml')", entries=f"'(A;;FA;;;{USER})'")
    test = play(tmp_path, FIRST + moved + install("@{ Test = $true }") + AFTER)
    assert test["code"] == 5
    assert "are not those of an installation: others may use it too" in test["output"]

    result = play(tmp_path, install("@{}") + AFTER)
    assert (result["code"], result["served"]) == (0, "1.2.0 on 5002"), result
    acl = result["computer"]["acls"][f"{tmp_path}/{DATA}/serial-host.toml"]
    assert (acl["owner"], acl["entries"]) == ("BA", [])
    assert play(tmp_path, install("@{ Test = $true }"))["code"] == 0


@pytest.mark.parametrize("name", ["reserved-tcp-ports.txt", "x.txt"])
def test_what_a_user_puts_into_the_new_folder_before_it_is_closed_is_removed(
    tmp_path: Path, name: str
) -> None:
    meanwhile = (
        f"@{{ call = 'icacls.exe /setowner*'; file = (Join-Path $data '{name}'); text = \"50001`n\" }}"
    )
    steps = LISTENER + f"Set-Computer {{ $computer.meanwhile = {meanwhile} }}\n"
    result = play(tmp_path, steps + install("$onePort") + AFTER)
    assert (result["code"], result["served"]) == (0, "1.2.0 on 5002"), result
    assert "meanwhile" not in result["computer"]
    left = {path.name: path.read_text("utf-8-sig") for path in (tmp_path / DATA).iterdir() if path.is_file()}
    assert sorted(left) == ["reserved-tcp-ports.txt", "serial-host.toml"]
    assert left["reserved-tcp-ports.txt"].split() == ["5002"]


LINK = """
$target = Join-Path $root 'elsewhere'
$null = New-Item -ItemType Directory -Force -Path $target
$null = New-Item -ItemType SymbolicLink -Path $data -Target $target
"""


def test_a_link_of_a_user_in_the_place_of_the_folder_is_put_aside(tmp_path: Path) -> None:
    result = play(tmp_path, LINK + owned("$data") + install("$onePort") + AFTER)
    assert (result["code"], result["served"]) == (0, "1.2.0 on 5002"), result
    assert not (tmp_path / DATA).is_symlink()
    assert list((tmp_path / "computer/elsewhere").iterdir()) == []


def test_a_link_of_an_administrator_in_the_place_of_the_folder_is_named(tmp_path: Path) -> None:
    result = play(tmp_path, LINK + "$before = Get-Snapshot\n" + install("$onePort") + SAME + AFTER)
    assert (result["code"], result["same"]) == (1, True), result
    assert f"{tmp_path}/{DATA} leads to another place" in result["errors"][0]


def test_a_link_inside_of_the_folder_is_named(tmp_path: Path) -> None:
    link = (
        "$null = New-Item -ItemType SymbolicLink -Path (Join-Path $data 'log/x') -Target $older\nSet-Damage\n"
    )
    steps = FIRST + link + "$before = Get-Snapshot\n" + install("@{}") + SAME
    result = play(tmp_path, steps + AFTER)
    assert (result["code"], result["same"], result["served"]) == (1, True, "1.2.0 on 5002"), result
    assert "log/x leads to another place" in result["errors"][0]


def test_the_removal_leaves_a_task_that_runs_something_else(tmp_path: Path) -> None:
    xml = "<Task><Actions><Exec><Command>/hub4com/com2tcp.bat</Command></Exec></Actions></Task>"
    task = f"$computer.tasks['\\SerialHost'] = @{{ xml = '{xml}'; enabled = $true; instance = $null }}"
    result = play(tmp_path, FIRST + LISTENER + f"Set-Computer {{ {task} }}\n" + remove("@{}") + AFTER)
    assert result["code"] == 0
    assert "\\SerialHost" in result["computer"]["tasks"]
    assert result["computer"]["rules"] == {}
    assert result["computer"]["processes"] == {}
    assert any("runs '/hub4com/com2tcp.bat', which is not serial_host" in w for w in result["warnings"])
