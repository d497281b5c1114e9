"""Runs PSScriptAnalyzer over the Windows scripts: `python -m tests.installer.analyze`; exit code 1 for a finding."""

from __future__ import annotations

import sys

from tests.installer import powershell


def main() -> int:
    """Print the findings and return the exit code; without PowerShell print that nothing was analyzed and return 0."""
    if powershell.find() is None:
        print("check: PowerShell 7 is not at hand, so the Windows scripts are not analyzed")
        return 0
    worst = 0
    for folder in (powershell.SCRIPTS, powershell.HERE.parent / "windows" / "installation"):
        done = powershell.run("-File", powershell.HERE / "analyze.ps1", "-Folder", folder)
        print(done.stdout + done.stderr, end="")
        worst = max(worst, done.returncode)
    return worst


if __name__ == "__main__":
    sys.exit(main())
