"""Windows Python under wine, with the built bundle installed in it, once for all tests of a run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.system.processes import ROOT
from tests.system.serial_lines import Device
from tests.windows.installed_host import PluggedDevice
from tests.windows.wine import Wine


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The zip, built as `make bundle` builds it."""
    folder = tmp_path_factory.mktemp("dist")
    build(folder)
    [path] = folder.glob("*.zip")
    return path


def build(folder: Path, *options: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the builder; its output is text and its success is checked."""
    made = run_builder("--out", folder, *options)
    assert made.returncode == 0, made.stderr
    return made


def run_builder(*options: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bundle", *map(str, options)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "tools")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="session")
def wine() -> Iterator[Wine]:
    """A Windows 10 that wine plays; its processes end with the run."""
    windows = Wine()
    with windows.running():
        yield windows


@pytest.fixture(scope="session")
def program_folder(wine: Wine, bundle: Path) -> Path:
    r"""The unpacked bundle in C:\Program Files\SerialHost, as the installer leaves it."""
    return wine.install(bundle)


@pytest.fixture
def running() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def device(wine: Wine, running: ExitStack) -> Device:
    return running.enter_context(PluggedDevice(wine))
