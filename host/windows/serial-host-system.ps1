<#
.SYNOPSIS
Functions that bring one part of the system to a wanted state: program folders, reservations of TCP ports, firewall
rules, the folder for configuration and log, the entry in "Apps & features". The installation, its way back and the
uninstallation all use them. Loading this file changes nothing.
#>

# --- Program folders -------------------------------------------------------------------------------------------------

$programParts = 'app', 'packages', 'runtime', 'licences'
$manifestName = 'installed-files.txt'
$catalogName = 'serial-host.cat'

function Get-RelativeFile([string] $Folder) {
    $start = $Folder.TrimEnd('\', '/').Length + 1
    Get-ChildItem -LiteralPath $Folder -Recurse -File -Force |
        Where-Object -FilterScript { $_.FullName -notlike '*__pycache__*' -and $_.Name -ne $manifestName } |
        ForEach-Object -Process { $_.FullName.Substring($start) } | Sort-Object
}

# 'HASH  relative\path' for each file of a program, byte code apart.
function Get-ProgramManifest([string] $Folder) {
    foreach ($name in Get-RelativeFile -Folder $Folder) {
        $hash = Get-FileHash -LiteralPath (Join-Path -Path $Folder -ChildPath $name) -Algorithm SHA256
        "$($hash.Hash)  $name"
    }
}

# The list that the installer wrote when the folder was whole; nothing if it never was, or if the list is lost.
function Get-InstalledManifest([string] $Folder) {
    $file = Join-Path -Path $Folder -ChildPath $manifestName
    if (Test-Path -LiteralPath $file) {
        Get-Content -LiteralPath $file -Encoding UTF8
    }
}

# The files of an installed program that are missing or not as they were installed.
function Get-ProgramFault([string] $Folder) {
    $manifest = @(Get-InstalledManifest -Folder $Folder)
    if ($manifest.Count -eq 0) {
        return 'the list of its files is missing'
    }
    foreach ($line in $manifest) {
        $hash, $name = $line -split '  ', 2
        $file = Join-Path -Path $Folder -ChildPath $name
        if (-not (Test-Path -LiteralPath $file)) {
            "$name is missing"
        }
        elseif ((Get-FileHash -LiteralPath $file -Algorithm SHA256).Hash -ne $hash) {
            "$name was changed"
        }
    }
}

# Throws if the folder has a catalog (serial-host.cat) and a file of the program is not as it says, or is not in it, or if
# the catalog's signature is not valid. Byte code and files of the administrator beside the scripts are not looked at.
function Test-ProgramCatalog([string] $Folder) {
    $file = Join-Path -Path $Folder -ChildPath $catalogName
    if (-not (Test-Path -LiteralPath $file)) {
        return
    }
    $found = Test-FileCatalog -CatalogFilePath $file -Path $Folder -Detailed -ErrorAction Stop
    $wrong = @(
        foreach ($name in $found.CatalogItems.Keys) {
            if (-not $found.PathItems.ContainsKey($name) -or $found.PathItems[$name] -ne $found.CatalogItems[$name]) {
                "$name is missing or was changed"
            }
        }
        foreach ($name in $found.PathItems.Keys) {
            $isPart = $name -match '(^|[\\/])(app|packages|runtime)[\\/]' -or $name -match '\.(ps1|cmd)$'
            if ($isPart -and $name -notmatch '__pycache__' -and -not $found.CatalogItems.ContainsKey($name)) {
                "$name is not in it"
            }
        }
    )
    if ($wrong.Count -gt 0) {
        throw "The program in $Folder is not what its catalog says: $($wrong[0])."
    }
    $signature = "$($found.Signature.Status)"
    if ($signature -ne 'Valid' -and $signature -ne 'NotSigned') {
        throw "The signature of the catalog in $Folder is not valid: $signature."
    }
    Write-SetupLog -Message "The program is what its catalog says; the catalog's signature: $signature"
}

# The folder for this version: the one that already holds exactly these files, else a new one beside what is there.
function Find-ProgramFolder([string] $Version, [string[]] $Manifest, [string] $InUse) {
    for ($number = 1; ; $number++) {
        $name = if ($number -eq 1) { $Version } else { "$Version-$number" }
        $folder = Join-Path -Path $place.Programs -ChildPath $name
        if (-not (Test-Path -LiteralPath $folder)) {
            return $folder
        }
        $installed = @(Get-InstalledManifest -Folder $folder)
        if ($installed.Count -eq 0 -and $folder -ne $InUse) {
            return $folder
        }
        if (($installed -join "`n") -eq ($Manifest -join "`n") -and @(Get-ProgramFault -Folder $folder).Count -eq 0) {
            return $folder
        }
    }
}

# Puts the program into a folder that no task runs. The list of files is written last: only then the folder is whole.
function Copy-Program([string] $Source, [string] $Folder, [string[]] $Manifest) {
    Clear-Path -Path $Folder
    if (-not (Test-Path -LiteralPath $place.Programs)) {
        $null = New-Item -Path $place.Programs -ItemType Directory -Force
    }
    Copy-Item -LiteralPath $Source -Destination $Folder -Recurse
    $copied = @(Get-ProgramManifest -Folder $Folder)
    if (($copied -join "`n") -ne ($Manifest -join "`n")) {
        throw "The copy in $Folder is not equal to $Source."
    }
    Unblock-File -LiteralPath @(Get-ChildItem -LiteralPath $Folder -Recurse -File -Force | ForEach-Object -Process { $_.FullName })
    Set-Content -LiteralPath (Join-Path -Path $Folder -ChildPath $manifestName) -Value $Manifest -Encoding UTF8
}

# The folders that hold a program: those of versions, and that of 1.0.0, which lies in the top folder itself.
function Get-ProgramFolder {
    if (Test-Path -LiteralPath $place.Programs) {
        foreach ($folder in Get-ChildItem -LiteralPath $place.Programs -Directory -Force) {
            if ($programParts -notcontains $folder.Name) {
                $folder.FullName
            }
        }
        if (Test-Path -LiteralPath (Get-ProgramPython -Folder $place.Programs)) {
            $place.Programs
        }
    }
}

# Whether a program can be gone back to: one that was put there whole, or that of 1.0.0, which has no list of files.
function Test-ProgramFolder([string] $Folder) {
    (Test-Path -LiteralPath (Get-ProgramPython -Folder $Folder)) -and
    ($Folder -eq $place.Programs -or (Test-Path -LiteralPath (Join-Path -Path $Folder -ChildPath $manifestName)))
}

# Removes a file or folder, if it is there. A virus scanner may hold a file for a moment: then it is tried again.
function Clear-Path([string] $Path) {
    for ($attempt = 1; $Path -and (Test-Path -LiteralPath $Path); $attempt++) {
        try {
            Remove-Item -LiteralPath $Path -Recurse -Force
        }
        catch {
            if ($attempt -ge 10) {
                throw
            }
            Start-Sleep -Milliseconds 500
        }
    }
}

# Removes one program. The scripts go last, so that a removal that was cut short can be repeated from there.
function Clear-ProgramFolder([string] $Folder) {
    $items = @()
    if ($Folder -ne $place.Programs) {
        $items = @(Get-ChildItem -LiteralPath $Folder -Force | Where-Object -FilterScript { $_.Name -notlike '*.ps1' } | ForEach-Object -Process { $_.FullName })
        $items += $Folder
    }
    else {
        $versions = @(Get-ProgramFolder)
        $all = @(Get-ChildItem -LiteralPath $Folder -Force | Where-Object -FilterScript { $versions -notcontains $_.FullName })
        $items = @($all | Sort-Object -Property { $_.Name -like '*.ps1' } | ForEach-Object -Process { $_.FullName })
    }
    foreach ($item in $items) {
        Clear-Path -Path $item
    }
}

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
        Get-Content -LiteralPath $place.Reserved | Where-Object -FilterScript { $_ -match '^\d+$' } |
            ForEach-Object -Process { [int] $_ } | Sort-Object -Unique
    }
}

function Write-OwnReservation([int[]] $Port) {
    if (@($Port).Count -gt 0) {
        Set-Content -LiteralPath $place.Reserved -Value @($Port | Sort-Object -Unique) -Encoding ASCII
    }
    else {
        Clear-Path -Path $place.Reserved
    }
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

# --- The folder for configuration and log ----------------------------------------------------------------------------

# Accounts that may write there: administrators, SYSTEM, the built-in administrator, Windows' own installer.
$trustedAccounts = 'BA', 'SY', 'LA', 'S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464', 'S-1-5-32-544', 'S-1-5-18'

# Whether nobody but administrators may change what is at this path.
function Test-AdministratorsOnly([string] $Path) {
    $sddl = (Get-Acl -LiteralPath $Path).Sddl
    if ($sddl -notmatch '^O:(.+?)(G:|D:)' -or $trustedAccounts -notcontains $Matches[1]) {
        return $false
    }
    if ($sddl -notmatch 'D:[A-Z]*\(') {
        return $false # no list of permissions at all lets everybody in
    }
    foreach ($entry in [regex]::Matches($sddl.Substring($sddl.IndexOf('D:')), '\(([^)]*)\)')) {
        $kind, $flags, $rights, $null, $null, $account = $entry.Groups[1].Value -split ';'
        if ($kind -eq 'A' -and $trustedAccounts -notcontains $account -and $flags -notmatch 'IO' -and $rights -notmatch '^(0x1200a9|0x120089|FR|FX|FRFX|GR|GX|GXGR)$') {
            return $false
        }
    }
    $true
}

# Whether the configuration can only have come from an administrator: nobody else may write into its folder, or nobody
# else owns or may write the file. Any user may make ProgramData\SerialHost before the first installation.
function Test-TrustedConfig {
    if ((Get-Item -LiteralPath $place.Config -Force).Attributes -band [System.IO.FileAttributes]::ReparsePoint) {
        return $false
    }
    if ((Get-Item -LiteralPath $place.Data -Force).Attributes -band [System.IO.FileAttributes]::ReparsePoint) {
        return $false
    }
    (Test-AdministratorsOnly -Path $place.Data) -or
    ((Test-TrustedOwner -Path $place.Data) -and (Test-AdministratorsOnly -Path $place.Config))
}

function Test-TrustedOwner([string] $Path) {
    (Get-Acl -LiteralPath $Path).Sddl -match '^O:(.+?)(G:|D:)' -and $trustedAccounts -contains $Matches[1]
}

# Whether administrators may do all, LOCAL SERVICE may read here and write in the log, and nobody else may do anything.
function Test-DataPermission {
    if (-not (Test-Path -LiteralPath $place.Log) -or -not (Test-AdministratorsOnly -Path $place.Data)) {
        return $false
    }
    $data = (Get-Acl -LiteralPath $place.Data).Sddl
    $log = (Get-Acl -LiteralPath $place.Log).Sddl
    $data -match 'D:[A-Z]*P' -and $data -match ';;;LS\)' -and $data -notmatch ';;;(BU|AU|WD|IU)\)' -and
    $log -match '\(A;[A-Z]*;(0x1301bf|FA);;;LS\)'
}

# Makes the folder, or mends its permissions. At no moment may more people write there than before.
function Sync-DataFolder {
    if (Test-DataPermission) {
        return
    }
    if (-not (Test-Path -LiteralPath $place.Data)) {
        $null = New-Item -Path $place.Data -ItemType Directory -Force
    }
    $links = @(Get-Item -LiteralPath $place.Data -Force) + @(Get-ChildItem -LiteralPath $place.Data -Recurse -Force) |
        Where-Object -FilterScript { $_.Attributes -band [System.IO.FileAttributes]::ReparsePoint }
    if ($links) {
        throw "$($links.FullName -join ', ') leads to another place: remove it and run the script again."
    }
    # Somebody else's lists would give back the reservations of other programs, or set values for other devices.
    foreach ($list in $place.Reserved, $place.Tuned) {
        if ((Test-Path -LiteralPath $list) -and -not (Test-TrustedOwner -Path $list)) {
            Clear-Path -Path $list
        }
    }
    # By SID, because names differ by language. Administrators and SYSTEM: all. LOCAL SERVICE: read; in log also write.
    $message = "Who may use $($place.Data) cannot be set"
    $null = Invoke-CheckedProgram -FilePath 'icacls.exe' -ArgumentList $place.Data, '/setowner', '*S-1-5-32-544', '/t', '/q' -Message $message
    $null = Invoke-CheckedProgram -FilePath 'icacls.exe' -ArgumentList $place.Data, '/inheritance:r', '/grant:r', '*S-1-5-32-544:(OI)(CI)F', '*S-1-5-18:(OI)(CI)F', '*S-1-5-19:(OI)(CI)RX', '/q' -Message $message
    foreach ($sid in '*S-1-1-0', '*S-1-5-11', '*S-1-5-4', '*S-1-5-32-545') {
        $null = Invoke-CheckedProgram -FilePath 'icacls.exe' -ArgumentList $place.Data, '/remove', $sid, '/q' -Message $message
    }
    if (-not (Test-Path -LiteralPath $place.Log)) {
        $null = New-Item -Path $place.Log -ItemType Directory -Force
    }
    # What lies inside takes over the permissions of the folder, which is closed by now.
    foreach ($item in Get-ChildItem -LiteralPath $place.Data -Force) {
        $null = Invoke-CheckedProgram -FilePath 'icacls.exe' -ArgumentList $item.FullName, '/reset', '/t', '/q' -Message $message
    }
    $null = Invoke-CheckedProgram -FilePath 'icacls.exe' -ArgumentList $place.Log, '/grant:r', '*S-1-5-19:(OI)(CI)M', '/q' -Message $message
}

# Keeps the present permissions in a file that only administrators can reach, in the form of icacls.
function Save-DataPermission([string] $File) {
    $null = Invoke-CheckedProgram -FilePath 'icacls.exe' -ArgumentList $place.Data, '/save', $File, '/t', '/q' -Message "Who may use $($place.Data) cannot be read"
}

function Restore-DataPermission([string] $File) {
    if (Test-Path -LiteralPath $File) {
        $parent = Split-Path -Path $place.Data -Parent
        $null = Invoke-CheckedProgram -FilePath 'icacls.exe' -ArgumentList $parent, '/restore', $File, '/q' -Message "Who may use $($place.Data) cannot be set back"
        Clear-Path -Path $File
    }
}

# --- Apps & features, event log --------------------------------------------------------------------------------------

# Writes both registry keys in one act: the entry in "Apps & features" and the source in Windows' event log.
function Register-Application([string] $Folder, [string] $Version) {
    $script = Join-Path -Path $Folder -ChildPath 'Uninstall-SerialHost.ps1'
    $powershell = 'powershell.exe -NoProfile -ExecutionPolicy Bypass'
    $quietly = "$powershell -File `"$script`" -Quiet -Confirm:`$false"
    # Windows starts this one without an administrator's rights: it asks for them.
    $interactive = "$powershell -Command `"Start-Process -Verb RunAs -FilePath powershell.exe -ArgumentList '-NoProfile -NoExit -ExecutionPolicy Bypass -File \`"$script\`"'`""
    $values = [ordered] @{
        DisplayName          = 'EFLOW Serial Relay: serial_host'
        DisplayVersion       = $Version
        Publisher            = 'EFLOW Serial Relay'
        InstallLocation      = $Folder
        UninstallString      = $interactive
        QuietUninstallString = $quietly
    }
    $lines = @('Windows Registry Editor Version 5.00', '', "[$($place.UninstallKey -replace '^HKLM', 'HKEY_LOCAL_MACHINE')]")
    foreach ($name in $values.Keys) {
        $lines += '"{0}"="{1}"' -f $name, $values[$name].Replace('\', '\\').Replace('"', '\"')
    }
    $lines += '"NoModify"=dword:00000001', '"NoRepair"=dword:00000001', ''
    $lines += "[$($place.EventKey -replace '^HKLM', 'HKEY_LOCAL_MACHINE')]"
    $messages = (Join-Path -Path $env:SystemRoot -ChildPath 'System32\EventCreate.exe').Replace('\', '\\')
    $lines += "`"EventMessageFile`"=`"$messages`"", '"TypesSupported"=dword:00000007', '"CustomSource"=dword:00000001', ''
    $file = Join-Path -Path $place.Programs -ChildPath 'apps-and-features.reg'
    Set-Content -LiteralPath $file -Value $lines -Encoding Unicode
    $null = Invoke-CheckedProgram -FilePath 'reg.exe' -ArgumentList 'import', $file -Message 'The entry in "Apps & features" cannot be written'
}

function Test-Registered([string] $Key) {
    (Invoke-Program -FilePath 'reg.exe' -ArgumentList 'query', $Key).ExitCode -eq 0
}

function Unregister-Application {
    foreach ($key in $place.UninstallKey, $place.EventKey) {
        $result = Invoke-Program -FilePath 'reg.exe' -ArgumentList 'delete', $key, '/f'
        if ($result.ExitCode -ne 0 -and (Test-Registered -Key $key)) {
            throw "The registry key $key cannot be removed: $($result.Text)"
        }
    }
}
