"""What the image holds, and what it does not."""

from __future__ import annotations

import json
import re
import time

import pytest

from bundle import wheels
from distributions import distributions, needed_by
from release import builder
from tests.container.image import AMD64, size
from tests.container.podman import podman, run_once
from tests.system.processes import ROOT

VERSION = (ROOT / "VERSION").read_text(encoding="ascii").strip()

pytestmark = pytest.mark.container

INSTALLED = """
import importlib.metadata, json
print(json.dumps({entry.name: entry.version for entry in importlib.metadata.distributions()}))
"""

NOT_COMPILED = """
import importlib.util, pathlib
for source in pathlib.Path("/opt/serial-relay").rglob("*.py"):
    compiled = pathlib.Path(importlib.util.cache_from_source(source))
    if not compiled.exists() or int.from_bytes(compiled.read_bytes()[4:8], "little") != 1:
        print(source)
"""
"""Prints what Python would compile, or compare with its source's time, at each start (PEP 552: flags 1, unchecked)."""


def python(image: str, code: str) -> str:
    finished = run_once(image, ["--entrypoint", "python3"], "-c", code)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_it_holds_the_pinned_libraries_and_nothing_to_build_or_install_with(image: str) -> None:
    pins = {pin.name: pin.version for pin in wheels.pins(ROOT / "module/requirements.txt")}
    assert len(pins) > 10
    installed = json.loads(python(image, INSTALLED))
    ours = dict.fromkeys((one.name for one in needed_by("module")), VERSION)
    assert {
        re.sub(r"[-_.]+", "-", name).lower(): version for name, version in installed.items()
    } == pins | ours
    tools = "import shutil; print([t for t in ('pip', 'pip3', 'gcc', 'cc', 'ld', 'make', 'strip') if shutil.which(t)])"
    assert python(image, tools) == "[]\n"


def test_it_holds_the_module_and_what_it_needs_alone_of_this_project(image: str) -> None:
    names = [one.package.name for one in distributions().values()]
    held = f"import importlib.util as u; print([n for n in {[*names, 'tests']} if u.find_spec(n)])"
    assert python(image, held) == f"{[one.package.name for one in needed_by('module')]}\n"


def test_everything_is_compiled_once_and_for_all(image: str) -> None:
    assert python(image, NOT_COMPILED) == ""


def test_it_says_what_it_is(image: str) -> None:
    finished = run_once(image, [], "--version")
    assert finished.stdout == f"serial_relay {VERSION}\n", finished.stderr
    labels = json.loads(podman("image", "inspect", "--format", "{{json .Labels}}", image).stdout)
    prefix = "org.opencontainers.image."
    assert labels[f"{prefix}title"] == "EFLOW Serial Relay"
    assert labels[f"{prefix}version"] == VERSION
    assert labels[f"{prefix}licenses"] == "MIT"
    assert labels[f"{prefix}description"]
    assert re.fullmatch(r"[0-9a-f]{40}|unknown", labels[f"{prefix}revision"])


def test_it_has_a_health_command(image: str) -> None:
    health = json.loads(podman("image", "inspect", "--format", "{{json .HealthCheck}}", image).stdout)
    assert health["Test"] == ["CMD", "python3", "-m", "serial_relay.process.health"]


def test_how_small_and_how_fast(image: str) -> None:
    base = size(builder.debian_base(AMD64.architecture))
    started = time.monotonic()
    run_once(image, ["--entrypoint", "true"])
    container = time.monotonic() - started
    started = time.monotonic()
    assert python(image, "import serial_relay.__main__, serial_relay.twin.edge, azure.iot.device.aio") == ""
    print(
        f"image {size(image) / 1e6:.0f} MB, of which the Debian base {base / 1e6:.0f} MB; a container that does"
        f" nothing {container:.2f} s, with all imports of the module {time.monotonic() - started:.2f} s"
    )
