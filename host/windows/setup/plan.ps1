<#
.SYNOPSIS
Functions that find out what is to be installed, and from where. Loading this file changes nothing, and neither do they.

.DESCRIPTION
They read the variables of Install-SerialHost.ps1: asked, the parameters that it was given and the Folder that it lies
in; place and state of common.ps1.
#>

# The folder with the program that is to be installed.
function Get-WantedSource([string] $OldFolder) {
    if ($asked.Previous) {
        $candidates = @(Get-ProgramFolder | Where-Object -FilterScript { $_ -ne $OldFolder -and (Test-ProgramFolder -Folder $_) })
        if ($candidates.Count -eq 0) {
            throw 'There is no earlier version to go back to.'
        }
        return @($candidates | Sort-Object -Property { (Get-Item -LiteralPath $_).LastWriteTimeUtc })[-1]
    }
    $python = Get-ProgramPython -Folder $asked.Folder
    if (-not (Test-Path -LiteralPath $python)) {
        throw "$python is missing: run this script in the folder that the zip was unpacked to."
    }
    # Copying it to where it lies would remove it.
    $isInstalled = (Test-Inside -Path $asked.Folder -Folder $place.Programs) -and (Test-ProgramFolder -Folder $asked.Folder)
    if (-not $isInstalled -and ($asked.Folder -eq $place.Programs -or (Test-Inside -Path $asked.Folder -Folder $place.Programs))) {
        throw "$($asked.Folder) is in the folder of the installed programs, but was not put there by this script: unpack the zip somewhere else and run the script there."
    }
    $asked.Folder
}

# Ports of a configuration file, as the program in the folder Source reads them.
function Get-ServedPort([string] $File, [string] $Source) {
    $result = Invoke-Program -FilePath (Get-ProgramPython -Folder $Source) -ArgumentList '-I', '-m', 'serial_host', 'check', $File, '--json'
    if ($result.ExitCode -ne 0) {
        throw "The configuration $File cannot be used: $($result.Text -replace '(^|\s)serial_host: ', '$1')"
    }
    @(($result.Output -join "`n" | ConvertFrom-Json).ports)
}

# Finds out where the new configuration comes from: 'kept', 'file' or 'written'. Throws if there is none.
function Get-ConfigKind {
    $given = $asked.Port -or $asked.TcpPort -or $asked.Config
    if ($given -and $asked.Previous) {
        throw '-Previous takes the configuration that is installed: leave out -Port, -TcpPort and -Config.'
    }
    if ($asked.Config -and ($asked.Port -or $asked.TcpPort)) {
        throw 'Say either -Port with -TcpPort, or -Config.'
    }
    if (-not $asked.Config -and [bool] $asked.Port -ne [bool] $asked.TcpPort) {
        throw '-Port and -TcpPort go together, as in: -Port COM3 -TcpPort 5002'
    }
    if ($asked.Port -and $asked.Port -notmatch '^COM[1-9][0-9]{0,2}$') {
        throw "-Port '$($asked.Port)' is not the name of a COM port, such as COM3."
    }
    if ($asked.Port -and ($asked.TcpPort -lt 1 -or $asked.TcpPort -gt 65535)) {
        throw "-TcpPort $($asked.TcpPort) is not between 1 and 65535."
    }
    if ($asked.Config -and -not (Test-Path -LiteralPath $asked.Config -PathType Leaf)) {
        throw "-Config '$($asked.Config)' is not a file."
    }
    if ($asked.ReplaceConfig -and -not $given) {
        throw '-ReplaceConfig needs -Port with -TcpPort, or -Config.'
    }
    if (Test-Path -LiteralPath $place.Config) {
        if (Test-TrustedConfig) {
            if (-not $asked.ReplaceConfig -or (Test-SameConfig)) {
                if ($given -and -not $asked.ReplaceConfig) {
                    Write-Trouble -Message "$($place.Config) is kept as it is. To replace it, add -ReplaceConfig; to change it, edit it and run this script without parameters."
                }
                return 'kept'
            }
        }
        elseif (-not $given) {
            throw "$($place.Config) is not used, because other people than administrators own it or may change it. Look at it, and then give it with -Config."
        }
        else {
            Write-Trouble -Message "$($place.Config) is not used, because other people than administrators own it or may change it."
        }
    }
    elseif (-not $given) {
        throw 'There is no configuration yet: say -Port COM3 -TcpPort 5002, or -Config FILE.'
    }
    if ($asked.Config) { 'file' } else { 'written' }
}

function Test-SameConfig {
    $now = (Get-Content -LiteralPath $place.Config) -join "`n"
    if ($asked.Config) {
        return $now -eq ((Get-Content -LiteralPath $asked.Config) -join "`n")
    }
    $now -eq ((Get-OnePortConfig) -join "`n")
}

function Get-OnePortConfig {
    '# All settings are explained in serial-host.sample.toml, which lies beside the program.'
    '[[ports]]'
    "device = `"$($asked.Port)`""
    "tcp_port = $($asked.TcpPort)"
}

# What the task gives the program on its command line.
function Get-TaskArgument {
    "-I -m serial_host run --config `"$($place.Config)`" --log-file `"$(Join-Path -Path $place.Log -ChildPath 'serial-host.log')`""
}

# All that is known before the first change. Throws, in words for the administrator, if it cannot be installed so.
#   Source, Version       the folder with the program that is to be installed, and its version
#   Folder, Python        where it will lie
#   Manifest              its list of files, if it is to be copied
#   ConfigKind            'kept', 'file' or 'written'
#   ServedPorts, TcpPorts the ports of the configuration that will be in force
#   Task, OldFolder, OldVersion, OldRules, OldReservations  what is there now; OldVersion is nothing if it does not start
#   Argument, Description of the task
#   Change                the whole in a few words, such as 'serial_host 1.0.0 -> 1.1.0'
function Get-InstallationPlan($Asked) {
    Assert-SixtyFourBit
    Assert-TrustedWay -Path $place.Programs
    Assert-TrustedWay -Path $place.Data
    $task = Get-StartupScheduledTask -TaskName $place.TaskName
    $oldFolder = Get-TaskFolder -Task $task
    $source = Get-WantedSource -OldFolder $oldFolder
    Test-ProgramCatalog -Folder $source
    $version = Get-ProgramVersion -Folder $source
    if (-not $version) {
        throw "The program in $source does not start. Unpack the zip again and run the script there."
    }
    $oldVersion = if ($oldFolder) { Get-ProgramVersion -Folder $oldFolder } else { $null }
    if ($oldVersion -and -not $Asked.Previous -and -not $Asked.Force -and (Test-Older -One $version -Other $oldVersion)) {
        throw "Version $oldVersion is installed, which is newer than ${version}: add -Force to go back, or use -Previous."
    }
    $configKind = Get-ConfigKind
    $servedPorts = @(
        switch ($configKind) {
            'kept' { Get-ServedPort -File $place.Config -Source $source }
            'file' { Get-ServedPort -File (Resolve-Path -LiteralPath $asked.Config).ProviderPath -Source $source }
            'written' { [pscustomobject] @{ device = $asked.Port; tcpPort = $asked.TcpPort; protocol = 'raw' } }
        }
    )
    $tcpPorts = @($servedPorts | ForEach-Object -Process { [int] $_.tcpPort })
    $installed = Test-Inside -Path $source -Folder $place.Programs
    $manifest = @()
    if ($source -eq $place.Programs) {
        $folder = $source
    }
    elseif ($installed) {
        $folder = $source
        $faults = @(Get-ProgramFault -Folder $folder)
        if ($faults.Count -gt 0) {
            throw "The program in $folder is damaged ($($faults[0])). Run the script in the folder that the zip was unpacked to."
        }
    }
    else {
        $manifest = @(Get-ProgramManifest -Folder $source)
        $folder = Find-ProgramFolder -Version $version -Manifest $manifest -InUse $oldFolder
    }
    $change = "serial_host $version"
    if ($oldFolder -and -not $oldVersion) {
        $change = "serial_host (damaged) -> $version"
    }
    elseif ($oldFolder -and $oldVersion -ne $version) {
        $change = "serial_host $oldVersion -> $version"
    }
    @{
        Task            = $task
        OldFolder       = $oldFolder
        OldVersion      = $oldVersion
        OldRules        = @(Get-OwnRule)
        OldReservations = @(Get-OwnReservation)
        Source          = $source
        Version         = $version
        Folder          = $folder
        Python          = Get-ProgramPython -Folder $folder
        Manifest        = $manifest
        ConfigKind      = $configKind
        ServedPorts     = $servedPorts
        TcpPorts        = $tcpPorts
        Description     = 'Serves the serial ports of this computer over TCP.'
        Argument        = Get-TaskArgument
        Change          = $change
    }
}
