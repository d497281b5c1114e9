#Requires -Version 5.1
#Requires -RunAsAdministrator
# Installs the built bundle on this computer for real, uses it, upgrades it and takes it away again: for the workflow `ci`,
# or by hand on a computer that may be used so. `python -m bundle` has made the zip in dist\ before; this makes one of a
# later version. Nothing stands in for anything, and no COM port is needed: the device is simulated or absent.
$ErrorActionPreference = 'Stop'
$root = (Resolve-Path (Join-Path $PSScriptRoot '..\..\..')).Path
$work = Join-Path ([IO.Path]::GetTempPath()) "serial-host-installation-$PID"
$version = (Get-Content -LiteralPath (Join-Path $root 'VERSION') -TotalCount 1).Trim()
$later = '9.9.9'

$env:PYTHONPATH = Join-Path $root 'tools'
& python -m bundle --python-org --out (Join-Path $work 'dist') --version $later
if ($LASTEXITCODE) { throw "The bundle of version $later could not be built." }
$zips = @{
    $version = Join-Path $root "dist\serial-host-$version-win-amd64.zip"
    $later   = Join-Path $work "dist\serial-host-$later-win-amd64.zip"
}
foreach ($zip in $zips.Values) { Expand-Archive -LiteralPath $zip -DestinationPath $work }

Import-Module Pester -MinimumVersion 5.0
$container = New-PesterContainer -Path (Join-Path $PSScriptRoot 'Installation.Tests.ps1') -Data @{
    Bundle  = Join-Path $work "serial-host-$version"
    Later   = Join-Path $work "serial-host-$later"
    Version = $version
}
$result = Invoke-Pester -Container $container -Output Detailed -PassThru
Remove-Item -LiteralPath $work -Recurse -Force -ErrorAction SilentlyContinue
if ($result.FailedCount -or -not $result.PassedCount) { exit 1 }
