#Requires -Version 5.1
#Requires -RunAsAdministrator

<#
.SYNOPSIS
Installs serial_host on this computer: its serial ports are served over TCP from the start of Windows on.

.DESCRIPTION
Run it in the folder that the zip was unpacked to, for a new version and for a repair too. After a change of the
configuration run it there or in the installed folder. The old server goes on while everything is made ready:
  1. the configuration is checked,
  2. the program is copied to a folder of its own, "Program Files\SerialHost\VERSION", and checked,
  3. "ProgramData\SerialHost" is made for configuration and log, for administrators and the service account only;
     a configuration that is there stays, unless -ReplaceConfig is given,
  4. the TCP ports are reserved, so that Windows (WinNAT) does not take them at the next start,
  5. the program may receive connections from the computer's own networks on these ports.
Then the start-up task, which runs under LOCAL SERVICE, gets the new program, the old server ends, the new one starts,
and the script waits until it answers. If anything fails or the script is interrupted, all of it is undone. The earlier
version stays in its folder until the next installation; -Previous goes back to it.

The exit code is 0: done; 1: failed, everything is as before; 2: a wrong parameter or configuration, nothing was
changed; 3: failed, and not all of it could be undone; 4: done and serving, but something remains to be done, run the
script again; 5: -Test found a difference. Each run is recorded in "Windows\Logs\SerialHost-setup.log".

.PARAMETER Port
COM port to serve, such as COM3. For the first installation; later the configuration file says it.

.PARAMETER TcpPort
TCP port to serve it on.

.PARAMETER Config
Configuration file to install instead; see serial-host.sample.toml.

.PARAMETER ReplaceConfig
Replaces the configuration that is there by -Port and -TcpPort or -Config; the old file is kept beside it.

.PARAMETER Previous
Goes back to the version that was installed before.

.PARAMETER Force
Allows an older version to replace a newer one.

.PARAMETER TunePorts
Sets the latency timer of FTDI adapters to 1 ms and keeps Windows from switching USB adapters off to save power, for the
ports that are served. It asks for each first; -Quiet and -Confirm:$false do not. An adapter takes the timer over when
it is plugged in again at the latest. The uninstallation sets both back.

.PARAMETER Test
Changes nothing; compares the computer with what the installation should have left, and prints each difference.

.PARAMETER Quiet
Prints nothing but warnings and errors.

.PARAMETER PassThru
Returns an object with Version, PreviousVersion, Folder, Ports, Warnings and ExitCode instead of text.

.EXAMPLE
.\Install-SerialHost.ps1 -Port COM3 -TcpPort 5002

.EXAMPLE
.\Install-SerialHost.ps1 -Config .\my-ports.toml -WhatIf

.EXAMPLE
.\Install-SerialHost.ps1

Installs a new version, repairs the present one, or applies the configuration after a change.

.EXAMPLE
powershell.exe -NoProfile -ExecutionPolicy Bypass -File Install-SerialHost.ps1 -Config my-ports.toml -Quiet

For unattended use; the exit code says how it went.

.NOTES
If Windows does not run scripts: Set-ExecutionPolicy -Scope Process Bypass -Force
#>
[CmdletBinding(SupportsShouldProcess = $true)]
param(
    [string] $Port,
    [int] $TcpPort,
    [string] $Config,
    [switch] $ReplaceConfig,
    [switch] $Previous,
    [switch] $Force,
    [switch] $TunePorts,
    [switch] $Test,
    [switch] $Quiet,
    [switch] $PassThru
)

if ("$($ExecutionContext.SessionState.LanguageMode)" -ne 'FullLanguage') {
    $reason = 'A policy of this computer (AppLocker, App Control) runs this script in Constrained Language Mode, where it cannot work.'
    Write-Error -Message "$reason Have the policy allow the scripts of this folder, by their publisher or hash. Nothing was changed." -ErrorAction Continue
    exit 2
}

if ((Get-Location).Provider.Name -ne 'FileSystem') {
    # In the registry, or on a drive of another module, a path such as \\server\share would not mean a folder.
    Push-Location -LiteralPath "FileSystem::$env:SystemRoot"
    try { & $PSCommandPath @PSBoundParameters } finally { Pop-Location }
    exit $LASTEXITCODE
}

# The caller's preferences do not reach in here. Commands of Windows' own modules (tasks, firewall, network) do not see
# these either: each is given its -ErrorAction.
$ErrorActionPreference = 'Stop'
$WarningPreference = 'Continue'
if ("$VerbosePreference" -ne 'Continue') {
    $VerbosePreference = 'SilentlyContinue'
}
$DebugPreference = 'SilentlyContinue'
$PSModuleAutoLoadingPreference = 'All'
$PSDefaultParameterValues = @{}
$OFS = ' '
# -WhatIf and -Confirm are for the whole, once, and not for each command that is used before.
$whatIfOnly = [bool] $WhatIfPreference
$confirmAll = $ConfirmPreference
$WhatIfPreference = $false
$ConfirmPreference = 'None'
$isUnasked = $Quiet -or ($PSBoundParameters.ContainsKey('Confirm') -and -not $PSBoundParameters['Confirm'])
Set-StrictMode -Version Latest
. (Join-Path -Path $PSScriptRoot -ChildPath 'scheduled-task-helper.ps1')
foreach ($part in 'common', 'server', 'programs', 'network', 'system', 'tuning', 'plan', 'acts', 'comparison') {
    . (Join-Path -Path $PSScriptRoot -ChildPath "setup\$part.ps1")
}

$place = Get-SetupPlace
$state = Get-SetupState -Quietly ($Quiet -or $PassThru)
$state.IsTrial = $whatIfOnly
$asked = @{
    Folder        = $PSScriptRoot
    Port          = $Port
    TcpPort       = $TcpPort
    Config        = $Config
    ReplaceConfig = $ReplaceConfig
    Previous      = $Previous
    Force         = $Force
}

# --- What is to be installed: nothing is changed here ----------------------------------------------------------------

$exitCode = 2
$failure = $null
try {
    Write-SetupLog -Message "Install-SerialHost.ps1 in ${PSScriptRoot}: $(@($PSBoundParameters.Keys | Sort-Object) -join ', ')"
    if (-not $Test) {
        if (-not $whatIfOnly) {
            Open-SetupLock
        }
        $plan = Get-InstallationPlan -Asked $asked
    }
    elseif ($Port -or $TcpPort -or $Config -or $ReplaceConfig -or $Previous -or $TunePorts) {
        throw '-Test only compares: leave out -Port, -TcpPort, -Config, -ReplaceConfig, -Previous and -TunePorts.'
    }
}
catch {
    $failure = $_
}
if ($failure) {
    Write-SetupLog -Message "Nothing was changed: $failure"
    Close-SetupLock
    Write-Error -Message "$(ConvertTo-Sentence -Text $failure) Nothing was changed." -ErrorAction Continue
    exit $exitCode
}

# --- Is everything as it should be? ----------------------------------------------------------------------------------

if ($Test) {
    $installed = $null
    $differences = New-Object -TypeName System.Collections.ArrayList
    try {
        Assert-SixtyFourBit
        $installed = Get-Installed
        Get-Difference -Installed $installed | ForEach-Object -Process { $null = $differences.Add($_) }
    }
    catch {
        $null = $differences.Add("The comparison stopped: $_")
    }
    $version, $folder = if ($installed) { $installed.Version, $installed.Folder }
    $exitCode = if ($differences.Count -eq 0) { 0 } else { 5 }
    if ($PassThru) {
        [pscustomobject] @{ Version = $version; Folder = $folder; Differences = @($differences); ExitCode = $exitCode }
    }
    elseif ($differences.Count -gt 0) {
        Write-Output -InputObject $differences
        Write-Step -Message 'To mend what can be mended so, run this script without -Test, in the folder of the zip if the program is damaged.'
    }
    elseif (-not $Quiet) {
        Write-Output -InputObject "serial_host $version is installed and running as it should."
    }
    exit $exitCode
}

# --- Once for the whole: -WhatIf and -Confirm ------------------------------------------------------------------------

$WhatIfPreference = $whatIfOnly
$ConfirmPreference = $confirmAll
if ($whatIfOnly) {
    $steps = @()
    if (-not (Test-Path -LiteralPath $plan.Folder)) {
        $steps += "copy the program to $($plan.Folder)"
    }
    if ($plan.ConfigKind -ne 'kept') {
        $steps += "write the configuration $($place.Config)"
    }
    $steps += "reserve TCP port $($plan.TcpPorts -join ', ') where it is not reserved yet"
    $steps += "allow $($plan.Python) to receive connections on TCP port $($plan.TcpPorts -join ', ')"
    $steps += "have the start-up task '$($place.TaskName)' run it, and start it"
    if ($TunePorts) {
        $steps += 'set the latency timers of FTDI adapters to 1 ms and keep Windows from switching USB adapters off'
    }
    foreach ($step in $steps) {
        $null = $PSCmdlet.ShouldProcess($plan.Change, $step)
    }
    exit 0
}
$isAgreed = $PSCmdlet.ShouldProcess($plan.Change, 'Install and start')
$ConfirmPreference = 'None'
if (-not $isAgreed) {
    Write-SetupLog -Message 'The administrator declined; nothing was changed.'
    Close-SetupLock
    exit 0
}

# --- Installation: how each act is undone is remembered before it ----------------------------------------------------

$run = Get-RunState
$isDone = $false
$notUndone = @()
try {
    Write-Step -Message $plan.Change
    Install-All
    $isDone = $true
}
catch {
    $failure = $_
    foreach ($line in @(Get-NewLogLine)) {
        Write-Trouble -Message "The server's log: $line"
    }
}
finally {
    # Here also after Ctrl+C and after the end of a remote session, which no catch block sees.
    if (-not $isDone) {
        $reason = if ($failure) { "$failure" } else { 'The script was interrupted.' }
        Write-Trouble -Message "The installation failed and is being undone. $reason"
        $notUndone = @(Invoke-Undo)
        if ($state.IsForward) {
            $notUndone += if ($plan.OldVersion) { 'the changed configuration is in force' } else { 'the new program stays, because the earlier one does not start' }
        }
        if ($notUndone.Count -eq 0) {
            Write-SetupLog -Message 'Everything is as before.'
        }
        Write-SetupEvent -Type 'ERROR' -Id 2 -Message "The installation of $($plan.Change) failed. $reason"
        Close-SetupLock
    }
}
if (-not $isDone) {
    $exitCode = if ($notUndone.Count -eq 0) { 1 } else { 3 }
    $end = if ($notUndone.Count -eq 0) { 'Everything is as before.' } else { "Not undone: $($notUndone -join '; '). Run the script again." }
    Write-Error -Message "$(ConvertTo-Sentence -Text $failure) $end" -ErrorAction Continue
    exit $exitCode
}

# --- What is left to do now that the new server serves ---------------------------------------------------------------

# What is to be tuned of the served ports, and what the administrator agrees to.
function Get-WantedTuning([bool] $Force) {
    $found = @(Get-PortTuning -Port $portNames)
    if ($found.Count -eq 0) {
        Write-Step -Message 'None of the served ports is a USB adapter that can be tuned.'
    }
    foreach ($one in $found) {
        Write-Step -Message (Get-TuningSentence -Tuning $one)
        if (Test-Tuned -Tuning $one) {
            continue
        }
        $question = if ($one.Kind -eq 'latency') { "Set the latency timer of $($one.Port) to 1 ms?" } else { "Keep Windows from switching the adapter of $($one.Port) off?" }
        if ($Force -or $PSCmdlet.ShouldContinue($question, 'Tune the ports')) {
            $one
        }
    }
}

$remains = @()
$remains += Invoke-Remainder -Message 'the entry in "Apps & features"' -Step { Register-Application -Folder $plan.Folder -Version $plan.Version }
$remains += Invoke-Remainder -Message 'remove the firewall rules of earlier versions' -Step { Clear-FirewallRule -Keep (Get-RuleName -Folder $plan.Folder) }
$remains += Invoke-Remainder -Message 'give back reservations of ports that are not served any more' -Step { Clear-Reservation -Keep $plan.TcpPorts }
$remains += Invoke-Remainder -Message 'remove what the installation needed for a moment' -Step { Clear-Path -Path $run.SavedPermission }
# The server says which port an entry has that names an adapter.
$portNames = @($state.Answer.ports | ForEach-Object -Process { $_.name; $_.device } | Where-Object -FilterScript { $_ -match '^COM\d+$' } | Select-Object -Unique)
$tuning = @()
if ($TunePorts) {
    $remains += Invoke-Remainder -Message 'tune the ports' -Step { Sync-PortTuning -Tuning @(Get-WantedTuning -Force $isUnasked) }
}
elseif (-not $Quiet -and -not $PassThru) {
    try {
        $tuning = @(Get-PortTuning -Port $portNames | Where-Object -FilterScript { -not (Test-Tuned -Tuning $_) })
    }
    catch {
        Write-SetupLog -Message "What delays the answers of the ports cannot be read: $_"
    }
}
# The version that served before stays; when nothing was switched, the one of before that.
$kept = @($plan.Folder)
if ($plan.OldFolder -and $plan.OldFolder -ne $plan.Folder) {
    $kept += $plan.OldFolder
}
elseif ($plan.OldFolder) {
    $kept += @(Get-ProgramFolder | Where-Object -FilterScript { $_ -ne $plan.Folder -and (Test-ProgramFolder -Folder $_) } |
            Sort-Object -Property { (Get-Item -LiteralPath $_).LastWriteTimeUtc } | Select-Object -Last 1)
}
foreach ($old in @(Get-ProgramFolder | Where-Object -FilterScript { $kept -notcontains $_ })) {
    $remains += Invoke-Remainder -Message "remove the earlier version in $old" -Step { Clear-ProgramFolder -Folder $old }
}
$movedBy100 = "$($place.Programs).previous"
if (Test-Path -LiteralPath $movedBy100) {
    $remains += Invoke-Remainder -Message "remove $movedBy100" -Step { Clear-Path -Path $movedBy100 }
}
$troubles = @(Get-PortTrouble -Answer $state.Answer) + @(Get-RuleTrouble -Folder $plan.Folder) + @(Get-FirewallPolicyTrouble)
foreach ($trouble in $troubles) {
    Write-Trouble -Message $trouble
}
$exitCode = if ($remains.Count -eq 0) { 0 } else { 4 }
Write-SetupLog -Message "$($plan.Change) is installed and its server answers. Exit code $exitCode."
Write-SetupEvent -Type 'INFORMATION' -Id 1 -Message "$($plan.Change) is installed and its server answers."

Close-SetupLock

# --- What to do next -------------------------------------------------------------------------------------------------

if ($PassThru) {
    [pscustomobject] @{
        Version         = $plan.Version
        PreviousVersion = $plan.OldVersion
        Folder          = $plan.Folder
        Ports           = $state.Answer.ports
        Warnings        = @($troubles) + @($remains)
        ExitCode        = $exitCode
    }
}
elseif (-not $Quiet) {
    # Most EFLOW installations are on the Default Switch; WSL's switch is never EFLOW's.
    $address = Get-NetIPAddress -AddressFamily IPv4 -InterfaceAlias 'vEthernet (*' -ErrorAction SilentlyContinue |
        Where-Object -FilterScript { $_.InterfaceAlias -notlike '*(WSL*' } |
        Sort-Object -Property { $_.InterfaceAlias -ne 'vEthernet (Default Switch)' } |
        Select-Object -First 1
    $name = "$env:COMPUTERNAME.mshome.net"
    $index = 0
    $entries = foreach ($served in $plan.ServedPorts) {
        $protocol = if ($served.protocol -eq 'rfc2217') { ', "protocol": "rfc2217"' } else { '' }
        "    `"ttyVirtS$index`": { `"tcpPort`": $($served.tcpPort)$protocol }"
        $index += 1
    }
    $tls = if ($state.Answer.tls) { "`r`n  `"tls`": { `"hostFingerprints`": [`"$($state.Answer.tls.fingerprint)`"] }," } else { '' }
    $headline = "$($plan.Change) is installed and running."
    if ($troubles.Count -gt 0) {
        $headline = "$($plan.Change) is installed and its server answers, but not everything is served yet; see the warnings above."
    }
    $advice = @($tuning | ForEach-Object -Process { "`r`n  $(Get-TuningSentence -Tuning $_)" }) -join ''
    if ($advice) {
        $advice += "`r`n  To change that, run the script again with -TunePorts."
    }
    Write-Output -InputObject @"
$headline$advice
  Program        $($plan.Folder)
  Configuration  $($place.Config)
  Log            $($place.Log)
  Look at it     & '$(Join-Path -Path $plan.Folder -ChildPath 'serial-host.cmd')' status

Desired properties for the module twin:

{
  "host": "$(if ($address) { $address.IPAddress } else { $name })",$tls
  "serialPorts": {
$($entries -join ",`r`n")
  }
}

On Hyper-V's Default Switch the address changes when Windows starts: write "host": "$name" there.
"@
}
exit $exitCode
