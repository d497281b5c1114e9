"""Makes the Windows bundle of serial_host: one zip that runs on a Windows computer that has nothing else installed.

A bundle is a mapping from a path inside the zip to the content of the file. Each module here adds its part to such a
mapping, and `archive` writes it. The scripts in `host/windows` install it on the Windows computer.
"""
