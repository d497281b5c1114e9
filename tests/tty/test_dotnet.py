"""System.IO.Ports on a character device with a loopback plug: every check that any serial port can pass."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from tests.installer import powershell
from tests.system.processes import ROOT, wait_for
from tests.tty.relay_end import RelayEnd

pytestmark = pytest.mark.tty

UNPRIVILEGED = (
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--bounding-set=-all",
    "--no-new-privs",
    "--",
)
CANNOT = {"ports/GetPortNames lists it"}
"""See docs/tty.md."""


def check(port: RelayEnd, *arguments: str) -> list[dict[str, Any]]:
    """Run checks as an unprivileged user; return what they say."""
    beside = [folder / "shared" / "dotnet" / "serialcheck" for folder in ROOT.parents]
    program = next((path for path in beside if path.exists()), None)
    if program is None:
        pytest.skip("serialcheck is not at hand: there is no ../shared/dotnet")
    assert port.node is not None
    port.node.chmod(0o666)
    command, *options = arguments
    done = subprocess.run(
        [*UNPRIVILEGED, program, command, port.node, *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
    )
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert said, done.stderr
    return said


def failed(said: list[dict[str, Any]]) -> dict[str, str]:
    return {one["name"]: one["detail"] for one in said if not one["ok"]}


def pass_again(port: RelayEnd, name: str, *options: str) -> None:
    """Repeat one check alone: some look at times, which a busy machine does not keep."""
    for _ in range(5):
        said = check(port, "all", "--quick", *options, "--only", name)
        if not failed(said):
            return
    raise AssertionError(f"again and again: {failed(said)}")


def test_every_check_passes(plugged: RelayEnd) -> None:
    # The two that are left out take half of the time, and are next.
    options = ("--kib", "256", "--skip", "kill,latency")
    said = check(plugged, "all", "--quick", *options)
    assert len(said) > 130
    for name in failed(said).keys() - CANNOT:
        pass_again(plugged, name, *options)
    wait_for(lambda: not plugged.opened and plugged.outputs == 0, "the close")


@pytest.mark.parametrize(
    "arguments", [("kill", "--end", "9"), ("latency", "--count", "100")], ids=lambda one: one[0]
)
def test_the_longest_checks_pass(plugged: RelayEnd, arguments: tuple[str, ...]) -> None:
    assert failed(check(plugged, *arguments)) == {}


def test_powershell_uses_a_port(serving: RelayEnd) -> None:
    powershell.require()
    script = ROOT / "tests" / "dotnet" / "serial_port.ps1"
    done = powershell.run("-File", script, "-Path", str(serving.node), timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "20 times: open, byte, close"
