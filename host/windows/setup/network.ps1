<#
.SYNOPSIS
Functions that bring the reservations of TCP ports and the firewall rules to a wanted state, for the installation, its way
back and the uninstallation alike.
Loading this file changes nothing.
#>

# --- Reservations of TCP ports ---------------------------------------------------------------------------------------

function Get-ReservedRange {
    $result = Invoke-CheckedProgram -FilePath 'netsh.exe' -ArgumentList 'int', 'ipv4', 'show', 'excludedportrange', 'protocol=tcp', 'store=persistent' -Message 'Windows does not say which TCP ports are reserved'
    # The table's lines read "  5000  5009  *" in every language: first port, last port.
    foreach ($line in $result.Output) {
        if ($line -match '^\s*(\d+)\s+(\d+)(\s|$)') {
            [pscustomobject] @{ First = [int] $Matches[1]; Last = [int] $Matches[2] }
        }
    }
}

# The ports that the installer has reserved or was about to reserve.
function Get-OwnReservation {
    if (Test-Path -LiteralPath $place.Reserved) {
        Get-Content -LiteralPath $place.Reserved -Encoding UTF8 | Where-Object -FilterScript { $_ -match '^\d+$' } |
            ForEach-Object -Process { [int] $_ } | Sort-Object -Unique
    }
}

function Write-OwnReservation([int[]] $Port) {
    Write-List -Path $place.Reserved -Line @($Port | Sort-Object -Unique | ForEach-Object -Process { "$_" })
}

# Reserves those of these ports that no range covers. Each is written down before it is reserved. Returns those that
# cannot be reserved now because our own server listens on them: Windows reserves a port only while nobody has it.
function Add-Reservation([int[]] $Port) {
    $ranges = @(Get-ReservedRange)
    foreach ($number in $Port) {
        if (@($ranges | Where-Object -FilterScript { $_.First -le $number -and $number -le $_.Last }).Count -gt 0) {
            continue
        }
        Write-OwnReservation -Port (@(Get-OwnReservation) + $number)
        $result = Invoke-Program -FilePath 'netsh.exe' -ArgumentList 'int', 'ipv4', 'add', 'excludedportrange', 'protocol=tcp', "startport=$number", 'numberofports=1', 'store=persistent'
        if ($result.ExitCode -ne 0) {
            $owner = Get-PortOwner -Port $number
            if ($owner) {
                throw "TCP port $number cannot be reserved: $owner listens on it. End that program or choose another port."
            }
            if (@(Get-NetTCPConnection -State Listen -ErrorAction SilentlyContinue | Where-Object -FilterScript { $_.LocalPort -eq $number }).Count -gt 0) {
                $number
                continue
            }
            throw ("TCP port $number cannot be reserved: $($result.Text) If Windows took it for WinNAT, run 'net stop winnat', " +
                "this script, and 'net start winnat'; or choose another port.")
        }
    }
}

# Gives back the reservations that the installer made, those of the ports in Keep apart. One that is gone already, or
# whose port another program uses by now, is only struck off the list. Throws if one could not be given back; it stays
# on the list. With -JustMade the way back gives back what this run has reserved, whoever uses the port.
function Clear-Reservation([int[]] $Keep, [switch] $JustMade) {
    $own = @(Get-OwnReservation)
    $superfluous = @($own | Where-Object -FilterScript { $Keep -notcontains $_ })
    if ($superfluous.Count -eq 0) {
        return
    }
    $ranges = @(Get-ReservedRange)
    $failed = @()
    foreach ($number in $superfluous) {
        if (@($ranges | Where-Object -FilterScript { $_.First -eq $number -and $_.Last -eq $number }).Count -gt 0) {
            $owner = if ($JustMade) { $null } else { Get-PortOwner -Port $number }
            if ($owner) {
                Write-Trouble -Message "The reservation of TCP port $number stays, because $owner uses that port now."
            }
            else {
                $result = Invoke-Program -FilePath 'netsh.exe' -ArgumentList 'int', 'ipv4', 'delete', 'excludedportrange', 'protocol=tcp', "startport=$number", 'numberofports=1', 'store=persistent'
                if ($result.ExitCode -ne 0) {
                    $failed += "$number ($($result.Text))"
                    continue
                }
            }
        }
        $own = @($own | Where-Object -FilterScript { $_ -ne $number })
    }
    Write-OwnReservation -Port $own
    if ($failed.Count -gt 0) {
        throw "The reservation of TCP port $($failed -join ', ') could not be given back; run the script again."
    }
}

# --- Firewall --------------------------------------------------------------------------------------------------------

# Our rules with what may differ between them. There is one for each program folder, so that the old server keeps its
# rule while the new one starts.
function Get-OwnRule {
    try {
        $rules = @(Get-NetFirewallRule -Group $place.RuleGroup -ErrorAction Stop)
    }
    catch {
        if ("$($_.CategoryInfo.Category)" -eq 'ObjectNotFound') {
            return
        }
        throw
    }
    foreach ($rule in $rules) {
        [pscustomobject] @{
            Name    = $rule.Name
            Enabled = "$($rule.Enabled)" -eq 'True'
            Program = (Get-NetFirewallApplicationFilter -AssociatedNetFirewallRule $rule -ErrorAction Stop).Program
            Port    = @((Get-NetFirewallPortFilter -AssociatedNetFirewallRule $rule -ErrorAction Stop).LocalPort | ForEach-Object -Process { "$_" } | Sort-Object)
        }
    }
}

function Get-RuleName([string] $Folder) {
    # 1.0.0, whose program is the top folder itself, had one rule without a version in its name.
    if ($Folder -eq $place.Programs) { $place.RuleName } else { "$($place.RuleName)-$(Split-Path -Path $Folder -Leaf)" }
}

# Lets the program in this folder receive connections on these ports. What an administrator narrowed in our earlier rule
# (addresses, profiles, interfaces) is kept.
function Sync-FirewallRule([string] $Folder, [int[]] $Port, $Before) {
    $name = Get-RuleName -Folder $Folder
    $python = Get-ProgramPython -Folder $Folder
    $ports = @($Port | ForEach-Object -Process { "$_" } | Sort-Object -Unique)
    $present = @($Before | Where-Object -FilterScript { $_.Name -eq $name })
    if ($present.Count -gt 0) {
        if ($present[0].Program -eq $python -and ($present[0].Port -join ',') -eq ($ports -join ',')) {
            return
        }
    }
    elseif (@($Before).Count -gt 0) {
        Copy-NetFirewallRule -Name @($Before)[-1].Name -NewName $name -ErrorAction Stop
    }
    else {
        # By program, port and local networks, not by interface: the interface of Hyper-V's Default Switch is made anew
        # at each start of Windows, and a rule bound to it does not match any more (microsoft/WSL#6731). serial_host
        # itself listens on the virtual switches only.
        $null = New-NetFirewallRule -Name $name -DisplayName 'Serial ports over TCP (serial_host)' -Group $place.RuleGroup -Direction Inbound -Action Allow -Profile Any -Program $python -Protocol TCP -LocalPort $ports -RemoteAddress LocalSubnet -ErrorAction Stop
        return
    }
    Set-NetFirewallRule -Name $name -Program $python -Protocol TCP -LocalPort $ports -ErrorAction Stop
}

# Brings our rules back to what they were.
function Restore-FirewallRule($Before) {
    $wanted = @($Before)
    foreach ($rule in @(Get-OwnRule)) {
        $old = @($wanted | Where-Object -FilterScript { $_.Name -eq $rule.Name })
        if ($old.Count -eq 0) {
            Remove-NetFirewallRule -Name $rule.Name -ErrorAction Stop
        }
        elseif ($old[0].Program -ne $rule.Program -or ($old[0].Port -join ',') -ne ($rule.Port -join ',')) {
            Set-NetFirewallRule -Name $rule.Name -Program $old[0].Program -Protocol TCP -LocalPort $old[0].Port -ErrorAction Stop
        }
    }
}

# Removes our rules but one.
function Clear-FirewallRule([string] $Keep) {
    foreach ($rule in @(Get-OwnRule)) {
        if ($rule.Name -ne $Keep) {
            Remove-NetFirewallRule -Name $rule.Name -ErrorAction Stop
        }
    }
}

# A sentence if our rule is switched off: an administrator did that, so it is not switched on again.
function Get-RuleTrouble([string] $Folder) {
    $name = Get-RuleName -Folder $Folder
    try {
        if (@(Get-OwnRule | Where-Object -FilterScript { $_.Name -eq $name -and -not $_.Enabled }).Count -gt 0) {
            "The firewall rule '$name' is disabled, so other computers and virtual machines do not reach the ports. To enable it: Enable-NetFirewallRule -Name $name"
        }
    }
    catch {
        Write-SetupLog -Message "The firewall rules cannot be read: $_"
    }
}

# A sentence if a group policy makes Windows ignore the rules of this computer.
function Get-FirewallPolicyTrouble {
    try {
        foreach ($profileNow in Get-NetFirewallProfile -PolicyStore ActiveStore -ErrorAction Stop) {
            if ("$($profileNow.AllowLocalFirewallRules)" -eq 'False') {
                "A group policy makes Windows ignore the firewall rules of this computer in the profile '$($profileNow.Name)': the rule must come by that policy."
            }
        }
    }
    catch {
        Write-SetupLog -Message "The firewall's profiles cannot be read: $_"
    }
}
