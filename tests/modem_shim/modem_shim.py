"""The device's end of a pty that has modem lines: builds the shim, and reads and sets the lines.

A process gets the shim by `environment()`; its ptys then answer modem-line ioctls, take breaks, and keep data bits
and parity. What stands behind the other end of the cable, the test, moves CTS, DSR, RI and CD and sees DTR, RTS,
breaks, data bits and parity. Works for native programs and for Windows programs under wine.
"""

from __future__ import annotations

import mmap
import os
import re
import shutil
import struct
import subprocess
import termios
from pathlib import Path

import pytest

_SOURCE = Path(__file__).with_name("modem_shim.c")
_RECORD = struct.Struct("=8I")
_RECORDS = 4096
_CMSPAR = 0o10000000000

CTS, DSR, RI, CD, DTR, RTS = (
    termios.TIOCM_CTS,
    termios.TIOCM_DSR,
    termios.TIOCM_RI,
    termios.TIOCM_CD,
    termios.TIOCM_DTR,
    termios.TIOCM_RTS,
)


class ModemShim:
    """The shim, built into a directory, and the file through which its ptys share their lines."""

    def __init__(self, directory: Path) -> None:
        compiler = shutil.which("gcc") or shutil.which("cc")
        if compiler is None:
            pytest.skip("the modem-line shim needs a C compiler (Debian: gcc)")
        self._library = directory / "modem_shim.so"
        subprocess.run(
            [
                compiler,
                "-shared",
                "-fPIC",
                "-O1",
                "-Wall",
                "-Wextra",
                "-Werror",
                "-o",
                self._library,
                _SOURCE,
                "-ldl",
            ],
            check=True,
        )
        self._file = directory / "modem_lines"
        self._file.write_bytes(bytes(_RECORDS * _RECORD.size))
        with self._file.open("r+b") as file:
            self._records = mmap.mmap(file.fileno(), 0)

    def close(self) -> None:
        self._records.close()

    @property
    def variables(self) -> dict[str, str]:
        """What must stand in the environment of a process whose ptys shall have modem lines."""
        return {"LD_PRELOAD": str(self._library), "MODEM_SHIM_FILE": str(self._file)}

    def environment(self) -> dict[str, str]:
        """This process's environment with the `variables`."""
        return {**os.environ, **self.variables}

    def lines(self, slave: str | Path) -> ModemLines:
        """The lines of `/dev/pts/N`, as the device sees them; all off, and 8N1, from now on."""
        match = re.fullmatch(r"/dev/pts/(\d+)", str(Path(slave).resolve()))
        assert match, f"{slave} is no pty slave"
        lines = ModemLines(self._records, int(match[1]) * _RECORD.size)
        lines.reset()
        return lines


class ModemLines:
    """One pty's record."""

    def __init__(self, records: mmap.mmap, offset: int) -> None:
        self._records = records
        self._offset = offset

    def reset(self) -> None:
        _RECORD.pack_into(self._records, self._offset, *([0] * 8))

    def set(self, lines: int) -> None:
        """Raise inputs of the port: any of CTS, DSR, RI and CD."""
        self._word(0, self.state | lines)

    def clear(self, lines: int) -> None:
        """Drop inputs of the port."""
        self._word(0, self.state & ~lines)

    def framing_error(self) -> None:
        """Send a character that the port's driver counts as broken."""
        self._word(4, self._words()[4] + 1)

    def overrun(self) -> None:
        """Send faster than the port's driver can take it."""
        self._word(5, self._words()[5] + 1)

    def parity_error(self) -> None:
        """Send a character with a wrong parity bit."""
        self._word(6, self._words()[6] + 1)

    def send_break(self) -> None:
        """Send a break to the port."""
        self._word(7, self._words()[7] + 1)

    @property
    def state(self) -> int:
        """All lines, also DTR and RTS, which the port sets."""
        return self._words()[0]

    @property
    def breaks(self) -> int:
        """How many breaks the port began."""
        return self._words()[1]

    @property
    def in_break(self) -> bool:
        """Whether the port sends a break now."""
        return bool(self._words()[2])

    @property
    def frame(self) -> tuple[int, str]:
        """Data bits and parity (N, E, O, M, S) as the port was set last; 8 and N before."""
        cflag = self._words()[3]
        if not cflag:
            return 8, "N"
        bits = {termios.CS5: 5, termios.CS6: 6, termios.CS7: 7, termios.CS8: 8}[cflag & termios.CSIZE]
        if not cflag & termios.PARENB:
            return bits, "N"
        return bits, ("EO" if not cflag & _CMSPAR else "SM")[bool(cflag & termios.PARODD)]

    def _words(self) -> tuple[int, ...]:
        return _RECORD.unpack_from(self._records, self._offset)

    def _word(self, index: int, value: int) -> None:
        struct.pack_into("=I", self._records, self._offset + 4 * index, value)
