# Files: the real commands, which see the preferences of their caller. Part of windows.psm1.

function Write-FileError($Cmdlet, $Record) {
    $preference = $Cmdlet.GetVariableValue('ErrorActionPreference')
    if ($Cmdlet.MyInvocation.BoundParameters.ContainsKey('ErrorAction')) { $preference = $Cmdlet.MyInvocation.BoundParameters['ErrorAction'] }
    else { $preference = $Cmdlet.SessionState.PSVariable.GetValue('ErrorActionPreference') }
    if ("$preference" -eq 'Stop') { $Cmdlet.ThrowTerminatingError($Record) }
    $Cmdlet.WriteError($Record)
}

function Move-Permission([string] $From, [string] $To) {
    $acls = $script:world.State.acls
    foreach ($key in @($acls.Keys | Where-Object { $_ -eq $From -or $_.StartsWith("$From/") })) {
        if ($To) { $acls[$To + $key.Substring($From.Length)] = $acls[$key] }
        $acls.Remove($key)
    }
    Save-Computer
}

function Copy-Item {
    [CmdletBinding()]
    param([Parameter(Mandatory)] [string] $LiteralPath, [Parameter(Mandatory)] [string] $Destination, [switch] $Recurse)
    try {
        Enter-Call 'Copy-Item' (Split-Path $Destination -Leaf)
        if ($script:world.Full) {
            # As when the disk is full: a part is there.
            $null = [System.IO.Directory]::CreateDirectory((Join-Path $Destination 'runtime'))
            [System.IO.File]::Copy((Join-Path $LiteralPath 'README.txt'), (Join-Path $Destination 'README.txt'))
            $script:world.Full = $false
            throw [System.IO.IOException]::new('There is not enough space on the disk.')
        }
        Microsoft.PowerShell.Management\Copy-Item @PSBoundParameters -ErrorAction Stop
    }
    catch { Write-FileError $PSCmdlet $_ }
}

function Move-Item {
    [CmdletBinding()]
    param([Parameter(Mandatory)] [string] $LiteralPath, [Parameter(Mandatory)] [string] $Destination, [switch] $Force)
    try {
        Enter-Call 'Move-Item' (Split-Path $Destination -Leaf)
        Microsoft.PowerShell.Management\Move-Item @PSBoundParameters -ErrorAction Stop
        Move-Permission $LiteralPath $Destination
    }
    catch { Write-FileError $PSCmdlet $_ }
}

function Remove-Item {
    [CmdletBinding()]
    param([Parameter(Mandatory)] [string] $LiteralPath, [switch] $Recurse, [switch] $Force)
    try {
        Enter-Call 'Remove-Item' (Split-Path $LiteralPath -Leaf)
        foreach ($process in $script:world.State.processes.GetEnumerator()) {
            if ($process.Value.path -and $process.Value.path.StartsWith("$LiteralPath/") -and (Test-Alive $process.Key)) {
                throw [System.IO.IOException]::new("The process cannot access the file '$($process.Value.path)' because it is being used by another process.")
            }
        }
        Microsoft.PowerShell.Management\Remove-Item @PSBoundParameters -ErrorAction Stop
        Move-Permission $LiteralPath ''
    }
    catch { Write-FileError $PSCmdlet $_ }
}

function New-Item {
    [CmdletBinding()]
    param([Parameter(Mandatory)] [string] $Path, [Parameter(Mandatory)] [ValidateSet('Directory')] [string] $ItemType, [switch] $Force)
    try { Enter-Call 'New-Item' (Split-Path $Path -Leaf); Microsoft.PowerShell.Management\New-Item @PSBoundParameters -ErrorAction Stop } catch { Write-FileError $PSCmdlet $_ }
}

function Set-Content {
    [CmdletBinding()]
    param([Parameter(Mandatory)] [string] $LiteralPath, [Parameter(Mandatory)] $Value, [Parameter(Mandatory)] [ValidateSet('ASCII', 'UTF8', 'Unicode')] [string] $Encoding)
    try {
        Enter-Call 'Set-Content' (Split-Path $LiteralPath -Leaf)
        if ($script:world.Full) {
            [System.IO.File]::WriteAllText($LiteralPath, "$(@($Value)[0])".Substring(0, 2))
            $script:world.Full = $false
            throw [System.IO.IOException]::new('There is not enough space on the disk.')
        }
        Microsoft.PowerShell.Management\Set-Content @PSBoundParameters -ErrorAction Stop
    }
    catch { Write-FileError $PSCmdlet $_ }
}

function Add-Content {
    [CmdletBinding(SupportsShouldProcess)]
    param([Parameter(Mandatory)] [string] $LiteralPath, [Parameter(Mandatory)] $Value, [Parameter(Mandatory)] [ValidateSet('UTF8')] [string] $Encoding)
    # The log of the installation alone: no fault is put here, because it may neither help nor harm.
    if ($script:world.Frozen) { throw [System.InvalidOperationException]::new('PowerShell was killed') }
    $whatIf = $PSCmdlet.SessionState.PSVariable.GetValue('WhatIfPreference')
    $isAsking = "$($PSCmdlet.SessionState.PSVariable.GetValue('ConfirmPreference'))" -eq 'Low'
    if ($isAsking -or $whatIf) { Write-Warning "Add-Content would ask, or say what if: $LiteralPath" }
    Microsoft.PowerShell.Management\Add-Content @PSBoundParameters -ErrorAction Stop
}

# A catalog is a JSON file here: the hash of each file, and the state of its signature.
function Test-FileCatalog {
    [CmdletBinding()]
    param([Parameter(Mandatory)] [string] $CatalogFilePath, [Parameter(Mandatory)] [string] $Path, [Parameter(Mandatory)] [switch] $Detailed)
    try {
        Enter-Call 'Test-FileCatalog'
        $catalog = [System.IO.File]::ReadAllText($CatalogFilePath) | ConvertFrom-Json -AsHashtable
        $items = [System.Collections.Generic.Dictionary[string, string]]::new()
        foreach ($file in Get-ChildItem -LiteralPath $Path -Recurse -File | Where-Object { $_.FullName -ne $CatalogFilePath }) {
            $items[$file.FullName.Substring($Path.Length + 1)] = (Get-FileHash -LiteralPath $file.FullName -Algorithm SHA256).Hash
        }
        $listed = [System.Collections.Generic.Dictionary[string, string]]::new()
        foreach ($name in $catalog.items.Keys) { $listed[$name] = $catalog.items[$name] }
        [pscustomobject] @{ CatalogItems = $listed; PathItems = $items; Signature = [pscustomobject] @{ Status = $catalog.signature } }
    }
    catch { Write-FileError $PSCmdlet $_ }
}

function Unblock-File {
    [CmdletBinding()]
    param([Parameter(Mandatory)] [string[]] $LiteralPath)
    try {
        Enter-Call 'Unblock-File'
        foreach ($path in $LiteralPath) {
            if ([System.IO.FileInfo]::new($path).IsReadOnly) { throw [System.UnauthorizedAccessException]::new("Access to the path '$path' is denied.") }
        }
    }
    catch { Write-FileError $PSCmdlet $_ }
}
