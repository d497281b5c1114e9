from __future__ import annotations

from pathlib import Path

import pytest

from release.__main__ import main

REGISTRY = "registry.example.com/team"


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a release that was made as `make release` makes it."""
    folder = tmp_path_factory.mktemp("dist")
    assert main(["--out", str(folder), "--registry", REGISTRY]) == 0
    return folder
