#Requires -Version 5.1
#Requires -RunAsAdministrator

<#
.SYNOPSIS
Removes serial_host from this computer: task, firewall rule, TCP port reservations and program.

.DESCRIPTION
Configuration and log stay in "ProgramData\SerialHost" unless -Purge is given. What is already gone is skipped, so the
script can be run again.

.PARAMETER Purge
Removes configuration and log too.

.EXAMPLE
.\Uninstall-SerialHost.ps1

.EXAMPLE
.\Uninstall-SerialHost.ps1 -Purge -WhatIf
#>
[CmdletBinding(SupportsShouldProcess = $true)]
param(
    [switch] $Purge
)

$ErrorActionPreference = 'Stop'
Set-StrictMode -Version Latest
. (Join-Path -Path $PSScriptRoot -ChildPath 'scheduled-task-helper.ps1')

$taskName = 'SerialHost'
$ruleName = 'SerialHost-TCP-In'
$programFolder = Join-Path -Path $env:ProgramFiles -ChildPath 'SerialHost'
$previousFolder = $programFolder + '.previous'
$dataFolder = Join-Path -Path $env:ProgramData -ChildPath 'SerialHost'
$reservedFile = Join-Path -Path $dataFolder -ChildPath 'reserved-tcp-ports.txt'
$installedPython = Join-Path -Path $programFolder -ChildPath 'runtime\python.exe'

$task = Get-ScheduledTask -TaskName $taskName -ErrorAction SilentlyContinue
if ($task -and $PSCmdlet.ShouldProcess($taskName, 'End the server and delete its start-up task')) {
    # Disabled first: else the next repetition starts what was just ended.
    $null = Disable-ScheduledTask -TaskName $taskName -ErrorAction Stop
    if (Test-Path -LiteralPath $installedPython) {
        & $installedPython -I -m serial_host stop
    }
    Remove-StartupScheduledTask -TaskName $taskName -Confirm:$false
}

$rule = Get-NetFirewallRule -Name $ruleName -ErrorAction SilentlyContinue
if ($rule -and $PSCmdlet.ShouldProcess($ruleName, 'Remove the firewall rule')) {
    Remove-NetFirewallRule -Name $ruleName -ErrorAction Stop
}

if (Test-Path -LiteralPath $reservedFile) {
    $reserved = @(Get-Content -LiteralPath $reservedFile | Select-Object -Unique)
    foreach ($number in $reserved) {
        if ($PSCmdlet.ShouldProcess("TCP port $number", 'Give the reservation back')) {
            & netsh.exe int ipv4 delete excludedportrange protocol=tcp startport=$number numberofports=1 store=persistent
        }
    }
    if ($PSCmdlet.ShouldProcess($reservedFile, 'Remove the list of reservations')) {
        Remove-Item -LiteralPath $reservedFile -Force
    }
}

# Windows lets go of a program's folder a moment after the program has ended; what was started by hand goes on.
for ($attempt = 0; $attempt -lt 30 -and -not $WhatIfPreference; $attempt++) {
    $running = @(Get-CimInstance -ClassName Win32_Process | Where-Object -FilterScript { $_.ExecutablePath -like "$programFolder\*" })
    if ($running.Count -eq 0) {
        break
    }
    if ($attempt -eq 29) {
        throw "Still running in ${programFolder}: process $($running.ProcessId -join ', '). End it and run this script again."
    }
    Start-Sleep -Milliseconds 500
}
$folders = @($previousFolder)
if ($Purge) {
    $folders += $dataFolder
}
# Last, because this script may lie in it.
$folders += $programFolder
foreach ($folder in $folders) {
    if ((Test-Path -LiteralPath $folder) -and $PSCmdlet.ShouldProcess($folder, 'Remove the folder')) {
        # Neither PowerShell's location nor the process's own working folder may be in what goes: they are two things.
        if ("$((Get-Location -PSProvider FileSystem).ProviderPath)\" -like "$folder\*") {
            Set-Location -LiteralPath $env:SystemRoot
        }
        [System.Environment]::CurrentDirectory = $env:SystemRoot
        Remove-Item -LiteralPath $folder -Recurse -Force
    }
}

if (-not $Purge -and (Test-Path -LiteralPath $dataFolder)) {
    Write-Output -InputObject "Configuration and log stay in $dataFolder; -Purge removes them too."
}
