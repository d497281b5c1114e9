"""Writes a bundle as a zip that is the same, byte for byte, whenever its files are the same.

What is in a bundle is decided in `contents`.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path

# The earliest time that a zip can hold (APPNOTE 4.4.6, MS-DOS date). The real times of the files would make each zip
# different.
_EPOCH = (1980, 1, 1, 0, 0, 0)
_UNIX = 3
_REGULAR_FILE_0644 = 0o100644 << 16


def write(path: Path, files: Mapping[str, bytes]) -> str:
    """Write FILES to PATH in sorted order and `PATH.sha256` beside it, in the form that `sha256sum -c` reads.

    Return the zip's SHA-256 in hexadecimal. Equal files give equal bytes with one version of zlib.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, date_time=_EPOCH)
            entry.create_system = _UNIX
            entry.external_attr = _REGULAR_FILE_0644
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, files[name], compresslevel=9)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_name(path.name + ".sha256").write_text(
        f"{digest} *{path.name}\n", encoding="ascii", newline="\n"
    )
    return digest
