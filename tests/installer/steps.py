"""Pieces of PowerShell of which the installer's tests are made; `play` of powershell.py runs them."""

from __future__ import annotations

LISTENER = """
function Set-Computer([scriptblock] $Change) {
    $computer = Read-Computer
    . $Change
    [System.IO.File]::WriteAllText((Join-Path $root 'computer.json'), ($computer | ConvertTo-Json -Depth 8))
}
"""
FIRST = "Install $bundle $onePort\n"


def install(steps: str) -> str:
    """A run of the newer bundle's installer, its result in `$result`."""
    return f"$result = Invoke-Script (Join-Path $bundle 'Install-SerialHost.ps1') {steps}\n"


def remove(parameters: str) -> str:
    """A run of the newer bundle's uninstaller, its result in `$result`."""
    return f"$result = Invoke-Script (Join-Path $bundle 'Uninstall-SerialHost.ps1') {parameters}\n"


SAME = "$result.same = $before -eq (Get-Snapshot)\n"
"""Whether nothing was changed since `$before = Get-Snapshot`."""
AFTER = "$result.computer = Read-Computer; $result.served = Get-Served; $result.objects = @()\n"


def other_listens(port: int) -> str:
    return (
        LISTENER
        + f"Set-Computer {{ $computer.processes['77'] = @{{ path = '/other/hub4com'; line = 'hub4com'; name = 'hub4com.exe' }}; $computer.listeners['{port}'] = 77 }}\n"
    )
