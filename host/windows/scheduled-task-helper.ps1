<#
.SYNOPSIS
Two functions that have Windows start a program at boot and keep it running. Load them by dot-sourcing:

    . .\scheduled-task-helper.ps1
    Add-StartupScheduledTask -TaskName com2tcp -Execute C:\hub4com\com2tcp.bat -Argument '\\.\COM3 5002'

.DESCRIPTION
Add-StartupScheduledTask registers the task and starts it. Remove-StartupScheduledTask ends it and deletes it.
Get-Help works on both. They need an elevated PowerShell (5.1 or later).
#>

# The definition that Task Scheduler gets [MS-TSCH 2.5]; {0} to {4} are filled in by Add-StartupScheduledTask.
#   BootTrigger           at each start of Windows, before anyone logs on.
#   RegistrationTrigger   the same from the moment of registration to the next start.
#   Repetition, IgnoreNew each minute: starts the program if it has ended for whatever reason, else does nothing.
#                         (RestartOnFailure would only cover a failure to start [MS-TSCH 2.5.4.2].)
#   ExecutionTimeLimit    none; the default ends a program after three days.
#   Priority              4 is normal; the default, 7, means low priority for processor, disk and memory.
function Get-StartupTaskTemplate {
    @'
<?xml version="1.0"?>
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <RegistrationInfo>
    <Description>{0}</Description>
  </RegistrationInfo>
  <Triggers>
    <BootTrigger>
      <Repetition>
        <Interval>PT1M</Interval>
      </Repetition>
    </BootTrigger>
    <RegistrationTrigger>
      <Repetition>
        <Interval>PT1M</Interval>
      </Repetition>
    </RegistrationTrigger>
  </Triggers>
  <Principals>
    <Principal id="Account">
      <UserId>{1}</UserId>
      <RunLevel>LeastPrivilege</RunLevel>
    </Principal>
  </Principals>
  <Settings>
    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>
    <ExecutionTimeLimit>PT0S</ExecutionTimeLimit>
    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>
    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>
    <StartWhenAvailable>true</StartWhenAvailable>
    <RunOnlyIfIdle>false</RunOnlyIfIdle>
    <RunOnlyIfNetworkAvailable>false</RunOnlyIfNetworkAvailable>
    <Priority>4</Priority>
  </Settings>
  <Actions Context="Account">
    <Exec>
      <Command>{2}</Command>
      <Arguments>{3}</Arguments>
      <WorkingDirectory>{4}</WorkingDirectory>
    </Exec>
  </Actions>
</Task>
'@
}

function Get-StartupTaskDefinition([string] $Execute, [string] $Argument, [string] $Account = 'LocalService', [string] $Description) {
    # Names of these accounts differ by the language of Windows, their SIDs do not.
    $sids = @{ LocalService = 'S-1-5-19'; NetworkService = 'S-1-5-20'; System = 'S-1-5-18' }
    $folder = Split-Path -Path $Execute -Parent
    $values = foreach ($value in $Description, $sids[$Account], $Execute, $Argument, $folder) {
        [System.Security.SecurityElement]::Escape($value)
    }
    (Get-StartupTaskTemplate) -f $values
}

# The task of exactly this name in the top folder of Task Scheduler, or nothing. Get-ScheduledTask alone takes the name
# as a pattern and looks in all folders.
function Get-StartupScheduledTask([string] $TaskName) {
    Get-ScheduledTask -ErrorAction Stop | Where-Object -FilterScript { $_.TaskPath -eq '\' -and $_.TaskName -eq $TaskName }
}

# Ends the program that a task runs and waits until Task Scheduler has seen it.
function Wait-StartupTaskEnd([string] $TaskName) {
    for ($attempt = 0; $attempt -lt 40; $attempt++) {
        $task = Get-StartupScheduledTask -TaskName $TaskName
        if (-not $task -or "$($task.State)" -ne 'Running') {
            return
        }
        if ($attempt % 10 -eq 0) {
            # The program may have ended by itself.
            Stop-ScheduledTask -TaskName $TaskName -TaskPath '\' -ErrorAction SilentlyContinue
        }
        Start-Sleep -Milliseconds 500
    }
    throw "The program of the task '$TaskName' does not end."
}

function Add-StartupScheduledTask {
    <#
    .SYNOPSIS
    Registers a task that runs a program at each start of Windows and starts it again within a minute if it ends.

    .DESCRIPTION
    The task has no time limit, runs on battery too, and runs at most one instance. A task of the same name is
    replaced. Anything that Windows can run will do: .exe, .com, .bat, .cmd.

    .PARAMETER TaskName
    Name of the task, as Task Scheduler shows it.

    .PARAMETER Execute
    Full path of the program. The account below must be allowed to read it: a program in somebody's profile or
    Downloads folder does not start.

    .PARAMETER Argument
    Its command line.

    .PARAMETER Account
    LocalService (default): no more rights than any user has, no password, nothing to the network; may open COM
    ports. NetworkService and System are for programs that need more.

    .PARAMETER Description
    What Task Scheduler shows beside the name.

    .EXAMPLE
    Add-StartupScheduledTask -TaskName com2tcp -Execute C:\hub4com\com2tcp.bat -Argument '\\.\COM3 5002'
    #>
    [CmdletBinding(SupportsShouldProcess = $true)]
    param(
        [Parameter(Mandatory = $true, Position = 0)]
        [ValidateNotNullOrEmpty()]
        [string] $TaskName,

        [Parameter(Mandatory = $true, Position = 1)]
        [ValidateNotNullOrEmpty()]
        [string] $Execute,

        [Parameter(Position = 2)]
        [string] $Argument = '',

        [ValidateSet('LocalService', 'NetworkService', 'System')]
        [string] $Account = 'LocalService',

        [string] $Description = "Runs $Execute from the start of Windows on."
    )

    # With the caller's SilentlyContinue, a function goes on behind its own throw.
    $ErrorActionPreference = 'Stop'
    if ($TaskName -match '[\\/:*?"<>|]') {
        throw "Add-StartupScheduledTask: -TaskName '$TaskName' has a character that the name of a task cannot have."
    }
    if (-not (Test-Path -LiteralPath $Execute -PathType Leaf)) {
        throw "Add-StartupScheduledTask: -Execute '$Execute' is not a file. Give the full path of a program."
    }
    $program = (Resolve-Path -LiteralPath $Execute).ProviderPath
    $definition = Get-StartupTaskDefinition -Execute $program -Argument $Argument -Account $Account -Description $Description

    if ($PSCmdlet.ShouldProcess($TaskName, 'Register and start the scheduled task')) {
        $before = Get-StartupScheduledTask -TaskName $TaskName
        $null = Register-ScheduledTask -TaskName $TaskName -TaskPath '\' -Xml $definition -Force -ErrorAction Stop
        if ($before -and "$($before.State)" -eq 'Running') {
            # The program of the earlier definition would go on otherwise.
            Wait-StartupTaskEnd -TaskName $TaskName
        }
        # The registration trigger starts it too, and to be second is no failure.
        Start-ScheduledTask -TaskName $TaskName -TaskPath '\' -ErrorAction SilentlyContinue
        Get-StartupScheduledTask -TaskName $TaskName
    }
}

function Remove-StartupScheduledTask {
    <#
    .SYNOPSIS
    Ends the program that a task runs and deletes the task. Does nothing if there is no such task.

    .DESCRIPTION
    A batch file's own children (hub4com.exe of com2tcp.bat) may go on until they are ended or Windows restarts.

    .PARAMETER TaskName
    Name of the task.

    .EXAMPLE
    Remove-StartupScheduledTask -TaskName com2tcp
    #>
    [CmdletBinding(SupportsShouldProcess = $true)]
    param(
        [Parameter(Mandatory = $true, Position = 0)]
        [ValidateNotNullOrEmpty()]
        [string] $TaskName
    )

    $ErrorActionPreference = 'Stop'
    $task = Get-StartupScheduledTask -TaskName $TaskName
    if (-not $task) {
        return
    }
    if ($PSCmdlet.ShouldProcess($TaskName, 'End and delete the scheduled task')) {
        # The task is disabled first, because the next repetition would start again what was just ended.
        $null = Disable-ScheduledTask -TaskName $TaskName -TaskPath '\' -ErrorAction Stop
        Wait-StartupTaskEnd -TaskName $TaskName
        Unregister-ScheduledTask -InputObject $task -Confirm:$false -ErrorAction Stop
    }
}
