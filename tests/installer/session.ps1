# Runs the scripts whose paths come on standard input, one after the other, each in a scope of its own. One process for many
# tests: PowerShell needs a second to start. After each it prints a line that begins with END.
while ($null -ne ($path = [Console]::In.ReadLine())) {
    try { & $path; 'END' } catch { "END $($_.Exception.Message) $($_.ScriptStackTrace)".Replace("`n", ' ') }
}
