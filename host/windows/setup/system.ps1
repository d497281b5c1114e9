<#
.SYNOPSIS
Functions that bring the folder for configuration and log, the entry in "Apps & features" and the source in the event log to
a wanted state, for the installation, its way back and the uninstallation alike.
Loading this file changes nothing.
#>

# --- The folder for configuration and log ----------------------------------------------------------------------------

# Accounts that may write there: administrators, SYSTEM, the built-in administrator, Windows' own installer.
$trustedAccounts = 'BA', 'SY', 'LA', 'S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464', 'S-1-5-32-544', 'S-1-5-18'

# Throws if somebody else than administrators owns a folder above this path and could put another in the place of the next.
function Assert-TrustedWay([string] $Path) {
    $above = Split-Path -Path $Path -Parent
    while ($above -and (Split-Path -Path $above -Parent)) {
        if ((Test-Path -LiteralPath $above) -and -not (Test-TrustedOwner -Path $above)) {
            throw ("The folder $above belongs neither to SYSTEM nor to the administrators, and its owner could put another folder in the place of ${Path}. " +
                "Look at what is in it, give it to the administrators (icacls.exe `"$above`" /setowner *S-1-5-32-544), and run the script again.")
        }
        $above = Split-Path -Path $above -Parent
    }
}

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
        # A, and those that allow under a condition or for a part of an object.
        if (@('A', 'XA', 'OA', 'ZA') -contains $kind -and $trustedAccounts -notcontains $account -and $flags -notmatch 'IO' -and $rights -notmatch '^(0x1200a9|0x120089|FR|FX|FRFX|GR|GX|GXGR)$') {
            return $false
        }
    }
    $true
}

# The SIDs of all others than administrators, SYSTEM and LOCAL SERVICE that have an entry of their own at this path.
function Get-OtherAccount([string] $Path) {
    $known = @{
        WD = 'S-1-1-0'; AU = 'S-1-5-11'; IU = 'S-1-5-4'; BU = 'S-1-5-32-545'; BG = 'S-1-5-32-546'; PU = 'S-1-5-32-547'; AN = 'S-1-5-7'
        NU = 'S-1-5-2'; SU = 'S-1-5-6'; NS = 'S-1-5-20'; CO = 'S-1-3-0'; CG = 'S-1-3-1'; AC = 'S-1-15-2-1'; OW = 'S-1-3-4'; BO = 'S-1-5-32-551'
    }
    $sddl = (Get-Acl -LiteralPath $Path).Sddl
    $accounts = @(
        foreach ($entry in [regex]::Matches($sddl.Substring($sddl.IndexOf('D:')), '\((?:A|XA|OA|ZA|D|XD|OD);[^;)]*;[^;)]*;[^;)]*;[^;)]*;([^;)]+)')) {
            $entry.Groups[1].Value
        }
    )
    foreach ($account in @($accounts | Select-Object -Unique | Where-Object -FilterScript { (@($trustedAccounts) + @('LS', 'S-1-5-19')) -notcontains $_ })) {
        if ($known.ContainsKey($account)) { $known[$account] } else { $account }
    }
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
    # A file that was moved here keeps its owner and permissions.
    foreach ($file in $place.Config, $place.Reserved, $place.Tuned) {
        if ((Test-Path -LiteralPath $file) -and -not (Test-AdministratorsOnly -Path $file)) {
            return $false
        }
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
    $message = "Who may use $($place.Data) cannot be set"
    $advice = 'leads to another place: remove it and run the script again.'
    $isNew = -not (Test-Path -LiteralPath $place.Data)
    if ($isNew) {
        $null = New-Item -Path $place.Data -ItemType Directory
    }
    if ((Get-Item -LiteralPath $place.Data -Force).Attributes -band [System.IO.FileAttributes]::ReparsePoint) {
        throw "$($place.Data) $advice"
    }
    # First the folder is closed. By SID, because names differ by language. Administrators and SYSTEM: all. LOCAL SERVICE:
    # read; in log also write.
    $null = Invoke-CheckedProgram -FilePath 'icacls.exe' -ArgumentList $place.Data, '/setowner', '*S-1-5-32-544', '/q' -Message $message
    $null = Invoke-CheckedProgram -FilePath 'icacls.exe' -ArgumentList $place.Data, '/inheritance:r', '/grant:r', '*S-1-5-32-544:(OI)(CI)F', '*S-1-5-18:(OI)(CI)F', '*S-1-5-19:(OI)(CI)RX', '/q' -Message $message
    foreach ($sid in @(Get-OtherAccount -Path $place.Data)) {
        $null = Invoke-CheckedProgram -FilePath 'icacls.exe' -ArgumentList $place.Data, '/remove', "*$sid", '/q' -Message $message
    }
    if ($isNew) {
        # Until now any user could put something there.
        foreach ($item in @(Get-ChildItem -LiteralPath $place.Data -Force)) {
            Clear-Path -Path $item.FullName
        }
    }
    $links = @(Get-ChildItem -LiteralPath $place.Data -Recurse -Force) |
        Where-Object -FilterScript { $_.Attributes -band [System.IO.FileAttributes]::ReparsePoint }
    if ($links) {
        throw "$($links.FullName -join ', ') $advice"
    }
    # Somebody else's lists would give back the reservations of other programs, or set values for other devices.
    foreach ($list in $place.Reserved, $place.Tuned) {
        if ((Test-Path -LiteralPath $list) -and -not (Test-TrustedOwner -Path $list)) {
            Clear-Path -Path $list
        }
    }
    $null = Invoke-CheckedProgram -FilePath 'icacls.exe' -ArgumentList $place.Data, '/setowner', '*S-1-5-32-544', '/t', '/q' -Message $message
    if (-not (Test-Path -LiteralPath $place.Log)) {
        $null = New-Item -Path $place.Log -ItemType Directory -Force
    }
    # What lies inside takes over the permissions of the folder, which is closed by now.
    foreach ($item in Get-ChildItem -LiteralPath $place.Data -Force) {
        $null = Invoke-CheckedProgram -FilePath 'icacls.exe' -ArgumentList $item.FullName, '/reset', '/t', '/q' -Message $message
    }
    $null = Invoke-CheckedProgram -FilePath 'icacls.exe' -ArgumentList $place.Log, '/grant:r', '*S-1-5-19:(OI)(CI)M', '/q' -Message $message
    if (-not (Test-DataPermission)) {
        throw "$message as they should be; icacls.exe `"$($place.Data)`" /t shows what they are."
    }
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
    $quoted = $script.Replace("'", "''")
    $interactive = "$powershell -Command `"Start-Process -Verb RunAs -FilePath powershell.exe -ArgumentList '-NoProfile -NoExit -ExecutionPolicy Bypass -File \`"$quoted\`"'`""
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
