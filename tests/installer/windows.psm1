# Stand-ins for the commands of Windows that the scripts in host/windows use, for PowerShell on Linux.
#
# They behave as Windows' own in what matters here: as functions of a module they do not see the preferences of their
# caller (the file commands apart, which do); they take only the parameters that the scripts give, in the sets of the
# real commands; they keep the state of the computer in a JSON file. Every call can be the place of a fault:
#   fail   the call fails as the real command would, once
#   stop   the pipeline is stopped there, as Ctrl+C and the end of a remote session do
#   full   the disk is full: a part is written
#   kill   nothing that the script does from there on has any effect, as after the end of its process
# The server is a light one (a process in the JSON file) or, in a few tests, the real one.

Set-StrictMode -Version Latest

$script:world = $null
$OFS = ' '

foreach ($part in 'computer', 'tasks', 'server', 'system', 'firewall', 'programs', 'permissions', 'files') { . (Join-Path $PSScriptRoot "windows/$part.ps1") }

Export-ModuleMember -Function Enter-Computer, Get-World, New-Computer, Save-Computer, Step-Minute, Invoke-LightPython, Test-LightProgram, Test-Alive, Read-Action,
Get-ScheduledTask, Export-ScheduledTask, Register-ScheduledTask, Start-ScheduledTask, Stop-ScheduledTask, Disable-ScheduledTask, Unregister-ScheduledTask,
Get-CimInstance, Set-CimInstance, Get-PnpDeviceProperty, Stop-Process, Get-NetTCPConnection, Get-NetIPAddress, Start-Sleep,
Get-NetFirewallRule, Get-NetFirewallApplicationFilter, Get-NetFirewallPortFilter, Get-NetFirewallProfile, New-NetFirewallRule, Copy-NetFirewallRule, Set-NetFirewallRule, Remove-NetFirewallRule,
netsh.exe, reg.exe, eventcreate.exe, icacls.exe, Get-Acl, Copy-Item, Move-Item, Remove-Item, New-Item, Set-Content, Add-Content, Unblock-File, Test-FileCatalog
