"""Runs PowerShell for the installer's tests: the one on the PATH, else the one in the folder `shared` beside the project."""

from __future__ import annotations

import atexit
import functools
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
SCRIPTS = ROOT / "host" / "windows"
SECONDS = 900.0


@functools.cache
def find() -> str | None:
    """Return the path of `pwsh`, or None. POWERSHELL in the environment comes first."""
    beside = [folder / "shared" / "powershell" / "pwsh" for folder in ROOT.parents]
    beside += [Path(folder) / "pwsh" for folder in (os.environ.get("POWERSHELL"),) if folder]
    return shutil.which("pwsh") or next((str(path) for path in beside if path.exists()), None)


def require() -> str:
    """Return the path of `pwsh`; skip the test where there is none."""
    path = find()
    if path is None:
        pytest.skip("PowerShell 7 is not at hand: neither pwsh on the PATH nor ../shared/powershell")
    return path


def run(*arguments: str | Path, timeout: float = SECONDS) -> subprocess.CompletedProcess[str]:
    """Run `pwsh` without a profile; its output is text and its exit code is left to the caller."""
    return subprocess.run(
        [require(), "-NoProfile", "-NonInteractive", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env={**os.environ, "NO_COLOR": "1", "POWERSHELL_TELEMETRY_OPTOUT": "1"},
    )


def sweep(scenario: str, folder: Path, *, scripts: Path = SCRIPTS, third: bool = False) -> dict[str, Any]:
    """Run one scenario of sweep.ps1 and return its report; with `third` one case for each call."""
    done = run(
        "-File",
        HERE / "sweep.ps1",
        *("-Scenario", scenario, "-Scripts", scripts, "-Folder", folder),
        *(("-Third",) if third else ()),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


class Session:
    """A PowerShell that runs one script after the other."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [require(), "-NoProfile", "-NonInteractive", "-File", HERE / "session.ps1"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "NO_COLOR": "1", "POWERSHELL_TELEMETRY_OPTOUT": "1"},
        )
        atexit.register(self.end)

    def run(self, script: Path) -> list[str]:
        """Run SCRIPT and return the lines that it printed; fails the test if it threw."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(script, file=self._process.stdin, flush=True)
        lines: list[str] = []
        for line in self._process.stdout:
            if line.startswith("END"):
                assert line == "END\n", line
                return lines
            lines.append(line.rstrip("\n"))
        raise AssertionError("PowerShell ended: " + "\n".join(lines))

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


@functools.cache
def session() -> Session:
    """Return the one session of this process, started when it is first needed."""
    return Session()


def play(folder: Path, steps: str) -> dict[str, Any]:
    """Run STEPS, a piece of PowerShell, after driver.ps1, and return the table `$result` that it leaves."""
    script = folder / "play.ps1"
    script.write_text(
        f"$Scripts = '{SCRIPTS}'\n$Folder = '{folder}'\n. '{HERE / 'driver.ps1'}'\n$onePort = @{{ Port = 'COM3'; TcpPort = 5002 }}\n"
        f"$result = @{{}}\ntry {{\n{steps}\n}} finally {{ $script:runspace.Dispose() }}\n"
        "'RESULT' + ($result | ConvertTo-Json -Compress -Depth 8)\n"
    )
    [line] = [line for line in session().run(script) if line.startswith("RESULT")]
    result: dict[str, Any] = json.loads(line.removeprefix("RESULT"))
    return result
