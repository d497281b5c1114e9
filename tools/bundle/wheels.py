"""Fetches pinned wheels for Windows from the Python index and unpacks them.

The pins are requirement files in pip's hash-checking form (`name==version --hash=sha256:...`). pip refuses a file that
is not the pinned one, and this module never reads it.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from packaging.markers import Marker

from bundle.errors import BuildError

_PIN = re.compile(
    r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;\\]+)(?:\s*;\s*(?P<marker>[^\\\n]+))?(?P<hashes>(?:[\s\\]+--hash=sha256:[0-9a-f]{64})*)",
    re.MULTILINE,
)


class Pin(NamedTuple):
    """One line of a requirements file."""

    name: str
    """Normalised as in PEP 503."""
    version: str
    hashes: frozenset[str]
    """The SHA-256 of each file that may be used, for whatever platform; empty in a file without hashes."""


def pins(requirements: Path, system: str = sys.platform) -> list[Pin]:
    """Return the pins of REQUIREMENTS for a system (a value of `sys.platform`), in the order of the file."""
    text = requirements.read_text("utf-8")
    return [
        Pin(
            re.sub(r"[-_.]+", "-", found["name"]).lower(),
            found["version"],
            frozenset(re.findall(r"[0-9a-f]{64}", found["hashes"])),
        )
        for found in _PIN.finditer(text)
        if found["marker"] is None or Marker(found["marker"].strip()).evaluate({"sys_platform": system})
    ]


def fetch(requirements: Path, cache: Path, *, python_version: str) -> list[Path]:
    """Return the wheels that REQUIREMENTS pins by hash, for Windows (amd64) and PYTHON_VERSION (such as "3.14").

    They are kept below CACHE in a folder of that Python version, so a second build needs no network. Raise BuildError
    with pip's message if a wheel cannot be downloaded or is not the pinned one.
    """
    wanted = pins(requirements, "win32")
    if unpinned := [pin.name for pin in wanted if not pin.hashes]:
        raise BuildError(
            f"{requirements}: {', '.join(unpinned)} has no --hash=sha256:<of its wheel>; tools/requirements writes them"
        )
    folder = cache / f"windows-{python_version}"
    if not all(pin.hashes & _cached(folder).keys() for pin in wanted):
        _download(wanted, folder, python_version)
    cached = _cached(folder)
    return [cached[min(pin.hashes & cached.keys())] for pin in wanted]


def _download(wanted: Iterable[Pin], folder: Path, python_version: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    # pip would judge the markers of the original file by the system that it runs on, and not by Windows.
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as listing:
        for pin in wanted:
            listing.write(
                f"{pin.name}=={pin.version} {' '.join(f'--hash=sha256:{one}' for one in pin.hashes)}\n"
            )
        listing.flush()
        pip = subprocess.run(
            [
                *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
                *("--no-deps", "--only-binary=:all:", "--platform", "win_amd64", "--implementation", "cp"),
                *("--python-version", python_version, "--dest", str(folder), "--requirement", listing.name),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
    if pip.returncode:
        raise BuildError(f"pip could not fetch the wheels for Windows:\n{pip.stderr.strip()}")


def _cached(cache: Path) -> dict[str, Path]:
    return {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in sorted(cache.glob("*.whl"))}


def unpack(wheels: Iterable[Path]) -> dict[str, bytes]:
    """Return the files of the wheels as they would lie in site-packages.

    Two things are left out: `*.data` folders (scripts for a global installation) and RECORD (pip's list for uninstalling).
    """
    files = {}
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                top = name.partition("/")[0]
                if not name.endswith(("/", ".dist-info/RECORD")) and not top.endswith(".data"):
                    files[name] = archive.read(name)
    return files
