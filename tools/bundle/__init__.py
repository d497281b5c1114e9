"""Makes the Windows bundle of serial_host: one zip that runs on a Windows that has nothing else installed.

A bundle is a mapping from a path inside the zip to the file's content: each module here adds its part to such a
mapping, and `archive` writes it. What the Windows machine does with it is the business of the scripts in `files/`.
"""
