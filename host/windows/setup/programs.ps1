<#
.SYNOPSIS
Functions for program folders: what is in them, whether it is whole, and how it is copied and removed.
Loading this file changes nothing.
#>

$programParts = 'app', 'packages', 'runtime', 'licences'
$manifestName = 'installed-files.txt'
$catalogName = 'serial-host.cat'

# The files of a program relative to its folder, byte code apart, in the same order whatever the language is.
function Get-RelativeFile([string] $Folder) {
    $start = (Get-Item -LiteralPath $Folder -Force).FullName.TrimEnd('\', '/').Length + 1
    [string[]] $names = @(
        Get-ChildItem -LiteralPath $Folder -Recurse -File -Force | ForEach-Object -Process { $_.FullName.Substring($start) } |
            Where-Object -FilterScript { $_ -notmatch '(^|[\\/])__pycache__[\\/]' -and $_ -ne $manifestName }
    )
    [System.Array]::Sort($names, [System.StringComparer]::OrdinalIgnoreCase)
    $names
}

# 'HASH  relative\path' for each file of a program, byte code apart.
function Get-ProgramManifest([string] $Folder) {
    foreach ($name in Get-RelativeFile -Folder $Folder) {
        $hash = Get-FileHash -LiteralPath (Join-Path -Path $Folder -ChildPath $name) -Algorithm SHA256 -ErrorAction Stop
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
        elseif ((Get-FileHash -LiteralPath $file -Algorithm SHA256 -ErrorAction Stop).Hash -ne $hash) {
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
    $files = @(Get-ChildItem -LiteralPath $Folder -Recurse -File -Force)
    foreach ($file in @($files | Where-Object -FilterScript { $_.IsReadOnly })) {
        # From a CD or a share; such a file can neither be unblocked nor replaced.
        $file.IsReadOnly = $false
    }
    Unblock-File -LiteralPath @($files | ForEach-Object -Process { $_.FullName })
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

# Whether a name in a program folder is one of the scripts or the folder of their parts.
function Test-ScriptName([string] $Name) {
    $Name -like '*.ps1' -or $Name -eq 'setup'
}

# Removes one program. The scripts go last, so that a removal that was cut short can be repeated from there.
function Clear-ProgramFolder([string] $Folder) {
    $items = @()
    if ($Folder -ne $place.Programs) {
        $items = @(Get-ChildItem -LiteralPath $Folder -Force | Where-Object -FilterScript { -not (Test-ScriptName -Name $_.Name) } | ForEach-Object -Process { $_.FullName })
        $items += $Folder
    }
    else {
        $versions = @(Get-ProgramFolder)
        $all = @(Get-ChildItem -LiteralPath $Folder -Force | Where-Object -FilterScript { $versions -notcontains $_.FullName })
        $items = @($all | Sort-Object -Property { Test-ScriptName -Name $_.Name } | ForEach-Object -Process { $_.FullName })
    }
    foreach ($item in $items) {
        Clear-Path -Path $item
    }
}
