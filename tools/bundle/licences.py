"""Collects the licence of every part of a bundle. A part without a licence makes the build fail."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from email.parser import HeaderParser
from pathlib import Path
from typing import NamedTuple

from bundle.errors import BuildError

TEXTS = Path(__file__).parent / "licences"
"""The licence texts of parts that bring none: wheels without a licence file, and libraries inside CPython's binaries."""


class Part(NamedTuple):
    """A part of the bundle that others wrote."""

    name: str
    version: str
    licence: str
    """As its authors state it: an SPDX expression if they give one."""


def collect(packages: Mapping[str, bytes], *, binaries: Iterable[str]) -> tuple[list[Part], dict[str, bytes]]:
    """Return the parts that PACKAGES (unpacked wheels) consist of, and the licence texts by file name.

    BINARIES names the files of the runtime. The licence of a library is included if the file that contains the library
    is among them. Raise BuildError if the licence of a wheel is neither in the wheel nor in `licences/`.
    """
    parts, texts = [], {}
    for path, content in sorted(packages.items()):
        folder, _, file = path.rpartition("/")
        if file != "METADATA" or not folder.endswith(".dist-info"):
            continue
        metadata = HeaderParser().parsestr(content.decode("utf-8"))
        name, version = str(metadata["Name"]), str(metadata["Version"])
        parts.append(
            Part(name, version, str(metadata["License-Expression"] or metadata["License"] or "see its file"))
        )
        texts[f"{name}.txt"] = _text_of(name, folder, packages)
    present = {name.lower() for name in binaries}
    for library, carrier in _INSIDE_BINARIES.items():
        if carrier.lower() in present:
            texts[f"{library}.txt"] = (TEXTS / f"{library}.txt").read_bytes()
    return parts, texts


_INSIDE_BINARIES = {
    "bzip2": "_bz2.pyd",
    "expat": "pyexpat.pyd",
    "libffi": "libffi-8.dll",
    "libmpdec": "_decimal.pyd",
    "microsoft": "vcruntime140.dll",
    "openssl": "libcrypto-3.dll",
    "xz": "_lzma.pyd",
    "zlib": "python.exe",
    "zstd": "_zstd.pyd",
}
"""Library -> the file that contains it (CPython's PCbuild/readme.txt). zlib is in the Python DLL itself."""


def _text_of(name: str, folder: str, packages: Mapping[str, bytes]) -> bytes:
    own = [
        content
        for path, content in sorted(packages.items())
        if path.startswith(folder + "/") and "licen" in path.removeprefix(folder).lower()
    ]
    if own:
        return b"\n\n".join(own)
    kept = TEXTS / f"{name.lower()}.txt"
    if kept.is_file():
        return kept.read_bytes()
    raise BuildError(
        f"the wheel of {name} has no licence file: put the licence text of its authors into {kept}"
    )
