"""PowerShell 7's own System.IO.Ports on a relayed port: what matters most, wherever PowerShell is."""

from __future__ import annotations

import pytest

from tests.dotnet.conftest import Chain
from tests.installer import powershell
from tests.system.processes import ROOT
from tests.system.serial_lines import Device

pytestmark = pytest.mark.dotnet


@pytest.mark.parametrize("protocol", ["raw", "rfc2217"])
def test_powershell_uses_a_port(protocol: str, chain: Chain, device: Device) -> None:
    powershell.require()
    device.echo()
    relay = chain(protocol, "run", device.path)
    script = ROOT / "tests" / "dotnet" / "serial_port.ps1"
    done = powershell.run("-File", script, "-Path", relay.link("COM"), timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "20 times: open, byte, close"
