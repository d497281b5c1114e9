"""Who may import whom.

The codec imports no IO and nothing but the standard library, the two applications never import each other, and inside
each application a room imports only the rooms that stand below it in the table here.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from distributions import distributions

ROOT = Path(__file__).parent.parent
PACKAGES = {one.package.name: one.package for one in distributions().values()}
IO_AND_CLOCKS = {
    "asyncio", "concurrent", "ctypes", "datetime", "fcntl", "io", "multiprocessing", "os", "pathlib", "pty", "select",
    "selectors", "signal", "socket", "socketserver", "ssl", "subprocess", "termios", "threading", "time", "tty",
}  # fmt: skip


VOCABULARY = "vocabulary"
"""The files at the top of a package that hold configuration, status words and versions: every room may import them."""

BELOW = {
    "serial_relay": {
        VOCABULARY: set(),
        "plumbing": set(),
        "virtual_port": {"plumbing"},
        "identity": {"plumbing"},
        "remote": {"plumbing"},
        "twin": {"plumbing"},
        "schema": {"twin"},
        "port": {"plumbing", "virtual_port", "identity", "remote"},
        "control": {"plumbing"},
        "diagnosis": {"plumbing", "identity", "remote"},
        "process": {"plumbing", "virtual_port", "identity", "port", "twin", "control", "diagnosis"},
        "command_line": {"plumbing", "identity", "twin", "schema", "control", "diagnosis", "process"},
        "__main__": {"plumbing", "virtual_port", "twin", "process", "control", "command_line"},
    },
    "serial_host": {
        VOCABULARY: set(),
        "plumbing": set(),
        "com_port": {"plumbing"},
        "configuration": {"plumbing"},
        "control": {"plumbing"},
        "listening": {"plumbing"},
        "session": {"plumbing", "com_port"},
        "security": {"plumbing"},
        "serving": {"plumbing", "com_port", "listening", "session", "security"},
        "diagnosis": {"plumbing", "com_port", "listening"},
        "command_line": {
            "plumbing",
            "com_port",
            "configuration",
            "control",
            "listening",
            "security",
            "serving",
            "diagnosis",
        },
        "__main__": {"plumbing", "com_port", "configuration", "control", "command_line"},
    },
}
"""For each room the rooms that it may import besides itself and the vocabulary."""


def imported(package: str) -> Iterator[tuple[Path, str]]:
    """Return every import of a package: the file, and the module's full name."""
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


def test_the_server_of_devices_needs_nothing_but_the_standard_library() -> None:
    foreign = {
        (file.name, name)
        for file, name in imported("tty_server")
        if top(name) not in sys.stdlib_module_names | {"tty_server"}
    }
    assert not foreign


def test_the_server_of_devices_has_no_event_loop_and_no_thread() -> None:
    slow = {"asyncio", "threading", "concurrent", "multiprocessing", "subprocess"}
    assert not {(file.name, name) for file, name in imported("tty_server") if top(name) in slow}


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
    ("package", "other"),
    [
        ("serial_relay", "serial_host"),
        ("serial_host", "serial_relay"),
        ("serial_tls", "serial_host"),
        ("serial_tls", "serial_relay"),
        ("serial_tls", "rfc2217"),
    ],
)
def test_the_two_applications_never_import_each_other(package: str, other: str) -> None:
    assert not {(file.name, name) for file, name in imported(package) if top(name) == other}


@pytest.mark.parametrize(
    ("package", "library", "importers"),
    [("serial_host", "serial", 2), ("serial_relay", "azure", 1), ("serial_relay", "serial", 0)],
)
def test_a_library_has_one_importer(package: str, library: str, importers: int) -> None:
    assert len({file.name for file, name in imported(package) if top(name) == library}) <= importers


def room_of(package: str, module: str) -> str:
    """Return the room of a module's full name, `serial_relay.port.relay` -> `port`."""
    parts = module.split(".")
    if len(parts) == 1 or f"{parts[1]}.py" in {file.name for file in PACKAGES[package].glob("*.py")}:
        return "__main__" if parts[1:2] == ["__main__"] else VOCABULARY
    if (PACKAGES[package] / parts[1]).is_dir():
        return parts[1]
    return VOCABULARY  # a name of the package itself, such as `__version__`


def module_of(package: str, file: Path) -> str:
    """Return the full name of the module that a file holds."""
    return ".".join((package, *file.relative_to(PACKAGES[package]).with_suffix("").parts))


@pytest.mark.parametrize("package", BELOW)
def test_a_room_imports_only_the_rooms_below_it(package: str) -> None:
    wrong = set()
    for file, name in imported(package):
        if top(name) != package:
            continue
        importer, room = room_of(package, module_of(package, file)), room_of(package, name)
        if room not in {importer, VOCABULARY} | BELOW[package][importer]:
            wrong.add(f"{file.name} ({importer}) imports {name} ({room})")
    assert not wrong


@pytest.mark.parametrize("package", BELOW)
def test_the_rooms_below_are_all_rooms_and_form_no_cycle(package: str) -> None:
    folders = {path.parent.name for path in PACKAGES[package].glob("*/__init__.py")}
    assert BELOW[package].keys() == folders | {VOCABULARY, "__main__"}
    floors = list(BELOW[package])
    for floor, room in enumerate(floors):
        assert BELOW[package][room] <= set(floors[:floor]), f"{room} stands above what it imports"


@pytest.mark.parametrize("package", PACKAGES)
def test_no_cycle_of_files(package: str) -> None:
    """Also none that only type checkers see."""
    files = {module_of(package, file) for file in PACKAGES[package].rglob("*.py")}
    edges: dict[str, set[str]] = {module: set() for module in files}
    for file, name in imported(package):
        module = module_of(package, file)
        if name in files and name != module:
            edges[module].add(name)
    while free := [module for module, needed in edges.items() if not needed]:
        for module in free:
            del edges[module]
        for needed in edges.values():
            needed.difference_update(free)
    assert not edges, f"these files import each other: {sorted(edges)}"


@pytest.mark.parametrize("package", ["serial_relay", "serial_host"])
def test_the_vocabulary_parses_nothing_and_does_no_io(package: str) -> None:
    allowed = {
        "collections",
        "dataclasses",
        "datetime",
        "enum",
        "importlib",
        "ipaddress",
        "time",
        "typing",
        "__future__",
    }
    foreign = {
        (file.name, name)
        for file, name in imported(package)
        if file.parent == PACKAGES[package]
        and file.stem != "__main__"
        and top(name) not in allowed | {package}
    }
    assert not foreign


@pytest.mark.parametrize(
    ("code", "unused"),
    [
        (
            "import serial_relay.__main__, serial_relay.process.service, serial_relay.remote.raw",
            {"OpenSSL", "cryptography", "azure", "prometheus_client", "http.server", "rich"},
        ),
        (
            "import serial_host.__main__, serial_host.com_port.serial_port",
            {"OpenSSL", "cryptography", "http.server", "rich"},
        ),
    ],
    ids=["module", "host"],
)
def test_nothing_is_loaded_before_it_is_used(code: str, unused: set[str]) -> None:
    """TLS would take 12 MB of memory, the metrics that nobody asks for 3 MB."""
    look = f"import sys; {code}; print(*sys.modules)"
    path = ":".join(map(str, (ROOT, ROOT / "module", ROOT / "host")))
    run = subprocess.run(
        [sys.executable, "-c", look],
        env={"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert not unused & set(run.stdout.split())


def test_the_module_loads_nothing_of_the_server_of_devices_but_what_it_speaks_with() -> None:
    look = "import sys, serial_relay.__main__; print(*sorted(m for m in sys.modules if m.startswith('tty_server.')))"
    run = subprocess.run(
        [sys.executable, "-c", look],
        env={"PYTHONPATH": ":".join(map(str, (ROOT, ROOT / "module")))},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert run.stdout.split() == ["tty_server.device_errors", "tty_server.messages", "tty_server.relay_link"]
