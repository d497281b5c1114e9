# The state of the computer, which is a JSON file, and the faults: part of windows.psm1.

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
    # Windows PowerShell 5.1 passes an argument with a quotation mark on as several.
    if ($Name -like '*.exe' -and $Detail.Contains('"')) { throw [System.ArgumentException]::new("A quotation mark in an argument of ${Name}: $Detail") }
    Step-Meanwhile "$Name $Detail"
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
            'quote' { throw [System.Management.Automation.RuntimeException]::new("Injected `"fault`"`r`nin two lines.") }
            default { throw [System.Management.Automation.RuntimeException]::new("Injected fault in $Name.") }
        }
    }
}

# What others do right before a call: a user writes a file, or a minute passes, after which the tasks start what does not run.
function Step-Meanwhile([string] $Call) {
    $other = $script:world.State['meanwhile']
    if (-not $other -or $Call -notlike $other.call) { return }
    $script:world.State.Remove('meanwhile')
    if (-not $other['file']) { Step-Minute; return }
    [System.IO.File]::WriteAllText($other.file, $other.text)
    $script:world.State.acls[$other.file] = @{ owner = 'S-1-5-21-1-2-3-1001'; protected = $false; entries = @() }
    Save-Computer
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
