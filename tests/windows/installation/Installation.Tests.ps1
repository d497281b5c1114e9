# What an administrator does in the life of an installation, one step after the other, on a real Windows.
[Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSReviewUnusedParameter', '', Justification = 'The blocks below use them.')]
param(
    [Parameter(Mandatory)] [string] $Bundle,
    [Parameter(Mandatory)] [string] $Later,
    [Parameter(Mandatory)] [string] $Version
)

BeforeAll {
    $script:port = 'COM239'
    $script:tcpPort = 47239
    $script:programs = Join-Path $env:ProgramFiles 'SerialHost'
    $script:data = Join-Path $env:ProgramData 'SerialHost'
    # Each script runs in a process of its own, as an administrator runs it, in the PowerShell that runs this.
    $script:shell = (Get-Process -Id $PID).Path

    function Invoke-Script {
        param([string] $Folder, [string] $Name, [string[]] $Arguments)
        $output = & $shell -NoProfile -ExecutionPolicy Bypass -File (Join-Path $Folder $Name) @Arguments 2>&1 | Out-String
        [pscustomobject]@{ Code = $LASTEXITCODE; Output = $output }
    }

    function Get-Installed {
        Get-ChildItem -LiteralPath $programs -Directory -ErrorAction SilentlyContinue | ForEach-Object { $_.Name }
    }

    function Wait-Until {
        param([scriptblock] $Condition, [string] $What, [int] $Seconds = 90)
        $end = (Get-Date).AddSeconds($Seconds)
        while (-not (& $Condition)) {
            if ((Get-Date) -gt $end) { throw "After $Seconds seconds still not: $What" }
            Start-Sleep -Milliseconds 200
        }
    }

    function Get-Answer {
        # Sends bytes to a TCP port of this computer, and returns what comes back until a number of bytes is there.
        param([int] $TcpPort, [byte[]] $Request, [int] $Count)
        $client = [Net.Sockets.TcpClient]::new('127.0.0.1', $TcpPort)
        try {
            $client.ReceiveTimeout = 20000
            $stream = $client.GetStream()
            $stream.Write($Request, 0, $Request.Length)
            $answer = [byte[]]::new($Count)
            $read = 0
            while ($read -lt $Count) {
                $got = $stream.Read($answer, $read, $Count - $read)
                if (-not $got) { throw "The server closed the connection after $read bytes." }
                $read += $got
            }
            $answer
        }
        finally {
            $client.Dispose()
        }
    }
}

AfterAll {
    # Also after a failure in between nothing stays on the computer.
    $last = Get-Installed | Sort-Object | Select-Object -Last 1
    if ($last) { $null = Invoke-Script -Folder $Later -Name 'Uninstall-SerialHost.ps1' -Arguments '-Purge' }
}

Describe 'The bundle, unpacked' {
    It 'runs with its own Python and says its version' {
        & (Join-Path $Bundle 'serial-host.cmd') --version | Should -Be "serial_host $Version"
    }

    It 'serves a simulated device' {
        $log = Join-Path ([IO.Path]::GetTempPath()) 'serial-host-simulate.txt'
        $python = Join-Path $Bundle 'runtime\python.exe'
        $process = Start-Process -FilePath $python -ArgumentList '-I', '-m', 'serial_host', 'simulate', 'modbus', '47240' -PassThru -NoNewWindow -RedirectStandardError $log
        try {
            Wait-Until -What 'the simulated device listens' -Condition { Get-NetTCPConnection -LocalPort 47240 -State Listen -ErrorAction SilentlyContinue }
            # Read one holding register of device 1 (Modbus RTU): address, function 3, register 0, count 1, CRC.
            $answer = Get-Answer -TcpPort 47240 -Request 1, 3, 0, 0, 0, 1, 0x84, 0x0A -Count 7
            $answer[0..2] | Should -Be 1, 3, 2
        }
        finally {
            $process | Stop-Process -Force
        }
    }
}

Describe 'The installation' {
    It 'changes nothing with -WhatIf' {
        $run = Invoke-Script -Folder $Bundle -Name 'Install-SerialHost.ps1' -Arguments '-Port', $port, '-TcpPort', $tcpPort, '-WhatIf'
        $run.Code | Should -Be 0 -Because $run.Output
        Get-Installed | Should -BeNullOrEmpty
    }

    It 'serves a port whose device is absent' {
        $run = Invoke-Script -Folder $Bundle -Name 'Install-SerialHost.ps1' -Arguments '-Port', $port, '-TcpPort', $tcpPort
        $run.Code | Should -BeIn 0, 4 -Because $run.Output
        Get-Installed | Should -Be $Version
        (Get-ScheduledTask -TaskName SerialHost).Principal.UserId | Should -Match 'LOCAL SERVICE'
    }

    It 'answers status with the port and what is wrong with it' {
        $status = & (Join-Path $programs "$Version\serial-host.cmd") status 2>&1 | Out-String
        $status | Should -Match $port
    }

    It 'finds no difference but the absent device' {
        $run = Invoke-Script -Folder $Bundle -Name 'Install-SerialHost.ps1' -Arguments '-Test'
        $run.Code | Should -Be 5 -Because $run.Output
        $run.Output -split "`r?`n" | Where-Object { $_ -and $_ -notmatch 'group policy' } | Should -Match "^$port is not there yet"
    }

    It 'stands in Apps & features' {
        $entry = Get-ItemProperty -LiteralPath 'HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall\SerialHost'
        $entry.DisplayVersion | Should -Be $Version
        $entry.QuietUninstallString | Should -Match 'Uninstall-SerialHost\.ps1'
    }

    It 'writes the installation, the start and the failed port to the event log' {
        Wait-Until -What 'the events 1, 10 and 21' -Condition {
            $ids = @(Get-WinEvent -FilterHashtable @{ LogName = 'Application'; ProviderName = 'SerialHost' } -ErrorAction SilentlyContinue | ForEach-Object { $_.Id })
            $ids -contains 1 -and $ids -contains 10 -and $ids -contains 21
        }
    }

    It 'has its exit code for a wrong parameter, and its server goes on' {
        $run = Invoke-Script -Folder $Bundle -Name 'Install-SerialHost.ps1' -Arguments '-Port', $port
        $run.Code | Should -Be 2 -Because $run.Output
        & (Join-Path $programs "$Version\serial-host.cmd") status 2>&1 | Out-String | Should -Match $port
    }

    It 'tunes nothing where there is no USB adapter' {
        $run = Invoke-Script -Folder $Bundle -Name 'Install-SerialHost.ps1' -Arguments '-TunePorts', '-Quiet'
        $run.Code | Should -Be 0 -Because $run.Output
        Test-Path -LiteralPath (Join-Path $data 'tuned-ports.txt') | Should -BeFalse
    }

    It 'refuses a program that is not what its catalog says' {
        $copy = Join-Path $TestDrive 'with-catalog'
        Copy-Item -LiteralPath $Bundle -Destination $copy -Recurse
        $null = New-FileCatalog -Path $copy -CatalogFilePath (Join-Path $TestDrive 'serial-host.cat') -CatalogVersion 2.0
        Move-Item -LiteralPath (Join-Path $TestDrive 'serial-host.cat') -Destination $copy
        $run = Invoke-Script -Folder $copy -Name 'Install-SerialHost.ps1' -Arguments '-WhatIf'
        $run.Code | Should -Be 0 -Because $run.Output
        Add-Content -LiteralPath (Join-Path $copy 'README.txt') -Value 'changed'
        $run = Invoke-Script -Folder $copy -Name 'Install-SerialHost.ps1' -Arguments '-WhatIf'
        $run.Code | Should -Be 2 -Because $run.Output
        $run.Output | Should -Match 'README\.txt is missing or was changed'
    }

    It 'can be run again' {
        $run = Invoke-Script -Folder $Bundle -Name 'Install-SerialHost.ps1'
        $run.Code | Should -BeIn 0, 4 -Because $run.Output
    }

    It 'starts its server again after a stop' {
        $command = Join-Path $programs "$Version\serial-host.cmd"
        & $command stop
        $LASTEXITCODE | Should -Be 0
        Wait-Until -What 'the start-up task has started the server again' -Seconds 150 -Condition {
            (& $command status 2>&1 | Out-String) -match $port
        }
    }

    It 'takes a later version, and goes back' {
        $run = Invoke-Script -Folder $Later -Name 'Install-SerialHost.ps1'
        $run.Code | Should -BeIn 0, 4 -Because $run.Output
        & (Join-Path $programs '9.9.9\serial-host.cmd') --version | Should -Be 'serial_host 9.9.9'
        $run = Invoke-Script -Folder $Later -Name 'Install-SerialHost.ps1' -Arguments '-Previous'
        $run.Code | Should -BeIn 0, 4 -Because $run.Output
        $task = (Get-ScheduledTask -TaskName SerialHost).Actions | Out-String
        $task | Should -Not -Match '9\.9\.9'
    }
}

Describe 'The removal' {
    It 'leaves nothing behind' {
        $run = Invoke-Script -Folder $Bundle -Name 'Uninstall-SerialHost.ps1' -Arguments '-Purge'
        $run.Code | Should -Be 0 -Because $run.Output
        Test-Path -LiteralPath $programs | Should -BeFalse
        Test-Path -LiteralPath $data | Should -BeFalse
        Get-ScheduledTask -TaskName SerialHost -ErrorAction SilentlyContinue | Should -BeNullOrEmpty
        Get-NetFirewallRule -ErrorAction SilentlyContinue | Where-Object { $_.DisplayName -match 'serial.?host' } | Should -BeNullOrEmpty
        Get-Process | Where-Object { $_.Path -like "$programs*" } | Should -BeNullOrEmpty
        Test-Path -LiteralPath 'HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall\SerialHost' | Should -BeFalse
        Test-Path -LiteralPath 'HKLM:\SYSTEM\CurrentControlSet\Services\EventLog\Application\SerialHost' | Should -BeFalse
        & netsh int ipv4 show excludedportrange protocol=tcp | Out-String | Should -Not -Match "\b$tcpPort\b"
    }
}
