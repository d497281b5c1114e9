"""The distributions as people install them: with the newest and the lowest versions, on each Python that is here.

Needs the Python index, and is therefore run by `make test-packages`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bundle import wheels
from distributions import distributions, needed_by

ROOT = Path(__file__).resolve().parents[2]
VERSION = (ROOT / "VERSION").read_text(encoding="ascii").strip()
PARTS = distributions()


def project(part: str) -> dict[str, object]:
    table: dict[str, object] = tomllib.loads((ROOT / part / "pyproject.toml").read_text("utf-8"))["project"]
    return table


def extras(part: str) -> dict[str, list[str]]:
    """Return what each extra of a distribution depends on."""
    found = project(part).get("optional-dependencies", {})
    assert isinstance(found, dict)
    return found


def dependencies(part: str) -> list[str]:
    """Return all that a distribution depends on, with its extras."""
    found = project(part).get("dependencies", [])
    assert isinstance(found, list)
    return sum(extras(part).values(), found)


SUPPORTED = ("3.11", "3.12", "3.13", "3.14")
WITH_EXTRAS = tuple(f"./{part}[{','.join(extras(part))}]" if extras(part) else f"./{part}" for part in PARTS)

USE_LIBRARIES = (
    "tests/rfc2217",
    "tests/serial_tls",
    "tests/module/port",
    "tests/module/process",
    "tests/module/twin/test_desired.py",
    "tests/module/twin/test_edge.py",
    "tests/module/virtual_port",
    "tests/host/com_port",
    "tests/host/configuration",
    "tests/host/listening",
    "tests/host/session",
)
"""Tests that between them use each library, in a minute or two."""

pytestmark = [pytest.mark.packages, pytest.mark.timeout(900)]


def pythons() -> Iterator[tuple[str, str]]:
    """Return the supported Pythons that are installed here: version and program. pyenv's are among them."""
    for version in SUPPORTED:
        kept = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python3"), reverse=True)
        for program in (*map(str, kept), f"python{version}", "python3"):
            found = shutil.which(program)
            if found is None:
                continue
            asked = subprocess.run(
                [found, "-c", "import ensurepip, sys, venv; print('%d.%d' % sys.version_info[:2])"],
                capture_output=True,
                text=True,
                check=False,
            )
            if asked.stdout.strip() == version:
                yield version, found
                break


PYTHONS = dict(pythons())
OLDEST = next(iter(PYTHONS.values()))


class Environment:
    """A virtual environment; its programs run outside of the project's folder, so that only what is installed is used."""

    def __init__(self, folder: Path, python: str) -> None:
        self.folder = folder
        self.programs = folder / "bin"
        subprocess.run([python, "-m", "venv", folder], check=True)

    def pip(self, *arguments: str | Path) -> None:
        command = [self.programs / "pip", "--disable-pip-version-check", "--quiet", *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def run(self, program: str, *arguments: str, **variables: str) -> str:
        done = subprocess.run(
            [self.programs / program, *arguments],
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout + done.stderr

    def tests_pass(self, *paths: str) -> None:
        """Run some of the project's tests, from the sources, with the libraries that are installed here.

        As in `.ci/run`, what fails is repeated alone, so that one busy moment among 1,500 tests is not taken for a fault
        of the libraries.
        """
        done = self.run_tests("-n", "2", *paths)
        if done.returncode == pytest.ExitCode.TESTS_FAILED:
            print("repeated alone:", *re.findall(r"^FAILED .*", done.stdout, re.MULTILINE), sep="\n")
            done = self.run_tests("-n", "0", "--last-failed", "--last-failed-no-failures", "none", *paths)
        print(done.stdout.splitlines()[-1])
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr

    def run_tests(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(self.programs / "python"), *("-m", "pytest", "-q")]
        command += ["-o", f"cache_dir={self.folder / 'pytest'}"]
        return subprocess.run([*command, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheel of each part, made from its sdist, as a release is."""
    found = {}
    for part in PARTS:
        out = tmp_path_factory.mktemp(part)
        build = (sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT / part)
        done = subprocess.run(build, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        [found[part]] = out.glob("*.whl")
    return found


@pytest.mark.parametrize("part", PARTS)
def test_a_wheel_holds_each_file_of_its_package_and_the_licence(part: str, made: dict[str, Path]) -> None:
    folder = PARTS[part].package
    kept = (*folder.rglob("*.py"), *folder.rglob("*.html"))
    sources = {path.relative_to(folder.parent).as_posix() for path in kept}
    sources.add(f"{folder.name}/py.typed")
    with zipfile.ZipFile(made[part]) as wheel:
        names = set(wheel.namelist())
        metadata = f"{made[part].name.split('-')[0]}-{VERSION}.dist-info"
        assert {name for name in names if not name.startswith(metadata)} == sources
        assert wheel.read(f"{metadata}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
        described = wheel.read(f"{metadata}/METADATA").decode()
    assert f"\nVersion: {VERSION}\n" in described
    assert f"\nName: {project(part)['name']}\n" in described


@pytest.mark.parametrize("version", PYTHONS)
def test_installed_as_the_readme_says_it_runs_and_passes_the_tests(version: str, tmp_path: Path) -> None:
    environment = Environment(tmp_path, PYTHONS[version])
    environment.pip("install", *(f"./{one.folder.name}" for one in needed_by("module")))
    relay = environment.run("serial-relay", "--version")
    assert relay == f"serial_relay {VERSION}\n"
    assert "azure" not in environment.run("pip", "list")
    refused = environment.run("serial-relay", IOTEDGE_WORKLOADURI="unix:///none")
    assert "install eflow-serial-relay[edge]" in refused

    environment.pip("install", *(f"./{one.folder.name}" for one in needed_by("host")))
    assert "install eflow-serial-host[simulate]" in environment.run(
        "serial-host", "simulate", "modbus", "5999"
    )
    pins = tmp_path / "pins.txt"
    pinned(pins)
    environment.pip("install", "--constraint", pins, *WITH_EXTRAS)
    assert environment.run("serial-host", "--version") == f"serial_host {VERSION}\n"
    environment.run("pip", "check")
    environment.pip("install", "--requirement", "tests/requirements.txt")
    environment.tests_pass(*USE_LIBRARIES)


def pinned(path: Path) -> None:
    """Write the versions of tests/requirements.txt without hashes, which would be demanded of our own parts too."""
    path.write_text(
        "".join(f"{pin.name}=={pin.version}\n" for pin in wheels.pins(ROOT / "tests/requirements.txt"))
    )


def lowest() -> Iterator[str]:
    """Return each lower bound of a dependency as an exact version: `pydantic>=2.10` -> `pydantic==2.10`."""
    for part in PARTS:
        for dependency in dependencies(part):
            found = re.match(r"([\w.-]+)(?:>=|==)([\d.]+)", dependency.replace(".*", ".0"))
            assert found is not None, f"{dependency} has no lower bound"
            if not found[1].startswith("eflow-"):
                yield f"{found[1]}=={found[2]}"


def test_the_lowest_versions_of_the_dependencies_are_enough(tmp_path: Path) -> None:
    environment = Environment(tmp_path / "environment", OLDEST)
    pins = tmp_path / "lowest.txt"
    pins.write_text("\n".join(lowest()))
    environment.pip("install", "--constraint", pins, *WITH_EXTRAS)
    # The tests' own libraries come from the project's environment, behind those that are installed here.
    [behind] = (ROOT / ".venv").glob("lib/python*/site-packages")
    [here] = environment.folder.glob("lib/python*/site-packages")
    (here / "behind.pth").write_text(str(behind))
    environment.tests_pass(*USE_LIBRARIES)


@pytest.mark.parametrize("part", ["module", "host"])
def test_the_pinned_requirements_are_the_dependencies(part: str) -> None:
    folders = [one.folder.name for one in needed_by(part)]
    names = {
        name for folder in folders for text in dependencies(folder) for name in re.findall(r"^[\w.-]+", text)
    }
    listing = (ROOT / part / "requirements.in").read_text("utf-8")
    listed = set(re.findall(r"^\w[\w.-]*", listing, re.MULTILINE))
    assert listed == {name for name in names if not name.startswith("eflow-")}
