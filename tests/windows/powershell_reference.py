"""Parameters of the cmdlets that the installer scripts use, as Microsoft documents them.

Source: the reference of Windows PowerShell 5.1 (Microsoft.PowerShell.*), and of the ScheduledTasks, NetSecurity and
NetTCPIP modules: what Windows Server 2016, 2019 and 2022 have in common. `UseTransaction` and the like are left in.
"""

from __future__ import annotations

_DOCUMENTED = """
Copy-NetFirewallRule: AsJob CimSession Confirm Description Direction DisplayGroup DisplayName Enabled Group
    InputObject Name NewGPOSession NewName NewPolicyStore PassThru PolicyStore ThrottleLimit WhatIf
Get-Acl: AllCentralAccessPolicies Audit Exclude Filter Include InputObject LiteralPath Path UseTransaction
Get-FileHash: Algorithm InputStream LiteralPath Path
Get-NetFirewallApplicationFilter: All AsJob AssociatedNetFirewallRule CimSession Package PolicyStore Program
    ThrottleLimit
Get-NetFirewallPortFilter: All AsJob AssociatedNetFirewallRule CimSession DynamicTarget PolicyStore Protocol
    ThrottleLimit
Get-NetFirewallProfile: All AsJob AssociatedNetFirewallRule CimSession Name PolicyStore ThrottleLimit
New-Object: ArgumentList ComObject Property Strict TypeName
Set-Content: Confirm Credential Encoding Exclude Filter Force Include LiteralPath NoNewline PassThru Path
    Stream UseTransaction Value WhatIf
Set-Variable: Confirm Description Exclude Force Include Name Option PassThru Scope Value Visibility WhatIf
Stop-Process: Confirm Force Id InputObject Name PassThru WhatIf
Write-Error: Category CategoryActivity CategoryReason CategoryTargetName CategoryTargetType ErrorId Exception
    ErrorRecord Message RecommendedAction TargetObject
Write-Information: MessageData Tags
Write-Progress: Activity Completed CurrentOperation Id ParentId PercentComplete SecondsRemaining SourceId Status
Write-Verbose: Message
Add-Content: Confirm Credential Encoding Exclude Filter Force Include LiteralPath NoNewline PassThru Path
    Stream UseTransaction Value WhatIf
ConvertFrom-Json: InputObject
Copy-Item: Confirm Container Credential Destination Exclude Filter Force FromSession Include LiteralPath
    PassThru Path Recurse ToSession UseTransaction WhatIf
Disable-ScheduledTask: AsJob CimSession InputObject TaskName TaskPath ThrottleLimit
Export-ScheduledTask: AsJob CimSession InputObject TaskName TaskPath ThrottleLimit
ForEach-Object: ArgumentList Begin Confirm End InputObject MemberName Process RemainingScripts WhatIf
Get-ChildItem: Attributes CodeSigningCert Depth Directory DnsName DocumentEncryptionCert Eku Exclude
    ExpiringInDays File Filter FollowSymlink Force Hidden Include LiteralPath Name Path ReadOnly Recurse
    SSLServerAuthentication System UseTransaction
Get-Content: Credential Delimiter Encoding Exclude Filter Force Include LiteralPath Path Raw ReadCount
    Stream Tail TotalCount UseTransaction Wait
Get-Item: Credential Exclude Filter Force Include LiteralPath Path Stream UseTransaction
Get-Location: PSDrive PSProvider Stack StackName UseTransaction
Get-Date: Date Day DisplayHint Format Hour Millisecond Minute Month Second UFormat Year
Get-NetFirewallRule: Action All AsJob AssociatedNetFirewallAddressFilter
    AssociatedNetFirewallApplicationFilter AssociatedNetFirewallInterfaceFilter
    AssociatedNetFirewallInterfaceTypeFilter AssociatedNetFirewallPortFilter AssociatedNetFirewallProfile
    AssociatedNetFirewallSecurityFilter AssociatedNetFirewallServiceFilter CimSession Description
    Direction DisplayGroup DisplayName EdgeTraversalPolicy Enabled Group LocalOnlyMapping
    LooseSourceMapping Name Owner PolicyStore PolicyStoreSource PolicyStoreSourceType PrimaryStatus
    Status ThrottleLimit TracePolicyStore
Get-NetIPAddress: AddressFamily AddressState AsJob AssociatedIPInterface CimSession IPAddress
    IncludeAllCompartments InterfaceAlias InterfaceIndex PolicyStore PreferredLifetime PrefixLength
    PrefixOrigin SkipAsSource SuffixOrigin ThrottleLimit Type ValidLifetime
Get-NetTCPConnection: AppliedSetting AsJob CimSession CreationTime LocalAddress LocalPort OffloadState
    OwningProcess RemoteAddress RemotePort State ThrottleLimit
Get-CimInstance: CimSession ClassName ComputerName Filter InputObject KeyOnly Namespace
    OperationTimeoutSec Property Query QueryDialect ResourceUri Shallow
Get-PnpDeviceProperty: CimSession InputObject InstanceId KeyName ThrottleLimit AsJob
Set-CimInstance: CimSession ComputerName InputObject OperationTimeoutSec PassThru Property Query QueryDialect
    ResourceUri Namespace Confirm WhatIf
Get-ScheduledTask: AsJob CimSession TaskName TaskPath ThrottleLimit
Join-Path: ChildPath Credential Path Resolve UseTransaction
Move-Item: Confirm Credential Destination Exclude Filter Force Include LiteralPath PassThru Path
    UseTransaction WhatIf
New-Item: ApplicationName Authentication CertificateThumbprint Confirm ConnectionURI Credential Force
    ItemType Name OptionSet Options Path Port SessionOption UseSSL UseTransaction Value WhatIf
New-NetFirewallRule: Action AsJob Authentication CimSession Confirm Description Direction DisplayName
    DynamicTarget EdgeTraversalPolicy Enabled Encryption GPOSession Group IcmpType InterfaceAlias
    InterfaceType LocalAddress LocalOnlyMapping LocalPort LocalUser LooseSourceMapping Name
    OverrideBlockRules Owner Package Platform PolicyStore Profile Program Protocol RemoteAddress
    RemoteMachine RemotePort RemoteUser Service ThrottleLimit WhatIf
Register-ScheduledTask: Action AsJob CimSession Description Force InputObject Password Principal RunLevel
    Settings TaskName TaskPath ThrottleLimit Trigger User Xml
Remove-Item: Confirm Credential DeleteKey Exclude Filter Force Include LiteralPath Path Recurse Stream
    UseTransaction WhatIf
Remove-NetFirewallRule: Action All AsJob AssociatedNetFirewallAddressFilter
    AssociatedNetFirewallApplicationFilter AssociatedNetFirewallInterfaceFilter
    AssociatedNetFirewallInterfaceTypeFilter AssociatedNetFirewallPortFilter AssociatedNetFirewallProfile
    AssociatedNetFirewallSecurityFilter AssociatedNetFirewallServiceFilter CimSession Confirm Description
    Direction DisplayGroup DisplayName EdgeTraversalPolicy Enabled Group InputObject LocalOnlyMapping
    LooseSourceMapping Name Owner PassThru PolicyStore PolicyStoreSource PolicyStoreSourceType
    PrimaryStatus Status ThrottleLimit TracePolicyStore WhatIf
Resolve-Path: Credential LiteralPath Path Relative UseTransaction
Select-String: AllMatches CaseSensitive Context Encoding Exclude Include InputObject List LiteralPath NotMatch Path
    Pattern Quiet SimpleMatch
Select-Object: ExcludeProperty ExpandProperty First Index InputObject Last Property Skip SkipLast Unique
    Wait
Pop-Location: PassThru StackName UseTransaction
Push-Location: LiteralPath PassThru Path StackName UseTransaction
Set-Location: LiteralPath PassThru Path StackName UseTransaction
Set-NetFirewallRule: Action AsJob Authentication CimSession Confirm Description Direction DisplayGroup
    DisplayName DynamicTarget EdgeTraversalPolicy Enabled Encryption Group IcmpType InputObject
    InterfaceAlias InterfaceType LocalAddress LocalOnlyMapping LocalPort LocalUser LooseSourceMapping
    Name NewDisplayName OverrideBlockRules Owner Package PassThru Platform PolicyStore Profile Program
    Protocol RemoteAddress RemoteMachine RemotePort RemoteUser Service ThrottleLimit WhatIf
Set-StrictMode: Off Version
Sort-Object: CaseSensitive Culture Descending InputObject Property Unique
Split-Path: Credential IsAbsolute Leaf LiteralPath NoQualifier Parent Path Qualifier Resolve
    UseTransaction
Start-ScheduledTask: AsJob CimSession InputObject TaskName TaskPath ThrottleLimit
Start-Sleep: Milliseconds Seconds
Stop-ScheduledTask: AsJob CimSession InputObject TaskName TaskPath ThrottleLimit
Test-FileCatalog: CatalogFilePath Confirm Detailed FilesToSkip Path WhatIf
Test-Path: Credential Exclude Filter Include IsValid LiteralPath NewerThan OlderThan Path PathType
    UseTransaction
Unblock-File: Confirm LiteralPath Path WhatIf
Unregister-ScheduledTask: AsJob CimSession Confirm InputObject PassThru TaskName TaskPath ThrottleLimit
    WhatIf
Where-Object: CContains CEQ CGE CGT CIn CLE CLT CLike CMatch CNE CNotContains CNotIn CNotLike CNotMatch
    Contains EQ FilterScript GE GT In InputObject Is IsNot LE LT Like Match NE NotContains NotIn NotLike
    NotMatch Property Value
Write-Output: InputObject NoEnumerate
Write-Warning: Message
"""

COMMON = frozenset(
    [
        *("Debug", "ErrorAction", "ErrorVariable", "InformationAction", "InformationVariable", "OutBuffer"),
        *("OutVariable", "PipelineVariable", "Verbose", "WarningAction", "WarningVariable"),
    ]
)
"""about_CommonParameters: what every advanced function and cmdlet takes too."""

PARAMETERS: dict[str, frozenset[str]] = {
    name: frozenset(parameters.split())
    for name, _, parameters in (
        entry.partition(":") for entry in _DOCUMENTED.replace("\n    ", " ").strip().splitlines()
    )
}
"""Cmdlet -> its own parameters."""
