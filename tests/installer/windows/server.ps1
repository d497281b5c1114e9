# The server that a task starts: a light one, which is an entry in the computer's state and three files, or the real one.
# Part of windows.psm1.

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
                    last_error = $(if ($port.device -eq 'COM9') { 'COM9 is not there' } else { $null })
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
                $tls = if (Select-String -LiteralPath (Join-Path $env:ProgramData 'SerialHost/serial-host.toml') -Pattern '^\[?[" ]*tls' -Quiet) { @{ fingerprint = 'sha256:' + '0' * 64 } }
                @{ servers = @(@{ version = $state.processes[$id].version; pid = [int] $id; ports = $state.processes[$id].ports; tls = $tls }) } | ConvertTo-Json -Compress -Depth 6
            }
        }
        'compileall -q' { }
        default { Write-Error "unknown arguments: $line" -ErrorAction Continue; $global:LASTEXITCODE = 2; return }
    }
    $global:LASTEXITCODE = 0
}
