# Processes, devices, TCP ports and time: part of windows.psm1.

function Get-CimInstance {
    [CmdletBinding()]
    param(
        [Parameter(Mandatory, Position = 0)] [ValidateSet('Win32_Process', 'Win32_PnPEntity', 'MSPower_DeviceEnable')] [string] $ClassName,
        [string] $Filter, [ValidateSet('root\wmi')] [string] $Namespace
    )
    try { Enter-Call 'Get-CimInstance' "$Namespace$Filter" } catch { $PSCmdlet.WriteError((ConvertTo-Failure $PSCmdlet $_.Exception)); return }
    if ($ClassName -eq 'MSPower_DeviceEnable') {
        if ($Filter -or -not $Namespace) { throw 'Invalid class' }
        $power = $script:world.State['power'] ?? @{}
        foreach ($name in @($power.Keys | Sort-Object)) { [pscustomobject] @{ InstanceName = $name; Enable = [bool] $power[$name].enable } }
        return
    }
    if ($ClassName -eq 'Win32_PnPEntity') {
        if ($Filter -ne "PNPClass = 'Ports'" -or $Namespace) { throw "Invalid query: $Filter" }
        foreach ($device in @($script:world.State['devices'] ?? @())) { [pscustomobject] @{ Name = $device.name; PNPDeviceID = $device.id } }
        return
    }
    if ($Filter -notmatch "^(Name = 'python\.exe'|ProcessId = \d+)$") { throw "Invalid query: $Filter" }
    foreach ($id in @($script:world.State.processes.Keys | Sort-Object)) {
        $process = $script:world.State.processes[$id]
        if (-not (Test-Alive $id)) { continue }
        if ($Filter -eq "ProcessId = $id" -or $Filter -eq "Name = '$($process.name)'") {
            [pscustomobject] @{ ProcessId = [uint32] $id; ExecutablePath = $process.path; CommandLine = $process.line; Name = $process.name }
        }
    }
}

function Set-CimInstance {
    [CmdletBinding()]
    param([Parameter(Mandatory)] $InputObject, [Parameter(Mandatory)] [hashtable] $Property)
    try {
        Enter-Call 'Set-CimInstance' $InputObject.InstanceName
        if (@($Property.Keys) -ne 'Enable') { throw 'Invalid parameter' }
        $script:world.State.power[$InputObject.InstanceName].enable = [bool] $Property.Enable
        Save-Computer
    }
    catch { $PSCmdlet.WriteError((ConvertTo-Failure $PSCmdlet $_.Exception)) }
}

function Get-PnpDeviceProperty {
    [CmdletBinding()]
    param([Parameter(Mandatory)] [string[]] $InstanceId, [Parameter(Mandatory)] [ValidateSet('DEVPKEY_Device_Parent')] [string] $KeyName)
    try {
        Enter-Call 'Get-PnpDeviceProperty' "$InstanceId"
        foreach ($device in @($script:world.State.devices | Where-Object { $InstanceId -contains $_.id })) { [pscustomobject] @{ Data = $device.parent } }
    }
    catch { $PSCmdlet.WriteError((ConvertTo-Failure $PSCmdlet $_.Exception)) }
}

function Stop-Process {
    [CmdletBinding()]
    param([Parameter(Mandatory)] [int[]] $Id, [switch] $Force)
    try {
        Enter-Call 'Stop-Process' "$Id"
        foreach ($one in $Id) { Stop-Server $one }
        Save-Computer
    }
    catch { $PSCmdlet.WriteError((ConvertTo-Failure $PSCmdlet $_.Exception)) }
}

function Get-NetTCPConnection {
    [CmdletBinding()]
    param([ValidateSet('Listen')] [string] $State)
    try { Enter-Call 'Get-NetTCPConnection' } catch { $PSCmdlet.WriteError((ConvertTo-Failure $PSCmdlet $_.Exception)); return }
    $listeners = if ($script:world.Real) { Get-RealListener } else { $script:world.State.listeners }
    foreach ($port in @($listeners.Keys)) {
        [pscustomobject] @{ LocalPort = [uint16] $port; OwningProcess = [uint32] $listeners[$port] }
    }
}

# TCP port -> process, by the sockets' inodes (proc(5)).
function Get-RealListener {
    $ports = @{}
    foreach ($line in [System.IO.File]::ReadAllLines('/proc/net/tcp') | Select-Object -Skip 1) {
        $words = $line.Trim() -split '\s+'
        if ($words[3] -eq '0A') { $ports[$words[9]] = [Convert]::ToInt32($words[1].Split(':')[1], 16) }
    }
    $found = @{}
    foreach ($process in [System.IO.Directory]::GetDirectories('/proc')) {
        $id = Split-Path $process -Leaf
        if ($id -notmatch '^\d+$') { continue }
        try { $links = [System.IO.Directory]::GetFiles("$process/fd") } catch { continue }
        foreach ($link in $links) {
            $target = [System.IO.FileInfo]::new($link).LinkTarget
            if ($target -match '^socket:\[(\d+)\]$' -and $ports.ContainsKey($Matches[1])) { $found["$($ports[$Matches[1]])"] = [int] $id }
        }
    }
    $found
}

function Get-NetIPAddress {
    [CmdletBinding()]
    param([string] $AddressFamily, [string] $InterfaceAlias)
    try { Enter-Call 'Get-NetIPAddress' } catch { $PSCmdlet.WriteError((ConvertTo-Failure $PSCmdlet $_.Exception)); return }
    [pscustomobject] @{ IPAddress = '172.22.0.1'; InterfaceAlias = 'vEthernet (WSL)' }
    [pscustomobject] @{ IPAddress = '172.18.246.137'; InterfaceAlias = 'vEthernet (Default Switch)' }
}

function Start-Sleep {
    [CmdletBinding()]
    param([Parameter(Mandatory)] [int] $Milliseconds)
    if ($script:world.Frozen) { throw [System.InvalidOperationException]::new('PowerShell was killed') }
    if ($script:world.Real) { [System.Threading.Thread]::Sleep($Milliseconds) }
    $before = [math]::Floor($script:world.Seconds / 60)
    $script:world.Seconds += $Milliseconds / 1000
    if ([math]::Floor($script:world.Seconds / 60) -gt $before) { Step-Minute }
}
