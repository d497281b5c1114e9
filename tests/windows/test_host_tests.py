"""The host's own tests, run by Windows' Python against the serial_host that is in the bundle."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bundle import runtime, wheels
from tests.system.processes import ROOT
from tests.windows.wine import Wine

pytestmark = pytest.mark.windows

SIDE_LOADED = ("iniconfig", "packaging", "pluggy", "pygments", "pytest", "pytest-asyncio", "pytest-timeout")
"""For the tests only; the bundle has none of them."""

NOT_FOR_WINDOWS = {
    "configuration/test_file_schema.py": "needs hypothesis and jsonschema, and judges the file alone",
    "serving/test_half_open.py": "needs Linux' network namespaces",
    "session/test_rfc2217_clients.py": "needs the clients of others: serialx, gensio",
    "serving/test_socat.py": "needs socat",
}
NO_PIPE_LIST = "wine cannot list named pipes, and so finds no running server without --pid"
UNLIKE_WINDOWS = {
    "command_line/test_main.py::test_stop_ends_the_server_and_waits_for_it": NO_PIPE_LIST,
    "command_line/test_main.py::test_stop_without_a_server_says_so_and_is_no_failure": NO_PIPE_LIST,
    "command_line/test_main.py::test_stop_asks_which_of_several_servers": NO_PIPE_LIST,
    "command_line/test_main.py::test_status_shows_a_table": NO_PIPE_LIST,
    "command_line/test_main.py::test_status_without_a_server_says_so": NO_PIPE_LIST,
    "diagnosis/test_diagnose.py::test_a_port_that_is_not_there_is_a_wrong_call": NO_PIPE_LIST,
    "command_line/test_main.py::test_list_answers_for_people_and_programs": "wine's cfgmgr32 lacks what list_ports asks it",
}
"""Tests that fail under wine and would not on Windows, and why; `status` and `stop` by --pid are in test_chain."""


@pytest.fixture(scope="module")
def pytest_folder(wine: Wine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pytest for Windows, in the versions of tests/requirements.txt."""
    wanted = [pin for pin in wheels.pins(ROOT / "tests" / "requirements.txt") if pin.name in SIDE_LOADED]
    assert len(wanted) == len(SIDE_LOADED)
    requirements = tmp_path_factory.mktemp("pins") / "pytest.txt"
    requirements.write_text(
        "".join(
            f"{pin.name}=={pin.version} {' '.join(f'--hash=sha256:{digest}' for digest in sorted(pin.hashes))}\n"
            for pin in wanted
        )
    )
    fetched = wheels.fetch(requirements, ROOT / ".cache" / "wheels", python_version=runtime.ASSEMBLED_VERSION)
    folder = wine.drive_c / "pytest"
    for name, content in wheels.unpack(fetched).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def test_the_hosts_tests_pass_on_windows_python(
    wine: Wine, program_folder: Path, pytest_folder: Path, tmp_path: Path
) -> None:
    ran = wine.run(
        *(program_folder / "runtime" / "python.exe", "-I", "-B"),
        wine.windows_path(ROOT / "tests" / "windows" / "run_pytest.py"),
        *(wine.windows_path(pytest_folder), wine.windows_path(ROOT)),
        *("-c", wine.windows_path(ROOT / "pyproject.toml"), "-o", "pythonpath=", "-p", "no:cacheprovider"),
        *(
            "--basetemp",
            wine.windows_path(tmp_path) + "\\pytest",
            "--color=no",
            "-q",
            "-rs",
            "--tb=short",
            "--durations=15",
        ),
        wine.windows_path(ROOT / "tests" / "host"),
        wine.windows_path(ROOT / "tests" / "rfc2217" / "test_pyserial.py"),
        *(f"--deselect=tests/host/{name}" for name in UNLIKE_WINDOWS),
        *(f"--ignore={wine.windows_path(ROOT / 'tests' / 'host' / Path(name))}" for name in NOT_FOR_WINDOWS),
        timeout=850,
    )
    print(
        ran.stdout,
        *(f"not run: {name}: {reason}" for name, reason in {**NOT_FOR_WINDOWS, **UNLIKE_WINDOWS}.items()),
        sep="\n",
    )
    assert ran.returncode == 0, ran.stdout
    passed = re.search(r"(\d+) passed", ran.stdout)
    assert passed, ran.stdout
    assert int(passed[1]) > 50, ran.stdout
    assert f"{len(UNLIKE_WINDOWS)} deselected" in ran.stdout
