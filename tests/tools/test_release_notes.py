"""The release notes come from the changelog, and a tag is checked against it and against the version."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import release_notes
from release_notes import NotesError, check, section

ROOT = Path(__file__).resolve().parents[2]
VERSION = (ROOT / "VERSION").read_text("ascii").strip()

CHANGELOG = """# Changelog

## [1.2.0] - unreleased

### Added

- Something.

## [1.1.0] - 2026-12-01

### Fixed

- A fault.

## [1.0.0] - 2026-11-25
"""


def test_a_section_ends_where_the_next_one_begins() -> None:
    assert section(CHANGELOG, "1.1.0") == ("2026-12-01", "### Fixed\n\n- A fault.\n")


@pytest.mark.parametrize("version", ["1.0.0", "1.3.0", "1.1"])
def test_a_version_of_which_nothing_is_said_is_an_error(version: str) -> None:
    with pytest.raises(NotesError, match=re.escape(f"says nothing of version {version}")):
        section(CHANGELOG, version)


@pytest.mark.parametrize(
    ("tag", "version", "words"),
    [
        ("v1.1.1", "1.1.0", "is not that of the version"),
        ("1.1.0", "1.1.0", "is not that of the version"),
        ("v1.2.0", "1.2.0", "has no date"),
    ],
)
def test_a_tag_that_must_not_be_released(tag: str, version: str, words: str) -> None:
    with pytest.raises(NotesError, match=words):
        check(tag, CHANGELOG, version)


def test_a_tag_that_may_be_released() -> None:
    check("v1.1.0", CHANGELOG, "1.1.0")


def test_the_command_prints_this_versions_section(capsys: pytest.CaptureFixture[str]) -> None:
    assert release_notes.main([]) == 0
    assert "### Added" in capsys.readouterr().out
    refused = subprocess.run(
        [sys.executable, ROOT / "tools/release_notes.py", "--check", "v0.0.1"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (refused.returncode, refused.stderr.startswith("release_notes: the tag v0.0.1")) == (1, True)


def test_the_changelog_has_a_section_of_each_version_and_the_newest_is_this_one() -> None:
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert headings == [VERSION, "1.0.0"]
