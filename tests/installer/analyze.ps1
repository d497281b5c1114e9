# Runs PSScriptAnalyzer with all default rules and the profiles of Windows PowerShell 5.1 (Server 2016, Windows 10) over
# the scripts in the folder given. Prints each finding; the exit code is 1 if there is one.
param([Parameter(Mandatory)] [string] $Folder)
$ErrorActionPreference = 'Stop'
if (-not (Get-Module -ListAvailable PSScriptAnalyzer)) {
    'check: PSScriptAnalyzer is not at hand, so the Windows scripts are not analyzed'
    exit 0
}
$profiles = 'win-8_x64_10.0.14393.0_5.1.14393.2791_x64_4.0.30319.42000_framework', 'win-48_x64_10.0.17763.0_5.1.17763.316_x64_4.0.30319.42000_framework'
$settings = @{
    IncludeDefaultRules = $true
    Rules               = @{
        PSUseCompatibleSyntax   = @{ Enable = $true; TargetVersions = @('5.1', '7.0') }
        # Pester's newer major version is installed on purpose where its commands are used.
        PSUseCompatibleCommands = @{ Enable = $true; TargetProfiles = $profiles; IgnoreCommands = @('Should', 'Invoke-Pester', 'New-PesterContainer', 'Describe', 'It', 'BeforeAll', 'AfterAll') }
        PSUseCompatibleTypes    = @{ Enable = $true; TargetProfiles = $profiles }
    }
}
$found = @(Get-ChildItem -LiteralPath $Folder -Filter *.ps1 -Recurse | ForEach-Object { Invoke-ScriptAnalyzer -Path $_.FullName -Settings $settings })
foreach ($finding in $found) { "$($finding.ScriptName):$($finding.Line): $($finding.RuleName): $($finding.Message)" }
if ($found.Count) { exit 1 }
