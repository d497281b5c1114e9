"""Fetches pinned wheels for Windows from the Python index and unpacks them.

The pins are requirement files in pip's hash-checking form (`name==version --hash=sha256:...`). pip refuses a file that
is not the pinned one, and this module never reads it.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from bundle.errors import BuildError

_PIN = re.compile(
    r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;\\]+)(?:[\s\\]+--hash=sha256:(?P<sha256>[0-9a-f]{64}))?",
    re.MULTILINE,
)


class Pin(NamedTuple):
    """One line of a requirements file."""

    name: str
    """Normalised as in PEP 503."""
    version: str
    sha256: str | None
    """Of the wheel; None in a file without hashes."""


def pins(requirements: Path) -> list[Pin]:
    """Return the pins of REQUIREMENTS in the order of the file."""
    text = requirements.read_text("utf-8")
    return [
        Pin(re.sub(r"[-_.]+", "-", m["name"]).lower(), m["version"], m["sha256"]) for m in _PIN.finditer(text)
    ]


def require_same_versions(plain: Path, hashed: Path) -> None:
    """Raise BuildError unless HASHED pins exactly the versions that PLAIN pins."""
    one, other = ({(pin.name, pin.version) for pin in pins(path)} for path in (plain, hashed))
    if one != other:
        differing = ", ".join(sorted({name for name, _ in one ^ other}))
        raise BuildError(
            f"{plain} and {hashed} do not pin the same versions of: {differing}.\n"
            "Rewrite the hashes with --update-pins, and look at what has changed."
        )


def fetch(requirements: Path, cache: Path, *, python_version: str) -> list[Path]:
    """Return the wheels that REQUIREMENTS pins by hash, for Windows (amd64) and PYTHON_VERSION ("3.11").

    They are kept in CACHE, so a second build needs no network. Raise BuildError with pip's message if a wheel cannot be
    downloaded or is not the pinned one.
    """
    wanted = pins(requirements)
    if not all(pin.sha256 for pin in wanted):
        raise BuildError(f"{requirements}: each requirement needs --hash=sha256:<of its wheel>")
    if not {pin.sha256 for pin in wanted} <= _cached(cache).keys():
        download(requirements, cache, python_version=python_version)
    cached = _cached(cache)
    return [cached[pin.sha256] for pin in wanted if pin.sha256]


def download(requirements: Path, cache: Path, *, python_version: str) -> None:
    """Download the wheels of REQUIREMENTS into CACHE. Raise BuildError with pip's message if that fails."""
    cache.mkdir(parents=True, exist_ok=True)
    pip = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
            *("--no-deps", "--only-binary=:all:", "--platform", "win_amd64", "--implementation", "cp"),
            *("--python-version", python_version, "--dest", str(cache), "--requirement", str(requirements)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if pip.returncode:
        raise BuildError(f"pip could not fetch the wheels of {requirements}:\n{pip.stderr.strip()}")


def update_pins(plain: Path, hashed: Path, cache: Path, *, python_version: str) -> None:
    """Write HASHED: the versions of PLAIN, each with the hash of the wheel that the index has for Windows now."""
    download(plain, cache, python_version=python_version)
    by_version = {_name_and_version(path): digest for digest, path in _cached(cache).items()}
    head = f"# The wheels of {plain.name} for Windows on amd64; made by --update-pins."
    lines = [
        f"{pin.name}=={pin.version} --hash=sha256:{by_version[pin.name, pin.version]}" for pin in pins(plain)
    ]
    hashed.write_text("\n".join([head, *lines, ""]), encoding="ascii", newline="\n")


def _name_and_version(wheel: Path) -> tuple[str, str]:
    """Return the name and version in the file name of a wheel: `{distribution}-{version}-...-{platform}.whl` (PEP 427)."""
    distribution, version = wheel.name.split("-")[:2]
    return distribution.replace("_", "-").lower(), version


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
