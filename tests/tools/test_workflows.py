"""The workflows hold no logic of their own: their steps are commands of this project that anybody can run."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))

OTHERS = (
    r"python -m pip install --require-hashes --no-deps --requirement [a-z/]+/requirements\.txt",
    r"python -m bundle --python-org",
    r'gh release create "\$TAG" [^;&|]+',
)
"""What a step may run beside `make` and the project's own files."""


def test_there_are_workflows() -> None:
    assert [path.stem for path in WORKFLOWS] == ["ci", "release", "weekly"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_step_runs_one_command_that_exists_here(path: Path) -> None:
    commands = re.findall(r"^ +(?:- )?run: (.*)$", path.read_text("utf-8"), re.MULTILINE)
    assert commands
    for command in commands:
        program, *arguments = command.split()
        if program == "make":
            assert set(arguments) <= TARGETS, command
        elif not any(re.fullmatch(other, command) for other in OTHERS):
            assert not arguments, command
            assert (ROOT / program).is_file(), command


def test_each_file_of_a_release_is_uploaded_once() -> None:
    """`gh release create` uploads a file as often as it is named, and the hoster refuses the second one."""
    image = ("{}.oci.tar", "{}.cdx.json", "{}-licences.zip")
    files = [
        *(kind.format(f"eflow-serial-relay-1.1.0-{name}") for name in ("amd64", "arm64v8") for kind in image),
        *(
            f"{kind}-1.1.0-{name}.json"
            for name in ("amd64", "arm64v8")
            for kind in ("deployment", "layered-deployment")
        ),
        *("serial-host-1.1.0-win-amd64.zip", "serial-host-1.1.0-win-amd64.cdx.json", "SHA256SUMS"),
    ]
    text = (ROOT / ".github/workflows/release.yml").read_text("utf-8")
    [command] = re.findall(r"run: (gh release create .*)$", text, re.MULTILINE)
    patterns = [word.removeprefix("dist/") for word in command.split() if word.startswith("dist/")]
    patterns.remove("publishing/release-notes.md")
    named = [name for pattern in patterns for name in files if fnmatchcase(name, pattern)]
    assert sorted(named) == sorted(files)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_an_action_is_pinned_by_commit_and_names_its_version(path: Path) -> None:
    used = re.findall(r"^ +(?:- )?uses: (.*)$", path.read_text("utf-8"), re.MULTILINE)
    assert used
    for action in used:
        assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_job_has_its_own_permissions_and_an_end(path: Path) -> None:
    text = path.read_text("utf-8")
    jobs = len(re.findall(r"^ {4}runs-on:", text, re.MULTILINE))
    assert re.search(r"^permissions: \{\}$", text, re.MULTILINE)
    assert len(re.findall(r"^ {4}permissions:", text, re.MULTILINE)) == jobs
    assert len(re.findall(r"^ {4}timeout-minutes:", text, re.MULTILINE)) == jobs
