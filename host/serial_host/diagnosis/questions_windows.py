"""What Windows is asked for a diagnosis: its registry, and a few of its commands, each with a limit of time."""

from __future__ import annotations

import sys

if sys.platform != "win32":
    raise ImportError("only for Windows")

import _winapi
import contextlib
import itertools
import os
import subprocess
import winreg
from collections.abc import Sequence
from pathlib import Path

from serial_host.diagnosis.not_told import NotToldError

_RULES = r"SYSTEM\CurrentControlSet\Services\SharedAccess\Parameters\FirewallPolicy\FirewallRules"

_LIMIT_SECONDS = 20.0
"""Seconds for one command; PowerShell needs some of them for its first start after Windows has started."""

_USB_SETTINGS = "2a737441-1930-4402-8d77-b2bebba308a3"
_SELECTIVE_SUSPEND = "48e6b7a6-50f5-4782-a5d4-53bb8f07e226"
"""The setting of a power plan (Microsoft: "USB selective suspend setting")."""


def firewall_rules() -> Sequence[str]:
    """Return the local firewall rules; those of a domain's group policy stand elsewhere.

    Raises:
        NotToldError: they cannot be read.
    """
    rules: list[str] = []
    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, _RULES) as key, contextlib.suppress(OSError):
            rules.extend(str(winreg.EnumValue(key, index)[1]) for index in itertools.count())  # until OSError
    except OSError as error:
        raise NotToldError(f"the firewall's rules cannot be read: {error.strerror}") from error
    return rules


def excluded_ports() -> str:
    """Return the answer of netsh; see `windows_answers.port_ranges`. Raises `NotToldError`."""
    return _run("netsh.exe", "int", "ipv4", "show", "excludedportrange", "protocol=tcp")


def usb_power_saving() -> str:
    """Return the answer of powercfg; see `windows_answers.selective_suspend`. Raises `NotToldError`."""
    return _run("powercfg.exe", "/query", "SCHEME_CURRENT", _USB_SETTINGS, _SELECTIVE_SUSPEND)


def startup_task() -> str:
    """Return the state of the installer's task as a number, nothing if it is not there. Raises `NotToldError`."""
    return _run(
        r"WindowsPowerShell\v1.0\powershell.exe",
        *("-NoProfile", "-NonInteractive", "-Command"),
        r"$task = Get-ScheduledTask -TaskPath '\' -TaskName SerialHost -ErrorAction SilentlyContinue;"
        " if ($task) { [int] $task.State }",
    )


def programs_with(device: str) -> list[tuple[str, int]]:
    """Raise `NotToldError`: Windows has no documented call for it."""
    raise NotToldError(f"Windows does not tell which program has {device} open")


def try_to_open(device: str) -> None:
    r"""Open a COM port and close it again, which changes no setting. Raises `OSError`, with Windows' number."""
    path = device if device.startswith("\\\\") else rf"\\.\{device}"
    handle = _winapi.CreateFile(
        path,
        _winapi.GENERIC_READ | _winapi.GENERIC_WRITE,
        0,
        _winapi.NULL,
        _winapi.OPEN_EXISTING,
        0,
        _winapi.NULL,
    )
    _winapi.CloseHandle(handle)


def _run(program: str, *arguments: str) -> str:
    path = Path(os.environ.get("SYSTEMROOT", r"C:\Windows")) / "System32" / program
    try:
        answer = subprocess.run(  # noqa: S603  # the system's own program, by its full path
            [str(path), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_LIMIT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise NotToldError(f"{path.name} has not answered within {_LIMIT_SECONDS:g} s") from error
    except OSError as error:
        raise NotToldError(f"{path.name} cannot be run: {error.strerror}") from error
    if answer.returncode != 0:
        raise NotToldError(f"{path.name} failed with the exit status {answer.returncode}")
    return answer.stdout.decode("utf-8", "replace")
