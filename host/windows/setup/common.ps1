<#
.SYNOPSIS
Functions that Install-SerialHost.ps1 and Uninstall-SerialHost.ps1 share: where things lie, what is said and written down,
native programs, files, the way back.
Loading this file changes nothing.
#>

# Where serial_host lies on this computer, and under which names Windows knows its parts.
function Get-SetupPlace {
    $programs = Join-Path -Path $env:ProgramFiles -ChildPath 'SerialHost'
    $data = Join-Path -Path $env:ProgramData -ChildPath 'SerialHost'
    [pscustomobject] @{
        Programs      = $programs
        Data          = $data
        Log           = Join-Path -Path $data -ChildPath 'log'
        Tls           = Join-Path -Path $data -ChildPath 'tls'
        Config        = Join-Path -Path $data -ChildPath 'serial-host.toml'
        Reserved      = Join-Path -Path $data -ChildPath 'reserved-tcp-ports.txt'
        # Outside both folders, so that it also tells of an installation that was undone or removed.
        SetupLog      = Join-Path -Path $env:SystemRoot -ChildPath 'Logs\SerialHost-setup.log'
        SetupLock     = Join-Path -Path $env:SystemRoot -ChildPath 'Logs\SerialHost-setup.lock'
        Tuned         = Join-Path -Path $data -ChildPath 'tuned-ports.txt'
        TaskName      = 'SerialHost'
        RuleName      = 'SerialHost-TCP-In'
        RuleGroup     = 'SerialHost'
        UninstallKey  = 'HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall\SerialHost'
        EventKey      = 'HKLM\SYSTEM\CurrentControlSet\Services\EventLog\Application\SerialHost'
    }
}

# Windows gives a 32-bit process other folders, other programs and another part of the registry.
function Assert-SixtyFourBit {
    if (-not [System.Environment]::Is64BitProcess) {
        $other = Join-Path -Path $env:SystemRoot -ChildPath 'Sysnative\WindowsPowerShell\v1.0\powershell.exe'
        throw "This is a 32-bit PowerShell: run the script in the 64-bit one, which is $other from here."
    }
}

# What one run of a script keeps in mind.
function Get-SetupState([bool] $Quietly) {
    @{
        Quietly       = $Quietly
        UndoSteps     = New-Object -TypeName System.Collections.ArrayList
        SwitchMessage = 'give the task its earlier definition and start the earlier server'
        IsTrial       = $false # -WhatIf: nothing is written, the log of the installation included
        IsForward     = $false # whether there is nothing any more that could be gone back to
        Answer        = $null # of the new server
        Lock          = $null # the open file that keeps others out
    }
}

# --- What is said, and where it is written down ----------------------------------------------------------------------

function Write-SetupLog([string] $Message) {
    if ($state.IsTrial) {
        return
    }
    # A log that cannot be written must not stop an installation.
    try {
        $folder = Split-Path -Path $place.SetupLog -Parent
        if (-not (Test-Path -LiteralPath $folder)) {
            $null = New-Item -Path $folder -ItemType Directory -Force
        }
        $line = '{0:yyyy-MM-dd HH:mm:ss} [{1}] {2}' -f (Get-Date), $PID, $Message
        Add-Content -LiteralPath $place.SetupLog -Value $line -Encoding UTF8
    }
    catch {
        Write-Verbose -Message "The log of the installation cannot be written: $_"
    }
}

# A message that may end with a name or a number, as a sentence that another can follow.
function ConvertTo-Sentence([string] $Text) {
    $trimmed = $Text.Trim()
    if ($trimmed -match '[.!?]$') { $trimmed } else { "$trimmed." }
}

# Progress for people; -Quiet leaves it to the log.
function Write-Step([string] $Message) {
    Write-SetupLog -Message $Message
    if (-not $state.Quietly) {
        Write-Information -MessageData $Message -InformationAction Continue
    }
}

function Write-Trouble([string] $Message) {
    Write-SetupLog -Message "WARNING: $Message"
    Write-Warning -Message $Message
}

# An entry in Windows' event log, where monitoring looks. The source is registered by the installer.
function Write-SetupEvent([string] $Type, [int] $Id, [string] $Message) {
    if (-not (Test-Registered -Key $place.EventKey)) {
        return # eventcreate.exe would register the source, and it would stay when the installation is undone
    }
    # Windows PowerShell does not hand a quotation mark inside of an argument over.
    $text = $Message -replace '"', "'" -replace '\s+', ' '
    $result = Invoke-Program -FilePath 'eventcreate.exe' -ArgumentList '/L', 'APPLICATION', '/SO', 'SerialHost', '/T', $Type, '/ID', "$Id", '/D', $text
    if ($result.ExitCode -ne 0) {
        Write-SetupLog -Message "The event log did not take: $Message ($($result.Text))"
    }
}

# --- One installation or uninstallation at a time ----------------------------------------------------------------------

# Opens a file that nobody else can open meanwhile; Windows closes and removes it when the process ends, however it ends.
# Throws if another installation or uninstallation has it open. It lies where only administrators can hold it.
function Open-SetupLock {
    for ($attempt = 1; ; $attempt++) {
        try {
            $state.Lock = New-Object -TypeName System.IO.FileStream -ArgumentList $place.SetupLock, 'OpenOrCreate', 'ReadWrite', 'None', 1, 'DeleteOnClose'
            return
        }
        catch {
            $reason = $_.Exception.GetBaseException()
            if ($reason.GetType() -ne [System.IO.IOException]) {
                Write-SetupLog -Message "$($place.SetupLock) cannot be made, so another installation would not be noticed: $reason"
                return
            }
            if ($attempt -eq 2) {
                throw 'Another installation or uninstallation of serial_host is running on this computer: wait until it has ended.'
            }
            # A run in this same PowerShell that was interrupted may have left it open.
            [System.GC]::Collect()
            [System.GC]::WaitForPendingFinalizers()
        }
    }
}

function Close-SetupLock {
    if ($state.Lock) {
        $state.Lock.Dispose()
        $state.Lock = $null
    }
}

# --- Native programs -------------------------------------------------------------------------------------------------

# Runs a native program and returns ExitCode, Output (the lines of its standard output) and Text (both streams, for
# messages). It never throws for what the program does; ExitCode is -1 if the program does not start. It behaves the
# same in Windows PowerShell 5.1, where a line on standard error is an error record, and in PowerShell 7, whatever the
# preferences of the caller are.
function Invoke-Program([string] $FilePath, [string[]] $ArgumentList) {
    $ErrorActionPreference = 'Continue'
    Set-Variable -Name PSNativeCommandUseErrorActionPreference -Value $false -Confirm:$false -WhatIf:$false
    try {
        $lines = @(& $FilePath @ArgumentList 2>&1)
        $code = $LASTEXITCODE
    }
    catch {
        return [pscustomobject] @{ ExitCode = -1; Output = @(); Text = "$_" }
    }
    $output = @($lines | Where-Object -FilterScript { $_ -isnot [System.Management.Automation.ErrorRecord] } | ForEach-Object -Process { "$_" })
    [pscustomobject] @{ ExitCode = $code; Output = $output; Text = @($lines | ForEach-Object -Process { "$_" }) -join ' ' }
}

function Invoke-CheckedProgram([string] $FilePath, [string[]] $ArgumentList, [string] $Message) {
    $result = Invoke-Program -FilePath $FilePath -ArgumentList $ArgumentList
    if ($result.ExitCode -ne 0) {
        throw "$Message ($FilePath, exit code $($result.ExitCode)): $($result.Text)"
    }
    $result
}

# --- The way back ----------------------------------------------------------------------------------------------------

# Remembers how an act is undone, before the act. A step must do nothing if the act has not taken place.
function Push-Undo([string] $Message, [scriptblock] $Step) {
    $null = $state.UndoSteps.Add([pscustomobject] @{ Message = $Message; Step = $Step })
}

# Runs all steps, the newest first, whatever becomes of each, until one finds that there is only a way forward. Returns
# what could not be undone.
function Invoke-Undo {
    for ($index = $state.UndoSteps.Count - 1; $index -ge 0; $index--) {
        $undo = $state.UndoSteps[$index]
        try {
            Write-SetupLog -Message "Undo: $($undo.Message)"
            $null = . $undo.Step
        }
        catch {
            Write-Trouble -Message "Not undone: $($undo.Message): $_"
            $undo.Message
        }
        if ($state.IsForward -and $undo.Message -eq $state.SwitchMessage) {
            return
        }
    }
}

# Runs a step that may fail without making the whole a failure. Returns what could not be done.
function Invoke-Remainder([string] $Message, [scriptblock] $Step) {
    try {
        $null = . $Step
    }
    catch {
        Write-Trouble -Message "Not done: ${Message}: $_"
        $Message
    }
}

# --- Files -------------------------------------------------------------------------------------------------------------

# Removes a file or folder, if it is there. A virus scanner may hold a file for a moment: then it is tried again.
function Clear-Path([string] $Path) {
    for ($attempt = 1; $Path -and (Test-Path -LiteralPath $Path); $attempt++) {
        try {
            Remove-Item -LiteralPath $Path -Recurse -Force
        }
        catch {
            if ($attempt -ge 10) {
                throw
            }
            Start-Sleep -Milliseconds 500
        }
    }
}

# Writes a list whole or not at all: a full disk or a killed PowerShell must not leave a part of it, and Ctrl+C, which runs no
# catch, not the file beside it.
function Write-List([string] $Path, [string[]] $Line) {
    if ($Line.Count -eq 0) {
        Clear-Path -Path $Path
        return
    }
    try {
        Set-Content -LiteralPath "$Path.new" -Value $Line -Encoding UTF8
        Move-Item -LiteralPath "$Path.new" -Destination $Path -Force
    }
    finally {
        Clear-Path -Path "$Path.new"
    }
}
