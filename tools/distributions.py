"""The distributions of this repository, read from the pyproject.toml files in the folders at its top.

This is the one list of them. A new distribution is a new folder with a pyproject.toml; the set-up, the image, the bundle,
the release and the tests find it here.

    python3 tools/distributions.py                    folders of all distributions, each after those that it needs
    python3 tools/distributions.py module             the folders that an installation of module/ needs, itself included

It needs nothing but Python's standard library, because `tools/setup` runs it before anything is installed.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent


class Distribution(NamedTuple):
    """A folder that can be installed with pip."""

    name: str
    """As in its pyproject.toml, such as `eflow-serial-host`."""
    folder: Path
    package: Path
    """The folder of its Python package, whose name is the name to import."""
    needs: tuple[str, ...]
    """Folder names of the distributions of this repository that it depends on directly, also for its extras."""


class UnknownDistributionError(Exception):
    """A folder was named that holds no distribution. The text names the folders that do."""


def distributions(root: Path = ROOT) -> dict[str, Distribution]:
    """Return the distributions below `root` by folder name, each after those that it needs.

    Raises:
        ValueError: two of them need each other.
    """
    projects = {
        path.parent: tomllib.loads(path.read_text("utf-8")) for path in sorted(root.glob("*/pyproject.toml"))
    }
    folder_of = {project["project"]["name"]: folder for folder, project in projects.items()}
    found = [
        Distribution(
            name=name,
            folder=folder,
            package=_package(folder, projects[folder]),
            needs=tuple(
                folder_of[other].name for other in _dependencies(projects[folder]) if other in folder_of
            ),
        )
        for name, folder in folder_of.items()
    ]
    ordered: dict[str, Distribution] = {}
    while waiting := [one for one in found if one.folder.name not in ordered]:
        ready = [one for one in waiting if ordered.keys() >= set(one.needs)]
        if not ready:
            names = ", ".join(one.name for one in waiting)
            raise ValueError(f"these distributions need each other: {names}")
        ordered |= {one.folder.name: one for one in ready}
    return ordered


def needed_by(folder: str, root: Path = ROOT) -> list[Distribution]:
    """Return the distribution in `folder` and all that it needs, each after those that it needs.

    Raises:
        UnknownDistributionError: `folder` holds no distribution.
    """
    known = distributions(root)
    if folder not in known:
        raise UnknownDistributionError(
            f"{folder} holds no distribution; these folders do: {', '.join(known)}"
        )
    wanted = {folder}
    for name in reversed(known):
        if name in wanted:
            wanted.update(known[name].needs)
    return [one for name, one in known.items() if name in wanted]


def _dependencies(project: Mapping[str, Any]) -> list[str]:
    """Return the names of all that a project depends on, also for its extras."""
    described = project["project"]
    requirements = [*described.get("dependencies", [])]
    for extra in described.get("optional-dependencies", {}).values():
        requirements += extra
    return [match[0] for text in requirements if (match := re.match(r"[\w.-]+", text))]


def _package(folder: Path, project: Mapping[str, Any]) -> Path:
    """Return the folder of the package: the one that hatch's wheel target names, or the distribution's own folder."""
    wheel = project.get("tool", {}).get("hatch", {}).get("build", {}).get("targets", {}).get("wheel", {})
    packages = wheel.get("packages")
    return folder / packages[0] if packages else folder


def main(arguments: Sequence[str] | None = None) -> int:
    """Print folders, one a line; 0, or 1 if the folder holds no distribution."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", help="such as module; default: all distributions")
    folder = parser.parse_args(arguments).folder
    try:
        wanted = needed_by(folder) if folder else list(distributions().values())
    except UnknownDistributionError as error:
        print(f"distributions: {error}", file=sys.stderr)
        return 1
    print("\n".join(one.folder.name for one in wanted))
    return 0


if __name__ == "__main__":
    sys.exit(main())
