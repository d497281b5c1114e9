"""Every call of every Windows command fails once, is once the place of a Ctrl+C, and once that of a killed PowerShell.

Afterwards either the new version serves, or the computer is byte for byte as before and the old one serves; after a kill
one of the two serves within two minutes. A second run always succeeds and leaves what a run without a fault leaves. The
calls are counted in a run without a fault, so that a new one takes part by itself.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.installer import powershell

pytestmark = pytest.mark.installer

SCENARIOS = (
    *("replace-config", "aside", "permissions", "first", "upgrade-100", "upgrade"),
    *(
        "repair",
        "in-place",
        "previous",
        "previous-100",
        "tune",
        "uninstall",
        "uninstall-100",
        "uninstall-tuned",
    ),
)
"""The scenarios of sweep.ps1, those with the most calls first."""

THIRD = os.environ.get("SWEEP") == "third"
"""Every call is in turns the place of a failure, of a Ctrl+C or of a killed PowerShell: what CI has the time for."""


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_fault_at_any_call(
    scenario: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    report = powershell.sweep(scenario, tmp_path, third=THIRD)
    assert (report["code"], report["errors"]) == (0, [])
    assert report["calls"] > 25
    cases = ", ".join(f"{count} {case}" for case, count in sorted(report["cases"].items()))
    record_property("sweep", (scenario, report["calls"], sum(report["cases"].values()), cases))
    assert report["faults"] == []
    assert sum(report["cases"].values()) == (1 if THIRD else 3) * report["calls"]


def test_the_sweep_finds_an_installer_that_disables_the_task(tmp_path: Path) -> None:
    """The sweep itself is proved: with 1.0.0's order of acts it must find faults."""
    scripts = tmp_path / "scripts"
    shutil.copytree(powershell.SCRIPTS, scripts)
    acts = scripts / "setup" / "acts.ps1"
    text = acts.read_text("ascii")
    act = "    $definition = Get-StartupTaskDefinition"
    disable = "    $null = Disable-ScheduledTask -TaskName $place.TaskName -TaskPath '\\' -ErrorAction Stop\n"
    assert act in text
    acts.write_text(text.replace(act, disable + act))
    report = powershell.sweep("upgrade-100", tmp_path / "run", scripts=scripts)
    assert any("the task is disabled" in line for line in report["broken"])
