"""Every library is pinned to one version in all requirement files, with hashes, and without a word on where it comes from."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections import defaultdict
from importlib.metadata import distributions as distributions_here
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet as Specifiers
from packaging.utils import canonicalize_name

from bundle import wheels
from distributions import distributions

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(ROOT.glob("*/requirements.txt"))


def test_there_is_one_beside_each_list() -> None:
    assert [file.with_suffix(".in") for file in FILES] == sorted(ROOT.glob("*/requirements.in"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.name)
def test_each_line_is_a_version_with_hashes_or_a_comment(file: Path) -> None:
    entries = file.read_text("utf-8").replace("\\\n", " ").splitlines()
    for entry in entries:
        assert (
            not entry.strip()
            or entry.lstrip().startswith("#")
            or re.fullmatch(r"[a-z0-9.-]+==[^ ;]+( ; [^#]+?)?( +--hash=sha256:[0-9a-f]{64})+", entry)
        ), entry


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.name)
def test_all_that_is_asked_for_is_pinned(file: Path) -> None:
    listing = file.with_suffix(".in").read_text("utf-8").lower()
    asked = set(re.findall(r"^\w[\w.-]*", listing, re.MULTILINE))
    assert asked <= {pin.name for pin in wheels.pins(file)}


def test_a_library_has_the_same_version_everywhere() -> None:
    versions: dict[str, set[str]] = defaultdict(set)
    for file in FILES:
        for pin in wheels.pins(file):
            versions[pin.name].add(pin.version)
    assert not {name: found for name, found in versions.items() if len(found) > 1}


OLDEST = "3.11.2"
"""Debian 12's Python, the oldest that the README names. pip-compile takes what the Python that runs it can use."""


def test_what_is_pinned_can_be_used_by_the_oldest_python() -> None:
    pinned = {(pin.name, pin.version) for file in FILES for pin in wheels.pins(file)}
    wanted = {
        found.name: Specifiers(found.metadata["Requires-Python"])
        for found in distributions_here()
        if (canonicalize_name(found.name), found.version) in pinned and "Requires-Python" in found.metadata
    }
    assert len(wanted) > 50
    assert not {name: str(python) for name, python in wanted.items() if not python.contains(OLDEST)}


def test_what_builds_a_distribution_is_pinned_too() -> None:
    pinned = {pin.name for pin in wheels.pins(ROOT / "tools/requirements.txt")}
    for one in distributions().values():
        needed = tomllib.loads((one.folder / "pyproject.toml").read_text("utf-8"))["build-system"]["requires"]
        assert {re.match(r"[\w.-]+", text)[0] for text in needed} <= pinned  # type: ignore[index]


def audited(tmp_path: Path, answer: str, code: int) -> subprocess.CompletedProcess[str]:
    """Run tools/audit on one requirement file, with a stand-in for pip-audit that gives an answer."""
    tools = tmp_path / "tools"
    python = tmp_path / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    tools.mkdir()
    (tools / "requirements.txt").touch()
    (tools / "audit").write_bytes((ROOT / "tools/audit").read_bytes())
    python.write_text(f"#!/bin/sh\necho '{answer}'\nexit {code}\n")
    python.chmod(0o755)
    return subprocess.run(["sh", tools / "audit"], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("answer", "code", "expected"),
    [
        ("No known vulnerabilities found", 0, (0, "")),
        ("Found 2 known vulnerabilities in 1 package", 1, (1, "")),
        ("ERROR:pip_audit._cli:Connection refused", 1, (2, "could not be asked")),
    ],
)
def test_an_audit_tells_findings_from_a_service_that_is_away(
    answer: str, code: int, expected: tuple[int, str], tmp_path: Path
) -> None:
    ran = audited(tmp_path, answer, code)
    assert ran.returncode == expected[0], ran.stderr
    assert expected[1] in ran.stderr
    assert answer in ran.stdout + ran.stderr
