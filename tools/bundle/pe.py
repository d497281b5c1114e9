"""Reads from a Windows DLL or program which DLLs it needs and which names it exports.

It knows only the part of the PE format that this needs, and only 64-bit files
(https://learn.microsoft.com/windows/win32/debug/pe-format).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from bundle.errors import BuildError

_PE32_PLUS = 0x20B
_EXPORTS, _IMPORTS, _DELAYED_IMPORTS = 0, 1, 13


class Image:
    """A .dll, .pyd or .exe file. The constructor raises BuildError if CONTENT is not a file for 64-bit Windows."""

    def __init__(self, name: str, content: bytes) -> None:
        self._content = content
        try:
            (header,) = struct.unpack_from("<I", content, 0x3C)
            signature, _, sections, _, _, _, optional_size, _ = struct.unpack_from(
                "<4sHHIIIHH", content, header
            )
            (magic,) = struct.unpack_from("<H", content, header + 24)
            if content[:2] != b"MZ" or signature != b"PE\0\0" or magic != _PE32_PLUS:
                raise BuildError(f"{name} is not a program or DLL for 64-bit Windows")
            self._directories = [
                struct.unpack_from("<II", content, header + 24 + 112 + 8 * i) for i in range(16)
            ]
            table = header + 24 + optional_size
            self._sections = [struct.unpack_from("<8xIIII", content, table + 40 * i) for i in range(sections)]
        except struct.error as error:
            raise BuildError(f"{name} is incomplete: its header ends too early") from error

    def needed_dlls(self) -> Iterator[str]:
        """Yield the names of the DLLs that Windows loads with this file or at their first use."""
        for directory, entry_size, name_at in ((_IMPORTS, 20, 12), (_DELAYED_IMPORTS, 32, 4)):
            address, size = self._directories[directory]
            entry = self._offset(address) if size else None
            while entry is not None:
                (name,) = struct.unpack_from("<I", self._content, entry + name_at)
                if not name:
                    break
                yield self._string(name)
                entry += entry_size

    def exported_names(self) -> Iterator[str]:
        """Yield the names that other files can import from this one."""
        address, size = self._directories[_EXPORTS]
        if size:
            count, names = struct.unpack_from("<24xI4xI", self._content, self._offset(address))
            for name in struct.unpack_from(f"<{count}I", self._content, self._offset(names)):
                yield self._string(name)

    def _offset(self, address: int) -> int:
        """Translate an address in memory, relative to the image, to an offset in the file."""
        for size, start, raw_size, raw_start in self._sections:
            if start <= address < start + max(size, raw_size):
                return int(address - start + raw_start)
        raise BuildError("a DLL refers to an address outside of itself")

    def _string(self, address: int) -> str:
        start = self._offset(address)
        return self._content[start : self._content.index(b"\0", start)].decode("ascii")
