"""Who may import whom: the codec no IO and nothing but the standard library, the two applications never each other."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = {
    "rfc2217": ROOT / "rfc2217",
    "serial_relay": ROOT / "module/serial_relay",
    "serial_host": ROOT / "host/serial_host",
}
IO_AND_CLOCKS = {
    "asyncio", "concurrent", "ctypes", "datetime", "fcntl", "io", "multiprocessing", "os", "pathlib", "pty", "select",
    "selectors", "signal", "socket", "socketserver", "ssl", "subprocess", "termios", "threading", "time", "tty",
}  # fmt: skip


def imported(package: str) -> Iterator[tuple[Path, str]]:
    """Give every import of a package: the file, and the module's full name."""
    files = sorted(PACKAGES[package].rglob("*.py"))
    assert files, f"no source of {package} found"
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            match node:
                case ast.Import(names):
                    yield from ((file, name.name) for name in names)
                case ast.ImportFrom(module=str(module), level=0, names=names):
                    yield file, module
                    yield from ((file, f"{module}.{name.name}") for name in names)
                case ast.ImportFrom():
                    yield file, package
                case ast.Call(func=ast.Name("__import__") | ast.Attribute(attr="import_module")):
                    pytest.fail(
                        f"{file}:{node.lineno} imports by name at run time, which this test cannot see"
                    )


def top(name: str) -> str:
    return name.partition(".")[0]


def test_rfc2217_needs_nothing_but_the_standard_library() -> None:
    foreign = {
        (file.name, name)
        for file, name in imported("rfc2217")
        if top(name) not in sys.stdlib_module_names | {"rfc2217"}
    }
    assert not foreign


def test_rfc2217_imports_no_io_and_no_clock() -> None:
    assert not {(file.name, name) for file, name in imported("rfc2217") if top(name) in IO_AND_CLOCKS}
    source = "\n".join(file.read_text(encoding="utf-8") for file in PACKAGES["rfc2217"].glob("*.py"))
    calls = {
        node.func.id
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not calls & {"open", "print", "input", "exec", "eval"}


def test_rfc2217_loads_no_socket_and_no_event_loop() -> None:
    code = "import sys; import rfc2217; print([m for m in ('socket', 'asyncio', 'select', 'threading', 'serial') if m in sys.modules])"
    run = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("package", "other"), [("serial_relay", "serial_host"), ("serial_host", "serial_relay")]
)
def test_the_two_applications_never_import_each_other(package: str, other: str) -> None:
    assert not {(file.name, name) for file, name in imported(package) if top(name) == other}


@pytest.mark.parametrize(
    ("package", "library", "importers"),
    [("serial_host", "serial", 1), ("serial_relay", "azure", 1), ("serial_relay", "serial", 0)],
)
def test_a_library_has_one_importer(package: str, library: str, importers: int) -> None:
    assert len({file.name for file, name in imported(package) if top(name) == library}) <= importers
