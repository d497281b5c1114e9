# Native programs: part of windows.psm1.

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
    try { Enter-Call 'eventcreate.exe' "$args" } catch { if ($script:world.Frozen) { throw }; Complete-Native 1 "$_"; return }
    $source = "HKLM\SYSTEM\CurrentControlSet\Services\EventLog\Application\$($args[3])"
    if (-not $script:world.State.registry.ContainsKey($source)) { $script:world.State.registry[$source] = @{ CustomSource = 1 } }
    $script:world.State.events = @($script:world.State.events) + "$args"
    Save-Computer
    $global:LASTEXITCODE = 0
}
