# Who may use a file or folder: part of windows.psm1.

$sids = @{ '*S-1-5-32-544' = 'BA'; '*S-1-5-18' = 'SY'; '*S-1-5-19' = 'LS'; '*S-1-1-0' = 'WD'; '*S-1-5-11' = 'AU'; '*S-1-5-4' = 'IU'; '*S-1-5-32-545' = 'BU' }
$rights = @{ F = 'FA'; RX = '0x1200a9'; M = '0x1301bf' }
$inherited = '(A;OICIID;FA;;;SY)(A;OICIID;FA;;;BA)(A;OICIID;0x1200a9;;;BU)(A;CIID;DCLCRPCR;;;BU)'

# What is explicit at a path: owner, whether it takes over entries from above, own entries.
function Read-Permission([string] $Path) {
    $acl = $script:world.State.acls[$Path]
    if ($acl) { $acl } else { @{ owner = 'BA'; protected = $false; entries = @() } }
}

function Get-FullPermission([string] $Path) {
    $acl = Read-Permission $Path
    $entries = -join $acl.entries
    if ($acl.protected) { return "D:PAI$entries" }
    $parent = Split-Path $Path
    $above = if ($parent -eq $env:ProgramData) { $inherited }
    elseif ($parent.Length -gt $env:ProgramData.Length) {
        -join ([regex]::Matches((Get-FullPermission $parent), '\(A;([A-Z]*);([^;]+);;;(\w+)\)') |
                ForEach-Object { "(A;$($_.Groups[1].Value -replace 'ID', '')ID;$($_.Groups[2].Value);;;$($_.Groups[3].Value))" })
    }
    "D:AI$entries$above"
}

function Get-Acl {
    [CmdletBinding()]
    param([Parameter(Mandatory)] [string] $LiteralPath)
    try {
        # What lies above the computer's folder is no part of it.
        if ($LiteralPath.StartsWith("$($script:world.Root)/")) { Enter-Call 'Get-Acl' (Split-Path $LiteralPath -Leaf) }
        if (-not (Test-Path -LiteralPath $LiteralPath)) { throw "Cannot find path '$LiteralPath' because it does not exist." }
        [pscustomobject] @{ Sddl = "O:$((Read-Permission $LiteralPath).owner)G:BA$(Get-FullPermission $LiteralPath)" }
    }
    catch { Write-FileError $PSCmdlet $_ }
}

function icacls.exe {
    try { Enter-Call 'icacls.exe' "$($args | Select-Object -Skip 1)" } catch { if ($script:world.Frozen) { throw }; Complete-Native 5 "$_"; return }
    $path = $args[0]
    $acls = $script:world.State.acls
    if (-not (Test-Path -LiteralPath $path) -or $args[-1] -ne '/q') { Complete-Native 2 "${path}: The system cannot find the file specified."; return }
    $tree = @($path) + @(if ($args -contains '/t') { Get-ChildItem -LiteralPath $path -Recurse -Force | ForEach-Object { $_.FullName } })
    for ($index = 1; $index -lt $args.Count; $index++) {
        $word = $args[$index]
        if ($word -eq '/t' -or $word -eq '/q') { continue }
        if ($word -eq '/setowner') { $index++; foreach ($one in $tree) { $acl = (Read-Permission $one).Clone(); $acl.owner = $sids[$args[$index]]; $acls[$one] = $acl } }
        elseif ($word -eq '/reset') { foreach ($one in $tree) { $acl = (Read-Permission $one).Clone(); $acl.protected = $false; $acl.entries = @(); $acls[$one] = $acl } }
        elseif ($word -eq '/inheritance:r') { $acl = (Read-Permission $path).Clone(); $acl.protected = $true; $acls[$path] = $acl }
        elseif ($word -eq '/remove') {
            $index++
            if ($script:world.State['deaf'] -eq '/remove') { continue }
            $acl = (Read-Permission $path).Clone(); $account = $sids[$args[$index]] ?? $args[$index].TrimStart('*')
            if ($account -notmatch '^([A-Z]{2}|S-1-[\d-]+)$') { Complete-Native 1332 'No mapping between account names and security IDs was done.'; return }
            $acl.entries = @($acl.entries | Where-Object { $_ -notlike "*;;;$account)" }); $acls[$path] = $acl
        }
        elseif ($word -eq '/grant:r') {
            $acl = (Read-Permission $path).Clone()
            while ($index + 1 -lt $args.Count -and $args[$index + 1] -match '^(\*S-[\d-]+):\(OI\)\(CI\)(\w+)$') {
                $index++
                $account = $sids[$Matches[1]]
                $acl.entries = @($acl.entries | Where-Object { $_ -notlike "*;;;$account)" }) + "(A;OICI;$($rights[$Matches[2]]);;;$account)"
            }
            $acls[$path] = $acl
        }
        elseif ($word -eq '/save') {
            $index++
            $saved = @{}
            foreach ($one in $tree) { $saved[$one] = $acls[$one] }
            [System.IO.File]::WriteAllText($args[$index], ($saved | ConvertTo-Json -Depth 5))
        }
        elseif ($word -eq '/restore') {
            $index++
            $saved = [System.IO.File]::ReadAllText($args[$index]) | ConvertFrom-Json -AsHashtable
            foreach ($one in $saved.Keys) { if ($saved[$one]) { $acls[$one] = $saved[$one] } else { $acls.Remove($one) } }
        }
        else { Complete-Native 87 "Invalid parameter `"$word`""; return }
    }
    Save-Computer
    $global:LASTEXITCODE = 0
}
