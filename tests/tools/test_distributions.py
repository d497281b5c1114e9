"""What follows from the list of distributions elsewhere must agree with it."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from distributions import UnknownDistributionError, distributions, needed_by

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def lay(root: Path, folder: str, *needs: str, extra: str | None = None) -> None:
    (root / folder).mkdir()
    extras = f"optional-dependencies.more = ['eflow-{extra}>=1']\n" if extra else ""
    (root / folder / "pyproject.toml").write_text(
        f"[project]\nname = 'eflow-{folder}'\ndependencies = {[f'eflow-{need}>=1,<2' for need in needs]}\n{extras}"
    )


def test_each_stands_after_what_it_needs_also_for_an_extra(tmp_path: Path) -> None:
    lay(tmp_path, "application", "middle", extra="zeta")
    lay(tmp_path, "middle", "zeta")
    lay(tmp_path, "zeta")
    lay(tmp_path, "other", extra="middle")
    (tmp_path / "no_distribution").mkdir()
    assert list(distributions(tmp_path)) == ["zeta", "middle", "application", "other"]
    assert [one.folder.name for one in needed_by("other", tmp_path)] == ["zeta", "middle", "other"]
    assert [one.folder.name for one in needed_by("zeta", tmp_path)] == ["zeta"]


def test_a_circle_is_refused(tmp_path: Path) -> None:
    lay(tmp_path, "one", "two")
    lay(tmp_path, "two", "one")
    with pytest.raises(ValueError, match="need each other: eflow-one, eflow-two"):
        distributions(tmp_path)


def test_a_folder_without_a_distribution_is_an_error_that_names_the_others(tmp_path: Path) -> None:
    lay(tmp_path, "one")
    with pytest.raises(UnknownDistributionError, match="docs holds no distribution; these folders do: one"):
        needed_by("docs", tmp_path)
    told = subprocess.run(
        [sys.executable, ROOT / "tools/distributions.py", "docs"], capture_output=True, text=True, check=False
    )
    assert told.returncode == 1
    assert told.stderr.startswith("distributions: docs holds no distribution")


def test_every_distribution_is_complete_and_typed() -> None:
    for one in distributions().values():
        assert (one.package / "__init__.py").is_file(), one.package
        assert (one.package / "py.typed").is_file(), one.package
        assert (one.folder / "README.md").is_file(), one.folder
        assert (one.folder / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes(), one.folder


def test_mypy_and_pytest_find_every_package() -> None:
    folders = {one.package.parent.relative_to(ROOT).as_posix() for one in distributions().values()}
    packages = {one.package.name for one in distributions().values()}
    assert packages <= set(SETTINGS["tool"]["mypy"]["packages"])
    assert folders <= set(SETTINGS["tool"]["pytest"]["ini_options"]["pythonpath"])
    paths = {
        path.replace("$MYPY_CONFIG_FILE_DIR", ".").removeprefix("./")
        for path in SETTINGS["tool"]["mypy"]["mypy_path"]
    }
    assert folders <= paths


def test_the_image_gets_the_module_and_what_it_needs() -> None:
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    sent = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert sent == {"LICENSE", "VERSION", "tools/requirements.txt"} | {
        one.folder.name for one in needed_by("module")
    }


@pytest.mark.parametrize("page", ["docs/without-iot-edge.md", "module/README.md", "host/README.md"])
def test_the_pages_install_all_that_a_distribution_needs(page: str) -> None:
    commands = re.findall(r"pip install((?: \./[\w]+)+)", (ROOT / page).read_text("utf-8"))
    assert commands
    for command in commands:
        folders = [name.removeprefix("./") for name in command.split()]
        assert folders == [one.folder.name for one in needed_by(folders[-1])]
