"""The program of docs/dotnet.md, compiled and run as it stands there, by PowerShell 7, which carries System.IO.Ports."""

from __future__ import annotations

import os
import re
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.dotnet.conftest import Chain
from tests.installer import powershell
from tests.system.processes import PATIENCE, ROOT, Program, wait_for
from tests.system.serial_lines import Device
from tests.system.stack import Relay

pytestmark = pytest.mark.dotnet

START = """\
Add-Type -TypeDefinition ([System.IO.File]::ReadAllText('{source}')) -ReferencedAssemblies 'System.IO.Ports', 'System.Runtime',
    'System.ComponentModel.Primitives', 'System.Console', 'System.Collections', 'System.Threading', 'System.Threading.Thread',
    'System.Runtime.InteropServices', 'System.Memory', 'System.Linq'
[System.Environment]::Exit([Program]::Main([string[]] @('{command}', '{port}')).GetAwaiter().GetResult())
"""


def start(command: str, relay: Relay, folder: Path, stack: ExitStack) -> Program:
    """Run the page's program with a command and the relay's port."""
    page = (ROOT / "docs" / "dotnet.md").read_text(encoding="utf-8")
    [source] = re.findall(r"```csharp\n(.*?)```", page, re.DOTALL)
    (folder / "Program.cs").write_text(source)
    script = folder / "start.ps1"
    script.write_text(START.format(source=folder / "Program.cs", command=command, port=relay.link("COM")))
    program = Program(
        [powershell.require(), "-NoProfile", "-NonInteractive", "-File", script],
        folder / "program.log",
        {"NO_COLOR": "1", "POWERSHELL_TELEMETRY_OPTOUT": "1"},
    )
    stack.callback(program.stop)
    return program


def wait_for_text(program: Program, pattern: str, times: int = 1) -> None:
    def seen() -> bool:
        assert program.returncode is None, program.log
        return len(re.findall(pattern, program.log, re.MULTILINE)) >= times

    wait_for(seen, f"{times} times {pattern!r}", 2 * PATIENCE)


def test_a_listener_goes_on_after_a_restart_of_the_module_and_ends_at_sigterm(
    chain: Chain, device: Device, tmp_path: Path, stack: ExitStack
) -> None:
    relay = chain("raw", "run", device.path)
    program = start("listen", relay, tmp_path, stack)
    wait_for_text(program, "^listening$")
    device.write(b"\x01\x02")
    wait_for_text(program, "^0102$|^01\n02$")

    relay.stop()
    relay.start()
    relay.wait_for_status("COM", state="connected")
    wait_for_text(program, "^listening$", 2)
    device.write(b"\xfe")
    wait_for_text(program, "^FE$")

    assert program.stop() == 0
    assert program.log.endswith("stopped\n")
    relay.wait_for_close("COM")
    os.close(os.open(relay.link("COM"), os.O_RDWR | os.O_NOCTTY))  # it is free at once


@pytest.mark.parametrize("protocol", ["raw", "rfc2217"])
def test_modbus_goes_on_after_a_restart_of_the_module(
    protocol: str, chain: Chain, tmp_path: Path, stack: ExitStack
) -> None:
    relay = chain(protocol, "simulate", "modbus")
    program = start("poll", relay, tmp_path, stack)
    answer = r"^\d+ \d+ \d+$"
    wait_for_text(program, answer, 2)
    relay.stop()
    relay.start()
    answers = len(re.findall(answer, program.log, re.MULTILINE))
    wait_for_text(program, answer, answers + 2)
    assert program.stop() == 0
