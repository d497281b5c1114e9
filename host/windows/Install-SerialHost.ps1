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

# The caller's preferences do not reach in here. Commands of Windows' own modules (tasks, firewall, network) do not see
# these either: each is given its -ErrorAction.
$ErrorActionPreference = 'Stop'
$WarningPreference = 'Continue'
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
. (Join-Path -Path $PSScriptRoot -ChildPath 'serial-host-setup.ps1')
. (Join-Path -Path $PSScriptRoot -ChildPath 'serial-host-system.ps1')
. (Join-Path -Path $PSScriptRoot -ChildPath 'serial-host-tuning.ps1')

$place = Get-SetupPlace
$state = Get-SetupState -Quietly ($Quiet -or $PassThru)
$state.IsTrial = $whatIfOnly
$description = 'Serves the serial ports of this computer over TCP.'
$configFile = $place.Config
$logFile = Join-Path -Path $place.Log -ChildPath 'serial-host.log'
$argument = "-I -m serial_host run --config `"$configFile`" --log-file `"$logFile`""

# --- What is to be installed: nothing is changed here ----------------------------------------------------------------

function Get-WantedSource {
    if ($Previous) {
        $candidates = @(Get-ProgramFolder | Where-Object -FilterScript { $_ -ne $oldFolder -and (Test-ProgramFolder -Folder $_) })
        if ($candidates.Count -eq 0) {
            throw 'There is no earlier version to go back to.'
        }
        return @($candidates | Sort-Object -Property { (Get-Item -LiteralPath $_).LastWriteTimeUtc })[-1]
    }
    $python = Get-ProgramPython -Folder $PSScriptRoot
    if (-not (Test-Path -LiteralPath $python)) {
        throw "$python is missing: run this script in the folder that the zip was unpacked to."
    }
    $PSScriptRoot
}

# Ports of a configuration file, as the program reads them.
function Get-ServedPort([string] $File) {
    $result = Invoke-Program -FilePath (Get-ProgramPython -Folder $source) -ArgumentList '-I', '-m', 'serial_host', 'check', $File, '--json'
    if ($result.ExitCode -ne 0) {
        throw "The configuration $File cannot be used: $($result.Text)"
    }
    @(($result.Output -join "`n" | ConvertFrom-Json).ports)
}

# Finds out where the new configuration comes from: 'kept', 'file' or 'written'. Throws if there is none.
function Get-ConfigKind {
    $given = $Port -or $TcpPort -or $Config
    if ($given -and ($Previous -or $Test)) {
        throw '-Previous and -Test take the configuration that is installed: leave out -Port, -TcpPort and -Config.'
    }
    if ($Config -and ($Port -or $TcpPort)) {
        throw 'Say either -Port with -TcpPort, or -Config.'
    }
    if (-not $Config -and [bool] $Port -ne [bool] $TcpPort) {
        throw '-Port and -TcpPort go together, as in: -Port COM3 -TcpPort 5002'
    }
    if ($Port -and $Port -notmatch '^COM[1-9][0-9]{0,2}$') {
        throw "-Port '$Port' is not the name of a COM port, such as COM3."
    }
    if ($Port -and ($TcpPort -lt 1 -or $TcpPort -gt 65535)) {
        throw "-TcpPort $TcpPort is not between 1 and 65535."
    }
    if ($Config -and -not (Test-Path -LiteralPath $Config -PathType Leaf)) {
        throw "-Config '$Config' is not a file."
    }
    if ($ReplaceConfig -and -not $given) {
        throw '-ReplaceConfig needs -Port with -TcpPort, or -Config.'
    }
    if (Test-Path -LiteralPath $configFile) {
        if (Test-TrustedConfig) {
            if (-not $ReplaceConfig -or (Test-SameConfig)) {
                if ($given -and -not $ReplaceConfig) {
                    Write-Trouble -Message "$configFile is kept as it is. To replace it, add -ReplaceConfig; to change it, edit it and run this script without parameters."
                }
                return 'kept'
            }
        }
        elseif (-not $given) {
            throw "$configFile is not used, because other people than administrators own it or may change it. Look at it, and then give it with -Config."
        }
        else {
            Write-Trouble -Message "$configFile is not used, because other people than administrators own it or may change it."
        }
    }
    elseif (-not $given) {
        throw 'There is no configuration yet: say -Port COM3 -TcpPort 5002, or -Config FILE.'
    }
    if ($Config) { 'file' } else { 'written' }
}

function Test-SameConfig {
    $now = (Get-Content -LiteralPath $configFile) -join "`n"
    if ($Config) {
        return $now -eq ((Get-Content -LiteralPath $Config) -join "`n")
    }
    $now -eq ((Get-OnePortConfig) -join "`n")
}

function Get-OnePortConfig {
    '# All settings are explained in serial-host.sample.toml, which lies beside the program.'
    '[[ports]]'
    "device = `"$Port`""
    "tcp_port = $TcpPort"
}

$exitCode = 2
$failure = $null
try {
    Write-SetupLog -Message "Install-SerialHost.ps1 in ${PSScriptRoot}: $(@($PSBoundParameters.Keys | Sort-Object) -join ', ')"
    if (-not [System.Environment]::Is64BitProcess) {
        throw 'This is a 32-bit PowerShell; run the script in the 64-bit one.'
    }
    $task = Get-StartupScheduledTask -TaskName $place.TaskName
    $oldFolder = Get-TaskFolder -Task $task
    $source = Get-WantedSource
    Test-ProgramCatalog -Folder $source
    $version = Get-ProgramVersion -Folder $source
    if (-not $version) {
        throw "The program in $source does not start. Unpack the zip again and run the script there."
    }
    $oldVersion = if ($oldFolder) { Get-ProgramVersion -Folder $oldFolder } else { $null }
    if ($oldVersion -and -not $Previous -and -not $Force -and (Test-Older -One $version -Other $oldVersion)) {
        throw "Version $oldVersion is installed, which is newer than ${version}: add -Force to go back, or use -Previous."
    }
    $configKind = Get-ConfigKind
    $servedPorts = @(
        switch ($configKind) {
            'kept' { Get-ServedPort -File $configFile }
            'file' { Get-ServedPort -File (Resolve-Path -LiteralPath $Config).ProviderPath }
            'written' { [pscustomobject] @{ device = $Port; tcpPort = $TcpPort; protocol = 'raw' } }
        }
    )
    $tcpPorts = @($servedPorts | ForEach-Object -Process { [int] $_.tcpPort })
    $installed = Test-Inside -Path $source -Folder $place.Programs
    $manifest = @()
    if ($source -eq $place.Programs) {
        $folder = $source
    }
    elseif ($installed) {
        $folder = $source
        $faults = @(Get-ProgramFault -Folder $folder)
        if ($faults.Count -gt 0 -and -not $Test) {
            throw "The program in $folder is damaged ($($faults[0])). Run the script in the folder that the zip was unpacked to."
        }
    }
    else {
        $manifest = @(Get-ProgramManifest -Folder $source)
        $folder = Find-ProgramFolder -Version $version -Manifest $manifest -InUse $oldFolder
    }
    $python = Get-ProgramPython -Folder $folder
    $oldRules = @(Get-OwnRule)
    $oldReservations = @(Get-OwnReservation)
    $change = "serial_host $version"
    if ($task -and -not $oldVersion) {
        $change = "serial_host (damaged) -> $version"
    }
    elseif ($task -and $oldVersion -ne $version) {
        $change = "serial_host $oldVersion -> $version"
    }
}
catch {
    $failure = $_
}
if ($failure) {
    Write-SetupLog -Message "Nothing was changed: $failure"
    Write-Error -Message "$failure Nothing was changed." -ErrorAction Continue
    exit $exitCode
}

# --- Is everything as it should be? ----------------------------------------------------------------------------------

# One sentence for each difference between the computer and what an installation leaves.
function Get-Difference {
    if (-not $task) {
        return "The task '$($place.TaskName)' is not there."
    }
    $pythonNow = Get-ProgramPython -Folder $oldFolder
    $action = @($task.Actions)[0]
    if (-not $task.Settings.Enabled) {
        "The task '$($place.TaskName)' is disabled."
    }
    if ($action.Arguments -ne $argument) {
        "The task '$($place.TaskName)' has other arguments than the installer gave it."
    }
    if ($oldFolder -ne $place.Programs) {
        foreach ($fault in Get-ProgramFault -Folder $oldFolder) {
            "The program in $oldFolder is damaged: $fault"
        }
    }
    $rule = @($oldRules | Where-Object -FilterScript { $_.Name -eq (Get-RuleName -Folder $oldFolder) })
    if ($rule.Count -eq 0) {
        'The firewall rule is missing.'
    }
    elseif (-not $rule[0].Enabled -or $rule[0].Program -ne $pythonNow -or @($tcpPorts | Where-Object -FilterScript { $rule[0].Port -notcontains "$_" }).Count -gt 0) {
        'The firewall rule is disabled or does not name the program and all of its ports.'
    }
    Get-FirewallPolicyTrouble
    $ranges = @(Get-ReservedRange)
    foreach ($number in $tcpPorts) {
        if (@($ranges | Where-Object -FilterScript { $_.First -le $number -and $number -le $_.Last }).Count -eq 0) {
            "TCP port $number is not reserved."
        }
    }
    if (-not (Test-DataPermission)) {
        "Other people than administrators and LOCAL SERVICE may use $($place.Data), or these may not."
    }
    Get-TuningDifference
    if (-not (Test-Registered -Key $place.UninstallKey)) {
        'The entry in "Apps & features" is missing.'
    }
    $servers = @(Get-ServerProcess -Folder $oldFolder)
    if ($servers.Count -eq 0) {
        return 'The server is not running.'
    }
    $answer = Get-ServerAnswer -Python $pythonNow -Id $servers[0].ProcessId
    if (-not $answer) {
        return 'The server does not answer.'
    }
    Get-PortTrouble -Answer $answer
}

if ($Test) {
    try {
        $differences = @(Get-Difference)
    }
    catch {
        $differences = @("The comparison stopped: $_")
    }
    $exitCode = if ($differences.Count -eq 0) { 0 } else { 5 }
    if ($PassThru) {
        [pscustomobject] @{ Version = $oldVersion; Folder = $oldFolder; Differences = $differences; ExitCode = $exitCode }
    }
    elseif ($differences.Count -gt 0) {
        Write-Output -InputObject $differences
    }
    elseif (-not $Quiet) {
        Write-Output -InputObject "serial_host $oldVersion is installed and running as it should."
    }
    exit $exitCode
}

# --- Once for the whole: -WhatIf and -Confirm ------------------------------------------------------------------------

$WhatIfPreference = $whatIfOnly
$ConfirmPreference = $confirmAll
if ($whatIfOnly) {
    $plan = @()
    if (-not (Test-Path -LiteralPath $folder)) {
        $plan += "copy the program to $folder"
    }
    if ($configKind -ne 'kept') {
        $plan += "write the configuration $configFile"
    }
    $plan += "reserve TCP port $($tcpPorts -join ', ') where it is not reserved yet"
    $plan += "allow $python to receive connections on TCP port $($tcpPorts -join ', ')"
    $plan += "have the start-up task '$($place.TaskName)' run it, and start it"
    if ($TunePorts) {
        $plan += 'set the latency timers of FTDI adapters to 1 ms and keep Windows from switching USB adapters off'
    }
    foreach ($step in $plan) {
        $null = $PSCmdlet.ShouldProcess($change, $step)
    }
    exit 0
}
$isAgreed = $PSCmdlet.ShouldProcess($change, 'Install and start')
$ConfirmPreference = 'None'
if (-not $isAgreed) {
    Write-SetupLog -Message 'The administrator declined; nothing was changed.'
    exit 0
}

# --- Installation: how each act is undone is remembered before it ----------------------------------------------------

function Install-Program {
    if ((Test-Path -LiteralPath $folder) -and @(Get-ProgramFault -Folder $folder).Count -eq 0) {
        return
    }
    $madeTop = -not (Test-Path -LiteralPath $place.Programs)
    Push-Undo -Message 'remove the copied program' -Step {
        Clear-Path -Path $folder
        if ($madeTop) {
            Clear-Path -Path $place.Programs
        }
    }
    Write-Step -Message "Copying the program to $folder"
    Copy-Program -Source $source -Folder $folder -Manifest $manifest
    if ((Get-ProgramVersion -Folder $folder) -ne $version) {
        throw "The program in $folder does not start."
    }
    # The service account may not write here, so the byte code is made now. The program also runs without it.
    $compiled = Invoke-Program -FilePath $python -ArgumentList '-I', '-m', 'compileall', '-q', $folder
    if ($compiled.ExitCode -ne 0) {
        Write-SetupLog -Message "The byte code was not made: $($compiled.Text)"
    }
}

function Install-DataFolder {
    if (Test-DataPermission) {
        return
    }
    if (-not (Test-Path -LiteralPath $place.Data)) {
        Push-Undo -Message "remove $($place.Data)" -Step { Clear-Path -Path $place.Data }
        Sync-DataFolder
        return
    }
    $isTrusted = (Test-TrustedOwner -Path $place.Data) -and (-not (Test-Path -LiteralPath $configFile) -or (Test-TrustedConfig))
    if ($task -or $isTrusted) {
        $madeLog = -not (Test-Path -LiteralPath $place.Log)
        Push-Undo -Message "set back who may use $($place.Data)" -Step {
            Restore-DataPermission -File $savedPermission
            if ($madeLog) {
                Clear-Path -Path $place.Log
            }
        }
        Save-DataPermission -File $savedPermission
        Sync-DataFolder
        return
    }
    # Who made the folder may hold it open or own what lies in it: it is put aside, and a new one is made.
    $number = 1
    while (Test-Path -LiteralPath "$($place.Data).aside-$number") {
        $number += 1
    }
    $aside = "$($place.Data).aside-$number"
    Push-Undo -Message "move $aside back" -Step {
        if (Test-Path -LiteralPath $aside) {
            Clear-Path -Path $place.Data
            Move-Item -LiteralPath $aside -Destination $place.Data
        }
    }
    Write-Trouble -Message "$($place.Data) was there before the installation, and others than administrators may change it: it is now $aside."
    Move-Item -LiteralPath $place.Data -Destination $aside
    Sync-DataFolder
}

# Puts the new configuration beside the present one and checks it there, where nobody else can change it.
function Install-NewConfig {
    if ($configKind -eq 'kept') {
        return
    }
    Push-Undo -Message 'remove the new configuration' -Step { Clear-Path -Path $newFile }
    if ($configKind -eq 'written') {
        Set-Content -LiteralPath $newFile -Value (Get-OnePortConfig) -Encoding ASCII
    }
    else {
        Copy-Item -LiteralPath (Resolve-Path -LiteralPath $Config).ProviderPath -Destination $newFile
    }
    $again = @(Get-ServedPort -File $newFile | ForEach-Object -Process { [int] $_.tcpPort })
    if (($again -join ',') -ne ($tcpPorts -join ',')) {
        throw 'The configuration changed while it was installed.'
    }
}

# Puts the new configuration into force. The one before is kept beside it.
function Switch-Config {
    if ($configKind -eq 'kept') {
        return
    }
    $isFirst = -not (Test-Path -LiteralPath $configFile)
    Push-Undo -Message 'put the earlier configuration back' -Step {
        if (Test-Path -LiteralPath $oldFile) {
            Move-Item -LiteralPath $oldFile -Destination $configFile -Force
        }
        elseif ($isFirst) {
            Clear-Path -Path $configFile
        }
    }
    if (-not $isFirst) {
        Copy-Item -LiteralPath $configFile -Destination $oldFile
    }
    Move-Item -LiteralPath $newFile -Destination $configFile -Force
}

# With [tls] in the configuration the server keeps its key and the modules that it trusts in a folder where it may write.
function Install-TlsFolder {
    if (-not (Select-String -LiteralPath $configFile -Pattern '^\s*\[\s*tls\s*\]' -Quiet)) {
        return
    }
    if (-not (Test-Path -LiteralPath $place.Tls)) {
        Push-Undo -Message "remove $($place.Tls)" -Step { Clear-Path -Path $place.Tls }
        $null = New-Item -Path $place.Tls -ItemType Directory -Force
    }
    $null = Invoke-CheckedProgram -FilePath 'icacls.exe' -ArgumentList $place.Tls, '/grant:r', '*S-1-5-19:(OI)(CI)M', '/q' -Message "Who may use $($place.Tls) cannot be set"
}

# Gives the task its definition of before, ends the new server and starts the old one.
function Restore-Task {
    $now = Get-StartupScheduledTask -TaskName $place.TaskName
    if (-not $oldDefinition) {
        if ($now) {
            Unregister-ScheduledTask -InputObject $now -Confirm:$false -ErrorAction Stop
        }
        Wait-ServerEnd -Process @(Get-ServerProcess -Folder $folder)
        return
    }
    $oldRunning = @(Get-ServerProcess | Where-Object -FilterScript { $oldServerIds -contains $_.ProcessId })
    if ($state.IsForward -and $oldRunning.Count -eq 0) {
        if (@(Get-ServerProcess -Folder $folder).Count -eq 0) {
            Start-ScheduledTask -TaskName $place.TaskName -TaskPath '\' -ErrorAction Stop
        }
        $null = Wait-ServerAnswer -Folder $folder -Version $version
        return
    }
    # The old server was not ended yet, or it can be started again.
    $state.IsForward = $false
    if (-not $now -or (Export-ScheduledTask -TaskName $place.TaskName -TaskPath '\' -ErrorAction Stop) -ne $oldDefinition) {
        $null = Register-ScheduledTask -TaskName $place.TaskName -TaskPath '\' -Xml $oldDefinition -Force -ErrorAction Stop
    }
    if ($folder -ne $oldFolder) {
        Wait-ServerEnd -Process @(Get-ServerProcess -Folder $folder | Where-Object -FilterScript { $oldServerIds -notcontains $_.ProcessId })
    }
    if (-not $oldIsDisabled -and @(Get-ServerProcess -Folder $oldFolder).Count -eq 0) {
        Start-ScheduledTask -TaskName $place.TaskName -TaskPath '\' -ErrorAction Stop
    }
    # The registration may have started it already; it is as before only when it answers.
    if (-not $oldIsDisabled -and $oldServerIds.Count -gt 0 -and $oldRunning.Count -eq 0) {
        $null = Wait-ServerAnswer -Folder $oldFolder -Version $oldVersion
    }
}

# The task's command is the only switch: it always names a program that is whole.
function Switch-Task {
    Push-Undo -Message $state.SwitchMessage -Step { Restore-Task }
    . Switch-Config
    . Install-TlsFolder
    Write-Step -Message 'Starting the new server in place of the old one'
    $definition = Get-StartupTaskDefinition -Execute $python -Argument $argument -Description $description
    $null = Register-ScheduledTask -TaskName $place.TaskName -TaskPath '\' -Xml $definition -Force -ErrorAction Stop
    # From here on there is nothing to go back to if the earlier program does not start, or if the ports of the
    # configuration in its place were changed.
    $state.IsForward = ($folder -eq $oldFolder -and $configKind -eq 'kept' -and $portsChanged) -or ($task -and -not $oldVersion)
    Wait-ServerEnd -Process $oldServers -Python $python
    if ($deferred.Count -gt 0) {
        $null = Add-Reservation -Port $deferred
    }
    # The registration and the repetition of the task start it too, and to be second is no failure.
    Start-ScheduledTask -TaskName $place.TaskName -TaskPath '\' -ErrorAction Stop
    $state.Answer = Wait-ServerAnswer -Folder $folder -Version $version -Port $tcpPorts
}

# The lines that the new server has logged.
function Get-NewLogLine {
    if (Test-Path -LiteralPath $logFile) {
        $lines = @(Get-Content -LiteralPath $logFile -Encoding UTF8)
        $first = if ($lines.Count -ge $logLines) { $logLines } else { 0 }
        $lines | Select-Object -Skip $first | Select-Object -Last 20
    }
}

$savedPermission = Join-Path -Path $place.Programs -ChildPath 'permissions-before.txt'
$oldDefinition = $null
$oldIsDisabled = $false
$oldServers = @()
$oldServerIds = @()
$logLines = 0
$isFirst = $madeTop = $madeLog = $portsChanged = $false
$newFile = "$configFile.new"
$oldFile = "$configFile.replaced-{0:yyyyMMdd-HHmmss}" -f (Get-Date)
$aside = ''
$deferred = @()
$isDone = $false
$notUndone = @()
try {
    Write-Step -Message $change
    if ($task) {
        $oldDefinition = Export-ScheduledTask -TaskName $place.TaskName -TaskPath '\' -ErrorAction Stop
        $oldIsDisabled = -not $task.Settings.Enabled
    }
    . Install-Program
    . Install-DataFolder
    . Install-NewConfig
    Push-Undo -Message 'give back new reservations' -Step { Clear-Reservation -Keep $oldReservations -JustMade }
    $deferred = @(Add-Reservation -Port $tcpPorts)
    Push-Undo -Message 'bring the firewall rules back' -Step { Restore-FirewallRule -Before $oldRules }
    Sync-FirewallRule -Folder $folder -Port $tcpPorts -Before $oldRules
    $oldPorts = @($oldRules | Where-Object -FilterScript { $_.Name -eq (Get-RuleName -Folder $folder) } | ForEach-Object -Process { $_.Port })
    $portsChanged = ($oldPorts -join ',') -ne (@($tcpPorts | ForEach-Object -Process { "$_" } | Sort-Object -Unique) -join ',')
    $oldServers = @(Get-ServerProcess)
    $oldServerIds = @($oldServers | ForEach-Object -Process { [int] $_.ProcessId })
    if (Test-Path -LiteralPath $logFile) {
        $logLines = @(Get-Content -LiteralPath $logFile -Encoding UTF8).Count
    }
    . Switch-Task
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
        Write-Trouble -Message "The installation failed and is undone. $reason"
        $notUndone = @(Invoke-Undo)
        if ($state.IsForward) {
            $notUndone += if ($oldVersion) { 'the changed configuration is in force' } else { 'the new program stays, because the earlier one does not start' }
        }
        if ($notUndone.Count -eq 0) {
            Write-SetupLog -Message 'Everything is as before.'
        }
        Write-SetupEvent -Type 'ERROR' -Id 2 -Message "The installation of $change failed. $reason"
    }
}
if (-not $isDone) {
    $exitCode = if ($notUndone.Count -eq 0) { 1 } else { 3 }
    $end = if ($notUndone.Count -eq 0) { 'Everything is as before.' } else { "Not undone: $($notUndone -join '; '). Run the script again." }
    Write-Error -Message "$failure $end" -ErrorAction Continue
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
$remains += Invoke-Remainder -Message 'the entry in "Apps & features"' -Step { Register-Application -Folder $folder -Version $version }
$remains += Invoke-Remainder -Message 'remove the firewall rules of earlier versions' -Step { Clear-FirewallRule -Keep (Get-RuleName -Folder $folder) }
$remains += Invoke-Remainder -Message 'give back reservations of ports that are not served any more' -Step { Clear-Reservation -Keep $tcpPorts }
$remains += Invoke-Remainder -Message 'remove what the installation needed for a moment' -Step { Clear-Path -Path $savedPermission }
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
$kept = @($folder)
if ($oldFolder -and $oldFolder -ne $folder) {
    $kept += $oldFolder
}
elseif ($oldFolder) {
    $kept += @(Get-ProgramFolder | Where-Object -FilterScript { $_ -ne $folder -and (Test-ProgramFolder -Folder $_) } |
            Sort-Object -Property { (Get-Item -LiteralPath $_).LastWriteTimeUtc } | Select-Object -Last 1)
}
foreach ($old in @(Get-ProgramFolder | Where-Object -FilterScript { $kept -notcontains $_ })) {
    $remains += Invoke-Remainder -Message "remove the earlier version in $old" -Step { Clear-ProgramFolder -Folder $old }
}
$movedBy100 = "$($place.Programs).previous"
if (Test-Path -LiteralPath $movedBy100) {
    $remains += Invoke-Remainder -Message "remove $movedBy100" -Step { Clear-Path -Path $movedBy100 }
}
$troubles = @(Get-PortTrouble -Answer $state.Answer) + @(Get-FirewallPolicyTrouble)
foreach ($trouble in $troubles) {
    Write-Trouble -Message $trouble
}
$exitCode = if ($remains.Count -eq 0) { 0 } else { 4 }
Write-SetupLog -Message "$change is installed and its server answers. Exit code $exitCode."
Write-SetupEvent -Type 'INFORMATION' -Id 1 -Message "$change is installed and its server answers."

# --- What to do next -------------------------------------------------------------------------------------------------

if ($PassThru) {
    [pscustomobject] @{
        Version         = $version
        PreviousVersion = $oldVersion
        Folder          = $folder
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
    $entries = foreach ($served in $servedPorts) {
        $protocol = if ($served.protocol -eq 'rfc2217') { ', "protocol": "rfc2217"' } else { '' }
        "    `"ttyVirtS$index`": { `"tcpPort`": $($served.tcpPort)$protocol }"
        $index += 1
    }
    $tls = if ($state.Answer.tls) { "`r`n  `"tls`": { `"hostFingerprints`": [`"$($state.Answer.tls.fingerprint)`"] }," } else { '' }
    $headline = "$change is installed and running."
    if ($troubles.Count -gt 0) {
        $headline = "$change is installed and its server answers, but not everything is served yet; see the warnings above."
    }
    $advice = @($tuning | ForEach-Object -Process { "`r`n  $(Get-TuningSentence -Tuning $_)" }) -join ''
    if ($advice) {
        $advice += "`r`n  To change that, run the script again with -TunePorts."
    }
    Write-Output -InputObject @"
$headline$advice
  Program        $folder
  Configuration  $configFile
  Log            $($place.Log)
  Look at it     & '$(Join-Path -Path $folder -ChildPath 'serial-host.cmd')' status

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
