# Runs one scenario of the installer without a fault, then once for each call of a Windows command and each kind of
# fault, and each time a second time without. Prints one line of JSON for the scenario; the tests judge it.
param(
    [Parameter(Mandatory)] [string] $Scenario,
    [Parameter(Mandatory)] [string] $Scripts, # host/windows
    [Parameter(Mandatory)] [string] $Folder, # of this run alone
    [string[]] $Kinds = @('fail', 'stop', 'kill'),
    [switch] $Third, # one kind at each call, in turns
    [string] $Only = '' # one case, 'kill 17', with all that the scripts say
)

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
$PSStyle.OutputRendering = 'PlainText'
$ErrorView = 'ConciseView'
. (Join-Path $PSScriptRoot 'driver.ps1')

$onePort = @{ Port = 'COM3'; TcpPort = 5002 }
$twoPorts = '[[ports]]', 'device = "COM3"', 'tcp_port = 5003', '[[ports]]', 'device = "COM4"', 'tcp_port = 5004'
$install = Join-Path $bundle 'Install-SerialHost.ps1'
$installed = Join-Path $programs '1.2.0/Install-SerialHost.ps1'
$given = Join-Path $Folder 'given.toml'
$scenarios = @{
    'first'          = @{ Prepare = { }; Script = $install; Parameters = $onePort }
    'upgrade-100'    = @{ Prepare = { Install-100 }; Script = $install; Parameters = @{} }
    'upgrade'        = @{ Prepare = { Install $older $onePort }; Script = $install; Parameters = @{} }
    'in-place'       = @{ Prepare = { Install $bundle $onePort; Set-Content -LiteralPath (Join-Path $data 'serial-host.toml') -Value $twoPorts }; Script = $installed; Parameters = @{} }
    'replace-config' = @{ Prepare = { Install $older $onePort; Set-Content -LiteralPath $given -Value $twoPorts }; Script = $install; Parameters = @{ Config = $given; ReplaceConfig = $true } }
    'previous'       = @{ Prepare = { Install $older $onePort; Install $bundle }; Script = $installed; Parameters = @{ Previous = $true } }
    'previous-100'   = @{ Prepare = { Install-100; Install $bundle }; Script = $installed; Parameters = @{ Previous = $true } }
    'repair'         = @{ Prepare = { Install $bundle $onePort; Set-Content -LiteralPath (Join-Path $programs '1.2.0/packages/serial.txt') -Value 'damaged' }; Script = $install; Parameters = @{} }
    'permissions'    = @{ Prepare = { Install $bundle $onePort; Set-Damage }; Script = $install; Parameters = @{} }
    'aside'          = @{ Prepare = { Set-Foreign }; Script = $install; Parameters = $onePort }
    'tune'           = @{ Prepare = { Set-Adapter; Install $older $onePort }; Script = $install; Parameters = @{ TunePorts = $true; Confirm = $false } }
    'uninstall-tuned' = @{ Prepare = { Set-Adapter; Install $bundle (@{ TunePorts = $true; Quiet = $true } + $onePort) }; Script = (Join-Path $bundle 'Uninstall-SerialHost.ps1'); Parameters = @{} }
    'uninstall'      = @{ Prepare = { Install $older $onePort; Install $bundle }; Script = (Join-Path $bundle 'Uninstall-SerialHost.ps1'); Parameters = @{ Purge = $true } }
    'uninstall-100'  = @{ Prepare = { Install-100 }; Script = (Join-Path $bundle 'Uninstall-SerialHost.ps1'); Parameters = @{} }
}

# Whether the state after a fault is a good one; '' or what is wrong.
function Get-Fault($Run, [string] $Kind) {
    $now = Get-Snapshot
    $served = Get-Served
    $isOld = $now -eq $before -and $served.Split(' ')[0] -eq $servedBefore.Split(' ')[0]
    $isNew = $served -eq $servedAfter
    if ($Run.broken.Count -and -not $removes) { return $Run.broken[0] }
    if ($Kind -eq 'kill') {
        if ($servedBefore -and -not $removes -and -not $served) { return 'nothing serves within two minutes after the kill' }
        return ''
    }
    if ($removes) {
        if ($Kind -ne 'fail') { return '' }
        if ($Run.code -eq 0 -and $now -ne $after) { return 'success was said, but something is left' }
        if ($Run.code -eq 1 -and -not $isOld) { return 'nothing was changed, it said' }
        return ''
    }
    if ($Kind -eq 'fail') {
        if (@(0, 4) -contains $Run.code -and -not $isNew) { return "exit code $($Run.code), but '$served' serves" }
        if ($Run.code -eq 0 -and $now -ne $after) { return "exit code 0, but the computer differs from one without a fault" }
        if (@(1, 2) -contains $Run.code -and -not $isOld) { return "exit code $($Run.code), but the computer is not as before" }
        if ($Run.code -eq 3 -and -not (@('in-place', 'repair') -contains $Scenario -and $isNew)) { return "one fault must be undone completely: $($Run.errors)" }
        if (@(0, 1, 2, 3, 4) -notcontains $Run.code) { return "exit code $($Run.code)" }
    }
    if (-not $isOld -and -not $isNew) { return 'neither the new version serves nor is the state as before' }
    ''
}

$chosen = $scenarios[$Scenario]
$removes = $Scenario -like 'uninstall*'
. $chosen.Prepare
Set-Tree $root $template
$before = Get-Snapshot
$servedBefore = Get-Served
$clean = Invoke-Script $chosen.Script $chosen.Parameters
$after = Get-Snapshot
$servedAfter = Get-Served
$report = @{ scenario = $Scenario; calls = $clean.calls.Count; code = $clean.code; before = $servedBefore; after = $servedAfter; output = $clean.output; errors = $clean.errors; warnings = $clean.warnings; broken = $clean.broken; cases = @{}; faults = @() }
if ($clean.code -eq 0 -and ($removes -or -not $clean.broken.Count)) {
    $cases = @(foreach ($kind in $Kinds) { for ($at = 1; $at -le $clean.calls.Count; $at++) { if (-not $Third -or $at % $Kinds.Count -eq $Kinds.IndexOf($kind)) { , @($kind, $at) } } })
    if ($Only) { $cases = @(, @($Only.Split(' ')[0], [int] $Only.Split(" ")[1])) }
    foreach ($case in $cases) {
        $kind, $at = $case
        Set-Tree $template $root
        $run = Invoke-Script $chosen.Script $chosen.Parameters -At $at -Kind $kind
        $wrong = Get-Fault $run $kind
        $outcome = if ((Get-Snapshot) -eq $before) { 'as before' } elseif ($removes) { if ((Get-Snapshot) -eq $after) { 'removed' } else { 'removed in part' } }
        elseif ((Get-Served) -eq $servedAfter) { 'new version serves' } elseif ($servedBefore -and (Get-Served) -eq $servedBefore) { 'old version serves' } else { 'nothing serves' }
        if ($Only) { $run | ConvertTo-Json -Depth 3; if (-not $wrong) { Compare-Object ($before -split "`n") ((Get-Snapshot) -split "`n") | Out-String } }
        $switched = (Read-Computer).tasks['\SerialHost'] -and -not (Read-Computer).tasks['\SerialHost'].xml.Contains('1.2.0')
        if (-not $wrong) {
            $again = if ([System.IO.File]::Exists($chosen.Script)) { $chosen.Script } else { $chosen.Script.Replace((Split-Path $chosen.Script), $bundle) }
            $second = Invoke-Script $again $chosen.Parameters
            if ($Scenario -like 'previous*' -and $switched) {
                # A second -Previous goes to the other version again.
                if ($second.code -ne 0 -or -not (Get-Served)) { $wrong = "the second run ended with $($second.code): $($second.errors)" }
            }
            else {
                $now = Get-Snapshot
                if ($second.code -ne 0) { $wrong = "the second run ended with $($second.code): $($second.errors)" }
                elseif ($now -ne $after) { $wrong = "after the second run: $((Compare-Object ($after -split "`n") ($now -split "`n") | ForEach-Object { "$($_.SideIndicator) $($_.InputObject)" }) -join '; ')" }
                elseif ((Get-Served) -ne $servedAfter) { $wrong = "after the second run '$(Get-Served)' serves" }
            }
        }
        $key = "$kind, $outcome"
        $report.cases[$key] = 1 + $(if ($report.cases.ContainsKey($key)) { $report.cases[$key] } else { 0 })
        if ($wrong) { $report.faults += "$kind at call $at ($($clean.calls[$at - 1])): $wrong" }
    }
}
$report | ConvertTo-Json -Compress -Depth 5
