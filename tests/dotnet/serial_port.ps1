# Uses System.IO.Ports.SerialPort on a port whose other end sends everything back. Prints a line for each thing that was
# tried; throws at the first that is not as it should be.
param([Parameter(Mandatory)] [string] $Path)
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

function Open-Port([int] $BaudRate = 9600) {
    $port = [System.IO.Ports.SerialPort]::new($Path, $BaudRate)
    $port.ReadTimeout = $port.WriteTimeout = 20000
    # For some milliseconds after another program's end the port can be locked by it.
    for ($attempt = 1; ; $attempt++) {
        try { $port.Open(); return $port } catch [System.UnauthorizedAccessException] { if ($attempt -ge 100) { throw } }
        Start-Sleep -Milliseconds 50
    }
}

function Read-Exactly($Port, [int] $Count) {
    $buffer = [byte[]]::new($Count)
    for ($have = 0; $have -lt $Count; ) { $have += $Port.Read($buffer, $have, $Count - $have) }
    , $buffer
}

function Assert-Equal($Actual, $Expected, [string] $What) {
    if ("$Actual" -ne "$Expected") { throw "${What}: '$Actual' instead of '$Expected'" }
    $What
}

$port = Open-Port
$all = [byte[]] (0..255)
$port.Write($all, 0, 256)
Assert-Equal (Read-Exactly $port 256) $all 'all byte values pass'
$port.NewLine = "`r`n"
$port.WriteLine('answer')
Assert-Equal $port.ReadLine() 'answer' 'a line comes back without its end'
Assert-Equal $port.BytesToRead 0 'nothing is left'
$port.ReadTimeout = 50
$message = try { $null = $port.ReadByte(); 'a byte' } catch [System.TimeoutException] { 'timeout' }
Assert-Equal $message 'timeout' 'a read without data times out'
$port.ReadTimeout = 20000
foreach ($rate in 1200, 19200, 115200, 250000) { $port.BaudRate = $rate }
Assert-Equal $port.BaudRate 250000 'the baud rate can be changed on the open port'
foreach ($number in 1..50) {
    $port.DiscardInBuffer()
    $port.Write([byte[]] ($number, 7), 0, 2)
    if ("$(Read-Exactly $port 2)" -ne "$number 7") { throw "request $number" }
}
'50 times: discard, request, answer'
$port.Close()
foreach ($number in 1..20) {
    $port = Open-Port
    $port.DiscardInBuffer()
    $port.Write([byte[]] (200 + $number), 0, 1)
    if ((Read-Exactly $port 1)[0] -ne 200 + $number) { throw "open $number" }
    $port.Close()
}
'20 times: open, byte, close'
