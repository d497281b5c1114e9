<#
.SYNOPSIS
The comparison of -Test. Loading this file changes nothing, and neither does the comparison.

.DESCRIPTION
It reads place and state of common.ps1.
#>

# What is installed: the Task, the Folder and the Version of its program, nothing if it does not start, and TcpPorts, the
# ports of its configuration.
function Get-Installed {
    $task = Get-StartupScheduledTask -TaskName $place.TaskName
    $folder = Get-TaskFolder -Task $task
    $version = if ($folder) { Get-ProgramVersion -Folder $folder } else { $null }
    [pscustomobject] @{ Task = $task; Folder = $folder; Version = $version; TcpPorts = @() }
}

# One sentence for each difference between the computer and what an installation leaves.
function Get-Difference($Installed) {
    if (-not $Installed.Task) {
        return "serial_host is not installed: there is no task '$($place.TaskName)'."
    }
    if (-not $Installed.Folder) {
        return "serial_host is not installed: the task '$($place.TaskName)' runs '$(Get-TaskCommand -Task $Installed.Task)'."
    }
    if (-not $Installed.Task.Settings.Enabled) {
        "The task '$($place.TaskName)' is disabled."
    }
    if (@($Installed.Task.Actions)[0].Arguments -ne (Get-TaskArgument)) {
        "The task '$($place.TaskName)' has other arguments than the installer gave it."
    }
    if ($Installed.Folder -ne $place.Programs) {
        foreach ($fault in Get-ProgramFault -Folder $Installed.Folder) {
            "The program in $($Installed.Folder) is damaged: $fault"
        }
    }
    if (-not $Installed.Version) {
        "The program in $($Installed.Folder) does not start."
    }
    elseif (Test-Path -LiteralPath $place.Config) {
        try {
            $Installed.TcpPorts = @(Get-ServedPort -File $place.Config -Source $Installed.Folder | ForEach-Object -Process { [int] $_.tcpPort })
        }
        catch {
            "$_"
        }
    }
    else {
        "There is no configuration $($place.Config)."
    }
    Get-NetworkDifference -Installed $Installed
    if (-not (Test-DataPermission)) {
        "The permissions of $($place.Data) are not those of an installation: others may use it too, or LOCAL SERVICE may not."
    }
    Get-TuningDifference
    if (-not (Test-Registered -Key $place.UninstallKey)) {
        'The entry in "Apps & features" is missing.'
    }
    Get-ServerDifference -Installed $Installed
}

function Get-NetworkDifference($Installed) {
    $ruleName = Get-RuleName -Folder $Installed.Folder
    $rule = @(Get-OwnRule | Where-Object -FilterScript { $_.Name -eq $ruleName })
    if ($rule.Count -eq 0) {
        'The firewall rule is missing.'
    }
    elseif ($rule[0].Program -ne (Get-ProgramPython -Folder $Installed.Folder) -or @($Installed.TcpPorts | Where-Object -FilterScript { $rule[0].Port -notcontains "$_" }).Count -gt 0) {
        "The firewall rule '$ruleName' does not name the program and all of its ports."
    }
    Get-RuleTrouble -Folder $Installed.Folder
    Get-FirewallPolicyTrouble
    $ranges = @(Get-ReservedRange)
    foreach ($number in $Installed.TcpPorts) {
        if (@($ranges | Where-Object -FilterScript { $_.First -le $number -and $number -le $_.Last }).Count -eq 0) {
            "TCP port $number is not reserved."
        }
    }
}

function Get-ServerDifference($Installed) {
    $servers = @(Get-ServerProcess -Folder $Installed.Folder)
    if ($servers.Count -eq 0) {
        return 'The server is not running.'
    }
    $answer = Get-ServerAnswer -Python (Get-ProgramPython -Folder $Installed.Folder) -Id $servers[0].ProcessId
    if (-not $answer) {
        return 'The server does not answer.'
    }
    Get-PortTrouble -Answer $answer
}
