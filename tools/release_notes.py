#!/usr/bin/env python3
"""Print the release notes: the section of CHANGELOG.md that belongs to the version in VERSION.

With --check TAG it only compares: a tag such as v1.1.0 must be that version's, and the section must have a date.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


class NotesError(Exception):
    """The version cannot be released. The text says why, and what to do next."""


def section(changelog: str, version: str) -> tuple[str, str]:
    """Return what stands behind the version in the heading of its section, and the section's text.

    Raises:
        NotesError: the changelog has no section of that version, or an empty one.
    """
    found = re.search(rf"^## \[{re.escape(version)}\](.*)\n((?:(?!## ).*\n)*)", changelog, re.MULTILINE)
    if not found or not found[2].strip():
        raise NotesError(
            f"CHANGELOG.md says nothing of version {version}: add a section `## [{version}] - DATE`"
        )
    return found[1].strip(" -"), found[2].strip() + "\n"


def check(tag: str, changelog: str, version: str) -> None:
    """Raise NotesError unless the version may be released under the tag."""
    if tag != f"v{version}":
        raise NotesError(
            f"the tag {tag} is not that of the version in VERSION, v{version}: correct one of the two"
        )
    date, _ = section(changelog, version)
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", date):
        raise NotesError(
            f"CHANGELOG.md: the section of {version} has no date, as `## [{version}] - 2026-12-01` has"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the notes or check a tag; 0, or 1 with one line that says what is wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", metavar="TAG")
    options = parser.parse_args(arguments)
    version = (ROOT / "VERSION").read_text("ascii").strip()
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    try:
        if options.check is None:
            sys.stdout.write(section(changelog, version)[1])
        else:
            check(options.check, changelog, version)
    except NotesError as error:
        print(f"release_notes: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
