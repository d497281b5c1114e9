# Task Scheduler: part of windows.psm1.

function Read-Action([string] $Xml) {
    $definition = [xml] $Xml
    $exec = $definition.Task.Actions.Exec
    $arguments = if ($exec['Arguments']) { $exec['Arguments'].InnerText } else { '' }
    @{ Command = $exec['Command'].InnerText; Arguments = $arguments }
}

function Get-TaskState($Task) {
    $process = if ($Task.instance) { $script:world.State.processes["$($Task.instance)"] } else { $null }
    if ($process -and (Test-Alive $Task.instance)) { 'Running' } elseif ($Task.enabled) { 'Ready' } else { 'Disabled' }
}

function ConvertTo-TaskObject([string] $Key) {
    $task = $script:world.State.tasks[$Key]
    $action = Read-Action $task.xml
    $at = $Key.LastIndexOf('\')
    [pscustomobject] @{
        TaskName = $Key.Substring($at + 1); TaskPath = $Key.Substring(0, $at + 1); State = Get-TaskState $task
        Settings = [pscustomobject] @{ Enabled = $task.enabled }
        Actions = @([pscustomobject] @{ Execute = $action.Command; Arguments = $action.Arguments })
    }
}

function Start-TaskInstance([string] $Key) {
    $task = $script:world.State.tasks[$Key]
    if ($task.enabled -and (Get-TaskState $task) -ne 'Running') {
        $action = Read-Action $task.xml
        $id = Start-Server $action.Command $action.Arguments
        if ($id) { $task.instance = $id }
    }
    Save-Computer
}

# A minute passes: the repetition of each enabled task starts what does not run.
function Step-Minute {
    foreach ($key in @($script:world.State.tasks.Keys)) { Start-TaskInstance $key }
}

function Get-ScheduledTask {
    [CmdletBinding()]
    param([Parameter(Position = 0)] [string[]] $TaskName, [Parameter(Position = 1)] [string[]] $TaskPath)
    try { Enter-Call 'Get-ScheduledTask' } catch { $PSCmdlet.WriteError((ConvertTo-Failure $PSCmdlet $_.Exception)); return }
    foreach ($key in @($script:world.State.tasks.Keys | Sort-Object)) {
        $found = ConvertTo-TaskObject $key
        $byName = -not $TaskName -or @($TaskName | Where-Object { $found.TaskName -like $_ }).Count
        $byPath = -not $TaskPath -or @($TaskPath | Where-Object { $found.TaskPath -like $_ }).Count
        if ($byName -and $byPath) { $found }
    }
}

function Resolve-TaskKey([string] $TaskPath, [string] $TaskName) {
    $key = "$TaskPath$TaskName"
    if (-not $script:world.State.tasks.ContainsKey($key)) { throw "The system cannot find the file specified: $key" }
    $key
}

function Export-ScheduledTask {
    [CmdletBinding()]
    param([Parameter(Mandatory, Position = 0)] [string] $TaskName, [Parameter(Position = 1)] [string] $TaskPath = '\')
    try {
        Enter-Call 'Export-ScheduledTask' $TaskName
        $task = $script:world.State.tasks[(Resolve-TaskKey $TaskPath $TaskName)]
        if ($task.enabled) { $task.xml } else { $task.xml.Replace('<Settings>', "<Settings>`n    <Enabled>false</Enabled>") }
    }
    catch { $PSCmdlet.WriteError((ConvertTo-Failure $PSCmdlet $_.Exception)) }
}

function Register-ScheduledTask {
    [CmdletBinding()]
    param(
        [Parameter(Mandatory, Position = 0)] [string] $TaskName, [Parameter(Position = 1)] [string] $TaskPath = '\',
        [Parameter(Mandatory)] [string] $Xml, [switch] $Force
    )
    try {
        Enter-Call 'Register-ScheduledTask' $TaskName
        if ($TaskName -match '[\\/:*?"<>|]') { throw 'The filename, directory name, or volume label syntax is incorrect.' }
        $key = "$TaskPath$TaskName"
        $old = $script:world.State.tasks[$key]
        if ($old -and -not $Force) { throw 'Cannot create a file when that file already exists.' }
        $null = Read-Action $Xml
        $enabled = -not $Xml.Contains('<Enabled>false</Enabled>')
        $plain = $Xml.Replace("<Settings>`n    <Enabled>false</Enabled>", '<Settings>')
        # An instance of the earlier definition goes on, and as long as it runs no other is started.
        $script:world.State.tasks[$key] = @{ xml = $plain; enabled = $enabled; instance = $(if ($old) { $old.instance } else { $null }) }
        Start-TaskInstance $key
        ConvertTo-TaskObject $key
    }
    catch { $PSCmdlet.WriteError((ConvertTo-Failure $PSCmdlet $_.Exception)) }
}

function Start-ScheduledTask {
    [CmdletBinding()]
    param([Parameter(Mandatory, Position = 0)] [string] $TaskName, [Parameter(Position = 1)] [string] $TaskPath = '\')
    try {
        Enter-Call 'Start-ScheduledTask' $TaskName
        $key = Resolve-TaskKey $TaskPath $TaskName
        if (-not $script:world.State.tasks[$key].enabled) { throw 'The task is disabled.' }
        Start-TaskInstance $key
    }
    catch { $PSCmdlet.WriteError((ConvertTo-Failure $PSCmdlet $_.Exception)) }
}

function Stop-ScheduledTask {
    [CmdletBinding()]
    param([Parameter(Mandatory, Position = 0)] [string] $TaskName, [Parameter(Position = 1)] [string] $TaskPath = '\')
    try {
        Enter-Call 'Stop-ScheduledTask' $TaskName
        $task = $script:world.State.tasks[(Resolve-TaskKey $TaskPath $TaskName)]
        if ($task.instance) { Stop-Server $task.instance }
        $task.instance = $null
        Save-Computer
    }
    catch { $PSCmdlet.WriteError((ConvertTo-Failure $PSCmdlet $_.Exception)) }
}

function Disable-ScheduledTask {
    [CmdletBinding()]
    param([Parameter(Mandatory, Position = 0)] [string] $TaskName, [Parameter(Position = 1)] [string] $TaskPath = '\')
    try {
        Enter-Call 'Disable-ScheduledTask' $TaskName
        $key = Resolve-TaskKey $TaskPath $TaskName
        $script:world.State.tasks[$key].enabled = $false
        Save-Computer
        ConvertTo-TaskObject $key
    }
    catch { $PSCmdlet.WriteError((ConvertTo-Failure $PSCmdlet $_.Exception)) }
}

function Unregister-ScheduledTask {
    [CmdletBinding(SupportsShouldProcess, ConfirmImpact = 'High')]
    param([Parameter(Mandatory, ValueFromPipeline)] $InputObject)
    try {
        Enter-Call 'Unregister-ScheduledTask' $InputObject.TaskName
        $key = Resolve-TaskKey $InputObject.TaskPath $InputObject.TaskName
        # A running instance goes on.
        $script:world.State.tasks.Remove($key)
        Save-Computer
    }
    catch { $PSCmdlet.WriteError((ConvertTo-Failure $PSCmdlet $_.Exception)) }
}
