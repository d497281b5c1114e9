#Requires -Version 5.1
#Requires -RunAsAdministrator

<#
.SYNOPSIS
Removes serial_host from this computer: task, firewall rules, TCP port reservations, programs and registry entries, and
sets back what -TunePorts has set.

.DESCRIPTION
Configuration and log stay in "ProgramData\SerialHost" unless -Purge is given. What is already gone is skipped, so the
script can be run again; it also removes a damaged installation. If the task cannot be removed, nothing is changed.
After that every step is taken, whatever becomes of the one before.

The exit code is 0: removed; 1: failed, nothing was changed; 4: something could not be removed, run the script again.

.PARAMETER Purge
Removes configuration and log too.

.PARAMETER Quiet
Prints nothing but warnings and errors.

.EXAMPLE
.\Uninstall-SerialHost.ps1

.EXAMPLE
.\Uninstall-SerialHost.ps1 -Purge -WhatIf
#>
[CmdletBinding(SupportsShouldProcess = $true)]
param(
    [switch] $Purge,
    [switch] $Quiet
)

if ("$($ExecutionContext.SessionState.LanguageMode)" -ne 'FullLanguage') {
    $reason = 'A policy of this computer (AppLocker, App Control) runs this script in Constrained Language Mode, where it cannot work.'
    Write-Error -Message "$reason Have the policy allow the scripts of this folder, by their publisher or hash. Nothing was changed." -ErrorAction Continue
    exit 1
}

if ((Get-Location).Provider.Name -ne 'FileSystem') {
    # In the registry, or on a drive of another module, a path such as \\server\share would not mean a folder.
    Push-Location -LiteralPath "FileSystem::$env:SystemRoot"
    try { & $PSCommandPath @PSBoundParameters } finally { Pop-Location }
    exit $LASTEXITCODE
}

# The caller's preferences do not reach in here.
$ErrorActionPreference = 'Stop'
$WarningPreference = 'Continue'
if ("$VerbosePreference" -ne 'Continue') {
    $VerbosePreference = 'SilentlyContinue'
}
$DebugPreference = 'SilentlyContinue'
$PSModuleAutoLoadingPreference = 'All'
$PSDefaultParameterValues = @{}
$OFS = ' '
$whatIfOnly = [bool] $WhatIfPreference
Set-StrictMode -Version Latest
. (Join-Path -Path $PSScriptRoot -ChildPath 'scheduled-task-helper.ps1')
foreach ($part in 'common', 'server', 'programs', 'network', 'system', 'tuning') {
    . (Join-Path -Path $PSScriptRoot -ChildPath "setup\$part.ps1")
}

$place = Get-SetupPlace
$state = Get-SetupState -Quietly $Quiet

if ($whatIfOnly) {
    $plan = @('end the server and delete its start-up task', 'remove its firewall rules', 'give back its reservations of TCP ports', 'set back what -TunePorts has set')
    $plan += "remove $($place.Programs)"
    if ($Purge) {
        $plan += "remove $($place.Data)"
    }
    foreach ($step in $plan) {
        $null = $PSCmdlet.ShouldProcess('serial_host', $step)
    }
    exit 0
}
if (-not $PSCmdlet.ShouldProcess('serial_host', 'Remove from this computer')) {
    exit 0
}
$ConfirmPreference = 'None'

# --- The task: without it nothing starts any more --------------------------------------------------------------------

$failure = $null
try {
    Write-SetupLog -Message "Uninstall-SerialHost.ps1 in ${PSScriptRoot}: $(@($PSBoundParameters.Keys | Sort-Object) -join ', ')"
    Assert-SixtyFourBit
    Open-SetupLock
    $task = Get-StartupScheduledTask -TaskName $place.TaskName
    if ($task -and -not (Get-TaskFolder -Task $task)) {
        Write-Trouble -Message "The task '$($place.TaskName)' stays, because it runs '$(Get-TaskCommand -Task $task)', which is not serial_host. To remove it: Unregister-ScheduledTask $($place.TaskName)"
    }
    elseif ($task) {
        Write-Step -Message "Removing the task '$($place.TaskName)' and ending its server"
        Unregister-ScheduledTask -InputObject $task -Confirm:$false -ErrorAction Stop
    }
}
catch {
    $failure = $_
}
if ($failure) {
    Write-SetupLog -Message "Nothing was changed: $failure"
    Close-SetupLock
    Write-Error -Message "$(ConvertTo-Sentence -Text $failure) Nothing was changed." -ErrorAction Continue
    exit 1
}

# --- The rest: each step is taken, whatever becomes of the one before ------------------------------------------------

$remains = @()
$remains += Invoke-Remainder -Message 'end the server' -Step { Wait-ServerEnd -Process @(Get-ServerProcess) -Python (Get-ProgramPython -Folder $PSScriptRoot) }
$remains += Invoke-Remainder -Message 'remove the firewall rules' -Step { Clear-FirewallRule -Keep '' }
$remains += Invoke-Remainder -Message 'give back the reservations of TCP ports' -Step { Clear-Reservation -Keep @() }
$remains += Invoke-Remainder -Message 'set back what -TunePorts has set' -Step { Restore-PortTuning }
$remains += Invoke-Remainder -Message 'remove the entry in "Apps & features"' -Step { Unregister-Application }

# Neither PowerShell's location nor the working folder of the process may be in what goes: they are two things.
$here = (Get-Location -PSProvider FileSystem).ProviderPath
foreach ($folder in $place.Programs, $place.Data) {
    if ($here -eq $folder -or (Test-Inside -Path $here -Folder $folder)) {
        Set-Location -LiteralPath $env:SystemRoot
    }
}
[System.Environment]::CurrentDirectory = $env:SystemRoot

if ($Purge -and (Test-Path -LiteralPath $place.Data)) {
    # The lists of what was reserved and set stay if something of it could not be taken back.
    foreach ($item in @(Get-ChildItem -LiteralPath $place.Data -Force | Where-Object -FilterScript { $_.FullName -ne $place.Reserved -and $_.FullName -ne $place.Tuned })) {
        $remains += Invoke-Remainder -Message "remove $($item.FullName)" -Step { Clear-Path -Path $item.FullName }
    }
    if (@(Get-ChildItem -LiteralPath $place.Data -Force).Count -eq 0) {
        $remains += Invoke-Remainder -Message "remove $($place.Data)" -Step { Clear-Path -Path $place.Data }
    }
}
$movedBy100 = "$($place.Programs).previous"
if (Test-Path -LiteralPath $movedBy100) {
    $remains += Invoke-Remainder -Message "remove $movedBy100" -Step { Clear-Path -Path $movedBy100 }
}
# Last the folder that this script may lie in, and only if nothing else is left to be repeated from there.
$programs = @(Get-ProgramFolder | Sort-Object -Property { $PSScriptRoot -eq $_ })
foreach ($old in $programs) {
    if ($old -ne $PSScriptRoot -or $remains.Count -eq 0) {
        $remains += Invoke-Remainder -Message "remove $old" -Step { Clear-ProgramFolder -Folder $old }
    }
    else {
        Write-Trouble -Message "The scripts in $old stay, so that you can run this one again."
    }
}
if ($remains.Count -eq 0 -and (Test-Path -LiteralPath $place.Programs)) {
    $remains += Invoke-Remainder -Message "remove $($place.Programs)" -Step { Clear-Path -Path $place.Programs }
}

Close-SetupLock
if ($remains.Count -gt 0) {
    Write-SetupLog -Message "Not removed: $($remains -join '; ')"
    Write-Error -Message "serial_host is not removed completely: $($remains -join '; '). Run the script again." -ErrorAction Continue
    exit 4
}
Write-SetupLog -Message 'serial_host is removed.'
if (-not $state.Quietly) {
    Write-Output -InputObject 'serial_host is removed.'
    if (-not $Purge -and (Test-Path -LiteralPath $place.Data)) {
        Write-Output -InputObject "Configuration and log stay in $($place.Data); -Purge removes them too."
    }
}
exit 0
