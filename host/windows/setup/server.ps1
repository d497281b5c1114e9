<#
.SYNOPSIS
Functions for the server that the task runs: its processes, its answer, its version, how it is ended and waited for.
Loading this file changes nothing.
#>

function Test-Inside([string] $Path, [string] $Folder) {
    if (-not $Path) {
        return $false
    }
    $start = $Folder.TrimEnd('\', '/') + [System.IO.Path]::DirectorySeparatorChar
    $Path.StartsWith($start, [System.StringComparison]::OrdinalIgnoreCase)
}

function Get-ProgramPython([string] $Folder) {
    Join-Path -Path $Folder -ChildPath 'runtime\python.exe'
}

# The program that a task runs; '' if its action is of another kind.
function Get-TaskCommand($Task) {
    $first = @($Task | ForEach-Object -Process { $_.Actions } | Select-Object -First 1 | ForEach-Object -Process { $_.PSObject.Properties['Execute'] })
    @($first | ForEach-Object -Process { "$($_.Value)".Trim('"') }) -join ''
}

# The folder of the serial_host that the task runs; nothing if it runs something else: anybody may name a task so.
function Get-TaskFolder($Task) {
    if (-not $Task) {
        return
    }
    $command = Get-TaskCommand -Task $Task
    if (Test-Inside -Path $command -Folder $place.Programs) {
        $folder = Split-Path -Path (Split-Path -Path $command -Parent) -Parent
        if ($folder -eq $place.Programs -or (Test-Inside -Path $folder -Folder $place.Programs)) {
            $folder
        }
    }
}

# The servers that the task started, of whatever version: not what somebody runs by hand, not a trial from another folder.
function Get-ServerProcess([string] $Folder = $place.Programs) {
    $all = @(Get-CimInstance -ClassName Win32_Process -Filter "Name = 'python.exe'" -ErrorAction Stop)
    foreach ($process in $all) {
        $line = "$($process.CommandLine)"
        $isOurs = $line.Contains(' run ') -and $line.IndexOf($place.Config, [System.StringComparison]::OrdinalIgnoreCase) -ge 0
        if ($isOurs -and (Test-Inside -Path $process.ExecutablePath -Folder $Folder)) {
            $process
        }
    }
}

# Ends these servers and waits until they are gone: first they are asked, then Windows ends them.
function Wait-ServerEnd($Process, [string] $Python) {
    $left = @($Process)
    if ($left.Count -eq 0) {
        return
    }
    foreach ($one in $left) {
        foreach ($program in @($one.ExecutablePath, $Python) | Select-Object -Unique) {
            $result = Invoke-Program -FilePath $program -ArgumentList '-I', '-m', 'serial_host', 'stop', '--pid', "$($one.ProcessId)"
            if ($result.ExitCode -eq 0) {
                break
            }
            Write-SetupLog -Message "The server (process $($one.ProcessId)) was not stopped by ${program}: $($result.Text)"
        }
    }
    for ($attempt = 0; $attempt -lt 40; $attempt++) {
        $ids = @($left | ForEach-Object -Process { $_.ProcessId })
        $left = @(Get-ServerProcess | Where-Object -FilterScript { $ids -contains $_.ProcessId })
        if ($left.Count -eq 0) {
            return
        }
        if ($attempt -eq 10) {
            foreach ($one in $left) {
                Write-SetupLog -Message "The server (process $($one.ProcessId)) does not end by itself and is ended."
                Stop-Process -Id $one.ProcessId -Force -ErrorAction SilentlyContinue
            }
        }
        Start-Sleep -Milliseconds 500
    }
    throw "The server (process $(@($left | ForEach-Object -Process { $_.ProcessId }) -join ', ')) does not end."
}

# What the server with this process id says of itself, or nothing.
function Get-ServerAnswer([string] $Python, [int] $Id) {
    $result = Invoke-Program -FilePath $Python -ArgumentList '-I', '-m', 'serial_host', 'status', '--json', '--pid', "$Id"
    if ($result.ExitCode -eq 0) {
        try {
            @(($result.Output -join "`n" | ConvertFrom-Json).servers)[0]
        }
        catch {
            Write-SetupLog -Message "The server (process $Id) gave an answer that is not JSON: $($result.Text)"
        }
    }
}

# Who has a TCP port: 'name (process N)', or nothing if nobody but our servers listens on it.
function Get-PortOwner([int] $Port) {
    $ours = @(Get-ServerProcess | ForEach-Object -Process { [int] $_.ProcessId })
    $ids = @(Get-NetTCPConnection -State Listen -ErrorAction SilentlyContinue |
            Where-Object -FilterScript { $_.LocalPort -eq $Port -and $ours -notcontains [int] $_.OwningProcess } |
            ForEach-Object -Process { [int] $_.OwningProcess } | Select-Object -Unique)
    if ($ids.Count -gt 0) {
        $found = @(Get-CimInstance -ClassName Win32_Process -Filter "ProcessId = $($ids[0])" -ErrorAction SilentlyContinue)
        if ($found.Count -gt 0) {
            "$($found[0].Name) (process $($ids[0]))"
        }
        else {
            "process $($ids[0])"
        }
    }
}

# Waits until the server in this folder answers with this version and listens on its ports. Returns its answer.
# Throws if it ends, does not answer, is of another version, or if another program has one of its ports.
function Wait-ServerAnswer([string] $Folder, [string] $Version, [int[]] $Port) {
    $python = Get-ProgramPython -Folder $Folder
    $seen = $false
    $answer = $null
    for ($attempt = 0; $attempt -lt 60; $attempt++) {
        if (-not $state.Quietly) {
            Write-Progress -Activity 'serial_host' -Status 'Waiting for the server to answer' -PercentComplete ($attempt * 100 / 60)
        }
        $running = @(Get-ServerProcess -Folder $Folder)
        if ($running.Count -eq 0 -and ($seen -or $attempt -ge 12)) {
            throw 'The server ended right after its start. To see what it says, run it by hand, such as: .\serial-host.cmd run COM3 5002 -v'
        }
        foreach ($process in $running) {
            $seen = $true
            $said = Get-ServerAnswer -Python $python -Id $process.ProcessId
            if ($said) {
                $answer = $said
            }
        }
        if ($answer) {
            if ($Version -and $answer.version -ne $Version) {
                throw "The server that answers is version $($answer.version), not $Version."
            }
            $silent = @($answer.ports | Where-Object -FilterScript { @($_.listening).Count -eq 0 })
            # Without its device a port does not listen. The others are bound in the first second; after ten it is known
            # what the server cannot have.
            $waiting = @($silent | Where-Object -FilterScript { $_.state -ne 'absent' })
            if ($waiting.Count -eq 0 -or $attempt -ge 20) {
                foreach ($one in $silent) {
                    if ($one.tcp_port) {
                        $owner = Get-PortOwner -Port $one.tcp_port
                        if ($owner) {
                            throw "TCP port $($one.tcp_port) of $($one.name) is taken by $owner. End that program or choose another port."
                        }
                    }
                }
                $served = @($answer.ports | ForEach-Object -Process { $_.tcp_port })
                $missing = @(foreach ($number in $Port) { if ($served -notcontains $number) { $number } })
                if ($missing.Count -gt 0) {
                    throw "The server does not serve TCP port $($missing -join ', ')."
                }
                return $answer
            }
        }
        Start-Sleep -Milliseconds 500
    }
    throw 'The server runs but has not answered within 30 seconds.'
}

# What keeps a port that the server has from being served: one sentence each.
function Get-PortTrouble($Answer) {
    foreach ($port in @($Answer.ports)) {
        foreach ($reason in @($port.not_listening)) {
            "$($port.name) is not served everywhere yet: $reason"
        }
        if ($port.state -eq 'absent') {
            # Also when another program has the port, or the driver refuses the settings.
            "$($port.name) is not open yet: $($port.last_error). The server goes on trying."
        }
        if ($port.state -eq 'invalid') {
            "$($port.name) is not served: $($port.last_error)"
        }
    }
}

# --- Versions --------------------------------------------------------------------------------------------------------

# The version of the program in a folder, as it says itself; nothing if it does not start.
function Get-ProgramVersion([string] $Folder) {
    $result = Invoke-Program -FilePath (Get-ProgramPython -Folder $Folder) -ArgumentList '-I', '-m', 'serial_host', '--version'
    if ($result.ExitCode -eq 0 -and "$($result.Output)" -match '^serial_host (\S+)') {
        $Matches[1]
    }
}

# Whether version One comes before version Other; false if either is not of the form 1.2.3.
function Test-Older([string] $One, [string] $Other) {
    $pattern = '^\d+(\.\d+){1,3}'
    if ($One -notmatch $pattern) {
        return $false
    }
    $first = [version] $Matches[0]
    if ($Other -notmatch $pattern) {
        return $false
    }
    $first -lt [version] $Matches[0]
}
