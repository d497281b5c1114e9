<#
.SYNOPSIS
The comparison of -Test. Loading this file changes nothing, and neither does the comparison.

.DESCRIPTION
It reads the variables of Install-SerialHost.ps1: place and state of common.ps1, and plan of plan.ps1.
#>

# One sentence for each difference between the computer and what an installation leaves.
function Get-Difference {
    if (-not $plan.Task) {
        return "The task '$($place.TaskName)' is not there."
    }
    if (-not $plan.OldFolder) {
        return "The task '$($place.TaskName)' does not run serial_host."
    }
    $pythonNow = Get-ProgramPython -Folder $plan.OldFolder
    $action = @($plan.Task.Actions)[0]
    if (-not $plan.Task.Settings.Enabled) {
        "The task '$($place.TaskName)' is disabled."
    }
    if ($action.Arguments -ne $plan.Argument) {
        "The task '$($place.TaskName)' has other arguments than the installer gave it."
    }
    if ($plan.OldFolder -ne $place.Programs) {
        foreach ($fault in Get-ProgramFault -Folder $plan.OldFolder) {
            "The program in $($plan.OldFolder) is damaged: $fault"
        }
    }
    $rule = @($plan.OldRules | Where-Object -FilterScript { $_.Name -eq (Get-RuleName -Folder $plan.OldFolder) })
    if ($rule.Count -eq 0) {
        'The firewall rule is missing.'
    }
    elseif (-not $rule[0].Enabled -or $rule[0].Program -ne $pythonNow -or @($plan.TcpPorts | Where-Object -FilterScript { $rule[0].Port -notcontains "$_" }).Count -gt 0) {
        'The firewall rule is disabled or does not name the program and all of its ports.'
    }
    Get-FirewallPolicyTrouble
    $ranges = @(Get-ReservedRange)
    foreach ($number in $plan.TcpPorts) {
        if (@($ranges | Where-Object -FilterScript { $_.First -le $number -and $number -le $_.Last }).Count -eq 0) {
            "TCP port $number is not reserved."
        }
    }
    if (-not (Test-DataPermission)) {
        "Other people than administrators and LOCAL SERVICE may use $($place.Data), or these may not."
    }
    Get-TuningDifference
    if (-not (Test-Registered -Key $place.UninstallKey)) {
        'The entry in "Apps & features" is missing.'
    }
    $servers = @(Get-ServerProcess -Folder $plan.OldFolder)
    if ($servers.Count -eq 0) {
        return 'The server is not running.'
    }
    $answer = Get-ServerAnswer -Python $pythonNow -Id $servers[0].ProcessId
    if (-not $answer) {
        return 'The server does not answer.'
    }
    Get-PortTrouble -Answer $answer
}
