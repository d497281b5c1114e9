# Stand-ins for the commands of Windows that the scripts in host/windows use, for PowerShell on Linux.
#
# They behave as Windows' own in what matters here: as functions of a module they do not see the preferences of their
# caller (the file commands apart, which do); they take only the parameters that the scripts give, in the sets of the
# real commands; they keep the state of the computer in a JSON file. Every call can be the place of a fault:
#   fail   the call fails as the real command would, once
#   stop   the pipeline is stopped there, as Ctrl+C and the end of a remote session do
#   full   the disk is full: a part is written
#   kill   nothing that the script does from there on has any effect, as after the end of its process
# The server is a light one (a process in the JSON file) or, in a few tests, the real one.

Set-StrictMode -Version Latest

$script:world = $null
$OFS = ' '

# --- The state of the computer ---------------------------------------------------------------------------------------

function New-Computer {
    @{ tasks = @{}; rules = @{}; ranges = @(); acls = @{}; registry = @{}; processes = @{}; listeners = @{}; nextId = 1000; events = @() }
}

function Enter-Computer {
    param([string] $Root, [int] $FaultAt = 0, [string] $FaultKind = '', $Shell = $null, [switch] $RealServer, [string[]] $Bundles = @(), [string] $FaultName = '')
    $file = Join-Path $Root 'computer.json'
    $state = if (Test-Path -LiteralPath $file) { [System.IO.File]::ReadAllText($file) | ConvertFrom-Json -AsHashtable } else { New-Computer }
    $script:world = @{
        Root = $Root; File = $file; State = $state; At = $FaultAt; Kind = $FaultKind; Name = $FaultName; Shell = $Shell; Real = [bool] $RealServer
        Calls = [System.Collections.ArrayList]::new(); Frozen = $false; Faulted = $false; Broken = [System.Collections.ArrayList]::new()
        WatchTask = $false; Seconds = 0.0; Full = $false
    }
    $env:ProgramFiles = Join-Path $Root 'Program Files'
    $env:ProgramData = Join-Path $Root 'ProgramData'
    $env:SystemRoot = Join-Path $Root 'Windows'
    $env:COMPUTERNAME = 'PLANT7'
    if (-not $RealServer) {
        $programs = Join-Path $env:ProgramFiles 'SerialHost'
        $folders = @($programs) + @($Bundles)
        foreach ($name in '1.0.0', '1.1.0', '1.1.0-2', '1.2.0', '1.2.0-2', '1.2.0-3') { $folders += Join-Path $programs $name }
        $number = 0
        foreach ($folder in $folders) {
            # An alias may have the name of a file, and comes before it.
            $python = Join-Path $folder 'runtime/python.exe'
            $number += 1
            Set-Item -Path "function:global:Invoke-LightPython$number" -Value ([scriptblock]::Create("Invoke-LightPython '$($python.Replace("'", "''"))' `$args"))
            Set-Alias -Name $python -Value "Invoke-LightPython$number" -Scope Global
        }
    }
    $script:world.WatchTask = $state.tasks.ContainsKey('\SerialHost') -and $state.tasks['\SerialHost'].enabled -and
    ($RealServer -or (Test-LightProgram (Read-Action $state.tasks['\SerialHost'].xml).Command))
}

function Get-World { $script:world }

function Save-Computer {
    [System.IO.File]::WriteAllText($script:world.File, ($script:world.State | ConvertTo-Json -Depth 8))
}

# Called first by every stand-in. Throws when this call is to fail; returns when it is to be carried out.
function Enter-Call([string] $Name, [string] $Detail = '') {
    $w = $script:world
    if ($w.Frozen) { throw [System.InvalidOperationException]::new('PowerShell was killed') }
    $null = $w.Calls.Add("$Name $Detail")
    if ($w.WatchTask) { Test-TaskIsWhole "$Name $Detail" }
    if (-not $w.Faulted -and ($w.Calls.Count -eq $w.At -or ($w.Name -and "$Name $Detail" -like $w.Name))) {
        $w.Faulted = $true
        switch ($w.Kind) {
            'stop' {
                $null = $w.Shell.BeginStop($null, $null)
                [System.Threading.Thread]::Sleep(2)
                while ($true) { Microsoft.PowerShell.Utility\Start-Sleep -Milliseconds 5 }
            }
            'full' {
                $w.Full = $true
                return
            }
            'kill' {
                $w.Frozen = $true
                throw [System.InvalidOperationException]::new('PowerShell was killed')
            }
            'die' { Microsoft.PowerShell.Management\Stop-Process -Id $PID -Force; Microsoft.PowerShell.Utility\Start-Sleep -Seconds 60 }
            default { throw [System.Management.Automation.RuntimeException]::new("Injected fault in $Name.") }
        }
    }
}

# "At no moment is there no enabled task whose program is whole": looked at before each call of an upgrade.
function Test-TaskIsWhole([string] $Where) {
    $task = $script:world.State.tasks['\SerialHost']
    $problem = if (-not $task) { 'there is no task' }
    elseif (-not $task.enabled) { 'the task is disabled' }
    elseif (-not $script:world.Real -and -not (Test-LightProgram (Read-Action $task.xml).Command)) { 'the program of the task is not whole' }
    if ($problem) { $null = $script:world.Broken.Add("before ${Where}: $problem") }
}

function ConvertTo-Failure($Cmdlet, $Exception, [string] $Category = 'NotSpecified') {
    [System.Management.Automation.ErrorRecord]::new($Exception, 'StandIn', $Category, $null)
}

# --- Task Scheduler --------------------------------------------------------------------------------------------------

function Read-Action([string] $Xml) {
    $definition = [xml] $Xml
    $exec = $definition.Task.Actions.Exec
    $arguments = if ($exec['Arguments']) { $exec['Arguments'].InnerText } else { '' }
    @{ Command = $exec['Command'].InnerText; Arguments = $arguments }
}

function Get-TaskState($Task) {
    $process = if ($Task.instance) { $script:world.State.processes["$($Task.instance)"] } else { $null }
    if ($process -and (Test-Alive $Task.instance)) { 'Running' } elseif ($Task.enabled) { 'Ready' } else { 'Disabled' }
}

function ConvertTo-TaskObject([string] $Key) {
    $task = $script:world.State.tasks[$Key]
    $action = Read-Action $task.xml
    $at = $Key.LastIndexOf('\')
    [pscustomobject] @{
        TaskName = $Key.Substring($at + 1); TaskPath = $Key.Substring(0, $at + 1); State = Get-TaskState $task
        Settings = [pscustomobject] @{ Enabled = $task.enabled }
        Actions = @([pscustomobject] @{ Execute = $action.Command; Arguments = $action.Arguments })
    }
}

function Start-TaskInstance([string] $Key) {
    $task = $script:world.State.tasks[$Key]
    if ($task.enabled -and (Get-TaskState $task) -ne 'Running') {
        $action = Read-Action $task.xml
        $id = Start-Server $action.Command $action.Arguments
        if ($id) { $task.instance = $id }
    }
    Save-Computer
}

# A minute passes: the repetition of each enabled task starts what does not run.
function Step-Minute {
    foreach ($key in @($script:world.State.tasks.Keys)) { Start-TaskInstance $key }
}

function Get-ScheduledTask {
    [CmdletBinding()]
    param([Parameter(Position = 0)] [string[]] $TaskName, [Parameter(Position = 1)] [string[]] $TaskPath)
    try { Enter-Call 'Get-ScheduledTask' } catch { $PSCmdlet.WriteError((ConvertTo-Failure $PSCmdlet $_.Exception)); return }
    foreach ($key in @($script:world.State.tasks.Keys | Sort-Object)) {
        $found = ConvertTo-TaskObject $key
        $byName = -not $TaskName -or @($TaskName | Where-Object { $found.TaskName -like $_ }).Count
        $byPath = -not $TaskPath -or @($TaskPath | Where-Object { $found.TaskPath -like $_ }).Count
        if ($byName -and $byPath) { $found }
    }
}

function Resolve-TaskKey([string] $TaskPath, [string] $TaskName) {
    $key = "$TaskPath$TaskName"
    if (-not $script:world.State.tasks.ContainsKey($key)) { throw "The system cannot find the file specified: $key" }
    $key
}

function Export-ScheduledTask {
    [CmdletBinding()]
    param([Parameter(Mandatory, Position = 0)] [string] $TaskName, [Parameter(Position = 1)] [string] $TaskPath = '\')
    try {
        Enter-Call 'Export-ScheduledTask' $TaskName
        $task = $script:world.State.tasks[(Resolve-TaskKey $TaskPath $TaskName)]
        if ($task.enabled) { $task.xml } else { $task.xml.Replace('<Settings>', "<Settings>`n    <Enabled>false</Enabled>") }
    }
    catch { $PSCmdlet.WriteError((ConvertTo-Failure $PSCmdlet $_.Exception)) }
}

function Register-ScheduledTask {
    [CmdletBinding()]
    param(
        [Parameter(Mandatory, Position = 0)] [string] $TaskName, [Parameter(Position = 1)] [string] $TaskPath = '\',
        [Parameter(Mandatory)] [string] $Xml, [switch] $Force
    )
    try {
        Enter-Call 'Register-ScheduledTask' $TaskName
        if ($TaskName -match '[\\/:*?"<>|]') { throw 'The filename, directory name, or volume label syntax is incorrect.' }
        $key = "$TaskPath$TaskName"
        $old = $script:world.State.tasks[$key]
        if ($old -and -not $Force) { throw 'Cannot create a file when that file already exists.' }
        $null = Read-Action $Xml
        $enabled = -not $Xml.Contains('<Enabled>false</Enabled>')
        $plain = $Xml.Replace("<Settings>`n    <Enabled>false</Enabled>", '<Settings>')
        # An instance of the earlier definition goes on, and as long as it runs no other is started.
        $script:world.State.tasks[$key] = @{ xml = $plain; enabled = $enabled; instance = $(if ($old) { $old.instance } else { $null }) }
        Start-TaskInstance $key
        ConvertTo-TaskObject $key
    }
    catch { $PSCmdlet.WriteError((ConvertTo-Failure $PSCmdlet $_.Exception)) }
}

function Start-ScheduledTask {
    [CmdletBinding()]
    param([Parameter(Mandatory, Position = 0)] [string] $TaskName, [Parameter(Position = 1)] [string] $TaskPath = '\')
    try {
        Enter-Call 'Start-ScheduledTask' $TaskName
        $key = Resolve-TaskKey $TaskPath $TaskName
        if (-not $script:world.State.tasks[$key].enabled) { throw 'The task is disabled.' }
        Start-TaskInstance $key
    }
    catch { $PSCmdlet.WriteError((ConvertTo-Failure $PSCmdlet $_.Exception)) }
}

function Stop-ScheduledTask {
    [CmdletBinding()]
    param([Parameter(Mandatory, Position = 0)] [string] $TaskName, [Parameter(Position = 1)] [string] $TaskPath = '\')
    try {
        Enter-Call 'Stop-ScheduledTask' $TaskName
        $task = $script:world.State.tasks[(Resolve-TaskKey $TaskPath $TaskName)]
        if ($task.instance) { Stop-Server $task.instance }
        $task.instance = $null
        Save-Computer
    }
    catch { $PSCmdlet.WriteError((ConvertTo-Failure $PSCmdlet $_.Exception)) }
}

function Disable-ScheduledTask {
    [CmdletBinding()]
    param([Parameter(Mandatory, Position = 0)] [string] $TaskName, [Parameter(Position = 1)] [string] $TaskPath = '\')
    try {
        Enter-Call 'Disable-ScheduledTask' $TaskName
        $key = Resolve-TaskKey $TaskPath $TaskName
        $script:world.State.tasks[$key].enabled = $false
        Save-Computer
        ConvertTo-TaskObject $key
    }
    catch { $PSCmdlet.WriteError((ConvertTo-Failure $PSCmdlet $_.Exception)) }
}

function Unregister-ScheduledTask {
    [CmdletBinding(SupportsShouldProcess, ConfirmImpact = 'High')]
    param([Parameter(Mandatory, ValueFromPipeline)] $InputObject)
    try {
        Enter-Call 'Unregister-ScheduledTask' $InputObject.TaskName
        $key = Resolve-TaskKey $InputObject.TaskPath $InputObject.TaskName
        # A running instance goes on.
        $script:world.State.tasks.Remove($key)
        Save-Computer
    }
    catch { $PSCmdlet.WriteError((ConvertTo-Failure $PSCmdlet $_.Exception)) }
}

# --- Processes and ports ---------------------------------------------------------------------------------------------

function Test-Alive($Id) {
    if (-not $script:world.State.processes.ContainsKey("$Id")) { return $false }
    if ($script:world.Real) {
        $stat = "/proc/$Id/stat"
        return (Test-Path -LiteralPath $stat) -and [System.IO.File]::ReadAllText($stat) -notmatch '\) Z '
    }
    $true
}

# The light program: three files that must all be there and of one version.
function Test-LightProgram([string] $Python) {
    if ($Python -notmatch '^/.+/.+/') { return $null }
    $folder = Split-Path (Split-Path $Python)
    $versions = foreach ($name in 'runtime/python.exe', 'app/serial_host.txt', 'packages/serial.txt') {
        $file = Join-Path $folder $name
        if (-not [System.IO.File]::Exists($file)) { return $null }
        [System.IO.File]::ReadAllText($file).Trim()
    }
    $distinct = @($versions | Select-Object -Unique)
    if ($distinct.Count -eq 1 -and $distinct[0] -match '^\d') { $distinct[0] }
}

function Read-LightConfig([string] $File) {
    $device = $null
    foreach ($line in [System.IO.File]::ReadAllLines($File)) {
        if ($line -match '^device = "(.*)"') { $device = $Matches[1] }
        elseif ($line -match '^tcp_port = (\d+)') { @{ device = $device; port = [int] $Matches[1] } }
        elseif ($line -match '^nonsense') { throw "$File, line 1: unknown key" }
    }
}

function Start-Server([string] $Command, [string] $Arguments) {
    if ($script:world.Real) {
        $words = @([regex]::Matches($Arguments, '"([^"]*)"|(\S+)') | ForEach-Object { if ($_.Groups[1].Success) { $_.Groups[1].Value } else { $_.Groups[2].Value } })
        # setsid: Ctrl+C in a terminal does not reach what Task Scheduler started.
        $start = [System.Diagnostics.ProcessStartInfo]::new($Command)
        foreach ($word in $words) { $start.ArgumentList.Add($word) }
        $start.RedirectStandardOutput = $start.RedirectStandardError = $start.RedirectStandardInput = $true
        try { $id = [System.Diagnostics.Process]::Start($start).Id } catch { return $null }
    }
    else {
        $version = Test-LightProgram $Command
        if (-not $version) { return $null }
        if ([System.IO.File]::ReadAllText($Command).Contains('ends at once')) { return $null }
        $script:world.State.nextId += 1
        $id = $script:world.State.nextId
        $config = [regex]::Match($Arguments, '--config "([^"]+)"').Groups[1].Value
        try { $ports = @(Read-LightConfig $config) } catch { return $null }
        # Another program may be faster, after the reservation.
        if ($script:world.State.ContainsKey('thief')) { $script:world.State.listeners["$($script:world.State.thief)"] = 77 }
        # COM9 is never there, and a port without its device does not listen.
        foreach ($port in $ports | Where-Object { $_.device -ne 'COM9' }) {
            if (-not $script:world.State.listeners.ContainsKey("$($port.port)")) { $script:world.State.listeners["$($port.port)"] = $id }
        }
        $said = @(foreach ($port in $ports) {
                $has = $script:world.State.listeners["$($port.port)"] -eq $id
                @{
                    name = $port.device; device = $(if ($port.device -eq 'COM9') { $null } else { $port.device }); tcp_port = $port.port; state = $(if ($port.device -eq 'COM9') { 'absent' } else { 'open' }); protocol = 'raw'
                    last_error = $(if ($port.device -eq 'COM9') { 'COM9 does not exist' } else { $null })
                    listening = @(if ($has) { "127.0.0.1:$($port.port)" }); not_listening = @(if (-not $has -and $port.device -ne 'COM9') { "127.0.0.1:$($port.port): address in use" })
                }
            })
        $script:world.State.processes["$id"] = @{ path = $Command; line = "`"$Command`" $Arguments"; name = 'python.exe'; version = $version; ports = $said }
        return $id
    }
    $script:world.State.processes["$id"] = @{ path = $Command; line = "`"$Command`" $Arguments"; name = 'python.exe' }
    $id
}

function Stop-Server($Id) {
    if ($script:world.Real) {
        try { [System.Diagnostics.Process]::GetProcessById($Id).Kill() } catch { }
        return
    }
    $script:world.State.processes.Remove("$Id")
    foreach ($port in @($script:world.State.listeners.Keys)) {
        if ($script:world.State.listeners[$port] -eq $Id) { $script:world.State.listeners.Remove($port) }
    }
    foreach ($task in $script:world.State.tasks.Values) { if ($task.instance -eq $Id) { $task.instance = $null } }
}

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

function Invoke-LightPython([string] $Python, [string[]] $Words) {
    $line = "$Words"
    $global:LASTEXITCODE = 1
    try { Enter-Call 'python.exe' ($line -replace '^-I -m ', '') } catch { if ($script:world.Frozen) { throw }; Write-Error "$_" -ErrorAction Continue; return }
    $version = Test-LightProgram $python
    if (-not $version) { throw [System.Management.Automation.ApplicationFailedException]::new("Program '$python' failed to run: The specified executable is not a valid application for this OS platform.") }
    $state = $script:world.State
    switch -Regex ($line) {
        'serial_host --version$' { "serial_host $version" }
        'serial_host check (.+) --json$' {
            try { $ports = @(Read-LightConfig $Matches[1]) } catch { Write-Error "serial_host: $_" -ErrorAction Continue; $global:LASTEXITCODE = 2; return }
            @{ ports = @($ports | ForEach-Object { @{ device = $_.device; tcpPort = $_.port; protocol = 'raw' } }) } | ConvertTo-Json -Compress -Depth 4
        }
        'serial_host (stop|status --json) --pid (\d+)$' {
            $id = $Matches[2]
            if (-not $state.processes.ContainsKey($id) -or -not $state.processes[$id].ContainsKey('version')) {
                Write-Error "serial_host: the server (process $id) does not answer" -ErrorAction Continue
                return
            }
            if ($line -match ' stop ') { Stop-Server ([int] $id); Save-Computer; "stopped the server (process $id)" }
            else {
                $tls = if (Select-String -LiteralPath (Join-Path $env:ProgramData 'SerialHost/serial-host.toml') -Pattern '^\[tls\]' -Quiet) { @{ fingerprint = 'sha256:' + '0' * 64 } }
                @{ servers = @(@{ version = $state.processes[$id].version; pid = [int] $id; ports = $state.processes[$id].ports; tls = $tls }) } | ConvertTo-Json -Compress -Depth 6
            }
        }
        'compileall -q' { }
        default { Write-Error "unknown arguments: $line" -ErrorAction Continue; $global:LASTEXITCODE = 2; return }
    }
    $global:LASTEXITCODE = 0
}

# --- Firewall --------------------------------------------------------------------------------------------------------

function ConvertTo-RuleObject([string] $Name) {
    $rule = $script:world.State.rules[$Name]
    [pscustomobject] @{ Name = $Name; DisplayName = $rule.displayName; Group = $rule.group; Enabled = $rule.enabled }
}

function Get-NetFirewallRule {
    [CmdletBinding()]
    param([Parameter(Mandatory)] [string[]] $Group)
    try { Enter-Call 'Get-NetFirewallRule' } catch { $PSCmdlet.WriteError((ConvertTo-Failure $PSCmdlet $_.Exception)); return }
    $found = @($script:world.State.rules.Keys | Sort-Object | Where-Object { $Group -contains $script:world.State.rules[$_].group })
    if ($found.Count -eq 0) {
        $PSCmdlet.WriteError((ConvertTo-Failure $PSCmdlet ([System.Exception]::new("No MSFT_NetFirewallRule objects found with property 'RuleGroup' equal to '$Group'.")) 'ObjectNotFound'))
    }
    foreach ($name in $found) { ConvertTo-RuleObject $name }
}

function Get-NetFirewallApplicationFilter {
    [CmdletBinding()]
    param([Parameter(Mandatory)] $AssociatedNetFirewallRule)
    try { Enter-Call 'Get-NetFirewallApplicationFilter' } catch { $PSCmdlet.WriteError((ConvertTo-Failure $PSCmdlet $_.Exception)); return }
    [pscustomobject] @{ Program = $script:world.State.rules[$AssociatedNetFirewallRule.Name].program }
}

function Get-NetFirewallPortFilter {
    [CmdletBinding()]
    param([Parameter(Mandatory)] $AssociatedNetFirewallRule)
    try { Enter-Call 'Get-NetFirewallPortFilter' } catch { $PSCmdlet.WriteError((ConvertTo-Failure $PSCmdlet $_.Exception)); return }
    $rule = $script:world.State.rules[$AssociatedNetFirewallRule.Name]
    [pscustomobject] @{ Protocol = $rule.protocol; LocalPort = $rule.localPort }
}

function Get-NetFirewallProfile {
    [CmdletBinding()]
    param([Parameter(Mandatory)] [ValidateSet('ActiveStore')] [string] $PolicyStore)
    try { Enter-Call 'Get-NetFirewallProfile' } catch { $PSCmdlet.WriteError((ConvertTo-Failure $PSCmdlet $_.Exception)); return }
    $ignored = $script:world.State.ContainsKey('policyIgnoresRules')
    foreach ($name in 'Domain', 'Private', 'Public') {
        [pscustomobject] @{ Name = $name; AllowLocalFirewallRules = $(if ($ignored -and $name -eq 'Domain') { 'False' } else { 'NotConfigured' }) }
    }
}

function New-NetFirewallRule {
    [CmdletBinding()]
    param(
        [Parameter(Mandatory)] [string] $Name, [Parameter(Mandatory)] [string] $DisplayName, [string] $Group,
        [ValidateSet('Inbound', 'Outbound')] [string] $Direction, [ValidateSet('Allow', 'Block')] [string] $Action,
        [ValidateSet('Any', 'Domain', 'Private', 'Public')] [string] $Profile, [string] $Program, [string] $Protocol,
        [string[]] $LocalPort, [string[]] $RemoteAddress
    )
    try {
        Enter-Call 'New-NetFirewallRule' $Name
        if ($script:world.State.rules.ContainsKey($Name)) { throw 'Cannot create a file when that file already exists.' }
        $script:world.State.rules[$Name] = @{
            displayName = $DisplayName; group = $Group; direction = $Direction; action = $Action; profile = $Profile; program = $Program
            protocol = $Protocol; localPort = @($LocalPort); remoteAddress = @($RemoteAddress); enabled = 'True'
        }
        Save-Computer
        ConvertTo-RuleObject $Name
    }
    catch { $PSCmdlet.WriteError((ConvertTo-Failure $PSCmdlet $_.Exception)) }
}

function Copy-NetFirewallRule {
    [CmdletBinding()]
    param([Parameter(Mandatory)] [string] $Name, [Parameter(Mandatory)] [string] $NewName)
    try {
        Enter-Call 'Copy-NetFirewallRule' $Name
        if ($script:world.State.rules.ContainsKey($NewName)) { throw 'Cannot create a file when that file already exists.' }
        $script:world.State.rules[$NewName] = $script:world.State.rules[$Name].Clone()
        Save-Computer
    }
    catch { $PSCmdlet.WriteError((ConvertTo-Failure $PSCmdlet $_.Exception)) }
}

function Set-NetFirewallRule {
    [CmdletBinding()]
    param([Parameter(Mandatory)] [string] $Name, [string] $Program, [string] $Protocol, [string[]] $LocalPort)
    try {
        Enter-Call 'Set-NetFirewallRule' $Name
        if ($LocalPort -and -not $Protocol) { throw 'LocalPort needs Protocol.' }
        $rule = $script:world.State.rules[$Name]
        if (-not $rule) { throw "No rule '$Name'." }
        $rule.program = $Program; $rule.protocol = $Protocol; $rule.localPort = @($LocalPort)
        Save-Computer
    }
    catch { $PSCmdlet.WriteError((ConvertTo-Failure $PSCmdlet $_.Exception)) }
}

function Remove-NetFirewallRule {
    [CmdletBinding()]
    param([Parameter(Mandatory)] [string] $Name)
    try {
        Enter-Call 'Remove-NetFirewallRule' $Name
        if (-not $script:world.State.rules.ContainsKey($Name)) { throw "No rule '$Name'." }
        $script:world.State.rules.Remove($Name)
        Save-Computer
    }
    catch { $PSCmdlet.WriteError((ConvertTo-Failure $PSCmdlet $_.Exception)) }
}

# --- Native programs -------------------------------------------------------------------------------------------------

# As a native program does: a line on standard error and an exit code, whatever the preferences are.
function Complete-Native([int] $Code, [string] $Text) {
    if ($Code -ne 0) { Write-Error $Text -ErrorAction Continue }
    $global:LASTEXITCODE = $Code
}

function netsh.exe {
    try { Enter-Call 'netsh.exe' "$args" } catch { if ($script:world.Frozen) { throw }; Complete-Native 1 "$_"; return }
    $state = $script:world.State
    $words = "$args"
    if ($words -notmatch '^int ipv4 (show|add|delete) excludedportrange protocol=tcp( startport=(\d+) numberofports=1)? store=persistent$') { Complete-Native 1 'The syntax is wrong.'; return }
    $what = $Matches[1]
    $port = if ($Matches.ContainsKey(3)) { [int] $Matches[3] } else { 0 }
    switch ($what) {
        'show' {
            ''; 'Protokoll tcp Portausschlussbereiche'; ''; 'Startport    Endport'; '----------    --------'
            foreach ($range in $state.ranges) { '{0,10}{1,12}{2}' -f $range[0], $range[1], $(if ($range[0] -eq 50000) { '     *' }) }
            ''; '* - Verwaltete Portausschluesse.'
        }
        'add' {
            if (@($state.ranges | Where-Object { $_[0] -le $port -and $port -le $_[1] }).Count -or $state.listeners.ContainsKey("$port")) {
                Complete-Native 1 'The process cannot access the file because it is being used by another process.'; return
            }
            $state.ranges = @($state.ranges) + , @($port, $port)
            Save-Computer; 'Ok.'
        }
        'delete' {
            $left = @($state.ranges | Where-Object { -not ($_[0] -eq $port -and $_[1] -eq $port) })
            if ($left.Count -eq @($state.ranges).Count) { Complete-Native 1 'The system cannot find the file specified.'; return }
            $state.ranges = @($left | ForEach-Object { , $_ })
            Save-Computer; 'Ok.'
        }
    }
    $global:LASTEXITCODE = 0
}

function reg.exe {
    try { Enter-Call 'reg.exe' "$args" } catch { if ($script:world.Frozen) { throw }; Complete-Native 1 "$_"; return }
    $registry = $script:world.State.registry
    switch ($args[0]) {
        'query' {
            $top = $args[1]
            # As reg.exe: the values of the key, then the names of the keys right below it.
            $below = @($registry.Keys | Where-Object { $_.StartsWith("$top\") } | ForEach-Object { "$top\$($_.Substring($top.Length + 1).Split('\')[0])" } | Sort-Object -Unique)
            if ($args.Count -gt 2 -or -not ($registry.ContainsKey($top) -or $below.Count -or $top -like '*\CurrentControlSet\Enum')) {
                Complete-Native 1 'ERROR: The system was unable to find the specified registry key or value.'; return
            }
            if ($registry.ContainsKey($top)) {
                ''; $top.Replace('HKLM', 'HKEY_LOCAL_MACHINE')
                foreach ($name in $registry[$top].Keys) {
                    $content = $registry[$top][$name]
                    if ($content -is [string]) { "    $name    REG_SZ    $content" } else { "    $name    REG_DWORD    0x{0:x}" -f $content }
                }
            }
            ''; $below | ForEach-Object { $_.Replace('HKLM', 'HKEY_LOCAL_MACHINE') }
        }
        'add' {
            if ("$($args | Select-Object -Skip 2)" -notmatch '^/v (\w+) /t REG_DWORD /d (\d+) /f$') { Complete-Native 1 'ERROR: Invalid syntax.'; return }
            if (-not $registry.ContainsKey($args[1])) { $registry[$args[1]] = @{} }
            $registry[$args[1]][$Matches[1]] = [int] $Matches[2]
        }
        'delete' {
            if ("$args" -notmatch ' /f$' -or -not $registry.ContainsKey($args[1])) { Complete-Native 1 'ERROR: The system was unable to find the specified registry key or value.'; return }
            $registry.Remove($args[1])
        }
        'import' {
            $key = $null
            $lines = [System.IO.File]::ReadAllLines($args[1])
            if ($lines[0] -ne 'Windows Registry Editor Version 5.00') { Complete-Native 1 'ERROR: not a registry file.'; return }
            foreach ($line in $lines) {
                if ($line -match '^\[(.+)\]$') { $key = $Matches[1].Replace('HKEY_LOCAL_MACHINE', 'HKLM'); $registry[$key] = @{} }
                elseif ($line -match '^"(\w+)"="((?:[^"\\]|\\.)*)"$') { $registry[$key][$Matches[1]] = $Matches[2] -replace '\\(.)', '$1' }
                elseif ($line -match '^"(\w+)"=dword:([0-9a-f]{8})$') { $registry[$key][$Matches[1]] = [int] "0x$($Matches[2])" }
                elseif ($line -and $line -ne $lines[0]) { Complete-Native 1 "ERROR: $line"; return }
            }
            # reg.exe says this on standard error.
            Write-Error 'The operation completed successfully.' -ErrorAction Continue
        }
    }
    Save-Computer
    $global:LASTEXITCODE = 0
}

function eventcreate.exe {
    try { Enter-Call 'eventcreate.exe' } catch { if ($script:world.Frozen) { throw }; Complete-Native 1 "$_"; return }
    $script:world.State.events = @($script:world.State.events) + "$args"
    Save-Computer
    $global:LASTEXITCODE = 0
}

$sids = @{ '*S-1-5-32-544' = 'BA'; '*S-1-5-18' = 'SY'; '*S-1-5-19' = 'LS'; '*S-1-1-0' = 'WD'; '*S-1-5-11' = 'AU'; '*S-1-5-4' = 'IU'; '*S-1-5-32-545' = 'BU' }
$rights = @{ F = 'FA'; RX = '0x1200a9'; M = '0x1301bf' }
$inherited = '(A;OICIID;FA;;;SY)(A;OICIID;FA;;;BA)(A;OICIID;0x1200a9;;;BU)(A;CIID;DCLCRPCR;;;BU)'

# What is explicit at a path: owner, whether it takes over entries from above, own entries.
function Read-Permission([string] $Path) {
    $acl = $script:world.State.acls[$Path]
    if ($acl) { $acl } else { @{ owner = 'BA'; protected = $false; entries = @() } }
}

function Get-FullPermission([string] $Path) {
    $acl = Read-Permission $Path
    $entries = -join $acl.entries
    if ($acl.protected) { return "D:PAI$entries" }
    $parent = Split-Path $Path
    $above = if ($parent -eq $env:ProgramData) { $inherited }
    elseif ($parent.Length -gt $env:ProgramData.Length) {
        -join ([regex]::Matches((Get-FullPermission $parent), '\(A;([A-Z]*);([^;]+);;;(\w+)\)') |
                ForEach-Object { "(A;$($_.Groups[1].Value -replace 'ID', '')ID;$($_.Groups[2].Value);;;$($_.Groups[3].Value))" })
    }
    "D:AI$entries$above"
}

function Get-Acl {
    [CmdletBinding()]
    param([Parameter(Mandatory)] [string] $LiteralPath)
    try {
        Enter-Call 'Get-Acl' (Split-Path $LiteralPath -Leaf)
        if (-not (Test-Path -LiteralPath $LiteralPath)) { throw "Cannot find path '$LiteralPath' because it does not exist." }
        [pscustomobject] @{ Sddl = "O:$((Read-Permission $LiteralPath).owner)G:BA$(Get-FullPermission $LiteralPath)" }
    }
    catch { Write-FileError $PSCmdlet $_ }
}

function icacls.exe {
    try { Enter-Call 'icacls.exe' "$($args | Select-Object -Skip 1)" } catch { if ($script:world.Frozen) { throw }; Complete-Native 5 "$_"; return }
    $path = $args[0]
    $acls = $script:world.State.acls
    if (-not (Test-Path -LiteralPath $path) -or $args[-1] -ne '/q') { Complete-Native 2 "${path}: The system cannot find the file specified."; return }
    $tree = @($path) + @(if ($args -contains '/t') { Get-ChildItem -LiteralPath $path -Recurse -Force | ForEach-Object { $_.FullName } })
    for ($index = 1; $index -lt $args.Count; $index++) {
        $word = $args[$index]
        if ($word -eq '/t' -or $word -eq '/q') { continue }
        if ($word -eq '/setowner') { $index++; foreach ($one in $tree) { $acl = (Read-Permission $one).Clone(); $acl.owner = $sids[$args[$index]]; $acls[$one] = $acl } }
        elseif ($word -eq '/reset') { foreach ($one in $tree) { $acl = (Read-Permission $one).Clone(); $acl.protected = $false; $acl.entries = @(); $acls[$one] = $acl } }
        elseif ($word -eq '/inheritance:r') { $acl = (Read-Permission $path).Clone(); $acl.protected = $true; $acls[$path] = $acl }
        elseif ($word -eq '/remove') {
            $index++
            $acl = (Read-Permission $path).Clone(); $account = $sids[$args[$index]]
            $acl.entries = @($acl.entries | Where-Object { $_ -notlike "*;;;$account)" }); $acls[$path] = $acl
        }
        elseif ($word -eq '/grant:r') {
            $acl = (Read-Permission $path).Clone()
            while ($index + 1 -lt $args.Count -and $args[$index + 1] -match '^(\*S-[\d-]+):\(OI\)\(CI\)(\w+)$') {
                $index++
                $account = $sids[$Matches[1]]
                $acl.entries = @($acl.entries | Where-Object { $_ -notlike "*;;;$account)" }) + "(A;OICI;$($rights[$Matches[2]]);;;$account)"
            }
            $acls[$path] = $acl
        }
        elseif ($word -eq '/save') {
            $index++
            $saved = @{}
            foreach ($one in $tree) { $saved[$one] = $acls[$one] }
            [System.IO.File]::WriteAllText($args[$index], ($saved | ConvertTo-Json -Depth 5))
        }
        elseif ($word -eq '/restore') {
            $index++
            $saved = [System.IO.File]::ReadAllText($args[$index]) | ConvertFrom-Json -AsHashtable
            foreach ($one in $saved.Keys) { if ($saved[$one]) { $acls[$one] = $saved[$one] } else { $acls.Remove($one) } }
        }
        else { Complete-Native 87 "Invalid parameter `"$word`""; return }
    }
    Save-Computer
    $global:LASTEXITCODE = 0
}

# --- Files: the real commands, which see the preferences of their caller ---------------------------------------------

function Write-FileError($Cmdlet, $Record) {
    $preference = $Cmdlet.GetVariableValue('ErrorActionPreference')
    if ($Cmdlet.MyInvocation.BoundParameters.ContainsKey('ErrorAction')) { $preference = $Cmdlet.MyInvocation.BoundParameters['ErrorAction'] }
    else { $preference = $Cmdlet.SessionState.PSVariable.GetValue('ErrorActionPreference') }
    if ("$preference" -eq 'Stop') { $Cmdlet.ThrowTerminatingError($Record) }
    $Cmdlet.WriteError($Record)
}

function Move-Permission([string] $From, [string] $To) {
    $acls = $script:world.State.acls
    foreach ($key in @($acls.Keys | Where-Object { $_ -eq $From -or $_.StartsWith("$From/") })) {
        if ($To) { $acls[$To + $key.Substring($From.Length)] = $acls[$key] }
        $acls.Remove($key)
    }
    Save-Computer
}

function Copy-Item {
    [CmdletBinding()]
    param([Parameter(Mandatory)] [string] $LiteralPath, [Parameter(Mandatory)] [string] $Destination, [switch] $Recurse)
    try {
        Enter-Call 'Copy-Item' (Split-Path $Destination -Leaf)
        if ($script:world.Full) {
            # As when the disk is full: a part is there.
            $null = [System.IO.Directory]::CreateDirectory((Join-Path $Destination 'runtime'))
            [System.IO.File]::Copy((Join-Path $LiteralPath 'README.txt'), (Join-Path $Destination 'README.txt'))
            $script:world.Full = $false
            throw [System.IO.IOException]::new('There is not enough space on the disk.')
        }
        Microsoft.PowerShell.Management\Copy-Item @PSBoundParameters -ErrorAction Stop
    }
    catch { Write-FileError $PSCmdlet $_ }
}

function Move-Item {
    [CmdletBinding()]
    param([Parameter(Mandatory)] [string] $LiteralPath, [Parameter(Mandatory)] [string] $Destination, [switch] $Force)
    try {
        Enter-Call 'Move-Item' (Split-Path $Destination -Leaf)
        Microsoft.PowerShell.Management\Move-Item @PSBoundParameters -ErrorAction Stop
        Move-Permission $LiteralPath $Destination
    }
    catch { Write-FileError $PSCmdlet $_ }
}

function Remove-Item {
    [CmdletBinding()]
    param([Parameter(Mandatory)] [string] $LiteralPath, [switch] $Recurse, [switch] $Force)
    try {
        Enter-Call 'Remove-Item' (Split-Path $LiteralPath -Leaf)
        foreach ($process in $script:world.State.processes.GetEnumerator()) {
            if ($process.Value.path -and $process.Value.path.StartsWith("$LiteralPath/") -and (Test-Alive $process.Key)) {
                throw [System.IO.IOException]::new("The process cannot access the file '$($process.Value.path)' because it is being used by another process.")
            }
        }
        Microsoft.PowerShell.Management\Remove-Item @PSBoundParameters -ErrorAction Stop
        Move-Permission $LiteralPath ''
    }
    catch { Write-FileError $PSCmdlet $_ }
}

function New-Item {
    [CmdletBinding()]
    param([Parameter(Mandatory)] [string] $Path, [Parameter(Mandatory)] [ValidateSet('Directory')] [string] $ItemType, [switch] $Force)
    try { Enter-Call 'New-Item' (Split-Path $Path -Leaf); Microsoft.PowerShell.Management\New-Item @PSBoundParameters -ErrorAction Stop } catch { Write-FileError $PSCmdlet $_ }
}

function Set-Content {
    [CmdletBinding()]
    param([Parameter(Mandatory)] [string] $LiteralPath, [Parameter(Mandatory)] $Value, [Parameter(Mandatory)] [ValidateSet('ASCII', 'UTF8', 'Unicode')] [string] $Encoding)
    try {
        Enter-Call 'Set-Content' (Split-Path $LiteralPath -Leaf)
        if ($script:world.Full) {
            [System.IO.File]::WriteAllText($LiteralPath, "$(@($Value)[0])".Substring(0, 2))
            $script:world.Full = $false
            throw [System.IO.IOException]::new('There is not enough space on the disk.')
        }
        Microsoft.PowerShell.Management\Set-Content @PSBoundParameters -ErrorAction Stop
    }
    catch { Write-FileError $PSCmdlet $_ }
}

function Add-Content {
    [CmdletBinding(SupportsShouldProcess)]
    param([Parameter(Mandatory)] [string] $LiteralPath, [Parameter(Mandatory)] $Value, [Parameter(Mandatory)] [ValidateSet('UTF8')] [string] $Encoding)
    # The log of the installation alone: no fault is put here, because it may neither help nor harm.
    if ($script:world.Frozen) { throw [System.InvalidOperationException]::new('PowerShell was killed') }
    $whatIf = $PSCmdlet.SessionState.PSVariable.GetValue('WhatIfPreference')
    $isAsking = "$($PSCmdlet.SessionState.PSVariable.GetValue('ConfirmPreference'))" -eq 'Low'
    if ($isAsking -or $whatIf) { Write-Warning "Add-Content would ask, or say what if: $LiteralPath" }
    Microsoft.PowerShell.Management\Add-Content @PSBoundParameters -ErrorAction Stop
}

# A catalog is a JSON file here: the hash of each file, and the state of its signature.
function Test-FileCatalog {
    [CmdletBinding()]
    param([Parameter(Mandatory)] [string] $CatalogFilePath, [Parameter(Mandatory)] [string] $Path, [Parameter(Mandatory)] [switch] $Detailed)
    try {
        Enter-Call 'Test-FileCatalog'
        $catalog = [System.IO.File]::ReadAllText($CatalogFilePath) | ConvertFrom-Json -AsHashtable
        $items = [System.Collections.Generic.Dictionary[string, string]]::new()
        foreach ($file in Get-ChildItem -LiteralPath $Path -Recurse -File | Where-Object { $_.FullName -ne $CatalogFilePath }) {
            $items[$file.FullName.Substring($Path.Length + 1)] = (Get-FileHash -LiteralPath $file.FullName -Algorithm SHA256).Hash
        }
        $listed = [System.Collections.Generic.Dictionary[string, string]]::new()
        foreach ($name in $catalog.items.Keys) { $listed[$name] = $catalog.items[$name] }
        [pscustomobject] @{ CatalogItems = $listed; PathItems = $items; Signature = [pscustomobject] @{ Status = $catalog.signature } }
    }
    catch { Write-FileError $PSCmdlet $_ }
}

function Unblock-File {
    [CmdletBinding()]
    param([Parameter(Mandatory)] [string[]] $LiteralPath)
    try { Enter-Call 'Unblock-File' } catch { Write-FileError $PSCmdlet $_ }
}

Export-ModuleMember -Function Enter-Computer, Get-World, New-Computer, Save-Computer, Step-Minute, Invoke-LightPython, Test-LightProgram, Test-Alive, Read-Action,
Get-ScheduledTask, Export-ScheduledTask, Register-ScheduledTask, Start-ScheduledTask, Stop-ScheduledTask, Disable-ScheduledTask, Unregister-ScheduledTask,
Get-CimInstance, Set-CimInstance, Get-PnpDeviceProperty, Stop-Process, Get-NetTCPConnection, Get-NetIPAddress, Start-Sleep,
Get-NetFirewallRule, Get-NetFirewallApplicationFilter, Get-NetFirewallPortFilter, Get-NetFirewallProfile, New-NetFirewallRule, Copy-NetFirewallRule, Set-NetFirewallRule, Remove-NetFirewallRule,
netsh.exe, reg.exe, eventcreate.exe, icacls.exe, Get-Acl, Copy-Item, Move-Item, Remove-Item, New-Item, Set-Content, Add-Content, Unblock-File, Test-FileCatalog
