#Requires -Version 5.1
#Requires -RunAsAdministrator

<#
.SYNOPSIS
Installs serial_host on this computer: its serial ports are served over TCP from the start of Windows on.

.DESCRIPTION
Run it in the folder that the zip was unpacked to, for a new version too; after a change of the configuration run it
there or in "Program Files\SerialHost". It
  1. checks the configuration,
  2. ends an older serial_host,
  3. copies the program to "Program Files\SerialHost",
  4. makes "ProgramData\SerialHost" for configuration and log, for administrators and the service account only;
     a configuration that is already there is never overwritten,
  5. reserves the TCP ports, so that Windows (WinNAT) does not take them at the next start,
  6. allows the program to receive connections from the computer's own networks on these ports,
  7. registers a start-up task under LOCAL SERVICE and starts it,
  8. waits until the server listens and prints the desired properties for the module twin.
If a step fails, all earlier ones are undone.

.PARAMETER Port
COM port to serve, such as COM3. For the first installation; later the configuration file says it.

.PARAMETER TcpPort
TCP port to serve it on.

.PARAMETER Config
Configuration file to install instead; see serial-host.sample.toml.

.EXAMPLE
.\Install-SerialHost.ps1 -Port COM3 -TcpPort 5002

.EXAMPLE
.\Install-SerialHost.ps1 -Config .\my-ports.toml -WhatIf

.EXAMPLE
.\Install-SerialHost.ps1

Installs a new version, or applies the configuration after a change.

.NOTES
If Windows does not run scripts: Set-ExecutionPolicy -Scope Process Bypass -Force
#>
[CmdletBinding(SupportsShouldProcess = $true, DefaultParameterSetName = 'Installed')]
param(
    [Parameter(Mandatory = $true, ParameterSetName = 'OnePort')]
    [ValidatePattern('^COM[1-9][0-9]{0,2}$')]
    [string] $Port,

    [Parameter(Mandatory = $true, ParameterSetName = 'OnePort')]
    [ValidateRange(1, 65535)]
    [int] $TcpPort,

    [Parameter(Mandatory = $true, ParameterSetName = 'ConfigFile')]
    [string] $Config
)

$ErrorActionPreference = 'Stop'
Set-StrictMode -Version Latest
# Commands of Windows' own modules (tasks, firewall, network) do not see these two: each is given its -ErrorAction.
. (Join-Path -Path $PSScriptRoot -ChildPath 'scheduled-task-helper.ps1')

$taskName = 'SerialHost'
$ruleName = 'SerialHost-TCP-In'
$programFolder = Join-Path -Path $env:ProgramFiles -ChildPath 'SerialHost'
$previousFolder = $programFolder + '.previous'
$dataFolder = Join-Path -Path $env:ProgramData -ChildPath 'SerialHost'
$logFolder = Join-Path -Path $dataFolder -ChildPath 'log'
$configFile = Join-Path -Path $dataFolder -ChildPath 'serial-host.toml'
$reservedFile = Join-Path -Path $dataFolder -ChildPath 'reserved-tcp-ports.txt'
$bundlePython = Join-Path -Path $PSScriptRoot -ChildPath 'runtime\python.exe'
$installedPython = Join-Path -Path $programFolder -ChildPath 'runtime\python.exe'

function Test-Reserved([int] $Number) {
    # The table's lines read "  5000  5009  *" in every language: first port, last port.
    foreach ($line in & netsh.exe int ipv4 show excludedportrange protocol=tcp store=persistent) {
        if ($line -match '^\s*(\d+)\s+(\d+)(\s|$)' -and [int] $Matches[1] -le $Number -and $Number -le [int] $Matches[2]) {
            return $true
        }
    }
    return $false
}

function Get-ListeningPort([int[]] $Number) {
    Get-NetTCPConnection -State Listen -ErrorAction SilentlyContinue |
        Where-Object -FilterScript { $Number -contains $_.LocalPort } |
        Select-Object -ExpandProperty LocalPort -Unique
}

function Wait-ProgramEnd {
    # While it runs, its folder cannot be moved and the new task starts nothing.
    for ($attempt = 0; $attempt -lt 30; $attempt++) {
        $running = @(Get-CimInstance -ClassName Win32_Process | Where-Object -FilterScript { $_.ExecutablePath -like "$programFolder\*" })
        if ($running.Count -eq 0) {
            return
        }
        Start-Sleep -Milliseconds 500
    }
    throw "Still running in ${programFolder}: process $($running.ProcessId -join ', '). End it and try again."
}

function Assert-ExitCode([string] $Message) {
    if ($LASTEXITCODE -ne 0) {
        throw "$Message (exit code $LASTEXITCODE)"
    }
}

# --- What is to be installed -----------------------------------------------------------------------------------------

if (-not [System.Environment]::Is64BitProcess) {
    throw 'This is a 32-bit PowerShell; run the script in the 64-bit one.'
}
if (-not (Test-Path -LiteralPath $bundlePython)) {
    throw "$bundlePython is missing: run this script in the folder that the zip was unpacked to."
}

$newConfig = $null # the file to copy to $configFile
if (Test-Path -LiteralPath $configFile) {
    $checkedFile = $configFile
    if ($PSCmdlet.ParameterSetName -ne 'Installed') {
        Write-Warning -Message "$configFile is kept as it is. To change it, edit it and run this script without parameters."
    }
}
elseif ($PSCmdlet.ParameterSetName -eq 'ConfigFile') {
    if (-not (Test-Path -LiteralPath $Config -PathType Leaf)) {
        throw "-Config '$Config' is not a file."
    }
    $checkedFile = $newConfig = (Resolve-Path -LiteralPath $Config).ProviderPath
}
elseif ($PSCmdlet.ParameterSetName -eq 'OnePort') {
    $checkedFile = $newConfig = Join-Path -Path $env:TEMP -ChildPath 'serial-host.new.toml'
    [System.IO.File]::WriteAllLines($newConfig, @(
            "# All settings are explained in serial-host.sample.toml in $programFolder.",
            '[[ports]]',
            "device = `"$Port`"",
            "tcp_port = $TcpPort"
        ))
}
else {
    throw "There is no configuration yet: say -Port COM3 -TcpPort 5002, or -Config FILE."
}

$report = & $bundlePython -I -m serial_host check $checkedFile --json
Assert-ExitCode -Message "The configuration $checkedFile cannot be used; the reason stands above."
$servedPorts = @(($report | ConvertFrom-Json).ports)
$tcpPorts = @($servedPorts | ForEach-Object -Process { [int] $_.tcpPort })

# --- Installation, each step remembered for the way back -------------------------------------------------------------

$previousTask = $null
$newReservations = @()
$madeRule = $false
$madeData = $false
$madeConfig = $false
$registered = $false
$copied = $false
$movedPrevious = $false

try {
    $task = Get-ScheduledTask -TaskName $taskName -ErrorAction SilentlyContinue
    if ($task -and $PSCmdlet.ShouldProcess($taskName, 'End the serial_host that is installed')) {
        $previousTask = Export-ScheduledTask -TaskName $taskName -ErrorAction Stop
        # Disabled first: else the next repetition starts what was just ended.
        $null = Disable-ScheduledTask -TaskName $taskName -ErrorAction Stop
        if (Test-Path -LiteralPath $installedPython) {
            & $installedPython -I -m serial_host stop
        }
        # It has ended, or is ended now; whether that worked is seen by what still runs.
        Stop-ScheduledTask -TaskName $taskName -ErrorAction SilentlyContinue
        Wait-ProgramEnd
    }

    # Run in the installed copy, the script only applies a changed configuration.
    if ($PSScriptRoot -ne $programFolder -and $PSCmdlet.ShouldProcess($programFolder, 'Copy the program')) {
        Wait-ProgramEnd
        if (Test-Path -LiteralPath $previousFolder) {
            Remove-Item -LiteralPath $previousFolder -Recurse -Force
        }
        if (Test-Path -LiteralPath $programFolder) {
            Move-Item -LiteralPath $programFolder -Destination $previousFolder
            $movedPrevious = $true
        }
        $copied = $true
        Copy-Item -LiteralPath $PSScriptRoot -Destination $programFolder -Recurse
        Get-ChildItem -LiteralPath $programFolder -Recurse -File | Unblock-File
        # The service account may not write here, so the byte code is made now.
        & $installedPython -I -m compileall -q $programFolder
    }

    if ($PSCmdlet.ShouldProcess($dataFolder, 'Make the folder for configuration and log')) {
        $madeData = -not (Test-Path -LiteralPath $dataFolder)
        $null = New-Item -Path $logFolder -ItemType Directory -Force
        # Any user may have made the folder before, and in it links to what is not the user's to change.
        $links = @(Get-Item -LiteralPath $dataFolder -Force) + @(Get-ChildItem -LiteralPath $dataFolder -Recurse -Force) |
            Where-Object -FilterScript { $_.Attributes -band [System.IO.FileAttributes]::ReparsePoint }
        if ($links) {
            throw "$($links.FullName -join ', ') leads to another place: remove it and try again."
        }
        # Nothing of the permissions stays either. By SID: names differ by language.
        & icacls.exe $dataFolder /setowner '*S-1-5-32-544' /t /q
        Assert-ExitCode -Message "Cannot take over $dataFolder"
        & icacls.exe $dataFolder /reset /t /q
        Assert-ExitCode -Message "Cannot take over $dataFolder"
        # Administrators and SYSTEM: all. LOCAL SERVICE: read; in log also write.
        & icacls.exe $dataFolder /inheritance:r /grant:r '*S-1-5-32-544:(OI)(CI)F' '*S-1-5-18:(OI)(CI)F' '*S-1-5-19:(OI)(CI)RX' /q
        Assert-ExitCode -Message "Cannot set who may use $dataFolder"
        & icacls.exe $logFolder /grant:r '*S-1-5-19:(OI)(CI)M' /q
        Assert-ExitCode -Message "Cannot set who may use $logFolder"
        if ($null -ne $newConfig) {
            Copy-Item -LiteralPath $newConfig -Destination $configFile
            $madeConfig = $true
        }
    }

    foreach ($number in $tcpPorts) {
        if (-not (Test-Reserved -Number $number) -and $PSCmdlet.ShouldProcess("TCP port $number", 'Reserve it for serial_host')) {
            & netsh.exe int ipv4 add excludedportrange protocol=tcp startport=$number numberofports=1 store=persistent
            Assert-ExitCode -Message ("Cannot reserve TCP port $number. Either another program listens on it (Get-NetTCPConnection -LocalPort $number), " +
                'or Windows took it for WinNAT: run "net stop winnat", this script, "net start winnat"; or choose another port.')
            $newReservations += $number
            Add-Content -LiteralPath $reservedFile -Value $number -Encoding ASCII
        }
    }

    if ($PSCmdlet.ShouldProcess($ruleName, "Allow connections to TCP port $($tcpPorts -join ', ') from the computer's own networks")) {
        # By program, port and local networks, not by interface: the interface of Hyper-V's Default Switch is made anew
        # at each start of Windows, and a rule bound to it does not match any more (microsoft/WSL#6731). serial_host
        # itself listens on the virtual switches only.
        if (Get-NetFirewallRule -Name $ruleName -ErrorAction SilentlyContinue) {
            Set-NetFirewallRule -Name $ruleName -Program $installedPython -Protocol TCP -LocalPort $tcpPorts -RemoteAddress LocalSubnet -ErrorAction Stop
        }
        else {
            $null = New-NetFirewallRule -Name $ruleName -DisplayName 'Serial ports over TCP (serial_host)' -Group 'SerialHost' -Direction Inbound -Action Allow -Profile Any -Program $installedPython -Protocol TCP -LocalPort $tcpPorts -RemoteAddress LocalSubnet -ErrorAction Stop
            $madeRule = $true
        }
    }

    if ($PSCmdlet.ShouldProcess($taskName, 'Register and start the start-up task')) {
        $logFile = Join-Path -Path $logFolder -ChildPath 'serial-host.log'
        $argument = "-I -m serial_host run --config `"$configFile`" --log-file `"$logFile`""
        $registered = $true
        $null = Add-StartupScheduledTask -TaskName $taskName -Execute $installedPython -Argument $argument -Description 'Serves the serial ports of this computer over TCP.'
        $deadline = (Get-Date).AddSeconds(30)
        do {
            Start-Sleep -Milliseconds 500
            $listening = @(Get-ListeningPort -Number $tcpPorts)
        } until ($listening.Count -eq $tcpPorts.Count -or (Get-Date) -gt $deadline)
        if ($listening.Count -lt $tcpPorts.Count) {
            if (Test-Path -LiteralPath $logFile) {
                Get-Content -LiteralPath $logFile -Encoding UTF8 -Tail 20 | Write-Warning
            }
            if ((Get-ScheduledTask -TaskName $taskName -ErrorAction Stop).State -ne 'Running') {
                throw 'The server ended right after its start; its last words stand above.'
            }
            Write-Warning -Message "The server runs but does not listen on every port yet. It goes on trying; look with: & '$programFolder\serial-host.cmd' status"
        }
    }
}
catch {
    $failure = $_
    Write-Warning -Message "Installation failed, going back: $failure"
    $ErrorActionPreference = 'Continue'
    try {
        if ($registered) {
            Remove-StartupScheduledTask -TaskName $taskName -Confirm:$false
            Wait-ProgramEnd
        }
    }
    catch {
        Write-Warning -Message "$_"
    }
    if ($madeRule) {
        Remove-NetFirewallRule -Name $ruleName -ErrorAction Continue
    }
    foreach ($number in $newReservations) {
        & netsh.exe int ipv4 delete excludedportrange protocol=tcp startport=$number numberofports=1 store=persistent
    }
    if ($madeData) {
        Remove-Item -LiteralPath $dataFolder -Recurse -Force
    }
    elseif ($madeConfig) {
        Remove-Item -LiteralPath $configFile -Force
    }
    if ($copied -and (Test-Path -LiteralPath $programFolder)) {
        Remove-Item -LiteralPath $programFolder -Recurse -Force
    }
    if ($movedPrevious) {
        if (Test-Path -LiteralPath $programFolder) {
            # Moved now, it would land inside.
            Write-Warning -Message "The earlier version stays in ${previousFolder}: move it to $programFolder by hand."
        }
        else {
            Move-Item -LiteralPath $previousFolder -Destination $programFolder
        }
    }
    if ($previousTask) {
        $null = Register-ScheduledTask -TaskName $taskName -Xml $previousTask -Force -ErrorAction Continue
        # Its registration trigger starts it too, and to be second is no failure.
        Start-ScheduledTask -TaskName $taskName -ErrorAction SilentlyContinue
    }
    throw $failure
}

# --- What to do next -------------------------------------------------------------------------------------------------

if ($WhatIfPreference) {
    return
}
if ((Test-Path -LiteralPath $previousFolder) -and $PSCmdlet.ShouldProcess($previousFolder, 'Remove the earlier version')) {
    # What cannot be removed now (a virus scanner looks at it) the next installation removes.
    Remove-Item -LiteralPath $previousFolder -Recurse -Force -ErrorAction Continue
}
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
Write-Output -InputObject @"
serial_host is installed and running.
  Configuration  $configFile
  Log            $logFolder
  Look at it     & '$programFolder\serial-host.cmd' status

Desired properties for the module twin:

{
  "host": "$(if ($address) { $address.IPAddress } else { $name })",
  "serialPorts": {
$($entries -join ",`r`n")
  }
}

On Hyper-V's Default Switch the address changes when Windows starts: write "host": "$name" there.
"@
