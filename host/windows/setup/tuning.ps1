<#
.SYNOPSIS
Functions that show and set what delays the answers of a USB serial adapter: the latency timer of FTDI's driver and the
permission of Windows to switch the adapter off to save power. The installation sets both with -TunePorts, and the
uninstallation sets them back. Loading this file changes nothing.
#>

# FTDI's driver keeps bytes for up to 16 ms by default before it hands them over (FTDI application note AN232B-04).
$wantedLatency = 1
$ftdiKey = 'HKLM\SYSTEM\CurrentControlSet\Enum\FTDIBUS'

# What reg.exe prints of a registry key; nothing if there is no such key. Its exit code is 1 for that and for a failure
# too, so the key above is asked then.
function Get-RegistryLine([string] $Key) {
    $result = Invoke-Program -FilePath 'reg.exe' -ArgumentList 'query', $Key
    if ($result.ExitCode -eq 0) {
        return $result.Output
    }
    $above = $Key.Substring(0, $Key.LastIndexOf('\'))
    if ($above -eq 'HKLM' -or @(Get-RegistryLine -Key $above) -contains ($Key -replace '^HKLM', 'HKEY_LOCAL_MACHINE')) {
        throw "The registry key $Key cannot be read: $($result.Text)"
    }
}

# The ports of FTDI adapters that are or were plugged in: Port, Id (registry key) and Value (the latency timer in
# milliseconds). reg.exe prints a value as "    NAME    TYPE    VALUE" in every language.
function Get-LatencyTimer {
    foreach ($adapter in @(Get-RegistryLine -Key $ftdiKey | Where-Object -FilterScript { $_ -match '^HKEY_LOCAL_MACHINE\\' })) {
        $key = "$($adapter -replace '^HKEY_LOCAL_MACHINE', 'HKLM')\0000\Device Parameters"
        $values = @{ PortName = ''; LatencyTimer = '' }
        foreach ($line in @(Get-RegistryLine -Key $key)) {
            if ($line -match '^\s+(PortName|LatencyTimer)\s+REG_\w+\s+(.*?)\s*$') {
                $values[$Matches[1]] = $Matches[2]
            }
        }
        if ($values.PortName -and $values.LatencyTimer) {
            [pscustomobject] @{ Port = $values.PortName; Id = $key; Value = [int] $values.LatencyTimer }
        }
    }
}

function Get-PowerSetting {
    Get-CimInstance -Namespace 'root\wmi' -ClassName 'MSPower_DeviceEnable' -ErrorAction Stop
}

# What delays the answers of these COM ports: one object for each latency timer and each permission to switch off, with
# Port, Kind ('latency' or 'power'), Id (registry key or device) and Value. Ports that are no USB adapters have none.
function Get-PortTuning([string[]] $Port) {
    $wanted = @($Port | Where-Object -FilterScript { $_ -match '^COM\d+$' })
    if ($wanted.Count -eq 0) {
        return
    }
    foreach ($timer in @(Get-LatencyTimer | Where-Object -FilterScript { $wanted -contains $_.Port })) {
        [pscustomobject] @{ Port = $timer.Port; Kind = 'latency'; Id = $timer.Id; Value = "$($timer.Value)" }
    }
    $adapters = @{}
    foreach ($device in @(Get-CimInstance -ClassName 'Win32_PnPEntity' -Filter "PNPClass = 'Ports'" -ErrorAction Stop)) {
        if ("$($device.Name)" -notmatch '\((COM\d+)\)' -or $wanted -notcontains $Matches[1]) {
            continue
        }
        $name = $Matches[1]
        $id = $device.PNPDeviceID
        if ($id -like 'FTDIBUS\*') {
            # FTDI's port hangs below the USB device, which is what Windows would switch off.
            $id = (Get-PnpDeviceProperty -InstanceId $id -KeyName 'DEVPKEY_Device_Parent' -ErrorAction Stop).Data
        }
        if ($id -like 'USB\*') {
            $adapters[$id] = $name
        }
    }
    if ($adapters.Count -eq 0) {
        return
    }
    foreach ($setting in @(Get-PowerSetting)) {
        # The name of an instance is the device's with _0 behind it.
        $id = "$($setting.InstanceName)" -replace '_\d+$', ''
        if ($adapters.ContainsKey($id)) {
            [pscustomobject] @{ Port = $adapters[$id]; Kind = 'power'; Id = "$($setting.InstanceName)"; Value = "$($setting.Enable)" }
        }
    }
}

function Test-Tuned($Tuning) {
    if ($Tuning.Kind -eq 'latency') { [int] $Tuning.Value -le $wantedLatency } else { $Tuning.Value -eq 'False' }
}

# One sentence for what a port has, such as 'The latency timer of COM3 is 16 ms.'
function Get-TuningSentence($Tuning) {
    if ($Tuning.Kind -eq 'latency') {
        "The latency timer of $($Tuning.Port) is $($Tuning.Value) ms: an answer may wait in the adapter for so long."
    }
    elseif ($Tuning.Value -eq 'True') {
        "Windows may switch the adapter of $($Tuning.Port) off to save power."
    }
    else {
        "Windows may not switch the adapter of $($Tuning.Port) off to save power."
    }
}

# Sets a value. Returns whether the device is there to take it.
function Write-PortTuning([string] $Kind, [string] $Id, [string] $Value) {
    if ($Kind -eq 'latency') {
        $null = Invoke-CheckedProgram -FilePath 'reg.exe' -ArgumentList 'add', $Id, '/v', 'LatencyTimer', '/t', 'REG_DWORD', '/d', $Value, '/f' -Message 'The latency timer cannot be set'
        return $true
    }
    $settings = @(Get-PowerSetting | Where-Object -FilterScript { $_.InstanceName -eq $Id })
    foreach ($setting in $settings) {
        Set-CimInstance -InputObject $setting -Property @{ Enable = $Value -eq 'True' } -ErrorAction Stop
    }
    $settings.Count -gt 0
}

# What the installer has changed or was about to change, with the values of before. The file is one line for each:
# port, kind, id and value, with tabs between them.
function Get-TuningRecord {
    if (Test-Path -LiteralPath $place.Tuned) {
        foreach ($line in @(Get-Content -LiteralPath $place.Tuned -Encoding UTF8)) {
            $port, $kind, $id, $value = $line -split "`t"
            $isLatency = $kind -eq 'latency' -and "$id".StartsWith("$ftdiKey\", [System.StringComparison]::OrdinalIgnoreCase) -and $value -match '^\d{1,3}$'
            if ($isLatency -or ($kind -eq 'power' -and $id -and $value -match '^(True|False)$')) {
                [pscustomobject] @{ Port = $port; Kind = $kind; Id = $id; Value = $value }
            }
        }
    }
}

function Write-TuningRecord($Record) {
    Write-List -Path $place.Tuned -Line @($Record | ForEach-Object -Process { "$($_.Port)`t$($_.Kind)`t$($_.Id)`t$($_.Value)" } | Sort-Object)
}

# Sets what is not tuned yet. The value of before is written down first; one that is written down already stays.
function Sync-PortTuning($Tuning) {
    foreach ($one in @($Tuning | Where-Object -FilterScript { -not (Test-Tuned -Tuning $_) })) {
        $record = @(Get-TuningRecord)
        if (@($record | Where-Object -FilterScript { $_.Id -eq $one.Id }).Count -eq 0) {
            Write-TuningRecord -Record ($record + $one)
        }
        $wanted = if ($one.Kind -eq 'latency') { "$wantedLatency" } else { 'False' }
        $null = Write-PortTuning -Kind $one.Kind -Id $one.Id -Value $wanted
        Write-SetupLog -Message "Tuned: $($one.Port), $($one.Kind): $($one.Value) -> $wanted"
    }
}

# Sets back what the installer has set, unless somebody has set another value since. What an adapter that is gone had
# cannot be set back and is said. Throws if a value could not be set; it stays on record.
function Restore-PortTuning {
    $record = @(Get-TuningRecord)
    if ($record.Count -eq 0) {
        return
    }
    $timers = @(Get-LatencyTimer)
    $failed = @()
    foreach ($one in $record) {
        try {
            if ($one.Kind -eq 'latency') {
                $now = @($timers | Where-Object -FilterScript { $_.Id -eq $one.Id })
                $isThere = $now.Count -gt 0
                if ($isThere -and $now[0].Value -eq $wantedLatency) {
                    $null = Write-PortTuning -Kind $one.Kind -Id $one.Id -Value $one.Value
                }
            }
            else {
                $isThere = Write-PortTuning -Kind $one.Kind -Id $one.Id -Value $one.Value
            }
            if (-not $isThere) {
                Write-Trouble -Message "The adapter of $($one.Port) ($($one.Id)) is not here: what -TunePorts has set for it is not set back."
            }
        }
        catch {
            Write-SetupLog -Message "Not set back: $($one.Id): $_"
            $failed += $one
        }
    }
    Write-TuningRecord -Record $failed
    if ($failed.Count -gt 0) {
        throw "The adapter of $(@($failed | ForEach-Object -Process { $_.Port } | Select-Object -Unique) -join ', ') could not be set back; run the script again."
    }
}

# One sentence for each setting of -TunePorts that is not in force any more, such as after a new driver.
function Get-TuningDifference {
    $record = @(Get-TuningRecord)
    if ($record.Count -gt 0) {
        $ports = @($record | ForEach-Object -Process { $_.Port } | Select-Object -Unique)
        foreach ($now in @(Get-PortTuning -Port $ports)) {
            if (-not (Test-Tuned -Tuning $now) -and @($record | Where-Object -FilterScript { $_.Id -eq $now.Id }).Count -gt 0) {
                "$(Get-TuningSentence -Tuning $now) -TunePorts had set it otherwise."
            }
        }
    }
}
