<#
.SYNOPSIS
The acts of an installation, each with its way back, which is remembered before the act. Loading this file changes nothing.

.DESCRIPTION
They read the variables of Install-SerialHost.ps1: asked, the parameters that it was given; place and state of common.ps1;
plan of plan.ps1; run, what the acts keep in mind for their way back.
#>

# What the acts keep in mind.
function Get-RunState {
    @{
        LogFile         = Join-Path -Path $place.Log -ChildPath 'serial-host.log'
        LogLines        = 0 # how many lines it had before
        SavedPermission = Join-Path -Path $place.Programs -ChildPath 'permissions-before.txt'
        NewFile         = "$($place.Config).new"
        OldFile         = "$($place.Config).replaced-{0:yyyyMMdd-HHmmss}" -f (Get-Date)
        OldDefinition   = $null # of the task
        OldIsDisabled   = $false
        OldServers      = @()
        OldServerIds    = @()
        MadeTop         = $false # whether the folder for all versions is new
        MadeLog         = $false
        IsFirst         = $false # whether there was no configuration
        PortsChanged    = $false # whether the firewall rule had other ports
        Aside           = '' # where a folder that somebody else had made was moved to
        Deferred        = @() # ports that can be reserved only when the old server has ended
    }
}

function Install-Program {
    if ($plan.Folder -eq $plan.Source) {
        return # it is the program of a version that is installed
    }
    if ((Test-Path -LiteralPath $plan.Folder) -and @(Get-ProgramFault -Folder $plan.Folder).Count -eq 0) {
        return
    }
    $run.MadeTop = -not (Test-Path -LiteralPath $place.Programs)
    Push-Undo -Message 'remove the copied program' -Step {
        Clear-Path -Path $plan.Folder
        if ($run.MadeTop) {
            Clear-Path -Path $place.Programs
        }
    }
    Write-Step -Message "Copying the program to $($plan.Folder)"
    Copy-Program -Source $plan.Source -Folder $plan.Folder -Manifest $plan.Manifest
    if ((Get-ProgramVersion -Folder $plan.Folder) -ne $plan.Version) {
        throw "The program in $($plan.Folder) does not start."
    }
    # The service account may not write here, so the byte code is made now. The program also runs without it.
    $compiled = Invoke-Program -FilePath $plan.Python -ArgumentList '-I', '-m', 'compileall', '-q', $plan.Folder
    if ($compiled.ExitCode -ne 0) {
        Write-SetupLog -Message "The byte code was not made: $($compiled.Text)"
    }
}

function Install-DataFolder {
    if (Test-DataPermission) {
        return
    }
    if (-not (Test-Path -LiteralPath $place.Data)) {
        Push-Undo -Message "remove $($place.Data)" -Step { Clear-Path -Path $place.Data }
        Sync-DataFolder
        return
    }
    $isTrusted = (Test-TrustedOwner -Path $place.Data) -and (-not (Test-Path -LiteralPath $place.Config) -or (Test-TrustedConfig))
    if ($plan.OldFolder -or $isTrusted) {
        $run.MadeLog = -not (Test-Path -LiteralPath $place.Log)
        Push-Undo -Message "set back who may use $($place.Data)" -Step {
            Restore-DataPermission -File $run.SavedPermission
            if ($run.MadeLog) {
                Clear-Path -Path $place.Log
            }
        }
        Save-DataPermission -File $run.SavedPermission
        Sync-DataFolder
        return
    }
    # Who made the folder may hold it open or own what lies in it: it is put aside, and a new one is made.
    $number = 1
    while (Test-Path -LiteralPath "$($place.Data).aside-$number") {
        $number += 1
    }
    $run.Aside = "$($place.Data).aside-$number"
    Push-Undo -Message "move $($run.Aside) back" -Step {
        if (Test-Path -LiteralPath $run.Aside) {
            Clear-Path -Path $place.Data
            Move-Item -LiteralPath $run.Aside -Destination $place.Data
        }
    }
    Write-Trouble -Message "$($place.Data) was there before the installation, and others than administrators may change it: it is now $($run.Aside). Look at it and remove it."
    Move-Item -LiteralPath $place.Data -Destination $run.Aside
    Sync-DataFolder
}

# Puts the new configuration beside the present one and checks it there, where nobody else can change it.
function Install-NewConfig {
    if ($plan.ConfigKind -eq 'kept') {
        return
    }
    Push-Undo -Message 'remove the new configuration' -Step { Clear-Path -Path $run.NewFile }
    if ($plan.ConfigKind -eq 'written') {
        Set-Content -LiteralPath $run.NewFile -Value (Get-OnePortConfig) -Encoding ASCII
    }
    else {
        Copy-Item -LiteralPath (Resolve-Path -LiteralPath $asked.Config).ProviderPath -Destination $run.NewFile
        (Get-Item -LiteralPath $run.NewFile -Force).IsReadOnly = $false
    }
    $again = @(Get-ServedPort -File $run.NewFile -Source $plan.Source | ForEach-Object -Process { [int] $_.tcpPort })
    if (($again -join ',') -ne ($plan.TcpPorts -join ',')) {
        throw 'The configuration changed while it was installed.'
    }
}

# Puts the new configuration into force. The one before is kept beside it.
function Switch-Config {
    if ($plan.ConfigKind -eq 'kept') {
        return
    }
    $run.IsFirst = -not (Test-Path -LiteralPath $place.Config)
    Push-Undo -Message 'put the earlier configuration back' -Step {
        if (Test-Path -LiteralPath $run.OldFile) {
            Move-Item -LiteralPath $run.OldFile -Destination $place.Config -Force
        }
        elseif ($run.IsFirst) {
            Clear-Path -Path $place.Config
        }
    }
    if (-not $run.IsFirst) {
        Copy-Item -LiteralPath $place.Config -Destination $run.OldFile
    }
    Move-Item -LiteralPath $run.NewFile -Destination $place.Config -Force
}

# With [tls] in the configuration the server keeps its key and the modules that it trusts in a folder where it may write.
function Install-TlsFolder {
    if (-not (Select-String -LiteralPath $place.Config -Pattern '^\s*(\[\s*["'']?tls["'']?\s*\]|["'']?tls["'']?\s*[.=])' -Quiet)) {
        return
    }
    if (-not (Test-Path -LiteralPath $place.Tls)) {
        Push-Undo -Message "remove $($place.Tls)" -Step { Clear-Path -Path $place.Tls }
        $null = New-Item -Path $place.Tls -ItemType Directory -Force
    }
    $null = Invoke-CheckedProgram -FilePath 'icacls.exe' -ArgumentList $place.Tls, '/grant:r', '*S-1-5-19:(OI)(CI)M', '/q' -Message "Who may use $($place.Tls) cannot be set"
}

# Gives the task its definition of before, ends the new server and starts the old one.
function Restore-Task {
    $now = Get-StartupScheduledTask -TaskName $place.TaskName
    if (-not $run.OldDefinition) {
        if ($now) {
            Unregister-ScheduledTask -InputObject $now -Confirm:$false -ErrorAction Stop
        }
        Wait-ServerEnd -Process @(Get-ServerProcess -Folder $plan.Folder)
        return
    }
    $oldRunning = @(Get-ServerProcess | Where-Object -FilterScript { $run.OldServerIds -contains $_.ProcessId })
    if ($state.IsForward -and $oldRunning.Count -eq 0) {
        if (@(Get-ServerProcess -Folder $plan.Folder).Count -eq 0) {
            Start-ScheduledTask -TaskName $place.TaskName -TaskPath '\' -ErrorAction Stop
        }
        $null = Wait-ServerAnswer -Folder $plan.Folder -Version $plan.Version
        return
    }
    # The old server was not ended yet, or it can be started again.
    $state.IsForward = $false
    if (-not $now -or (Export-ScheduledTask -TaskName $place.TaskName -TaskPath '\' -ErrorAction Stop) -ne $run.OldDefinition) {
        $null = Register-ScheduledTask -TaskName $place.TaskName -TaskPath '\' -Xml $run.OldDefinition -Force -ErrorAction Stop
    }
    if ($plan.Folder -ne $plan.OldFolder) {
        Wait-ServerEnd -Process @(Get-ServerProcess -Folder $plan.Folder | Where-Object -FilterScript { $run.OldServerIds -notcontains $_.ProcessId })
    }
    if (-not $run.OldIsDisabled -and @(Get-ServerProcess -Folder $plan.OldFolder).Count -eq 0) {
        Start-ScheduledTask -TaskName $place.TaskName -TaskPath '\' -ErrorAction Stop
    }
    # The registration may have started it already; it is as before only when it answers.
    if (-not $run.OldIsDisabled -and $run.OldServerIds.Count -gt 0 -and $oldRunning.Count -eq 0) {
        $null = Wait-ServerAnswer -Folder $plan.OldFolder -Version $plan.OldVersion
    }
}

# The task's command is the only switch: it always names a program that is whole.
function Switch-Task {
    Push-Undo -Message $state.SwitchMessage -Step { Restore-Task }
    Switch-Config
    Install-TlsFolder
    if ($plan.Task -and -not $plan.OldFolder) {
        Write-Trouble -Message "The task '$($place.TaskName)' ran '$(Get-TaskCommand -Task $plan.Task)', which is not serial_host; it is replaced."
    }
    Write-Step -Message 'Starting the new server in place of the old one'
    $definition = Get-StartupTaskDefinition -Execute $plan.Python -Argument $plan.Argument -Description $plan.Description
    $null = Register-ScheduledTask -TaskName $place.TaskName -TaskPath '\' -Xml $definition -Force -ErrorAction Stop
    # From here on there is nothing to go back to if the earlier program does not start, or if the ports of the
    # configuration in its place were changed.
    $state.IsForward = ($plan.Folder -eq $plan.OldFolder -and $plan.ConfigKind -eq 'kept' -and $run.PortsChanged) -or ($plan.OldFolder -and -not $plan.OldVersion)
    # The task may have started the old program once more until it got the new one.
    $run.OldServers = @(Get-ServerProcess | Where-Object -FilterScript { $run.OldServerIds -contains $_.ProcessId -or -not (Test-Inside -Path $_.ExecutablePath -Folder $plan.Folder) })
    Wait-ServerEnd -Process $run.OldServers -Python $plan.Python
    if ($run.Deferred.Count -gt 0) {
        $null = Add-Reservation -Port $run.Deferred
    }
    # The registration and the repetition of the task start it too, and to be second is no failure.
    Start-ScheduledTask -TaskName $place.TaskName -TaskPath '\' -ErrorAction Stop
    $state.Answer = Wait-ServerAnswer -Folder $plan.Folder -Version $plan.Version -Port $plan.TcpPorts
}

# The lines of the server's log; none if it cannot be read, because another program holds it, say.
function Get-LogLine {
    try {
        if (Test-Path -LiteralPath $run.LogFile) {
            Get-Content -LiteralPath $run.LogFile -Encoding UTF8
        }
    }
    catch {
        Write-SetupLog -Message "The server's log cannot be read: $_"
    }
}

# The lines that the new server has logged.
function Get-NewLogLine {
    $lines = @(Get-LogLine)
    $first = if ($lines.Count -ge $run.LogLines) { $run.LogLines } else { 0 }
    $lines | Select-Object -Skip $first | Select-Object -Last 20
}

# Does all of it. What fails, or is interrupted, is undone by Invoke-Undo.
function Install-All {
    if ($plan.Task) {
        $run.OldDefinition = Export-ScheduledTask -TaskName $place.TaskName -TaskPath '\' -ErrorAction Stop
        $run.OldIsDisabled = -not $plan.Task.Settings.Enabled
    }
    Install-Program
    Install-DataFolder
    Install-NewConfig
    Push-Undo -Message 'give back new reservations' -Step { Clear-Reservation -Keep $plan.OldReservations -JustMade }
    $run.Deferred = @(Add-Reservation -Port $plan.TcpPorts)
    Push-Undo -Message 'bring the firewall rules back' -Step { Restore-FirewallRule -Before $plan.OldRules }
    Sync-FirewallRule -Folder $plan.Folder -Port $plan.TcpPorts -Before $plan.OldRules
    $oldPorts = @($plan.OldRules | Where-Object -FilterScript { $_.Name -eq (Get-RuleName -Folder $plan.Folder) } | ForEach-Object -Process { $_.Port })
    $run.PortsChanged = ($oldPorts -join ',') -ne (@($plan.TcpPorts | ForEach-Object -Process { "$_" } | Sort-Object -Unique) -join ',')
    $run.OldServers = @(Get-ServerProcess)
    $run.OldServerIds = @($run.OldServers | ForEach-Object -Process { [int] $_.ProcessId })
    $run.LogLines = @(Get-LogLine).Count
    Switch-Task
}
