"""A Windows for the tests: wine with a prefix of its own, in which the built bundle is unpacked.

Real in it: CPython for Windows, pyserial's Windows part, sockets and the proactor event loop above wine's kernel, COM
ports that are ptys. Not real: Task Scheduler, firewall, PowerShell, USB; and where wine differs from Windows the test
concerned says so. Nothing outside the prefix is touched, above all not ~/.wine.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.system.processes import ROOT, Program

PREFIX = ROOT / ".cache" / "wine"
HERE = Path(__file__).parent
START_SECONDS = 120.0
"""For wine's own first start."""

COMPILE_SECONDS = 600.0
"""For all of the bundle's Python, on a machine that does much else."""


class Wine:
    """One prefix: its C: drive, its COM ports and the processes in it."""

    def __init__(self, prefix: Path = PREFIX) -> None:
        self.prefix = prefix
        self.drive_c = prefix / "drive_c"
        self.environment = {
            "WINEPREFIX": str(prefix),
            "WINEARCH": "win64",
            "WINEDEBUG": "-all",
            # Neither .NET nor a browser engine is needed; without this wine asks to download them.
            "WINEDLLOVERRIDES": "mscoree,mshtml=",
            "DISPLAY": "",
        }

    @contextmanager
    def running(self) -> Iterator[None]:
        """Have it ready, and to oneself; its processes end with the context.

        Another run at the same time would use the same COM port and the same folders: one after the other.
        """
        self.prefix.parent.mkdir(parents=True, exist_ok=True)
        with self.prefix.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.set_up()
            try:
                yield
            finally:
                self.end_all()

    def install(self, bundle: Path) -> Path:
        r"""Unpack the bundle into C:\Program Files\SerialHost, as the installer leaves it; give that folder."""
        programs = self.drive_c / "Program Files"
        installed = programs / "SerialHost"
        shutil.rmtree(installed, ignore_errors=True)
        with zipfile.ZipFile(bundle) as archive:
            [top] = {name.split("/")[0] for name in archive.namelist()}
            archive.extractall(programs)
        (programs / top).rename(installed)
        python = installed / "runtime" / "python.exe"
        compiled = self.run(
            *(python, "-I", "-m", "compileall", "-q", self.windows_path(installed)), timeout=COMPILE_SECONDS
        )
        assert compiled.returncode == 0, compiled.stdout
        return installed

    def set_up(self) -> None:
        """Make the prefix, once; it says that it is Windows 10."""
        ready = self.prefix / "ready"
        if ready.exists():
            return
        shutil.rmtree(self.prefix, ignore_errors=True)
        self.prefix.mkdir(parents=True)
        self.run("wineboot", "-i", timeout=START_SECONDS)
        self.run("winecfg", "-v", "win10", timeout=START_SECONDS)
        self._provide_bcryptprimitives()
        ready.touch()

    def _provide_bcryptprimitives(self) -> None:
        """Make the one DLL of Windows 10 that pydantic_core needs and wine 8 lacks."""
        subprocess.run(
            [
                *("x86_64-w64-mingw32-gcc", "-shared", "-s", "-o"),
                self.drive_c / "windows" / "system32" / "bcryptprimitives.dll",
                *(HERE / "bcryptprimitives.c", "-ladvapi32"),
            ],
            check=True,
        )

    def run(self, *command: str | Path, timeout: float = START_SECONDS) -> subprocess.CompletedProcess[str]:
        """Run a Windows program to its end; its output, both streams in one, is text. The caller checks the status."""
        return subprocess.run(
            ["wine", *map(str, command)],
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
            check=False,
        )

    def start(self, log: Path, *command: str | Path) -> Program:
        """Start a Windows program that runs until it is stopped."""
        # wine gives Windows programs no usable handle for a file that is open for appending, a pipe it does.
        through_a_pipe = 'exec wine "$@" > >(exec cat) 2>&1'
        return Program(["bash", "-c", through_a_pipe, "wine", *command], log, self.environment)

    def plug_in(self, name: str, device: Path) -> None:
        """Make DEVICE the COM port NAME ("com3"; wine keeps com1 and com2 to itself)."""
        self.unplug(name)
        (self.prefix / "dosdevices" / name).symlink_to(device)

    def unplug(self, name: str) -> None:
        """Take the COM port away; a program that has it open keeps what it opened."""
        (self.prefix / "dosdevices" / name).unlink(missing_ok=True)

    def windows_path(self, path: Path) -> str:
        r"""Return the path by which Windows programs know a file of this machine, Z:\..."""
        return "Z:" + str(path.resolve()).replace("/", "\\")

    def end_all(self) -> None:
        """End every process of this prefix, and of no other."""
        subprocess.run(["wineserver", "-k"], env={**os.environ, **self.environment}, check=False)
        subprocess.run(["wineserver", "-w"], env={**os.environ, **self.environment}, check=False)
