"""Lays out the bundle: what lies where once the zip is unpacked.

README.txt, *.ps1, serial-host.cmd, serial-host.sample.toml     for the administrator
setup/       what the scripts of the administrator load
app/         serial_host and what it needs of this repository, with the metadata from which their version is read
packages/    the Python packages that they need
runtime/     a Windows Python
licences/    of all parts, listed in CONTENTS.txt
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

from bundle import licences, pe, wheels
from bundle.errors import BuildError
from bundle.runtime import Runtime
from distributions import needed_by

FOR_THE_ADMINISTRATOR = Path(__file__).parents[2] / "host" / "windows"
PART_OF_WINDOWS = re.compile(
    r"(api-ms-win-.*|advapi32|bcrypt|bcryptprimitives|crypt32|iphlpapi|kernel32|ntdll|ole32|oleaut32|pdh|powrprof|propsys|psapi"
    r"|rpcrt4|shell32|user32|version|winmm|ws2_32)\.dll",
    re.IGNORECASE,
)
"""DLLs that every Windows 10 and Server 2016 has."""


def lay_out(root: Path, runtime: Runtime, packages: list[Path], *, version: str) -> dict[str, bytes]:
    """Return the files of the bundle below one top folder `serial-host-VERSION`.

    ROOT is the folder of the project, and PACKAGES are the wheels. Raise BuildError if a part has no licence, or if a DLL
    would be missing on Windows.
    """
    unpacked = wheels.unpack(packages)
    parts, texts = licences.collect(unpacked, binaries=runtime.files)
    files = own_files(root, version)
    files |= {f"packages/{name}": content for name, content in unpacked.items()}
    files |= {f"runtime/{name}": content for name, content in runtime.files.items()}
    files |= {f"licences/{name}": content for name, content in texts.items()}
    files["licences/cpython.txt"] = runtime.licence
    files["licences/serial-host.txt"] = (root / "LICENSE").read_bytes()
    files["licences/CONTENTS.txt"] = _contents(parts, runtime, version)
    require_dlls(files)
    return {f"serial-host-{version}/{name}": content for name, content in files.items()}


def for_the_administrator() -> dict[str, Path]:
    """Return the scripts and texts for the administrator by their path in the bundle, such as `setup/plan.ps1`."""
    found = sorted(path for path in FOR_THE_ADMINISTRATOR.rglob("*") if path.is_file())
    return {path.relative_to(FOR_THE_ADMINISTRATOR).as_posix(): path for path in found}


def own_files(root: Path, version: str) -> dict[str, bytes]:
    """Return what the bundle has of this repository: the scripts and texts, and the programs in app/."""
    files = {name: for_windows(path, version) for name, path in for_the_administrator().items()}
    for own in needed_by("host", root):
        files |= {f"app/{name}": content for name, content in _metadata(own.folder, version).items()}
        for path in (*own.package.rglob("*.py"), *own.package.rglob("*.html"), own.package / "py.typed"):
            name = path.relative_to(own.package.parent).as_posix()
            files[f"app/{name}"] = path.read_bytes().replace(b"\r\n", b"\n")
    return files


def require_dlls(files: Mapping[str, bytes]) -> None:
    """Raise BuildError unless each DLL that a binary needs lies beside it or in runtime/, or is part of Windows."""
    for path, content in files.items():
        if not path.endswith((".dll", ".exe", ".pyd")):
            continue
        folder = path.rpartition("/")[0]
        present = {name.lower() for name in files if name.rpartition("/")[0] in (folder, "runtime")}
        for dll in pe.Image(path, content).needed_dlls():
            places = {f"{folder}/{dll}".lower(), f"runtime/{dll}".lower()}
            if not PART_OF_WINDOWS.fullmatch(dll) and not places & present:
                raise BuildError(f"{path} needs {dll}, which is neither in the bundle nor part of Windows")


def for_windows(path: Path, version: str) -> bytes:
    """Return a text file for the administrator, with the version filled in and the line ends of Windows."""
    text = path.read_text("ascii").replace("@VERSION@", version)
    return "\r\n".join(text.splitlines()).encode("ascii") + b"\r\n"


def _metadata(distribution: Path, version: str) -> dict[str, bytes]:
    """Return what an installation would write about one of our distributions; `importlib.metadata` reads it."""
    project = tomllib.loads((distribution / "pyproject.toml").read_text("utf-8"))["project"]
    name = str(project["name"])
    text = (
        f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\nLicense-Expression: {project['license']}\n"
    )
    return {f"{name.replace('-', '_')}-{version}.dist-info/METADATA": text.encode("utf-8")}


def _contents(parts: list[licences.Part], runtime: Runtime, version: str) -> bytes:
    rows = [
        ("serial-host", version, "MIT"),
        *sorted(parts),
        ("CPython", runtime.version, "PSF-2.0"),
    ]
    lines = [f"{name:20} {part_version:12} {licence}" for name, part_version, licence in rows]
    return "\r\n".join([*lines, "", f"Windows Python: {runtime.source}", ""]).encode("ascii")
