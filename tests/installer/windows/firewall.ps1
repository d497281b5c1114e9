# The firewall: part of windows.psm1.

function ConvertTo-RuleObject([string] $Name) {
    $rule = $script:world.State.rules[$Name]
    [pscustomobject] @{ Name = $Name; DisplayName = $rule.displayName; Group = $rule.group; Enabled = $rule.enabled }
}

function Get-NetFirewallRule {
    [CmdletBinding()]
    param([Parameter(Mandatory)] [string[]] $Group)
    try { Enter-Call 'Get-NetFirewallRule' } catch { $PSCmdlet.WriteError((ConvertTo-Failure $PSCmdlet $_.Exception)); return }
    $found = @($script:world.State.rules.Keys | Sort-Object | Where-Object { $Group -contains $script:world.State.rules[$_].group })
    if ($found.Count -eq 0) {
        $PSCmdlet.WriteError((ConvertTo-Failure $PSCmdlet ([System.Exception]::new("No MSFT_NetFirewallRule objects found with property 'RuleGroup' equal to '$Group'.")) 'ObjectNotFound'))
    }
    foreach ($name in $found) { ConvertTo-RuleObject $name }
}

function Get-NetFirewallApplicationFilter {
    [CmdletBinding()]
    param([Parameter(Mandatory)] $AssociatedNetFirewallRule)
    try { Enter-Call 'Get-NetFirewallApplicationFilter' } catch { $PSCmdlet.WriteError((ConvertTo-Failure $PSCmdlet $_.Exception)); return }
    [pscustomobject] @{ Program = $script:world.State.rules[$AssociatedNetFirewallRule.Name].program }
}

function Get-NetFirewallPortFilter {
    [CmdletBinding()]
    param([Parameter(Mandatory)] $AssociatedNetFirewallRule)
    try { Enter-Call 'Get-NetFirewallPortFilter' } catch { $PSCmdlet.WriteError((ConvertTo-Failure $PSCmdlet $_.Exception)); return }
    $rule = $script:world.State.rules[$AssociatedNetFirewallRule.Name]
    [pscustomobject] @{ Protocol = $rule.protocol; LocalPort = $rule.localPort }
}

function Get-NetFirewallProfile {
    [CmdletBinding()]
    param([Parameter(Mandatory)] [ValidateSet('ActiveStore')] [string] $PolicyStore)
    try { Enter-Call 'Get-NetFirewallProfile' } catch { $PSCmdlet.WriteError((ConvertTo-Failure $PSCmdlet $_.Exception)); return }
    $ignored = $script:world.State.ContainsKey('policyIgnoresRules')
    foreach ($name in 'Domain', 'Private', 'Public') {
        [pscustomobject] @{ Name = $name; AllowLocalFirewallRules = $(if ($ignored -and $name -eq 'Domain') { 'False' } else { 'NotConfigured' }) }
    }
}

function New-NetFirewallRule {
    [CmdletBinding()]
    param(
        [Parameter(Mandatory)] [string] $Name, [Parameter(Mandatory)] [string] $DisplayName, [string] $Group,
        [ValidateSet('Inbound', 'Outbound')] [string] $Direction, [ValidateSet('Allow', 'Block')] [string] $Action,
        [ValidateSet('Any', 'Domain', 'Private', 'Public')] [string] $Profile, [string] $Program, [string] $Protocol,
        [string[]] $LocalPort, [string[]] $RemoteAddress
    )
    try {
        Enter-Call 'New-NetFirewallRule' $Name
        if ($script:world.State.rules.ContainsKey($Name)) { throw 'Cannot create a file when that file already exists.' }
        $script:world.State.rules[$Name] = @{
            displayName = $DisplayName; group = $Group; direction = $Direction; action = $Action; profile = $Profile; program = $Program
            protocol = $Protocol; localPort = @($LocalPort); remoteAddress = @($RemoteAddress); enabled = 'True'
        }
        Save-Computer
        ConvertTo-RuleObject $Name
    }
    catch { $PSCmdlet.WriteError((ConvertTo-Failure $PSCmdlet $_.Exception)) }
}

function Copy-NetFirewallRule {
    [CmdletBinding()]
    param([Parameter(Mandatory)] [string] $Name, [Parameter(Mandatory)] [string] $NewName)
    try {
        Enter-Call 'Copy-NetFirewallRule' $Name
        if ($script:world.State.rules.ContainsKey($NewName)) { throw 'Cannot create a file when that file already exists.' }
        $script:world.State.rules[$NewName] = $script:world.State.rules[$Name].Clone()
        Save-Computer
    }
    catch { $PSCmdlet.WriteError((ConvertTo-Failure $PSCmdlet $_.Exception)) }
}

function Set-NetFirewallRule {
    [CmdletBinding()]
    param([Parameter(Mandatory)] [string] $Name, [string] $Program, [string] $Protocol, [string[]] $LocalPort)
    try {
        Enter-Call 'Set-NetFirewallRule' $Name
        if ($LocalPort -and -not $Protocol) { throw 'LocalPort needs Protocol.' }
        $rule = $script:world.State.rules[$Name]
        if (-not $rule) { throw "No rule '$Name'." }
        $rule.program = $Program; $rule.protocol = $Protocol; $rule.localPort = @($LocalPort)
        Save-Computer
    }
    catch { $PSCmdlet.WriteError((ConvertTo-Failure $PSCmdlet $_.Exception)) }
}

function Remove-NetFirewallRule {
    [CmdletBinding()]
    param([Parameter(Mandatory)] [string] $Name)
    try {
        Enter-Call 'Remove-NetFirewallRule' $Name
        if (-not $script:world.State.rules.ContainsKey($Name)) { throw "No rule '$Name'." }
        $script:world.State.rules.Remove($Name)
        Save-Computer
    }
    catch { $PSCmdlet.WriteError((ConvertTo-Failure $PSCmdlet $_.Exception)) }
}
