# A computer for the installer's tests: its folders below $Folder, two small bundles made from the scripts in $Scripts,
# and functions that run a script there and look at what became of it. The script that dot-sources this file sets both.

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
$PSStyle.OutputRendering = 'PlainText'
$script:realServer = $false
$module = Join-Path $PSScriptRoot 'windows.psm1'
$root = Join-Path $Folder 'computer'
$template = Join-Path $Folder 'before'
$bundle, $older = 'bundle-1.2.0', 'bundle-1.1.0' | ForEach-Object { Join-Path $Folder $_ }
$programs = Join-Path $root 'Program Files/SerialHost'
$data = Join-Path $root 'ProgramData/SerialHost'

function New-Bundle([string] $Path, [string] $Version) {
    $null = New-Item -ItemType Directory -Force -Path (Join-Path $Path 'runtime'), (Join-Path $Path 'app'), (Join-Path $Path 'packages')
    foreach ($name in 'runtime/python.exe', 'app/serial_host.txt', 'packages/serial.txt') { Set-Content -LiteralPath (Join-Path $Path $name) -Value $Version }
    Get-ChildItem -LiteralPath $Scripts | Copy-Item -Destination $Path -Recurse
}

function New-Runspace {
    $made = [runspacefactory]::CreateRunspace([initialsessionstate]::CreateDefault2())
    $made.Open()
    $loading = [powershell]::Create()
    $loading.Runspace = $made
    $null = $loading.AddCommand('Import-Module').AddParameter('Name', $module).AddParameter('DisableNameChecking').Invoke()
    $made
}

# Runs a script of the bundle in the runspace, as an administrator would.
function Invoke-Script([string] $Path, [hashtable] $Parameters, [int] $At = 0, [string] $Kind = '', [string] $Name = '', [string] $Preferences = '') {
    $shell = [powershell]::Create()
    $shell.Runspace = $script:runspace
    $world = @{ Root = $root; FaultAt = $At; FaultKind = $Kind; FaultName = $Name; Shell = $shell; RealServer = [bool] $script:realServer; Bundles = @($bundle, $older) }
    $null = $shell.AddScript({
            param($world, $path, $parameters, $preferences)
            Enter-Computer @world
            $global:LASTEXITCODE = $null
            Set-Location /
            # What a caller may have set, and no script should notice.
            $PSNativeCommandUseErrorActionPreference = $true
            $ErrorActionPreference = 'SilentlyContinue'
            . ([scriptblock]::Create($preferences))
            & $path @parameters
        }.ToString()).AddArgument($world).AddArgument($Path).AddArgument($Parameters).AddArgument($Preferences)
    $result = @{ stopped = $false; output = ''; objects = @() }
    try { $result.objects = @($shell.Invoke()); $result.output = $result.objects -join "`n" } catch {
        if ($_.Exception.InnerException -isnot [System.Management.Automation.PipelineStoppedException]) { $result.output = "threw $_" }
        else { $result.stopped = $true }
    }
    $result.errors = @($shell.Streams.Error | ForEach-Object { "$_" })
    $result.warnings = @($shell.Streams.Warning | ForEach-Object { "$_" })
    $look = [powershell]::Create()
    $look.Runspace = $script:runspace
    $seen = $look.AddScript({ @{ world = Get-World; code = $global:LASTEXITCODE; minute = $null } }.ToString()).Invoke()[0]
    $result.code = $seen.code
    $result.calls = @($seen.world.Calls)
    $result.broken = @($seen.world.Broken)
    if ($seen.world.Frozen) {
        $later = [powershell]::Create()
        $later.Runspace = $script:runspace
        $null = $later.AddScript({ param($root) Enter-Computer -Root $root; Step-Minute; Step-Minute }.ToString()).AddArgument($root).Invoke()
    }
    $result
}

function Read-Computer { [System.IO.File]::ReadAllText((Join-Path $root 'computer.json')) | ConvertFrom-Json -AsHashtable }

# All that an installation may change, as one text; names with a time in them are made equal.
function Get-Snapshot {
    $computer = Read-Computer
    $lines = [System.Collections.ArrayList]::new()
    foreach ($folder in 'Program Files', 'ProgramData') {
        $path = Join-Path $root $folder
        foreach ($file in [System.IO.Directory]::EnumerateFileSystemEntries($path, '*', [System.IO.SearchOption]::AllDirectories)) {
            $name = $file.Substring($root.Length) -replace '\.replaced-[\d-]+$', '.replaced'
            $content = if ([System.IO.File]::Exists($file)) { [System.IO.File]::ReadAllText($file) } else { '/' }
            $acl = $computer.acls[$file]
            $who = if ($acl -and $folder -eq 'ProgramData') { "$($acl.owner) $($acl.protected) $($acl.entries | Sort-Object)" } else { '' }
            if ($who -eq 'BA False ') { $who = '' }
            $null = $lines.Add("$name $($content.Length) $($content.GetHashCode()) $who")
        }
    }
    foreach ($part in 'tasks', 'rules', 'registry', 'power') {
        if (-not $computer.ContainsKey($part)) { continue }
        foreach ($key in $computer[$part].Keys) {
            $value = $computer[$part][$key]
            $text = @($value.Keys | Where-Object { $_ -ne 'instance' } | Sort-Object | ForEach-Object { "$_=$($value[$_])" }) -join ' '
            $null = $lines.Add("$part $key $text")
        }
    }
    foreach ($range in $computer.ranges) { $null = $lines.Add("range $range") }
    $sorted = @($lines | Sort-Object -CaseSensitive -Unique)
    $sorted -join "`n"
}

# 'VERSION on PORTS' of the server that the task runs and that has its ports; '' if there is none.
function Get-Served {
    $computer = Read-Computer
    $task = $computer.tasks['\SerialHost']
    foreach ($process in $computer.processes.GetEnumerator()) {
        if ($task -and $task.enabled -and $process.Value.ContainsKey('version') -and $process.Value.line.Contains('serial-host.toml')) {
            $ports = @($process.Value.ports | Where-Object { $computer.listeners["$($_.tcp_port)"] -eq [int] $process.Key } | ForEach-Object { $_.tcp_port })
            if ($ports.Count -eq @($process.Value.ports).Count) { return "$($process.Value.version) on $($ports -join ',')" }
        }
    }
    ''
}

function Set-Tree([string] $From, [string] $To) {
    /bin/rm -rf $To
    /bin/cp -a $From $To
}

function Install([string] $From, [hashtable] $Parameters = @{}) {
    $made = Invoke-Script (Join-Path $From 'Install-SerialHost.ps1') $Parameters
    if ($made.code -ne 0) { throw "preparation failed: $($made.errors) $($made.output)" }
}

# As 1.0.0 left a computer: the program in the top folder, one rule, the list of reservations.
function Install-100 {
    New-Bundle $programs '1.0.0'
    Remove-Item -LiteralPath (Join-Path $programs 'setup') -Recurse
    $null = New-Item -ItemType Directory -Force -Path (Join-Path $data 'log')
    Set-Content -LiteralPath (Join-Path $data 'serial-host.toml') -Value '[[ports]]', 'device = "COM3"', 'tcp_port = 5002'
    Set-Content -LiteralPath (Join-Path $data 'reserved-tcp-ports.txt') -Value 5002 -Encoding ASCII
    $shell = [powershell]::Create()
    $shell.Runspace = $script:runspace
    $null = $shell.AddScript({
            param($root, $programs, $data)
            Enter-Computer -Root $root
            $python = Join-Path $programs 'runtime/python.exe'
            . (Join-Path $programs 'scheduled-task-helper.ps1')
            $null = icacls.exe $data /setowner '*S-1-5-32-544' /t /q
            $null = icacls.exe $data /inheritance:r /grant:r '*S-1-5-32-544:(OI)(CI)F' '*S-1-5-18:(OI)(CI)F' '*S-1-5-19:(OI)(CI)RX' /q
            $null = icacls.exe (Join-Path $data 'log') /grant:r '*S-1-5-19:(OI)(CI)M' /q
            $null = netsh.exe int ipv4 add excludedportrange protocol=tcp startport=5002 numberofports=1 store=persistent
            $null = New-NetFirewallRule -Name 'SerialHost-TCP-In' -DisplayName 'Serial ports over TCP (serial_host)' -Group 'SerialHost' -Direction Inbound -Action Allow -Profile Any -Program $python -Protocol TCP -LocalPort 5002 -RemoteAddress 172.18.0.0/16
            $argument = "-I -m serial_host run --config `"$data/serial-host.toml`" --log-file `"$data/log/serial-host.log`""
            $null = Add-StartupScheduledTask -TaskName SerialHost -Execute $python -Argument $argument
        }.ToString()).AddArgument($root).AddArgument($programs).AddArgument($data).Invoke()
    if ($shell.HadErrors) { throw "$($shell.Streams.Error)" }
}

# Somebody let every user write in the log's folder, and the service account no more.
function Set-Damage {
    $computer = Read-Computer
    $computer.acls["$data/log"].entries = @('(A;OICI;FA;;;WD)')
    [System.IO.File]::WriteAllText((Join-Path $root 'computer.json'), ($computer | ConvertTo-Json -Depth 8))
}

# COM3 is FTDI's, with a second port that is not served and the key of an adapter that is gone; COM4 is another USB adapter.
function Set-Adapter {
    $computer = Read-Computer
    $ftdi = 'HKLM\SYSTEM\CurrentControlSet\Enum\FTDIBUS'
    foreach ($one in @(@('A12345A', 'COM3'), @('A12345B', 'COM7'))) {
        $computer.registry["$ftdi\VID_0403+PID_6010+$($one[0])\0000\Device Parameters"] = @{ PortName = $one[1]; LatencyTimer = 16 }
    }
    $computer.devices = @(
        @{ name = 'USB Serial Port (COM3)'; id = 'FTDIBUS\VID_0403+PID_6010+A12345A\0000'; parent = 'USB\VID_0403&PID_6010&MI_00\7&1A2B&0&0000' },
        @{ name = 'Silicon Labs CP210x (COM4)'; id = 'USB\VID_10C4&PID_EA60\0001'; parent = 'USB\ROOT_HUB30\4&1' },
        @{ name = 'Kommunikationsanschluss (COM1)'; id = 'ACPI\PNP0501\1'; parent = 'ACPI\PNP0A08\1' }
    )
    $computer.power = @{}
    foreach ($name in 'USB\VID_0403&PID_6010&MI_00\7&1A2B&0&0000_0', 'USB\VID_10C4&PID_EA60\0001_0', 'ACPI\PNP0501\1_0') { $computer.power[$name] = @{ enable = $true } }
    [System.IO.File]::WriteAllText((Join-Path $root 'computer.json'), ($computer | ConvertTo-Json -Depth 8))
}

# A user made the folder and a configuration before the first installation.
function Set-Foreign {
    $null = New-Item -ItemType Directory -Force -Path $data
    $file = Join-Path $data 'serial-host.toml'
    Set-Content -LiteralPath $file -Value '[[ports]]', 'device = "COM3"', 'tcp_port = 6666'
    $computer = Read-Computer
    foreach ($path in $data, $file) { $computer.acls[$path] = @{ owner = 'S-1-5-21-1-2-3-1001'; protected = $false; entries = @('(A;OICI;FA;;;WD)') } }
    [System.IO.File]::WriteAllText((Join-Path $root 'computer.json'), ($computer | ConvertTo-Json -Depth 8))
}

$script:runspace = New-Runspace
if (-not (Test-Path -LiteralPath $bundle)) {
    New-Bundle $bundle '1.2.0'
    New-Bundle $older '1.1.0'
}
$null = New-Item -ItemType Directory -Force -Path (Join-Path $root 'Program Files'), (Join-Path $root 'ProgramData'), (Join-Path $root 'Windows')
# A task of the same name in another folder, and a range that Windows keeps, are there before and must be there after.
if (-not (Test-Path -LiteralPath (Join-Path $root 'computer.json'))) {
    Set-Content -LiteralPath (Join-Path $root 'computer.json') -Value '{"tasks":{"\\Other\\SerialHost":{"xml":"<Task><Actions><Exec><Command>/x/y/z</Command></Exec></Actions></Task>","enabled":false,"instance":null}},"rules":{},"ranges":[[50000,50059]],"acls":{},"registry":{},"processes":{},"listeners":{},"nextId":1000,"events":[]}'
}
